//! Outcomes come in, and who is worse than all others gets no more unordered tasks of that algorithm.
//!
//! | what | follows |
//! |---|---|
//! | a slave's outcomes are worse than all others', by a test with a stated error (`data/health`) | quarantine of the slave |
//! | so are a host's slaves, each counted once: in quarantine, or ended by its state's or its surroundings' failure | quarantine of the host, those that come later too |
//! | it has only failed, and most of the others that have such tasks have not answered one yet | it waits for that, untold |
//! | it has failed at tasks in a row, and nobody has succeeded with a later one | so it does, unless half of the others fail at them too |
//! | a pause is over | one task is tried; it ends the quarantine, or the next pause is twice as long |
//! | half of the slaves that run unordered tasks are in quarantine | nobody else is; if there are more, the oldest is served again |
//! | queued tasks need labels that nobody else has | they are handed out all the same |
//!
//! Tasks that are addressed to a slave go on, and do not count. Slaves in quarantine are served last.

use crate::data::hands::Hold;
use crate::data::health::{self, ALIKE_WEIGHT, ALONE_FAILED_MAX, Answers, Outcomes};
use crate::data::quarantined::{Entry, Key, Quarantine, Suspect, Ward, Whom};
use crate::data::slaves::Status;
use crate::ids::{AlgorithmId, Nanos, Needs, SlaveId};
use crate::scheduler::{Scheduler, shrink};
use crate::series::Series;

/// So many slaves in quarantine are looked at for each packet.
const LOOKS: usize = 16;

/// With so many outcomes of others the test alone decides, however many slaves there are.
const OTHERS_ENOUGH: u64 = 64;

/// What a slave in quarantine may be handed.
#[derive(Debug)]
pub(crate) struct Bars {
    closed: Vec<AlgorithmId>,
    /// Of these one task is tried.
    probes: Vec<AlgorithmId>,
    /// Queued tasks with these needs are for nobody else.
    needs: Vec<Needs>,
}

impl Bars {
    pub(crate) fn allow(&self, algorithm: AlgorithmId, needs: Needs) -> bool {
        !self.closed.contains(&algorithm) || self.needs.contains(&needs)
    }

    pub(crate) fn is_probe(&self, algorithm: AlgorithmId) -> bool {
        self.probes.contains(&algorithm)
    }
}

impl<P: Series> Scheduler<P> {
    /// A slave that has just connected is of this host: hosts are told apart by any number below `u32::MAX`.
    pub fn on_host(&mut self, slave: SlaveId, host: u32) {
        let Some(at) = self.slaves.find(slave) else {
            return;
        };
        if self.config.quarantine {
            self.quarantined.set_host(at, Some(host));
            self.see_to_bars(at);
            self.keep_half(self.clock);
        }
    }

    /// Unordered tasks of one algorithm were answered by a slave in one packet.
    #[inline]
    pub fn learn_outcomes(
        &mut self,
        slave: SlaveId,
        algorithm: AlgorithmId,
        answers: Answers,
        now: Nanos,
    ) {
        if !self.config.quarantine || answers.all == 0 {
            return;
        }
        let Some(at) = self.slaves.find(slave) else {
            return;
        };
        let slave = self.slaves.get(at);
        if slave.barred || slave.suspect || answers.failed > 0 || self.quarantined.unproved > 0 {
            self.on_outcomes(at, algorithm, answers, now);
        } else {
            self.health.learn(at, algorithm, answers);
        }
    }

    #[cold]
    fn on_outcomes(&mut self, at: u32, algorithm: AlgorithmId, answers: Answers, now: Nanos) {
        let has_failed = answers.failed > 0;
        let ward = self.quarantined.holds(at, algorithm);
        if let Some(key) = ward {
            let entry = &self.quarantined.entries[&key];
            let (is_probe, is_proved) = (entry.probe == Some(at), entry.is_proved);
            if is_proved {
                // What it had in hand before says nothing new.
                if is_probe {
                    self.on_probe(key, answers.failed == answers.all, now);
                }
                return;
            }
            if answers.failed < answers.all {
                self.let_on(key, now);
            } else if is_probe {
                self.on_probe(key, true, now);
            }
        }
        self.health.learn(at, algorithm, answers);
        let (own, others) = self.health.against_others(at, algorithm);
        let is_suspect = health::is_suspect(own, others);
        self.slaves.set_suspect(at, is_suspect);
        let key = (algorithm, Whom::Slave(at));
        if has_failed && self.is_bad(at, algorithm, (own, others)) {
            self.let_on(key, now);
            self.quarantine(at, algorithm, (own, others), now);
        } else if !self.quarantined.entries.contains_key(&key)
            && self.waits_for_others(at, algorithm)
            && self.may_bar(&[at])
        {
            self.quarantined.begin(key, false, now);
            self.see_to_bars(at);
        }
        if self.quarantined.unproved > 0 {
            self.see_to_unproved(algorithm, now);
        }
    }

