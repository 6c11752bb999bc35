//! The slave's side of the protocol: packets become assignments, outputs become packets of results.
//!
//! The compute side asks [`SlaveCore::next_task`] and tells [`SlaveCore::finish`]; the I/O side feeds
//! [`SlaveCore::on_bytes`], writes what [`SlaveCore::take_output`] gives and tells
//! [`SlaveCore::on_written`] how much of it the socket has taken. Results leave in the order of hand-out.
//!
//! # What it has to say, and who has it
//! ```text
//!   | the master has it | in the kernel |  in the I/O side's hands  | output | results that wait |
//!                       ^ on_untaken    ^ written                   ^ handed                     ^ finished
//! ```
//! A slave that goes of its own will stays until the first of these marks has reached the last.

mod checkpoint;
#[cfg(test)]
mod for_tests;
mod from_master;
mod hungry;
mod kept;
mod leave;
mod log;
mod meter;
mod outbox;
mod output;
mod packet;
mod results;
mod secured;
mod shared;
mod talk;
mod timeout;

use std::collections::VecDeque;

use ringmw_codec::audit::Event;
use ringmw_codec::batch::ResultBatchBuilder;
use ringmw_codec::frame::{FrameReader, Kind, LONG_BYTES_MIN};
use ringmw_codec::handshake::Welcome;
use ringmw_codec::secret::RECORD_PLAIN_BYTES_MAX;
use ringmw_sched::{Nanos, SlaveId};

use crate::proto::SECOND;
use crate::proto::config::{Bounds, SlaveConfig};
use crate::proto::incumbents::{BESTS_MAX, Keys, Learned, improve};
use crate::proto::secured::AtSlave;
use checkpoint::Checkpoints;
use hungry::Told;
use kept::Keeper;
use leave::Leaving;
pub use leave::SlaveEnd;
#[cfg(feature = "testing")]
pub(crate) use leave::{FAREWELL, GOODBYE_RESERVE};
use log::Logs;
use meter::Meter;
use outbox::Outbox;
pub use output::Output;
pub(crate) use packet::Assignment;
use packet::{Announcement, Queued, Running};
pub use results::Next;
#[cfg(feature = "testing")]
pub(crate) use shared::Here;
use shared::Shelf;
pub(crate) use talk::Talked;
use talk::{Progressed, Talk};

/// A finished result waits at most this long for others to travel with.
pub(crate) const RESULT_WAIT: Nanos = SECOND / 10;

/// How long a slave waits for the master's answer to its handshake: a master algorithm may hold its
/// thread for minutes, another service on a reused port never answers.
pub(crate) const WELCOME_WAIT: Nanos = 600 * SECOND;

/// Packets of results that may be finished and not taken by the socket before no more tasks begin: the connection has
/// enough to go on with, and a slave whose master reads nothing holds a bounded number of bytes.
pub(crate) const UNSENT_PACKETS: usize = 4;
/// Of small ones there may be more, as long as less than so many bytes wait,
pub(crate) const UNSENT_BYTES: u64 = 4 << 10;
/// up to this many.
pub(crate) const UNSENT_PACKETS_MAX: usize = 32;

/// What a task gave that took less than this may wait to be written for what the next ones give: a write costs as much as
/// some of them.
const BRIEF: Nanos = 5_000;
/// Between two writes there is no more than this where all tasks are brief.
const BRIEF_WAIT: Nanos = 50_000;

/// Beats within one client timeout.
const BEATS: u64 = 4;

/// The longest time between two beats: what stands between master and slave forgets a connection that is silent for
/// minutes.
const BEAT_MAX: Nanos = 30 * SECOND;

