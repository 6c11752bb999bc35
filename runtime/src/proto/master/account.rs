//! What has become of tasks and slaves so far, counted as it happens: for the status, the trail's state lines, and those
//! who ask why.
//!
//! Counting costs a packet some nanoseconds and a task of a large packet next to nothing: of more than a few results in a
//! packet some are looked at, and stand for the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringmw_codec::audit::LossCause;
use ringmw_codec::status::Times;
use ringmw_sched::{AlgorithmId, Nanos, SlaveId};

use crate::proto::end::End;

/// Hosts that are counted by name; further ones are one, [`OTHERS`].
const HOSTS_MAX: usize = 20_000;
/// The name of the hosts beyond [`HOSTS_MAX`].
const OTHERS: &str = "(others)";

/// Ends of tasks that are remembered, those of a packet together.
const ENDED_MAX: usize = 10_000;
/// Slaves that are gone and remembered.
const GONE_MAX: usize = 2_000;
/// Of a slave's last words, in bytes.
const DETAIL_BYTES_MAX: usize = 200;
/// Refusals that are remembered.
const REFUSED_MAX: usize = 200;

/// Results of a packet whose compute times are looked at.
const LOOKED_AT: u32 = 8;

#[derive(Default)]
pub(super) struct Account {
    pub(super) algorithms: Vec<Tally>,
    hosts: BTreeMap<Arc<str>, u32>,
    pub(super) host: Vec<HostTally>,
    /// Slaves that have connected.
    pub(super) came: u64,
    /// Slaves that went as they were told to.
    pub(super) left: u64,
    pub(super) refused: u64,
    pub(super) recycled: u64,
    pub(super) stalls: u64,
    /// By cause, with the time of the last one.
    pub(super) losses: BTreeMap<LossCause, (u64, Nanos)>,
    /// What is kept for those who ask, where somebody may.
    pub(super) memory: Option<Box<Memory>>,
}

/// What is remembered one by one, the oldest first.
#[derive(Default)]
pub(super) struct Memory {
    ended: VecDeque<Ended>,
    gone: VecDeque<Gone>,
    refused: VecDeque<Refused>,
}

/// Tasks of one algorithm.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) submitted: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) unrunnable: u64,
    pub(super) cancelled: u64,
    pub(super) compute: Nanos,
    pub(super) times: Histogram,
}

impl Tally {
    pub(super) fn ended(&self) -> u64 {
        self.done + self.failed + self.unrunnable + self.cancelled
    }
}

/// A host, and what its slaves have done.
pub(super) struct HostTally {
    pub(super) host: Arc<str>,
    pub(super) slaves: u32,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) compute: Nanos,
}

/// What a slave has done.
#[derive(Copy, Clone, Debug, Default)]
pub struct Deeds {
    /// Its host's place in the account.
    pub(super) host: u32,
    /// Results, failed ones included.
    pub done: u64,
    /// Failed ones.
    pub failed: u64,
    /// Their compute time.
    pub compute: Nanos,
}

/// Tasks that ended alike.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) first: u64,
    pub(super) tasks: u32,
    pub(super) algorithm: AlgorithmId,
    pub(super) how: How,
    pub(super) slave: Option<SlaveId>,
    pub(super) at: Nanos,
    /// Of all of them.
    pub(super) compute: Nanos,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    Done,
    Failed,
    Cancelled,
    Unrunnable(ringmw_sched::Reason),
}

/// A slave that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) slave: SlaveId,
    pub(super) host: Arc<str>,
    pub(super) at: Nanos,
    /// Since when it had been there.
    pub(super) since: Nanos,
    /// `None`: it went as it was told to.
    pub(super) cause: Option<LossCause>,
    pub(super) detail: String,
    pub(super) recycled: u64,
    pub(super) done: u64,
}

/// Somebody who was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) at: Nanos,
    pub(super) from: String,
    pub(super) host: String,
    pub(super) reason: String,
}

impl Account {
    pub(super) fn new(algorithms: usize) -> Self {
        Account {
            algorithms: (0..algorithms).map(|_| Tally::default()).collect(),
            ..Account::default()
        }
    }

    #[inline]
    pub(super) fn of(&mut self, algorithm: AlgorithmId) -> &mut Tally {
        &mut self.algorithms[usize::from(algorithm.0)]
    }

    /// A slave has come; what it will have done.
    pub(super) fn on_slave(&mut self, host: &str) -> Deeds {
        self.came += 1;
        let host = self.host_of(host);
        self.host[host as usize].slaves += 1;
        Deeds {
            host,
            ..Deeds::default()
        }
    }

