//! Whatever is written is read as it was; what is damaged never panics.

use proptest::prelude::*;
use ringmw_codec::batch::{
    MARKED, ResultBatchBuilder, ResultBatchView, ResultStatus, TaskBatchBuilder, TaskBatchView,
    TaskBody, TaskSeries,
};
use ringmw_codec::control::{Bests, Goodbye, Offer, Shutdown, Starting, Withdraw, Withdrawn};

use crate::{Results, SERIES, collected, elements, encoded, varied};

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
