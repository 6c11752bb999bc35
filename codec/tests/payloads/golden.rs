//! The bytes of batches, task bodies and control payloads, and what of them is refused.

use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BatchError, MARKED, RESULT_ENTRY_BYTES, ResultBatchBuilder,
    ResultBatchView, ResultStatus, TASK_BODY_HEADER_BYTES_MAX, TASK_ENTRY_BYTES, TaskBatchBuilder,
    TaskBatchView, TaskBody, encode_task_body,
};
use ringmw_codec::control::{
    Begun, Bests, Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, Starting,
    WITHDRAW_TASKS_MAX, Withdraw, Withdrawn,
};
use ringmw_codec::wire::DecodeError;

use crate::encoded;

fn tasks() -> TaskBatchBuilder {
    let mut builder = TaskBatchBuilder::new();
    builder.push(0x0102_0304_0506_0708, 0x0a0b, MARKED, b"abc");
    builder.push(5, 0, 0, b"");
    builder
}

#[test]
fn golden_task_batch() {
    let mut builder = tasks();
    let payload = encoded(|out| builder.encode(out));
    let expected = [
        &b"abc"[..],
        b"\x08\x07\x06\x05\x04\x03\x02\x01\x01\0\0\0\x0b\x0a\x01\x00\0\0\0\0\x03\0\0\0",
        b"\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
        // Where the blob lies from here, its length; where the entries lie from here, their number.
        &(-51i64).to_le_bytes(),
        &3u64.to_le_bytes(),
        &(-64i64).to_le_bytes(),
        &2u64.to_le_bytes(),
    ]
    .concat();
    assert_eq!(payload, expected);
    assert_eq!(payload.len(), builder.bytes());
    assert_eq!(
        payload.len(),
        BATCH_OVERHEAD_BYTES + 2 * TASK_ENTRY_BYTES + 3
    );

    // Behind other bytes in a send buffer, at an odd place, it is the same.
    let mut behind = b"x".to_vec();
    builder.encode(&mut behind);
    assert_eq!(behind[1..], payload);

    let batch = TaskBatchView::decode(&behind[1..]).expect("our own");
    let read: Vec<_> = batch
        .iter()
        .map(|(entry, body)| (entry.task, entry.is_marked(), body))
        .collect();
    assert_eq!(
        read,
        [(0x0102_0304_0506_0708, true, &b"abc"[..]), (5, false, b"")]
    );
    assert_eq!((batch.entries(), batch.tasks(), builder.tasks()), (2, 2, 2));
    assert_eq!((batch.body_range(0), batch.body_range(1)), (0..3, 3..3));
}

#[test]
fn golden_result_batch() {
    let mut builder = ResultBatchBuilder::new();
    builder.push(9, 1, ResultStatus::Failed, 5_000_000_000, "né".as_bytes());
    let payload = encoded(|out| builder.encode(out));
    let expected = [
        &b"n\xc3\xa9"[..],
        b"\x09\0\0\0\0\0\0\0\x00\xf2\x05\x2a\x01\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x01\0\x01\0",
        &(-35i64).to_le_bytes(),
        &3u64.to_le_bytes(),
        &(-48i64).to_le_bytes(),
        &1u64.to_le_bytes(),
    ]
    .concat();
    assert_eq!(payload, expected);
    assert_eq!(payload.len(), BATCH_OVERHEAD_BYTES + RESULT_ENTRY_BYTES + 3);
    let batch = ResultBatchView::decode(&payload).expect("our own");
    let (entry, body) = batch.iter().next().expect("one");
    assert_eq!(
        (entry.task, entry.algorithm, entry.status),
        (9, 1, ResultStatus::Failed)
    );
    assert_eq!(
        (entry.compute_ns, body, batch.body_range(0)),
        (5_000_000_000, "né".as_bytes(), 0..3)
    );

    let status_at = 3 + 30;
    for (at, byte, expected) in [
        (status_at, 2, BatchError::Status { index: 0, got: 2 }),
        (1, b'x', BatchError::FailureText { index: 0 }),
        (
            3 + 24,
            0,
            BatchError::Series {
                index: 0,
                first: 9,
                count: 0,
            },
        ),
        (3 + 24, 3, BatchError::FailedSeries { index: 0, count: 3 }),
        (3 + 31, 1, BatchError::Form { index: 0, got: 1 }),
        (3 + 31, 2, BatchError::Form { index: 0, got: 2 }),
        (
            3 + 16,
            1,
            BatchError::Body {
                index: 0,
                offset: 1,
                len: 3,
                expected: 0,
                blob_bytes: 3,
            },
        ),
        (
            3 + 20,
            1,
            BatchError::Blob {
                expected: 1,
                got: 3,
            },
        ),
        (
            3 + 20,
            4,
            BatchError::Body {
                index: 0,
                offset: 0,
                len: 4,
                expected: 0,
                blob_bytes: 3,
            },
        ),
    ] {
        let mut damaged = payload.clone();
        damaged[at] = byte;
        assert_eq!(
            ResultBatchView::decode(&damaged).err(),
            Some(expected),
            "{at}"
        );
    }
    let padded = [b"x", &payload[..]].concat();
    let expected = BatchError::Length {
        expected: payload.len(),
        got: padded.len(),
    };
    assert_eq!(ResultBatchView::decode(&padded).err(), Some(expected));
}

