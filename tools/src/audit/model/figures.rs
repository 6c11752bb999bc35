//! What lives come to: counts of what their lines tell, and sums over their slaves.

use std::collections::BTreeMap;

use ringmw_codec::audit::GroupWord;
use rustc_hash::FxHashMap;

use super::super::entry::What;
use super::super::place::Subnet;
use super::super::trail::At;
use super::super::window::Spread;

/// A slave of ringmw lists 20 packets a second in its own trail, in and out, and sums up the rest: about so many of
/// tasks.
const SLAVE_LINES_MAX: u64 = 9;
/// Lines of tasks that a loss made unrunnable follow it within so long.
const OWED_US: i64 = 1_000_000;

/// Slave time in its states, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SlaveTime {
    pub(crate) present_us: i64,
    /// Computing or holding tasks.
    pub(crate) busy_us: i64,
    pub(crate) compute_us: i64,
}

impl SlaveTime {
    pub(crate) const fn held_us(self) -> i64 {
        self.busy_us - self.compute_us
    }

    pub(crate) const fn idle_us(self) -> i64 {
        self.present_us - self.busy_us
    }

    pub(crate) fn add(&mut self, other: SlaveTime) {
        // Damaged times may span millennia.
        self.present_us = self.present_us.saturating_add(other.present_us);
        self.busy_us = self.busy_us.saturating_add(other.busy_us);
        self.compute_us = self.compute_us.saturating_add(other.compute_us);
    }
}

/// What one life comes to, or several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) connected: u64,
    pub(crate) rejected: u64,
    pub(crate) gone_by: BTreeMap<&'static str, u64>,
    pub(crate) dismissed: u64,
    pub(crate) groups: [u64; 3],
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) recycled: u64,
    pub(crate) packets_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    /// Of the results that came, whenever it was spent.
    pub(crate) compute_us: u64,
    pub(crate) failed: u64,
    pub(crate) unrunnable: u64,
    pub(crate) cancelled: u64,
    pub(crate) late: u64,
    /// Taken from what earlier lives left, and of that brought by their slaves.
    pub(crate) known: u64,
    pub(crate) brought: u64,
    /// Results that the lives before had recorded more than once.
    pub(crate) repeated: u64,
    pub(crate) given_back: u64,
    pub(crate) duplicated: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled_us: i64,
    pub(crate) stall_max_us: i64,
    /// When the longest began.
    pub(crate) stall_max_at_us: i64,
    pub(crate) dropped_lines: u64,
    pub(crate) dropped_packets: u64,
    /// When a loss told of unrunnable tasks last, and how many of them have had no line yet.
    owed: (i64, u64),
    /// The second that packets are counted in, and how many lines of them it has.
    packet_second: (i64, u64),
    /// Whether a second had as many lines of packets as a slave's trail lists.
    pub(crate) is_full: bool,

    // What the slaves come to, once everything is read.
    /// Slaves at the window's end, or the life's.
    pub(crate) present: u64,
    pub(crate) peak: u64,
    /// Slaves that were there without having come.
    pub(crate) unknown: u64,
    pub(crate) subnets: FxHashMap<Subnet, u64>,
    pub(crate) lifetimes_us: Vec<u64>,
    pub(crate) time: SlaveTime,
    pub(crate) observed_us: i64,
    /// Observed time in which no slave was there.
    pub(crate) absent_us: i64,
}

