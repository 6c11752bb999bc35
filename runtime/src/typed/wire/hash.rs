//! FNV-1a over type structure. A fixed function: it is compared between processes and kept in journals.

pub(crate) const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

pub(crate) const fn word(mut hash: u64, word: u64) -> u64 {
    let bytes = word.to_le_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    hash
}

/// The length goes first, so that ("ab", "c") and ("a", "bc") differ.
pub(crate) const fn text(hash: u64, text: &str) -> u64 {
    let mut hash = word(hash, text.len() as u64);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    hash
}
