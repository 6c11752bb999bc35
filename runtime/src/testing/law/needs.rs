//! Labels: a task goes only to a slave that has what it needs.

use std::collections::BTreeMap;

use ringmw_sched::{LABEL_BYTES_MAX, NEEDS_MAX, SlaveId, TaskId};

use crate::testing::law::Law;

/// A set of labels that tasks need, by the observer's own number; 0: none.
pub(super) type Set = usize;

#[derive(Default)]
pub(super) struct Needs {
    /// From number 1 on.
    sets: Vec<Vec<String>>,
    /// Of tasks that need any.
    tasks: BTreeMap<u64, Set>,
    /// What connected slaves have.
    slaves: BTreeMap<SlaveId, Vec<String>>,
    /// Tasks that went out to a slave which has what they need.
    went: u64,
}

impl Needs {
    pub(super) fn on_slave(&mut self, id: SlaveId, labels: Vec<String>) {
        self.slaves.insert(id, labels);
    }

    pub(super) fn forget_slave(&mut self, id: SlaveId) {
        self.slaves.remove(&id);
    }

    pub(super) fn of(&self, seq: u64) -> Set {
        self.tasks.get(&seq).copied().unwrap_or(0)
    }

    /// Whether these are what a task was submitted with; of what is no label nothing is kept.
    pub(super) fn are(&self, set: Set, labels: &[String]) -> bool {
        match set.checked_sub(1) {
            Some(at) if self.may_be(set) => self.sets[at] == labels,
            _ => labels.is_empty(),
        }
    }

    /// Whether a task may need these.
    pub(super) fn may_be(&self, set: Set) -> bool {
        let Some(at) = set.checked_sub(1) else {
            return true;
        };
        let is_label = |label: &String| {
            !label.starts_with('=') && (1..=LABEL_BYTES_MAX).contains(&label.len())
        };
        self.sets[at].len() <= NEEDS_MAX && self.sets[at].iter().all(is_label)
    }
}

impl Law {
    /// A task that is about to be submitted needs these labels; they are distinct.
    pub(in crate::testing) fn on_needs(&mut self, id: TaskId, needs: &[&str]) {
        if needs.is_empty() {
            return;
        }
        let sets = &mut self.needs.sets;
        let at = sets.iter().position(|set| set == needs);
        let at = at.unwrap_or_else(|| {
            sets.push(needs.iter().map(|&need| need.to_owned()).collect());
            sets.len() - 1
        });
        self.needs.tasks.insert(id.seq(), at + 1);
    }

    /// A task that is for no slave alone goes to this one.
    pub(super) fn check_needs(&mut self, id: SlaveId, seq: u64, set: Set) {
        let Some(at) = set.checked_sub(1) else {
            return;
        };
        let labels = &self.needs.slaves[&id];
        for need in &self.needs.sets[at] {
            let has = labels
                .iter()
                .any(|label| label == need || label.split('=').next() == Some(need.as_str()));
            assert!(
                has,
                "TASK-{seq} needs {need}, and goes to {id}, which has {labels:?}"
            );
        }
        self.needs.went += 1;
    }

    /// Whether somebody is connected who has these labels.
    pub(in crate::testing) fn is_anybody_with(&self, labels: &[String]) -> bool {
        let mut slaves = self.needs.slaves.values();
        slaves.any(|has| has == labels)
    }

    /// Tasks that went to slaves for their labels.
    pub(in crate::testing) fn went_by_labels(&self) -> u64 {
        self.needs.went
    }
}
