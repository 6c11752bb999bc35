//! The model of a trail: lives, slaves and their time, under every command.
//!
//! ```text
//! entries ──► Model ──► Figures      per life: what its lines count, and what its slaves come to
//!                  ├──► Slave        who, from when to when, its time computing, holding, idle
//!                  ├──► Interval     the same by interval, if asked for
//!                  └──► Column       the same by slave and time, for the heat map
//! ```
//!
//! What each figure means is in `guide-audit.md`. A slave's time is told piece by piece: whenever its state changes, or
//! results say what it computed, the time since the last piece is given its states, and what of it lies in the window
//! is added up. Memory grows with slaves and hosts; intervals and the heat map are bounded.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::buckets::{Buckets, Cell};
use super::entry::{ExitWord, Role, Source, What};
use super::place::{Subnet, host_of};
use super::times::Zone;
use super::trail::{At, Fold, Reader};
use super::window::{Spread, Window};

pub(crate) use crowd::{Crowd, percentile};
pub(crate) use figures::{Figures, SlaveTime};
pub(crate) use heat::{Column, HEAT_ROWS_MAX, Heat, Warmth};
pub(crate) use states::{State, States};

use heat::HEAT_HOSTS_MAX;

mod close;
mod crowd;
mod figures;
mod heat;
mod states;

/// CL-MW's clock shows seconds: shorter intervals would show gaps that there were not.
const CLMW_TICK_US: i64 = 1_000_000;

/// One interval.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interval {
    pub(crate) arrivals: u64,
    pub(crate) departures: u64,
    pub(crate) losses: u64,
    pub(crate) dismissed: u64,
    /// The most slaves at once.
    pub(crate) peak: u64,
    pub(crate) time: SlaveTime,
    /// Time that this interval was observed, all lives together.
    pub(crate) observed_us: i64,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) recycled: u64,
    pub(crate) bytes: u64,
    pub(crate) stalled_us: i64,
}

impl Cell for Interval {
    fn absorb(&mut self, later: Self) {
        self.arrivals += later.arrivals;
        self.departures += later.departures;
        self.losses += later.losses;
        self.dismissed += later.dismissed;
        self.peak = self.peak.max(later.peak);
        self.time.add(later.time);
        self.observed_us += later.observed_us;
        self.sent += later.sent;
        self.results += later.results;
        self.failed += later.failed;
        self.recycled += later.recycled;
        self.bytes += later.bytes;
        self.stalled_us += later.stalled_us;
    }
}

/// One slave.
#[derive(Debug, Clone)]
pub(crate) struct Slave {
    pub(crate) life: usize,
    pub(crate) id: u32,
    pub(crate) host: u32,
    pub(crate) subnet: Subnet,
    /// Its batch job's id; empty when there is none.
    pub(crate) job: Box<str>,
    pub(crate) joined_us: i64,
    /// When it left, if that was before the window's end.
    pub(crate) left_us: Option<i64>,
    pub(crate) cause: Option<&'static str>,
    /// Told to go because the desire fell.
    pub(crate) is_dismissed: bool,
    /// Whether its coming is in the trail.
    pub(crate) is_known: bool,
    /// Its time inside the window.
    pub(crate) time: SlaveTime,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) recycled: u64,
    /// Compute time of the results that came inside the window.
    pub(crate) results_compute_us: u64,
    holds: u64,
    is_busy: bool,
    is_gone: bool,
    /// Up to when its time is accounted for.
    told_us: i64,
    /// Its row in the heat map, if it has time inside the window.
    pub(crate) row: Option<u32>,
}

/// Numbers are looked up directly where they follow one another, but for so many.
const DIRECT_GAP: usize = 64;

/// One life's moving parts.
#[derive(Debug, Clone, Default)]
struct Moment {
    figures: Figures,
    first_us: i64,
    last_us: i64,
    has_init: bool,
    /// Whether a line at or behind the window's start was seen.
    is_begun: bool,
    present: u64,
    busy: u64,
    /// Up to when `present` is accounted for.
    told_us: i64,
    /// One more than the index of the slave of this number; 0 for none.
    direct: Vec<u32>,
    others: FxHashMap<u32, u32>,
}

impl Moment {
    #[inline]
    fn index_of(&self, id: u32) -> Option<usize> {
        let index = match self.direct.get(id as usize) {
            Some(&index) if index > 0 => index,
            _ if self.others.is_empty() => 0,
            _ => self.others.get(&id).copied().unwrap_or(0),
        };
        (index as usize).checked_sub(1)
    }

