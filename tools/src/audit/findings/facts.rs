//! The facts that findings are judged by: the model's, in the form in which the tests want them.

use std::collections::BTreeMap;

use super::super::entry::{ExitWord, Role};
use super::super::model::Model;
use super::super::summary::Summary;
use super::super::times::Zone;
use super::super::trail::Reader;
use super::signs::{Key, Packets, Signs};

/// One slave.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) host: usize,
    pub(super) subnet: usize,
    pub(super) joined_us: i64,
    /// When it left, or the end.
    pub(super) end_us: i64,
    pub(super) present_us: f64,
    pub(super) busy_us: f64,
    pub(super) compute_us: f64,
    pub(super) results: u64,
    pub(super) failed: u64,
    pub(super) packets: Packets,
}

/// One interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) present_us: f64,
    pub(super) busy_us: f64,
    pub(super) stalled_us: f64,
    pub(super) results: f64,
}

/// One process's life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) exit: Option<ExitWord>,
    /// When that was; outside of the window it is nothing to tell.
    pub(super) exit_us: Option<i64>,
    pub(super) reason: String,
}

/// Everything that findings are judged by.
pub(super) struct Facts<'a> {
    pub(super) zone: &'a Zone,
    pub(super) summary: &'a Summary,
    pub(super) signs: &'a Signs,
    pub(super) reader: &'a Reader,
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    /// Until the master sent its slaves away.
    pub(super) work_to_us: i64,
    pub(super) members: Vec<Member>,
    pub(super) hosts: &'a [String],
    pub(super) subnets: Vec<String>,
    pub(super) spans: Vec<Span>,
    pub(super) lives: Vec<Life>,
    pub(super) signals: &'a [(i64, String)],
    /// From the last hand-out to the last result.
    pub(super) tail: Option<(i64, i64)>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(
        model: &'a Model,
        summary: &'a Summary,
        signs: &'a Signs,
        reader: &'a Reader,
    ) -> Self {
        let role = reader.role();
        let lives: Vec<Life> = reader
            .lives
            .iter()
            .filter(|life| life.role == role)
            .filter_map(|life| {
                let (from_us, to_us) = reader.observed(life)?;
                Some(Life {
                    from_us,
                    to_us,
                    exit: life.exit.clone(),
                    exit_us: reader
                        .window()
                        .contains(life.exit_us)
                        .then_some(life.exit_us),
                    reason: life.exit_reason.clone(),
                })
            })
            .collect();
        let from_us = lives.iter().map(|life| life.from_us).min().unwrap_or(0);
        let to_us = lives.iter().map(|life| life.to_us).max().unwrap_or(0);
        let mut subnet_ids = BTreeMap::new();
        let mut subnets = Vec::new();
        let mut members = Vec::with_capacity(model.slaves.len());
        for slave in &model.slaves {
            let subnet = *subnet_ids.entry(slave.subnet).or_insert_with(|| {
                subnets.push(slave.subnet.to_string());
                subnets.len() - 1
            });
            let key = (slave.life, slave.id);
            members.push(Member {
                key,
                host: slave.host as usize,
                subnet,
                joined_us: slave.joined_us,
                end_us: slave.left_us.unwrap_or(to_us),
                present_us: slave.time.present_us as f64,
                busy_us: slave.time.busy_us as f64,
                compute_us: slave.time.compute_us as f64,
                results: slave.results,
                failed: slave.failed,
                packets: signs.slaves.get(&key).cloned().unwrap_or_default(),
            });
        }
        let starts: Vec<i64> = model.intervals.iter().map(|(us, _)| us).collect();
        let ends = starts
            .iter()
            .skip(1)
            .copied()
            .chain([model.intervals.end_us()]);
        let spans = model
            .intervals
            .iter()
            .zip(ends)
            .map(|((us, cell), end_us)| {
                let from_us = us.max(from_us);
                Span {
                    from_us,
                    to_us: end_us.min(to_us).max(from_us),
                    present_us: cell.time.present_us as f64,
                    busy_us: cell.time.busy_us as f64,
                    stalled_us: cell.stalled_us as f64,
                    results: cell.results as f64,
                }
            })
            .collect();
        Self {
            zone: &reader.zone,
            summary,
            signs,
            reader,
            from_us,
            to_us,
            work_to_us: model.shutdown_us.unwrap_or(to_us),
            members,
            hosts: &model.hosts,
            subnets,
            spans,
            lives,
            signals: &model.signals,
            tail: super::super::timeline::tail(model),
        }
    }

    pub(super) fn length_us(&self) -> f64 {
        (self.to_us - self.from_us).max(1) as f64
    }

    pub(super) fn is_of_slaves(&self) -> bool {
        self.reader.role() == Role::Slave
    }

    /// How many slaves were there at a time.
    pub(super) fn present_at(&self, us: i64) -> usize {
        let is_there = |member: &&Member| member.joined_us <= us && us < member.end_us;
        self.members.iter().filter(is_there).count()
    }

    pub(super) fn sum(&self, of: impl Fn(&Member) -> f64) -> f64 {
        self.members.iter().map(of).sum()
    }

    /// Compute time of a task on average, in microseconds; by held time where no compute time is told.
    pub(super) fn task_us(&self) -> f64 {
        let results = self.sum(|member| member.results as f64).max(1.0);
        match self.sum(|member| member.compute_us) {
            0.0 => self.sum(|member| member.busy_us) / results,
            compute_us => compute_us / results,
        }
    }
}
