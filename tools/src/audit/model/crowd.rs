//! Slaves taken together: by host, by subnet, all; and how long they live.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{Model, Slave};
use crate::audit::place::Subnet;

/// Slaves by a common mark: a host or a subnet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd {
    pub(crate) slaves: u64,
    pub(crate) left: u64,
    pub(crate) lost: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) present_us: i64,
    pub(crate) busy_us: i64,
    pub(crate) compute_us: u64,
}

impl Crowd {
    fn add(&mut self, slave: &Slave) {
        self.slaves += 1;
        self.left += u64::from(slave.left_us.is_some());
        self.lost += u64::from(slave.is_lost());
        self.results += slave.results;
        self.failed += slave.failed;
        self.present_us += slave.present_us;
        self.busy_us += slave.busy_us;
        self.compute_us = self.compute_us.saturating_add(slave.compute_us);
    }

    pub(crate) fn loss_ratio(&self) -> Option<f64> {
        (self.left > 0).then(|| self.lost as f64 / self.left as f64)
    }

    /// Seconds of work per result: compute time if the trail has it, else busy time.
    pub(crate) fn seconds_per_result(&self) -> Option<f64> {
        let us = if self.compute_us > 0 {
            self.compute_us
        } else {
            self.busy_us as u64
        };
        (self.results > 0).then(|| us as f64 / 1e6 / self.results as f64)
    }
}

impl Slave {
    pub(crate) fn is_lost(&self) -> bool {
        self.cause.is_some_and(|cause| cause != "shutdown")
    }

    pub(crate) fn crowd(&self) -> Crowd {
        let mut crowd = Crowd::default();
        crowd.add(self);
        crowd
    }
}

impl Model {
    pub(crate) fn host(&self, slave: &Slave) -> &str {
        &self.hosts[slave.host as usize]
    }

    /// Slaves by host.
    pub(crate) fn by_host(&self) -> Vec<(&str, Crowd)> {
        let mut crowds = vec![Crowd::default(); self.hosts.len()];
        for slave in &self.slaves {
            crowds[slave.host as usize].add(slave);
        }
        self.hosts.iter().map(String::as_str).zip(crowds).collect()
    }

    /// Slaves by subnet.
    pub(crate) fn by_subnet(&self) -> BTreeMap<Subnet, Crowd> {
        let mut crowds: BTreeMap<Subnet, Crowd> = BTreeMap::new();
        for slave in &self.slaves {
            crowds.entry(slave.subnet).or_default().add(slave);
        }
        crowds
    }

    /// All slaves together.
    pub(crate) fn all(&self) -> Crowd {
        let mut all = Crowd::default();
        for slave in &self.slaves {
            all.add(slave);
        }
        all
    }

    /// How long a slave was there, and whether that is its whole life.
    fn life(&self, slave: &Slave) -> Option<(i64, bool)> {
        if !slave.is_known {
            return None;
        }
        let end_us = slave.left_us.or(self.moments[slave.run].us)?;
        Some(((end_us - slave.joined_us).max(0), slave.left_us.is_some()))
    }

    /// Lifetimes, in milliseconds, of those that left.
    pub(crate) fn lifetimes_ms(&self) -> Histogram<u64> {
        let mut lifetimes = Histogram::new(3).expect("3 digits are allowed");
        for slave in &self.slaves {
            if let Some((us, true)) = self.life(slave) {
                // It grows as it needs, so that nothing is out of its range.
                let _ = lifetimes.record(us as u64 / 1000);
            }
        }
        lifetimes
    }

    /// The share of slaves that live longer than a time, in seconds: Kaplan and Meier's estimate, in which one that is
    /// sent away or still there has lived at least so long. At most `points_max` steps.
    pub(crate) fn survival(&self, points_max: usize) -> Vec<(f64, f64)> {
        let mut lives: Vec<(i64, bool)> = self
            .slaves
            .iter()
            .filter_map(|slave| {
                self.life(slave)
                    .map(|(us, has_left)| (us, has_left && slave.is_lost()))
            })
            .collect();
        lives.sort_unstable();
        let mut curve = vec![(0.0, 1.0)];
        let mut share = 1.0;
        let mut at_risk = lives.len();
        let mut rest = &lives[..];
        while let Some(&(us, _)) = rest.first() {
            let same = rest.iter().take_while(|life| life.0 == us).count();
            let lost = rest[..same].iter().filter(|life| life.1).count();
            share *= 1.0 - lost as f64 / at_risk as f64;
            at_risk -= same;
            rest = &rest[same..];
            if lost > 0 || rest.is_empty() {
                curve.push((us as f64 / 1e6, share));
            }
        }
        let step = curve.len().div_ceil(points_max.max(2)).max(1);
        let last = curve.len() - 1;
        curve
            .into_iter()
            .enumerate()
            .filter(|(index, _)| index % step == 0 || *index == last)
            .map(|(_, point)| point)
            .collect()
    }
}