    /// Whether a slave is worse than the others, by more than one run of failures.
    fn is_bad(&self, at: u32, algorithm: AlgorithmId, outcomes: (Outcomes, Outcomes)) -> bool {
        health::is_bad(outcomes.0, outcomes.1, self.slaves.len())
            && self.health.has_failed_apart(at, algorithm)
    }

    /// It waits no more.
    fn let_on(&mut self, key: Key, now: Nanos) {
        if self.quarantined.end(key, now).is_some() {
            self.see_to_bars_of(key.1);
        }
    }

    fn waits_for_others(&self, at: u32, algorithm: AlgorithmId) -> bool {
        self.waits_for_a_first_one(at, algorithm) || self.waits_for_a_later_one(at, algorithm)
    }

    /// Whether it has only failed, and most of the others that have such tasks have not answered one yet, or some have
    /// succeeded, and too few have answered to say more. Costs the slaves that there are.
    fn waits_for_a_first_one(&self, at: u32, algorithm: AlgorithmId) -> bool {
        let own = self.health.of(at, algorithm);
        if own.failed < own.all || own.all < u64::from(ALONE_FAILED_MAX) {
            return false;
        }
        let others = self.heard_of_others(at, algorithm);
        if others.failed < others.all && others.all < OTHERS_ENOUGH {
            return true;
        }
        let (mut silent, mut failing) = (0, 0);
        for (other, slave) in self.slaves.iter().filter(|&(other, _)| other != at) {
            let outcomes = self.health.of(other, algorithm);
            let first = slave.hands.first();
            let has_one = first.is_some_and(|first| {
                first.hold == Hold::Live && self.tasks.get(first.slot).algorithm == algorithm
            });
            silent += u32::from(outcomes.all == 0 && has_one);
            failing += u32::from(outcomes.all > 0 && outcomes.failed == outcomes.all);
        }
        silent > failing
    }

    /// Whether it fails at what may be bad tasks one after another: more of them would count for nothing before a later
    /// one has succeeded. Not where half of the others fail at them too. Costs the slaves that have failed.
    fn waits_for_a_later_one(&self, at: u32, algorithm: AlgorithmId) -> bool {
        let Some(alike) = self.health.alike(at, algorithm) else {
            return false;
        };
        let enough = match self.slaves.get(at).suspect {
            true => ALIKE_WEIGHT,
            false => ALONE_FAILED_MAX,
        };
        if alike.failed < enough {
            return false;
        }
        let (_, others) = self.health.against_others(at, algorithm);
        let beside = self.health.failing_beside(alike, at, algorithm);
        others.failed < others.all && 2 * beside + 1 < self.slaves.len()
    }

    /// The outcomes of others, those aside that wait as well: they would speak for one another.
    fn heard_of_others(&self, at: u32, algorithm: AlgorithmId) -> Outcomes {
        let (_, others) = self.health.against_others(at, algorithm);
        let entries = self.quarantined.entries.iter();
        let waiting = entries.filter(|(key, entry)| key.0 == algorithm && !entry.is_proved);
        waiting.fold(others, |others, (key, _)| match key.1 {
            Whom::Slave(other) if other != at => others.without(self.health.of(other, algorithm)),
            _ => others,
        })
    }

    /// Somebody has an outcome of this algorithm: what waited for one is proved, or was nothing.
    fn see_to_unproved(&mut self, algorithm: AlgorithmId, now: Nanos) {
        let is_of = |(key, entry): &(&Key, &Entry)| key.0 == algorithm && !entry.is_proved;
        let waiting = self.quarantined.entries.iter().filter(is_of);
        let waiting: Vec<Key> = waiting.map(|(&key, _)| key).collect();
        for key in waiting {
            let Whom::Slave(at) = key.1 else { continue };
            let (own, _) = self.health.against_others(at, algorithm);
            let others = self.heard_of_others(at, algorithm);
            if self.is_bad(at, algorithm, (own, others)) {
                self.let_on(key, now);
                self.quarantine(at, algorithm, (own, others), now);
            } else if !self.waits_for_a_later_one(at, algorithm)
                && (others.all.is_power_of_two() || others.all < u64::from(ALONE_FAILED_MAX))
                && !self.waits_for_a_first_one(at, algorithm)
            {
                self.let_on(key, now);
            }
        }
    }

