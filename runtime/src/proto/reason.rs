//! Why a task cannot run, in words for the operator.

use std::fmt;
use std::time::Duration;

use ringmw_sched::{LABEL_BYTES_MAX, NEEDS_MAX, PRIORITY_MAX, PRIORITY_MIN, Reason};

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
            Reason::Crashed { .. } => {
                write!(f, "{}; it is given up (--mw-crash-limit)", self.0)
            }
            Reason::NoSuchPriority { priority } => write!(
                f,
                "there is no priority {priority}: from {PRIORITY_MIN}, the lowest, to {PRIORITY_MAX}, 0 where none is given"
            ),
            Reason::NotBegunInTime { within } => write!(
                f,
                "no slave had room for it within {:?} of its submission; give it more time, or a higher priority",
                Duration::from_nanos(within)
            ),
            Reason::NoSuchNeeds => write!(
                f,
                "a task may need up to {NEEDS_MAX} labels, each KEY or KEY=VALUE of at most {LABEL_BYTES_MAX} bytes"
            ),
            Reason::TooManyNeeds => f.write_str(
                "the run's tasks have needed too many different sets of labels; give what differs from task to task as an argument",
            ),
            other => other.fmt(f),
        }
    }
}
