//! The slaves of a world, their links and what befalls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng as _, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::batch::{ResultBatchBuilder, ResultStatus};
use ringmw_codec::control::{Offer, Returned, Starting, Withdrawn};
use ringmw_codec::frame::{self, Block, Kind, LONG_BYTES_MIN};
use ringmw_codec::handshake::Hello;
use ringmw_codec::secret::{FIRST_BYTES, Key, Secret};
use ringmw_sched::Nanos;

use super::net::{Cut, Link, Quality};
use super::refusals::{Dial, Refusals};
use super::slave::{Birth, Life, Pace, SimSlave, Step, Tried};
use super::watch::Watch;
use crate::io::engine::{Closed, ConnId, Handler, Want};
use crate::proto::SECOND;
use crate::proto::config::Bounds;
use crate::proto::conn::Effect;
use crate::typed::registry::Registry;

/// What kind of process connects.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Character {
    Honest,
    /// Of another run.
    WrongToken,
    /// Of another version of the application.
    WrongVersion,
    /// No slave at all.
    Garbage,
    /// Connects and says nothing, or half a hello.
    Silent,
    Half,
    /// Knows another secret, or none.
    WrongSecret,
    NoSecret,
    /// Says what another has said first.
    Replayer,
}

/// What a fleet is given where the run has a secret.
pub(super) struct Secured {
    secret: Secret,
    /// Draws keys, and what strangers and those on the way do; apart from all other draws.
    rng: ChaCha8Rng,
    /// What those say first who know the secret: the last, and those that the observer has not been told.
    last: Option<[u8; FIRST_BYTES]>,
    untold: Vec<[u8; FIRST_BYTES]>,
}

/// Of so many faults one befalls what is on its way.
const TAMPERS_APART: u32 = 12;

/// What befalls a slave, a link or the fleet.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Join,
    Kill,
    CutLink,
    Hang,
    Stop,
    PowerLoss,
    Stall,
    Evict,
    Lie,
    /// It reads nothing any more, and answers whatever it is given all the same.
    Deafen,
}

impl Fault {
    pub(super) const ALL: [Fault; 10] = [
        Fault::Join,
        Fault::Kill,
        Fault::CutLink,
        Fault::Hang,
        Fault::Stop,
        Fault::PowerLoss,
        Fault::Stall,
        Fault::Evict,
        Fault::Lie,
        Fault::Deafen,
    ];
}

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

/// From so many missing bytes on a frame is received into its own memory; by seed, or by slave.
pub(super) const LONG_FROM: [usize; 3] = [64, 1_500, LONG_BYTES_MIN];

/// One that reads nothing answers within this time,
const ANSWERS_APART: Nanos = SECOND / 200;
/// and so many tasks at once: their results fit into the smallest packet.
const ANSWERED_AT_ONCE: usize = 8;

/// In calm no task computes for longer, but for those that take long.
const CALM_COMPUTE_MAX: Nanos = SECOND / 100;

/// How often a kind of fault is drawn, in the order of [`Fault::ALL`].
pub(super) type Weights = [u32; 10];

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

/// What makes slaves go of their own will.
pub(super) struct Leavers {
    /// Draws when they do, apart from all other draws.
    rng: ChaCha8Rng,
    /// They stay up to twenty times so long, and three times so long without a task.
    pace: Nanos,
}

