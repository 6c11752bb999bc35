//! Why a task cannot run, in words for the operator.

use std::fmt;

use ringmw_sched::Reason;

/// A reason in words, with the flag that mends it.
pub(crate) struct InWords(pub(crate) Reason);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::TooLarge { bytes, bytes_max } => write!(
                f,
                "it makes a packet of {bytes} bytes, where at most {bytes_max} may be written; raise --mw-max-write-buffer-size"
            ),
            Reason::QueueFull { bytes_max } => write!(
                f,
                "the queued tasks would pass {bytes_max} bytes; submit by a target number or through map, or raise --mw-max-queued-bytes"
            ),
            Reason::Crashed { crashes, .. } => {
                write!(
                    f,
                    "{}: the limit of --mw-crash-limit is reached ({crashes})",
                    self.0
                )
            }
            other => other.fmt(f),
        }
    }
}
