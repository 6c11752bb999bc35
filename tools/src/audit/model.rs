//! The run as it unfolded: who was there and busy when, what was handed out and came back, by interval, slave and host.
//!
//! A slave is busy from a packet of tasks until it holds none. Of packets that were only summed up, the compute time is
//! taken as busy where no line says more. Memory grows with slaves and hosts; intervals and the heat map are bounded.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::buckets::{Buckets, Cell};
use super::entry::{Role, Source, What};
use super::place::{Subnet, host_of};
use super::trail::{At, Fold, Reader};

pub(crate) use crowd::Crowd;

mod crowd;

/// Rows of the heat map; beyond, slaves share one.
const HEAT_ROWS_MAX: usize = 400;
const HEAT_COLUMNS_MAX: usize = 300;
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
    /// Slave time: there, and busy.
    pub(crate) present_us: f64,
    pub(crate) busy_us: f64,
    /// Time that this interval was watched, all runs together.
    pub(crate) watched_us: f64,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) recycled: u64,
    pub(crate) bytes: u64,
    pub(crate) stalled_us: f64,
}

impl Cell for Interval {
    fn absorb(&mut self, later: Self) {
        self.arrivals += later.arrivals;
        self.departures += later.departures;
        self.losses += later.losses;
        self.dismissed += later.dismissed;
        self.peak = self.peak.max(later.peak);
        self.present_us += later.present_us;
        self.busy_us += later.busy_us;
        self.watched_us += later.watched_us;
        self.sent += later.sent;
        self.results += later.results;
        self.failed += later.failed;
        self.recycled += later.recycled;
        self.bytes += later.bytes;
        self.stalled_us += later.stalled_us;
    }
}

/// A column of the heat map: per row, slave time busy and there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column(pub(crate) Vec<[f32; 2]>);

impl Cell for Column {
    fn absorb(&mut self, later: Self) {
        for (row, [busy, present]) in later.0.into_iter().enumerate() {
            self.add(row, busy, present);
        }
    }
}

impl Column {
    fn add(&mut self, row: usize, busy: f32, present: f32) {
        if row >= self.0.len() {
            self.0.resize(row + 1, [0.0; 2]);
        }
        self.0[row][0] += busy;
        self.0[row][1] += present;
    }
}

/// One slave.
#[derive(Debug, Clone)]
pub(crate) struct Slave {
    pub(crate) run: usize,
    pub(crate) id: u32,
    pub(crate) host: u32,
    pub(crate) subnet: Subnet,
    pub(crate) joined_us: i64,
    pub(crate) left_us: Option<i64>,
    pub(crate) cause: Option<&'static str>,
    /// Told to go because the desire fell.
    pub(crate) is_dismissed: bool,
    /// Whether its coming is in the trail.
    pub(crate) is_known: bool,
    pub(crate) present_us: i64,
    pub(crate) busy_us: i64,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    pub(crate) recycled: u64,
    pub(crate) compute_us: u64,
    holds: u64,
    is_busy: bool,
    /// Up to when its time is accounted for.
    told_us: i64,
}

/// One run's moving parts.
#[derive(Debug, Clone, Default)]
struct Moment {
    present: u64,
    busy: u64,
    us: Option<i64>,
    by_id: FxHashMap<u32, u32>,
}

/// The longest time in which the master algorithm held its thread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stall {
    pub(crate) us: i64,
    pub(crate) at_us: i64,
}

/// The model of the masters' runs, or of the slaves' where there is no master's.
pub(crate) struct Model {
    pub(crate) intervals: Buckets<Interval>,
    pub(crate) heat: Buckets<Column>,
    /// Slaves per row of the heat map.
    pub(crate) heat_stride: usize,
    pub(crate) slaves: Vec<Slave>,
    pub(crate) hosts: Vec<String>,
    pub(crate) stall: Stall,
    pub(crate) last_sent_us: Option<i64>,
    pub(crate) last_result_us: Option<i64>,
    pub(crate) shutdown_us: Option<i64>,
    pub(crate) signals: Vec<(i64, String)>,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    host_ids: FxHashMap<String, u32>,
    moments: Vec<Moment>,
    has_heat: bool,
}

