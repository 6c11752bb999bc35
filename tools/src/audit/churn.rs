//! Who came, who went and how long they stayed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{Crowd, Interval, Model, percentile as percentile_of};
use super::output::{Document, Sheet};
use super::times::{Zone, show_duration};
use crate::names::counted;

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit churn master.audit
  ringmw audit churn --bucket 10m --since -12h --format csv run1 > churn.csv
  ringmw audit churn --sheet by_host --format csv master.audit

Sheets: buckets, by_subnet, by_host, by_reason, lifetimes, survival. JSON has all of them, CSV the one that --sheet names, \
else buckets. `dismissed` are those that were sent away because the desire fell; they depart by shutdown. `present` is the mean over the bucket, `peak` the most at once. Survival is Kaplan and Meier's estimate: \
a slave that was sent away, or is still there, has lived at least so long.";

const SURVIVAL_POINTS: usize = 40;

/// The time at which each interval begins: one format for all of them.
pub(crate) fn start(zone: &Zone, us: i64) -> Value {
    zone.show(us).into()
}

/// Slave time over time: how many there were on average.
pub(crate) fn mean(slave_us: i64, observed_us: i64) -> Option<f64> {
    (observed_us > 0).then(|| slave_us as f64 / observed_us as f64)
}

pub(crate) fn document(model: &Model, zone: &Zone) -> Document {
    let mut document = Document::default();
    document
        .head
        .insert("schema".into(), super::summary::SCHEMA.into());
    document.head.insert(
        "bucket_s".into(),
        json!(model.intervals.width_us() as f64 / 1e6),
    );
    document.sheets = vec![
        buckets(model, zone),
        by_subnet(model),
        by_host(model),
        by_reason(model),
        lifetimes(model),
        survival(model),
    ];
    document
}

fn buckets(model: &Model, zone: &Zone) -> Sheet {
    let width = show_duration(model.intervals.width_us());
    let columns = [
        "start",
        "arrivals",
        "departures",
        "losses",
        "present",
        "peak",
        "dismissed",
        "observed_s",
    ];
    let mut sheet = Sheet::new(
        "buckets",
        format!("Slaves over time, every {width}"),
        &columns,
    );
    sheet.shown_max = 60;
    sheet.rows = model
        .intervals
        .iter()
        .map(|(us, cell): (i64, &Interval)| {
            vec![
                start(zone, us),
                cell.arrivals.into(),
                cell.departures.into(),
                cell.losses.into(),
                json!(mean(cell.time.present_us, cell.observed_us)),
                cell.peak.into(),
                cell.dismissed.into(),
                json!(cell.observed_us as f64 / 1e6),
            ]
        })
        .collect();
    sheet
}

const CROWD_COLUMNS: [&str; 6] = [
    "slaves",
    "left",
    "lost",
    "loss_ratio",
    "mean_stay_s",
    "results",
];

fn crowd_row(name: String, crowd: &Crowd) -> Vec<Value> {
    vec![
        name.into(),
        crowd.slaves.into(),
        crowd.left.into(),
        crowd.lost.into(),
        json!(crowd.loss_ratio()),
        json!(crowd.time.present_us as f64 / 1e6 / crowd.slaves.max(1) as f64),
        crowd.results.into(),
    ]
}

fn by_subnet(model: &Model) -> Sheet {
    let columns: Vec<&'static str> = std::iter::once("subnet").chain(CROWD_COLUMNS).collect();
    let mut sheet = Sheet::new("by_subnet", "By subnet", &columns);
    let mut crowds: Vec<_> = model.by_subnet().into_iter().collect();
    crowds.sort_by_key(|(_, crowd)| std::cmp::Reverse(crowd.slaves));
    sheet.rows = crowds
        .iter()
        .map(|(subnet, crowd)| crowd_row(subnet.to_string(), crowd))
        .collect();
    sheet.shown_max = 20;
    sheet
}

fn by_host(model: &Model) -> Sheet {
    let columns: Vec<&'static str> = std::iter::once("host").chain(CROWD_COLUMNS).collect();
    let mut sheet = Sheet::new(
        "by_host",
        "By host, those that lost the most first",
        &columns,
    );
    let mut crowds = model.by_host();
    crowds.sort_by_cached_key(|(host, crowd)| {
        (Reverse(crowd.lost), Reverse(crowd.slaves), counted(host))
    });
    sheet.rows = crowds
        .iter()
        .map(|(host, crowd)| crowd_row((*host).to_owned(), crowd))
        .collect();
    sheet.shown_max = 20;
    sheet
}

fn by_reason(model: &Model) -> Sheet {
    let mut sheet = Sheet::new(
        "by_reason",
        "By reason",
        &["reason", "slaves", "share", "mean_stay_s", "recycled"],
    );
    let mut reasons: BTreeMap<&str, (u64, i64, u64)> = BTreeMap::new();
    for slave in &model.slaves {
        let reason = match slave.cause {
            Some("shutdown") if slave.is_dismissed => "dismissed",
            cause => cause.unwrap_or("still there"),
        };
        let reason = reasons.entry(reason).or_default();
        reason.0 += 1;
        reason.1 += slave.time.present_us;
        reason.2 += slave.recycled;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|&(_, (slaves, ..))| std::cmp::Reverse(slaves));
    sheet.rows = reasons
        .into_iter()
        .map(|(reason, (slaves, present_us, recycled))| {
            vec![
                reason.into(),
                slaves.into(),
                json!(slaves as f64 / model.slaves.len() as f64),
                json!(present_us as f64 / 1e6 / slaves as f64),
                recycled.into(),
            ]
        })
        .collect();
    sheet
}

fn lifetimes(model: &Model) -> Sheet {
    let lifetimes = model.lifetimes_us();
    let title = format!("Lifetimes of the {} slaves that left", lifetimes.len());
    let mut sheet = Sheet::new("lifetimes", title, &["percentile", "seconds"]);
    if !lifetimes.is_empty() {
        let percentiles = [
            0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0,
        ];
        let row = |percentile: f64| {
            vec![
                json!(percentile),
                json!(percentile_of(&lifetimes, percentile).map(|us| us as f64 / 1e6)),
            ]
        };
        sheet.rows = percentiles.into_iter().map(row).collect();
    }
    sheet
}

fn survival(model: &Model) -> Sheet {
    let mut sheet = Sheet::new(
        "survival",
        "Share of slaves that live longer",
        &["seconds", "share"],
    );
    sheet.rows = model
        .survival(SURVIVAL_POINTS)
        .into_iter()
        .map(|(seconds, share)| vec![json!(seconds), json!(share)])
        .collect();
    sheet
}