    fn quarantine(
        &mut self,
        at: u32,
        algorithm: AlgorithmId,
        outcomes: (Outcomes, Outcomes),
        now: Nanos,
    ) {
        if !self.may_bar(&[at]) {
            return;
        }
        self.begin_quarantine((algorithm, Whom::Slave(at)), outcomes, now);
        self.health.forget(at, algorithm);
        self.slaves.set_suspect(at, false);
        if let Some(host) = self.quarantined.host(at) {
            self.judge_host(algorithm, host, now);
        }
    }

    fn begin_quarantine(&mut self, key: Key, (own, others): (Outcomes, Outcomes), now: Nanos) {
        let pause = self.quarantined.begin(key, true, now);
        self.say(key, Ward::Begun { own, others, pause });
        self.see_to_bars_of(key.1);
    }

    /// The state or the surroundings of a slave have failed, and it is about to go: that counts against its host.
    pub fn learn_broken(&mut self, slave: SlaveId, now: Nanos) {
        let Some(at) = self.slaves.find(slave) else {
            return;
        };
        let first = self.slaves.hands(at).first();
        if let (true, Some(host), Some(first)) =
            (self.config.quarantine, self.quarantined.host(at), first)
            && first.hold == Hold::Live
        {
            let algorithm = self.tasks.get(first.slot).algorithm;
            self.quarantined.count_bad_life(algorithm, host);
            self.judge_host(algorithm, host, now);
        }
    }

    /// The slaves of a host against those of all others. Costs the slaves that there are.
    fn judge_host(&mut self, algorithm: AlgorithmId, host: u32, now: Nanos) {
        let key = (algorithm, Whom::Host(host));
        if self.quarantined.entries.contains_key(&key) {
            return;
        }
        let (own_lives, all_lives) = self.quarantined.bad_lives(algorithm, host);
        let of = |bad: u64| Outcomes {
            failed: bad,
            all: bad,
        };
        let (mut own, mut others) = (of(own_lives), of(all_lives - own_lives));
        let mut hosts = std::collections::BTreeSet::from([host]);
        let mut here = Vec::new();
        for (at, _) in self.slaves.iter() {
            let of = self.quarantined.host(at);
            hosts.extend(of);
            let is_bad = self
                .quarantined
                .entries
                .contains_key(&(algorithm, Whom::Slave(at)));
            let outcomes = self.health.of(at, algorithm);
            let counts = match of == Some(host) {
                true => {
                    here.push(at);
                    &mut own
                }
                false => &mut others,
            };
            counts.failed += u64::from(is_bad);
            counts.all += u64::from(is_bad || outcomes.all > outcomes.failed);
        }
        if own.failed >= 2 && health::is_bad(own, others, hosts.len()) && self.may_bar(&here) {
            for &at in &here {
                self.quarantined.end((algorithm, Whom::Slave(at)), now);
                self.health.forget(at, algorithm);
            }
            self.begin_quarantine(key, (own, others), now);
        }
    }

    /// The task that was tried has an outcome.
    fn on_probe(&mut self, key: Key, failed: bool, now: Nanos) {
        if !failed {
            return self.end_quarantine(key, true, now);
        }
        if let Some((pause, is_proved)) = self.quarantined.prolong(key, now)
            && is_proved
        {
            self.say(key, Ward::Prolonged { pause });
        }
        // Meanwhile more may be known of the others.
        if let (algorithm, Whom::Slave(at)) = key
            && let Some(host) = self.quarantined.host(at)
        {
            self.judge_host(algorithm, host, now);
        }
    }

    fn end_quarantine(&mut self, key: Key, healed: bool, now: Nanos) {
        let Some(entry) = self.quarantined.end(key, now) else {
            return;
        };
        if let (algorithm, Whom::Host(host)) = key {
            self.quarantined.forget_lives(algorithm, host);
        }
        if entry.is_proved {
            self.say(key, Ward::Over { healed });
        }
        self.see_to_bars_of(key.1);
    }

