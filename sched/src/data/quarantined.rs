//! Slaves and hosts that get no unordered tasks of an algorithm, until when, and what is remembered of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::health::Outcomes;
use crate::ids::{AlgorithmId, Nanos, SlaveId};

/// The first pause before a task is tried; with each that fails it is twice as long,
pub(crate) const PAUSE_MIN: Nanos = 1_000_000_000;
/// up to this.
pub(crate) const PAUSE_MAX: Nanos = 300_000_000_000;
/// Good for so many of its last pauses, and it begins with the first one again.
const GOOD_PAUSES: u64 = 10;

/// The host of a slave of which none is known.
const NO_HOST: u32 = u32::MAX;

/// Who is in quarantine.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Suspect {
    /// A slave.
    Slave(SlaveId),
    /// All slaves of a host, by the number that [`Scheduler::on_host`](crate::Scheduler::on_host) was told.
    Host(u32),
}

/// What has become of somebody in quarantine.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Ward {
    /// It gets no unordered tasks of the algorithm, since its outcomes were worse than those of the others; of a host
    /// the outcomes are slaves.
    Begun {
        /// Its outcomes.
        own: Outcomes,
        /// Those of all others.
        others: Outcomes,
        /// So long, in nanoseconds: then one task is tried.
        pause: Nanos,
    },
    /// The task that was tried has failed too.
    Prolonged {
        /// So long, in nanoseconds: then one more is tried.
        pause: Nanos,
    },
    /// It is served again.
    Over {
        /// The task that was tried succeeded. Else too few would be left, or it is gone.
        healed: bool,
    },
}

/// News of a quarantine.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Quarantine {
    /// Who.
    pub who: Suspect,
    /// Of which algorithm.
    pub algorithm: AlgorithmId,
    /// What has become of it.
    pub ward: Ward,
}

/// A slave's slot, or a host.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Whom {
    Slave(u32),
    Host(u32),
}

pub(crate) type Key = (AlgorithmId, Whom);

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) since: Nanos,
    /// How many pauses there were before this one.
    pub(crate) strikes: u32,
    /// When a task is tried.
    pub(crate) again: Nanos,
    /// The slave that tries one.
    pub(crate) probe: Option<u32>,
    /// Its outcomes were tested and it was told of. Else it waits for others to have outcomes.
    pub(crate) is_proved: bool,
    /// Entries by age.
    pub(crate) order: u64,
}

/// What is remembered when a quarantine is over.
#[derive(Copy, Clone, Debug)]
struct Past {
    strikes: u32,
    ended: Nanos,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Quarantined {
    pub(crate) entries: BTreeMap<Key, Entry>,
    past: BTreeMap<Key, Past>,
    /// By slave's slot.
    hosts: Vec<u32>,
    /// Slaves that are gone and were bad, or ended by what is around them, by algorithm and host.
    bad_lives: BTreeMap<(AlgorithmId, u32), u64>,
    /// Slots of slaves of which something is closed.
    pub(crate) barred: BTreeSet<u32>,
    /// Who of them is looked at next.
    pub(crate) cursor: u32,
    next_order: u64,
    /// Entries that are not proved.
    pub(crate) unproved: u32,
}

/// How long a pause is after so many.
pub(crate) fn pause(strikes: u32) -> Nanos {
    PAUSE_MIN
        .saturating_mul(1 << strikes.min(30))
        .min(PAUSE_MAX)
}

impl Quarantined {
    pub(crate) fn set_host(&mut self, at: u32, host: Option<u32>) {
        let at = at as usize;
        if self.hosts.len() <= at {
            self.hosts.resize(at + 1, NO_HOST);
        }
        self.hosts[at] = host.unwrap_or(NO_HOST);
    }

    pub(crate) fn host(&self, at: u32) -> Option<u32> {
        let host = self.hosts.get(at as usize).copied();
        host.filter(|&host| host != NO_HOST)
    }

