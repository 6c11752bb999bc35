//! Batches, task bodies and control payloads: golden bytes, strictness, what rkyv's features must keep.

use proptest::prelude::*;
use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BOUND, BatchError, Elements, MARKED, RESULT_ENTRY_BYTES,
    ResultBatchBuilder, ResultBatchView, ResultStatus, TASK_BODY_HEADER_BYTES_MAX, TASK_END_BYTES,
    TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBatchView, TaskBody, TaskSeries, encode_task_body,
};
use ringmw_codec::control::{
    Begun, Bests, Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, Starting,
    WITHDRAW_TASKS_MAX, Withdraw, Withdrawn,
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

const SERIES: TaskSeries<'static> = TaskSeries {
    count: 3,
    domain: 1,
    stream: 2,
    tag_type: None,
    timeout_ms: 0,
    elements: b"aabbcc",
    ends: &[],
    base: 0,
};

/// The payload with one byte changed to another.
fn with_byte(payload: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload[at] = byte;
    payload
}

fn series_bytes(series: &TaskSeries<'_>) -> Vec<u8> {
    let bytes = encoded(|out| series.encode(out));
    assert_eq!(bytes.len(), series.encoded_bytes());
    bytes
}

#[test]
fn a_series_of_tasks_is_one_entry() {
    let mut builder = TaskBatchBuilder::new();
    builder.push_series(920, 1, MARKED | BOUND, &SERIES);
    builder.push(7, 0, 0, b"one");
    let nothing = TaskSeries {
        count: 1_000_000_001,
        elements: b"",
        ..SERIES
    };
    builder.push_series(u64::MAX - 1_000_000_000, 2, 0, &nothing);
    assert_eq!((builder.entries(), builder.tasks()), (3, 1_000_000_005));
    let payload = encoded(|out| builder.encode(out));
    assert_eq!(payload.len(), builder.bytes());
    assert_eq!(
        payload.len(),
        BATCH_OVERHEAD_BYTES + 3 * TASK_ENTRY_BYTES + (13 + 6) + 3 + 13
    );

    let batch = TaskBatchView::decode(&payload).expect("our own");
    assert_eq!((batch.entries(), batch.tasks()), (3, 1_000_000_005));
    let (entry, body) = batch.iter().next().expect("three entries");
    assert_eq!((entry.task, entry.count, entry.algorithm), (920, 3, 1));
    assert_eq!(entry.flags, MARKED | BOUND);
    let series = TaskSeries::parse(body, entry.count).expect("our own");
    assert_eq!(series, SERIES);
    for (index, args) in [b"aa", b"bb", b"cc"].into_iter().enumerate() {
        let expected = TaskBody {
            domain: 1,
            stream: 2 + index as u64,
            tag_type: 0,
            timeout_ms: 0,
            tag: b"",
            args,
        };
        assert_eq!(series.nth(index as u32), Ok(expected));
    }
    let (entry, body) = batch.iter().last().expect("three entries");
    let series = TaskSeries::parse(body, entry.count).expect("our own");
    let last = series.nth(1_000_000_000).expect("our own");
    assert_eq!((last.stream, last.args), (1_000_000_002, &b""[..]));
}

/// Tags of their own, of no length too, and arguments that differ in length, each put by itself.
fn varied(tag_type: Option<u64>, tasks: &[(&[u8], &[u8])]) -> (Vec<u8>, Vec<[u8; 4]>) {
    let (mut elements, mut ends) = (vec![7; 5], Vec::new());
    for (tag, args) in tasks {
        let body = TaskBody {
            domain: 1,
            stream: 2,
            tag_type: tag_type.unwrap_or(0),
            timeout_ms: 0,
            tag,
            args,
        };
        let before = elements.len();
        body.put_element(&mut elements);
        assert_eq!(elements.len() - before, body.element_bytes());
        ends.push((elements.len() as u32).to_le_bytes());
    }
    elements.drain(..5);
    (elements, ends)
}