    fn insert(&mut self, id: u32, index: usize) {
        let entry = index as u32 + 1;
        let number = id as usize;
        if number < self.direct.len() + DIRECT_GAP && !self.others.contains_key(&id) {
            if number >= self.direct.len() {
                self.direct.resize(number + 1, 0);
            }
            self.direct[number] = entry;
        } else {
            self.others.insert(id, entry);
        }
    }

    fn indices(&self) -> Vec<usize> {
        let entries = self.direct.iter().chain(self.others.values());
        entries
            .filter_map(|&entry| (entry as usize).checked_sub(1))
            .collect()
    }
}

/// An event that every picture over time shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) us: i64,
    pub(crate) text: String,
}

/// What a piece of a slave's time is told with.
#[derive(Debug, Clone, Copy)]
enum Computed {
    Nothing,
    /// So much, up to now.
    Before(u64),
    /// So much, evenly since a time.
    Since(i64, u64),
}

/// The model of the masters' lives, or of the slaves' where there is no master's.
pub(crate) struct Model {
    pub(crate) window: Window,
    pub(crate) role: Role,
    pub(crate) intervals: Buckets<Interval>,
    /// A row for each slave, in the order of [`Slave::row`], while they are few.
    pub(crate) heat_of_slaves: Heat,
    /// A row for each host.
    pub(crate) heat_of_hosts: Heat,
    /// Slaves that have a row.
    rows: usize,
    /// Once everything is read: those that were there in the window.
    pub(crate) slaves: Vec<Slave>,
    pub(crate) hosts: Vec<String>,
    pub(crate) last_sent_us: Option<i64>,
    pub(crate) last_result_us: Option<i64>,
    pub(crate) shutdown_us: Option<i64>,
    pub(crate) signals: Vec<(i64, String)>,
    /// What happened to the whole run, in the order of time.
    pub(crate) marks: Vec<Mark>,
    pub(crate) states: States,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    host_ids: FxHashMap<String, u32>,
    moments: Vec<Moment>,
    /// When each life was observed; none where that is not at all.
    observed: Vec<Option<(i64, i64)>>,
    has_intervals: bool,
    has_heat: bool,
}

/// So many different messages are kept; the rest are counted together.
const MESSAGES_MAX: usize = 50;

/// What of a run is put together beside its figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detail {
    /// Sums by interval: of a length, or of one so that there are at most so many.
    pub(crate) intervals: Option<(Option<i64>, usize)>,
    pub(crate) has_heat: bool,
}

impl Detail {
    /// Figures alone.
    pub(crate) const NONE: Detail = Detail {
        intervals: None,
        has_heat: false,
    };
}

impl Model {
    fn new(role: Role, detail: Detail, zone: &Zone) -> Self {
        let (bucket_us, intervals_max) = detail.intervals.unwrap_or((None, 1));
        Self {
            window: Window::ALL,
            role,
            intervals: Buckets::new(bucket_us, intervals_max, zone.clone()),
            heat_of_slaves: Heat::new(zone, HEAT_ROWS_MAX),
            heat_of_hosts: Heat::new(zone, HEAT_HOSTS_MAX),
            rows: 0,
            slaves: Vec::new(),
            hosts: Vec::new(),
            last_sent_us: None,
            last_result_us: None,
            shutdown_us: None,
            signals: Vec::new(),
            marks: Vec::new(),
            states: States::default(),
            failures: BTreeMap::new(),
            refusals: BTreeMap::new(),
            host_ids: FxHashMap::default(),
            moments: Vec::new(),
            observed: Vec::new(),
            has_intervals: detail.intervals.is_some(),
            has_heat: detail.has_heat,
        }
    }

