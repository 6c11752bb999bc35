//! A master with its slaves, as its trail tells of them: packets handed out and worked off one after the other, slaves
//! that come, fail, slow down and go. What is written when is what the runtime does: packets are a line each up to ten
//! a second and slave and summed beyond, idle and busy are told when they change, failures are a line each up to a
//! hundred a second.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::audit::{
    Event, GroupWord, Line, LossCause, RoleWord, StateWord, TaskRanges, Who,
};

use super::stream::Stream;

pub(crate) const SECOND_US: i64 = 1_000_000;
const PACKET_LINES_PER_SECOND: u8 = 10;
const FAILURE_LINES_PER_SECOND: u32 = 100;

/// How long tasks take around their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// From half to one and a half times the mean.
    Even,
    Exponential,
    /// A few are ten times as long as the others.
    Heavy,
}

/// What is wrong with some slaves: of a host, of a subnet, or a single one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bad {
    pub(crate) hosts: Vec<u32>,
    pub(crate) slave: Option<u32>,
    /// How many times as long its tasks take.
    pub(crate) slow: Option<f64>,
    pub(crate) failure: f64,
    /// Its losses in a second of presence.
    pub(crate) losses_per_s: f64,
    pub(crate) message: String,
}

/// What the run is like, and what goes wrong in it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) start_us: i64,
    /// From the first hand-out to the last.
    pub(crate) length_us: i64,
    pub(crate) slaves: u32,
    pub(crate) hosts: u32,
    pub(crate) join_spread_us: i64,
    /// The slaves' start may be later than the master's.
    pub(crate) first_join_us: i64,
    /// Mean compute time of a packet.
    pub(crate) packet_us: f64,
    pub(crate) packet_tasks: u64,
    pub(crate) shape: Shape,
    /// Whether a second packet is sent before the first is worked off.
    pub(crate) is_ahead: bool,
    /// Whether results come in two packets each.
    pub(crate) is_halved: bool,
    /// The wait between two packets, at most.
    pub(crate) starve_us: f64,
    pub(crate) losses_per_s: f64,
    pub(crate) rejoin_us: f64,
    pub(crate) failure: f64,
    pub(crate) algorithms: Vec<&'static str>,
    pub(crate) bad: Bad,
    /// An algorithm that fails so often, and with which message.
    pub(crate) bad_algorithm: Option<(usize, f64, &'static str)>,
    /// From when on tasks take so many times as long.
    pub(crate) slow_from: Option<(i64, f64)>,
    /// Nothing comes back between the two.
    pub(crate) hang: Option<(i64, i64)>,
    /// Of the slaves, a share or those of these hosts are lost in one millisecond; they come again after so long.
    pub(crate) mass_loss: Option<(i64, Option<Vec<u32>>, i64)>,
    /// All slaves go, over a time, and come again.
    pub(crate) nobody: Option<(i64, i64, i64)>,
    /// The master algorithm holds its thread.
    pub(crate) stall: Option<(i64, i64)>,
    /// From when on there is no task to hand out.
    pub(crate) dry_from: Option<i64>,
    /// The trail's disk is full: when, how many lines.
    pub(crate) dropped: Option<(i64, i64)>,
    /// Peers that are refused: how many, why.
    pub(crate) refused: Option<(u32, &'static str)>,
    /// The exit line; none for a master that is killed.
    pub(crate) exit: Option<(u8, &'static str)>,
    /// The run ends here, whatever is under way.
    pub(crate) cut_us: Option<i64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            start_us: crate::made::START_US,
            length_us: 600 * SECOND_US,
            slaves: 16,
            hosts: 4,
            join_spread_us: SECOND_US,
            first_join_us: 1000,
            packet_us: 5e6,
            packet_tasks: 10,
            shape: Shape::Even,
            is_ahead: false,
            is_halved: false,
            starve_us: 0.0,
            losses_per_s: 0.0,
            rejoin_us: 10e6,
            failure: 0.0,
            algorithms: vec!["monte-carlo-pi"],
            bad: Bad::default(),
            bad_algorithm: None,
            slow_from: None,
            hang: None,
            mass_loss: None,
            nobody: None,
            stall: None,
            dry_from: None,
            dropped: None,
            refused: None,
            exit: Some((0, "the master algorithm returned")),
            cut_us: None,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join(u32),
    Give(u32),
    Back(u32),
    Settle(u32),
    Lose(u32, LossCause),
    Second,
    MassLoss,
    Nobody,
    Stall,
    Dropped,
    Refuse,
    /// The last hand-out was before this.
    Check,
    Cut,
}

#[derive(Debug, Clone)]
struct Packet {
    tasks: Vec<(u64, u64)>,
    left: u64,
    compute_us: i64,
    algorithm: usize,
    is_halved: bool,
    is_slowed: bool,
}

impl Packet {
    /// Takes the first tasks off.
    fn take(&mut self, count: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < count {
            let Some(first) = self.tasks.first_mut() else {
                break;
            };
            taken.push(first.0);
            if first.0 == first.1 {
                self.tasks.remove(0);
            } else {
                first.0 += 1;
            }
        }
        self.left -= taken.len() as u64;
        taken
    }
}

#[derive(Debug, Default)]
struct Sums {
    since_us: i64,
    packets_out: u64,
    tasks: u64,
    bytes_out: u64,
    packets_in: u64,
    results: u64,
    failed: u64,
    bytes_in: u64,
    compute_us: u64,
}

#[derive(Debug)]
struct Slave {
    host: u32,
    address: String,
    hands: VecDeque<Packet>,
    is_busy: bool,
    is_said_busy: bool,
    second: i64,
    lines: u8,
    sums: Option<Sums>,
}

/// The world, while it goes on.
pub(crate) struct World {
    plan: Plan,
    chance: Stream,
    now_us: i64,
    steps: BTreeMap<(i64, u64), Step>,
    step: u64,
    slaves: BTreeMap<u32, Slave>,
    next_slave: u32,
    next_task: u64,
    recycled: Vec<(u64, u64)>,
    failures: (i64, u32, u64),
    pub(crate) trail: Vec<u8>,
}

/// Runs a plan to its end; the trail.
pub(crate) fn run(plan: Plan, seed: u64) -> Vec<u8> {
    let mut world = World {
        now_us: plan.start_us,
        plan,
        chance: Stream::new(seed),
        steps: BTreeMap::new(),
        step: 0,
        slaves: BTreeMap::new(),
        next_slave: 0,
        next_task: 0,
        recycled: Vec::new(),
        failures: (0, 0, 0),
        trail: Vec::new(),
    };
    world.begin(seed);
    while let Some(((us, _), step)) = world.steps.pop_first() {
        world.now_us = world.now_us.max(us);
        if matches!(step, Step::Cut) {
            break;
        }
        world.on_step(step);
        if world.is_done() {
            break;
        }
    }
    world.end();
    world.trail
}

/// The first lines of a master's trail.
pub(crate) fn opening(seed: u64) -> Vec<Event> {
    vec![
        Event::Init {
            version: "0.1.0".into(),
            role: RoleWord::Master,
            member_id: "default-member-id".into(),
            build: "da725763f7e402af284b1285ccc01a4e72f9c9ef".into(),
            app_version: String::new(),
            seed: Some(seed),
            pid: 1802,
            host: "head".into(),
        },
        Event::FileLimit { files: 20_000 },
        Event::Engine {
            engine: ringmw_codec::audit::EngineWord::Ring,
            why: "io_uring with multishot receive works here".into(),
        },
        Event::Ready {
            security: None,
            addresses: vec!["10.0.0.1:46637".into()],
        },
    ]
}

/// The subnet of a host, as the world numbers them: ten hosts share one.
pub(crate) fn subnet_of(host: u32) -> String {
    format!("10.{}.{}.0/24", host / 10 / 250, host / 10 % 250)
}

impl World {
    fn tell(&mut self, event: Event) {
        let line = Line {
            time_us: self.now_us,
            who: Who::Master,
            event,
        };
        line.write(&mut self.trail);
    }

    fn at(&mut self, us: i64, step: Step) {
        self.step += 1;
        self.steps.insert((us, self.step), step);
    }

    fn begin(&mut self, seed: u64) {
        for event in opening(seed) {
            self.tell(event);
            self.now_us += 20;
        }
        let Plan {
            start_us,
            slaves,
            join_spread_us,
            first_join_us,
            ..
        } = self.plan;
        for slave in 0..slaves {
            let us =
                start_us + first_join_us + self.chance.between(0.0, join_spread_us as f64) as i64;
            let host = slave % self.plan.hosts.max(1);
            self.at(us, Step::Join(host));
        }
        let troubles = [
            (
                self.plan.mass_loss.as_ref().map(|loss| loss.0),
                Step::MassLoss,
            ),
            (self.plan.nobody.map(|nobody| nobody.0), Step::Nobody),
            (self.plan.stall.map(|stall| stall.0), Step::Stall),
            (self.plan.dropped.map(|dropped| dropped.0), Step::Dropped),
            (self.plan.cut_us, Step::Cut),
        ];
        self.at(self.hands_out_until(), Step::Check);
        for (us, step) in troubles {
            if let Some(us) = us {
                self.at(us, step);
            }
        }
        if let Some((peers, _)) = self.plan.refused {
            for peer in 0..peers {
                let us = match peer {
                    0 => start_us + first_join_us,
                    _ => start_us + self.chance.between(0.0, self.plan.length_us as f64) as i64,
                };
                self.at(us, Step::Refuse);
            }
        }
    }

    fn hands_out_until(&self) -> i64 {
        self.plan.start_us + self.plan.length_us
    }

    /// Nothing more is handed out, and all that was is back.
    fn is_done(&self) -> bool {
        self.now_us >= self.hands_out_until()
            && self.plan.cut_us.is_none()
            && self.slaves.values().all(|slave| slave.hands.is_empty())
    }

    fn on_step(&mut self, step: Step) {
        match step {
            Step::Join(host) => self.join(host),
            Step::Give(slave) => self.give(slave),
            Step::Back(slave) => self.back(slave),
            Step::Settle(slave) => self.settle(slave),
            Step::Lose(slave, cause) => self.lose(slave, cause, None),
            Step::Second => self.say_unsaid(),
            Step::MassLoss => self.mass_loss(),
            Step::Nobody => self.nobody(),
            Step::Stall => {
                let (_, us) = self.plan.stall.expect("it is planned");
                self.now_us += us;
                self.tell(Event::Stall {
                    ms: us as u64 / 1000,
                });
            }
            Step::Dropped => {
                let lines = self.plan.dropped.expect("it is planned").1 as u64;
                self.tell(Event::Dropped {
                    lines,
                    packets: lines,
                    tasks: 0,
                    connected: 0,
                    lost: 0,
                    recycled: 0,
                    refused: 0,
                    state: 0,
                });
            }
            Step::Refuse => {
                let peer = self.chance.below(200);
                let from = format!("10.9.9.{}:4000", peer + 1);
                self.tell(Event::Client { from: from.clone() });
                let reason = self.plan.refused.expect("it is planned").1.into();
                self.tell(Event::Refused {
                    from,
                    host: format!("node{peer}"),
                    reason,
                });
            }
            Step::Check | Step::Cut => {}
        }
    }

    fn is_bad(&self, slave: u32, host: u32) -> bool {
        self.plan.bad.slave == Some(slave) || self.plan.bad.hosts.contains(&host)
    }

    fn join(&mut self, host: u32) {
        if self.now_us >= self.hands_out_until() {
            return;
        }
        let id = self.next_slave;
        self.next_slave += 1;
        let net = host / 10;
        let address = format!(
            "10.{}.{}.{}:{}",
            net / 250,
            net % 250,
            host % 10 + 1,
            10_000 + id % 50_000
        );
        self.tell(Event::Client {
            from: address.clone(),
        });
        self.tell(Event::Connected {
            slave: id,
            from: address.clone(),
            host: format!("node{host}"),
            job: format!("condor.1.{id}"),
            group: GroupWord::Unordered,
        });
        self.tell(Event::State {
            slave: id,
            state: StateWord::Idle,
        });
        self.slaves.insert(
            id,
            Slave {
                host,
                address,
                hands: VecDeque::new(),
                is_busy: false,
                is_said_busy: false,
                second: i64::MIN,
                lines: 0,
                sums: None,
            },
        );
        self.at(self.now_us, Step::Give(id));
        let mut losses_per_s = self.plan.losses_per_s;
        if self.is_bad(id, host) {
            losses_per_s += self.plan.bad.losses_per_s;
        }
        if losses_per_s > 0.0 {
            let us = (self.chance.exponential(1.0 / losses_per_s) * 1e6).min(1e15) as i64;
            let cause = self
                .chance
                .pick(&[LossCause::Eof, LossCause::Reset, LossCause::Timeout]);
            self.at(self.now_us + us + 2, Step::Lose(id, cause));
        }
    }

    fn give(&mut self, id: u32) {
        if self.now_us >= self.hands_out_until()
            || self.plan.dry_from.is_some_and(|us| self.now_us >= us)
        {
            return;
        }
        let ahead = if self.plan.is_ahead { 2 } else { 1 };
        while let Some(slave) = self.slaves.get(&id)
            && slave.hands.len() < ahead
        {
            let packet = self.packet(id, slave.host);
            let (tasks, bytes) = (packet.left, 47 + packet.left * 54);
            let slave = self.slaves.get_mut(&id).expect("it is there");
            slave.hands.push_back(packet);
            slave.is_busy = true;
            let is_first = slave.hands.len() == 1;
            match self.sums(id) {
                Some(sums) => {
                    sums.packets_out += 1;
                    sums.tasks += tasks;
                    sums.bytes_out += bytes;
                }
                None => {
                    let group = self.plan.packet_tasks;
                    self.tell(Event::TasksSent {
                        slave: id,
                        tasks,
                        bytes,
                        group,
                    });
                    self.say_state(id);
                }
            }
            if is_first {
                self.work(id);
            }
        }
    }

    /// The tasks of the next packet: those that came back before those that are new.
    fn packet(&mut self, id: u32, host: u32) -> Packet {
        let wanted = self.plan.packet_tasks;
        let mut tasks = Vec::new();
        let mut left = 0;
        while left < wanted
            && let Some((first, last)) = self.recycled.pop()
        {
            let taken = (last - first + 1).min(wanted - left);
            tasks.push((first, first + taken - 1));
            if first + taken <= last {
                self.recycled.push((first + taken, last));
            }
            left += taken;
        }
        if left < wanted {
            let taken = wanted - left;
            tasks.push((self.next_task, self.next_task + taken - 1));
            self.next_task += taken;
            left = wanted;
        }
        let mean = self.plan.packet_us;
        let mut us = match self.plan.shape {
            Shape::Even => mean * self.chance.between(0.5, 1.5),
            Shape::Exponential => self.chance.exponential(mean),
            Shape::Heavy if self.chance.chance(0.05) => mean * 6.0 * self.chance.between(0.5, 1.5),
            Shape::Heavy => mean * 0.7 * self.chance.between(0.5, 1.5),
        };
        if self.is_bad(id, host) {
            us *= self.plan.bad.slow.unwrap_or(1.0);
        }
        let algorithm = self.chance.below(self.plan.algorithms.len() as u64) as usize;
        Packet {
            tasks,
            left,
            compute_us: (us as i64).max(1),
            algorithm,
            is_halved: self.plan.is_halved && left > 1,
            is_slowed: false,
        }
    }

    /// The slave begins the packet in front, or goes on with it.
    fn work(&mut self, id: u32) {
        let (now_us, slow_from, hang) = (self.now_us, self.plan.slow_from, self.plan.hang);
        let slave = self.slaves.get_mut(&id);
        let Some(packet) = slave.and_then(|slave| slave.hands.front_mut()) else {
            return;
        };
        if let Some((from_us, times)) = slow_from
            && now_us >= from_us
            && !std::mem::replace(&mut packet.is_slowed, true)
        {
            packet.compute_us = (packet.compute_us as f64 * times) as i64;
        }
        let part_us = |compute_us: i64, is_halved: bool| match is_halved {
            true => compute_us / 2,
            false => compute_us,
        };
        let mut back_us = now_us + part_us(packet.compute_us, packet.is_halved) + 150;
        if let Some((from_us, to_us)) = hang
            && (from_us..to_us).contains(&back_us)
        {
            // It hangs in the middle of its work.
            packet.is_halved = false;
            packet.compute_us += to_us - from_us;
            back_us = now_us + packet.compute_us + 150;
        }
        self.at(back_us, Step::Back(id));
    }

    fn back(&mut self, id: u32) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        let host = slave.host;
        let packet = slave.hands.front_mut().expect("a packet comes back");
        let (count, compute_us) = match std::mem::take(&mut packet.is_halved) {
            true => (packet.left / 2, packet.compute_us / 2),
            false => (packet.left, packet.compute_us),
        };
        packet.compute_us -= compute_us;
        let algorithm = packet.algorithm;
        let tasks = packet.take(count);
        if packet.left == 0 {
            slave.hands.pop_front();
        }
        slave.is_busy = !slave.hands.is_empty();
        let mut failed = 0;
        for task in tasks {
            if let Some(message) = self.failure(id, host, algorithm) {
                failed += 1;
                self.say_failed(id, task, algorithm, message);
            }
        }
        let bytes = 49 + count * 55;
        let compute_us = compute_us as u64;
        match self.sums(id) {
            Some(sums) => {
                sums.packets_in += 1;
                sums.results += count;
                sums.failed += failed;
                sums.bytes_in += bytes;
                sums.compute_us += compute_us;
            }
            None => {
                self.tell(Event::ResultsReceived {
                    slave: id,
                    results: count,
                    failed,
                    bytes,
                    compute_us,
                });
                self.say_state(id);
            }
        }
        let wait_us = if self.plan.starve_us > 0.0 {
            self.chance.between(0.0, self.plan.starve_us) as i64
        } else {
            0
        };
        if self.slaves[&id].hands.is_empty() {
            self.at(self.now_us + wait_us, Step::Give(id));
        } else {
            self.work(id);
            self.at(self.now_us, Step::Give(id));
        }
    }

    /// Why a task fails, if it does.
    fn failure(&mut self, id: u32, host: u32, algorithm: usize) -> Option<String> {
        if self.is_bad(id, host) && self.chance.chance(self.plan.bad.failure) {
            return Some(self.plan.bad.message.clone());
        }
        if let Some((bad, share, message)) = self.plan.bad_algorithm
            && bad == algorithm
            && self.chance.chance(share)
        {
            return Some(message.to_owned());
        }
        let is_failed = self.plan.failure > 0.0 && self.chance.chance(self.plan.failure);
        is_failed.then(|| {
            let value = self.chance.below(1000);
            format!("no convergence at {value} (src/model.rs:88)")
        })
    }

    fn say_failed(&mut self, slave: u32, task: u64, algorithm: usize, message: String) {
        let second = (self.now_us - self.plan.start_us) / SECOND_US;
        if self.failures.0 != second {
            self.say_unsaid();
            self.failures = (second, 0, 0);
        }
        self.failures.1 += 1;
        if self.failures.1 > FAILURE_LINES_PER_SECOND {
            if self.failures.2 == 0 {
                let next_us = self.plan.start_us + (second + 1) * SECOND_US;
                self.at(next_us, Step::Second);
            }
            self.failures.2 += 1;
            return;
        }
        self.tell(Event::Failed {
            task,
            algorithm: self.plan.algorithms[algorithm].into(),
            slave,
            message,
        });
    }

    fn say_unsaid(&mut self) {
        let unsaid = std::mem::take(&mut self.failures.2);
        if unsaid > 0 {
            let text = format!("{unsaid} more tasks failed or were unrunnable in a second");
            self.tell(Event::Note { text });
        }
    }

    /// The sums that a packet is added to, if it gets no line.
    fn sums(&mut self, id: u32) -> Option<&mut Sums> {
        let second = (self.now_us - self.plan.start_us) / SECOND_US;
        let slave = self.slaves.get_mut(&id).expect("it is there");
        if slave.sums.is_none() {
            if slave.second != second {
                (slave.second, slave.lines) = (second, 0);
            }
            if slave.lines < PACKET_LINES_PER_SECOND {
                slave.lines += 1;
                return None;
            }
            let since_us = self.now_us;
            slave.sums = Some(Sums {
                since_us,
                ..Sums::default()
            });
            let next_us = self.plan.start_us + (second + 1) * SECOND_US;
            self.at(next_us, Step::Settle(id));
        }
        self.slaves
            .get_mut(&id)
            .and_then(|slave| slave.sums.as_mut())
    }

    fn settle(&mut self, id: u32) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if let Some(sums) = slave.sums.take() {
            let span_ms = (self.now_us - sums.since_us) as u64 / 1000;
            self.tell(Event::Packets {
                slave: id,
                span_ms,
                packets_out: sums.packets_out,
                tasks: sums.tasks,
                bytes_out: sums.bytes_out,
                packets_in: sums.packets_in,
                results: sums.results,
                failed: sums.failed,
                bytes_in: sums.bytes_in,
                compute_us: sums.compute_us,
            });
        }
        self.say_state(id);
    }

    fn say_state(&mut self, id: u32) {
        let slave = self.slaves.get_mut(&id).expect("it is there");
        if slave.is_busy == slave.is_said_busy {
            return;
        }
        slave.is_said_busy = slave.is_busy;
        let state = match slave.is_busy {
            true => StateWord::Busy,
            false => StateWord::Idle,
        };
        self.tell(Event::State { slave: id, state });
    }

    /// A slave is lost; it comes again after a while, unless it is told when.
    fn lose(&mut self, id: u32, cause: LossCause, again_us: Option<i64>) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        slave.is_busy = slave.is_said_busy;
        self.settle(id);
        let slave = self.slaves.remove(&id).expect("it is there");
        let mut tasks: Vec<(u64, u64)> = slave
            .hands
            .iter()
            .flat_map(|packet| packet.tasks.iter().copied())
            .collect();
        tasks.sort_unstable();
        let all: Vec<u64> = tasks
            .iter()
            .flat_map(|&(first, last)| first..=last)
            .collect();
        self.tell(Event::Lost {
            slave: id,
            from: slave.address,
            cause,
            detail: match cause {
                LossCause::Timeout => "no byte for 30 s".into(),
                LossCause::Reset => "Connection reset by peer (os error 104)".into(),
                _ => String::new(),
            },
            recycled: all.len() as u64,
            tasks: TaskRanges::from_sorted(all),
            unrunnable: 0,
            cancelled: 0,
        });
        self.recycled.extend(tasks.into_iter().rev());
        let us = again_us.unwrap_or_else(|| {
            self.now_us
                + self
                    .chance
                    .between(0.1, 2.0)
                    .mul_add(self.plan.rejoin_us, 1.0) as i64
        });
        self.at(us, Step::Join(slave.host));
    }

    fn mass_loss(&mut self) {
        let (_, hosts, again_us) = self.plan.mass_loss.clone().expect("it is planned");
        let mut ids: Vec<u32> = self.slaves.keys().copied().collect();
        match hosts {
            Some(hosts) => ids.retain(|id| hosts.contains(&self.slaves[id].host)),
            None => {
                for at in (1..ids.len()).rev() {
                    ids.swap(at, self.chance.below(at as u64 + 1) as usize);
                }
                ids.truncate(ids.len().div_ceil(2));
            }
        }
        let count = ids.len();
        let begin_us = self.now_us;
        for (nth, id) in ids.into_iter().enumerate() {
            self.now_us = begin_us + (nth * 900 / count.max(1)) as i64;
            let again_us = self.now_us + again_us + self.chance.below(20_000_000) as i64;
            self.lose(id, LossCause::Reset, Some(again_us));
        }
    }

    fn nobody(&mut self) {
        let (_, over_us, again_us) = self.plan.nobody.expect("it is planned");
        let ids: Vec<u32> = self.slaves.keys().copied().collect();
        let begin_us = self.now_us;
        let mut times: Vec<i64> = ids
            .iter()
            .map(|_| begin_us + self.chance.between(0.0, over_us as f64) as i64)
            .collect();
        times.sort_unstable();
        for (id, us) in ids.into_iter().zip(times) {
            self.now_us = us;
            let again_us = again_us + self.chance.below(2_000_000) as i64;
            self.lose(id, LossCause::Eof, Some(again_us));
        }
        // Who would have come meanwhile comes later too.
        let held: Vec<_> = self
            .steps
            .iter()
            .filter(|((us, _), step)| matches!(step, Step::Join(_)) && *us < again_us)
            .map(|(key, step)| (*key, step.clone()))
            .collect();
        for (key, step) in held {
            self.steps.remove(&key);
            self.at(again_us, step);
        }
    }

    fn end(&mut self) {
        if let Some((code, reason)) = self.plan.exit {
            if code == 143 {
                self.tell(Event::Signal {
                    name: "SIGTERM".into(),
                });
            }
            let slaves = self.slaves.len() as u64;
            self.tell(Event::ShutdownBegun {
                slaves,
                finished: code == 0,
            });
            self.now_us += 80;
            let ids: Vec<u32> = self.slaves.keys().copied().collect();
            for id in ids {
                let slave = self.slaves.get_mut(&id).expect("it is there");
                slave.is_busy = slave.is_said_busy;
                self.settle(id);
                let slave = self.slaves.remove(&id).expect("it is there");
                self.tell(Event::Disconnected {
                    slave: id,
                    from: slave.address,
                });
            }
            self.now_us += 600;
            self.tell(Event::Exit {
                code,
                reason: reason.into(),
            });
        }
    }
}