#[test]
fn tasks_of_a_series_differ_in_length_and_have_tags() {
    let tasks: [(&[u8], &[u8]); 4] = [(b"", b"a"), (b"t", b""), (b"tag", b"bbb"), (b"", b"")];
    let plain: [(&[u8], &[u8]); 4] = tasks.map(|(_, args)| (&b""[..], args));
    for (tag_type, tasks) in [(Some(3), tasks), (None, plain)] {
        let (elements, ends) = varied(tag_type, &tasks);
        // The elements are a part of a longer block, and their ends are counted from its begin.
        let series = TaskSeries {
            count: 4,
            tag_type,
            timeout_ms: 0,
            elements: &elements,
            ends: &ends,
            base: 5,
            ..SERIES
        };
        let bytes = series_bytes(&series);
        let head = if tag_type.is_some() { 13 + 8 } else { 13 };
        assert_eq!(bytes.len(), head + elements.len() + 4 * TASK_END_BYTES);
        let read = TaskSeries::parse(&bytes, 4).expect("our own");
        assert_eq!((read.base, read.elements), (0, series.elements));
        assert_eq!(series_bytes(&read), bytes);
        for (index, (tag, args)) in tasks.into_iter().enumerate() {
            let expected = TaskBody {
                domain: 1,
                stream: 2 + index as u64,
                tag_type: tag_type.unwrap_or(0),
                timeout_ms: 0,
                tag,
                args,
            };
            for series in [series, read] {
                assert_eq!(series.nth(index as u32), Ok(expected));
            }
        }
    }
}

#[test]
fn a_series_of_one_task_is_the_task_by_itself() {
    let body = TaskBody {
        domain: 1,
        stream: 2,
        tag_type: 0,
        timeout_ms: 0,
        tag: b"",
        args: b"aabbcc",
    };
    let tagged = TaskBody {
        tag: b"tag",
        ..body
    };
    for body in [body, tagged] {
        let (mut series, mut alone) = (TaskBatchBuilder::new(), TaskBatchBuilder::new());
        let one = TaskSeries {
            count: 1,
            tag_type: body.tag_type(),
            timeout_ms: 0,
            elements: &encoded(|out| body.put_element(out)),
            ..SERIES
        };
        series.push_series(920, 1, 0, &one);
        alone.push(920, 1, 0, &encoded(|out| encode_task_body(out, &body)));
        let payload = encoded(|out| series.encode(out));
        assert_eq!(payload, encoded(|out| alone.encode(out)));
        let batch = TaskBatchView::decode(&payload).unwrap();
        let (_, bytes) = batch.iter().next().unwrap();
        assert_eq!(TaskBody::parse(bytes), Ok(body));
        assert_eq!(one.nth(0), Ok(body));
    }
}

#[test]
fn series_of_tasks_that_are_none_are_refused() {
    let mut builder = TaskBatchBuilder::new();
    builder.push_series(u64::MAX - 2, 1, 0, &SERIES);
    let payload = encoded(|out| builder.encode(out));
    assert!(TaskBatchView::decode(&payload).is_ok());
    let count_at = 19 + 8;
    for count in [0, 4, 255] {
        let expected = BatchError::Series {
            index: 0,
            first: u64::MAX - 2,
            count: count.into(),
        };
        let damaged = with_byte(&payload, count_at, count);
        assert_eq!(
            TaskBatchView::decode(&damaged).err(),
            Some(expected),
            "{count}"
        );
        assert!(expected.to_string().contains(&(u64::MAX - 2).to_string()));
    }

    // The body is judged apart from the batch.
    let plain = series_bytes(&SERIES);
    for count in [1, 2, 3, 6] {
        let series = TaskSeries { count, ..SERIES };
        assert_eq!(TaskSeries::parse(&plain, count), Ok(series));
    }
    let late = TaskSeries {
        stream: u64::MAX - 1,
        ..SERIES
    };
    assert!(TaskSeries::parse(&series_bytes(&late), 2).is_ok());
    let wrong = |field, got| Err(DecodeError::Value { field, got });
    for (bytes, count, expected) in [
        (&plain, 0, wrong("tasks of a series", 0)),
        (&plain, 4, wrong("bytes of a series' elements", 6)),
        (&plain, u32::MAX, wrong("bytes of a series' elements", 6)),
        (
            &series_bytes(&late),
            3,
            wrong("stream of a series", u64::MAX - 1),
        ),
    ] {
        assert_eq!(TaskSeries::parse(bytes, count), expected);
    }
    assert!(TaskSeries::parse(&plain[..12], 3).is_err());
}

