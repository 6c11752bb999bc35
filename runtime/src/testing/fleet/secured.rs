//! The secret of a run: who knows it, and what somebody on the way changes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::secret::{FIRST_BYTES, Key, Secret};

use super::joins::Character;
use super::{Fleet, Later};
use crate::proto::SECOND;
use crate::testing::slave::{Life, SimSlave};
use crate::testing::watch::Watch;

/// What a fleet is given where the run has a secret.
pub(in crate::testing) struct Secured {
    pub(super) secret: Secret,
    /// Draws keys, and what strangers and those on the way do; apart from all other draws.
    pub(super) rng: ChaCha8Rng,
    /// What those say first who know the secret: the last, and those that the observer has not been told.
    pub(super) last: Option<[u8; FIRST_BYTES]>,
    pub(super) untold: Vec<[u8; FIRST_BYTES]>,
}

/// Of so many faults one befalls what is on its way.
const TAMPERS_APART: u32 = 12;

impl Secured {
    /// Some of those who come are none of the run.
    pub(super) fn stranger(&mut self, character: Character) -> Character {
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
    pub(super) fn arm(&mut self, slave: &mut SimSlave, character: Character) {
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

impl Fleet {
    /// Draws the secret of the run, which all honest slaves know from now on.
    pub(in crate::testing) fn draw_secret(&mut self, seed: u64) -> Secret {
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

    /// Now and then somebody on the way changes what a slave says, or what it is told.
    pub(super) fn tamper(&mut self, law: &mut dyn Watch) -> bool {
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
                link.up.tamper(&link.down, rng);
                law.on_tampered(link.id);
            }
            false => {
                link.down.tamper(&link.up, rng);
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
}