    fn say(&mut self, (algorithm, whom): Key, ward: Ward) {
        let who = match whom {
            Whom::Slave(at) => Suspect::Slave(self.slaves.get(at).id),
            Whom::Host(host) => Suspect::Host(host),
        };
        let news = Quarantine {
            who,
            algorithm,
            ward,
        };
        self.quarantine_news.push_back(news);
    }

    /// Whether [`poll_quarantine`](Self::poll_quarantine) has something.
    #[inline]
    pub fn has_quarantine_news(&self) -> bool {
        !self.quarantine_news.is_empty()
    }

    /// The next news of quarantines, in the order in which they came about.
    pub fn poll_quarantine(&mut self) -> Option<Quarantine> {
        let news = self.quarantine_news.pop_front();
        shrink(&mut self.quarantine_news);
        news
    }

    /// When [`hand_out`](Self::hand_out) may try a task with somebody in quarantine, should nothing else happen.
    pub fn quarantine_due(&self) -> Option<Nanos> {
        self.quarantined.due(self.clock)
    }

    /// Whether these may be in quarantine as well: no more than half of those that run unordered tasks.
    fn may_bar(&self, slaves: &[u32]) -> bool {
        let more = slaves
            .iter()
            .filter(|at| !self.quarantined.barred.contains(at));
        self.quarantined.barred.len() + more.count() <= self.barred_max()
    }

    fn barred_max(&self) -> usize {
        self.slaves.takers() as usize / 2
    }

    /// Slaves have gone: of too many in quarantine the oldest is served again.
    #[inline]
    pub(crate) fn keep_half(&mut self, now: Nanos) {
        while self.quarantined.barred.len() > self.barred_max() {
            let oldest = self
                .quarantined
                .oldest()
                .expect("who is barred is so for a reason");
            self.end_quarantine(oldest, false, now);
        }
    }

    fn see_to_bars_of(&mut self, whom: Whom) {
        match whom {
            Whom::Slave(at) => self.see_to_bars(at),
            Whom::Host(host) => {
                let of = |at: &u32| self.quarantined.host(*at) == Some(host);
                let here: Vec<u32> = self.slaves.iter().map(|(at, _)| at).filter(of).collect();
                here.into_iter().for_each(|at| self.see_to_bars(at));
            }
        }
    }

    fn see_to_bars(&mut self, at: u32) {
        let barred = self.quarantined.is_barred(at);
        match barred {
            true => self.quarantined.barred.insert(at),
            false => self.quarantined.barred.remove(&at),
        };
        self.slaves.set_barred(at, barred);
    }

    /// A slave is gone. What it was in quarantine for stays with its host.
    pub(crate) fn on_gone_from_quarantine(&mut self, at: u32, id: SlaveId) {
        let host = self.quarantined.host(at);
        for (key, entry) in self.quarantined.remove(at) {
            if !entry.is_proved {
                continue;
            }
            self.quarantine_news.push_back(Quarantine {
                who: Suspect::Slave(id),
                algorithm: key.0,
                ward: Ward::Over { healed: false },
            });
            if let Some(host) = host {
                self.quarantined.count_bad_life(key.0, host);
            }
        }
        let probed = |entry: &Entry| entry.probe == Some(at);
        let entries = &self.quarantined.entries;
        let probed = entries.iter().filter(|(_, entry)| probed(entry));
        let probed: Vec<Key> = probed.map(|(&key, _)| key).collect();
        for key in probed {
            self.on_probe(key, true, self.clock);
        }
        self.quarantined.set_host(at, None);
        self.health.remove(at);
    }

    // ---- handing out

    /// An idle slave in quarantine that may be handed something all the same; a few are looked at.
    pub(crate) fn next_barred(&mut self) -> Option<u32> {
        if self.quarantined.barred.is_empty() || self.owners.len_with_needy() == 0 {
            return None;
        }
        let (barred, cursor) = (&self.quarantined.barred, self.quarantined.cursor);
        let looks = barred
            .range(cursor..)
            .chain(barred.range(..cursor))
            .take(LOOKS);
        let looks: Vec<u32> = looks.copied().collect();
        for at in looks {
            self.quarantined.cursor = at + 1;
            let slave = self.slaves.get(at);
            let may =
                slave.status == Status::Idle && !slave.held_back && slave.group.takes_unordered();
            if may && self.pick_barred(at, &self.bars_of(at)).is_some() {
                return Some(at);
            }
        }
        None
    }