#[test]
fn a_table_that_is_wrong_is_refused() {
    let series = TaskSeries {
        elements: b"abb",
        ends: &[[1, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0]],
        ..SERIES
    };
    let bytes = series_bytes(&series);
    let read = TaskSeries::parse(&bytes, 3).expect("our own");
    assert_eq!(read, series);
    let table = bytes.len() - 3 * TASK_END_BYTES;
    let wrong = |field, got| Err(DecodeError::Value { field, got });
    // Of one task there is no table; another number of ends leaves a last one that is none.
    for (bytes, count, expected) in [
        (bytes.clone(), 1, wrong("form", 10)),
        (bytes.clone(), 2, wrong("last end of a series", 3)),
        (
            with_byte(&bytes, table + 8, 2),
            3,
            wrong("last end of a series", 2),
        ),
        (
            with_byte(&bytes, table + 11, 9),
            3,
            wrong("last end of a series", 0x0900_0003),
        ),
        (with_byte(&bytes, 0, 2 | 32), 3, wrong("form", 34)),
    ] {
        assert_eq!(TaskSeries::parse(&bytes, count), expected);
    }
    let short = TaskSeries::parse(&bytes, 4);
    assert!(matches!(short, Err(DecodeError::Short { .. })), "{short:?}");
    // A task that ends before it begins, or behind all, harms itself and the one behind it alone.
    for (at, byte, good) in [
        (table, 2, [true, false, true]),
        (table + 4, 0, [true, false, true]),
        (table + 4, 9, [true, false, false]),
    ] {
        let damaged = with_byte(&bytes, at, byte);
        let series = TaskSeries::parse(&damaged, 3).expect("its last end is right");
        let read = [0, 1, 2].map(|index| series.nth(index).is_ok());
        assert_eq!(read, good, "{at} {byte}");
    }
    // A tag that is longer than its element, or none at all.
    let tagged = TaskSeries {
        tag_type: Some(0),
        timeout_ms: 0,
        elements: b"\x01\0\0\0x\x02\0\0\0x\0\0\0\0x",
        ..SERIES
    };
    let bytes = series_bytes(&tagged);
    let series = TaskSeries::parse(&bytes, 3).expect("three of five bytes");
    let read = [0, 1, 2].map(|index| series.nth(index).is_ok());
    assert_eq!(read, [true, false, false]);
}

type Results = Vec<(u64, u16, ResultStatus, u64, Vec<u8>)>;

/// Pushes all of them, with a look at the bytes before each.
fn collected(results: &Results) -> ResultBatchBuilder {
    let mut builder = ResultBatchBuilder::new();
    for (task, algorithm, status, compute_ns, body) in results {
        let bytes = builder.bytes_with(*task, *algorithm, *status, *compute_ns, body.len());
        builder.push(*task, *algorithm, *status, *compute_ns, body);
        assert_eq!(builder.bytes(), bytes);
    }
    assert_eq!(builder.tasks(), results.len());
    builder
}

/// Every result of a batch by itself.
fn elements(payload: &[u8]) -> Results {
    let batch = ResultBatchView::decode(payload).expect("our own");
    let mut results = Results::new();
    for (entry, body) in batch.iter() {
        for index in 0..entry.count {
            let (compute_ns, output) = entry.element(body, index);
            let task = entry.task + u64::from(index);
            results.push((
                task,
                entry.algorithm,
                entry.status,
                compute_ns,
                output.to_vec(),
            ));
        }
    }
    assert_eq!(batch.tasks(), results.len() as u64);
    results
}