    fn on_entry(&mut self, at: At, what: &What<'_>) {
        self.begin(at);
        self.moments[at.life].figures.count(at, what);
        match *what {
            What::Sent {
                slave,
                tasks,
                bytes,
            } => self.on_sent(at, slave, tasks, bytes),
            What::Results {
                slave,
                results,
                failed,
                bytes,
                compute_us,
            } => {
                let Some(index) = self.slave(at, slave, true) else {
                    return;
                };
                let computed = compute_us.map_or(Computed::Nothing, Computed::Before);
                self.tell(at.us, index, computed);
                let row = &mut self.slaves[index];
                if at.is_counted {
                    row.results += results;
                    row.failed += failed;
                    row.results_compute_us = row
                        .results_compute_us
                        .saturating_add(compute_us.unwrap_or(0));
                    if self.has_intervals {
                        let cell = self.intervals.at(at.us);
                        cell.results += results;
                        cell.failed += failed;
                        cell.bytes += bytes.unwrap_or(0);
                    }
                }
                self.back(at, index, results);
            }
            What::State { slave, is_busy } => {
                let Some(index) = self.slave(at, slave, !is_busy) else {
                    return;
                };
                if !is_busy {
                    self.slaves[index].holds = 0;
                }
                self.set_busy(at, index, is_busy);
            }
            What::Packets { slave, .. } => {
                if let Some(index) = self.slave(at, slave, true) {
                    self.on_packets(at, index, what);
                }
            }
            What::Connected {
                slave,
                from,
                host,
                job,
                ..
            } => {
                let host = if host.is_empty() { host_of(from) } else { host };
                self.join(at, slave, host, Subnet::of(from), job, None);
                if at.is_counted && self.has_intervals {
                    self.intervals.at(at.us).arrivals += 1;
                }
            }
            What::Gone {
                slave,
                cause,
                recycled,
                ..
            } => self.on_gone(at, slave, cause, recycled),
            _ => self.on_rare(at, what),
        }
    }

    /// The life's time goes on.
    #[inline]
    fn begin(&mut self, at: At) {
        if at.life >= self.moments.len() {
            self.moments.resize_with(at.life + 1, || Moment {
                first_us: i64::MIN,
                ..Moment::default()
            });
            self.window = at.window;
        }
        let moment = &mut self.moments[at.life];
        if moment.first_us == i64::MIN {
            (moment.first_us, moment.told_us) = (at.us, at.us);
        }
        moment.last_us = at.us;
        if !moment.is_begun && at.us >= at.window.since_us {
            moment.is_begun = true;
            moment.figures.peak = moment.present;
        }
    }

    fn on_sent(&mut self, at: At, slave: u32, tasks: u64, bytes: Option<u64>) {
        let Some(index) = self.slave(at, slave, false) else {
            return;
        };
        let row = &mut self.slaves[index];
        row.holds += tasks;
        if at.is_counted {
            row.sent += tasks;
            if self.has_intervals {
                let cell = self.intervals.at(at.us);
                cell.sent += tasks;
                cell.bytes += bytes.unwrap_or(0);
            }
        }
        self.last_sent_us = self.last_sent_us.max(Some(at.us));
        self.set_busy(at, index, true);
    }

    fn on_packets(&mut self, at: At, index: usize, what: &What<'_>) {
        let What::Packets {
            span_us,
            tasks,
            results,
            failed,
            bytes_out,
            bytes_in,
            compute_us,
            ..
        } = *what
        else {
            return;
        };
        let from_us = at.us.saturating_sub(span_us);
        self.tell(at.us, index, Computed::Since(from_us, compute_us));
        let spread = |amount| Spread {
            from_us,
            to_us: at.us,
            amount,
        };
        let row = &mut self.slaves[index];
        row.holds += tasks;
        row.sent += spread(tasks).within(at.window);
        row.results += spread(results).within(at.window);
        row.failed += spread(failed).within(at.window);
        row.results_compute_us = row
            .results_compute_us
            .saturating_add(spread(compute_us).within(at.window));
        if tasks > 0 {
            self.last_sent_us = self.last_sent_us.max(Some(at.us));
        }
        let bytes = bytes_in.saturating_add(bytes_out);
        if self.has_intervals && span_us > 0 {
            let (from, to) = at.window.clip(from_us, at.us);
            self.intervals.span(from, to, |cell, from, to| {
                cell.sent += spread(tasks).between(from, to);
                cell.results += spread(results).between(from, to);
                cell.failed += spread(failed).between(from, to);
                cell.bytes += spread(bytes).between(from, to);
            });
        } else if self.has_intervals && at.is_counted {
            let cell = self.intervals.at(at.us);
            cell.sent += tasks;
            cell.results += results;
            cell.failed += failed;
            cell.bytes += bytes;
        }
        self.back(at, index, results);
        let is_busy = self.slaves[index].holds > 0;
        self.set_busy(at, index, is_busy);
    }

