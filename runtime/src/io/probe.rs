//! Whether the master of a resource file still answers: who asks at its second listener, over the run's secret where the
//! file has one.
//!
//! One that was killed does not answer, and no more does another service on its port: it cannot prove the secret. A
//! master whose algorithm holds its thread does, since a thread of its own answers.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use ringmw_codec::asker::{Asker, prove};
use ringmw_codec::observe::Ask;
use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::ANSWER_BYTES;
use ringmw_codec::status::Status;

use crate::io::files::resource;
use crate::io::secret_file::draw_key;

/// A connection, and each read of it, come within this time; who takes longer does not answer.
const WITHIN: Duration = Duration::from_secs(3);
const READ_BYTES: usize = 64 << 10;

/// The master that answers for the resource file at this path, in words; `None`: there is no file, it says finished or
/// names nobody who could be asked, or nobody answers.
pub(crate) fn who_answers(path: &Path) -> Option<String> {
    let text = resource::read(path).ok()?;
    let file = ResourceFile::parse(&text).ok()?;
    let address = file.status_address.as_ref().filter(|_| !file.finished)?;
    let (mut stream, mut asker) = connect(address, &file).ok()?;
    match ask(&mut stream, &mut asker) {
        Ok(status) => {
            let run = &status.run;
            // Without a secret nothing is proved: it says itself which run it is.
            let is_it = asker.is_proved() || run.addresses == file.master_addresses;
            is_it.then(|| {
                let (name, host, pid) = (&run.name, &run.host, run.pid);
                format!("{name}, process {pid} on {host}, answers at {address}")
            })
        }
        // It has proved that it is the one.
        Err(_) => (asker.is_proved()).then(|| format!("its master answers at {address}")),
    }
}

/// Connects, and has the other side prove that it knows the file's secret.
fn connect(address: &str, file: &ResourceFile) -> io::Result<(TcpStream, Asker)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut found = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WITHIN) {
            Ok(stream) => {
                found = Some(stream);
                break;
            }
            Err(error) => last = error,
        }
    }
    let mut stream = found.ok_or(last)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let Some(secret) = &file.secret else {
        return Ok((stream, Asker::plain()));
    };
    let proof = prove(secret, file.member_id.as_bytes(), draw_key());
    let (initiator, first) = proof.map_err(io::Error::other)?;
    stream.write_all(&first)?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer)?;
    let channel = initiator.finish(&answer).map_err(io::Error::other)?;
    Ok((stream, Asker::proved(channel)))
}

fn ask(stream: &mut TcpStream, asker: &mut Asker) -> io::Result<Status> {
    stream.write_all(&asker.ask(&Ask::Status))?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(text) = asker.take(&buffer[..got]).map_err(io::Error::other)? {
            return serde_json::from_slice(&text).map_err(io::Error::other);
        }
    }
}
