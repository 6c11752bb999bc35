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

Sheets: buckets, slaves, slowest_slaves, hosts. A slave is busy while it holds tasks; utilisation is busy over present
slave time. The tail is the time from the last hand-out to the last result. `s_per_result` is compute time per result
where the trail has it, else busy time.";

/// A slave with fewer results is not ranked.
const RANKED_RESULTS_MIN: u64 = 3;
const SLOWEST: usize = 10;

pub(crate) fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The time between the last hand-out and the last result, and the share of slave time in it that was busy.
pub(crate) fn tail(model: &Model) -> Option<(i64, i64)> {
    let (sent_us, result_us) = (model.last_sent_us?, model.last_result_us?);
    (result_us > sent_us).then_some((sent_us, result_us))
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
    head.insert("slave_time_s".into(), json!(all.present_us as f64 / 1e6));
    head.insert("busy_s".into(), json!(all.busy_us as f64 / 1e6));
    head.insert(
        "utilisation".into(),
        json!(share(all.busy_us, all.present_us)),
    );
    head.insert(
        "compute_s".into(),
        json!((all.compute_us > 0).then_some(all.compute_us as f64 / 1e6)),
    );
    head.insert(
        "tail_s".into(),
        json!(tail(model).map(|(from, to)| (to - from) as f64 / 1e6)),
    );
    document.sheets = vec![
        buckets(model, zone),
        slaves(model, zone),
        slowest(model),
        hosts(model),
    ];
    document
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
    ];
    let mut sheet = Sheet::new("buckets", format!("Every {width}"), &columns);
    sheet.shown_max = 60;
    let seconds = model.intervals.width_us() as f64 / 1e6;
    sheet.rows = model
        .intervals
        .iter()
        .map(|(us, cell)| {
            vec![
                start(zone, us),
                json!(mean(cell.present_us, cell.watched_us)),
                json!(mean(cell.busy_us, cell.watched_us)),
                json!(mean(cell.busy_us, cell.present_us)),
                cell.sent.into(),
                cell.results.into(),
                json!(cell.results as f64 / seconds),
                cell.failed.into(),
                cell.recycled.into(),
                json!(cell.stalled_us / 1e6),
            ]
        })
        .collect();
    sheet
}

fn name(slave: &Slave) -> Value {
    format!("SLAVE-{}", slave.id).into()
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
    ];
    let mut sheet = Sheet::new("slaves", "Slaves", &columns);
    sheet.shown_max = 20;
    sheet.rows = model
        .slaves
        .iter()
        .map(|slave| {
            vec![
                name(slave),
                slave.run.into(),
                model.host(slave).into(),
                start(zone, slave.joined_us),
                slave.left_us.map_or(Value::Null, |us| start(zone, us)),
                json!(slave.cause),
                json!(slave.present_us as f64 / 1e6),
                json!(slave.busy_us as f64 / 1e6),
                json!((slave.present_us - slave.busy_us).max(0) as f64 / 1e6),
                json!(share(slave.busy_us, slave.present_us)),
                slave.sent.into(),
                slave.results.into(),
                slave.failed.into(),
                json!(slave.crowd().seconds_per_result()),
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
    ];
    let mut sheet = Sheet::new("hosts", "Hosts, the slowest first", &columns);
    let mut hosts: Vec<(&str, Crowd)> = model.by_host();
    hosts.sort_by(|a, b| {
        let slow = |crowd: &Crowd| crowd.seconds_per_result().unwrap_or(-1.0);
        slow(&b.1).total_cmp(&slow(&a.1)).then(a.0.cmp(b.0))
    });
    sheet.shown_max = 20;
    sheet.rows = hosts
        .iter()
        .map(|(host, crowd)| {
            vec![
                (*host).into(),
                crowd.slaves.into(),
                crowd.results.into(),
                crowd.failed.into(),
                json!(share(crowd.busy_us, crowd.present_us)),
                json!(crowd.seconds_per_result()),
            ]
        })
        .collect();
    sheet
}
