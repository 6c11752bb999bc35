//! Why a task cannot run, in words for the operator.

use std::fmt;
use std::time::Duration;

use ringmw_sched::{LABEL_BYTES_MAX, NEEDS_MAX, PRIORITY_MAX, PRIORITY_MIN, Reason};

/// The remedy where a packet of so many bytes is larger than a flag allows: the flag with a value that is enough.
pub(crate) struct Raise(pub(crate) &'static str, pub(crate) u64);

impl fmt::Display for Raise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        // What stands around the body in its packet is less than this.
        let bytes = self.1.saturating_add(1 << 10);
        let Raise(flag, _) = self;
        match bytes.checked_next_power_of_two() {
            Some(enough) if enough < MIB => write!(f, "raise it: {flag} {}KiB", enough >> 10),
            Some(enough) if enough <= 1 << 30 => write!(f, "raise it: {flag} {}MiB", enough / MIB),
            _ => write!(
                f,
                "no packet is larger than 1GiB ({flag}): cut it, or share it"
            ),
        }
    }
}

/// A reason in words, with the flag that mends it.
pub(crate) struct InWords(pub(crate) Reason);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::TooLarge { bytes, bytes_max } => write!(
                f,
                "it makes a packet of {bytes} bytes, where at most {bytes_max} may be written; {}",
                Raise("--mw-max-write-buffer-size", bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_a_value_that_is_enough() {
        let remedy = |bytes| Raise("--mw-x", bytes).to_string();
        assert_eq!(remedy(131_073), "raise it: --mw-x 256KiB");
        assert_eq!(remedy(600_000), "raise it: --mw-x 1MiB");
        assert_eq!(remedy(2_000_000), "raise it: --mw-x 2MiB");
        assert_eq!(remedy(2 << 20), "raise it: --mw-x 4MiB");
        assert_eq!(remedy(1 << 29), "raise it: --mw-x 1024MiB");
        for bytes in [(1 << 30) - 5, 1 << 30, u64::MAX] {
            assert!(remedy(bytes).starts_with("no packet is larger than 1GiB (--mw-x)"));
        }
    }
}
