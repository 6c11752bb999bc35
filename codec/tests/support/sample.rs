//! What the golden bytes and the tests of payloads begin with.

use ringmw_codec::batch::TaskSeries;

pub(crate) const SERIES: TaskSeries<'static> = TaskSeries {
    count: 3,
    domain: 1,
    stream: 2,
    tag_type: None,
    timeout_ms: 0,
    elements: b"aabbcc",
    ends: &[],
    base: 0,
};

pub(crate) fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}