impl Leavers {
    pub(super) fn new(seed: u64, pace: Nanos) -> Self {
        Leavers {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x1eaf),
            pace,
        }
    }
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

    /// Draws the secret of the run, which all honest slaves know from now on.
    pub(super) fn draw_secret(&mut self, seed: u64) -> Secret {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0073_6563_7265_7400);
        let secret = Secret::new(rng.random());
        self.secured = Some(Secured {
            secret: secret.clone(),
            rng,
            last: None,
            untold: Vec::new(),
        });
        secret
    }

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if self.transcript {
            println!("{:12.6} {}", self.now as f64 / 1e9, text());
        }
    }

    // ---- time

    /// When something happens to a slave or a link.
    pub(super) fn due(&self) -> Nanos {
        let slaves = self.slaves.values().filter_map(|slave| {
            let tries = slave.tries().map(|link| &self.links[&link]);
            let due = slave.due(&self.links[&slave.link])?;
            Some(due.min(slave.look_due(tries)))
        });
        let later = self.later.iter().map(|later| later.0);
        slaves.chain(later).min().unwrap_or(Nanos::MAX)
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
                for task in slave.finished.drain(..) {
                    law.on_finished(link.id, task);
                }
                if let Some(task) = slave.not_begun.take() {
                    law.on_not_begun(task);
                }
                law.on_slave_heard(link.id, slave.recalls_open());
                law.on_offers_waiting(link.id, slave.offers_waiting());
                let wanted = std::mem::take(&mut slave.wanted);
                law.on_wanted(link.id, &wanted, &mut slave.core.shared_here());
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
        if std::mem::take(&mut self.forget_links) {
            let slaves = &self.slaves;
            self.links.retain(|key, link| {
                let uses = |slave: &SimSlave| slave.link == *key || slave.tries() == Some(*key);
                slaves.values().any(uses) || !link.closed
            });
        }
    }

    // ---- processes

    /// A process dials: where nobody listens again and again, until it gives up.
    pub(super) fn come(&mut self, character: Character) {
        match self.refusals.as_mut().filter(|_| !self.calm) {
            None => self.join(character),
            Some(refusals) => {
                let dial = refusals.begin(character, self.now);
                self.dial(Box::new(dial));
            }
        }
    }

    fn dial(&mut self, mut dial: Box<Dial>) {
        let refusals = self.refusals.as_mut().expect("they refuse it");
        match refusals.dial(&mut dial, self.now) {
            Ok(()) => self.join(dial.character),
            Err(Some(at)) => {
                self.say(|| format!("nobody listens: dialled again at {at}"));
                self.later.push((at, Later::Dial(dial)));
            }
            Err(None) => self.say(|| "nobody listens: a process gives up".to_owned()),
        }
    }

    /// A link to the master that listens.
    fn connect(&mut self) -> (usize, ConnId, Nanos) {
        let slot = match self.slots.iter().position(|slot| !slot.1) {
            Some(slot) => slot,
            None => {
                self.slots.push((0, false));
                self.slots.len() - 1
            }
        };
        let (generation, used) = &mut self.slots[slot];
        (*generation, *used) = (*generation + 1, true);
        let id = ConnId::new(u32::try_from(slot).expect("few"), *generation);
        let key = self.next_link;
        self.next_link += 1;
        let connect_at = self.now + self.rng.random_range(0..SECOND / 20);
        let mut link = Link::new(id, connect_at);
        link.master = self.listening.expect("somebody listens");
        self.links.insert(key, link);
        self.by_conn.insert(id, key);
        (key, id, connect_at)
    }

    /// A slave that has no master looks for one, and tries those that it finds.
    fn look(&mut self, key: usize) {
        let now = self.now;
        let Some(slave) = self.slaves.get_mut(&key) else {
            return;
        };
        if slave.life != Life::Up || !slave.is_apart() {
            return;
        }
        let tries = slave.tries();
        if slave.look_due(tries.map(|link| &self.links[&link])) > now {
            return;
        }
        let Some(link) = tries else {
            if self.listening.is_none() {
                return slave.look_later(now, &mut self.rng);
            }
            let (link, id, connect_at) = self.connect();
            let drawn = self
                .secured
                .as_mut()
                .map_or([0; 32], |secured| secured.rng.random());
            let slave = self.slaves.get_mut(&key).expect("looked at above");
            slave.dial(link, Key::new(drawn), connect_at);
            return self.say(|| format!("slave {key} looks for its run as {id}"));
        };
        let pipes = self.links.get_mut(&link).expect("it has dialled");
        let former = match slave.try_on(pipes, now, &self.quality, &mut self.rng) {
            Tried::On => return,
            Tried::Failed => {
                if slave.is_apart() {
                    slave.look_later(now, &mut self.rng);
                }
                link
            }
            Tried::Back(former) => {
                self.came_back += 1;
                self.say(|| format!("slave {key} is back on link {link}"));
                former
            }
        };
        if let Some(link) = self.links.get_mut(&former) {
            link.up.finish(now, Cut::Fin);
        }
        self.forget_links = true;
    }

    /// A master is gone: killed, or with its host and without a word.
    pub(super) fn lose_master(&mut self, master: u32, has_power: bool) {
        for link in self.links.values_mut() {
            if link.master == master && !link.closed {
                link.lose_master(has_power, self.now, &mut self.rng);
                self.by_conn.remove(&link.id);
                self.slots[link.id.slot()].1 = false;
            }
        }
        self.forget_links = true;
        if self.listening == Some(master) {
            self.listening = None;
        }
    }

    pub(super) fn join(&mut self, character: Character) {
        let (key, id, connect_at) = self.connect();
        let mut hello = self.hello.clone();
        if let Some(turn) = key.checked_rem(self.labels.len()) {
            hello.about.labels.clone_from(&self.labels[turn]);
        }
        match character {
            Character::WrongToken => hello.member_id = b"another run".to_vec(),
            Character::WrongVersion => hello.fingerprint.app_version.push_str(" of another day"),
            _ => {}
        }
        let mut slave = SimSlave::new(Birth {
            hello,
            registry: Arc::clone(&self.registry),
            pace: self.pace,
            now: connect_at,
            link: key,
        });
        if self.comes_back && character == Character::Honest {
            let secret = self.secured.as_ref().map(|secured| secured.secret.clone());
            slave.comes_back(self.hello.clone(), secret);
        }
        if let Some(secured) = &mut self.secured {
            secured.arm(&mut slave, character);
        }
        match character {
            Character::Garbage => {
                let mut bytes = vec![0; 50];
                self.rng.fill_bytes(&mut bytes);
                slave.say_first(bytes);
            }
            Character::Silent => slave.say_first(Vec::new()),
            Character::Replayer => {}
            Character::Half if self.secured.is_some() => {}
            Character::Half => {
                let mut bytes = Vec::new();
                put(&mut bytes, Kind::Hello, |out| self.hello.encode(out));
                bytes.truncate(self.rng.random_range(1..bytes.len()));
                slave.say_first(bytes);
            }
            _ => {}
        }
        if let Some(rng) = &mut self.deadly
            && character == Character::Honest
        {
            slave.deadly = Some(ChaCha8Rng::seed_from_u64(rng.random()));
        }
        if let Some(rng) = &mut self.broken
            && character == Character::Honest
            && rng.random_range(0..3) == 0
        {
            slave.broken_until = self.now + rng.random_range(SECOND..8 * SECOND);
        }
        if let Some(Leavers { rng, pace }) = &mut self.leavers
            && character == Character::Honest
            && !self.calm
        {
            let mut bounds = Bounds::default();
            match rng.random_range(0..4) {
                0 => bounds.time_limit = Some(rng.random_range(*pace / 10..20 * *pace)),
                1 => bounds.idle_timeout = Some(rng.random_range(*pace / 20..3 * *pace)),
                2 => slave.returns_after = Some(rng.random_range(1..40)),
                _ => {}
            }
            slave.core.set_bounds(bounds);
        }
        self.slaves.insert(key, slave);
        self.say(|| format!("slave {key} connects as {id}: {character:?}"));
    }

    /// A slave comes that says it was one of another run, and would bring these frames.
    pub(super) fn join_of(&mut self, run: u128, brings: Vec<u8>) {
        let (key, id, connect_at) = self.connect();
        let mut hello = self.hello.clone();
        hello.about.comes_back_to = run;
        let mut slave = SimSlave::new(Birth {
            hello,
            registry: Arc::clone(&self.registry),
            pace: self.pace,
            now: connect_at,
            link: key,
        });
        if let Some(secured) = &mut self.secured {
            secured.arm(&mut slave, Character::Honest);
        }
        slave.brings(brings);
        self.slaves.insert(key, slave);
        self.say(|| format!("slave {key} of another run connects as {id}"));
    }

    /// A slave that serves says these frames, which none would.
    pub(super) fn lie_with(&mut self, frames: &[u8], law: &mut dyn Watch) {
        let serves = |slave: &SimSlave| {
            slave.life == Life::Up && slave.core.welcome().is_some() && !slave.is_apart()
        };
        let found = self.slaves.iter_mut().find(|(_, slave)| serves(slave));
        if let Some((key, slave)) = found {
            slave.lie(frames, self.now);
            law.on_liar(self.links[&slave.link].id);
            let key = *key;
            self.say(|| format!("slave {key} lies of what it has kept"));
        }
    }

    pub(super) fn join_later(&mut self, within: Nanos) {
        let at = self.now + self.rng.random_range(0..within);
        self.later.push((at, Later::Join(Character::Honest)));
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

    fn go_on(&mut self, key: usize, since: Nanos) {
        if let Some(slave) = self.slaves.get_mut(&key)
            && slave.life == Life::Stopped
        {
            slave.go_on(self.now, self.now - since);
            self.say(|| format!("slave {key} goes on"));
        }
    }

    fn heal(&mut self, key: usize) {
        if let Some(link) = self.links.get_mut(&key)
            && !link.is_lost
        {
            link.up.heal(self.now);
            link.down.heal(self.now);
            self.say(|| format!("link {key} heals"));
        }
    }

    /// Draws a fault and lets it happen to somebody.
    pub(super) fn fault(&mut self, weights: &Weights, law: &mut dyn Watch) {
        let mut draw = self.rng.random_range(0..weights.iter().sum::<u32>());
        let at = weights
            .iter()
            .position(|weight| match draw.checked_sub(*weight) {
                Some(rest) => {
                    draw = rest;
                    false
                }
                None => true,
            })
            .expect("the draw is below their sum");
        let fault = Fault::ALL[at];
        if self.tamper(law) {
            return;
        }
        if fault == Fault::Join {
            let odd = [
                Character::WrongToken,
                Character::WrongVersion,
                Character::Garbage,
                Character::Silent,
                Character::Half,
            ];
            let character = match self.rng.random_range(0..10) {
                at @ 0..5 => odd[at],
                _ => Character::Honest,
            };
            let character = match &mut self.secured {
                Some(secured) => secured.stranger(character),
                None => character,
            };
            return self.come(character);
        }
        let up: Vec<usize> = self
            .slaves
            .iter()
            .filter(|(_, slave)| slave.life == Life::Up)
            .map(|(key, _)| *key)
            .collect();
        if !up.is_empty() {
            // Few stand announced at a time, and that is when a lie is most awkward.
            let announced = up
                .iter()
                .find(|key| law.is_announced(self.links[&self.slaves[key].link].id));
            let key = match announced {
                Some(key) if fault == Fault::Lie => *key,
                _ => up[self.rng.random_range(0..up.len())],
            };
            self.befall(key, fault, law);
        }
    }

    /// Now and then somebody on the way changes what a slave says, or what it is told.
    fn tamper(&mut self, law: &mut dyn Watch) -> bool {
        let Some(secured) = &mut self.secured else {
            return false;
        };
        let rng = &mut secured.rng;
        if rng.random_range(0..TAMPERS_APART) != 0 {
            return false;
        }
        let busy: Vec<usize> = self
            .slaves
            .iter()
            .filter(|(_, slave)| slave.life != Life::Dead)
            .filter(|(_, slave)| {
                let link = &self.links[&slave.link];
                !link.closed && link.up.in_flight() + link.down.in_flight() > 0
            })
            .map(|(key, _)| *key)
            .collect();
        if busy.is_empty() {
            return false;
        }
        let key = busy[rng.random_range(0..busy.len())];
        let slave = self.slaves.get_mut(&key).expect("just listed");
        let link = self
            .links
            .get_mut(&slave.link)
            .expect("a slave has its link");
        let up =
            link.up.in_flight() > 0 && (rng.random_range(0..2) == 0 || link.down.in_flight() == 0);
        law.on_excused(link.id);
        slave.trusts = false;
        match up {
            true => {
                link.up.tamper(rng);
                law.on_tampered(link.id);
            }
            false => {
                link.down.tamper(rng);
                // A length that was changed makes it wait for ever, and beat: that is a hang.
                let at = self.now + rng.random_range(SECOND..4 * self.stall_max);
                self.later.push((at, Later::Kill(key)));
            }
        }
        self.faults += 1;
        self.say(|| {
            format!(
                "slave {key}: what is on its way {} is changed",
                if up { "up" } else { "down" }
            )
        });
        true
    }

    pub(super) fn befall_any(&mut self, fault: Fault, law: &mut dyn Watch) {
        let up = self
            .slaves
            .iter()
            .find(|(_, slave)| slave.life == Life::Up && !slave.computes());
        if let Some(key) = up.or(self.slaves.iter().next()).map(|(key, _)| *key) {
            self.befall(key, fault, law);
        }
    }

    fn befall(&mut self, key: usize, fault: Fault, law: &mut dyn Watch) {
        self.faults += 1;
        self.say(|| format!("slave {key}: {fault:?}"));
        let (now, stall) = (self.now, self.rng.random_range(SECOND / 10..self.stall_max));
        let slave = self.slaves.get_mut(&key).expect("it was drawn");
        let link_key = slave.latest_link();
        let link = self.links.get_mut(&link_key).expect("a slave has its link");
        let how = if self.rng.random_range(0..2) == 0 {
            Cut::Fin
        } else {
            Cut::Reset
        };
        match fault {
            Fault::Join => unreachable!("it befalls nobody"),
            Fault::Kill => self.kill(key, law),
            Fault::CutLink => {
                law.on_excused(link.id);
                link.up.cut(now, how, &mut self.rng);
                link.down.cut(now, Cut::Reset, &mut self.rng);
            }
            Fault::Hang => {
                slave.hangs = true;
                self.later.push((now + 4 * stall, Later::Kill(key)));
            }
            Fault::Stop => {
                slave.life = Life::Stopped;
                self.later.push((now + stall, Later::Continue(key, now)));
            }
            Fault::PowerLoss => {
                law.on_excused(link.id);
                slave.life = Life::Dead;
                link.up.stall(now);
                link.down.stall(now);
            }
            Fault::Stall => {
                let ways = self.rng.random_range(1..4);
                if ways & 1 != 0 {
                    link.up.stall(now);
                }
                if ways & 2 != 0 {
                    link.down.stall(now);
                }
                self.later.push((now + stall, Later::Heal(link_key)));
            }
            Fault::Evict => {
                law.on_excused(link.id);
                slave.evict(now);
            }
            Fault::Lie => {
                let hands = law.hands(link.id);
                if let Some(hands) = hands {
                    let bytes = lie(&mut self.rng, &hands, law.is_announced(link.id));
                    slave.lie(&bytes, now);
                    law.on_liar(link.id);
                }
            }
            Fault::Deafen => {
                if !slave.deaf && law.hands(link.id).is_some() {
                    slave.deafen();
                    law.on_excused(link.id);
                    self.later.push((now + ANSWERS_APART, Later::Answer(key)));
                }
            }
        }
    }

    /// It knows what it holds without having read it: the numbers of tasks can be guessed.
    fn answer_unread(&mut self, key: usize, law: &mut dyn Watch) {
        let Some(slave) = self.slaves.get_mut(&key) else {
            return;
        };
        let link = &self.links[&slave.link];
        if link.closed {
            return self.kill(key, law);
        }
        if slave.life == Life::Up && slave.is_heard(link) {
            let mut hands = law.hands(link.id).unwrap_or_default();
            hands.truncate(ANSWERED_AT_ONCE);
            if !hands.is_empty() {
                let mut out = Vec::new();
                put_results(&mut out, &hands, ResultStatus::Failed, b"unread");
                slave.lie(&out, self.now);
            }
        }
        let at = self.now + self.rng.random_range(1..ANSWERS_APART);
        self.later.push((at, Later::Answer(key)));
    }

    fn kill(&mut self, key: usize, law: &mut dyn Watch) {
        let Some(slave) = self.slaves.get_mut(&key) else {
            return;
        };
        slave.life = Life::Dead;
        let how = [Cut::Fin, Cut::Reset][self.rng.random_range(0..2)];
        let link = self
            .links
            .get_mut(&slave.latest_link())
            .expect("a slave has its link");
        law.on_excused(link.id);
        link.up.cut(self.now, how, &mut self.rng);
        link.down.cut(self.now, Cut::Reset, &mut self.rng);
    }

    /// The faults are over: who hangs is killed, who is stopped goes on, what is stalled heals, and
    /// healthy ones come.
    pub(super) fn calm_down(&mut self, law: &mut dyn Watch) {
        self.calm = true;
        self.say(|| "the faults are over".to_owned());
        self.pace.compute_max = CALM_COMPUTE_MAX;
        for slave in self.slaves.values_mut() {
            slave.pace = self.pace;
            slave.broken_until = 0;
            slave.deadly = None;
        }
        (self.broken, self.deadly) = (None, None);
        for (_, later) in std::mem::take(&mut self.later) {
            match later {
                Later::Continue(slave, since) => self.go_on(slave, since),
                Later::Heal(link) => self.heal(link),
                Later::Kill(slave) | Later::Answer(slave) => self.kill(slave, law),
                Later::Join(_) | Later::Dial(_) => {}
            }
        }
    }

    // ---- the master's engine

    /// Tells the master what has arrived, or a share of it; whether that was all.
    pub(super) fn take(&mut self, want: Want, handler: &mut dyn Handler) -> bool {
        let now = self.now;
        let mut keys: Vec<usize> = self.links.keys().copied().collect();
        let turn = self.rng.random_range(0..keys.len().max(1));
        keys.rotate_left(turn);
        let whole = self.calm || self.rng.random_range(0..20) != 0;
        let share = want == Want::Share && !self.calm && self.rng.random_range(0..4) == 0;
        let heard = match share {
            true => self.rng.random_range(0..=keys.len()),
            false => keys.len(),
        };
        let mut caught_up = heard == keys.len();
        for key in keys.into_iter().take(heard) {
            let link = self.links.get_mut(&key).expect("just listed");
            if link.closed || link.connect_at > now || link.master != self.at {
                continue;
            }
            if !link.accepted {
                if !self.accepting {
                    continue;
                }
                if self.shortages && !self.calm && self.rng.random_range(0..8) == 0 {
                    // The engine has paused accepting; who was to be accepted waits.
                    self.accepting = false;
                    handler.on_accept_error(rustix::io::Errno::MFILE.into());
                    continue;
                }
                link.accepted = true;
                handler.on_accept(link.id, link.peer());
            }
            let mut merged = Vec::new();
            let merge = self.rng.random_range(0..2) == 0;
            while let Some(chunk) = link.up.read(now) {
                match merge {
                    true => merged.extend_from_slice(&chunk),
                    false => tell(handler, link.id, &chunk),
                }
                if !whole {
                    break;
                }
            }
            if !merged.is_empty() {
                tell(handler, link.id, &merged);
            }
            if !whole && link.up.due().is_some_and(|due| due <= now) {
                caught_up = false;
                continue;
            }
            link.pump(now, &self.quality, &mut self.rng);
            for (buffer, drained) in link.take_returned() {
                handler.on_sent(link.id, buffer, drained);
            }
            match link.take_end(now) {
                None => {}
                Some(Cut::Fin) => handler.on_closed(link.id, Closed::Eof),
                Some(Cut::Reset) => {
                    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    handler.on_closed(link.id, Closed::Error(error));
                }
            }
        }
        caught_up
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        let (now, quality) = (self.now, self.quality);
        match effect {
            Effect::Send(conn, buffer) => {
                if let Some(link) = self
                    .by_conn
                    .get(&conn)
                    .and_then(|key| self.links.get_mut(key))
                {
                    link.send(buffer, now, &quality, &mut self.rng);
                }
            }
            Effect::SendShared(conn, bytes) => self.perform(Effect::Send(conn, bytes.to_vec())),
            Effect::Close { conn, graceful } => {
                if let Some(key) = self.by_conn.remove(&conn) {
                    if let Some(link) = self.links.get_mut(&key) {
                        link.close(graceful, now, &quality, &mut self.rng);
                    }
                    self.slots[conn.slot()].1 = false;
                    self.forget_links = true;
                }
            }
            Effect::Accepting(on) => self.accepting = on,
        }
    }

    pub(super) fn computing(&self) -> usize {
        self.slaves
            .values()
            .filter(|slave| slave.computes())
            .count()
    }
}

