//! A slave that listens serves one master after the other, each in a fresh process image: when one has ended it runs its
//! own program anew with the listening socket kept, so that no port is lost and nothing of an earlier run is left, not
//! even a task that does not end.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringmw_codec::flags::FLAG;
use ringmw_codec::secret::Secret;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::io::engine::listen;
use crate::io::secret_file;

/// In the environment of a process that goes on listening: its number, the socket, the exit code if no master comes, and
/// within how many seconds one must.
const VARIABLE: &str = "RINGMW_LISTEN";

/// A socket that is listened on, and what is to be if nobody comes.
pub(crate) struct Relisten {
    pub(crate) listener: TcpListener,
    /// How long it waits for a master, if not for ever.
    pub(crate) wait: Option<Duration>,
    /// The exit code when that is over, as the last master's end was; none: there has been none.
    pub(crate) code: Option<u8>,
    /// What was read from standard input, which can be read once.
    piped: Option<Secret>,
}

impl Relisten {
    /// The socket of this process's earlier life, or a new one.
    ///
    /// # Errors
    /// One line that names the flag.
    pub(crate) fn open((host, port): &(Option<String>, u16)) -> Result<Self, String> {
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        let shown = match host {
            Some(host) => format!("{} {host}:{port}", FLAG.slave_listen.name),
            None => format!("{} {port}", FLAG.slave_listen.name),
        };
        let bound = match host {
            None => listen(SocketAddr::from(([0u16; 8], *port)))
                .or_else(|_| listen(SocketAddr::from(([0u8; 4], *port)))),
            Some(host) => (host.as_str(), *port)
                .to_socket_addrs()
                .and_then(|mut addresses| addresses.next().ok_or(io::ErrorKind::NotFound.into()))
                .and_then(listen),
        };
        let listener = bound.map_err(|error| {
            format!("{shown}: cannot listen there: {error}; is the port free, and the host this machine?")
        })?;
        Ok(Relisten {
            listener,
            wait: None,
            code: None,
            piped: None,
        })
    }

    /// The secret was read from standard input: the next life finds it there again.
    pub(crate) fn keep_piped(&mut self, path: Option<&Path>, secret: Option<&Secret>) {
        if path == Some(Path::new(secret_file::STDIN)) {
            self.piped = secret.cloned();
        }
    }

    /// Begins the next life: waits for a master for so long, and exits with this code if none comes. It returns only where
    /// that fails.
    pub(crate) fn again(&self, code: u8, wait: Duration) -> io::Error {
        let mut args = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args);
        let (pid, fd, seconds) = (
            std::process::id(),
            self.listener.as_raw_fd(),
            wait.as_secs().max(1),
        );
        command.env(VARIABLE, format!("{pid} {fd} {code} {seconds}"));
        if let Some(secret) = &self.piped {
            match secret_file::pipe(secret) {
                Ok(pipe) => _ = command.stdin(pipe),
                Err(error) => return error,
            }
        }
        if let Err(error) = fcntl_setfd(&self.listener, FdFlags::empty()) {
            return error.into();
        }
        command.exec()
    }
}

/// What the earlier life of this process has left. A child that inherited the variable is another process.
fn kept() -> Option<Relisten> {
    let told = std::env::var(VARIABLE).ok()?;
    let mut parts = told.split(' ');
    let pid: u32 = parts.next()?.parse().ok()?;
    let fd: RawFd = parts.next()?.parse().ok()?;
    let code = parts.next()?.parse().ok()?;
    let seconds = parts.next()?.parse().ok()?;
    if pid != std::process::id() || fd <= 2 {
        return None;
    }
    // SAFETY: this very process has left the descriptor open for this place alone, as its number in the variable says, and
    // nothing has been opened or closed since its program began.
    let kept = unsafe { OwnedFd::from_raw_fd(fd) };
    let is_kept = fcntl_setfd(&kept, FdFlags::CLOEXEC).is_ok();
    if !is_kept {
        // It is no descriptor of ours after all: not to be closed.
        std::mem::forget(kept);
        return None;
    }
    Some(Relisten {
        listener: kept.into(),
        wait: Some(Duration::from_secs(seconds)),
        code: Some(code),
        piped: None,
    })
}