#[test]
fn results_that_follow_one_another_become_a_series() {
    let most = u64::from(u32::MAX);
    let done = |task, compute_ns, body: &str| {
        let body = body.as_bytes().to_vec();
        (task, 1, ResultStatus::Done, compute_ns, body)
    };
    let results = vec![
        done(7, 5, "aa"),
        done(8, most, "bb"),
        done(9, 0, "cc"),
        // Not the next number.
        done(11, 1, "dd"),
        // Other lengths, 0 three times.
        done(12, 1, ""),
        done(13, 2, ""),
        done(14, 3, ""),
        // What four bytes do not hold, and nothing follows it.
        done(15, most + 1, ""),
        done(16, 1, ""),
        // A failure is by itself, and so is what follows.
        (17, 1, ResultStatus::Failed, 1, Vec::new()),
        (18, 1, ResultStatus::Failed, 1, Vec::new()),
        done(19, 1, ""),
        // Another algorithm.
        (20, 2, ResultStatus::Done, 1, Vec::new()),
        (21, 2, ResultStatus::Done, 1, Vec::new()),
        // A number that comes again; the last number, which none follows.
        (21, 2, ResultStatus::Done, 1, Vec::new()),
        done(u64::MAX - 1, 1, ""),
        done(u64::MAX, 1, ""),
        done(0, 1, ""),
    ];
    let mut builder = collected(&results);
    let payload = encoded(|out| builder.encode(out));
    assert_eq!(payload.len(), builder.bytes());
    let counts: Vec<_> = ResultBatchView::decode(&payload)
        .expect("our own")
        .iter()
        .map(|(entry, body)| (entry.count, entry.compute_ns, body.len()))
        .collect();
    let expected = [
        (3, most + 5, 18),
        // Four of 4 bytes and one's 2, and a table.
        (4, 7, 18 + 16),
        (1, most + 1, 0),
        (1, 1, 0),
        (1, 1, 0),
        (1, 1, 0),
        (1, 1, 0),
        (2, 2, 8),
        (1, 1, 0),
        (2, 2, 8),
        (1, 1, 0),
    ];
    assert_eq!(counts, expected);
    assert_eq!(builder.entries(), expected.len());
    assert_eq!(elements(&payload), results);

    // Encoding closes what was pushed, and so does clearing.
    builder.clear();
    assert_eq!(
        (builder.bytes(), builder.tasks()),
        (BATCH_OVERHEAD_BYTES, 0)
    );
    builder.push(1, 1, ResultStatus::Done, 1, b"");
    assert_eq!(builder.entries(), 1);
    builder.encode(&mut Vec::new());
    builder.push(2, 1, ResultStatus::Done, 1, b"");
    assert_eq!((builder.entries(), builder.tasks()), (2, 2));
}

#[test]
fn a_long_series_costs_four_bytes_a_result() {
    let results: Results = (0..1_000u64)
        .map(|task| (task, 0, ResultStatus::Done, task, task.to_le_bytes().into()))
        .collect();
    let mut builder = collected(&results);
    let payload = encoded(|out| builder.encode(out));
    assert_eq!(
        payload.len(),
        BATCH_OVERHEAD_BYTES + RESULT_ENTRY_BYTES + 1_000 * (Elements::HEAD_BYTES + 8)
    );
    assert_eq!(elements(&payload), results);
}

/// Whatever their lengths, and wherever they begin to differ.
#[test]
fn results_that_differ_in_length_are_one_series() {
    for lengths in [
        &[1usize, 2][..],
        &[0, 0, 1, 0],
        &[3, 3, 3, 3, 0],
        &[0, 100, 7, 7, 65],
    ] {
        let results: Results = (0u64..)
            .zip(lengths)
            .map(|(task, &length)| (task, 0, ResultStatus::Done, task, vec![b'x'; length]))
            .collect();
        let mut builder = collected(&results);
        let payload = encoded(|out| builder.encode(out));
        let outputs = lengths.iter().sum::<usize>();
        assert_eq!(
            payload.len(),
            BATCH_OVERHEAD_BYTES + RESULT_ENTRY_BYTES + outputs + 8 * lengths.len()
        );
        assert_eq!(elements(&payload), results);
        let batch = ResultBatchView::decode(&payload).expect("our own");
        let (entry, body) = batch.iter().next().expect("one");
        assert!(entry.is_varied);
        let all = entry.elements(body);
        assert_eq!(all.outputs_bytes(body, 0, entry.count), outputs);
        assert_eq!(
            all.range(body, 0, entry.count).len(),
            outputs + 4 * lengths.len()
        );
        assert_eq!(all.output(body, 1).len(), lengths[1]);

        // The table's every byte, and every number but the right one.
        let table = body.len() - 4 * lengths.len()..body.len();
        for at in table {
            let damaged = with_byte(&payload, at, payload[at] ^ 0x80);
            let expected = BatchError::Elements {
                index: 0,
                count: entry.count,
                len: body.len() as u32,
            };
            assert_eq!(
                ResultBatchView::decode(&damaged).err(),
                Some(expected),
                "{at}"
            );
        }
    }
}

