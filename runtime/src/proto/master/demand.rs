//! How many slaves there should be: what is missing, who is sent home, and the end for all.

use ringmw_codec::audit::Event;
use ringmw_codec::control::Shutdown;
use ringmw_codec::frame::Kind;
use ringmw_sched::{AUTO, Group, Nanos};

use super::MasterCore;
use super::conn::Phase;
use crate::proto::config::Wanted;
use crate::proto::need::Need;
use crate::proto::{SECOND, put};

/// A desire that follows the queue falls only when the queue could use less for so long: slaves are dear to start.
const WANTED_FALLS_AFTER: Nanos = 30 * SECOND;

impl MasterCore {
    /// For the resource file.
    pub fn need(&self) -> Need {
        let connected = self.slots.len() as u64;
        let (needed, desired) = if self.sched.has_allocated() {
            let desired = [Group::Ordered, Group::Intermingle, Group::Unordered]
                .into_iter()
                .map(|group| u64::from(self.sched.desired(group)))
                .sum();
            (self.sched.slaves_needed(), desired)
        } else {
            let desired = match self.config.rules.wanted {
                Wanted::Fixed(slaves) => u64::from(slaves),
                Wanted::Auto(_) => self.wanted.0,
            };
            (desired.saturating_sub(connected), desired)
        };
        Need {
            needed,
            desired,
            connected,
            busy: self.sched.busy() as u64,
            queued: self.sched.queued(),
        }
    }

    /// What the queue could use now; the highest of the last while stands.
    pub(super) fn follow_queue(&mut self) {
        let Wanted::Auto(most) = self.config.rules.wanted else {
            return;
        };
        // Where packets find their own size, a slave is of use with a single task.
        let group = match self.config.rules.sched.task_group {
            AUTO => 1,
            group => u64::from(group),
        };
        let queued = self.sched.pending(None).div_ceil(group);
        let useful = (queued + self.sched.busy() as u64).min(u64::from(most));
        let (stands, since, highest) = self.wanted;
        self.wanted = if useful >= stands {
            (useful, self.now, 0)
        } else if self.now.saturating_sub(since) >= WANTED_FALLS_AFTER {
            (highest.max(useful), self.now, 0)
        } else {
            (stands, since, highest.max(useful))
        };
    }

    /// Notes since when slaves are missing.
    pub(super) fn look_for_missing(&mut self) {
        self.missing_since = match self.need().needed {
            0 => None,
            _ => self.missing_since.or(Some(self.now)),
        };
    }

    /// Slaves that nobody desires any more go.
    pub(super) fn dismiss(&mut self) {
        while let Some(slave) = self.sched.dismiss() {
            let slot = self.slot_of(slave);
            self.trail.push(Event::Dismissed { slave: slave.0 });
            self.tell_shutdown(slot, true);
        }
    }

    /// Ends the run: nothing is handed out any more and every slave is told.
    pub fn shutdown(&mut self, finished: bool) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(finished);
        self.sched.stop();
        self.trail.say_bests();
        self.trail.sum_up_cancelled();
        self.trail.sum_up_known();
        self.trail.push(Event::ShutdownBegun {
            slaves: self.slots.len() as u64,
            finished,
        });
        for (_, slot) in self.slots.sorted() {
            self.tell_shutdown(slot as usize, finished);
        }
    }

    pub(super) fn tell_shutdown(&mut self, slot: usize, finished: bool) {
        self.unbar(slot);
        let Some(Some(state)) = self.conns.get_mut(slot) else {
            return;
        };
        let conn = state.id;
        if let Phase::Slave { leaving, .. } = &mut state.phase {
            *leaving = true;
            put(&mut state.out, Kind::Shutdown, |out| {
                Shutdown { finished }.encode(out)
            });
            self.mark_dirty(conn);
        }
    }
}