/// The slave's protocol core.
pub struct SlaveCore {
    welcome: Option<Welcome>,
    reader: FrameReader,
    /// What all goes through, where the run has a secret.
    secured: Option<Box<AtSlave>>,
    /// Memory that long records are received into.
    records: Vec<u8>,
    /// From so many missing bytes on the rest of a frame is received into its own memory.
    long_from: usize,
    /// What it seals goes into records of so many bytes at most.
    record_bytes: usize,
    tasks: VecDeque<Queued>,
    /// Tasks in them.
    queued: usize,
    running: Option<Running>,
    running_cancelled: bool,
    /// Time-outs by algorithm.
    timeouts: Vec<Option<Nanos>>,
    /// Some task may have one of its own.
    has_timeouts: bool,
    /// Of a task that has been answered for and goes on: nothing but the end of the process stops it.
    is_abandoned: bool,
    announcement: Announcement,
    results: ResultBatchBuilder,
    oldest_result: Option<Nanos>,
    /// Of the tasks that it has computed, the last ones counting most.
    mean_compute: Nanos,
    /// Tasks of the last packet.
    packet_tasks: u64,
    /// The algorithm of the task that ended last, if that took next to no time.
    brief: Option<u16>,
    out: Outbox,
    /// Bytes that the I/O side was given since the start, and those of them that the socket has taken.
    handed: u64,
    written: u64,
    /// Packets of results that the socket has not taken whole: where each ends in all that was ever said, and its results.
    unsent: VecDeque<(u64, usize)>,
    /// Packets of tasks that have come.
    packets: u64,
    last_sent: Nanos,
    /// When a beat was due last.
    looked: Nanos,
    started: Nanos,
    end: Option<SlaveEnd>,
    /// It goes of its own will.
    leaving: Option<Leaving>,
    completed: u64,
    learned: Learned,
    /// The best key of each incumbent that this life of the master has told.
    told: Keys,
    shelf: Shelf,
    checkpoints: Checkpoints,
    keeper: Keeper,
    /// Of the running task with the master, if that listens.
    talk: Option<Talk>,
    progressed: Progressed,
    hungry: Told,
    logs: Logs,
    audit: VecDeque<Event>,
    meter: Meter,
    bounds: Bounds,
    /// When it last had a task in hand or a result unsent, or was welcomed.
    busy_at: Nanos,
}

impl SlaveCore {
    /// A slave that has just been connected; its handshake is ready to be sent.
    pub fn new(config: &SlaveConfig, now: Nanos) -> Self {
        let mut out = Outbox::default();
        out.put(Kind::Hello, |out| config.hello.encode(out));
        SlaveCore {
            welcome: None,
            reader: FrameReader::new(),
            secured: None,
            records: Vec::new(),
            long_from: LONG_BYTES_MIN,
            record_bytes: RECORD_PLAIN_BYTES_MAX,
            tasks: VecDeque::new(),
            queued: 0,
            running: None,
            running_cancelled: false,
            timeouts: Vec::new(),
            has_timeouts: false,
            is_abandoned: false,
            announcement: Announcement::None,
            results: ResultBatchBuilder::new(),
            oldest_result: None,
            mean_compute: 0,
            packet_tasks: 0,
            brief: None,
            out,
            handed: 0,
            written: 0,
            unsent: VecDeque::new(),
            packets: 0,
            last_sent: now,
            looked: now,
            started: now,
            end: None,
            leaving: None,
            completed: 0,
            learned: Learned::default(),
            told: Keys::new(),
            shelf: Shelf::default(),
            checkpoints: Checkpoints::default(),
            keeper: Keeper::default(),
            talk: None,
            progressed: Progressed::default(),
            hungry: Told::default(),
            logs: Logs::default(),
            audit: VecDeque::new(),
            meter: Meter::default(),
            bounds: Bounds::default(),
            busy_at: now,
        }
    }

    /// Time passed. `unacknowledged_for`: how long the master's host has not acknowledged bytes that
    /// are outstanding; zero if none are.
    pub fn on_time(&mut self, now: Nanos, unacknowledged_for: Nanos) {
        match &self.welcome {
            None if self.end.is_none() && now >= self.started + WELCOME_WAIT => {
                let text = format!("no answer to the handshake in {} s", WELCOME_WAIT / SECOND);
                return self.finish_with(SlaveEnd::MasterLost(text));
            }
            Some(welcome)
                if !self.is_apart()
                    && unacknowledged_for >= welcome.client_timeout_ms * 1_000_000 =>
            {
                let seconds = unacknowledged_for / SECOND;
                return self.on_closed(&format!("its host acknowledged nothing for {seconds} s"));
            }
            _ => {}
        }
        if self.end.is_some() {
            return;
        }
        self.sum_up(now, false);
        self.check_timeout(now);
        self.check_bounds(now);
        self.see_due(now);
        self.say_progress(now);
        self.see_left_out(now);
        if now >= self.last_checkpoint_deadline() {
            self.leave_if_evicted();
        }
        if self.end.is_some() {
            return;
        }
        if self
            .oldest_result
            .is_some_and(|oldest| now >= oldest + RESULT_WAIT)
        {
            self.flush_results();
        }
        let is_served = self.welcome.is_some() && !self.is_apart();
        if is_served && now >= self.last_beat() + self.beat() {
            self.looked = now;
            // What waits to be written is as good as a beat.
            if self.out.is_empty() {
                self.out.put(Kind::Heartbeat, |_| ());
            }
        }
    }

