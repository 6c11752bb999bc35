//! Why a task cannot run, in words for the operator.

use std::fmt;
use std::time::Duration;

use ringmw_sched::{
    Death, LABEL_BYTES_MAX, NEEDS_MAX, PRIORITY_MAX, PRIORITY_MIN, Reason, SlaveId,
};

use crate::proto::end::{CALLED, KILLED_BY, LastSeen};

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

/// A reason in words, with the flag that mends it, and what is known of the lost slave that it names.
pub(crate) struct InWords<'a>(pub(crate) Reason, pub(crate) Option<&'a LastSeen>);

/// A slave, with its host where that is known.
struct Who<'a>(SlaveId, Option<&'a LastSeen>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.1 {
            Some(seen) => write!(f, " on {}", seen.host()),
            None => Ok(()),
        }
    }
}

/// What is known of an end, with what the slave itself said of it.
struct How<'a>(Death, Option<&'a LastSeen>);

impl fmt::Display for How<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.1.map_or("", LastSeen::said);
        let (signal, call) = (said.strip_prefix(KILLED_BY), said.strip_prefix(CALLED));
        match (self.0, signal, call) {
            (Death::Signal, Some(signal), _) => {
                write!(f, "was killed by {signal}, for a fault of its code")
            }
            (Death::Exit, _, Some(call)) => {
                write!(f, "was ended by its own code, which called {call}")
            }
            (death @ Death::Memory, ..) if !said.is_empty() => write!(f, "{death}: {said}"),
            (death, ..) => death.fmt(f),
        }
    }
}

impl fmt::Display for InWords<'_> {
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
            Reason::Crashed {
                slave,
                crashes,
                death,
            } => {
                match crashes {
                    1 => f.write_str("the slave that ran it, ")?,
                    _ => write!(f, "{crashes} slaves were lost while they ran it; the last, ")?,
                }
                let (who, how) = (Who(slave, self.1), How(death, self.1));
                write!(f, "{who}, {how}; it is given up (--mw-crash-limit)")
            }
            Reason::NotRetried(slave) => write!(
                f,
                "{}, which had it, is lost, and it is not to be retried",
                Who(slave, self.1)
            ),
            Reason::SlaveLost(slave) => write!(f, "its slave {} is lost", Who(slave, self.1)),
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