/// So many different messages are kept; the rest are counted together.
const MESSAGES_MAX: usize = 50;

impl Model {
    fn new(bucket_us: Option<i64>, intervals_max: usize, has_heat: bool) -> Self {
        Self {
            intervals: Buckets::new(bucket_us, intervals_max),
            heat: Buckets::new(None, HEAT_COLUMNS_MAX),
            heat_stride: 1,
            slaves: Vec::new(),
            hosts: Vec::new(),
            stall: Stall::default(),
            last_sent_us: None,
            last_result_us: None,
            shutdown_us: None,
            signals: Vec::new(),
            failures: BTreeMap::new(),
            refusals: BTreeMap::new(),
            host_ids: FxHashMap::default(),
            moments: Vec::new(),
            has_heat,
        }
    }

    fn on_entry(&mut self, at: At, what: &What<'_>) {
        if at.run >= self.moments.len() {
            self.moments.resize_with(at.run + 1, Moment::default);
        }
        self.pass(at);
        match *what {
            What::Sent {
                slave,
                tasks,
                bytes,
            } => {
                let index = self.slave(at, slave);
                let row = &mut self.slaves[index];
                row.holds += tasks;
                if at.is_counted {
                    row.sent += tasks;
                    let cell = self.intervals.at(at.us);
                    cell.sent += tasks;
                    cell.bytes += bytes.unwrap_or(0);
                    self.last_sent_us = Some(at.us);
                }
                self.set_busy(at, index, true);
            }
            What::Results {
                slave,
                results,
                failed,
                bytes,
                compute_us,
            } => {
                let index = self.slave(at, slave);
                self.back(
                    at,
                    index,
                    results,
                    failed,
                    compute_us.unwrap_or(0),
                    bytes.unwrap_or(0),
                );
            }
            What::State { slave, is_busy } => {
                let index = self.slave(at, slave);
                if !is_busy {
                    self.slaves[index].holds = 0;
                }
                self.set_busy(at, index, is_busy);
            }
            What::Packets {
                slave,
                span_us,
                tasks,
                results,
                failed,
                bytes_out,
                bytes_in,
                compute_us,
                ..
            } => {
                let index = self.slave(at, slave);
                if at.is_counted && !self.slaves[index].is_busy {
                    self.credit(
                        at,
                        index,
                        span_us.min(i64::try_from(compute_us).unwrap_or(i64::MAX)),
                    );
                }
                let row = &mut self.slaves[index];
                row.holds += tasks;
                if at.is_counted {
                    row.sent += tasks;
                    self.intervals.at(at.us).sent += tasks;
                    self.last_sent_us = self.last_sent_us.max((tasks > 0).then_some(at.us));
                }
                self.back(
                    at,
                    index,
                    results,
                    failed,
                    compute_us,
                    bytes_in.saturating_add(bytes_out),
                );
                let is_busy = self.slaves[index].holds > 0;
                self.set_busy(at, index, is_busy);
            }
            What::Connected {
                slave, from, host, ..
            } => {
                let host = if host.is_empty() { host_of(from) } else { host };
                self.join(at, slave, host, Subnet::of(from), true);
                if at.is_counted {
                    self.intervals.at(at.us).arrivals += 1;
                }
            }
            What::Gone {
                slave,
                cause,
                recycled,
                ..
            } => {
                let index = self.slave(at, slave);
                self.leave(at, index, cause);
                if at.is_counted {
                    self.slaves[index].recycled += recycled;
                    let cell = self.intervals.at(at.us);
                    cell.departures += 1;
                    cell.losses += u64::from(cause != "shutdown");
                    cell.recycled += recycled;
                }
            }
            _ if at.is_counted => self.on_rare(at, what),
            _ => {}
        }
    }