    fn on_gone(&mut self, at: At, slave: u32, cause: &'static str, recycled: u64) {
        let moment = &self.moments[at.life];
        if moment.index_of(slave).is_none() && moment.has_init {
            // Of a slave that nothing else tells of, that it went is all that is known.
            let index = self.push(at, slave, "unknown", Subnet::Unknown, "", at.us);
            self.slaves[index].is_known = false;
            self.slaves[index].is_gone = true;
            if at.us < at.window.until_us {
                self.slaves[index].left_us = Some(at.us);
                self.slaves[index].cause = Some(cause);
            }
            self.moments[at.life].insert(slave, index);
        } else if let Some(index) = self.slave(at, slave, recycled > 0) {
            self.leave(at, index, cause);
        }
        if !at.is_counted {
            return;
        }
        if let Some(index) = self.moments[at.life].index_of(slave) {
            self.slaves[index].recycled += recycled;
        }
        if self.has_intervals {
            let cell = self.intervals.at(at.us);
            cell.departures += 1;
            cell.losses += u64::from(cause != "shutdown");
            cell.recycled += recycled;
        }
    }

    fn on_rare(&mut self, at: At, what: &What<'_>) {
        match *what {
            What::Init { .. } => self.moments[at.life].has_init = true,
            What::RunState {
                queued,
                running,
                present,
                desired,
            } => self.states.push(State {
                us: at.us,
                queued,
                running,
                present,
                desired,
            }),
            What::Stall { us } => {
                let from_us = at.us.saturating_sub(us);
                if self.has_intervals {
                    let (from, to) = at.window.clip(from_us, at.us);
                    self.intervals
                        .span(from, to, |cell, from, to| cell.stalled_us += to - from);
                }
            }
            What::Recycled { slave, tasks } => {
                // It follows the slave's loss; one that nothing else tells of held them.
                let Some(index) = self.slave(at, slave, true) else {
                    return;
                };
                if at.is_counted {
                    self.slaves[index].recycled += tasks;
                    if self.has_intervals {
                        self.intervals.at(at.us).recycled += tasks;
                    }
                }
            }
            What::Returned { slave, count, .. } => {
                if let Some(index) = self.slave(at, slave, true) {
                    let row = &mut self.slaves[index];
                    row.holds = row.holds.saturating_sub(count);
                }
            }
            What::Dismissed { slave } if at.us < at.window.until_us => {
                if let Some(index) = self.slave(at, slave, false) {
                    self.slaves[index].is_dismissed = true;
                }
                if at.is_counted && self.has_intervals {
                    self.intervals.at(at.us).dismissed += 1;
                }
            }
            // A slave that ends though nobody told it to.
            What::Exit { ref exit, .. } if at.role == Role::Slave => {
                let cause = match exit {
                    ExitWord::Code(0) => "shutdown",
                    _ => "exit",
                };
                for index in self.moments[at.life].indices() {
                    if !self.slaves[index].is_gone {
                        self.leave(at, index, cause);
                        if at.is_counted {
                            let gone_by = &mut self.moments[at.life].figures.gone_by;
                            *gone_by.entry(cause).or_default() += 1;
                        }
                    }
                }
            }
            _ if !at.is_counted => {}
            What::Failed { message, .. } => note(&mut self.failures, message),
            What::Refused { reason, .. } => note(&mut self.refusals, reason),
            What::Shutdown => self.shutdown_us = self.shutdown_us.or(Some(at.us)),
            What::Signal { name } if self.signals.len() < MESSAGES_MAX => {
                self.signals.push((at.us, name.to_owned()))
            }
            _ => {}
        }
    }

    /// The number of slaves changes: how many there were until now is added up.
    fn pass(&mut self, life: usize, us: i64) {
        let moment = &mut self.moments[life];
        let from_us = std::mem::replace(&mut moment.told_us, us);
        let present = moment.present;
        if present > 0 && self.has_intervals {
            let (from, to) = self.window.clip(from_us, us);
            self.intervals.span(from, to, |cell, from, to| {
                let slave_us = (present as i64).saturating_mul(to - from);
                cell.time.present_us = cell.time.present_us.saturating_add(slave_us);
                cell.peak = cell.peak.max(present);
            });
        }
    }

    /// The slave of this number. One that is spoken of without having come was there before, if the life's beginning is
    /// missing, and held tasks then if what is said of it means that; else it comes now.
    #[inline]
    fn slave(&mut self, at: At, id: u32, has_held: bool) -> Option<usize> {
        match self.moments[at.life].index_of(id) {
            Some(index) => Some(index),
            None if id == u32::MAX => None,
            None => Some(self.join(at, id, "unknown", Subnet::Unknown, "", Some(has_held))),
        }
    }

