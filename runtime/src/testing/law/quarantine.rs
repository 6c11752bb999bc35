//! Slaves in quarantine: what is said of them is so, tasks that failed one after another count as few, they get nothing of what they are in quarantine for but one task after
//! each pause, pauses grow, and half of the slaves are served.

use std::collections::{BTreeMap, BTreeSet};

use ringmw_codec::audit::Event;
use ringmw_sched::{AlgorithmId, Nanos, SlaveId};

use crate::proto::master::MasterCore;
use crate::testing::law::Law;

const MS: Nanos = 1_000_000;
/// So much failures weigh between which no task has succeeded.
const ALIKE_MAX: u64 = 2;
/// The longest pause.
const PAUSE_MAX: Nanos = 300_000 * MS;

/// A slave that is in quarantine for an algorithm.
struct Ward {
    pause: Nanos,
    /// When a task is tried.
    again: Nanos,
    /// One was handed out.
    is_tried: bool,
}

#[derive(Default)]
pub(super) struct Wards {
    open: BTreeMap<(SlaveId, u16), Ward>,
    /// What went to whom in this turn though it may not have: unless that was over before, which is told later.
    wrong: Vec<((SlaveId, u16), String)>,
    /// Unordered tasks that have succeeded, by algorithm.
    done: BTreeMap<u16, BTreeSet<u64>>,
    /// Those that a slave has failed.
    failed: BTreeMap<(SlaveId, u16), BTreeSet<u64>>,
    /// Who has failed something since what counts was looked at last.
    fails: BTreeSet<(SlaveId, u16)>,
    /// Somebody was served apart in this turn, or in the one before.
    apart: bool,
    /// How many there were in all, and how many were taken back as they had healed.
    pub(super) begun: u64,
    pub(super) healed: u64,
}

impl Wards {
    /// A slave has answered an unordered task.
    pub(super) fn on_answer(&mut self, key: (SlaveId, u16), task: u64, done: bool) {
        let of = match done {
            true => self.done.entry(key.1).or_default(),
            false => self.failed.entry(key).or_default(),
        };
        of.insert(task);
        if !done {
            self.fails.insert(key);
        }
    }

    /// How many runs of failures a slave had, between each two of which a task has succeeded.
    fn runs_of_failures(&self, key: (SlaveId, u16)) -> u64 {
        let done = self.done.get(&key.1);
        let mut runs = 0;
        let mut before = None;
        for &task in self.failed.get(&key).into_iter().flatten() {
            let between = |from: u64| done.is_some_and(|done| done.range(from..task).count() > 0);
            runs += u64::from(before.is_none_or(between));
            before = Some(task);
        }
        runs
    }

    /// So many failures of a slave count.
    fn check_counted(&self, key: (SlaveId, u16), failed: u64) {
        let runs = self.runs_of_failures(key);
        assert!(
            failed <= ALIKE_MAX * runs,
            "{} is bad by {failed} failures, which are {runs} runs",
            key.0
        );
    }
}

impl Law {
    fn index_of(&self, name: &str) -> u16 {
        let mut infos = self.config.algorithms.iter();
        let index = infos.position(|info| info.name == name);
        index.expect("an algorithm of the run") as u16
    }

    /// A line of the trail on quarantine.
    pub(super) fn on_quarantine(&mut self, event: &Event) {
        match event {
            Event::Quarantined {
                slave: Some(slave),
                algorithm,
                failed,
                of,
                others_failed,
                others_of,
                pause_ms,
                ..
            } => {
                assert!(
                    *others_of > 0 && failed * others_of > others_failed * of,
                    "SLAVE-{slave} is no worse than the others: {failed} of {of}, {others_failed} of {others_of}"
                );
                let key = (SlaveId(*slave), self.index_of(algorithm));
                self.wards.check_counted(key, *failed);
                let pause = pause_ms * MS;
                let ward = Ward {
                    pause,
                    again: self.now + pause,
                    is_tried: false,
                };
                self.wards.begun += 1;
                let before = self.wards.open.insert(key, ward);
                assert!(
                    before.is_none(),
                    "SLAVE-{slave} is put into quarantine twice"
                );
            }
            Event::QuarantineProlonged {
                slave: Some(slave),
                algorithm,
                pause_ms,
                ..
            } => {
                let (key, now) = ((SlaveId(*slave), self.index_of(algorithm)), self.now);
                let ward = self.wards.open.get_mut(&key).expect("it is in quarantine");
                assert!(ward.is_tried, "SLAVE-{slave} was tried nothing with");
                let pause = pause_ms * MS;
                assert_eq!(pause, (2 * ward.pause).min(PAUSE_MAX), "pauses grow");
                (ward.pause, ward.again, ward.is_tried) = (pause, now + pause, false);
            }
            Event::QuarantineOver {
                slave: Some(slave),
                algorithm,
                healed,
                ..
            } => {
                let key = (SlaveId(*slave), self.index_of(algorithm));
                let ward = self.wards.open.remove(&key).expect("it was in quarantine");
                assert!(
                    !healed || ward.is_tried,
                    "SLAVE-{slave} has healed, and was tried nothing with"
                );
                self.wards.healed += u64::from(*healed);
                self.wards.wrong.retain(|(wrong, _)| *wrong != key);
            }
            Event::Quarantined { .. }
            | Event::QuarantineProlonged { .. }
            | Event::QuarantineOver { .. } => panic!("there is one host: {event:?}"),
            _ => {}
        }
    }

    /// An unordered task goes to a slave; one that needs labels may be for nobody else.
    pub(super) fn check_ward(
        &mut self,
        id: SlaveId,
        (algorithm, has_needs): (u16, bool),
        seq: u64,
    ) {
        if let Some(ward) = self.wards.open.get_mut(&(id, algorithm)) {
            if self.now < ward.again || ward.is_tried {
                if has_needs {
                    return;
                }
                let left = ward.again.saturating_sub(self.now) / MS;
                let text =
                    format!("TASK-{seq} goes to {id}, which is in quarantine for {left} ms more");
                self.wards.wrong.push(((id, algorithm), text));
                return;
            }
            ward.is_tried = true;
        }
    }

    /// Half of the slaves that run unordered tasks are served. True: somebody is served apart, or was.
    pub(super) fn check_wards(&mut self, core: &MasterCore) -> bool {
        let slaves = &self.slaves;
        if let Some((_, text)) = self.wards.wrong.first() {
            panic!("{text}");
        }
        for key in std::mem::take(&mut self.wards.fails) {
            let counted = core.sched().failures_that_count(key.0, AlgorithmId(key.1));
            self.wards.check_counted(key, counted);
        }
        self.wards.open.retain(|(id, _), _| slaves.contains_key(id));
        let apart: BTreeSet<SlaveId> = self.wards.open.keys().map(|(id, _)| *id).collect();
        let takers = slaves
            .values()
            .filter(|slave| slave.group.takes_unordered());
        let takers = takers.count();
        assert!(
            2 * apart.len() <= takers,
            "of {takers} slaves {} are in quarantine",
            apart.len()
        );
        let is_apart = core.sched().in_quarantine() > 0;
        std::mem::replace(&mut self.wards.apart, is_apart) || is_apart
    }
}
