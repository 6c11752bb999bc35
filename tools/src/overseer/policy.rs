//! What the overseer does about what it sees. Pure: facts in, effects out, `now` is an argument.
//!
//! ```text
//! desired ─ (running + queued + just submitted) > 0   submit, at most a step, never past max
//!                                               < 0   once it has been so for SETTLE: remove queued jobs, never a running one
//! deaths at once, five in a row, none alive           stop, say why, clear the queue; after a pause one job as a probe
//! deaths at once on one host, while others live       submit around that host for a while, what died there too
//! deaths of slaves that had been alive                nothing: their master was gone, they are replaced
//! a leave at the slave's time limit                   nothing: it is replaced
//! a leave with exit status 0                          not replaced until the desire changes, or as [`Idle`] tries it out
//! a job that somebody holds                           left alone, and counted as if it were queued
//! finished, stale, or told to drain                   remove what is queued, wait for what runs
//! finished, and a slave listens                       end it: nobody will dial it, and tell it so
//! ```
//!
//! The jobs that are counted are those that the batch system shows under the overseer's tag, and those it has just
//! taken and does not show yet. So nothing needs to be remembered over a restart, and a submission whose outcome is
//! unknown is never repeated blindly: the next list tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmw_codec::Nanos;

use super::facts::{Effect, End, Facts, How, Job, JobState, Limits, Over, Resource};
use super::idle::{Idle, Seen};
use super::pause::{SECOND, doubled};
use crate::say::count;

/// A desire must have been lower for so long before queued jobs are removed; one that only dips removes nothing.
const SETTLE: Nanos = 10 * SECOND;
/// Jobs that are gone are replaced after so long: when all is over, slaves leave before the resource file says so.
const REPLACE_AFTER: Nanos = 4 * SECOND;
/// A job that has run for so long, with slaves connected, is alive: what strikes at the start has not struck it.
const ALIVE_AFTER: Nanos = 15 * SECOND;
/// When all is over, slaves that run are given so long to end by themselves, as they do once their master is gone.
const FAREWELL: Nanos = 120 * SECOND;
/// Those that listen are given so long: one that had a master has left by then, and the others wait for none.
const FAREWELL_LISTENING: Nanos = 4 * SECOND;
/// So many deaths at once in a row, no slave alive, and slaves cannot run at all.
pub(crate) const ROW_MAX: u32 = 5;
/// So many while there are slaves on hosts where none has died, which may yet turn out to be alive.
const ROW_MAX_WHILE_OTHERS_RUN: u32 = 50;
/// So many in a row on one host, while others live, and that host is avoided.
pub(crate) const HOST_ROW_MAX: u32 = 3;
/// Deaths on a host are forgotten after so long without another one: twice the longest pause of a master's quarantine.
const FORGOTTEN_AFTER: Nanos = 600 * SECOND;
/// Jobs of one host's deaths that are remembered.
const HOST_JOBS_MAX: usize = 1_000;
/// Pauses double from the first to the last.
const PAUSE_FIRST: Nanos = 30 * SECOND;
const PAUSE_LAST: Nanos = 900 * SECOND;
/// A batch system that refuses is asked again after this, then twice as long, up to [`REFUSED_LAST`]. It may have taken
/// them all the same; by then its list shows them.
const REFUSED_FIRST: Nanos = 15 * SECOND;
const REFUSED_LAST: Nanos = 300 * SECOND;
/// Hosts whose deaths are remembered; a pool that has more bad ones has other troubles.
const HOSTS_MAX: usize = 10_000;

/// What is known of one host on which slaves have died at once.
#[derive(Debug, Default)]
struct Host {
    /// So many in a row.
    row: u32,
    /// When the last of them was seen.
    last: Nanos,
    /// What is said of that one.
    description: String,
    /// The jobs of the row.
    jobs: BTreeSet<String>,
    /// So many times it was avoided.
    avoided: u32,
    /// It is avoided until then.
    until: Nanos,
}

impl Host {
    fn forget_deaths(&mut self) {
        self.row = 0;
        self.jobs.clear();
    }

