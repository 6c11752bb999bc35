//! CRC-32C: the checksum of frames and of what lands in files.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    append(0, bytes)
}

/// The checksum of what has this one, with `bytes` behind it.
#[inline]
pub(crate) fn append(sum: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < short::LEAST_LONG_BYTES && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has just been found to have it.
        return unsafe { short::append(sum, bytes) };
    }
    append_long(sum, bytes)
}

/// As the crate has it: several lanes, by carry-less multiplication where the processor can.
fn append_long(sum: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!sum));
    digest.update(bytes);
    u32::try_from(digest.finalize()).expect("it has 32 bits")
}

/// A few bytes: several lanes have to be set up, which costs more than a small packet's checksum itself.
#[cfg(target_arch = "x86_64")]
mod short {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    /// From here on several lanes are faster.
    pub(super) const LEAST_LONG_BYTES: usize = 768;

    #[target_feature(enable = "sse4.2")]
    pub(super) fn append(sum: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks();
        let sum = words.iter().fold(u64::from(!sum), |sum, word| {
            _mm_crc32_u64(sum, u64::from_le_bytes(*word))
        });
        let (halves, rest) = rest.as_chunks();
        let sum = halves.iter().fold(sum as u32, |sum, half| {
            _mm_crc32_u32(sum, u32::from_le_bytes(*half))
        });
        !rest.iter().fold(sum, |sum, byte| _mm_crc32_u8(sum, *byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the standard has it (RFC 3720, appendix B.4).
    fn plainly(sum: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!sum, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(sum & 1))
            })
        })
    }

    #[test]
    fn it_is_crc32c_at_every_length_and_alignment() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..9_000u32)
            .map(|nth| (nth.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let lengths = (0..64).chain(760..776).chain([1_500, 8_000]);
        for (begin, length) in lengths.flat_map(|length| (0..8).map(move |begin| (begin, length))) {
            let part = &bytes[begin..][..length];
            let expected = plainly(0x0123_4567, part);
            assert_eq!(append(0x0123_4567, part), expected, "{length} from {begin}");
            assert_eq!(
                append_long(0x0123_4567, part),
                expected,
                "{length} from {begin}"
            );
        }
    }
}
