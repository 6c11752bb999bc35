//! Tasks that travel as one, and results that follow one another.

use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BOUND, BatchError, Elements, MARKED, RESULT_ENTRY_BYTES,
    ResultBatchBuilder, ResultBatchView, ResultStatus, TASK_END_BYTES, TASK_ENTRY_BYTES,
    TaskBatchBuilder, TaskBatchView, TaskBody, TaskSeries, encode_task_body,
};
use ringmw_codec::wire::DecodeError;

use crate::{Results, SERIES, collected, elements, encoded, series_bytes, varied, with_byte};

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