    fn on_death(&mut self, now: Nanos, death: &End) {
        self.row = self.row.saturating_add(1);
        self.last = now;
        self.description = describe(death);
        if self.jobs.len() < HOST_JOBS_MAX {
            self.jobs.insert(death.job.clone());
        }
    }

    /// A job is alive here that began `ran` ago. It takes the deaths back if it came after them. One that was here before
    /// them does not: a master that keeps a slave of such a host in quarantine gives it nothing to fail at.
    fn on_alive(&mut self, now: Nanos, ran: Nanos) {
        let since = now.saturating_sub(self.last);
        if ran < since || since >= FORGOTTEN_AFTER {
            self.forget_deaths();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Closed,
    /// Nothing is submitted until then.
    Open {
        until: Nanos,
    },
    /// One job is tried.
    Probe,
}

/// Values of a while, oldest first, of which no later one is higher: the front one is the highest of all.
#[derive(Debug, Default)]
struct Recent(VecDeque<(Nanos, u64)>);

impl Recent {
    /// The highest of the last `window`, this one included.
    fn highest(&mut self, now: Nanos, value: u64, window: Nanos) -> u64 {
        while self.0.back().is_some_and(|&(_, earlier)| earlier < value) {
            self.0.pop_back();
        }
        if self.0.back().is_none_or(|&(_, last)| last > value) {
            self.0.push_back((now, value));
        }
        // The front one ended when the next began.
        while let Some(&(next, _)) = self.0.get(1)
            && now.saturating_sub(next) >= window
        {
            self.0.pop_front();
        }
        self.0.front().map_or(value, |&(_, highest)| highest)
    }
}

/// The overseer's memory.
#[derive(Debug)]
pub(crate) struct Policy {
    limits: Limits,
    /// When it first knew a desire.
    known_since: Option<Nanos>,
    /// What was desired.
    desires: Recent,
    /// Jobs that were alive.
    lives: Recent,
    /// Taken by the batch system and not shown yet, with the time.
    unseen: BTreeMap<String, Nanos>,
    removed: BTreeSet<String>,
    /// Running jobs that it has ended.
    ended: BTreeSet<String>,
    /// Jobs that are alive: what they die of does not strike at the start.
    lived: BTreeSet<String>,
    /// Those that were so a turn ago; a job may have died before it was listed, or after.
    lived_before: BTreeSet<String>,
    submit_from: Nanos,
    refused: u32,
    row: u32,
    trips: u32,
    breaker: Breaker,
    hosts: BTreeMap<String, Host>,
    idle: Idle,
    /// What is to be said of slaves that left, unless all is over by then.
    of_leavers: Option<(Nanos, String)>,
    draining: bool,
    /// Since when there is no resource file to be read.
    missing_since: Option<Nanos>,
    over_since: Option<Nanos>,
    last_said: Option<String>,
}

impl Policy {
    pub(crate) fn new(limits: Limits) -> Self {
        assert!(
            limits.step > 0 && limits.max > 0,
            "an overseer of nothing is not started"
        );
        Self {
            limits,
            known_since: None,
            desires: Recent::default(),
            lives: Recent::default(),
            unseen: BTreeMap::new(),
            removed: BTreeSet::new(),
            ended: BTreeSet::new(),
            lived: BTreeSet::new(),
            lived_before: BTreeSet::new(),
            submit_from: 0,
            refused: 0,
            row: 0,
            trips: 0,
            breaker: Breaker::Closed,
            hosts: BTreeMap::new(),
            idle: Idle::default(),
            of_leavers: None,
            draining: false,
            missing_since: None,
            over_since: None,
            last_said: None,
        }
    }

    /// From now on nothing is submitted; it is done when what runs has ended.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// The batch system took these.
    pub(crate) fn on_submitted(&mut self, now: Nanos, ids: Vec<String>) {
        self.refused = 0;
        self.unseen.extend(ids.into_iter().map(|id| (id, now)));
    }

    /// It did not take them, or did not say whether it has.
    pub(crate) fn on_refused(&mut self, now: Nanos) {
        self.submit_from = now + doubled(REFUSED_FIRST, self.refused, REFUSED_LAST);
        self.refused = self.refused.saturating_add(1);
    }

    /// One turn.
    pub(crate) fn turn(&mut self, facts: &Facts<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_jobs(facts);
        self.take_deaths(facts, &mut effects);
        let desired = match self.desire(facts, &mut effects) {
            Err(over) => {
                self.wind_up(facts, over, &mut effects);
                return effects;
            }
            Ok(_) if self.draining => {
                self.drain_on(facts, &mut effects);
                return effects;
            }
            Ok(Some(desired)) => desired,
            Ok(None) => return effects,
        };
        if self.breaker_is_open(facts, &mut effects) {
            return effects;
        }
        self.clear_held(facts, &mut effects);
        let alive = self.alive(facts);
        let desired = self.take_leavers(facts, desired, alive, &mut effects);
        let probe = matches!(self.breaker, Breaker::Probe);
        let wanted = if probe { desired.min(1) } else { desired };
        let lasting = self.lasting_desire(facts.now, wanted);
        let lately = self.lives.highest(facts.now, alive, REPLACE_AFTER);
        if lately < wanted {
            self.submit(facts, wanted - lately, &mut effects);
        } else if alive > lasting {
            self.shrink(facts, alive - lasting, &mut effects);
        }
        effects
    }

    fn take_jobs(&mut self, facts: &Facts<'_>) {
        for job in facts.jobs {
            self.unseen.remove(&job.id);
        }
        self.unseen
            .retain(|_, since| facts.now.saturating_sub(*since) < self.limits.unseen);
        // A removal may take a while; what is no longer shown need not be remembered. What runs had begun before it could be
        // removed, and is asked for again should it be queued once more.
        if !self.removed.is_empty() {
            let waiting = facts
                .jobs
                .iter()
                .filter(|job| job.state != JobState::Running);
            let waiting: BTreeSet<&str> = waiting.map(|job| job.id.as_str()).collect();
            self.removed.retain(|id| waiting.contains(id.as_str()));
        }
        let connected = match facts.resource {
            Resource::InProgress { connected, .. } => connected != Some(0),
            Resource::Missing | Resource::Finished => false,
        };
        let lives = |job: &&Job| job.state == JobState::Running && job.ran >= ALIVE_AFTER;
        self.lived_before = std::mem::take(&mut self.lived);
        if !connected {
            return;
        }
        let mut any = false;
        for job in facts.jobs.iter().filter(lives) {
            any = true;
            self.lived.insert(job.id.clone());
            if let Some(host) = job.host.as_ref().and_then(|host| self.hosts.get_mut(host)) {
                host.on_alive(facts.now, job.ran);
            }
        }
        if any {
            self.row = 0;
            self.trips = 0;
            if self.breaker == Breaker::Probe {
                self.breaker = Breaker::Closed;
            }
        }
    }

    fn had_lived(&self, end: &End) -> bool {
        self.lived.contains(&end.job) || self.lived_before.contains(&end.job)
    }

    fn take_deaths(&mut self, facts: &Facts<'_>, effects: &mut Vec<Effect>) {
        // Some come and go between two lists.
        for end in facts.ends {
            self.unseen.remove(&end.job);
        }
        let deaths: Vec<&End> = facts
            .ends
            .iter()
            .filter(|end| matches!(end.how, How::Died(_)) && !self.had_lived(end))
            .collect();
        for death in &deaths {
            self.row = self.row.saturating_add(1);
            let Some(name) = &death.host else { continue };
            if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(name) {
                continue;
            }
            let host = self.hosts.entry(name.clone()).or_default();
            host.on_death(facts.now, death);
        }
        self.avoid_hosts(facts, effects);
        let Some(last) = deaths.last() else { return };
        let is_unhurt = |host: &String| self.hosts.get(host).is_none_or(|host| host.row == 0);
        let others_run = facts
            .jobs
            .iter()
            .any(|job| job.state == JobState::Running && job.host.as_ref().is_some_and(is_unhurt));
        let row_max = if others_run {
            ROW_MAX_WHILE_OTHERS_RUN
        } else {
            ROW_MAX
        };
        let tripped = match self.breaker {
            Breaker::Closed => self.row >= row_max,
            Breaker::Probe => true,
            Breaker::Open { .. } => false,
        };
        if tripped {
            let pause = doubled(PAUSE_FIRST, self.trips, PAUSE_LAST);
            self.trips = self.trips.saturating_add(1);
            self.breaker = Breaker::Open {
                until: facts.now + pause,
            };
            // They die everywhere: that says nothing of one host.
            self.hosts.values_mut().for_each(Host::forget_deaths);
            let (row, seconds) = (self.row, pause / SECOND);
            effects.push(Effect::Say(format!(
                "slaves do not start: {row} died in a row, none is alive; submitting nothing for {seconds} s; the last: {}",
                describe(last)
            )));
        }
    }

    /// How many are wanted of those desired, now that some have left with exit status 0.
    fn take_leavers(
        &mut self,
        facts: &Facts<'_>,
        desired: u64,
        alive: u64,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let Resource::InProgress {
            connected,
            busy,
            queued,
            ..
        } = facts.resource
        else {
            return desired;
        };
        let left = || facts.ends.iter().filter(|end| end.how == How::Left);
        let wanted = self.idle.wanted(&Seen {
            now: facts.now,
            desired,
            connected,
            busy,
            queued,
            left: left().count() as u64,
            alive,
        });
        // One that never served, while nobody is connected, is hardly a slave.
        let odd = left().find(|end| connected == Some(0) && !self.had_lived(end));
        let excused = self.idle.excused();
        if excused > 0 && left().next().is_some() {
            let text = match odd {
                Some(end) => format!(
                    "slaves end at once with exit status 0, and none is connected: is it this application, and does it \
                     take its --mw-* flags? Starting one at a time, after growing pauses; the last: {}",
                    describe(end)
                ),
                None => "slaves left with exit status 0, as idle ones do: they are replaced when the desire changes, or one \
                         at a time, after growing pauses"
                    .to_owned(),
            };
            // When all is over they leave before the file says so.
            let at = facts.now + REPLACE_AFTER;
            self.of_leavers = Some((self.of_leavers.take().map_or(at, |(at, _)| at), text));
        }
        if let Some((_, text)) = self.of_leavers.take_if(|(at, _)| *at <= facts.now) {
            self.say_once(&text, effects);
        }
        wanted
    }

    /// Finds the hosts to be avoided: those where slaves die at once, now that others are known to live elsewhere. Where the
    /// batch system puts the dead back into its queue, as HTCondor does, they may go to the same host for ever: others that
    /// avoid it take their place.
    fn avoid_hosts(&mut self, facts: &Facts<'_>, effects: &mut Vec<Effect>) {
        let live_hosts: BTreeSet<&str> = facts
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Running && job.ran >= ALIVE_AFTER)
            .filter_map(|job| job.host.as_deref())
            .collect();
        let mut moved = BTreeSet::new();
        for (name, host) in &mut self.hosts {
            let others_live = live_hosts.iter().any(|live| live != name);
            if host.row >= HOST_ROW_MAX && others_live && host.until <= facts.now {
                let pause = doubled(2 * PAUSE_FIRST, host.avoided, PAUSE_LAST);
                host.until = facts.now + pause;
                host.avoided = host.avoided.saturating_add(1);
                let seconds = pause / SECOND;
                effects.push(Effect::Say(format!(
                    "slaves die at once on {name}, {} in a row: avoiding it for {seconds} s; {}",
                    host.row, host.description
                )));
                host.row = 0;
            }
            if host.until > facts.now {
                moved.append(&mut host.jobs);
            }
        }
        let ids = self.removable(facts).filter(|id| moved.contains(id));
        let ids = ids.collect();
        self.remove(ids, effects);
    }

    /// The slaves desired, none while that is not known; the reason if all is over.
    fn desire(
        &mut self,
        facts: &Facts<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<u64>, Over> {
        match facts.resource {
            Resource::Finished => Err(Over::Finished),
            Resource::Missing => {
                let since = *self.missing_since.get_or_insert(facts.now);
                let age = facts.now.saturating_sub(since);
                if age > self.limits.stale {
                    return Err(Over::Missing(age / SECOND));
                }
                self.say_once("there is no resource file to be read yet", effects);
                Ok(None)
            }
            Resource::InProgress {
                desired, overdue, ..
            } => {
                self.missing_since = None;
                if overdue > self.limits.stale {
                    return Err(Over::Stale(overdue / SECOND));
                }
                let capped = desired.min(u64::from(self.limits.max));
                if capped < desired {
                    let max = self.limits.max;
                    self.say_once(
                        &format!("{desired} slaves are desired; --max allows {max}"),
                        effects,
                    );
                }
                self.over_since = None;
                Ok(Some(capped))
            }
        }
    }

    fn say_once(&mut self, text: &str, effects: &mut Vec<Effect>) {
        if self.last_said.as_deref() != Some(text) {
            self.last_said = Some(text.to_owned());
            effects.push(Effect::Say(text.to_owned()));
        }
    }

    /// Nothing new; queued jobs go; running ones end by themselves.
    fn drain_on(&mut self, facts: &Facts<'_>, effects: &mut Vec<Effect>) {
        if self.is_empty(facts) {
            effects.push(Effect::Done(Over::Drained));
            return;
        }
        self.say_once(
            "draining: removing what is queued, waiting for what runs",
            effects,
        );
        let queued = self.removable(facts).collect();
        self.remove(queued, effects);
    }

    /// Nothing is left but what somebody holds.
    fn is_empty(&self, facts: &Facts<'_>) -> bool {
        self.unseen.is_empty()
            && facts
                .jobs
                .iter()
                .all(|job| job.state == JobState::HeldByHand)
    }

    /// Nothing new; queued jobs go; running ones end by themselves, or are ended at last.
    fn wind_up(&mut self, facts: &Facts<'_>, over: Over, effects: &mut Vec<Effect>) {
        let idle: Vec<String> = self.removable(facts).collect();
        if self.is_empty(facts) {
            effects.push(Effect::Done(over));
            return;
        }
        self.say_once(&format!("{over}: removing what is queued"), effects);
        self.remove(idle, effects);
        let since = *self.over_since.get_or_insert(facts.now);
        let over_for = facts.now.saturating_sub(since);
        let ids = |jobs: &mut dyn Iterator<Item = &Job>| jobs.map(|job| job.id.clone()).collect();
        let mut left = facts
            .jobs
            .iter()
            .filter(|job| job.state != JobState::HeldByHand);
        if over_for >= FAREWELL {
            self.over_since = Some(facts.now);
            let ids: Vec<String> = ids(&mut left);
            let slaves = count(ids.len(), "slave still runs", "slaves still run");
            effects.push(Effect::Say(format!("{slaves}: ending what is left")));
            self.end(ids, effects);
        } else if over == Over::Finished && over_for >= FAREWELL_LISTENING {
            let mut listening = left.filter(|job| job.listens && !self.ended.contains(&job.id));
            let ids: Vec<String> = ids(&mut listening);
            if !ids.is_empty() {
                let slaves = count(ids.len(), "slave waits", "slaves wait");
                let text = format!("{slaves} to be dialled, and nobody will: ending them");
                effects.push(Effect::Say(text));
                self.end(ids, effects);
            }
        }
    }

    /// Of jobs that run, too.
    fn end(&mut self, ids: Vec<String>, effects: &mut Vec<Effect>) {
        self.ended.extend(ids.iter().cloned());
        effects.push(Effect::Remove { ids, running: true });
    }

    /// Whether an end that looks like a death is one: what the overseer ends itself leaves as planned.
    pub(crate) fn judged(&mut self, mut end: End) -> End {
        if self.ended.remove(&end.job) && matches!(end.how, How::Died(_)) {
            end.how = How::Ended;
        }
        end
    }

    fn breaker_is_open(&mut self, facts: &Facts<'_>, effects: &mut Vec<Effect>) -> bool {
        let Breaker::Open { until } = self.breaker else {
            return false;
        };
        if until <= facts.now {
            self.breaker = Breaker::Probe;
            effects.push(Effect::Say("trying one slave again".to_owned()));
            return false;
        }
        // A queued one would start and die over and over.
        let idle: Vec<String> = self.removable(facts).collect();
        self.remove(idle, effects);
        true
    }

    /// A held job will not start by itself: it makes room for another.
    fn clear_held(&mut self, facts: &Facts<'_>, effects: &mut Vec<Effect>) {
        let held: Vec<String> = facts
            .jobs
            .iter()
            .filter(|job| matches!(job.state, JobState::Held(_)) && !self.removed.contains(&job.id))
            .map(|job| job.id.clone())
            .collect();
        self.remove(held, effects);
    }

    /// Jobs that wait or failed to start, and are not being removed; queued ones last to first.
    fn removable<'a>(&self, facts: &Facts<'a>) -> impl Iterator<Item = String> + use<'a> {
        let removed = self.removed.clone();
        facts
            .jobs
            .iter()
            .rev()
            .filter(|job| !matches!(job.state, JobState::Running | JobState::HeldByHand))
            .map(|job| job.id.clone())
            .filter(move |id| !removed.contains(id))
    }

