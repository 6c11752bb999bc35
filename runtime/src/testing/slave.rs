//! A simulated slave process: the very [`SlaveCore`], called as the two threads of a real slave call it.

mod back;
mod computing;
mod io;
mod observed;
mod writes;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::FrameReader;
use ringmw_codec::handshake::Hello;
use ringmw_codec::secret::{FIRST_BYTES, Key, Secret};
use ringmw_codec::shared::BlobName;
use ringmw_sched::Nanos;

use super::coroutine::{Pauses, Routine};
use super::law::LogLine as Line;
use super::net::{Link, Quality};
use crate::proto::config::SlaveConfig;
use crate::proto::incumbents::{BestTable, OfferSink};
use crate::proto::slave::{Here, Output, SlaveCore, SlaveEnd};
use crate::testing::fleet::{LONG_FROM, RECORD_BYTES};
use crate::typed::cx::Cx;
use crate::typed::registry::Registry;
use crate::typed::tag::RunError;

pub(super) use back::Tried;

/// By how much a task that takes long takes longer.
const LONG: Nanos = 20;

/// What a task wants of a simulated slave beside its result.
#[derive(Copy, Clone, Debug)]
pub(super) struct Pace {
    /// A task computes for a time between these.
    pub(super) compute_min: Nanos,
    pub(super) compute_max: Nanos,
    /// So many of a hundred tasks take [`LONG`] times as long.
    pub(super) long_percent: u32,
    /// So many of a hundred writes find room for a part alone, and the rest waits.
    pub(super) choke_percent: u32,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Up,
    /// Stopped by a signal or suspended: it does nothing, its bytes wait.
    Stopped,
    Dead,
}

/// A task that computes.
struct Computing {
    task: u64,
    algorithm: u16,
    begun: Nanos,
    /// It computes until then at least.
    until: Nanos,
    routine: Routine,
    /// What it waits for before it goes on.
    waits: Option<Waits>,
    /// When it goes on, or its end is told. `None`: never.
    wake_at: Option<Nanos>,
    /// What it has returned, which is told when its time has come.
    outcome: Option<Result<Output, RunError>>,
    /// Why an offer of its could not be made.
    refused: Option<String>,
    offers: Vec<(Nanos, u32, u64, Vec<u8>)>,
}

/// A task waits for its conversation.
enum Waits {
    /// To say this.
    ToSay(Vec<u8>),
    /// To hear something, no longer than until then.
    ToHear(Nanos),
}

#[derive(Default)]
struct Offers(Mutex<Vec<(u32, u64, Vec<u8>)>>);

impl OfferSink for Offers {
    fn offer(&self, best: u32, image: u64, witness: &[u8]) {
        let mut offers = self.0.lock().expect("one thread");
        offers.push((best, image, witness.to_vec()));
    }
}

/// What one process is made with.
pub(super) struct Birth {
    pub(super) hello: Hello,
    pub(super) registry: Arc<Registry>,
    pub(super) pace: Pace,
    pub(super) now: Nanos,
    pub(super) link: usize,
}

pub(super) struct SimSlave {
    pub(super) core: SlaveCore,
    member_id: Vec<u8>,
    pub(super) life: Life,
    /// The link that it speaks on.
    pub(super) link: usize,
    /// Its next task computes for ever, while the process beats.
    pub(super) hangs: bool,
    registry: Arc<Registry>,
    pub(super) pace: Pace,
    cx: Option<Cx>,
    bests: BestTable,
    offers: Arc<Offers>,
    cancelled: Arc<AtomicBool>,
    /// How its tasks pause.
    pauses: Rc<Pauses>,
    computing: Option<Computing>,
    out: Vec<u8>,
    written: usize,
    io_at: Nanos,
    /// Until when its I/O thread sleeps if nothing comes: asked of the core before it gives what it has to say.
    deadline: Nanos,
    /// What waits to be written goes on when its link has room.
    awaits_room: bool,
    /// When it looked at the clock last.
    looked: Nanos,
    compute_at: Nanos,
    /// Reads what it writes, for what it has announced.
    tap: FrameReader,
    announced: BTreeSet<u64>,
    lied: bool,
    /// Reads what it hears, and what its core says, for recalls and their answers.
    ear: FrameReader,
    mouth: FrameReader,
    recalls_open: u64,
    /// Frames that were given to be written and whose record is not; and those that nobody has asked for.
    sealed: VecDeque<u8>,
    said: Vec<u8>,
    /// Its link is as it should be, and so what its master says.
    pub(super) trusts: bool,
    /// Bytes of each packet of results that its core gave and that is not written.
    unsent: VecDeque<usize>,
    /// When its core gave something last.
    given_at: Nanos,
    /// Its slave algorithm returns after so many tasks.
    pub(super) returns_after: Option<u64>,
    /// Shared data that its task was given, for the observer.
    pub(super) given: Vec<Here>,
    /// Shared data that it has begun to ask for, for the observer.
    pub(super) wanted: Vec<BlobName>,
    /// Tasks that it has finished and could still speak of, for the observer.
    pub(super) finished: Vec<u64>,
    /// A task of which only its slave's state was to be made, for the observer.
    pub(super) not_begun: Option<u64>,
    /// The observer knows that it goes.
    going: bool,
    /// When SIGTERM came.
    evicted_at: Option<Nanos>,
    /// When its time for more than a goodbye was over: bytes that it had begun to write, and those that its link took since.
    last_word: Option<(usize, usize)>,
    said_goodbye: bool,
    /// Some of its tasks end it: drawn here.
    pub(super) deadly: Option<ChaCha8Rng>,
    /// Until then what it computes fails.
    pub(super) broken_until: Nanos,
    /// It reads nothing any more, and computes nothing; it beats, and says what it is given to say.
    pub(super) deaf: bool,
    /// How it comes back to its run, if it does.
    back: Option<Box<back::Back>>,
    /// Lines that its tasks log, for the observer, and those that it says: whether alone.
    pub(super) logged: Vec<Line>,
    pub(super) logs_said: Vec<(Vec<u8>, bool)>,
    /// What it says as soon as it is welcome, being of another run.
    brings: Vec<u8>,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It lives on.
    On,
    /// A task begins.
    Begins(u64),
    /// The process has ended.
    Exits(SlaveEnd),
}