    fn push(
        &mut self,
        at: At,
        id: u32,
        host: &str,
        subnet: Subnet,
        job: &str,
        joined_us: i64,
    ) -> usize {
        let host = match self.host_ids.get(host) {
            Some(&host) => host,
            None => {
                let number = self.hosts.len() as u32;
                self.hosts.push(host.to_owned());
                self.host_ids.insert(host.to_owned(), number);
                number
            }
        };
        self.slaves.push(Slave {
            life: at.life,
            id,
            host,
            subnet,
            job: job.into(),
            joined_us,
            left_us: None,
            cause: None,
            is_dismissed: false,
            is_known: true,
            time: SlaveTime::default(),
            sent: 0,
            results: 0,
            failed: 0,
            recycled: 0,
            results_compute_us: 0,
            holds: 0,
            is_busy: false,
            is_gone: false,
            told_us: joined_us,
            row: None,
        });
        self.slaves.len() - 1
    }

    /// A slave comes; `unseen` says whether one whose coming is not in the trail held tasks.
    fn join(
        &mut self,
        at: At,
        id: u32,
        host: &str,
        subnet: Subnet,
        job: &str,
        unseen: Option<bool>,
    ) -> usize {
        let moment = &self.moments[at.life];
        let is_from_start = unseen.is_some() && !moment.has_init;
        let joined_us = if is_from_start {
            moment.first_us
        } else {
            at.us
        };
        let before = moment.index_of(id);
        let index = self.push(at, id, host, subnet, job, joined_us);
        self.slaves[index].is_known = unseen.is_none();
        self.moments[at.life].insert(id, index);
        // Numbers are not used again; a damaged trail may say otherwise.
        if let Some(before) = before
            && !self.slaves[before].is_gone
        {
            self.leave(at, before, "untold");
            if at.is_counted {
                let gone_by = &mut self.moments[at.life].figures.gone_by;
                *gone_by.entry("untold").or_default() += 1;
            }
        }
        self.pass(at.life, at.us);
        let moment = &mut self.moments[at.life];
        moment.present += 1;
        if is_from_start && self.has_intervals {
            let (from, to) = self.window.clip(joined_us, at.us);
            self.intervals.span(from, to, |cell, from, to| {
                cell.time.present_us += to - from;
                cell.peak += 1;
            });
        }
        let present = moment.present;
        if moment.is_begun && is_from_start && joined_us < self.window.until_us {
            moment.figures.peak += 1;
        }
        if at.is_counted {
            moment.figures.peak = moment.figures.peak.max(present);
            if self.has_intervals {
                let cell = self.intervals.at(at.us);
                cell.peak = cell.peak.max(present);
            }
        }
        if is_from_start && unseen == Some(true) {
            self.slaves[index].is_busy = true;
            self.moments[at.life].busy += 1;
        }
        index
    }

    fn leave(&mut self, at: At, index: usize, cause: &'static str) {
        if self.slaves[index].is_gone {
            return;
        }
        self.set_busy(at, index, false);
        self.tell(at.us, index, Computed::Nothing);
        let slave = &mut self.slaves[index];
        slave.is_gone = true;
        if at.us < at.window.until_us {
            slave.left_us = Some(at.us);
            slave.cause = Some(cause);
        }
        self.pass(at.life, at.us);
        let moment = &mut self.moments[at.life];
        moment.present = moment.present.saturating_sub(1);
    }

    /// Results have come back.
    #[inline]
    fn back(&mut self, at: At, index: usize, results: u64) {
        let slave = &mut self.slaves[index];
        slave.holds = slave.holds.saturating_sub(results);
        let is_empty = slave.holds == 0;
        if results > 0 {
            self.last_result_us = self.last_result_us.max(Some(at.us));
        }
        if is_empty {
            self.set_busy(at, index, false);
        }
    }

    #[inline]
    fn set_busy(&mut self, at: At, index: usize, is_busy: bool) {
        let slave = &self.slaves[index];
        if slave.is_busy == is_busy || slave.is_gone {
            return;
        }
        self.tell(at.us, index, Computed::Nothing);
        self.slaves[index].is_busy = is_busy;
        let moment = &mut self.moments[at.life];
        moment.busy = if is_busy {
            moment.busy + 1
        } else {
            moment.busy.saturating_sub(1)
        };
    }

