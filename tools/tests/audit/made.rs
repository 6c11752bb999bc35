//! Trails with a known truth: a small world of slaves that come, work and go, written in either format, with its own
//! account of what it did.

use std::collections::BTreeMap;

use ringmw_codec::audit::{
    Event, GroupWord, Line, LossCause, RoleWord, StateWord, TaskRanges, Who,
};

pub(crate) const START_US: i64 = 1_795_161_783_000_000;

/// What really happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Truth {
    pub(crate) lines: u64,
    pub(crate) connected: u64,
    pub(crate) rejected: u64,
    pub(crate) gone_by: BTreeMap<&'static str, u64>,
    pub(crate) peak: u64,
    pub(crate) at_end: u64,
    pub(crate) by_subnet: BTreeMap<String, u64>,
    pub(crate) lifetimes_us: Vec<i64>,
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) recycled: u64,
    pub(crate) packets: u64,
    pub(crate) failed: u64,
    pub(crate) late: u64,
    pub(crate) cancelled: u64,
    pub(crate) stalled_ms: u64,
    pub(crate) duration_us: i64,
}

/// A small generator of even numbers' friends: SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Ringmw,
    ClMw,
}

struct Slave {
    id: u32,
    since_us: i64,
    address: String,
    holds: u64,
}

/// The world and its trail.
pub(crate) struct World {
    form: Form,
    dice: Dice,
    now_us: i64,
    start_us: i64,
    slaves: Vec<Slave>,
    next_id: u32,
    next_task: u64,
    pub(crate) trail: Vec<u8>,
    pub(crate) truth: Truth,
}

impl World {
    pub(crate) fn new(form: Form, seed: u64, start_us: i64) -> Self {
        let mut world = Self {
            form,
            dice: Dice(seed),
            now_us: start_us,
            start_us,
            slaves: Vec::new(),
            next_id: 0,
            next_task: 0,
            trail: Vec::new(),
            truth: Truth::default(),
        };
        world.begin(seed);
        world
    }

    /// A whole run.
    pub(crate) fn run(form: Form, seed: u64, steps: u64, slaves_max: usize) -> (Vec<u8>, Truth) {
        let mut world = World::new(form, seed, START_US);
        for _ in 0..steps {
            world.step(slaves_max);
        }
        world.end()
    }