    fn host_of(&mut self, host: &str) -> u32 {
        if let Some(&at) = self.hosts.get(host) {
            return at;
        }
        let host = match self.host.len() < HOSTS_MAX {
            true => host,
            false => OTHERS,
        };
        let host: Arc<str> = host.into();
        let next = self.host.len() as u32;
        let at = *self.hosts.entry(Arc::clone(&host)).or_insert(next);
        if at == next {
            self.host.push(HostTally {
                host,
                slaves: 0,
                done: 0,
                failed: 0,
                lost: 0,
                compute: 0,
            });
        }
        at
    }

    pub(super) fn host_name(&self, deeds: &Deeds) -> Arc<str> {
        Arc::clone(&self.host[deeds.host as usize].host)
    }

    /// Results of one entry of a packet came, of which each took so long.
    #[inline]
    pub(super) fn on_results(
        &mut self,
        algorithm: AlgorithmId,
        (tasks, failed): (u32, bool),
        compute: Nanos,
        each: impl Fn(u32) -> Nanos,
    ) {
        let tally = self.of(algorithm);
        match failed {
            true => tally.failed += u64::from(tasks),
            false => tally.done += u64::from(tasks),
        }
        tally.compute = tally.compute.saturating_add(compute);
        let step = (tasks / LOOKED_AT).max(1);
        for at in (0..tasks).step_by(step as usize) {
            let weight = step.min(tasks - at);
            tally.times.add(each(at), weight.into());
        }
    }

    /// The packet was this slave's.
    #[inline]
    pub(super) fn on_packet(
        &mut self,
        deeds: &mut Deeds,
        results: u64,
        failed: u64,
        compute: Nanos,
    ) {
        deeds.done += results;
        deeds.failed += failed;
        deeds.compute = deeds.compute.saturating_add(compute);
        let host = &mut self.host[deeds.host as usize];
        host.done += results;
        host.failed += failed;
        host.compute = host.compute.saturating_add(compute);
    }

    /// A slave is gone.
    pub(super) fn on_gone(&mut self, deeds: &Deeds, gone: Gone) {
        let host = &mut self.host[deeds.host as usize];
        host.slaves -= 1;
        match gone.cause {
            None => self.left += 1,
            Some(cause) => {
                host.lost += 1;
                let (slaves, last) = self.losses.entry(cause).or_default();
                (*slaves, *last) = (*slaves + 1, gone.at);
            }
        }
        self.recycled += gone.recycled;
        if let Some(memory) = &mut self.memory {
            let detail = &gone.detail[..gone.detail.floor_char_boundary(DETAIL_BYTES_MAX)];
            let detail = detail.to_owned();
            remember(&mut memory.gone, Gone { detail, ..gone }, GONE_MAX);
        }
    }

    pub(super) fn on_refused(&mut self, at: Nanos, from: String, host: &str, reason: &str) {
        self.refused += 1;
        if let Some(memory) = &mut self.memory {
            let reason = &reason[..reason.floor_char_boundary(DETAIL_BYTES_MAX)];
            let refused = Refused {
                at,
                from,
                host: host.to_owned(),
                reason: reason.to_owned(),
            };
            remember(&mut memory.refused, refused, REFUSED_MAX);
        }
    }

    /// A task has ended without a result.
    pub(super) fn on_end(&mut self, end: &End, at: Nanos) {
        let (how, slave) = match end {
            End::Unrunnable(task) => {
                self.of(task.algorithm).unrunnable += 1;
                (How::Unrunnable(task.reason), None)
            }
            End::Cancelled(task) => {
                self.of(task.algorithm).cancelled += 1;
                (How::Cancelled, task.held_by)
            }
            End::Done(_) | End::Failed(_) => return,
        };
        self.remember(Ended {
            first: end.id().seq(),
            tasks: 1,
            algorithm: end.algorithm(),
            how,
            slave,
            at,
            compute: 0,
        });
    }

    #[inline]
    pub(super) fn remember(&mut self, ended: Ended) {
        if let Some(memory) = &mut self.memory {
            remember(&mut memory.ended, ended, ENDED_MAX);
        }
    }

    /// All slaves that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.losses.values().map(|(slaves, _)| slaves).sum()
    }

    /// A sum over the algorithms.
    pub(super) fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.algorithms.iter().map(of).sum()
    }
}

impl Memory {
    /// The end of this task, if it is among the last ones.
    pub(super) fn ended(&self, task: u64) -> Option<&Ended> {
        let holds = |ended: &&Ended| {
            task.checked_sub(ended.first)
                .is_some_and(|nth| nth < u64::from(ended.tasks))
        };
        self.ended.iter().rfind(holds)
    }