impl SimSlave {
    pub(super) fn new(birth: Birth) -> Self {
        let Birth {
            hello,
            registry,
            pace,
            now,
            link,
        } = birth;
        let member_id = hello.member_id.clone();
        let mut core = SlaveCore::new(&SlaveConfig { hello }, now);
        core.set_mentions(registry.mentions());
        core.set_timeouts(registry.timeouts());
        core.set_long_from(LONG_FROM[(now % 3) as usize]);
        core.set_record_bytes(RECORD_BYTES[(now / 3 % 3) as usize]);
        SimSlave {
            member_id,
            core,
            life: Life::Up,
            link,
            hangs: false,
            registry,
            pace,
            cx: None,
            bests: BestTable::default(),
            offers: Arc::default(),
            cancelled: Arc::default(),
            pauses: Rc::default(),
            computing: None,
            out: Vec::new(),
            written: 0,
            io_at: now,
            deadline: now,
            awaits_room: false,
            looked: now,
            compute_at: Nanos::MAX,
            tap: FrameReader::new(),
            announced: BTreeSet::new(),
            lied: false,
            ear: FrameReader::new(),
            mouth: FrameReader::new(),
            recalls_open: 0,
            sealed: VecDeque::new(),
            said: Vec::new(),
            trusts: false,
            unsent: VecDeque::new(),
            given_at: now,
            returns_after: None,
            given: Vec::new(),
            wanted: Vec::new(),
            finished: Vec::new(),
            not_begun: None,
            going: false,
            evicted_at: None,
            last_word: None,
            said_goodbye: false,
            deadly: None,
            broken_until: 0,
            deaf: false,
            back: None,
            logged: Vec::new(),
            logs_said: Vec::new(),
            brings: Vec::new(),
        }
    }

    /// It proves that it knows this secret, and its token; what it will say first.
    pub(super) fn arm(&mut self, secret: &Secret, key: Key) -> [u8; FIRST_BYTES] {
        self.core.set_secret(secret, &self.member_id, key)
    }

    /// When it does something next.
    pub(super) fn due(&self, link: &Link) -> Option<Nanos> {
        if self.life != Life::Up {
            return None;
        }
        let mut due = self.io_due(link).min(self.compute_at);
        if let Some(computing) = &self.computing {
            due = due.min(computing.wake_at.unwrap_or(Nanos::MAX));
            due = due.min(computing.offers.first().map_or(Nanos::MAX, |offer| offer.0));
        }
        Some(due)
    }

    /// When its I/O thread has something to do.
    fn io_due(&self, link: &Link) -> Nanos {
        let room = match self.awaits_room && link.up.has_room() {
            true => 0,
            false => Nanos::MAX,
        };
        self.io_at
            .min(self.deadline)
            .min(self.read_due(link))
            .min(self.core.leaving_deadline())
            .min(room)
    }

    /// When it has something to read.
    fn read_due(&self, link: &Link) -> Nanos {
        let due = link.down.due().filter(|_| !self.deaf && !self.is_apart());
        due.unwrap_or(Nanos::MAX)
    }

    /// What is due happens: the I/O thread's part, then the main thread's.
    pub(super) fn step(
        &mut self,
        link: &mut Link,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) -> Step {
        if self.io_due(link) <= now
            && let Some(end) = self.io(link, now, quality, rng)
        {
            return Step::Exits(end);
        }
        let had_task = self.computing.is_some();
        let step = self.compute(now, rng);
        if had_task || self.computing.is_some() {
            // What a task leaves to be done in time wakes the I/O thread, which asks anew.
            self.deadline = self.deadline.min(self.core.next_deadline());
        }
        step
    }

    /// SIGTERM.
    pub(super) fn evict(&mut self, now: Nanos) {
        self.evicted_at.get_or_insert(now);
        self.core.evict("told to go by SIGTERM", now);
        self.io_at = now;
    }

    /// Continues after a stop: the computation has not gone on meanwhile.
    pub(super) fn go_on(&mut self, now: Nanos, stopped_for: Nanos) {
        self.life = Life::Up;
        self.io_at = now;
        if let Some(computing) = &mut self.computing {
            for offer in &mut computing.offers {
                offer.0 += stopped_for;
            }
            computing.until += stopped_for;
            computing.wake_at = computing.wake_at.map(|at| at + stopped_for);
            if let Some(Waits::ToHear(until)) = &mut computing.waits {
                *until = until.saturating_add(stopped_for);
            }
        }
    }

    /// From now on it reads nothing.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
        self.computing = None;
    }
}