    fn on_rare(&mut self, at: At, what: &What<'_>) {
        match *what {
            What::Recycled { slave, tasks } => {
                let index = self.slave(at, slave);
                self.slaves[index].recycled += tasks;
                self.intervals.at(at.us).recycled += tasks;
            }
            What::Dismissed { slave } => {
                let index = self.slave(at, slave);
                self.slaves[index].is_dismissed = true;
                self.intervals.at(at.us).dismissed += 1;
            }
            What::Stall { us } => {
                if us > self.stall.us {
                    self.stall = Stall {
                        us,
                        at_us: at.us - us,
                    };
                }
                self.intervals
                    .span(at.us - us, at.us, |cell, us| cell.stalled_us += us as f64);
            }
            What::Failed { message, .. } => note(&mut self.failures, message),
            What::Refused { reason, .. } => note(&mut self.refusals, reason),
            What::Shutdown => self.shutdown_us = self.shutdown_us.or(Some(at.us)),
            What::Signal { name } if self.signals.len() < MESSAGES_MAX => {
                self.signals.push((at.us, name.to_owned()))
            }
            _ => {}
        }
    }

    /// Time has passed in a run: what was there and busy is added up.
    fn pass(&mut self, at: At) {
        let moment = &mut self.moments[at.run];
        let from_us = moment.us.replace(at.us);
        if !at.is_counted {
            moment.us = None;
            return;
        }
        let (present, busy) = (moment.present, moment.busy);
        let cell = self.intervals.at(at.us);
        cell.peak = cell.peak.max(present);
        let Some(from_us) = from_us.filter(|&from_us| from_us < at.us) else {
            return;
        };
        self.intervals.span(from_us, at.us, |cell, us| {
            cell.present_us += present as f64 * us as f64;
            cell.busy_us += busy as f64 * us as f64;
            cell.watched_us += us as f64;
            cell.peak = cell.peak.max(present);
        });
    }

    /// The slave of this number; one whose coming is not in the trail is taken to come now.
    fn slave(&mut self, at: At, id: u32) -> usize {
        match self.moments[at.run].by_id.get(&id) {
            Some(&index) => index as usize,
            None => self.join(at, id, "unknown", Subnet::Unknown, false),
        }
    }

    fn join(&mut self, at: At, id: u32, host: &str, subnet: Subnet, is_known: bool) -> usize {
        let host = match self.host_ids.get(host) {
            Some(&host) => host,
            None => {
                let number = self.hosts.len() as u32;
                self.hosts.push(host.to_owned());
                self.host_ids.insert(host.to_owned(), number);
                number
            }
        };
        let index = self.slaves.len();
        self.slaves.push(Slave {
            run: at.run,
            id,
            host,
            subnet,
            joined_us: at.us,
            left_us: None,
            cause: None,
            is_dismissed: false,
            is_known,
            present_us: 0,
            busy_us: 0,
            sent: 0,
            results: 0,
            failed: 0,
            recycled: 0,
            compute_us: 0,
            holds: 0,
            is_busy: false,
            told_us: at.us,
        });
        let moment = &mut self.moments[at.run];
        // Numbers are not used again; a damaged trail may say otherwise.
        if let Some(before) = moment.by_id.insert(id, index as u32)
            && self.slaves[before as usize].left_us.is_none()
        {
            self.leave(at, before as usize, "untold");
        }
        let moment = &mut self.moments[at.run];
        moment.present += 1;
        if at.is_counted {
            let cell = self.intervals.at(at.us);
            cell.peak = cell.peak.max(moment.present);
        }
        index
    }

    fn leave(&mut self, at: At, index: usize, cause: &'static str) {
        if self.slaves[index].left_us.is_some() {
            return;
        }
        self.set_busy(at, index, false);
        self.tell(at.us, index, at.is_counted);
        let slave = &mut self.slaves[index];
        slave.left_us = Some(at.us);
        slave.cause = Some(cause);
        let moment = &mut self.moments[at.run];
        moment.present = moment.present.saturating_sub(1);
    }

