//! What tasks need and slaves have: sets of labels, each kept once and known by a number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::ids::Needs;
use crate::task::{LABEL_BYTES_MAX, NEEDS_MAX};

/// Sets of needs that are told apart: as many as their numbers allow.
const SETS_MAX: usize = Needs::WRONG.number as usize - 1;

/// A slave's labels, as a number; 0: none.
pub(crate) type LabelSet = u32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    /// Sets of needs by number, from 1; each sorted.
    needs: Vec<Needs>,
    numbers: BTreeMap<&'static [String], u16>,
    /// Sets that slaves have, by number, from 1.
    slaves: Vec<Had>,
    slave_numbers: BTreeMap<Vec<String>, LabelSet>,
    /// Numbers of sets that no slave has any more.
    free: Vec<LabelSet>,
    /// By needs: idle slaves that meet them and may be served, the one served least recently first.
    idle: Vec<BTreeSet<(u64, u32)>>,
}

/// A set of labels that slaves have.
#[derive(Clone, Debug, Default)]
struct Had {
    labels: Vec<String>,
    /// How many of them.
    slaves: u32,
    /// The needs that it meets, ascending.
    meets: Vec<Needs>,
}

/// The set as one that is kept for ever: sets of needs are written in a program, so that they are few.
fn kept(set: Vec<String>) -> &'static Vec<String> {
    static KEPT: Mutex<BTreeSet<&'static Vec<String>>> = Mutex::new(BTreeSet::new());
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match all.get(&set) {
        Some(kept) => kept,
        None => {
            let kept = &*Box::leak(Box::new(set));
            all.insert(kept);
            kept
        }
    }
}

impl Labels {
    /// The number of a set of needs, and whether it is new: then who is idle and meets it is to be told.
    pub(crate) fn needs(&mut self, mut set: Vec<String>) -> (Needs, bool) {
        set.sort_unstable();
        set.dedup();
        if set.is_empty() {
            return (Needs::NONE, false);
        }
        if let Some(&number) = self.numbers.get(&set[..]) {
            return (self.needs[usize::from(number) - 1], false);
        }
        if set.len() > NEEDS_MAX || !set.iter().all(|need| is_label(need)) {
            return (Needs::WRONG, false);
        }
        if self.needs.len() >= SETS_MAX {
            return (Needs::TOO_MANY, false);
        }
        let set = kept(set);
        let needs = Needs::new(self.needs.len() as u16 + 1, set);
        self.needs.push(needs);
        self.numbers.insert(set, needs.number);
        self.idle.push(BTreeSet::new());
        for had in &mut self.slaves {
            if all_met(set, &had.labels) {
                had.meets.push(needs);
            }
        }
        (needs, true)
    }

    /// The number of the labels of a slave, which has them from now on.
    pub(crate) fn take(&mut self, mut labels: Vec<String>) -> LabelSet {
        labels.sort_unstable();
        labels.dedup();
        if labels.is_empty() {
            return 0;
        }
        if let Some(&number) = self.slave_numbers.get(&labels) {
            self.slaves[number as usize - 1].slaves += 1;
            return number;
        }
        let meets = self.needs.iter().copied();
        let meets = meets.filter(|needs| all_met(needs.labels(), &labels));
        let had = Had {
            meets: meets.collect(),
            labels: labels.clone(),
            slaves: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.slaves[number as usize - 1] = had;
                number
            }
            None => {
                self.slaves.push(had);
                self.slaves.len() as LabelSet
            }
        };
        self.slave_numbers.insert(labels, number);
        number
    }

    /// A slave has these labels no more.
    pub(crate) fn give_back(&mut self, labels: LabelSet) {
        let Some(at) = labels.checked_sub(1) else {
            return;
        };
        let had = &mut self.slaves[at as usize];
        had.slaves -= 1;
        if had.slaves == 0 {
            let Had { labels: set, .. } = std::mem::take(had);
            self.slave_numbers.remove(&set);
            self.free.push(labels);
        }
    }

    /// The needs that these labels meet.
    #[inline]
    pub(crate) fn met_by(&self, labels: LabelSet) -> &[Needs] {
        match labels.checked_sub(1) {
            Some(at) => &self.slaves[at as usize].meets,
            None => &[],
        }
    }

    /// A slave with these labels is idle and may be served, since that turn.
    pub(crate) fn on_idle(&mut self, labels: LabelSet, since: u64, at: u32) {
        let Some(index) = labels.checked_sub(1) else {
            return;
        };
        for needs in &self.slaves[index as usize].meets {
            self.idle[usize::from(needs.number) - 1].insert((since, at));
        }
    }

    /// It is so no more.
    pub(crate) fn on_not_idle(&mut self, labels: LabelSet, since: u64, at: u32) {
        let Some(index) = labels.checked_sub(1) else {
            return;
        };
        for needs in &self.slaves[index as usize].meets {
            self.idle[usize::from(needs.number) - 1].remove(&(since, at));
        }
    }

    /// The idle slave that meets these needs and was served least recently.
    pub(crate) fn first_idle(&self, needs: Needs) -> Option<u32> {
        let (_, at) = self.idle[usize::from(needs.number) - 1].first()?;
        Some(*at)
    }

    /// Idle slaves that meet these needs, the one that was served least recently first.
    pub(crate) fn idle(&self, needs: Needs) -> impl Iterator<Item = u32> {
        // Of a set that is none there are none.
        let idle = self.idle.get(usize::from(needs.number) - 1);
        idle.into_iter().flatten().map(|(_, at)| *at)
    }

    /// Every idle slave that stands anywhere, by needs; for `sanity_check`.
    pub(crate) fn all_idle(&self) -> impl Iterator<Item = (Needs, &BTreeSet<(u64, u32)>)> {
        self.needs.iter().copied().zip(&self.idle)
    }

    /// How many slaves have a set, of those that any has; for `sanity_check`.
    pub(crate) fn all_had(&self) -> impl Iterator<Item = (LabelSet, u32)> {
        let had = (1..).zip(&self.slaves).filter(|had| had.1.slaves > 0);
        had.map(|(number, had)| (number, had.slaves))
    }
}

/// A key, or a key and a value: within its bytes.
fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('=')
}

/// A need is a label as it stands, or a key, whatever its value.
fn all_met(needs: &[String], labels: &[String]) -> bool {
    let is_met = |need: &String| {
        labels.iter().any(|label| {
            let key = label.split_once('=').map_or(&**label, |(key, _)| key);
            label == need || key == need
        })
    };
    needs.iter().all(is_met)
}

/// So many tasks wait for a slave with these labels, and none such is connected that runs unordered tasks.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Lack {
    /// What they need.
    pub needs: Vec<String>,
    /// How many are queued.
    pub tasks: u64,
}