    /// What a slave in quarantine may be handed now.
    pub(crate) fn bars_of(&self, at: u32) -> Bars {
        let (mut closed, mut probes) = (Vec::new(), Vec::new());
        let host = self.quarantined.host(at);
        for (&(algorithm, whom), entry) in &self.quarantined.entries {
            let holds = match whom {
                Whom::Slave(slave) => slave == at,
                Whom::Host(of) => host == Some(of),
            };
            if !holds {
                continue;
            }
            match entry.probe.is_none() && entry.again <= self.clock {
                true => probes.push(algorithm),
                false => closed.push(algorithm),
            }
        }
        // In quarantine for itself and with its host, and one of both not due.
        probes.retain(|algorithm| !closed.contains(algorithm));
        let mut needs = Vec::new();
        for (queued, _) in self.owners.needs(self.hold_queue) {
            let meets = |at| self.slaves.meets(at).binary_search(&queued).is_ok();
            let mut others = self
                .slaves
                .iter()
                .filter(|(_, slave)| !slave.barred && slave.group.takes_unordered());
            if meets(at) && !others.any(|(other, _)| meets(other)) {
                needs.push(queued);
            }
        }
        Bars {
            closed,
            probes,
            needs,
        }
    }

    /// The owner whose first task a slave in quarantine is handed.
    pub(crate) fn pick_barred(&self, at: u32, bars: &Bars) -> Option<u32> {
        let time = (self.clock, self.config.priority_aging);
        let allowed = |algorithm, needs| bars.allow(algorithm, needs);
        let meets = self.slaves.meets(at);
        self.owners
            .pick_allowed(&self.tasks, meets, self.hold_queue, time, &allowed)
    }

    /// A slave in quarantine tries a task.
    pub(crate) fn on_probed(&mut self, at: u32, algorithm: AlgorithmId) {
        if let Some(key) = self.quarantined.holds(at, algorithm)
            && let Some(entry) = self.quarantined.entries.get_mut(&key)
        {
            entry.probe = Some(at);
        }
    }

    // ---- questions

    /// Whether it may be bad: what its failures took says nothing of the others.
    pub fn is_suspect(&self, slave: SlaveId) -> bool {
        let at = self.slaves.find(slave);
        at.is_some_and(|at| self.slaves.get(at).suspect || self.slaves.get(at).barred)
    }

    /// Failures that are held against a slave: without those that are of one run of failures.
    pub fn failures_that_count(&self, slave: SlaveId, algorithm: AlgorithmId) -> u64 {
        let at = self.slaves.find(slave);
        at.map_or(0, |at| self.health.against_others(at, algorithm).0.failed)
    }

    /// The algorithms of which a slave gets no unordered tasks: since when, until when, and whether it is for its host.
    pub fn wards(&self, slave: SlaveId) -> Vec<(AlgorithmId, Nanos, Nanos, bool)> {
        let Some(at) = self
            .slaves
            .find(slave)
            .filter(|&at| self.slaves.get(at).barred)
        else {
            return Vec::new();
        };
        let host = self.quarantined.host(at);
        let entries = self.quarantined.entries.iter();
        let own = entries.filter_map(|(&(algorithm, whom), entry)| match whom {
            Whom::Slave(slave) if slave == at => Some((algorithm, entry.since, entry.again, false)),
            Whom::Host(of) if host == Some(of) => Some((algorithm, entry.since, entry.again, true)),
            _ => None,
        });
        own.collect()
    }

    /// Slaves that get no unordered tasks of some algorithm.
    pub fn in_quarantine(&self) -> usize {
        self.quarantined.barred.len()
    }

    pub(crate) fn check_quarantine(&self) {
        self.health.check();
        for (at, slave) in self.slaves.iter() {
            let barred = self.quarantined.is_barred(at);
            assert_eq!(slave.barred, barred, "it is barred who is in quarantine");
            assert_eq!(self.quarantined.barred.contains(&at), barred);
        }
        assert!(
            self.quarantined.barred.len() <= self.barred_max(),
            "half are served"
        );
        let unproved = self
            .quarantined
            .entries
            .values()
            .filter(|entry| !entry.is_proved);
        assert_eq!(unproved.count(), self.quarantined.unproved as usize);
    }
}
