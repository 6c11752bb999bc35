//! Who was busy when, how fast it went, and what held it up.

use serde_json::{Value, json};

use super::churn::{mean, start};
use super::model::{Crowd, Model, Slave};
use super::output::{Document, Sheet};
use super::times::{Zone, show_duration};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit timeline master.audit
  ringmw audit timeline --bucket 1m --format csv master.audit > throughput.csv
  ringmw audit timeline --sheet slaves --format csv master.audit > slaves.csv

Sheets: buckets, slaves, slowest_slaves, hosts. Slave time is computing, holding tasks without computing, or idle; absent \
is the observed time in which a slave, all of a host's or all were not there. Means are over the observed time of a bucket \
(`observed_s`), and so is results_per_s. JSON and CSV also have busy (computing or holding) and utilisation (busy over \
present), as before. The tail is the time from the last hand-out to the last result. `s_per_result` is compute time per \
result where the trail has it, else busy time.";

/// A slave with fewer results is not ranked.
const RANKED_RESULTS_MIN: u64 = 3;
const SLOWEST: usize = 10;

pub(crate) fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The time between the last hand-out and the last result, and the share of slave time in it that was busy.
pub(crate) fn tail(model: &Model) -> Option<(i64, i64)> {
    let (sent_us, result_us) = (model.last_sent_us?, model.last_result_us?);
    let (from, to) = model.window.clip(sent_us, result_us);
    (to > from).then_some((from, to))
}

pub(crate) fn document(model: &Model, zone: &Zone) -> Document {
    let mut document = Document::default();
    let all = model.all();
    let head = &mut document.head;
    head.insert("schema".into(), super::summary::SCHEMA.into());
    head.insert(
        "bucket_s".into(),
        json!(model.intervals.width_us() as f64 / 1e6),
    );
    head.insert(
        "slave_time_s".into(),
        json!(all.time.present_us as f64 / 1e6),
    );
    head.insert("busy_s".into(), json!(all.time.busy_us as f64 / 1e6));
    head.insert(
        "utilisation".into(),
        json!(share(all.time.busy_us, all.time.present_us)),
    );
    let has_compute = has_compute(model);
    let of_compute = |value: Option<f64>| value.filter(|_| has_compute);
    let us = |us: i64| us as f64 / 1e6;
    head.insert("observed_s".into(), json!(us(model.observed_us())));
    head.insert(
        "compute_s".into(),
        json!(of_compute(Some(us(all.time.compute_us)))),
    );
    head.insert("held_s".into(), json!(us(all.time.held_us())));
    head.insert("idle_s".into(), json!(us(all.time.idle_us())));
    let absent_us = match model.slaves.is_empty() {
        true => model.observed_us(),
        false => all.absent_us,
    };
    head.insert("absent_s".into(), json!(us(absent_us)));
    for (key, state_us) in [
        (
            "compute_share",
            Some(all.time.compute_us).filter(|_| has_compute),
        ),
        ("held_share", Some(all.time.held_us())),
        ("idle_share", Some(all.time.idle_us())),
    ] {
        let share = state_us.and_then(|us| share(us, all.time.present_us));
        head.insert(key.into(), json!(share));
    }
    head.insert(
        "tail_s".into(),
        json!(tail(model).map(|(from, to)| us(to - from))),
    );
    document.sheets = vec![
        buckets(model, zone),
        slaves(model, zone),
        slowest(model),
        hosts(model),
    ];
    document
}

/// Whether the trail has compute times; CL-MW's and slaves' own have none.
pub(crate) fn has_compute(model: &Model) -> bool {
    model
        .slaves
        .iter()
        .any(|slave| slave.time.compute_us > 0 || slave.results_compute_us > 0)
}

fn buckets(model: &Model, zone: &Zone) -> Sheet {
    let width = show_duration(model.intervals.width_us());
    let columns = [
        "start",
        "present",
        "busy",
        "utilisation",
        "sent",
        "results",
        "results_per_s",
        "failed",
        "recycled",
        "stalled_s",
        "computing",
        "held",
        "idle",
        "observed_s",
    ];
    let mut sheet = Sheet::new("buckets", format!("Every {width}"), &columns);
    sheet.shown = &[
        "start",
        "present",
        "computing",
        "held",
        "idle",
        "results_per_s",
        "sent",
        "results",
        "failed",
        "recycled",
        "stalled_s",
        "observed_s",
    ];
    sheet.shown_max = 60;
    let has_compute = has_compute(model);
    sheet.rows = model
        .intervals
        .iter()
        .map(|(us, cell)| {
            let over_time = |us| mean(us, cell.observed_us);
            let results_per_s = over_time(cell.results as i64).map(|rate| rate * 1e6);
            let compute = over_time(cell.time.compute_us).filter(|_| has_compute);
            vec![
                start(zone, us),
                json!(over_time(cell.time.present_us)),
                json!(over_time(cell.time.busy_us)),
                json!(mean(cell.time.busy_us, cell.time.present_us)),
                cell.sent.into(),
                cell.results.into(),
                json!(results_per_s),
                cell.failed.into(),
                cell.recycled.into(),
                json!(cell.stalled_us as f64 / 1e6),
                json!(compute),
                json!(over_time(cell.time.held_us())),
                json!(over_time(cell.time.idle_us())),
                json!(cell.observed_us as f64 / 1e6),
            ]
        })
        .collect();
    sheet
}

