//! What findings are made of beside the model: packets by slave, losses with the work that they cost, messages with
//! those that they came from.

use rustc_hash::FxHashMap;

use super::super::buckets::{Buckets, Cell};
use super::super::entry::What;
use super::super::plot::INTERVALS_MAX;
use super::super::times::Zone;
use super::super::trail::{At, Fold};
use crate::audit::entry::Role;

/// So many different messages are kept; the rest are counted together.
const MESSAGES_MAX: usize = 200;
/// So many pairs of a message and a slave are.
const PAIRS_MAX: usize = 100_000;
/// Classes of an octave.
pub(super) const OCTAVE: usize = 4;
/// So many of the longest times without a result are kept.
const GAPS_MAX: usize = 16;
/// Classes of compute times: four to an octave of microseconds.
pub(super) const CLASSES: usize = 160;
/// So many stalls are kept one by one.
const STALLS_MAX: usize = 10_000;

fn class_of(us: u64) -> usize {
    let class = (us.max(1) as f64).log2() * OCTAVE as f64;
    (class as usize).min(CLASSES - 1)
}

/// A slave, by its life and number.
pub(crate) type Key = (usize, u32);

/// What one slave's packets of results came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Packets {
    pub(super) packets: u64,
    /// Those with a failure in them.
    pub(super) failing: u64,
    /// Compute time of failures.
    pub(super) failed_us: f64,
    /// Seconds per task, packet by packet: their number and their sum.
    pub(super) timed: f64,
    pub(super) seconds: f64,
    /// Packets by the class of their seconds per task; of those that were summed up, the sum is one.
    pub(super) classes: Vec<(u8, u32)>,
    /// Since when it works on what it holds now.
    since_us: Option<i64>,
}

/// A slave was lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) us: i64,
    pub(super) key: Key,
    pub(super) cause: &'static str,
    /// How long it had been at work on what was lost with it.
    pub(super) work_us: i64,
}

/// Packets of results by the time at which their computing began: seconds per task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begun {
    pub(super) packets: f64,
    pub(super) seconds: f64,
    pub(super) squares: f64,
    /// What they computed, in microseconds.
    pub(super) compute_us: f64,
}

impl Begun {
    pub(super) fn add(&mut self, other: &Begun) {
        self.packets += other.packets;
        self.seconds += other.seconds;
        self.squares += other.squares;
        self.compute_us += other.compute_us;
    }
}

impl Cell for Begun {
    fn absorb(&mut self, later: Self) {
        self.add(&later);
    }
}

/// Equal messages, numbers in them aside.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    ids: FxHashMap<String, u32>,
    /// The first of each, how many there were, and when.
    pub(super) list: Vec<(String, u64, i64)>,
}

impl Messages {
    fn add(&mut self, text: &str, us: i64) -> u32 {
        const OTHERS: &str = "(others)";
        let mut mark: String = text.chars().take(400).collect();
        if mark.bytes().any(|byte| byte.is_ascii_digit()) {
            mark = mark.replace(|char: char| char.is_ascii_digit(), "");
        }
        if self.list.len() >= MESSAGES_MAX && !self.ids.contains_key(&mark) {
            mark = OTHERS.to_owned();
        }
        let id = *self.ids.entry(mark).or_insert_with(|| {
            self.list.push((text.to_owned(), 0, us));
            self.list.len() as u32 - 1
        });
        self.list[id as usize].1 += 1;
        id
    }

    /// The most frequent.
    pub(super) fn first(&self) -> Option<&(String, u64, i64)> {
        self.list.iter().max_by_key(|message| message.1)
    }
}

/// The signs of one end's trails.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    pub(super) slaves: FxHashMap<Key, Packets>,
    pub(super) losses: Vec<Loss>,
    /// What the lost said of it, or the system.
    pub(super) reasons: Messages,
    pub(super) failures: Messages,
    pub(super) algorithms: FxHashMap<String, u64>,
    /// By message and slave.
    pub(super) failures_of: FxHashMap<(u32, Key), u64>,
    pub(super) refusals: Messages,
    pub(super) stalls: Vec<(i64, i64)>,
    /// The longest times in which no result came, from a result to the next.
    pub(super) gaps: Vec<(i64, i64)>,
    last_result: Option<(usize, i64)>,
    /// Packets of results by the class of their compute time.
    classes: Vec<u64>,
    pub(super) begun: Buckets<Begun>,
    /// Whether any result came, in the window or not.
    pub(super) has_results: bool,
    pub(super) first_sent_us: Option<i64>,
    pub(super) first_dropped_us: Option<i64>,
    /// The first task that could not be run: when, which, why.
    pub(super) unrunnable: Option<(i64, u64, String)>,
    /// The task that was under way at most losses without being given up.
    pub(super) charged: Option<Charged>,
}