    /// Who of those that hold for this slave is in quarantine.
    pub(crate) fn holds(&self, at: u32, algorithm: AlgorithmId) -> Option<Key> {
        let host = self.host(at).map(Whom::Host);
        [Some(Whom::Slave(at)), host]
            .into_iter()
            .flatten()
            .map(|whom| (algorithm, whom))
            .find(|key| self.entries.contains_key(key))
    }

    pub(crate) fn is_barred(&self, at: u32) -> bool {
        let host = self.host(at);
        self.entries.keys().any(|&(_, whom)| match whom {
            Whom::Slave(slave) => slave == at,
            Whom::Host(of) => host == Some(of),
        })
    }

    /// A new entry; how long its first pause is.
    pub(crate) fn begin(&mut self, key: Key, is_proved: bool, now: Nanos) -> Nanos {
        let past = self.past.get(&key).copied();
        let strikes = past.map_or(0, |past| {
            let was_good = now.saturating_sub(past.ended);
            match was_good >= GOOD_PAUSES * pause(past.strikes) {
                true => 0,
                false => past.strikes + 1,
            }
        });
        let entry = Entry {
            since: now,
            strikes,
            again: now + pause(strikes),
            probe: None,
            is_proved,
            order: self.next_order,
        };
        self.next_order += 1;
        self.unproved += u32::from(!is_proved);
        self.entries.insert(key, entry);
        pause(strikes)
    }

    pub(crate) fn end(&mut self, key: Key, now: Nanos) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.unproved -= u32::from(!entry.is_proved);
        if entry.is_proved {
            let past = Past {
                strikes: entry.strikes,
                ended: now,
            };
            self.past.insert(key, past);
        }
        Some(entry)
    }

    /// The task that was tried has failed: the next pause, and whether anybody was told of it.
    pub(crate) fn prolong(&mut self, key: Key, now: Nanos) -> Option<(Nanos, bool)> {
        let entry = self.entries.get_mut(&key)?;
        entry.strikes += 1;
        entry.probe = None;
        let pause = pause(entry.strikes);
        entry.again = now + pause;
        Some((pause, entry.is_proved))
    }

    pub(crate) fn oldest(&self) -> Option<Key> {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.order);
        oldest.map(|(&key, _)| key)
    }

    /// When something is tried next.
    pub(crate) fn due(&self, now: Nanos) -> Option<Nanos> {
        let waiting = self.entries.values().filter(|entry| entry.again > now);
        waiting.map(|entry| entry.again).min()
    }

    pub(crate) fn count_bad_life(&mut self, algorithm: AlgorithmId, host: u32) {
        *self.bad_lives.entry((algorithm, host)).or_default() += 1;
    }

    /// Slaves that are gone and were bad: of a host, and of all hosts.
    pub(crate) fn bad_lives(&self, algorithm: AlgorithmId, host: u32) -> (u64, u64) {
        let of_algorithm = (algorithm, 0)..=(algorithm, u32::MAX);
        let all = self.bad_lives.range(of_algorithm).map(|(_, lives)| lives);
        let own = self.bad_lives.get(&(algorithm, host)).copied();
        (own.unwrap_or(0), all.sum())
    }

    /// A host is served again: what its slaves were is forgotten.
    pub(crate) fn forget_lives(&mut self, algorithm: AlgorithmId, host: u32) {
        self.bad_lives.remove(&(algorithm, host));
    }

    /// A slave is gone: entries of its own are over, and no task is tried by it any more.
    pub(crate) fn remove(&mut self, at: u32) -> Vec<(Key, Entry)> {
        let own = |&&(_, whom): &&Key| whom == Whom::Slave(at);
        let keys: Vec<Key> = self.entries.keys().filter(own).copied().collect();
        let gone = keys.into_iter().filter_map(|key| {
            let entry = self.entries.remove(&key)?;
            self.unproved -= u32::from(!entry.is_proved);
            Some((key, entry))
        });
        let gone = gone.collect();
        self.past.retain(|&(_, whom), _| whom != Whom::Slave(at));
        self.barred.remove(&at);
        gone
    }
}
