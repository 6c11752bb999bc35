//! Pauses that double.

use ringmw_codec::Nanos;

/// One second.
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// The pause after so many that doubled, up to the last.
pub(super) fn doubled(first: Nanos, times: u32, last: Nanos) -> Nanos {
    first
        .saturating_mul(1u64.checked_shl(times).unwrap_or(u64::MAX))
        .min(last)
}
