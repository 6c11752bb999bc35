//! What tasks need and slaves have: sets of labels, each kept once and known by a number.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::Needs;

/// Sets of needs that are told apart: as many as their numbers allow.
const NEEDS_MAX: usize = Needs::TOO_MANY.0 as usize - 1;

/// A slave's labels, as a number; 0: none.
pub(crate) type LabelSet = u32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    needs: Sets,
    slaves: Sets,
    /// By set of labels: the needs that it meets, ascending.
    meets: Vec<Vec<Needs>>,
    /// By needs: idle slaves that meet them and may be served, the one served least recently first.
    idle: Vec<BTreeSet<(u64, u32)>>,
}

/// Sets by number, from 1; each sorted.
#[derive(Clone, Debug, Default)]
struct Sets {
    all: Vec<Vec<String>>,
    numbers: BTreeMap<Vec<String>, u32>,
}

impl Sets {
    /// The number of a set, and whether it is new.
    fn number(&mut self, mut set: Vec<String>) -> (u32, bool) {
        set.sort_unstable();
        set.dedup();
        if set.is_empty() {
            return (0, false);
        }
        if let Some(&number) = self.numbers.get(&set) {
            return (number, false);
        }
        self.all.push(set.clone());
        let number = self.all.len() as u32;
        self.numbers.insert(set, number);
        (number, true)
    }

    fn get(&self, number: u32) -> &[String] {
        match number.checked_sub(1) {
            Some(at) => &self.all[at as usize],
            None => &[],
        }
    }
}

impl Labels {
    /// The number of a set of needs, and whether it is new: then who is idle and meets it is to be told.
    pub(crate) fn needs(&mut self, needs: Vec<String>) -> (Needs, bool) {
        if self.needs.all.len() >= NEEDS_MAX {
            return (Needs::TOO_MANY, false);
        }
        let (number, is_new) = self.needs.number(needs);
        let needs = Needs(number as u16);
        if is_new {
            self.idle.push(BTreeSet::new());
            for (labels, meets) in (1..).zip(&mut self.meets) {
                if all_met(self.needs.get(number), self.slaves.get(labels)) {
                    meets.push(needs);
                }
            }
        }
        (needs, is_new)
    }

    /// The number of a slave's labels.
    pub(crate) fn labels(&mut self, labels: Vec<String>) -> LabelSet {
        let (number, is_new) = self.slaves.number(labels);
        if is_new {
            let labels = self.slaves.get(number);
            let numbers = 1..=self.needs.all.len() as u32;
            let met = numbers.filter(|&needs| all_met(self.needs.get(needs), labels));
            self.meets
                .push(met.map(|needs| Needs(needs as u16)).collect());
        }
        number
    }

    /// The needs that these labels meet.
    #[inline]
    pub(crate) fn met_by(&self, labels: LabelSet) -> &[Needs] {
        match labels.checked_sub(1) {
            Some(at) => &self.meets[at as usize],
            None => &[],
        }
    }

    /// The labels of a set of needs.
    pub(crate) fn of_needs(&self, needs: Needs) -> &[String] {
        self.needs.get(needs.0.into())
    }

    /// A slave with these labels is idle and may be served, since that turn.
    pub(crate) fn on_idle(&mut self, labels: LabelSet, since: u64, at: u32) {
        let Some(index) = labels.checked_sub(1) else {
            return;
        };
        for needs in &self.meets[index as usize] {
            self.idle[usize::from(needs.0) - 1].insert((since, at));
        }
    }

    /// It is so no more.
    pub(crate) fn on_not_idle(&mut self, labels: LabelSet, since: u64, at: u32) {
        let Some(index) = labels.checked_sub(1) else {
            return;
        };
        for needs in &self.meets[index as usize] {
            self.idle[usize::from(needs.0) - 1].remove(&(since, at));
        }
    }

    /// The idle slave that meets these needs and was served least recently.
    pub(crate) fn first_idle(&self, needs: Needs) -> Option<u32> {
        let (_, at) = self.idle[usize::from(needs.0) - 1].first()?;
        Some(*at)
    }

    /// Idle slaves that meet these needs, the one that was served least recently first.
    pub(crate) fn idle(&self, needs: Needs) -> impl Iterator<Item = u32> {
        let idle = &self.idle[usize::from(needs.0) - 1];
        idle.iter().map(|(_, at)| *at)
    }

    /// Every idle slave that stands anywhere, by needs; for `sanity_check`.
    pub(crate) fn all_idle(&self) -> impl Iterator<Item = (Needs, &BTreeSet<(u64, u32)>)> {
        (1..).map(Needs).zip(&self.idle)
    }
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
