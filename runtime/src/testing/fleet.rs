//! The slaves of a world and their links: what is due happens, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::LONG_BYTES_MIN;
use ringmw_codec::handshake::Hello;
use ringmw_codec::secret::RECORD_PLAIN_BYTES_MAX;
use ringmw_sched::Nanos;

use super::doors::{Act, Doors};
use super::net::{Cut, Link, Quality};
use super::refusals::{Dial, Refusals};
use super::slave::{Life, Pace, SimSlave, Step};
use super::watch::Watch;
use crate::io::engine::ConnId;
use crate::proto::SECOND;
use crate::typed::registry::Registry;

pub(super) use faults::{Fault, Weights};
pub(super) use joins::{Character, Leavers};
pub(super) use lies::put;
use secured::Secured;

mod back;
mod engine;
mod faults;
mod joins;
mod lies;
mod secured;

/// From so many missing bytes on a frame is received into its own memory; by seed, or by slave.
pub(super) const LONG_FROM: [usize; 3] = [64, 1_500, LONG_BYTES_MIN];

/// Of so many bytes a record is at most, likewise: one that has a long frame's end has the next frame's beginning too.
pub(super) const RECORD_BYTES: [usize; 3] = [300, 1_300, RECORD_PLAIN_BYTES_MAX];

/// What comes of a fault later.
enum Later {
    Continue(usize, Nanos),
    Heal(usize),
    /// Who hangs is killed by those who watch over it.
    Kill(usize),
    Join(Character),
    /// Nobody listened.
    Dial(Box<Dial>),
    /// One that reads nothing answers what it holds.
    Answer(usize),
}

pub(super) struct Fleet {
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Nanos,
    pub(super) quality: Quality,
    pub(super) pace: Pace,
    pub(super) registry: Arc<Registry>,
    pub(super) hello: Hello,
    /// Whoever joins has these labels in turn; none where there is no set.
    pub(super) labels: Vec<Vec<String>>,
    links: BTreeMap<usize, Link>,
    next_link: usize,
    /// By slot: its generation, and whether it is in use.
    slots: Vec<(u32, bool)>,
    by_conn: BTreeMap<ConnId, usize>,
    slaves: BTreeMap<usize, SimSlave>,
    later: Vec<(Nanos, Later)>,
    accepting: bool,
    /// The one of the world's masters that takes and performs now, and the one to which those who connect come.
    pub(super) at: u32,
    pub(super) listening: Option<u32>,
    /// Slaves look for their run's next life.
    pub(super) comes_back: bool,
    /// Now and then there is no descriptor for who is to be accepted.
    pub(super) shortages: bool,
    /// Now and then nobody listens.
    pub(super) refusals: Option<Refusals>,
    /// Some slaves listen, and are dialled.
    pub(super) doors: Option<Doors>,
    /// Slaves go of their own will.
    pub(super) leavers: Option<Leavers>,
    /// Draws the tasks that end their slaves, in runs that have such.
    pub(super) deadly: Option<ChaCha8Rng>,
    /// Draws the slaves whose tasks fail, in runs that have such.
    pub(super) broken: Option<ChaCha8Rng>,
    secured: Option<Secured>,
    /// A link may be of no more use.
    forget_links: bool,
    /// No more faults, and no mischief in taking.
    pub(super) calm: bool,
    pub(super) stall_max: Nanos,
    pub(super) transcript: bool,
    pub(super) begun: u64,
    pub(super) faults: u64,
    /// Times that a slave came back to its run.
    pub(super) came_back: u64,
}

