//! Whether the master of a resource file still answers: who asks at its second listener, over the run's secret where the
//! file has one.
//!
//! One that was killed does not answer, and no more does another service on its port: it cannot prove the secret. A
//! master whose algorithm holds its thread does, since a thread of its own answers.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use ringmw_codec::frame::{FrameReader, put_frame};
use ringmw_codec::handshake::MEMBER_ID_BYTES_MAX;
use ringmw_codec::kinds::{Kind, ToObserver};
use ringmw_codec::observe::{ANSWERS_BYTES_MAX, Ask};
use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::{ANSWER_BYTES, Channel, Initiator, Role, Secret};
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
    let (mut stream, mut channel) = connect(address, &file).ok()?;
    match ask(&mut stream, channel.as_mut()) {
        Ok(status) => {
            let run = &status.run;
            // Without a secret nothing is proved: it says itself which run it is.
            let is_it = channel.is_some() || run.addresses == file.master_addresses;
            is_it.then(|| {
                let (name, host, pid) = (&run.name, &run.host, run.pid);
                format!("{name}, process {pid} on {host}, answers at {address}")
            })
        }
        // It has proved that it is the one.
        Err(_) => channel.map(|_| format!("its master answers at {address}")),
    }
}

/// Connects, and has the other side prove that it knows the file's secret.
fn connect(address: &str, file: &ResourceFile) -> io::Result<(TcpStream, Option<Channel>)> {
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
        return Ok((stream, None));
    };
    let secret = Secret::parse(secret).map_err(io::Error::other)?;
    let token = file.member_id.as_bytes();
    if token.len() > MEMBER_ID_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (initiator, first) = Initiator::new(&secret, Role::Observer, token, draw_key());
    stream.write_all(&first)?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer)?;
    let channel = initiator.finish(&answer).map_err(io::Error::other)?;
    Ok((stream, Some(channel)))
}

fn ask(stream: &mut TcpStream, mut channel: Option<&mut Channel>) -> io::Result<Status> {
    let (mut payload, mut frame) = (Vec::new(), Vec::new());
    Ask::Status.encode(&mut payload);
    put_frame(&mut frame, Kind::Ask, &payload);
    match &mut channel {
        Some(channel) => {
            let mut sealed = Vec::new();
            channel.seal(&mut frame, &mut sealed);
            stream.write_all(&sealed)?;
        }
        None => stream.write_all(&frame)?,
    }
    let limit = |kind: Kind| match kind {
        Kind::Answer => kind.limit().bytes(0, 0),
        _ => 0,
    };
    let (mut reader, mut text) = (FrameReader::new(), Vec::new());
    let (mut buffer, mut came) = (vec![0; READ_BYTES], Vec::new());
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        came.clear();
        match &mut channel {
            Some(channel) => channel
                .open(&buffer[..got], &mut came)
                .map_err(io::Error::other)?,
            None => came.extend_from_slice(&buffer[..got]),
        }
        let flow = reader.feed(&came, &limit, &mut |kind, payload| match ToObserver::read(
            kind, payload,
        ) {
            Ok(ToObserver::Answer(answer)) => {
                text.extend_from_slice(answer.text);
                match answer.is_last || text.len() > ANSWERS_BYTES_MAX {
                    true => ControlFlow::Break(answer.is_last),
                    false => ControlFlow::Continue(()),
                }
            }
            Err(_) => ControlFlow::Break(false),
        });
        match flow.map_err(io::Error::other)? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(true) => {
                return serde_json::from_slice(&text).map_err(io::Error::other);
            }
            ControlFlow::Break(false) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
