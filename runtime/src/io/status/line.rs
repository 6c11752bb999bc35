//! An observer's connection as bytes of frames: plain where the run has no secret, else proved and sealed.

use std::io;
use std::time::Duration;

use ringmw_codec::secret::{Channel, FIRST_BYTES, First, Role, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::io::secret_file;

/// A proof takes so long at most.
const PROVES_WITHIN: Duration = Duration::from_secs(5);

/// What the run's observers must know.
pub(crate) struct Proof {
    pub(crate) secret: Secret,
    pub(crate) member_id: Vec<u8>,
}

pub(super) struct Line {
    stream: TcpStream,
    channel: Option<Channel>,
    came: Vec<u8>,
}

impl Line {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Line {
            stream,
            channel: None,
            came: vec![0; 4096],
        }
    }

    /// Who does not know the secret, or speaks without one, is closed without a word: before the proof nothing but one
    /// message of fixed size is read.
    pub(super) async fn proved(mut stream: TcpStream, proof: &Proof) -> io::Result<Self> {
        let mut first = [0; FIRST_BYTES];
        tokio::time::timeout(PROVES_WITHIN, stream.read_exact(&mut first)).await??;
        let first = First::read(&first).map_err(io::Error::other)?;
        let half = first.prove(&proof.secret, &proof.member_id, secret_file::draw_key());
        let half = half.map_err(io::Error::other)?;
        if half.role() != Role::Observer {
            return Err(io::Error::other("slaves have another listener"));
        }
        let (channel, answer) = half.answer();
        tokio::time::timeout(PROVES_WITHIN, stream.write_all(&answer)).await??;
        Ok(Line {
            channel: Some(channel),
            ..Line::plain(stream)
        })
    }

    /// What came next, appended to `frames`; false at the end.
    pub(super) async fn read(&mut self, frames: &mut Vec<u8>) -> io::Result<bool> {
        let got = self.stream.read(&mut self.came).await?;
        match &mut self.channel {
            None => frames.extend_from_slice(&self.came[..got]),
            Some(channel) => channel
                .open(&self.came[..got], frames)
                .map_err(io::Error::other)?,
        }
        Ok(got > 0)
    }

    pub(super) async fn write(&mut self, mut frames: Vec<u8>) -> io::Result<()> {
        let Some(channel) = &mut self.channel else {
            return self.stream.write_all(&frames).await;
        };
        let mut sealed = Vec::new();
        channel.seal(&mut frames, &mut sealed);
        self.stream.write_all(&sealed).await
    }
}