    fn alive(&self, facts: &Facts<'_>) -> u64 {
        let shown = facts
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Running || !self.removed.contains(&job.id));
        (shown.count() + self.unseen.len()) as u64
    }

    /// The highest desire of the last [`SETTLE`]; without bound until that is known.
    fn lasting_desire(&mut self, now: Nanos, desired: u64) -> u64 {
        let highest = self.desires.highest(now, desired, SETTLE);
        let known_since = *self.known_since.get_or_insert(now);
        if now.saturating_sub(known_since) < SETTLE {
            return u64::MAX;
        }
        highest
    }

    fn submit(&mut self, facts: &Facts<'_>, missing: u64, effects: &mut Vec<Effect>) {
        if facts.now < self.submit_from {
            return;
        }
        // Removed ones that are still shown may yet start: they count against max.
        let shown = facts.jobs.len() as u64 + self.unseen.len() as u64;
        let room = u64::from(self.limits.max).saturating_sub(shown);
        let jobs = missing.min(room).min(u64::from(self.limits.step));
        let Ok(jobs @ 1..) = u32::try_from(jobs) else {
            return;
        };
        self.submit_from = facts.now + self.limits.pause;
        let avoid = |(name, host): (&String, &Host)| (host.until > facts.now).then(|| name.clone());
        let avoid = self.hosts.iter().filter_map(avoid).collect();
        effects.push(Effect::Submit { jobs, avoid });
    }

    fn shrink(&mut self, facts: &Facts<'_>, excess: u64, effects: &mut Vec<Effect>) {
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let idle: Vec<String> = self.removable(facts).take(excess).collect();
        self.remove(idle, effects);
    }

    fn remove(&mut self, ids: Vec<String>, effects: &mut Vec<Effect>) {
        if ids.is_empty() {
            return;
        }
        self.removed.extend(ids.iter().cloned());
        effects.push(Effect::Remove {
            ids,
            running: false,
        });
    }

    /// The batch system did not remove them: they are to be asked for again.
    pub(crate) fn on_not_removed(&mut self, ids: &[String]) {
        for id in ids {
            self.ended.remove(id);
            self.removed.remove(id);
        }
    }

    /// For `--status`.
    pub(crate) fn state(&self, now: Nanos) -> String {
        match self.breaker {
            _ if self.draining => "draining".to_owned(),
            Breaker::Closed if self.submit_from > now && self.refused > 0 => {
                "the batch system refuses jobs; waiting".to_owned()
            }
            Breaker::Closed if self.idle.excused() > 0 => format!(
                "{} left with exit status 0; not replaced for now",
                count(self.idle.excused() as usize, "slave", "slaves")
            ),
            Breaker::Closed => "watching".to_owned(),
            Breaker::Open { until } => format!(
                "slaves die at once; waiting {} s",
                until.saturating_sub(now) / SECOND
            ),
            Breaker::Probe => "slaves died at once; trying one".to_owned(),
        }
    }
}

fn describe(death: &End) -> String {
    let host = death.host.as_deref().unwrap_or("an unknown host");
    let mut text = format!("job {} on {host}: {}", death.job, death.how);
    if death.lines.is_empty() {
        text.push_str(", without a word");
    }
    for line in &death.lines {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests;
