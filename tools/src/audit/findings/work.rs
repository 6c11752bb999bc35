//! Where slave time went: into good results, or lost, by cause and host.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::output::{Document, Sheet};
use super::facts::Facts;
use crate::names;

/// Slave time in microseconds; the parts come to the whole.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    present: f64,
    /// Computing results that were good.
    good: f64,
    /// Computing results that failed.
    failed: f64,
    /// At work when the slave was lost: done again by another.
    lost: f64,
    /// Having tasks without computing: transfer, waits, what is under way at the end.
    held: f64,
    idle: f64,
}

impl Parts {
    fn add(&mut self, other: &Parts) {
        self.present += other.present;
        self.good += other.good;
        self.failed += other.failed;
        self.lost += other.lost;
        self.held += other.held;
        self.idle += other.idle;
    }

    fn causes(&self) -> [(&'static str, f64); 5] {
        [
            ("good", self.good),
            ("failed", self.failed),
            ("lost", self.lost),
            ("held", self.held),
            ("idle", self.idle),
        ]
    }
}

/// Slave time by cause and host.
pub(crate) struct Work {
    all: Parts,
    hosts: Vec<(String, Parts)>,
}

impl Work {
    pub(super) fn of(facts: &Facts<'_>) -> Work {
        let mut lost: BTreeMap<_, f64> = BTreeMap::new();
        for loss in &facts.signs.losses {
            *lost.entry(loss.key).or_default() += loss.work_us as f64;
        }
        let mut hosts: BTreeMap<usize, Parts> = BTreeMap::new();
        let mut all = Parts::default();
        for member in &facts.members {
            let present = member.present_us;
            let busy = member.busy_us.min(present);
            // What the trail tells of compute time may be more than what it tells of busy time, by rounding.
            let compute = member.compute_us.min(busy);
            let failed = member.packets.failed_us.min(compute);
            let lost = lost
                .get(&member.key)
                .copied()
                .unwrap_or(0.0)
                .min(busy - compute);
            let parts = Parts {
                present,
                good: compute - failed,
                failed,
                lost,
                held: busy - compute - lost,
                idle: present - busy,
            };
            all.add(&parts);
            hosts.entry(member.host).or_default().add(&parts);
        }
        let mut hosts: Vec<(String, Parts)> = hosts
            .into_iter()
            .map(|(host, parts)| (facts.hosts[host].clone(), parts))
            .collect();
        let wasted = |parts: &Parts| parts.failed + parts.lost;
        hosts.sort_by(|a, b| {
            let by_waste = wasted(&b.1).total_cmp(&wasted(&a.1));
            by_waste.then_with(|| names::compare(&a.0, &b.0))
        });
        Work { all, hosts }
    }

    /// The share of slave time that went into good results.
    pub(crate) fn goodput(&self) -> Option<f64> {
        (self.all.present > 0.0).then(|| self.all.good / self.all.present)
    }

    /// Both sheets.
    pub(crate) fn document(&self) -> Document {
        Document {
            sheets: vec![self.causes(), self.by_host()],
            ..Document::default()
        }
    }

    /// By cause.
    pub(crate) fn causes(&self) -> Sheet {
        let mut sheet = Sheet::new(
            "work",
            "Slave time by what it went into",
            &["cause", "slave_s", "share"],
        );
        sheet.rows = self
            .all
            .causes()
            .into_iter()
            .map(|(cause, us)| {
                let share = (self.all.present > 0.0).then(|| us / self.all.present);
                vec![cause.into(), json!(us / 1e6), json!(share)]
            })
            .collect();
        sheet
    }

    /// By host, the most wasted first.
    pub(crate) fn by_host(&self) -> Sheet {
        let columns = [
            "host", "slave_s", "good_s", "failed_s", "lost_s", "held_s", "idle_s", "goodput",
        ];
        let mut sheet = Sheet::new(
            "work_by_host",
            "Slave time by host, the most wasted first",
            &columns,
        );
        sheet.shown_max = 10;
        sheet.rows = self
            .hosts
            .iter()
            .map(|(host, parts)| {
                let mut row: Vec<Value> = vec![host.as_str().into(), json!(parts.present / 1e6)];
                row.extend(parts.causes().map(|(_, us)| json!(us / 1e6)));
                row.push(json!(
                    (parts.present > 0.0).then(|| parts.good / parts.present)
                ));
                row
            })
            .collect();
        sheet
    }
}
