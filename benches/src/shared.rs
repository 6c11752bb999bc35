//! Data that slaves share: what sending it does to the tasks beside it and to the master's memory, and how fast a file
//! reaches one slave, held against a bare socket.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use hdrhistogram::Histogram;
use ringmw::prelude::*;
use serde_json::{Value, json};

use crate::fleet::{self, Setting, Slaves};
use crate::meter;

/// Slaves that the tasks run on.
const SLAVES: u32 = 8;
/// Calls under way at a time: two for each slave.
const CALLS: usize = 16;
/// What one task takes.
const NAP: Duration = Duration::from_millis(1);

/// Takes a while and no CPU: eight slaves on two cores do not wait for each other.
#[algorithm]
pub fn nap(us: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(us));
    us
}

/// How many bytes these are, all of them there.
#[algorithm]
pub fn size(data: &Shared<[u8]>) -> u64 {
    data.len() as u64
}

/// Registers the algorithms.
pub fn register(app: App) -> App {
    app.algorithm::<nap>().algorithm::<size>()
}

fn setting<'a>(slaves: u32, engine: &'a str, trail: &'a Path, secret: bool) -> Setting<'a> {
    Setting {
        slaves: Slaves::Real(slaves),
        engine,
        trail: Some((trail, "default")),
        group: 1,
        result_group: None,
        prefetch: true,
        secret,
    }
}

/// So many tasks of a millisecond on eight slaves; beside them each slave is sent `bytes` that are shared, if there are
/// any. Gives the 99th percentile of the calls' latencies in ms, the master's memory before and at its peak, and the bytes
/// that the trail says were sent.
///
/// # Panics
/// As [`fleet::run`].
pub fn beside(tasks: u64, bytes: usize, engine: &str, secret: bool) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trail = folder.path().join("trail");
    let measured = async move |mw: Master| {
        fleet::connected(&mw, SLAVES).await;
        let before = meter::memory().0;
        let data = (bytes > 0).then(|| vec![7u8; bytes]);
        let shared = data.as_ref().map(|data| mw.share(&data[..]));
        // What the master algorithm itself had is none of the runtime's.
        drop(data);
        meter::forget_peak();
        let begun = Instant::now();
        let weigh = async {
            let mut sent_s = 0.0;
            if let Some(shared) = &shared {
                mw.allocate(Group::Intermingle, SLAVES);
                let mut there = Vec::new();
                while there.len() < SLAVES as usize {
                    mw.events_timeout(NAP).await;
                    there.extend(mw.take_connected().into_iter().map(|(slave, _)| slave));
                }
                let calls = there
                    .into_iter()
                    .map(|slave| mw.call(size::task(shared).slave(slave)));
                for size in join_all(calls).await {
                    assert_eq!(size?, bytes as u64);
                }
                sent_s = begun.elapsed().as_secs_f64();
            }
            Ok::<f64, TaskError>(sent_s)
        };
        let naps = async {
            let mut latencies = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3)
                .expect("up to ten minutes, by three digits");
            let mut calls = stream::iter(0..tasks)
                .map(|_| async {
                    let begun = Instant::now();
                    let end = mw.call(nap::task(NAP.as_micros() as u64)).await;
                    end.map(|_| begun.elapsed())
                })
                .buffer_unordered(CALLS);
            while let Some(latency) = calls.next().await {
                latencies.saturating_record(latency?.as_micros() as u64);
            }
            Ok::<_, TaskError>((latencies, begun.elapsed()))
        };
        let (sent_s, naps) = futures_util::future::join(weigh, naps).await;
        let ((latencies, took), sent_s) = (naps?, sent_s?);
        Ok(json!({
            "p50_ms": latencies.value_at_quantile(0.5) as f64 / 1e3,
            "p99_ms": latencies.value_at_quantile(0.99) as f64 / 1e3,
            "tasks_s": took.as_secs_f64(),
            "sent_s": sent_s,
            "before_bytes": before,
            "peak_bytes": meter::memory().1,
        }))
    };
    let setting = setting(SLAVES, engine, &trail, secret);
    let (mut line, _) = fleet::run(crate::app(), &setting, measured);
    line["sent_bytes"] = sent(&trail).into();
    line
}

/// Bytes of shared data that this trail says were sent, whole.
fn sent(trail: &Path) -> u64 {
    use ringmw_codec::audit::{Event, Line};
    let text = std::fs::read_to_string(trail).expect("the master has written it");
    let lines = text.lines().filter_map(|line| Line::parse(line).ok());
    let sent = lines.map(|line| match line.event {
        Event::Shared { bytes, .. } => bytes,
        _ => 0,
    });
    sent.sum()
}

/// Sends a file to one slave: bytes a second, and the master's memory before and at its peak.
///
/// # Panics
/// As [`fleet::run`].
pub fn file(path: &Path, engine: &str, secret: bool) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trail = folder.path().join("trail");
    let path = path.to_owned();
    let measured = async move |mw: Master| {
        fleet::connected(&mw, 1).await;
        let before = meter::memory().0;
        let shared = mw.share_file(&path).await?;
        let begun = Instant::now();
        let bytes = mw.call(size::task(&shared)).await?;
        let took = begun.elapsed().as_secs_f64();
        Ok(json!({
            "bytes_per_s": bytes as f64 / took,
            "before_bytes": before,
            "peak_bytes": meter::memory().1,
        }))
    };
    fleet::run_with(
        crate::app(),
        &setting(1, engine, &trail, secret),
        &["--mw-shared-cache", "17179869184"],
        measured,
    )
    .0
}