fn name(slave: &Slave) -> Value {
    format!("SLAVE-{}", slave.id).into()
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

fn slaves(model: &Model, zone: &Zone) -> Sheet {
    let columns = [
        "slave",
        "run",
        "host",
        "joined",
        "left",
        "cause",
        "present_s",
        "busy_s",
        "idle_s",
        "utilisation",
        "sent",
        "results",
        "failed",
        "s_per_result",
        "compute_s",
        "held_s",
        "absent_s",
        "job",
    ];
    let mut sheet = Sheet::new("slaves", "Slaves", &columns);
    sheet.shown = &[
        "slave",
        "host",
        "joined",
        "left",
        "cause",
        "present_s",
        "compute_s",
        "held_s",
        "idle_s",
        "results",
        "failed",
        "s_per_result",
        "absent_s",
        "job",
        "run",
    ];
    sheet.shown_max = 20;
    let has_compute = has_compute(model);
    sheet.rows = model
        .slaves
        .iter()
        .map(|slave| {
            vec![
                name(slave),
                slave.life.into(),
                model.host(slave).into(),
                start(zone, slave.joined_us),
                slave.left_us.map_or(Value::Null, |us| start(zone, us)),
                json!(slave.cause),
                json!(seconds(slave.time.present_us)),
                json!(seconds(slave.time.busy_us)),
                json!(seconds(slave.time.idle_us())),
                json!(share(slave.time.busy_us, slave.time.present_us)),
                slave.sent.into(),
                slave.results.into(),
                slave.failed.into(),
                json!(slave.crowd().seconds_per_result()),
                json!(has_compute.then(|| seconds(slave.time.compute_us))),
                json!(seconds(slave.time.held_us())),
                json!(seconds(model.observed_us() - slave.time.present_us)),
                slave.job.as_ref().into(),
            ]
        })
        .collect();
    sheet
}

fn slowest(model: &Model) -> Sheet {
    let columns = [
        "slave",
        "host",
        "results",
        "s_per_result",
        "times_the_median",
    ];
    let mut sheet = Sheet::new("slowest_slaves", "The slowest slaves", &columns);
    let mut ranked: Vec<(f64, &Slave)> = model
        .slaves
        .iter()
        .filter(|slave| slave.results >= RANKED_RESULTS_MIN)
        .filter_map(|slave| Some((slave.crowd().seconds_per_result()?, slave)))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let median = ranked.get(ranked.len() / 2).map_or(0.0, |ranked| ranked.0);
    sheet.rows = ranked
        .iter()
        .take(SLOWEST)
        .map(|&(seconds, slave)| {
            vec![
                name(slave),
                model.host(slave).into(),
                slave.results.into(),
                json!(seconds),
                json!((median > 0.0).then(|| seconds / median)),
            ]
        })
        .collect();
    sheet
}

fn hosts(model: &Model) -> Sheet {
    let columns = [
        "host",
        "slaves",
        "results",
        "failed",
        "utilisation",
        "s_per_result",
        "present_s",
        "compute_s",
        "held_s",
        "idle_s",
        "absent_s",
    ];
    let mut sheet = Sheet::new("hosts", "Hosts, the slowest first", &columns);
    let mut hosts: Vec<(&str, Crowd)> = model.by_host();
    hosts.sort_by(|a, b| {
        let slow = |crowd: &Crowd| crowd.seconds_per_result().unwrap_or(-1.0);
        slow(&b.1).total_cmp(&slow(&a.1)).then(a.0.cmp(b.0))
    });
    sheet.shown_max = 20;
    sheet.shown = &[
        "host",
        "slaves",
        "results",
        "failed",
        "s_per_result",
        "present_s",
        "compute_s",
        "held_s",
        "idle_s",
        "absent_s",
    ];
    let has_compute = has_compute(model);
    sheet.rows = hosts
        .iter()
        .map(|(host, crowd)| {
            vec![
                (*host).into(),
                crowd.slaves.into(),
                crowd.results.into(),
                crowd.failed.into(),
                json!(share(crowd.time.busy_us, crowd.time.present_us)),
                json!(crowd.seconds_per_result()),
                json!(seconds(crowd.time.present_us)),
                json!(has_compute.then(|| seconds(crowd.time.compute_us))),
                json!(seconds(crowd.time.held_us())),
                json!(seconds(crowd.time.idle_us())),
                json!(seconds(crowd.absent_us)),
            ]
        })
        .collect();
    sheet
}
