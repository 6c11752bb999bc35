//! Batches, task bodies and control payloads: golden bytes, strictness, what rkyv's features must keep.

use proptest::prelude::*;
use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BatchError, MARKED, RESULT_ENTRY_BYTES, ResultBatchBuilder, ResultStatus,
    TASK_BODY_HEADER_BYTES, TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBody, encode_task_body,
    result_batch, task_batch,
};
use ringmw_codec::control::{
    Bests, Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, Starting, WITHDRAW_TASKS_MAX,
    Withdraw, Withdrawn,
};
use ringmw_codec::wire::DecodeError;

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

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
        b"\x08\x07\x06\x05\x04\x03\x02\x01\x0b\x0a\x01\x00\0\0\0\0\x03\0\0\0",
        b"\x05\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
        // Where the blob lies from here, its length; where the entries lie from here, their number.
        &(-43i64).to_le_bytes(),
        &3u64.to_le_bytes(),
        &(-56i64).to_le_bytes(),
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

    let batch = task_batch(&behind[1..]).expect("our own");
    let read: Vec<_> = batch
        .iter()
        .map(|(entry, body)| (entry.task, entry.is_marked(), body))
        .collect();
    assert_eq!(
        read,
        [(0x0102_0304_0506_0708, true, &b"abc"[..]), (5, false, b"")]
    );
    assert_eq!(
        (batch.len(), batch.body_range(0), batch.body_range(1)),
        (2, 0..3, 3..3)
    );
}

#[test]
fn golden_result_batch() {
    let mut builder = ResultBatchBuilder::new();
    builder.push(9, 1, ResultStatus::Failed, 5_000_000_000, "né".as_bytes());
    let payload = encoded(|out| builder.encode(out));
    let expected = [
        &b"n\xc3\xa9"[..],
        b"\x09\0\0\0\0\0\0\0\x00\xf2\x05\x2a\x01\0\0\0\0\0\0\0\x03\0\0\0\x01\0\x01\0",
        &(-31i64).to_le_bytes(),
        &3u64.to_le_bytes(),
        &(-44i64).to_le_bytes(),
        &1u64.to_le_bytes(),
    ]
    .concat();
    assert_eq!(payload, expected);
    assert_eq!(payload.len(), BATCH_OVERHEAD_BYTES + RESULT_ENTRY_BYTES + 3);
    let batch = result_batch(&payload).expect("our own");
    let (entry, body) = batch.iter().next().expect("one");
    assert_eq!(
        (entry.task, entry.algorithm, entry.status),
        (9, 1, ResultStatus::Failed)
    );
    assert_eq!(
        (entry.compute_ns, body, batch.body_range(0)),
        (5_000_000_000, "né".as_bytes(), 0..3)
    );

    let status_at = 3 + 26;
    for (at, byte, expected) in [
        (status_at, 2, BatchError::Status { index: 0, got: 2 }),
        (1, b'x', BatchError::FailureText { index: 0 }),
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
        assert_eq!(result_batch(&damaged).err(), Some(expected), "{at}");
    }
    let padded = [b"x", &payload[..]].concat();
    let expected = BatchError::Length {
        expected: payload.len(),
        got: padded.len(),
    };
    assert_eq!(result_batch(&padded).err(), Some(expected));
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
    assert!(task_batch(&payload).expect("our own").is_empty());
    assert_eq!(
        task_batch(b"").err(),
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
        tag: b"tag",
        args: b"args",
    };
    let bytes = encoded(|out| encode_task_body(out, &body));
    assert_eq!(
        bytes,
        b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0tagargs"
    );
    assert_eq!(bytes.len(), TASK_BODY_HEADER_BYTES + 7);
    assert_eq!(TaskBody::parse(&bytes), Ok(body));
    for cut in 0..TASK_BODY_HEADER_BYTES + 3 {
        assert!(TaskBody::parse(&bytes[..cut]).is_err(), "{cut}");
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
            begun: true,
            reason: "no disk".into()
        },
        Goodbye,
        b"\x01\x01\x07\0no disk"
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
        begun: false,
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

type Entries = Vec<(u64, u16, u64, Vec<u8>)>;

fn any_entries() -> impl Strategy<Value = Entries> {
    let body = prop::collection::vec(any::<u8>(), 0..30);
    prop::collection::vec((any::<u64>(), any::<u16>(), any::<u64>(), body), 0..20)
}

fn task_payload(entries: &Entries) -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    for (task, algorithm, flags, body) in entries {
        builder.push(*task, *algorithm, *flags as u16 & MARKED, body);
    }
    encoded(|out| builder.encode(out))
}

fn result_payload(entries: &Entries) -> Vec<u8> {
    let mut builder = ResultBatchBuilder::new();
    for (task, algorithm, compute_ns, body) in entries {
        builder.push(*task, *algorithm, ResultStatus::Done, *compute_ns, body);
    }
    encoded(|out| builder.encode(out))
}

/// Uses all that a view offers.
fn walk(payload: &[u8]) -> usize {
    let tasks = task_batch(payload).map_or(0, |batch| {
        (0..batch.len())
            .zip(batch.iter())
            .map(|(index, (_, body))| {
                assert_eq!(&payload[batch.body_range(index)], body);
                body.len()
            })
            .sum()
    });
    let results = result_batch(payload).map_or(0, |batch| {
        (0..batch.len())
            .zip(batch.iter())
            .map(|(index, (_, body))| {
                assert_eq!(&payload[batch.body_range(index)], body);
                body.len()
            })
            .sum()
    });
    // Bodies never overlap, so no packet is worth more than its bytes.
    assert!(tasks <= payload.len() && results <= payload.len());
    tasks + results
}

proptest! {
    #[test]
    fn batches_turn_round(entries in any_entries()) {
        let payload = task_payload(&entries);
        let batch = task_batch(&payload).expect("our own");
        let read: Entries = batch.iter().map(|(entry, body)| (entry.task, entry.algorithm, entry.flags.into(), body.to_vec())).collect();
        let sent: Entries = entries.iter().map(|(task, algorithm, flags, body)| (*task, *algorithm, flags & 1, body.clone())).collect();
        prop_assert_eq!(read, sent);

        let payload = result_payload(&entries);
        let batch = result_batch(&payload).expect("our own");
        let read: Entries = batch.iter().map(|(entry, body)| (entry.task, entry.algorithm, entry.compute_ns, body.to_vec())).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn damaged_batches_never_panic(entries in any_entries(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for mut payload in [task_payload(&entries), result_payload(&entries)] {
            let at = at.index(payload.len());
            payload[at] = byte;
            walk(&payload);
            walk(&payload[..at]);
        }
    }

    #[test]
    fn noise_never_panics(noise in any::<Vec<u8>>()) {
        walk(&noise);
        let _ = TaskBody::parse(&noise);
        let _ = Shutdown::decode(&noise);
        let _ = Goodbye::decode(&noise);
        let _ = Withdraw::decode(&noise);
        let _ = Withdrawn::decode(&noise);
        let _ = Starting::decode(&noise);
        let _ = Offer::decode(&noise);
        let _ = Bests::decode(&noise);
    }
}