#[test]
fn an_empty_batch_and_a_reused_builder() {
    let mut builder = tasks();
    builder.clear();
    let payload = encoded(|out| builder.encode(out));
    assert_eq!(
        (payload.len(), builder.is_empty()),
        (BATCH_OVERHEAD_BYTES, true)
    );
    assert!(TaskBatchView::decode(&payload).expect("our own").is_empty());
    assert_eq!(
        TaskBatchView::decode(b"").err(),
        Some(BatchError::Archive { payload_bytes: 0 })
    );
}

/// With `pointer_width_32` a `usize` above 2^32 would arrive truncated; with another byte order, garbled; without
/// `unaligned`, refused at odd offsets.
#[test]
fn the_archive_format_is_pinned() {
    for number in [0, 5_000_000_000, usize::MAX] {
        let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&(number, 1u8)).expect("no limits");
        assert_eq!(archive.len(), 9);
        assert_eq!(archive[..8], (number as u64).to_le_bytes());
        let odd = [b"x", &archive[..]].concat();
        let read =
            rkyv::from_bytes::<(usize, u8), rkyv::rancor::Error>(&odd[1..]).expect("at any offset");
        assert_eq!(read, (number, 1));
    }
    let text = rkyv::to_bytes::<rkyv::rancor::Error>(&"more than eight bytes".to_owned())
        .expect("no limits");
    assert_eq!(text.len(), 21 + 16, "64-bit relative pointers");
}

