//! The summary of a run: who came and went, what was handed out and came back.
//!
//! [`Figures`] grow with the number of slaves, not of lines; [`super::summary`] has their stable form.

use std::collections::BTreeMap;

use ringmw_codec::audit::GroupWord;
use rustc_hash::FxHashMap;

use super::entry::{Role, Source, What};
use super::place::Subnet;
use super::trail::{At, Fold, Reader};

/// A slave of ringmw lists 20 packets a second in its own trail, in and out, and leaves out the rest: about so many of
/// tasks.
const SLAVE_LINES_MAX: u64 = 9;

#[derive(Debug, Clone, Copy)]
struct Presence {
    since_us: i64,
    is_present: bool,
    /// Whether its coming is in the trail.
    is_known: bool,
}

/// What one run comes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    slaves: FxHashMap<u32, Presence>,
    is_begun: bool,
    pub(crate) connected: u64,
    pub(crate) rejected: u64,
    pub(crate) gone_by: BTreeMap<&'static str, u64>,
    pub(crate) dismissed: u64,
    pub(crate) present: u64,
    pub(crate) peak: u64,
    pub(crate) groups: [u64; 3],
    pub(crate) subnets: FxHashMap<Subnet, u64>,
    pub(crate) lifetimes_us: Vec<u64>,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) recycled: u64,
    pub(crate) packets_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) compute_us: u64,
    pub(crate) failed: u64,
    pub(crate) unrunnable: u64,
    pub(crate) cancelled: u64,
    pub(crate) late: u64,
    pub(crate) given_back: u64,
    pub(crate) duplicated: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled_us: i64,
    pub(crate) stall_max_us: i64,
    pub(crate) dropped_lines: u64,
    pub(crate) dropped_packets: u64,
    /// The second that packets are counted in, and how many lines of them it has.
    packet_second: (i64, u64),
    /// Whether a second had as many lines of packets as a slave's trail lists.
    pub(crate) is_full: bool,
    /// When the only slave of a slave's trail was there.
    spans_us: Vec<(i64, i64)>,
}

impl Figures {
    fn on_entry(&mut self, us: i64, is_counted: bool, what: &What<'_>) {
        if is_counted && !std::mem::replace(&mut self.is_begun, true) {
            self.peak = self.present;
        }
        match *what {
            What::Connected {
                slave, from, group, ..
            } => {
                self.join(slave, us, true);
                if is_counted {
                    self.connected += 1;
                    self.groups[group_index(group)] += 1;
                    *self.subnets.entry(Subnet::of(from)).or_default() += 1;
                    self.peak = self.peak.max(self.present);
                }
            }
            What::Gone {
                slave,
                cause,
                recycled,
                unrunnable,
            } => {
                let lifetime_us = self.leave(slave, us);
                if is_counted {
                    *self.gone_by.entry(cause).or_default() += 1;
                    self.lifetimes_us.extend(lifetime_us);
                    self.recycled += recycled;
                    self.unrunnable += unrunnable;
                }
            }
            What::Dismissed { .. } => self.dismissed += u64::from(is_counted),
            What::State { slave, .. } => self.see(slave, us, is_counted),
            What::Sent {
                slave,
                tasks,
                bytes,
            } => {
                self.see(slave, us, is_counted);
                if is_counted {
                    self.count_packet_line(us);
                    self.sent += tasks;
                    self.packets_out += 1;
                    self.bytes_out += bytes.unwrap_or(0);
                }
            }
            What::Results {
                slave,
                results,
                failed,
                bytes,
                compute_us,
            } => {
                self.see(slave, us, is_counted);
                if is_counted {
                    self.results += results;
                    self.failed += failed;
                    self.packets_in += 1;
                    self.bytes_in += bytes.unwrap_or(0);
                    self.compute_us = self.compute_us.saturating_add(compute_us.unwrap_or(0));
                }
            }
            What::Packets {
                slave,
                packets_out,
                tasks,
                bytes_out,
                packets_in,
                results,
                failed,
                bytes_in,
                compute_us,
                ..
            } => {
                self.see(slave, us, is_counted);
                if is_counted {
                    self.packets_out += packets_out;
                    self.sent += tasks;
                    self.bytes_out += bytes_out;
                    self.packets_in += packets_in;
                    self.results += results;
                    self.failed += failed;
                    self.bytes_in += bytes_in;
                    self.compute_us = self.compute_us.saturating_add(compute_us);
                }
            }
            _ if is_counted => self.on_rare(what),
            _ => {}
        }
    }

    fn on_rare(&mut self, what: &What<'_>) {
        match *what {
            What::Refused { .. } => self.rejected += 1,
            What::Recycled { tasks, .. } => self.recycled += tasks,
            What::Unrunnable => self.unrunnable += 1,
            What::Late { results } => self.late += results,
            What::Returned { count, .. } => self.given_back += count,
            What::Duplicated { .. } => self.duplicated += 1,
            What::Cancelled { tasks } => self.cancelled += tasks,
            What::Stall { us } => {
                self.stalls += 1;
                self.stalled_us = self.stalled_us.saturating_add(us);
                self.stall_max_us = self.stall_max_us.max(us);
            }
            What::Dropped {
                lines,
                packets,
                connected,
                lost,
                recycled,
                refused,
            } => {
                self.dropped_lines += lines;
                self.dropped_packets += packets;
                self.connected += connected;
                self.recycled += recycled;
                self.rejected += refused;
                if lost > 0 {
                    *self.gone_by.entry("untold").or_default() += lost;
                }
            }
            _ => {}
        }
    }