    fn back(
        &mut self,
        at: At,
        index: usize,
        results: u64,
        failed: u64,
        compute_us: u64,
        bytes: u64,
    ) {
        let slave = &mut self.slaves[index];
        slave.holds = slave.holds.saturating_sub(results);
        let is_empty = slave.holds == 0;
        if at.is_counted {
            slave.results += results;
            slave.failed += failed;
            slave.compute_us = slave.compute_us.saturating_add(compute_us);
            let cell = self.intervals.at(at.us);
            cell.results += results;
            cell.failed += failed;
            cell.bytes += bytes;
            if results > 0 {
                self.last_result_us = Some(at.us);
            }
        }
        if is_empty {
            self.set_busy(at, index, false);
        }
    }

    fn set_busy(&mut self, at: At, index: usize, is_busy: bool) {
        let slave = &self.slaves[index];
        if slave.is_busy == is_busy || slave.left_us.is_some() {
            return;
        }
        self.tell(at.us, index, at.is_counted);
        self.slaves[index].is_busy = is_busy;
        let moment = &mut self.moments[at.run];
        moment.busy = if is_busy {
            moment.busy + 1
        } else {
            moment.busy.saturating_sub(1)
        };
    }

    /// Accounts for a slave's time up to now.
    fn tell(&mut self, us: i64, index: usize, is_counted: bool) {
        let slave = &mut self.slaves[index];
        let from_us = std::mem::replace(&mut slave.told_us, us);
        if !is_counted || us <= from_us || slave.left_us.is_some() {
            return;
        }
        slave.present_us += us - from_us;
        let is_busy = slave.is_busy;
        if is_busy {
            slave.busy_us += us - from_us;
        }
        self.warm(index, from_us, us, is_busy, true);
    }

    /// Adds time in which a slave computed though no line made it busy.
    fn credit(&mut self, at: At, index: usize, us: i64) {
        let slave = &mut self.slaves[index];
        let from_us = (at.us - us).max(slave.told_us);
        if at.us <= from_us {
            return;
        }
        slave.busy_us += at.us - from_us;
        self.intervals
            .span(from_us, at.us, |cell, us| cell.busy_us += us as f64);
        self.warm(index, from_us, at.us, true, false);
    }

    fn warm(&mut self, index: usize, from_us: i64, to_us: i64, is_busy: bool, is_present: bool) {
        if !self.has_heat {
            return;
        }
        while index / self.heat_stride >= HEAT_ROWS_MAX {
            self.heat_stride *= 2;
            for column in self.heat.iter_mut() {
                let halved = column.0.chunks(2).map(|pair| {
                    pair.iter()
                        .fold([0.0; 2], |sum, row| [sum[0] + row[0], sum[1] + row[1]])
                });
                column.0 = halved.collect();
            }
        }
        let row = index / self.heat_stride;
        self.heat.span(from_us, to_us, |column, us| {
            let us = us as f32;
            column.add(
                row,
                if is_busy { us } else { 0.0 },
                if is_present { us } else { 0.0 },
            );
        });
    }

    /// The trail is over: what is still there was there until its run's last line.
    fn close(&mut self) {
        for index in 0..self.slaves.len() {
            if self.slaves[index].left_us.is_none()
                && let Some(us) = self.moments[self.slaves[index].run].us
            {
                self.tell(us, index, true);
            }
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
    pub(crate) fn new(bucket_us: Option<i64>, intervals_max: usize, has_heat: bool) -> Self {
        let model = || Model::new(bucket_us, intervals_max, has_heat);
        Self {
            master: model(),
            slave: model(),
        }
    }

    /// Slaves that are there now, and busy.
    pub(crate) fn now(&self, role: Role) -> (u64, u64) {
        let model = match role {
            Role::Master => &self.master,
            Role::Slave => &self.slave,
        };
        model
            .moments
            .last()
            .map_or((0, 0), |moment| (moment.present, moment.busy))
    }

    /// The model that counts.
    pub(crate) fn close(self, reader: &Reader) -> Model {
        let mut model = match reader.role() {
            Role::Master => self.master,
            Role::Slave => self.slave,
        };
        model.close();
        if reader.runs.iter().any(|run| run.source == Source::ClMw) {
            model.intervals.widen_to(CLMW_TICK_US);
            model.heat.widen_to(CLMW_TICK_US);
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