/// A task, and the slaves that were lost while they ran it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charged {
    /// When the last of them was.
    pub(super) us: i64,
    pub(super) task: u64,
    pub(super) crashes: u32,
    /// Losses at which it is given up; 0 for never.
    pub(super) limit: u32,
}

impl Signs {
    fn new(zone: &Zone) -> Self {
        Self {
            slaves: FxHashMap::default(),
            losses: Vec::new(),
            reasons: Messages::default(),
            failures: Messages::default(),
            algorithms: FxHashMap::default(),
            failures_of: FxHashMap::default(),
            refusals: Messages::default(),
            stalls: Vec::new(),
            gaps: Vec::new(),
            last_result: None,
            classes: Vec::new(),
            begun: Buckets::new(None, INTERVALS_MAX, zone.clone()),
            has_results: false,
            first_sent_us: None,
            first_dropped_us: None,
            unrunnable: None,
            charged: None,
        }
    }
}

impl Signs {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        let key = |slave: u32| (at.life, slave);
        match *what {
            What::Sent { slave, .. } => {
                let since_us = &mut self.slaves.entry(key(slave)).or_default().since_us;
                since_us.get_or_insert(at.us);
                if at.is_counted {
                    self.first_sent_us.get_or_insert(at.us);
                }
            }
            What::Results {
                slave,
                results,
                failed,
                compute_us,
                ..
            } => {
                let packets = self.slaves.entry(key(slave)).or_default();
                packets.since_us = Some(at.us);
                self.has_results |= results > 0;
                if at.is_counted {
                    packets.add(1, results, failed, compute_us);
                    self.on_results(at.life, at.us, 1, results, compute_us.unwrap_or(0));
                }
            }
            What::Packets {
                slave,
                packets_in,
                results,
                failed,
                compute_us,
                ..
            } => {
                let packets = self.slaves.entry(key(slave)).or_default();
                packets.since_us = Some(at.us);
                self.has_results |= results > 0;
                if at.is_counted {
                    packets.add(packets_in, results, failed, Some(compute_us));
                    if packets_in > 0 {
                        self.on_results(at.life, at.us, packets_in, results, compute_us);
                    }
                    self.first_sent_us.get_or_insert(at.us);
                }
            }
            What::State {
                slave,
                is_busy: false,
            } => self.slaves.entry(key(slave)).or_default().since_us = None,
            What::Gone {
                slave,
                cause,
                why,
                recycled,
                ..
            } => {
                let packets = self.slaves.entry(key(slave)).or_default();
                let since_us = packets.since_us.take().filter(|_| recycled > 0);
                if at.is_counted && cause != "shutdown" {
                    if !why.is_empty() {
                        self.reasons.add(why, at.us);
                    }
                    self.losses.push(Loss {
                        us: at.us,
                        key: key(slave),
                        cause,
                        work_us: since_us.map_or(0, |us| at.us - us),
                    });
                }
            }
            _ if at.is_counted => self.on_rare(at, what),
            _ => {}
        }
    }

    fn on_results(&mut self, run: usize, us: i64, packets: u64, results: u64, compute_us: u64) {
        if self.classes.is_empty() {
            self.classes.resize(CLASSES, 0);
        }
        let each_us = (compute_us / packets).max(1);
        self.classes[class_of(each_us)] += packets;
        if results > 0 && compute_us > 0 {
            let (count, seconds) = (packets as f64, compute_us as f64 / 1e6 / results as f64);
            self.begun.at(us - each_us as i64).add(&Begun {
                packets: count,
                seconds: count * seconds,
                squares: count * seconds * seconds,
                compute_us: compute_us as f64,
            });
        }
        let before = self.last_result.replace((run, us));
        if let Some((_, from_us)) = before.filter(|before| before.0 == run) {
            self.add_gap(from_us, us);
        }
    }

    #[inline]
    fn add_gap(&mut self, from_us: i64, to_us: i64) {
        let length_us = to_us - from_us;
        let shortest = self.gaps.last().map_or(0, |gap| gap.1 - gap.0);
        if self.gaps.len() >= GAPS_MAX && length_us <= shortest {
            return;
        }
        let at = self.gaps.partition_point(|gap| gap.1 - gap.0 >= length_us);
        self.gaps.insert(at, (from_us, to_us));
        self.gaps.truncate(GAPS_MAX);
    }

    /// The compute time of a packet that nine of ten do not exceed.
    pub(super) fn packet_us(&self) -> Option<f64> {
        let all: u64 = self.classes.iter().sum();
        let mut seen = 0;
        let class = self.classes.iter().position(|&packets| {
            seen += packets;
            seen * 10 >= all * 9 && seen > 0
        })?;
        Some(((class + 1) as f64 / OCTAVE as f64).exp2())
    }

    pub(super) fn has_compute_times(&self) -> bool {
        self.begun.iter().len() > 0
    }

    pub(super) const fn last_result_us(&self) -> Option<i64> {
        match self.last_result {
            Some((_, us)) => Some(us),
            None => None,
        }
    }

    fn on_rare(&mut self, at: At, what: &What<'_>) {
        match *what {
            What::Failed {
                slave,
                algorithm,
                message,
            } => {
                let message = self.failures.add(message, at.us);
                if self.algorithms.len() < MESSAGES_MAX || self.algorithms.contains_key(algorithm) {
                    *self.algorithms.entry(algorithm.to_owned()).or_default() += 1;
                }
                let pair = (message, (at.life, slave));
                if self.failures_of.len() < PAIRS_MAX || self.failures_of.contains_key(&pair) {
                    *self.failures_of.entry(pair).or_default() += 1;
                }
            }
            What::Refused { reason, .. } => {
                self.refusals.add(reason, at.us);
            }
            What::Stall { us } if self.stalls.len() < STALLS_MAX => {
                self.stalls.push((at.us - us, at.us));
            }
            What::Dropped { .. } => {
                self.first_dropped_us.get_or_insert(at.us);
            }
            What::Charged {
                task,
                crashes,
                limit,
            } if (limit == 0 || crashes < limit)
                && self.charged.is_none_or(|most| most.crashes < crashes) =>
            {
                self.charged = Some(Charged {
                    us: at.us,
                    task,
                    crashes,
                    limit,
                });
            }
            What::Unrunnable { task, reason } => {
                self.unrunnable
                    .get_or_insert_with(|| (at.us, task, reason.to_owned()));
            }
            _ => {}
        }
    }
}