    fn count_packet_line(&mut self, us: i64) {
        let second = us.div_euclid(1_000_000);
        if self.packet_second.0 != second {
            self.packet_second = (second, 0);
        }
        self.packet_second.1 += 1;
        self.is_full |= self.packet_second.1 >= SLAVE_LINES_MAX;
    }

    fn join(&mut self, slave: u32, us: i64, is_known: bool) {
        let fresh = Presence {
            since_us: us,
            is_present: true,
            is_known,
        };
        let before = self.slaves.insert(slave, fresh);
        if !before.is_some_and(|before| before.is_present) {
            self.present += 1;
        }
    }

    /// A slave is spoken of: it is there, though its coming may stand in a part of the trail that is not here.
    fn see(&mut self, slave: u32, us: i64, is_counted: bool) {
        if !self.slaves.contains_key(&slave) && slave != u32::MAX {
            self.join(slave, us, false);
            if is_counted {
                self.peak = self.peak.max(self.present);
            }
        }
    }

    /// Takes a slave out; how long it was there, if its coming is known.
    fn leave(&mut self, slave: u32, us: i64) -> Option<u64> {
        let presence = self.slaves.get_mut(&slave)?;
        if !std::mem::replace(&mut presence.is_present, false) {
            return None;
        }
        self.present -= 1;
        self.spans_us.push((presence.since_us, us));
        presence
            .is_known
            .then_some((us - presence.since_us).max(0) as u64)
    }

    /// Adds another run's figures: sums, and the larger peak.
    pub(crate) fn add(&mut self, other: &Figures) {
        self.connected += other.connected;
        self.rejected += other.rejected;
        for (&cause, count) in &other.gone_by {
            *self.gone_by.entry(cause).or_default() += count;
        }
        self.present += other.present;
        self.peak = self.peak.max(other.peak);
        for (sum, count) in self.groups.iter_mut().zip(other.groups) {
            *sum += count;
        }
        for (&subnet, count) in &other.subnets {
            *self.subnets.entry(subnet).or_default() += count;
        }
        self.lifetimes_us.extend_from_slice(&other.lifetimes_us);
        self.sent += other.sent;
        self.results += other.results;
        self.recycled += other.recycled;
        self.packets_out += other.packets_out;
        self.packets_in += other.packets_in;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.compute_us = self.compute_us.saturating_add(other.compute_us);
        self.failed += other.failed;
        self.unrunnable += other.unrunnable;
        self.cancelled += other.cancelled;
        self.late += other.late;
        self.given_back += other.given_back;
        self.duplicated += other.duplicated;
        self.dismissed += other.dismissed;
        self.stalls += other.stalls;
        self.stalled_us += other.stalled_us;
        self.stall_max_us = self.stall_max_us.max(other.stall_max_us);
        self.dropped_lines += other.dropped_lines;
        self.dropped_packets += other.dropped_packets;
    }

    pub(crate) fn gone(&self) -> u64 {
        self.gone_by.values().sum()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.gone() - self.gone_by.get("shutdown").copied().unwrap_or(0)
    }

    /// From when to when each slave was there; `end_us` for those that still are.
    fn spans(&self, end_us: i64) -> impl Iterator<Item = (i64, i64)> + '_ {
        let still = self.slaves.values().filter(|slave| slave.is_present);
        self.spans_us
            .iter()
            .copied()
            .chain(still.map(move |slave| (slave.since_us, end_us)))
    }
}

const fn group_index(group: GroupWord) -> usize {
    match group {
        GroupWord::Ordered => 0,
        GroupWord::Intermingle => 1,
        GroupWord::Unordered => 2,
    }
}

/// The figures of every run.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) runs: Vec<Figures>,
}

impl Fold for Stats {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        if at.run >= self.runs.len() {
            self.runs.resize_with(at.run + 1, Figures::default);
        }
        self.runs[at.run].on_entry(at.us, at.is_counted, what);
    }
}

impl Stats {
    /// What is to be told about the figures themselves.
    pub(crate) fn note(&self, reader: &Reader) -> Option<&'static str> {
        let is_of_slaves = reader.role() == Role::Slave;
        let mut runs = reader.runs.iter().zip(&self.runs);
        let is_short = is_of_slaves
            && runs.any(|(run, figures)| run.source == Source::Ringmw && figures.is_full);
        is_short.then_some(
            "slaves' own trails list a few packets a second and leave out the rest: more tasks were done than these figures \
             say; the master's trail has them all",
        )
    }

    /// Every run that counts, masters' if there are any, as one.
    pub(crate) fn total(&self, reader: &Reader) -> Figures {
        let role = reader.role();
        let mut total = Figures::default();
        let mut spans = Vec::new();
        for (run, figures) in reader.runs.iter().zip(&self.runs) {
            if run.role == role {
                total.add(figures);
                if role == Role::Slave {
                    spans.extend(figures.spans(run.end_us));
                }
            }
        }
        if role == Role::Slave {
            total.peak = most_at_once(&spans);
        }
        total
    }
}

/// Of spans, the most that hold the same instant.
fn most_at_once(spans: &[(i64, i64)]) -> u64 {
    let mut steps: Vec<(i64, i64)> = spans
        .iter()
        .flat_map(|&(from, to)| [(from, 1), (to, -1)])
        .collect();
    // One that comes at the instant when another goes meets it.
    steps.sort_unstable_by_key(|&(us, step)| (us, -step));
    let mut present = 0i64;
    let mut peak = 0;
    for (_, step) in steps {
        present += step;
        peak = peak.max(present);
    }
    peak as u64
}
