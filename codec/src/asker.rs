//! An observer's side of its connection: what it writes, and what comes of what it reads. Who drives it does the reading
//! and writing.
//!
//! ```text
//!   prove ──first message──► answer ──► Asker::proved ┐
//!   no secret ───────────────────────► Asker::plain   ┴─► ask ──bytes──► take ──the text, once it is whole
//! ```

use std::fmt;
use std::ops::ControlFlow;

use crate::frame::{FrameError, FrameReader, put_frame};
use crate::handshake::MEMBER_ID_BYTES_MAX;
use crate::kinds::{Kind, ToObserver};
use crate::observe::{ANSWERS_BYTES_MAX, Ask};
use crate::secret::{Channel, FIRST_BYTES, Initiator, Key, RecordError, Role, Secret};

/// Why an observer gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The secret of the resource file is none.
    #[error("the secret in the resource file is none: {0}")]
    Secret(String),
    /// The token of the resource file is longer than a token may be.
    #[error("the member-id in the resource file is longer than {MEMBER_ID_BYTES_MAX} bytes")]
    Token,
    /// A record of the answer does not open.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The answer is no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is none of an answer.
    #[error("{0}")]
    Answer(String),
    /// The answer is longer than an observer takes.
    #[error("the answer is longer than {ANSWERS_BYTES_MAX} bytes")]
    Endless,
}

/// Begins to prove that the secret of a run is known: the first message, and what reads the answer to it.
///
/// # Errors
/// The secret is none, as a resource file has it, or the token is too long.
pub fn prove(
    secret: &str,
    token: &[u8],
    key: Key,
) -> Result<(Initiator, [u8; FIRST_BYTES]), AskError> {
    let secret = Secret::parse(secret).map_err(|error| AskError::Secret(error.to_string()))?;
    if token.len() > MEMBER_ID_BYTES_MAX {
        return Err(AskError::Token);
    }
    Ok(Initiator::new(&secret, Role::Observer, token, key))
}

/// See the module.
pub struct Asker {
    channel: Option<Channel>,
    reader: FrameReader,
    text: Vec<u8>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_proved = self.is_proved();
        f.debug_struct("Asker")
            .field("is_proved", &is_proved)
            .finish_non_exhaustive()
    }
}

impl Asker {
    /// Of a run without a secret.
    pub fn plain() -> Self {
        Asker {
            channel: None,
            reader: FrameReader::new(),
            text: Vec::new(),
        }
    }

    /// Of a run whose master has proved that it knows the secret.
    pub fn proved(channel: Channel) -> Self {
        Asker {
            channel: Some(channel),
            ..Asker::plain()
        }
    }

    /// Whether who answers has proved that it knows the secret.
    pub fn is_proved(&self) -> bool {
        self.channel.is_some()
    }

    /// Asks: the bytes to be written. To be called when the last answer is whole.
    pub fn ask(&mut self, ask: &Ask<'_>) -> Vec<u8> {
        let (mut payload, mut frame) = (Vec::new(), Vec::new());
        ask.encode(&mut payload);
        put_frame(&mut frame, Kind::Ask, &payload);
        match &mut self.channel {
            None => frame,
            Some(channel) => {
                let mut sealed = Vec::new();
                channel.seal(&mut frame, &mut sealed);
                sealed
            }
        }
    }

    /// Takes what was read: the text of the answer, once it is whole.
    ///
    /// # Errors
    /// What came is no answer: the connection is of no more use.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, AskError> {
        let mut opened = Vec::new();
        let came = match &mut self.channel {
            None => bytes,
            Some(channel) => {
                channel.open(bytes, &mut opened)?;
                &opened
            }
        };
        let limit = |kind: Kind| match kind {
            Kind::Answer => kind.limit().bytes(0, 0),
            _ => 0,
        };
        let text = &mut self.text;
        let flow = self
            .reader
            .feed(
                came,
                &limit,
                &mut |kind, payload| match ToObserver::read(kind, payload) {
                    Ok(ToObserver::Answer(answer)) => {
                        text.extend_from_slice(answer.text);
                        match (text.len() > ANSWERS_BYTES_MAX, answer.is_last) {
                            (true, _) => ControlFlow::Break(Err(AskError::Endless)),
                            (false, true) => ControlFlow::Break(Ok(())),
                            (false, false) => ControlFlow::Continue(()),
                        }
                    }
                    Err(error) => ControlFlow::Break(Err(AskError::Answer(error.to_string()))),
                },
            )?;
        match flow {
            ControlFlow::Continue(()) => Ok(None),
            ControlFlow::Break(Ok(())) => Ok(Some(std::mem::take(&mut self.text))),
            ControlFlow::Break(Err(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AskError, Asker, prove};
    use crate::frame::put_frame;
    use crate::kinds::Kind;
    use crate::observe::{ANSWER_BYTES_MAX, Answer, Ask};
    use crate::secret::{Key, SECRET_BYTES};

    fn answer(is_last: bool, text: &[u8]) -> Vec<u8> {
        let (mut payload, mut frame) = (Vec::new(), Vec::new());
        Answer { is_last, text }.encode(&mut payload);
        put_frame(&mut frame, Kind::Answer, &payload);
        frame
    }

    #[test]
    fn an_answer_is_put_together_however_it_is_cut() {
        let bytes = [answer(false, b"{\"one\""), answer(true, b":1}")].concat();
        for cut in 1..bytes.len() {
            let mut asker = Asker::plain();
            for _ in 0..2 {
                let mut frame = Vec::new();
                put_frame(&mut frame, Kind::Ask, &[1]);
                assert_eq!(asker.ask(&Ask::Status), frame);
                assert_eq!(asker.take(&bytes[..cut]), Ok(None), "{cut}");
                assert_eq!(asker.take(&bytes[cut..]), Ok(Some(b"{\"one\":1}".to_vec())));
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let mut other = Vec::new();
        put_frame(&mut other, Kind::Heartbeat, &[]);
        assert!(matches!(
            Asker::plain().take(&other),
            Err(AskError::Answer(_))
        ));
        assert!(matches!(
            Asker::plain().take(b"HTTP/1.1 400 Bad Request\r\n"),
            Err(AskError::Frame(_))
        ));
        let piece = answer(false, &[b' '; ANSWER_BYTES_MAX]);
        let mut endless = Asker::plain();
        let error = (0..=2_048).find_map(|_| endless.take(&piece).err());
        assert_eq!(error, Some(AskError::Endless));
    }

    #[test]
    fn a_wrong_secret_or_token_is_told() {
        let key = || Key::new([7; SECRET_BYTES]);
        assert!(matches!(
            prove("none", b"id", key()),
            Err(AskError::Secret(_))
        ));
        let secret = "ab".repeat(SECRET_BYTES);
        assert!(matches!(
            prove(&secret, &[7; 256], key()),
            Err(AskError::Token)
        ));
    }
}
