//! Batches, task bodies and control payloads: golden bytes, strictness, what rkyv's features must keep.

mod golden;
mod properties;
#[path = "../support/sample.rs"]
mod sample;
mod series;

use ringmw_codec::batch::{
    ResultBatchBuilder, ResultBatchView, ResultStatus, TaskBody, TaskSeries,
};

use sample::{SERIES, encoded};

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

type Results = Vec<(u64, u16, ResultStatus, u64, Vec<u8>)>;

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
