//! Counters over queued and running tasks, and the target numbers measured against them.

use crate::data::record::Record;
use crate::ids::AlgorithmId;
use crate::series::Series;

#[derive(Clone, Default, Debug)]
struct Tally {
    pending: u64,
    target: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Tasks queued in the master.
    pub(crate) queued: u64,
    pub(crate) queued_bytes: u64,
    /// Tasks in slaves' hands that are not cancelled.
    pub(crate) running: u64,
    /// Tasks that a slave of an earlier life may have.
    pub(crate) away: u64,
    pub(crate) away_bytes: u64,
    target: u64,
    /// Whether a target was ever set, of whatever.
    has_target: bool,
    of: Vec<Tally>,
}

impl Counts {
    pub(crate) fn new(algorithms: usize) -> Self {
        Counts {
            queued: 0,
            queued_bytes: 0,
            running: 0,
            away: 0,
            away_bytes: 0,
            target: 0,
            has_target: false,
            of: vec![Tally::default(); algorithms],
        }
    }

    pub(crate) fn algorithms(&self) -> usize {
        self.of.len()
    }

    #[inline]
    pub(crate) fn on_queued<P: Series>(&mut self, record: &Record<P>) {
        self.add(record.algorithm, record.tasks(), record.queued_bytes());
    }

    #[inline]
    pub(crate) fn on_unqueued<P: Series>(&mut self, record: &Record<P>) {
        self.remove(record.algorithm, record.tasks(), record.queued_bytes());
    }

    /// Tasks are queued that take so many bytes.
    #[inline]
    pub(crate) fn add(&mut self, algorithm: AlgorithmId, tasks: u32, bytes: u64) {
        self.queued += u64::from(tasks);
        self.queued_bytes += bytes;
        self.of[usize::from(algorithm.0)].pending += u64::from(tasks);
    }

    /// Tasks that took so many bytes are queued no more.
    #[inline]
    pub(crate) fn remove(&mut self, algorithm: AlgorithmId, tasks: u32, bytes: u64) {
        self.queued -= u64::from(tasks);
        self.queued_bytes -= bytes;
        self.of[usize::from(algorithm.0)].pending -= u64::from(tasks);
    }

    /// Compares what is derived with what was counted anew.
    pub(crate) fn check(&self, anew: &Counts) {
        let sums = |counts: &Counts| (counts.queued, counts.queued_bytes, counts.running);
        assert_eq!(sums(self), sums(anew), "queued, queued bytes, running");
        let away = |counts: &Counts| (counts.away, counts.away_bytes);
        assert_eq!(away(self), away(anew), "away, their bytes");
        let pending = |counts: &Counts| {
            counts
                .of
                .iter()
                .map(|tally| tally.pending)
                .collect::<Vec<_>>()
        };
        assert_eq!(pending(self), pending(anew), "pending by algorithm");
    }

    #[inline]
    pub(crate) fn pending(&self, algorithm: Option<AlgorithmId>) -> u64 {
        algorithm.map_or(self.queued, |algorithm| {
            self.of[usize::from(algorithm.0)].pending
        })
    }

    /// Whether a target was ever set.
    #[inline]
    pub(crate) fn has_target(&self) -> bool {
        self.has_target
    }

    #[inline]
    pub(crate) fn target(&self, algorithm: Option<AlgorithmId>) -> u64 {
        algorithm.map_or(self.target, |algorithm| {
            self.of[usize::from(algorithm.0)].target
        })
    }

    pub(crate) fn set_target(&mut self, algorithm: Option<AlgorithmId>, target: u64) {
        self.has_target |= target > 0;
        match algorithm {
            Some(algorithm) => self.of[usize::from(algorithm.0)].target = target,
            None => self.target = target,
        }
    }
}