#[test]
fn series_of_results_that_are_none_are_refused() {
    let mut builder = ResultBatchBuilder::new();
    builder.push(u64::MAX - 1, 1, ResultStatus::Done, 5, b"ab");
    builder.push(u64::MAX, 1, ResultStatus::Done, 6, b"cd");
    let payload = encoded(|out| builder.encode(out));
    assert!(ResultBatchView::decode(&payload).is_ok());
    let entry_at = 2 * (Elements::HEAD_BYTES + 2);
    let (first, count_at, status_at) = (u64::MAX - 1, entry_at + 24, entry_at + 30);
    let series = |count| BatchError::Series {
        index: 0,
        first,
        count,
    };
    let compute = |expected, got| BatchError::Compute {
        index: 0,
        expected,
        got,
    };
    for (at, byte, expected) in [
        (count_at, 0, series(0)),
        (count_at, 3, series(3)),
        (count_at + 3, 255, series(0xff00_0002)),
        (
            status_at,
            1,
            BatchError::FailedSeries { index: 0, count: 2 },
        ),
        (status_at, 9, BatchError::Status { index: 0, got: 9 }),
        (entry_at + 8, 12, compute(11, 12)),
        (entry_at + 15, 1, compute(11, (1 << 56) + 11)),
        (0, 4, compute(10, 11)),
    ] {
        let damaged = with_byte(&payload, at, byte);
        assert_eq!(
            ResultBatchView::decode(&damaged).err(),
            Some(expected),
            "{at}"
        );
        assert!(!expected.to_string().is_empty());
    }

    // As many as do not divide the body, or have no room for their compute time in it.
    let low = with_byte(&payload, entry_at, 0);
    for count in [4, 5, 12] {
        let expected = BatchError::Elements {
            index: 0,
            count: count.into(),
            len: 12,
        };
        let damaged = with_byte(&low, count_at, count);
        assert_eq!(
            ResultBatchView::decode(&damaged).err(),
            Some(expected),
            "{count}"
        );
    }
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

/// Series, from their first task on: tag type, and of each task what is its tag and what its argument.
type ManySeries = Vec<(u64, u64, Option<u64>, Vec<(Vec<u8>, Vec<u8>)>)>;

/// Some of equal lengths, some not, some of one task.
fn any_series() -> impl Strategy<Value = ManySeries> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let tasks = prop::collection::vec((bytes(3), bytes(3)), 1..9);
    let tag_type = prop::option::of(1..9u64);
    let series = (
        0..u64::MAX - 99,
        0..u64::MAX - 99,
        tag_type,
        tasks,
        any::<bool>(),
    )
        .prop_map(|(first, stream, tag_type, mut tasks, alike)| {
            if alike {
                let like = tasks[0].clone();
                tasks.fill(like);
            }
            if tag_type.is_none() {
                tasks.iter_mut().for_each(|(tag, _)| tag.clear());
            }
            (first, stream, tag_type, tasks)
        });
    prop::collection::vec(series, 0..9)
}

fn series_payload(many: &ManySeries) -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    for (first, stream, tag_type, tasks) in many {
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(tag, args)| (&tag[..], &args[..]))
            .collect();
        let (elements, ends) = varied(*tag_type, &tasks);
        let is_varied = ends.len() > 1 && tasks.iter().any(|task| *task != tasks[0]);
        builder.push_series(
            *first,
            3,
            0,
            &TaskSeries {
                count: tasks.len() as u32,
                stream: *stream,
                tag_type: *tag_type,
                timeout_ms: 0,
                elements: &elements,
                ends: if is_varied { &ends } else { &[] },
                base: 5,
                ..SERIES
            },
        );
    }
    encoded(|out| builder.encode(out))
}

