//! What befalls a slave, its link or the fleet, and what comes of it later.

use rand::RngExt;
use ringmw_codec::batch::ResultStatus;
use ringmw_sched::Nanos;

use super::joins::Character;
use super::lies::{lie, put_results};
use super::{Fleet, Later};
use crate::proto::SECOND;
use crate::testing::net::Cut;
use crate::testing::slave::{Life, SimSlave};
use crate::testing::watch::Watch;

/// What befalls a slave, a link or the fleet.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) enum Fault {
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
    pub(in crate::testing) const ALL: [Fault; 10] = [
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

/// One that reads nothing answers within this time,
const ANSWERS_APART: Nanos = SECOND / 200;

/// and so many tasks at once: their results fit into the smallest packet.
const ANSWERED_AT_ONCE: usize = 8;

/// In calm no task computes for longer, but for those that take long.
const CALM_COMPUTE_MAX: Nanos = SECOND / 100;

/// How often a kind of fault is drawn, in the order of [`Fault::ALL`].
pub(in crate::testing) type Weights = [u32; 10];

impl Fleet {
    /// Draws a fault and lets it happen to somebody.
    pub(in crate::testing) fn fault(&mut self, weights: &Weights, law: &mut dyn Watch) {
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

    pub(in crate::testing) fn befall_any(&mut self, fault: Fault, law: &mut dyn Watch) {
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

    /// A slave that serves says these frames, which none would.
    pub(in crate::testing) fn lie_with(&mut self, frames: &[u8], law: &mut dyn Watch) {
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

    /// It knows what it holds without having read it: the numbers of tasks can be guessed.
    pub(super) fn answer_unread(&mut self, key: usize, law: &mut dyn Watch) {
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

    pub(super) fn kill(&mut self, key: usize, law: &mut dyn Watch) {
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

    pub(super) fn go_on(&mut self, key: usize, since: Nanos) {
        if let Some(slave) = self.slaves.get_mut(&key)
            && slave.life == Life::Stopped
        {
            slave.go_on(self.now, self.now - since);
            self.say(|| format!("slave {key} goes on"));
        }
    }

    pub(super) fn heal(&mut self, key: usize) {
        if let Some(link) = self.links.get_mut(&key)
            && !link.is_lost
        {
            link.up.heal(self.now);
            link.down.heal(self.now);
            self.say(|| format!("link {key} heals"));
        }
    }

    /// The faults are over: who hangs is killed, who is stopped goes on, what is stalled heals, and
    /// healthy ones come.
    pub(in crate::testing) fn calm_down(&mut self, law: &mut dyn Watch) {
        self.calm = true;
        if let Some(doors) = &mut self.doors {
            doors.calm_down();
        }
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
}