impl Fleet {
    pub(super) fn new(
        rng: ChaCha8Rng,
        quality: Quality,
        pace: Pace,
        registry: Arc<Registry>,
        hello: Hello,
    ) -> Self {
        Fleet {
            rng,
            now: 0,
            quality,
            pace,
            registry,
            hello,
            labels: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            slots: Vec::new(),
            by_conn: BTreeMap::new(),
            slaves: BTreeMap::new(),
            later: Vec::new(),
            accepting: true,
            at: 0,
            listening: Some(0),
            comes_back: false,
            shortages: false,
            refusals: None,
            doors: None,
            leavers: None,
            broken: None,
            deadly: None,
            secured: None,
            forget_links: false,
            calm: false,
            stall_max: 10 * SECOND,
            transcript: false,
            begun: 0,
            faults: 0,
            came_back: 0,
        }
    }

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if self.transcript {
            println!("{:12.6} {}", self.now as f64 / 1e9, text());
        }
    }

    /// When something happens to a slave or a link.
    pub(super) fn due(&self) -> Nanos {
        let slaves = self.slaves.values().filter_map(|slave| {
            let tries = slave.tries().map(|link| &self.links[&link]);
            let due = slave.due(&self.links[&slave.link])?;
            Some(due.min(slave.look_due(tries)))
        });
        let later = self.later.iter().map(|later| later.0);
        let doors = self.doors.iter().map(Doors::due);
        slaves.chain(later).chain(doors).min().unwrap_or(Nanos::MAX)
    }

    pub(super) fn describe_due(&self) -> String {
        let (key, slave) = self
            .slaves
            .iter()
            .min_by_key(|(_, slave)| slave.due(&self.links[&slave.link]).unwrap_or(Nanos::MAX))
            .expect("somebody is due");
        format!(
            "slave {key} is due: {}",
            slave.describe_due(&self.links[&slave.link])
        )
    }

    /// When the master has something to take.
    pub(super) fn master_due(&self) -> Nanos {
        let links = self.links.values().filter(|link| link.master == self.at);
        let links = links.filter_map(|link| link.master_due(self.accepting));
        links.min().unwrap_or(Nanos::MAX)
    }

    /// All that is due at `now` happens.
    pub(super) fn step(&mut self, now: Nanos, law: &mut dyn Watch) {
        self.now = now;
        if let Some(secured) = &mut self.secured {
            for first in secured.untold.drain(..) {
                law.on_first(first);
            }
        }
        while let Some(at) = self.later.iter().position(|later| later.0 <= now) {
            match self.later.swap_remove(at).1 {
                Later::Continue(slave, since) => self.go_on(slave, since),
                Later::Heal(link) => self.heal(link),
                Later::Kill(slave) => self.kill(slave, law),
                Later::Join(_) if self.listening.is_none() => self.join_later(2 * SECOND),
                Later::Join(character) => self.come(character),
                Later::Dial(dial) => self.dial(dial),
                Later::Answer(slave) => self.answer_unread(slave, law),
            }
        }
        let links = &self.links;
        let due = |slave: &SimSlave| match slave.life {
            Life::Dead => true,
            _ => {
                let tries = slave.tries().map(|link| &links[&link]);
                let is_due = slave.due(&links[&slave.link]).is_some_and(|due| due <= now);
                is_due || slave.look_due(tries) <= now
            }
        };
        let busy: Vec<usize> = self
            .slaves
            .iter()
            .filter(|(_, slave)| due(slave))
            .map(|(key, _)| *key)
            .collect();
        for key in busy {
            // A slave whose steps are all due at once takes several.
            for _ in 0..64 {
                let slave = self.slaves.get_mut(&key).expect("removed only below");
                let link = self
                    .links
                    .get_mut(&slave.link)
                    .expect("a slave has its link");
                if slave.due(link).is_none_or(|due| due > now) {
                    break;
                }
                let step = slave.step(link, now, &self.quality, &mut self.rng);
                law.on_said(link.id, &slave.take_sealed());
                law.on_logged(key, std::mem::take(&mut slave.logged), now);
                for (payload, alone) in slave.logs_said.drain(..) {
                    law.on_log_said(key, &payload, alone, now);
                }
                for task in slave.finished.drain(..) {
                    law.on_finished(link.id, task);
                }
                if let Some(task) = slave.not_begun.take() {
                    law.on_not_begun(task);
                }
                law.on_slave_heard(link.id, slave.recalls_open());
                law.on_offers_waiting(link.id, slave.offers_waiting());
                let wanted = std::mem::take(&mut slave.wanted);
                // What it has begun to ask for and not said it will say after it has come.
                let unsaid = slave.wants_unsaid();
                let here = slave.core.shared_here();
                let mut is_said = here.filter(|name| !unsaid.contains(name));
                law.on_wanted(link.id, &wanted, &mut is_said);
                drop(is_said);
                // One that reads nothing says no more what its core would say.
                if let Some(is_idle) = slave.begins_to_go()
                    && !slave.deaf
                {
                    law.on_going(link.id, is_idle, slave.unsent());
                    // That is when a link that is blocked is most awkward.
                    if let Some(Leavers { rng, .. }) = &mut self.leavers
                        && rng.random_range(0..2) == 0
                    {
                        link.up.stall(now);
                        let at = now + rng.random_range(0..self.stall_max);
                        self.later.push((at, Later::Heal(slave.link)));
                    }
                }
                match step {
                    Step::On => {}
                    Step::Begins(task) => {
                        let announced = slave.has_announced(task);
                        law.on_begins(link.id, task, slave.unsent());
                        law.on_given(task, &std::mem::take(&mut slave.given));
                        let (link, id) = (slave.link, link.id);
                        assert!(
                            announced || !law.is_marked(id, task),
                            "slave {key} begins TASK-{task}, which is marked, unannounced"
                        );
                        self.begun += 1;
                        self.say(|| format!("slave {key} on link {link} begins TASK-{task}"));
                    }
                    Step::Exits(end) => {
                        law.on_exit(link.id, link.up.unacknowledged_for(now));
                        law.on_goodbye_owed(link.id, slave.owes_goodbye(link));
                        self.say(|| format!("slave {key} exits: {end:?}"));
                        self.close(key);
                        break;
                    }
                }
            }
            self.look(key);
            if self.slaves[&key].life == Life::Dead {
                self.slaves.remove(&key);
                self.forget_links = true;
            }
        }
        for slave in self.slaves.values() {
            if let Some(since) = slave.unlooked_since() {
                law.on_unlooked(self.links[&slave.link].id, now - since);
            }
        }
        self.attend_doors(law);
        if std::mem::take(&mut self.forget_links) {
            let slaves = &self.slaves;
            self.links.retain(|key, link| {
                let uses = |slave: &SimSlave| slave.link == *key || slave.tries() == Some(*key);
                slaves.values().any(uses) || !link.closed
            });
        }
    }

    /// Slaves that listen are dialled, and told apart.
    fn attend_doors(&mut self, law: &mut dyn Watch) {
        let Some(mut doors) = self.doors.take() else {
            return;
        };
        let (slaves, links) = (&self.slaves, &self.links);
        let acts = doors.step(
            self.now,
            &|slave| {
                slaves
                    .get(&slave)
                    .is_none_or(|slave| slave.life == Life::Dead)
            },
            &|slave| slaves[&slave].core.welcome().is_some(),
            &|link| links.get(&link).is_none_or(|link| link.closed),
        );
        for act in acts {
            match act {
                Act::Join(place) => {
                    self.say(|| format!("the slave at place {place} takes the master's dial"));
                    let (slave, link) = self.join(Character::Honest);
                    doors.on_joined(place, slave, link);
                }
                Act::Kill(slave) => {
                    self.say(|| format!("slave {slave} is another master's, or gives way"));
                    self.kill(slave, law);
                }
            }
        }
        self.doors = Some(doors);
    }

    /// Dials that were refused, and processes that gave up.
    pub(super) fn refused(&self) -> (u64, u64) {
        let refusals = self.refusals.as_ref();
        refusals.map_or((0, 0), |refusals| (refusals.refused, refusals.given_up))
    }

    /// Processes that live, those on their way included.
    pub(super) fn processes(&self) -> usize {
        let joining = self
            .later
            .iter()
            .filter(|later| matches!(later.1, Later::Join(_) | Later::Dial(_)));
        self.slaves.len() + joining.count()
    }

    /// A process ends by itself: its socket is closed behind what it has written.
    fn close(&mut self, key: usize) {
        let slave = self.slaves.get_mut(&key).expect("it exits");
        slave.life = Life::Dead;
        let link = self
            .links
            .get_mut(&slave.latest_link())
            .expect("a slave has its link");
        // With unread bytes a close is a reset, which can overtake what was sent.
        match link.down.in_flight() > 0 && self.rng.random_range(0..3) == 0 {
            true => _ = link.up.cut(self.now, Cut::Reset, &mut self.rng),
            false => link.up.finish(self.now, Cut::Fin),
        }
    }

    pub(super) fn computing(&self) -> usize {
        self.slaves
            .values()
            .filter(|slave| slave.computes())
            .count()
    }
}