    /// When [`SlaveCore::on_time`] is due at the latest; never once it is over.
    pub fn next_deadline(&self) -> Nanos {
        if self.end.is_some() {
            return Nanos::MAX;
        }
        let beat = match self.welcome {
            Some(_) if self.is_apart() => Nanos::MAX,
            // Also while the socket takes nothing: it is then that the master's host may be gone.
            Some(_) => self.last_beat() + self.beat(),
            None => self.started + WELCOME_WAIT,
        };
        self.oldest_result
            .map_or(beat, |oldest| beat.min(oldest + RESULT_WAIT))
            .min(self.bounds_deadline())
            .min(self.checkpoint_deadline())
            .min(self.last_checkpoint_deadline())
            .min(self.timeout_deadline())
            .min(self.progress_deadline())
            .min(self.left_out_deadline())
            .min(self.meter.due().unwrap_or(Nanos::MAX))
    }

    /// Moves what is to be written next to the end of `into`; true if there was anything. To be called when the socket has
    /// taken all that was given before, until there is nothing more: what has not been given can still be left out.
    pub fn take_output(&mut self, into: &mut Vec<u8>, now: Nanos) -> bool {
        self.take_said(into, now, &mut |_| ())
    }

    /// The same, as it goes over the wire; `said` is told the frames in it, for who looks on.
    pub fn take_said(
        &mut self,
        into: &mut Vec<u8>,
        now: Nanos,
        said: &mut dyn FnMut(&[u8]),
    ) -> bool {
        if !self.has_output() {
            return false;
        }
        self.last_sent = now;
        if let Some(secured) = &mut self.secured
            && !secured.is_open()
        {
            secured.take(&mut Vec::new(), into, self.record_bytes);
            return true;
        }
        if self.out.is_empty() {
            self.put_log();
        }
        let had_offers = self.out.has_offers();
        let mut part = self.out.take();
        self.handed += part.len() as u64;
        if had_offers && !self.out.has_offers() {
            self.mark_offers_said();
        }
        said(&part);
        match &mut self.secured {
            Some(secured) => secured.take(&mut part, into, self.record_bytes),
            None if into.is_empty() => std::mem::swap(into, &mut part),
            None => into.append(&mut part),
        }
        self.out.keep_spare(part);
        true
    }

    /// Where the last frame that was put into the outbox ends in all that was ever said.
    pub(super) fn said_bytes(&self) -> u64 {
        self.handed + self.out.put_bytes() as u64
    }