    /// Accounts for a slave's time up to now.
    #[inline]
    fn tell(&mut self, us: i64, index: usize, computed: Computed) {
        let slave = &mut self.slaves[index];
        let from_us = slave.told_us;
        if us <= from_us || slave.is_gone {
            return;
        }
        slave.told_us = us;
        let window = self.window;
        let (in_from, in_to) = window.clip(from_us, us);
        if in_from == in_to {
            return;
        }
        let compute = match computed {
            Computed::Nothing => Spread {
                from_us: us,
                to_us: us,
                amount: 0,
            },
            Computed::Before(amount) => {
                let amount = amount.min(us.abs_diff(from_us));
                Spread {
                    from_us: us.saturating_sub_unsigned(amount),
                    to_us: us,
                    amount,
                }
            }
            Computed::Since(since_us, amount) => {
                let since_us = since_us.clamp(from_us, us);
                Spread {
                    from_us: since_us,
                    to_us: us,
                    amount: amount.min(us.abs_diff(since_us)),
                }
            }
        };
        let is_busy = slave.is_busy;
        let states = |from_us: i64, to_us: i64| {
            let compute_us = match compute.amount {
                0 => 0,
                _ => compute.between(from_us, to_us) as i64,
            };
            SlaveTime {
                present_us: to_us - from_us,
                busy_us: if is_busy { to_us - from_us } else { compute_us },
                compute_us,
            }
        };
        slave.time.add(states(in_from, in_to));
        if self.has_intervals && (is_busy || compute.amount > 0) {
            self.intervals.span(in_from, in_to, |cell, from, to| {
                let time = states(from, to);
                cell.time.busy_us += time.busy_us;
                cell.time.compute_us += time.compute_us;
            });
        }
        if self.has_heat {
            let host = slave.host as usize;
            let rows = &mut self.rows;
            let row = *slave.row.get_or_insert_with(|| {
                *rows += 1;
                *rows as u32 - 1
            });
            if self.rows <= HEAT_ROWS_MAX {
                self.heat_of_slaves
                    .warm(row as usize, in_from, in_to, states);
            }
            self.heat_of_hosts.warm(host, in_from, in_to, states);
        }
    }
}

fn note(messages: &mut BTreeMap<String, u64>, message: &str) {
    const OTHERS: &str = "(others)";
    let message = if messages.len() < MESSAGES_MAX || messages.contains_key(message) {
        message
    } else {
        OTHERS
    };
    *messages.entry(message.to_owned()).or_default() += 1;
}

/// Both ends' models; which one counts is known when everything is read.
pub(crate) struct Models {
    master: Model,
    slave: Model,
}

impl Models {
    pub(crate) fn new(detail: Detail, zone: &Zone) -> Self {
        Self {
            master: Model::new(Role::Master, detail, zone),
            slave: Model::new(Role::Slave, detail, zone),
        }
    }

    const fn of(&self, role: Role) -> &Model {
        match role {
            Role::Master => &self.master,
            Role::Slave => &self.slave,
        }
    }

    /// Slaves that are there now, and busy.
    pub(crate) fn now(&self, role: Role) -> (u64, u64) {
        let mut moments = self.of(role).moments.iter();
        moments
            .rfind(|moment| moment.first_us != i64::MIN)
            .map_or((0, 0), |moment| (moment.present, moment.busy))
    }

    /// What the lines have counted so far, all lives together.
    pub(crate) fn so_far(&self, role: Role) -> Figures {
        let mut sum = Figures::default();
        for moment in &self.of(role).moments {
            sum.add(&moment.figures);
        }
        sum
    }

    /// The model that counts.
    pub(crate) fn close(self, reader: &Reader) -> Model {
        let mut model = match reader.role() {
            Role::Master => self.master,
            Role::Slave => self.slave,
        };
        model.close(reader);
        if reader.lives.iter().any(|life| life.source == Source::ClMw) {
            model.intervals.widen_to(CLMW_TICK_US);
            model.heat_of_slaves.columns.widen_to(CLMW_TICK_US);
            model.heat_of_hosts.columns.widen_to(CLMW_TICK_US);
        }
        model
    }
}

impl Fold for Models {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        match at.role {
            Role::Master => self.master.on_entry(at, what),
            Role::Slave => self.slave.on_entry(at, what),
        }
    }
}

/// Two folds over one reading.
pub(crate) struct Both<'a, A, B>(pub(crate) &'a mut A, pub(crate) &'a mut B);

impl<A: Fold, B: Fold> Fold for Both<'_, A, B> {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        self.0.on_entry(at, what);
        self.1.on_entry(at, what);
    }
}