#[test]
fn golden_task_body() {
    let body = TaskBody {
        domain: 1,
        stream: 2,
        tag_type: 3,
        timeout_ms: 60_000,
        tag: b"tag",
        args: b"args",
    };
    let bytes = encoded(|out| encode_task_body(out, &body));
    assert_eq!(TaskBody::timeout_ms_of(&bytes), 60_000);
    assert_eq!(
        bytes,
        b"\x13\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x60\xea\0\0\0\0\0\0\x03\0\0\0tagargs"
    );
    assert_eq!(TaskBody::parse(&bytes), Ok(body));
    for cut in 0..bytes.len() - 4 {
        assert!(TaskBody::parse(&bytes[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_task_body_has_one_encoding() {
    let short = u64::from(u32::MAX);
    for domain in [0, 1, short, short + 1, u64::MAX - 1, u64::MAX] {
        for (tag_type, tag) in [(0, &b""[..]), (7, b""), (0, b"x"), (7, b"tag")] {
            for timeout_ms in [0, 1, u64::MAX] {
                let body = TaskBody {
                    domain,
                    stream: 5,
                    tag_type,
                    timeout_ms,
                    tag,
                    args: b"args",
                };
                let bytes = encoded(|out| encode_task_body(out, &body));
                assert_eq!(TaskBody::parse(&bytes), Ok(body));
                assert_eq!(TaskBody::timeout_ms_of(&bytes), timeout_ms);
                assert_eq!(bytes.len(), body.encoded_bytes());
                assert!(bytes.len() <= TASK_BODY_HEADER_BYTES_MAX + tag.len() + 4);
            }
        }
    }
    // An unknown form, a time-out that is none, a family of no map, one that is written too long, and a tag that is none.
    let zeros = [0; 40];
    for (form, family) in [
        (8, 0u64),
        (32, 0),
        (16, 0),
        (2, 0),
        (6, 3),
        (6, u64::MAX),
        (1, 0),
    ] {
        let bytes = [&[form][..], &family.to_le_bytes(), &zeros].concat();
        assert!(TaskBody::parse(&bytes).is_err(), "{form} {family}");
    }
}

/// A payload's bytes, its reading, and that every cut and every extra byte is refused.
macro_rules! check_control {
    ($value:expr, $type:ident, $bytes:expr) => {{
        let (value, expected): (_, &[u8]) = ($value, $bytes);
        assert_eq!(encoded(|out| value.encode(out)), expected);
        assert_eq!($type::decode(expected), Ok(value));
        for cut in 0..expected.len() {
            assert!($type::decode(&expected[..cut]).is_err(), "{cut}");
        }
        let longer = [expected, b"x"].concat();
        assert_eq!(
            $type::decode(&longer),
            Err(DecodeError::Trailing { got: 1 })
        );
    }};
}

#[test]
fn golden_control_payloads() {
    check_control!(Shutdown { finished: true }, Shutdown, b"\x01");
    check_control!(
        Goodbye {
            code: GoodbyeCode::StateInit,
            begun: Begun::Oldest,
            reason: "no disk".into()
        },
        Goodbye,
        b"\x01\x01\x07\0no disk"
    );
    check_control!(
        Goodbye {
            code: GoodbyeCode::Evicted,
            begun: Begun::Any,
            reason: String::new()
        },
        Goodbye,
        b"\0\x02\0\0"
    );
    check_control!(Recall { tasks: 258 }, Recall, b"\x02\x01\0\0");
    check_control!(
        Returned { tasks: vec![258] },
        Returned,
        b"\x01\0\0\0\x02\x01\0\0\0\0\0\0"
    );
    check_control!(
        Withdraw {
            tasks: vec![1, 258]
        },
        Withdraw,
        b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0"
    );
    check_control!(
        Withdrawn {
            tasks: vec![(1, true), (2, false)]
        },
        Withdrawn,
        b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\0"
    );
    check_control!(Starting { task: 920 }, Starting, b"\x98\x03\0\0\0\0\0\0");
    check_control!(
        Bests {
            entries: vec![(1, 2)]
        },
        Bests,
        b"\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0"
    );

    let offer = Offer {
        best: 1,
        key: 2,
        witness: b"tour",
    };
    let bytes = encoded(|out| offer.encode(out));
    assert_eq!(bytes, b"\x01\0\0\0\x02\0\0\0\0\0\0\0tour");
    assert_eq!(Offer::decode(&bytes), Ok(offer));
    assert!(Offer::decode(&bytes[..11]).is_err());
}

#[test]
fn control_payloads_are_bounded() {
    let goodbye = Goodbye {
        code: GoodbyeCode::Other,
        begun: Begun::None,
        reason: "é".repeat(1000),
    };
    let bytes = encoded(|out| goodbye.encode(out));
    assert_eq!(bytes.len(), Goodbye::BYTES_MAX);
    assert_eq!(
        Goodbye::decode(&bytes).expect("our own").reason,
        "é".repeat(512)
    );

    let most = Withdrawn {
        tasks: vec![(7, true); WITHDRAW_TASKS_MAX],
    };
    let bytes = encoded(|out| most.encode(out));
    assert_eq!(bytes.len(), Withdrawn::BYTES_MAX);
    assert_eq!(Withdrawn::decode(&bytes), Ok(most));
    assert!(Shutdown::decode(&[2]).is_err());
    assert!(Recall::decode(&4097u32.to_le_bytes()).is_err());
    // A count that the payload cannot hold takes no memory.
    assert!(Bests::decode(&u32::MAX.to_le_bytes()).is_err());
}
