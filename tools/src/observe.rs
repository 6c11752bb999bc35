//! Asking a master over its second listener, whose address its resource file names.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmw_codec::asker::{Asker, prove};
use ringmw_codec::observe::Ask;
use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::{ANSWER_BYTES, Key, SECRET_BYTES};
use ringmw_codec::status::{STATUS_VERSION, Status, Told};
use serde::de::DeserializeOwned;

use crate::resource;
use crate::say::safe;

/// A connection and each part of an answer come within this time.
const WITHIN: Duration = Duration::from_secs(10);

/// What an answer is read into at a time.
const READ_BYTES: usize = 64 << 10;

/// A connection to a master, over the run's secret if it has one.
struct Connection {
    stream: TcpStream,
    asker: Asker,
}

/// A run, by its resource file.
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    pub(crate) file: ResourceFile,
    connection: Option<Connection>,
}

impl Run {
    /// `path` is a resource file, or a folder with one.
    ///
    /// # Errors
    /// Names the path and what to do.
    pub(crate) fn find(path: &Path) -> Result<Self, String> {
        let path = file_of(path)?;
        let text = resource::read(&path).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => ": the master writes it when it starts; is this the path of its --mw-resource-file?",
                io::ErrorKind::PermissionDenied => ": who may not read it may not look at the run",
                _ => "",
            };
            format!("{}: {error}{hint}", path.display())
        })?;
        let file = ResourceFile::parse(&text)
            .map_err(|error| format!("{}: {error}: is it a resource file?", path.display()))?;
        Ok(Run {
            path,
            file,
            connection: None,
        })
    }

    /// Asks how the run does.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) fn status(&mut self) -> Result<Status, String> {
        let status: Status = self.ask(&Ask::Status)?;
        match status.version {
            STATUS_VERSION => Ok(status),
            version => Err(format!(
                "the master tells version {version} of the status, this program reads {STATUS_VERSION}: use the ringmw of \
                 the master's version, {}",
                status.run.ringmw
            )),
        }
    }

    /// Asks something else.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) fn told(&mut self, ask: &Ask<'_>) -> Result<Told, String> {
        self.ask(ask)
    }

    /// Where its master answers, and who that is; `None`: the run is finished, or nobody answers.
    pub(crate) fn who_answers(&mut self) -> Option<String> {
        let address = self.file.status_address.clone();
        let address = address.filter(|_| !self.file.finished)?;
        let text = self.exchange(&address, &Ask::Status).ok()?;
        Some(match serde_json::from_slice::<Status>(&text) {
            Ok(Status { run, .. }) => format!(
                "{}, process {} on {}, answers at {address}",
                safe(&run.name),
                run.pid,
                safe(&run.host)
            ),
            Err(_) => format!("its master answers at {address}"),
        })
    }

    fn ask<T: DeserializeOwned + Refusable>(&mut self, ask: &Ask<'_>) -> Result<T, String> {
        if self.file.finished {
            return Err(format!("{}: the run is finished", self.path.display()));
        }
        let Some(address) = self.file.status_address.clone() else {
            return Err(format!(
                "{}: it names no status-address: its master is older than this program, or CL-MW's",
                self.path.display()
            ));
        };
        let text = match self.exchange(&address, ask) {
            Ok(text) => text,
            Err(error) => {
                self.connection = None;
                return Err(self.no_answer(&address, &error));
            }
        };
        if let Ok(Told {
            error: Some(error), ..
        }) = serde_json::from_slice(&text)
            && !T::TAKES_REFUSALS
        {
            return Err(error);
        }
        serde_json::from_slice(&text)
            .map_err(|error| format!("{address} gave an answer that cannot be read: {error}"))
    }

    fn no_answer(&self, address: &str, error: &io::Error) -> String {
        let local = address.starts_with("127.") || address.starts_with("[::1]");
        let hint = match error.kind() {
            io::ErrorKind::ConnectionRefused if local => {
                "the master has ended, or runs on another host: without a secret it tells how it does on its own host alone"
            }
            io::ErrorKind::ConnectionRefused => {
                "the master has ended without saying so in the file, or has moved"
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                "its host does not answer: is it up, and may this host reach it?"
            }
            io::ErrorKind::UnexpectedEof => {
                "it hung up: the master has ended, or the secret in the file is not its own any more"
            }
            _ => "is what listens there a master of ringmw?",
        };
        format!(
            "{}: no answer from {address}: {error}; {hint}",
            self.path.display()
        )
    }

    /// Connects, and proves that the secret is known where the file has one.
    fn connect(&self, address: &str) -> io::Result<Connection> {
        let mut stream = connect(address)?;
        let asker = match &self.file.secret {
            None => Asker::plain(),
            Some(secret) => {
                let proof = prove(secret, self.file.member_id.as_bytes(), draw()?);
                let (initiator, first) = proof.map_err(io::Error::other)?;
                stream.write_all(&first)?;
                let mut answer = [0; ANSWER_BYTES];
                stream.read_exact(&mut answer)?;
                Asker::proved(initiator.finish(&answer).map_err(io::Error::other)?)
            }
        };
        Ok(Connection { stream, asker })
    }

    /// What fails is of no more use; the next one connects anew.
    fn exchange(&mut self, address: &str, ask: &Ask<'_>) -> io::Result<Vec<u8>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(address)?,
        };
        let Connection { stream, asker } = &mut connection;
        stream.write_all(&asker.ask(ask))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let got = stream.read(&mut buffer)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(text) = asker.take(&buffer[..got]).map_err(io::Error::other)? {
                self.connection = Some(connection);
                return Ok(text);
            }
        }
    }
}

/// A key for one connection.
fn draw() -> io::Result<Key> {
    let mut bytes = [0; SECRET_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Key::new(bytes))
}

/// Whether an answer may be a refusal itself.
pub(crate) trait Refusable {
    const TAKES_REFUSALS: bool;
}

impl Refusable for Status {
    const TAKES_REFUSALS: bool = false;
}

impl Refusable for Told {
    const TAKES_REFUSALS: bool = true;
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WITHIN) {
            Ok(stream) => {
                stream.set_read_timeout(Some(WITHIN))?;
                stream.set_write_timeout(Some(WITHIN))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The resource file that is meant: in a folder its only `.rsc`.
///
/// # Errors
/// In words: there is none, or there are several.
pub(crate) fn file_of(path: &Path) -> Result<PathBuf, String> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        let is_hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if entry.extension().is_some_and(|ending| ending == "rsc") && !is_hidden {
            found.push(entry);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!(
            "{}: there is no resource file (NAME.rsc) in this folder: the master writes it when it starts",
            path.display()
        )),
        _ => {
            found.sort();
            let names: Vec<_> = found
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(format!(
                "{}: name one of its resource files: {}",
                path.display(),
                names.join(", ")
            ))
        }
    }
}

/// Beside the resource file, the trail of the master, if it is where `ringmw submit` has it.
pub(crate) fn trail_of(path: &Path) -> Option<PathBuf> {
    let trail = path.with_extension("audit");
    trail.is_file().then_some(trail)
}