    /// Frames that have not been given to be written, for who looks on.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn unsaid(&self) -> impl Iterator<Item = &[u8]> {
        self.out.parts()
    }

    /// Whether [`SlaveCore::take_output`] would give anything.
    pub fn has_output(&self) -> bool {
        let has_frames = !self.out.is_empty() || self.has_log();
        match &self.secured {
            Some(secured) => secured.has_output(has_frames),
            None => has_frames,
        }
    }

    /// Whether what there is to say may wait for what the next task will say, so that one write carries both: the one before
    /// was brief, and the next is another of its kind, is in hand and can begin.
    ///
    /// Should that one take long after all, somebody else is to write meanwhile.
    pub fn output_may_wait(&self, now: Nanos) -> bool {
        let Some(next) = self.tasks.front() else {
            return false;
        };
        self.brief == Some(next.algorithm)
            && now < self.last_sent + BRIEF_WAIT
            && !next.marked
            && !next.converses
            && self.unsent_bytes() < UNSENT_BYTES
            && self.can_begin()
    }

    /// The socket has taken some more of what was given to be written.
    /// Gives how many bytes of frames are among them, counted when their record is whole.
    pub fn on_written(&mut self, bytes: usize, now: Nanos) -> usize {
        let had_unsent = self.has_unsent();
        let bytes = match &mut self.secured {
            Some(secured) => secured.on_written(bytes),
            None => bytes,
        };
        self.written = (self.written + bytes as u64).min(self.handed);
        while self
            .unsent
            .front()
            .is_some_and(|packet| packet.0 <= self.written)
        {
            self.unsent.pop_front();
        }
        if had_unsent {
            // Idle from now on, if it is: until now it had results to get rid of.
            self.busy_at = self.busy_at.max(now);
        }
        if let Announcement::Leaving(task) = self.announcement
            && self.out.is_empty()
            && self.written == self.handed
        {
            self.announcement = Announcement::Left(task);
        }
        bytes
    }

    /// Whether [`SlaveCore::next_task`] would give a task now, or announce one.
    pub fn can_begin(&self) -> bool {
        self.end.is_none()
            && self.running.is_none()
            && !self.is_held_back()
            && self.tasks.front().is_some_and(|front| {
                let announced = Announcement::Left(front.next());
                let is_said = self.announcement != Announcement::None;
                (!front.marked || !is_said || self.announcement == announced)
                    && self.has_shared_of(front)
            })
    }

    /// Whether the master does not take what it computes: until it does, no task begins.
    pub(super) fn is_held_back(&self) -> bool {
        let packets = self.unsent.len();
        let has_many = packets >= UNSENT_PACKETS && self.unsent_bytes() >= UNSENT_BYTES;
        has_many || packets >= UNSENT_PACKETS_MAX || self.has_kept_all()
    }

    /// Bytes of what it has said that the socket has not taken.
    fn unsent_bytes(&self) -> u64 {
        self.said_bytes() - self.written
    }

    /// Whether it has results that the socket has not taken.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || !self.results.is_empty()
    }

    // ---- looking

    /// The master's answer, once it has come.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Its id, once it has one.
    pub fn id(&self) -> Option<SlaveId> {
        self.welcome.as_ref().map(|welcome| SlaveId(welcome.slave))
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&SlaveEnd> {
        self.end.as_ref()
    }

    /// Whether the running task is no longer waited for.
    pub fn is_cancelled(&self) -> bool {
        self.running_cancelled || self.end.is_some() || self.is_evicted()
    }

    /// Whether a task runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Results completed since the start.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Tasks in hand that have not begun.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Results that wait to be sent: for others to travel with, or for the socket to take them.
    pub fn waiting_results(&self) -> usize {
        let unsent: usize = self.unsent.iter().map(|packet| packet.1).sum();
        self.results.tasks() + unsent
    }

    /// Whether results wait for others to travel with.
    pub fn has_collected(&self) -> bool {
        !self.results.is_empty()
    }

    /// The packet of the task that would begin next, counted from the slave's start.
    pub fn front_packet(&self) -> Option<u64> {
        self.tasks.front().map(|front| front.packet)
    }

    /// What was learned of keys since this was asked last, if anything was.
    #[inline]
    pub(crate) fn take_learned(&mut self) -> Option<Learned> {
        match self.learned.forgets || !self.learned.keys.is_empty() {
            true => Some(std::mem::take(&mut self.learned)),
            false => None,
        }
    }

    /// The master tells keys.
    fn on_bests(&mut self, keys: Vec<(u32, u64)>) {
        let there = keys.iter().filter(|(best, _)| (*best as usize) < BESTS_MAX);
        improve(&mut self.told, there.copied());
        self.learned.keys.extend(keys);
    }

    /// Of keys only those are known that this life of the master has told.
    fn forget_former_keys(&mut self) {
        self.learned = Learned {
            forgets: true,
            keys: self.told.clone().into_iter().collect(),
        };
    }

    /// The next line for the trail.
    pub fn poll_audit(&mut self) -> Option<Event> {
        self.audit.pop_front()
    }

    /// Writes what the trail has summed, once it is due.
    fn sum_up(&mut self, now: Nanos, is_over: bool) {
        let slave = self.welcome.as_ref().map_or(0, |welcome| welcome.slave);
        self.audit.extend(self.meter.sum_up(slave, now, is_over));
    }

    fn result_group(&self) -> u32 {
        self.welcome
            .as_ref()
            .map_or(1, |welcome| welcome.result_group)
    }

    /// When something was last sent, or it was seen that a beat would stand behind what waits.
    fn last_beat(&self) -> Nanos {
        self.last_sent.max(self.looked)
    }

    fn beat(&self) -> Nanos {
        self.welcome.as_ref().map_or(0, |welcome| {
            (welcome.client_timeout_ms * 1_000_000 / BEATS).min(BEAT_MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::frame::Kind;
    use ringmw_codec::handshake::Welcome;
    use ringmw_sched::Nanos;

    use super::for_tests::unwelcomed;
    use super::{BEAT_MAX, WELCOME_WAIT};
    use crate::proto::put;

    /// Else nobody asks whether the master's host acknowledges anything, and a line that is cut in that moment is never
    /// found.
    #[test]
    fn a_slave_looks_again_while_what_it_says_waits() {
        let mut core = unwelcomed();
        let mut welcome = Vec::new();
        put(&mut welcome, Kind::Welcome, |out| {
            Welcome::for_test().encode(out)
        });
        core.on_bytes(&welcome, 1);
        let mut now = 1;
        for _ in 0..10 {
            // The hello waits: nothing was given to be written.
            assert!(core.has_output());
            let next = core.next_deadline();
            assert!(now < next && next <= now + BEAT_MAX, "{now}: {next}");
            now = next;
            core.on_time(now, 0);
        }
    }

    /// Seeds 1896 and 2141 of the simulated world stood still: the goodbye of a slave whose link took no bytes
    /// outlasted the beat's deadline, which nobody met any more.
    #[test]
    fn a_slave_that_is_over_has_no_deadline() {
        let mut core = unwelcomed();
        assert_eq!(core.next_deadline(), WELCOME_WAIT);
        core.evict("told to go", 7);
        assert_eq!(core.next_deadline(), Nanos::MAX);
        let goodbye_at = 7 + super::FAREWELL - super::GOODBYE_RESERVE;
        assert_eq!(core.leaving_deadline(), goodbye_at);
    }
}