    pub(super) fn gone(&self, slave: SlaveId) -> Option<&Gone> {
        self.gone.iter().rfind(|gone| gone.slave == slave)
    }

    /// Those of this host, the last ones first.
    pub(super) fn gone_from<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Gone> {
        self.gone
            .iter()
            .rev()
            .filter(move |gone| *gone.host == *host)
    }

    pub(super) fn last_refused(&self) -> Option<&Refused> {
        self.refused.back()
    }

    pub(super) fn refused_from<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Refused> {
        let of = move |refused: &&Refused| {
            refused.host == host
                || refused
                    .from
                    .rsplit_once(':')
                    .is_some_and(|(ip, _)| ip == host)
        };
        self.refused.iter().rev().filter(of)
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

/// Classes of an octave: a time is known within a sixteenth.
const CLASSES: u32 = 16;

/// How often which time was taken. Its memory grows with the longest one, to 8 KiB at most.
#[derive(Default)]
pub(super) struct Histogram {
    results: u64,
    longest: Nanos,
    classes: Vec<u64>,
}

impl Histogram {
    #[inline]
    fn add(&mut self, time: Nanos, weight: u64) {
        self.results += weight;
        self.longest = self.longest.max(time);
        let class = class(time);
        if class >= self.classes.len() {
            self.classes.resize(class + 1, 0);
        }
        self.classes[class] += weight;
    }

    /// So much of a hundred took no longer; the upper edge of its class.
    fn percentile(&self, percent: u64) -> Nanos {
        let wanted = (self.results * percent).div_ceil(100).max(1);
        let mut below = 0;
        let class = self.classes.iter().position(|&results| {
            below += results;
            below >= wanted
        });
        class.map_or(0, |class| upper_edge(class).min(self.longest))
    }

    pub(super) fn times(&self, sum: Nanos) -> Times {
        Times {
            sum_ns: sum,
            p50_ns: self.percentile(50),
            p90_ns: self.percentile(90),
            p99_ns: self.percentile(99),
            max_ns: self.longest,
        }
    }
}

/// Below [`CLASSES`] each time has its own; then the four bits behind the leading one, and its place.
#[inline]
fn class(time: Nanos) -> usize {
    let octave = (time | 1).ilog2();
    match octave.checked_sub(CLASSES.ilog2()) {
        None => time as usize,
        Some(shift) => ((shift * CLASSES) as usize) + (time >> shift) as usize,
    }
}

fn upper_edge(class: usize) -> Nanos {
    let (class, classes) = (class as u64, u64::from(CLASSES));
    match (class / classes).checked_sub(1) {
        None => class,
        Some(shift) => ((class % classes + classes + 1) << shift).wrapping_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_above_the_one_before_and_up_to_its_edge() {
        for time in (0..20_000).chain([1 << 40, (1 << 41) - 1, u64::MAX / 2, u64::MAX]) {
            let class = class(time);
            assert!(time <= upper_edge(class), "{time}");
            assert!(class == 0 || time > upper_edge(class - 1), "{time}");
            assert!(upper_edge(class) - time <= time / 16, "{time}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut times = Histogram::default();
        assert_eq!(times.times(0), Times::default());
        (1..=1000u64).for_each(|time| times.add(time * 1000, 1));
        let Times {
            p50_ns,
            p90_ns,
            p99_ns,
            max_ns,
            ..
        } = times.times(0);
        for (got, exact) in [(p50_ns, 500_000), (p90_ns, 900_000), (p99_ns, 990_000)] {
            assert!((exact..=exact + exact / 16).contains(&got), "{got} {exact}");
        }
        assert_eq!(max_ns, 1_000_000);
    }

    #[test]
    fn of_a_large_packet_some_stand_for_the_others() {
        for tasks in [1u32, 7, 8, 9, 100, 1000, 1003] {
            let mut account = Account::new(1);
            account.on_results(AlgorithmId(0), (tasks, false), 5 * u64::from(tasks), |_| 5);
            let tally = &account.algorithms[0];
            assert_eq!(
                (tally.done, tally.times.results),
                (tasks.into(), tasks.into())
            );
        }
    }

    #[test]
    fn hosts_are_bounded_and_none_is_lost() {
        let mut account = Account::new(0);
        for slave in 0..HOSTS_MAX + 10 {
            account.on_slave(&format!("n{slave}"));
        }
        account.on_slave("n3");
        assert_eq!(account.host.len(), HOSTS_MAX + 1);
        let slaves: u32 = account.host.iter().map(|host| host.slaves).sum();
        assert_eq!(slaves as usize, HOSTS_MAX + 11);
        assert_eq!(account.host[HOSTS_MAX].slaves, 10);
    }
}