impl Figures {
    /// Counts what a line tells.
    #[inline]
    pub(super) fn count(&mut self, at: At, what: &What<'_>) {
        match *what {
            What::Packets {
                span_us,
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
                let part = |amount| {
                    let spread = Spread {
                        from_us: at.us.saturating_sub(span_us),
                        to_us: at.us,
                        amount,
                    };
                    spread.within(at.window)
                };
                self.packets_out += part(packets_out);
                self.sent += part(tasks);
                self.bytes_out += part(bytes_out);
                self.packets_in += part(packets_in);
                self.results += part(results);
                self.failed += part(failed);
                self.bytes_in += part(bytes_in);
                self.compute_us = self.compute_us.saturating_add(part(compute_us));
            }
            What::Stall { us } => {
                self.stalled_us = self
                    .stalled_us
                    .saturating_add(at.window.length(at.us.saturating_sub(us), at.us));
                if at.is_counted {
                    self.stalls += 1;
                    self.longest_stall(us, at.us.saturating_sub(us));
                }
            }
            What::Gone {
                cause,
                recycled,
                unrunnable,
                ..
            } => {
                if unrunnable > 0 {
                    self.owed = (at.us, unrunnable);
                }
                if at.is_counted {
                    *self.gone_by.entry(cause).or_default() += 1;
                    self.recycled += recycled;
                    self.unrunnable += unrunnable;
                }
            }
            What::Unrunnable { .. } => {
                let (since_us, owed) = &mut self.owed;
                if *owed > 0 && at.us - *since_us <= OWED_US {
                    *owed -= 1;
                } else if at.is_counted {
                    self.unrunnable += 1;
                }
            }
            _ if !at.is_counted => {}
            What::Connected { group, .. } => {
                self.connected += 1;
                self.groups[group_index(group)] += 1;
            }
            What::Dismissed { .. } => self.dismissed += 1,
            What::Sent { tasks, bytes, .. } => {
                self.count_packet_line(at.us);
                self.sent += tasks;
                self.packets_out += 1;
                self.bytes_out += bytes.unwrap_or(0);
            }
            What::Results {
                results,
                failed,
                bytes,
                compute_us,
                ..
            } => {
                self.results += results;
                self.failed += failed;
                self.packets_in += 1;
                self.bytes_in += bytes.unwrap_or(0);
                self.compute_us = self.compute_us.saturating_add(compute_us.unwrap_or(0));
            }
            _ => self.count_rare(what),
        }
    }

    fn count_rare(&mut self, what: &What<'_>) {
        match *what {
            What::Refused { .. } => self.rejected += 1,
            What::Recycled { tasks, .. } => self.recycled += tasks,
            What::Known { results } => self.known += results,
            What::Brought { results } => self.brought += results,
            What::Recorded { repeated } => self.repeated = self.repeated.max(repeated),
            What::Late { results } => self.late += results,
            What::Returned { count, .. } => self.given_back += count,
            What::Duplicated { .. } => self.duplicated += 1,
            What::Cancelled { tasks } => self.cancelled += tasks,
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

    const fn longest_stall(&mut self, us: i64, at_us: i64) {
        if us > self.stall_max_us {
            (self.stall_max_us, self.stall_max_at_us) = (us, at_us);
        }
    }

    fn count_packet_line(&mut self, us: i64) {
        if us < self.packet_second.0 || us >= self.packet_second.0 + 1_000_000 {
            self.packet_second = (us - us.rem_euclid(1_000_000), 0);
        }
        self.packet_second.1 += 1;
        self.is_full |= self.packet_second.1 >= SLAVE_LINES_MAX;
    }

    /// Adds another life's figures: sums, and the larger peak.
    pub(crate) fn add(&mut self, other: &Figures) {
        self.connected += other.connected;
        self.rejected += other.rejected;
        for (&cause, count) in &other.gone_by {
            *self.gone_by.entry(cause).or_default() += count;
        }
        self.present += other.present;
        self.peak = self.peak.max(other.peak);
        self.unknown += other.unknown;
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
        self.known += other.known;
        self.brought += other.brought;
        // Each life counts what all before it have recorded.
        self.repeated = self.repeated.max(other.repeated);
        self.given_back += other.given_back;
        self.duplicated += other.duplicated;
        self.dismissed += other.dismissed;
        self.stalls += other.stalls;
        self.stalled_us = self.stalled_us.saturating_add(other.stalled_us);
        self.longest_stall(other.stall_max_us, other.stall_max_at_us);
        self.dropped_lines += other.dropped_lines;
        self.dropped_packets += other.dropped_packets;
        self.time.add(other.time);
        self.observed_us += other.observed_us;
        self.absent_us += other.absent_us;
    }

    pub(crate) fn gone(&self) -> u64 {
        self.gone_by.values().sum()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.gone() - self.gone_by.get("shutdown").copied().unwrap_or(0)
    }
}

const fn group_index(group: GroupWord) -> usize {
    match group {
        GroupWord::Ordered => 0,
        GroupWord::Intermingle => 1,
        GroupWord::Unordered => 2,
    }
}
