//! Processes come: those that are of the run, and others.

use std::sync::Arc;

use rand::{Rng as _, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Hello;
use ringmw_sched::Nanos;

use super::lies::put;
use super::{Fleet, Later};
use crate::io::engine::ConnId;
use crate::proto::SECOND;
use crate::proto::config::Bounds;
use crate::testing::net::Link;
use crate::testing::refusals::Dial;
use crate::testing::slave::{Birth, SimSlave};

/// What kind of process connects.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) enum Character {
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

/// What makes slaves go of their own will.
pub(in crate::testing) struct Leavers {
    /// Draws when they do, apart from all other draws.
    pub(super) rng: ChaCha8Rng,
    /// They stay up to twenty times so long, and three times so long without a task.
    pub(super) pace: Nanos,
}

impl Leavers {
    pub(in crate::testing) fn new(seed: u64, pace: Nanos) -> Self {
        Leavers {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x1eaf),
            pace,
        }
    }
}

impl Fleet {
    /// A process dials: where nobody listens again and again, until it gives up.
    pub(in crate::testing) fn come(&mut self, character: Character) {
        match self.refusals.as_mut().filter(|_| !self.calm) {
            None => _ = self.join(character),
            Some(refusals) => {
                let dial = refusals.begin(character, self.now);
                self.dial(Box::new(dial));
            }
        }
    }

    pub(super) fn dial(&mut self, mut dial: Box<Dial>) {
        let refusals = self.refusals.as_mut().expect("they refuse it");
        match refusals.dial(&mut dial, self.now) {
            Ok(()) => _ = self.join(dial.character),
            Err(Some(at)) => {
                self.say(|| format!("nobody listens: dialled again at {at}"));
                self.later.push((at, Later::Dial(dial)));
            }
            Err(None) => self.say(|| "nobody listens: a process gives up".to_owned()),
        }
    }

    /// A link to the master that listens.
    pub(super) fn connect(&mut self) -> (usize, ConnId, Nanos) {
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

    /// A process that speaks on this link from then on.
    pub(super) fn born(&self, hello: Hello, now: Nanos, link: usize) -> SimSlave {
        SimSlave::new(Birth {
            hello,
            registry: Arc::clone(&self.registry),
            pace: self.pace,
            now,
            link,
        })
    }

    /// A process connects: its key, and that of its link.
    pub(in crate::testing) fn join(&mut self, character: Character) -> (usize, usize) {
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
        let mut slave = self.born(hello, connect_at, key);
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
        (key, key)
    }

    pub(in crate::testing) fn join_later(&mut self, within: Nanos) {
        let at = self.now + self.rng.random_range(0..within);
        self.later.push((at, Later::Join(Character::Honest)));
    }
}
