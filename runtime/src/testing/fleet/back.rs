//! A master is gone, and its slaves look for their run's next life.

use rand::RngExt;
use ringmw_codec::secret::Key;

use super::Fleet;
use super::joins::Character;
use crate::testing::net::Cut;
use crate::testing::slave::{Life, Tried};

impl Fleet {
    /// A slave that has no master looks for one, and tries those that it finds.
    pub(super) fn look(&mut self, key: usize) {
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
    pub(in crate::testing) fn lose_master(&mut self, master: u32, has_power: bool) {
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

    /// A slave comes that says it was one of another run, and would bring these frames.
    pub(in crate::testing) fn join_of(&mut self, run: u128, brings: Vec<u8>) {
        let (key, id, connect_at) = self.connect();
        let mut hello = self.hello.clone();
        hello.about.comes_back_to = run;
        let mut slave = self.born(hello, connect_at, key);
        if let Some(secured) = &mut self.secured {
            secured.arm(&mut slave, Character::Honest);
        }
        slave.brings(brings);
        self.slaves.insert(key, slave);
        self.say(|| format!("slave {key} of another run connects as {id}"));
    }
}
