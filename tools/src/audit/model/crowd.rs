//! Slaves taken together: by host, by subnet, all; and how long they live.

use std::collections::BTreeMap;

use super::close::covered;
use super::{Model, Slave, SlaveTime};
use crate::audit::place::Subnet;

/// Slaves by a common mark: a host or a subnet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd {
    pub(crate) slaves: u64,
    pub(crate) left: u64,
    pub(crate) lost: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) time: SlaveTime,
    /// Compute time of its results.
    pub(crate) results_compute_us: u64,
    /// Observed time in which none of them was there.
    pub(crate) absent_us: i64,
}

impl Crowd {
    fn add(&mut self, slave: &Slave) {
        self.slaves += 1;
        self.left += u64::from(slave.left_us.is_some());
        self.lost += u64::from(slave.is_lost());
        self.results += slave.results;
        self.failed += slave.failed;
        self.time.add(slave.time);
        self.results_compute_us = self
            .results_compute_us
            .saturating_add(slave.results_compute_us);
    }

    pub(crate) fn loss_ratio(&self) -> Option<f64> {
        (self.left > 0).then(|| self.lost as f64 / self.left as f64)
    }

    /// Seconds of work per result: compute time if the trail has it, else busy time.
    pub(crate) fn seconds_per_result(&self) -> Option<f64> {
        let us = if self.results_compute_us > 0 {
            self.results_compute_us
        } else {
            self.time.busy_us as u64
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

    /// Slaves by host; hosts without one in the window are left out.
    pub(crate) fn by_host(&self) -> Vec<(&str, Crowd)> {
        let groups = self.groups(|slave| slave.host);
        let named = groups
            .into_iter()
            .map(|(host, crowd)| (self.hosts[host as usize].as_str(), crowd));
        named.collect()
    }

    /// Slaves by subnet.
    pub(crate) fn by_subnet(&self) -> BTreeMap<Subnet, Crowd> {
        self.groups(|slave| slave.subnet)
    }

    /// All slaves together.
    pub(crate) fn all(&self) -> Crowd {
        self.groups(|_| ()).remove(&()).unwrap_or_default()
    }

    fn groups<K: Ord>(&self, mark: impl Fn(&Slave) -> K) -> BTreeMap<K, Crowd> {
        let mut groups: BTreeMap<K, (Crowd, Vec<(i64, i64)>)> = BTreeMap::new();
        for (slave, span) in self.presences() {
            let (crowd, spans) = groups.entry(mark(slave)).or_default();
            crowd.add(slave);
            spans.push(span);
        }
        let observed_us = self.observed_us();
        let close = |(mark, (mut crowd, mut spans)): (K, (Crowd, Vec<_>))| {
            crowd.absent_us = observed_us - covered(&mut spans);
            (mark, crowd)
        };
        groups.into_iter().map(close).collect()
    }

    /// How old a slave was when it was first seen in the window, how old at last, and whether it left then.
    fn life(&self, slave: &Slave) -> Option<(i64, i64, bool)> {
        if !slave.is_known {
            return None;
        }
        let last_us = self.moments[slave.life].last_us.min(self.window.until_us);
        let age_us = slave.left_us.unwrap_or(last_us) - slave.joined_us;
        let from_us = self.window.since_us.saturating_sub(slave.joined_us);
        Some((from_us, age_us.max(0), slave.left_us.is_some()))
    }

    /// Whole lives, in microseconds and ascending, of those that left inside the window.
    pub(crate) fn lifetimes_us(&self) -> Vec<u64> {
        let lives = self.slaves.iter().filter_map(|slave| self.life(slave));
        let mut ages: Vec<u64> = lives
            .filter(|life| life.2)
            .map(|(_, age_us, _)| age_us as u64)
            .collect();
        ages.sort_unstable();
        ages
    }

    /// The share of slaves that live longer than a time, in seconds: Kaplan and Meier's estimate, in which one that is
    /// sent away or still there has lived at least so long, and one that came before the window counts from the age
    /// that it had there. At most `points_max` steps.
    pub(crate) fn survival(&self, points_max: usize) -> Vec<(f64, f64)> {
        // From which age on, to which, and whether it was lost then.
        let mut lives: Vec<(i64, i64, bool)> = self
            .slaves
            .iter()
            .filter_map(|slave| {
                let (from_us, age_us, has_left) = self.life(slave)?;
                // At the age of 0 everybody who came is there; who left as the window began was not.
                let from_us = if from_us > 0 { from_us } else { -1 };
                (from_us < age_us).then_some((from_us, age_us, has_left && slave.is_lost()))
            })
            .collect();
        let mut entries: Vec<i64> = lives.iter().map(|life| life.0).collect();
        entries.sort_unstable();
        lives.sort_unstable_by_key(|life| life.1);
        let mut curve = vec![(0.0, 1.0)];
        let mut share = 1.0;
        let (mut entered, mut left) = (0, 0);
        while let Some(&(_, us, _)) = lives.get(left) {
            while entries.get(entered).is_some_and(|&entry| entry < us) {
                entered += 1;
            }
            let rest = &lives[left..];
            let same = rest.iter().take_while(|life| life.1 == us).count();
            let lost = rest[..same].iter().filter(|life| life.2).count();
            share *= 1.0 - lost as f64 / (entered - left) as f64;
            left += same;
            if lost > 0 || left == lives.len() {
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

/// Of ascending numbers, the smallest that so many percent do not exceed.
pub(crate) fn percentile(sorted: &[u64], percent: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}