impl Packets {
    fn add(&mut self, packets: u64, results: u64, failed: u64, compute_us: Option<u64>) {
        self.packets += packets;
        self.failing += failed.min(packets);
        if results == 0 {
            return;
        }
        let Some(compute_us) = compute_us else {
            return;
        };
        self.failed_us += compute_us as f64 * failed as f64 / results as f64;
        let (count, seconds) = (packets as f64, compute_us as f64 / 1e6 / results as f64);
        self.timed += count;
        self.seconds += count * seconds;
        let class = class_of(compute_us / results) as u8;
        match self.classes.iter_mut().find(|known| known.0 == class) {
            Some(known) => known.1 += 1,
            None => self.classes.push((class, 1)),
        }
    }
}

/// Both ends' signs; which of them count is known when everything is read.
#[derive(Debug, Clone)]
pub(crate) struct BothSigns {
    master: Signs,
    slave: Signs,
}

impl BothSigns {
    pub(crate) fn new(zone: &Zone) -> Self {
        Self {
            master: Signs::new(zone),
            slave: Signs::new(zone),
        }
    }

    pub(crate) fn of(&self, role: Role) -> &Signs {
        match role {
            Role::Master => &self.master,
            Role::Slave => &self.slave,
        }
    }
}

impl Fold for BothSigns {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        match at.role {
            Role::Master => self.master.on_entry(at, what),
            Role::Slave => self.slave.on_entry(at, what),
        }
    }
}