    fn begin(&mut self, seed: u64) {
        match self.form {
            Form::Ringmw => self.tell(Event::Init {
                version: "0.1.0".into(),
                role: RoleWord::Master,
                member_id: "m x".into(),
                build: "b1".into(),
                app_version: String::new(),
                seed: Some(seed),
                pid: 7,
                host: "head".into(),
            }),
            Form::ClMw => {
                self.print("[A] VERSION CL-MW: Version 0.4");
                self.print("[A] INIT MASTER \"m x\"");
                self.print("[A] MASTER READY 10.0.0.1:4432");
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let line = Line {
            time_us: self.now_us,
            who: Who::Master,
            event,
        };
        line.write(&mut self.trail);
        self.truth.lines += 1;
        self.truth.duration_us = self.now_us - self.start_us;
    }

    fn print(&mut self, body: &str) {
        let time = jiff::Timestamp::from_microsecond(self.now_us).expect("in range");
        let time = jiff::fmt::strtime::format(
            "%m/%d/%Y %H:%M:%S",
            &time.to_zoned(jiff::tz::TimeZone::UTC),
        )
        .expect("a format");
        self.trail
            .extend_from_slice(format!("{time} {body}\n").as_bytes());
        self.truth.lines += 1;
        self.truth.duration_us = self.now_us - self.start_us;
    }

    pub(crate) fn step(&mut self, slaves_max: usize) {
        // CL-MW's clock shows seconds; so that both truths are exact, so does this one.
        if self.dice.roll(3) == 0 {
            self.now_us += match self.form {
                Form::Ringmw => self.dice.roll(400_000) as i64,
                Form::ClMw => self.dice.roll(2) as i64 * 1_000_000,
            };
        }
        match self.dice.roll(20) {
            0..3 if self.slaves.len() < slaves_max => self.join(),
            3 if self.slaves.len() > 2 => self.leave(),
            4 if self.dice.roll(4) == 0 => self.rare(),
            _ => self.work(),
        }
    }

    fn join(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        let (net, host) = (self.dice.roll(4), self.dice.roll(200) + 1);
        let (address, subnet) = match self.dice.roll(5) {
            0 => (
                format!("[2001:db8:0:{net}::{host}]:4000"),
                format!("2001:db8:0:{net}::/64"),
            ),
            _ => (
                format!("10.1.{net}.{host}:4000"),
                format!("10.1.{net}.0/24"),
            ),
        };
        // Rust and POSIX shorten a single group of zeros differently; the truth takes Rust's.
        let subnet = match subnet.strip_suffix("/64") {
            Some(ip) => format!(
                "{}/64",
                ip.parse::<std::net::Ipv6Addr>().expect("an address")
            ),
            None => subnet,
        };
        match self.form {
            Form::Ringmw => self.tell(Event::Connected {
                slave: id,
                from: address.clone(),
                host: format!("node{net}-{host}"),
                job: String::new(),
                group: GroupWord::Unordered,
            }),
            Form::ClMw => {
                let address = address.replace(['[', ']'], "");
                self.print(&format!("[A] NEW-CLIENT -> {address}"));
                self.print(&format!(
                    "[A] SLAVE-{id} {address} -> [\"m x\"] :connecting [:unordered]"
                ));
                self.print(&format!("[A] SLAVE-{id} -> :idle"));
            }
        }
        self.slaves.push(Slave {
            id,
            since_us: self.now_us,
            address,
            holds: 0,
        });
        self.truth.connected += 1;
        *self.truth.by_subnet.entry(subnet).or_default() += 1;
        self.truth.peak = self.truth.peak.max(self.slaves.len() as u64);
    }

    fn leave(&mut self) {
        let index = self.dice.roll(self.slaves.len() as u64) as usize;
        let slave = self.slaves.swap_remove(index);
        let tasks: Vec<u64> = (0..slave.holds).map(|n| self.next_task + n).collect();
        self.next_task += slave.holds;
        let cause = match (self.form, self.dice.roll(5)) {
            (_, 0) => "timeout",
            (Form::ClMw, 1) => "problem",
            (_, 2) => "protocol",
            (Form::Ringmw, 1) => "evicted",
            _ => "eof",
        };
        match self.form {
            Form::Ringmw => self.tell(Event::Lost {
                slave: slave.id,
                from: slave.address,
                cause: LossCause::from_word(cause).expect("a cause"),
                detail: "a detail".into(),
                recycled: slave.holds,
                tasks: TaskRanges::from_sorted(tasks),
                unrunnable: 0,
                cancelled: 0,
            }),
            Form::ClMw => {
                let how = match cause {
                    "timeout" => "TIMEOUT -> :disconnected",
                    "problem" => "PROBLEM -> :disconnecting (#<SOCKET-ERROR\n   {1002}>)",
                    "protocol" => "STUPID -> :disconnecting",
                    _ => "CEOF -> :disconnected",
                };
                self.truth.lines += u64::from(cause == "problem");
                self.print(&format!("[A] SLAVE-{} {how}", slave.id));
                self.print(&format!("[A] EOF -> {}", slave.address));
                for task in tasks {
                    self.print(&format!("[A] SLAVE-{} R TASK-{task}", slave.id));
                }
            }
        }
        self.truth.recycled += slave.holds;
        self.went(slave.since_us, cause);
    }

    fn went(&mut self, since_us: i64, cause: &'static str) {
        *self.truth.gone_by.entry(cause).or_default() += 1;
        self.truth.lifetimes_us.push(self.now_us - since_us);
    }

    fn work(&mut self) {
        if self.slaves.is_empty() {
            return;
        }
        let index = self.dice.roll(self.slaves.len() as u64) as usize;
        let Slave { id, holds, .. } = self.slaves[index];
        if holds == 0 {
            let tasks = self.dice.roll(100) + 1;
            match self.form {
                Form::Ringmw if self.dice.roll(4) == 0 => return self.sum_up(id, tasks),
                Form::Ringmw => {
                    self.tell(Event::TasksSent {
                        slave: id,
                        tasks,
                        bytes: tasks * 100,
                        group: 100,
                    });
                    self.state(id, StateWord::Busy);
                }
                Form::ClMw => {
                    self.print(&format!("[A] SLAVE-{id} <- {tasks} tasks"));
                    self.state(id, StateWord::Busy);
                }
            }
            self.slaves[index].holds = tasks;
            self.truth.sent += tasks;
        } else {
            let results = self.dice.roll(holds) + 1;
            let failed = self.dice.roll(3).min(results);
            match self.form {
                Form::Ringmw => {
                    self.tell(Event::ResultsReceived {
                        slave: id,
                        results,
                        failed,
                        bytes: results * 50,
                        compute_us: results * 1000,
                    });
                    self.truth.failed += failed;
                }
                Form::ClMw => self.print(&format!("[A] SLAVE-{id} -> {results} results")),
            }
            self.slaves[index].holds -= results;
            if results == holds {
                self.state(id, StateWord::Idle);
            }
            self.truth.results += results;
        }
        self.truth.packets += 1;
    }

    /// A second of many packets, in one line.
    fn sum_up(&mut self, id: u32, tasks: u64) {
        self.tell(Event::Packets {
            slave: id,
            span_ms: 900,
            packets_out: 12,
            tasks,
            bytes_out: tasks * 100,
            packets_in: 11,
            results: tasks,
            failed: 1,
            bytes_in: tasks * 50,
            compute_us: tasks * 1000,
        });
        self.truth.packets += 23;
        self.truth.sent += tasks;
        self.truth.results += tasks;
        self.truth.failed += 1;
    }

    fn state(&mut self, slave: u32, state: StateWord) {
        match self.form {
            Form::Ringmw => self.tell(Event::State { slave, state }),
            Form::ClMw => self.print(&format!("[A] SLAVE-{slave} -> :{state}")),
        }
    }

    fn rare(&mut self) {
        if self.form == Form::ClMw {
            self.print("[A] NEW-CLIENT <- EXPECTED MEMBER \"m x\" GOT MEMBER \"(\"");
            self.truth.rejected += 1;
            return;
        }
        match self.dice.roll(4) {
            0 => {
                self.tell(Event::Refused {
                    from: "10.9.9.9:1".into(),
                    host: "h".into(),
                    reason: "another member id".into(),
                });
                self.truth.rejected += 1;
            }
            1 => {
                self.tell(Event::Stall { ms: 1500 });
                self.truth.stalled_ms += 1500;
            }
            2 => {
                self.tell(Event::Late {
                    slave: 0,
                    results: 3,
                });
                self.truth.late += 3;
            }
            _ => {
                self.tell(Event::Cancelled { tasks: 5 });
                self.truth.cancelled += 5;
            }
        }
    }

    /// Sends every slave away and ends the trail.
    pub(crate) fn end(mut self) -> (Vec<u8>, Truth) {
        for slave in std::mem::take(&mut self.slaves) {
            match self.form {
                Form::Ringmw => self.tell(Event::Disconnected {
                    slave: slave.id,
                    from: slave.address,
                }),
                Form::ClMw => {
                    self.print(&format!("[A] SLAVE-{} <- TRY-SHUTDOWN", slave.id));
                    self.print(&format!("[A] SLAVE-{} -> :shutting-down", slave.id));
                    self.print(&format!("[A] SLAVE-{} -> :disconnected", slave.id));
                }
            }
            self.went(slave.since_us, "shutdown");
        }
        match self.form {
            Form::Ringmw => self.tell(Event::Exit {
                code: 0,
                reason: "finished".into(),
            }),
            Form::ClMw => self.print("[A] FINI SHUTDOWN \"m x\""),
        }
        (self.trail, self.truth)
    }

    /// The trail as it is when the master is killed now.
    pub(crate) fn kill(mut self) -> (Vec<u8>, Truth) {
        self.truth.at_end = self.slaves.len() as u64;
        (self.trail, self.truth)
    }
}