impl Secured {
    /// Some of those who come are none of the run.
    fn stranger(&mut self, character: Character) -> Character {
        if character != Character::Honest {
            return character;
        }
        match self.rng.random_range(0..16) {
            0 => Character::WrongSecret,
            1 => Character::NoSecret,
            2 => Character::Replayer,
            _ => Character::Honest,
        }
    }

    /// Gives a process what it knows of the secret.
    fn arm(&mut self, slave: &mut SimSlave, character: Character) {
        let key = Key::new(self.rng.random());
        let secret = match character {
            Character::NoSecret | Character::Garbage | Character::Silent => return,
            Character::WrongSecret => Secret::new(self.rng.random()),
            _ => self.secret.clone(),
        };
        let first = slave.arm(&secret, key);
        match character {
            Character::Honest | Character::WrongVersion => {
                slave.trusts = true;
                self.last = Some(first);
                self.untold.push(first);
            }
            Character::Half => {
                slave.say_first(first[..self.rng.random_range(1..FIRST_BYTES)].to_vec())
            }
            Character::Replayer => {
                if let Some(last) = self.last {
                    slave.say_first(last.to_vec());
                } else {
                    self.untold.push(first);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn put(out: &mut Vec<u8>, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
    let mark = frame::begin_frame(out, kind);
    encode(out);
    frame::finish_frame(out, mark);
}

/// A packet of results that are all alike.
fn put_results(out: &mut Vec<u8>, results: &[(u64, u16)], status: ResultStatus, body: &[u8]) {
    let mut builder = ResultBatchBuilder::new();
    for &(task, algorithm) in results {
        builder.push(task, algorithm, status, 1_000, body);
    }
    put(out, Kind::Results, |out| builder.encode(out));
}

/// A sentence of no honest slave, given what it holds.
fn lie(rng: &mut ChaCha8Rng, hands: &[(u64, u16)], announced: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let first = hands.first().copied();
    let last = hands.last().copied().filter(|_| hands.len() > 1);
    let result = put_results;
    let failed = ResultStatus::Failed;
    let drawn = match announced && rng.random_range(0..2) == 0 {
        true => [12, 14][rng.random_range(0..2)],
        false => rng.random_range(0..19),
    };
    match (drawn, first, last) {
        (0, ..) => result(&mut out, &[(1 << 40, 0)], failed, b"unknown"),
        // The first answer counts: a failed result is an honest-looking one. The second is the offence.
        (1, Some(first), _) => result(&mut out, &[first, first], failed, b"twice"),
        (2, _, Some(last)) => result(&mut out, &[last], failed, b"out of order"),
        (3, Some((task, algorithm)), _) => result(
            &mut out,
            &[(task, algorithm + 1)],
            failed,
            b"wrong algorithm",
        ),
        (4, Some(first), _) => result(
            &mut out,
            &[first],
            ResultStatus::Done,
            b"\xff\xff\xff\xff\xff",
        ),
        (5, ..) => {
            let tasks = vec![(first.map_or(7, |first| first.0), false)];
            put(&mut out, Kind::Withdrawn, |out| {
                Withdrawn { tasks }.encode(out)
            });
        }
        (17, ..) => {
            let tasks = hands.iter().map(|held| held.0).collect();
            put(&mut out, Kind::Returned, |out| {
                Returned { tasks }.encode(out)
            });
        }
        // A series that goes on beyond its hands, of the first algorithm, which counts: nobody compares its outputs.
        (18, Some((task, 0)), _) => {
            let run: Vec<_> = (task..task + 7).map(|task| (task, 0)).collect();
            result(&mut out, &run, ResultStatus::Done, &[0; 8]);
        }
        // Once more what may have been announced already: no offence.
        (14, Some((task, _)), _) => put(&mut out, Kind::Starting, |out| {
            Starting { task }.encode(out)
        }),
        (6, ..) => put(&mut out, Kind::Starting, |out| {
            Starting {
                task: last.map_or(1 << 41, |last| last.0),
            }
            .encode(out)
        }),
        (7, ..) => put(&mut out, Kind::Offer, |out| {
            Offer {
                best: 9_999,
                key: 1,
                witness: b"",
            }
            .encode(out)
        }),
        (8, ..) => put(&mut out, Kind::Offer, |out| {
            Offer {
                best: 0,
                key: 0,
                witness: b"\x01",
            }
            .encode(out)
        }),
        (9, ..) => frame::put_frame(&mut out, Kind::Shutdown, &[1]),
        (10, ..) => {
            // A header that announces more than may come.
            frame::put_frame(&mut out, Kind::Results, &[]);
            out[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        }
        (11, ..) => {
            frame::put_frame(&mut out, Kind::Heartbeat, &[]);
            let at = rng.random_range(0..out.len());
            out[at] ^= 1 << rng.random_range(0..8);
        }
        // A frame that is begun and never finished: heartbeats follow inside it.
        (12 | 15 | 16, ..) => {
            frame::put_frame(&mut out, Kind::Results, &[0; 1_000]);
            out.truncate(frame::HEADER_BYTES);
        }
        _ => {
            out.resize(rng.random_range(1..100), 0);
            rng.fill_bytes(&mut out);
        }
    }
    out
}

/// Bytes have come: into memory that the master lends, where it does, as an engine receives them.
fn tell(handler: &mut dyn Handler, conn: ConnId, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(Block { mut bytes, until }) = handler.lend(conn) else {
            return handler.on_bytes(conn, rest);
        };
        let (its, after) = rest.split_at(rest.len().min(until - bytes.len()));
        bytes.extend_from_slice(its);
        rest = after;
        handler.on_block(conn, bytes, its.len());
    }
}
