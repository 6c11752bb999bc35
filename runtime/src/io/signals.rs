//! What signals do to a process. Nothing else touches them, and an embedded run none.
//!
//! | signal | master | slave, parent of a node |
//! |---|---|---|
//! | SIGINT, SIGTERM, SIGHUP | [`Signals`]: the run ends unfinished | goodbye, as the batch system's eviction |
//! | SIGUSR2 | [`Signals`]: the run ends for good | |
//! | SIGXFSZ | a full disk | a full disk |
//!
//! SIGHUP stays ignored where it was ignored at the start (nohup).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use ringmw_codec::flags::exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};

/// How long after the first signal a master algorithm may hold its thread: the process then ends all the same.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// A signal that comes so long after the first one is meant: nobody has to wait for the master to leave. One that comes
/// sooner is the same wish, told by the terminal and by whoever started the process.
const MEANT_AFTER: Duration = Duration::from_secs(1);

/// A signal that tells a process to go.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    number: i32,
    /// Its name.
    pub(crate) name: &'static str,
}

impl Leave {
    const ALL: [Leave; 3] = [
        Leave {
            number: SIGINT,
            name: "SIGINT",
        },
        Leave {
            number: SIGTERM,
            name: "SIGTERM",
        },
        Leave {
            number: SIGHUP,
            name: "SIGHUP",
        },
    ];

    /// The run is to end for good: nobody starts it again.
    const STOP: Leave = Leave {
        number: SIGUSR2,
        name: "SIGUSR2",
    };

    /// Whether it ends the run for good.
    pub(crate) fn is_stop(self) -> bool {
        self == Self::STOP
    }

    /// Those that this process heeds.
    pub(crate) fn heeded() -> impl Iterator<Item = Leave> {
        let all = Self::ALL.into_iter();
        all.filter(|signal| signal.number != SIGHUP || !is_ignored(SIGHUP))
    }

    /// Its number, for those who register handlers.
    pub(crate) fn number(self) -> i32 {
        self.number
    }

    /// What a master exits with that leaves on it.
    pub(crate) fn exit_code(self) -> u8 {
        if self.is_stop() {
            return exit::OK;
        }
        exit::SIGNAL_BASE + u8::try_from(self.number).expect("1, 2 or 15")
    }

    /// The one of this number.
    pub(crate) fn of(number: usize) -> Option<Leave> {
        let mut all = Self::ALL.into_iter().chain([Self::STOP]);
        all.find(|signal| usize::try_from(signal.number) == Ok(number))
    }
}

/// Whether this process ignores a signal.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// A file that reaches its limit is a full disk to who writes it: an error, not the process's death.
///
/// By a handler that does nothing, since what is ignored stays ignored in the programs that a process starts, while
/// handlers do not outlast that.
///
/// # Errors
/// When no handler can be set.
pub(crate) fn outlive_the_file_size_limit() -> io::Result<()> {
    if !is_ignored(SIGXFSZ) {
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    }
    Ok(())
}

/// The signals that tell a master to go.
pub(crate) struct Signals {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The number of the first one that came, or 0.
    first: AtomicUsize,
    /// The master's thread has heard of it.
    heard: AtomicBool,
    driver: AtomicWaker,
}

impl Signals {
    /// From here on the signals are the run's: the first one that comes is [`heard`](Self::heard).
    ///
    /// A master whose thread does not come back, or who is told again, ends from a thread of its own: that calls
    /// `last_words` with the first signal and why, and ends the process with that signal's code.
    ///
    /// # Errors
    /// When handlers cannot be set or the thread cannot be started.
    pub(crate) fn watch(
        last_words: impl FnOnce(Leave, &str, bool) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut pipes = Vec::new();
        for signal in Leave::heeded().chain([Leave::STOP]) {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.number, writer)?;
            pipes.push((signal, reader));
        }
        let watch = Watch {
            pipes,
            shared: Arc::clone(&shared),
        };
        std::thread::Builder::new()
            .name("ringmw-signals".to_owned())
            .spawn(move || {
                let (signal, why) = watch.until_lost();
                last_words(signal, &why, watch.shared.heard.load(Ordering::SeqCst));
                signal_hook::low_level::exit(signal.exit_code().into());
            })?;
        Ok(Signals { shared })
    }

    /// Has this waker woken when the first one comes.
    pub(crate) fn wake(&self, waker: &Waker) {
        self.shared.driver.register(waker);
    }

    /// The first one, once it has come; with this the master's thread has come back.
    pub(crate) fn heard(&self) -> Option<Leave> {
        match self.shared.first.load(Ordering::SeqCst) {
            0 => None,
            number => {
                self.shared.heard.store(true, Ordering::SeqCst);
                Leave::of(number)
            }
        }
    }
}

/// The thread that hears them first.
struct Watch {
    pipes: Vec<(Leave, UnixStream)>,
    shared: Arc<Shared>,
}

impl Watch {
    /// Until the process is to end from here: the first signal, and why.
    fn until_lost(&self) -> (Leave, String) {
        let mut first: Option<(Leave, Instant)> = None;
        loop {
            let came = self.next(first.map(|(_, at)| at + RETURNS_WITHIN));
            match (first, came) {
                (None, Some(signal)) => {
                    first = Some((signal, Instant::now()));
                    let number = usize::try_from(signal.number).expect("signals are positive");
                    self.shared.first.store(number, Ordering::SeqCst);
                    self.shared.driver.wake();
                }
                (Some((signal, at)), Some(again)) if at.elapsed() >= MEANT_AFTER => {
                    let why = format!("{}, and {} after it", signal.name, again.name);
                    return (signal, why);
                }
                (Some((signal, _)), None) => {
                    let why = format!(
                        "{}, and the master algorithm held its thread for {} s after it",
                        signal.name,
                        RETURNS_WITHIN.as_secs()
                    );
                    return (signal, why);
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
    }

    /// The next signal; none when the thread has not heard of the first one by `until`.
    fn next(&self, until: Option<Instant>) -> Option<Leave> {
        loop {
            let is_over = || until.is_some_and(|until| Instant::now() >= until);
            let heard = self.shared.heard.load(Ordering::SeqCst);
            if !heard && is_over() {
                return None;
            }
            let left = until.filter(|_| !heard);
            let left = left.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds: Vec<PollFd<'_>> = Vec::new();
            for (_, pipe) in &self.pipes {
                fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
            }
            // It fails only by an interruption, and then it is asked again.
            let _ = poll(&mut fds, timeout.as_ref());
            for (signal, pipe) in &self.pipes {
                // However often it came, it is one.
                let mut came = false;
                while rustix::io::read(pipe, &mut [0; 64]).is_ok_and(|bytes| bytes > 0) {
                    came = true;
                }
                if came {
                    return Some(*signal);
                }
            }
        }
    }
}

/// As if the operator had sent this process the signal that ends its run for good.
pub(crate) fn stop() {
    let own = rustix::process::getpid();
    // It is this process: it may be signalled.
    let _ = rustix::process::kill_process(own, rustix::process::Signal::USR2);
}