/// Results of which many are alike, in numbers that mostly follow one another.
fn any_results() -> impl Strategy<Value = Results> {
    let status = prop::sample::select(vec![
        ResultStatus::Done,
        ResultStatus::Done,
        ResultStatus::Failed,
    ]);
    let compute = prop::sample::select(vec![0, 7, u64::from(u32::MAX), 1 << 32]);
    let body = prop::sample::select(vec![b"".to_vec(), b"a".to_vec(), b"bc".to_vec()]);
    let result = (0..4u64, 0..2u16, status, compute, body);
    prop::collection::vec(result, 0..40).prop_map(|results| {
        let mut task = 100;
        let number = |(step, algorithm, status, compute, body)| {
            task += if step == 0 { 2 } else { 1 };
            (task, algorithm, status, compute, body)
        };
        results.into_iter().map(number).collect()
    })
}

/// Uses all that a view offers.
fn walk(payload: &[u8]) -> usize {
    let tasks = TaskBatchView::decode(payload).map_or(0, |batch| {
        (0..batch.entries())
            .zip(batch.iter())
            .map(|(index, (entry, body))| {
                assert_eq!(&payload[batch.body_range(index)], body);
                if let Ok(series) = TaskSeries::parse(body, entry.count) {
                    let _ = series.nth(entry.count - 1);
                }
                body.len()
            })
            .sum()
    });
    let results = ResultBatchView::decode(payload).map_or(0, |batch| {
        (0..batch.entries())
            .zip(batch.iter())
            .map(|(index, (entry, body))| {
                assert_eq!(&payload[batch.body_range(index)], body);
                let outputs = (0..entry.count).map(|at| entry.element(body, at).1.len());
                assert!(outputs.sum::<usize>() <= body.len());
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
        let batch = TaskBatchView::decode(&payload).expect("our own");
        let read: Entries = batch.iter().map(|(entry, body)| (entry.task, entry.algorithm, entry.flags.into(), body.to_vec())).collect();
        let sent: Entries = entries.iter().map(|(task, algorithm, flags, body)| (*task, *algorithm, flags & 1, body.clone())).collect();
        prop_assert_eq!(read, sent);

        let payload = result_payload(&entries);
        let read: Entries = elements(&payload).into_iter().map(|(task, algorithm, _, compute_ns, body)| (task, algorithm, compute_ns, body)).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn series_of_tasks_turn_round(many in any_series()) {
        let payload = series_payload(&many);
        let batch = TaskBatchView::decode(&payload).expect("our own");
        prop_assert_eq!(batch.entries(), many.len());
        for ((entry, body), (first, stream, tag_type, tasks)) in batch.iter().zip(&many) {
            prop_assert_eq!((entry.task, entry.count as usize), (*first, tasks.len()));
            let series = TaskSeries::parse(body, entry.count).expect("our own");
            for (index, (tag, args)) in (0..).zip(tasks) {
                let (stream, tag_type) = (stream + u64::from(index), tag_type.unwrap_or(0));
                let expected = TaskBody { domain: 1, stream, tag_type, timeout_ms: 0, tag, args };
                prop_assert_eq!(series.nth(index), Ok(expected));
            }
        }
    }

    #[test]
    fn series_of_results_turn_round(results in any_results()) {
        let mut builder = collected(&results);
        let payload = encoded(|out| builder.encode(out));
        prop_assert_eq!(payload.len(), builder.bytes());
        prop_assert_eq!(elements(&payload), results);
    }

    #[test]
    fn damaged_series_never_panic(many in any_series(), results in any_results(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for mut payload in [series_payload(&many), encoded(|out| collected(&results).encode(out))] {
            let at = at.index(payload.len());
            payload[at] = byte;
            walk(&payload);
            walk(&payload[..at]);
        }
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
