//! A simulated slave process: the very [`SlaveCore`], called as the two threads of a real slave call it.

mod back;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::control::{Bests, GoodbyeCode, Offer, Starting};
use ringmw_codec::frame::{self, Block, FrameReader, Kind};
use ringmw_codec::handshake::Hello;
use ringmw_codec::log::{Log, LogLevel};
use ringmw_codec::secret::{FIRST_BYTES, Key, Secret};
use ringmw_codec::shared::{BlobName, Want};
use ringmw_sched::{Nanos, SlaveId};

use super::coroutine::{Computed, Pause, Pauses, Resumed, Routine, Wake};
use super::law::LogLine as Line;
use super::net::{Link, Quality};
use crate::proto::SECOND;
use crate::proto::config::SlaveConfig;
use crate::proto::incumbents::{BestTable, OfferSink};
use crate::proto::slave::{
    Assignment, FAREWELL, GOODBYE_RESERVE, Here, Next, SlaveCore, SlaveEnd, Talked,
};
use crate::slave::compute;
use crate::testing::fleet::{LONG_FROM, RECORD_BYTES};
use crate::typed::cx::Cx;
use crate::typed::host::Host;
use crate::typed::registry::Registry;
use crate::typed::tag::RunError;
use crate::typed::wire::WireError;

pub(super) use back::Tried;

/// How soon a socket that took a part takes more, and one that leaves asks what the master has.
const RETRY: Nanos = SECOND / 50;

/// A goodbye is no longer, in its record.
const GOODBYE_ROOM: usize = 200;

/// By how much a task that takes long takes longer.
const LONG: Nanos = 20;

/// A look of a task that has computed for its time takes so long: one that only looks until it is cancelled hears of it.
const LOOK: Nanos = SECOND / 200;

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
    outcome: Option<Result<Vec<u8>, RunError>>,
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

/// How a task ends its slave, if it does.
fn deadly(rng: &mut ChaCha8Rng) -> Option<GoodbyeCode> {
    match rng.random_range(0..40) {
        0 => Some(GoodbyeCode::Ended),
        1 => Some(GoodbyeCode::Signalled),
        2 => Some(GoodbyeCode::Memory),
        _ => None,
    }
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

    pub(super) fn describe_due(&self, link: &Link) -> String {
        format!(
            "io {}, compute {}, core {}, down {:?}, computing {:?}, leaving {:?}, end {:?}",
            self.io_at,
            self.compute_at,
            self.deadline,
            link.down.due(),
            self.computing.as_ref().map(|computing| (
                computing.wake_at,
                computing.offers.first().map(|offer| offer.0)
            )),
            self.core.leaving_deadline(),
            self.core.end(),
        )
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

    /// One round of the I/O thread; see `Link::serve_until_over`.
    fn io(
        &mut self,
        link: &mut Link,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) -> Option<SlaveEnd> {
        self.io_at = Nanos::MAX;
        self.looked = now;
        while !self.deaf
            && !self.is_apart()
            && let Some(chunk) = link.down.read(now)
        {
            let (ear, mut heard) = (&mut self.ear, Heard::default());
            let hears = &mut |frames: &[u8]| hear(ear, &mut heard, frames);
            let mut rest = &chunk[..];
            // Into memory that it lends, as its I/O thread reads.
            while !rest.is_empty()
                && let Some(Block { mut bytes, until }) = self.core.lend()
            {
                let (its, after) = rest.split_at(rest.len().min(until - bytes.len()));
                bytes.extend_from_slice(its);
                rest = after;
                self.core.on_block(bytes, its.len(), now, hears);
            }
            if !rest.is_empty() {
                self.core.on_received(rest, now, hears);
            }
            self.recalls_open += heard.recalls;
            self.forget_told(&heard.told);
            if let Some(SlaveEnd::MasterLost(reason)) = self.core.end() {
                let is_read = !reason.contains("cannot be read");
                assert!(is_read || !self.trusts, "of an honest master: {reason}");
                let is_named = !reason.contains("another content");
                assert!(is_named, "of an honest master: {reason}");
            }
        }
        let hears = !self.deaf && !self.is_apart();
        let ended = link.down.ended(now).filter(|_| hears);
        if let Some(how) = ended {
            self.core.on_closed(match how {
                super::net::Cut::Fin => "it closed the connection",
                super::net::Cut::Reset => "reset",
            });
        }
        self.core.on_time(now, link.up.unacknowledged_for(now));
        if self.is_apart() {
            self.part(now, rng);
        }
        self.say_brought(now);
        if self.core.is_abandoned()
            && let Some(computing) = self.computing.take()
        {
            // It was answered for; the process ends under it.
            self.finished.push(computing.task);
        }
        self.deadline = self.core.next_deadline();
        self.take_output(now);
        self.learn();
        while self.core.poll_audit().is_some() {}
        self.bests.set_hungry(self.core.is_hungry());
        self.cancelled
            .store(self.core.is_cancelled(), Ordering::Relaxed);
        self.see_last_word_due(now);
        self.write(link, now, quality, rng);
        self.core.on_untaken(link.up.in_flight() as u64, now);
        self.awaits_room = !self.out.is_empty() && !link.up.has_room();
        let goes_on = !self.out.is_empty() && !self.awaits_room;
        if goes_on || self.core.end().is_some() {
            self.io_at = now + RETRY;
        }
        if self.out.is_empty() && self.core.has_output() {
            self.io_at = now;
        }
        self.compute_at = self.compute_at.min(now + rng.random_range(0..20_000));
        self.core.is_gone().then(|| self.core.end().cloned())?
    }

    /// Recalls that it has read and not answered; one that is over, or reads nothing any more, answers none.
    pub(super) fn recalls_open(&self) -> u64 {
        match self.core.end() {
            None if !self.lied && !self.deaf => {
                self.recalls_open - self.unsaid(Kind::Returned).len() as u64
            }
            _ => 0,
        }
    }

    /// Payloads of frames of this kind that its core has put and not given to be written, but for a liar's.
    pub(super) fn unsaid(&self, of: Kind) -> Vec<Vec<u8>> {
        let mut unsaid = Vec::new();
        for part in self.core.unsaid().filter(|_| !self.lied) {
            let read = FrameReader::new().feed(part, &|_| u32::MAX, &mut |kind, payload| {
                if kind == of {
                    unsaid.push(payload.to_vec());
                }
                ControlFlow::<()>::Continue(())
            });
            assert!(read.is_ok(), "parts are whole frames");
        }
        unsaid
    }

    /// Shared data that its core has begun to ask for, and has not said so.
    pub(super) fn wants_unsaid(&self) -> Vec<BlobName> {
        let wants = self.unsaid(Kind::Want);
        let wants = wants.iter().filter_map(|want| Want::decode(want).ok());
        wants
            .filter(|want| want.from == 0)
            .map(|want| want.name)
            .collect()
    }

    /// The most offers for one place that wait to be said.
    pub(super) fn offers_waiting(&self) -> usize {
        let mut waiting = BTreeMap::<u32, usize>::new();
        for offer in self.unsaid(Kind::Offer) {
            let offer = Offer::decode(&offer).expect("a core's own");
            *waiting.entry(offer.best).or_default() += 1;
        }
        waiting.into_values().max().unwrap_or(0)
    }

    /// Its time for more than a goodbye is over.
    fn see_last_word_due(&mut self, now: Nanos) {
        if let Some(since) = self.evicted_at
            && now >= since + FAREWELL - GOODBYE_RESERVE
        {
            self.last_word
                .get_or_insert((self.out.len() - self.written, 0));
        }
    }

    /// It was told to go and has said no goodbye, though its link took what it had begun to write, and as much as a goodbye.
    pub(super) fn owes_goodbye(&self, link: &Link) -> bool {
        let had_room = self
            .last_word
            .is_none_or(|(begun, taken)| taken >= begun + GOODBYE_ROOM);
        let has_left = matches!(self.core.end(), Some(SlaveEnd::Left(_)));
        let is_honest = !self.lied && !self.deaf && self.core.is_proved();
        let owes = self.evicted_at.is_some() && has_left && is_honest && link.is_sound();
        owes && had_room && !self.said_goodbye
    }

    /// It goes of its own will since the last step: whether for being idle.
    pub(super) fn begins_to_go(&mut self) -> Option<bool> {
        let end = self.core.end().filter(|end| end.is_own_will())?;
        let is_idle = matches!(end, SlaveEnd::Idle(_));
        let is_new = !std::mem::replace(&mut self.going, true);
        (is_new && !self.lied && self.evicted_at.is_none()).then_some(is_idle)
    }

    fn write(&mut self, link: &mut Link, now: Nanos, quality: &Quality, rng: &mut ChaCha8Rng) {
        let mut room = self.out.len() - self.written;
        if room > 0 && rng.random_range(0..100) < self.pace.choke_percent {
            room = rng.random_range(0..room);
        }
        let offered = &self.out[self.written..][..room];
        let taken = link.up.write(offered, now, quality, rng);
        let frames = self.core.on_written(taken, now).min(self.sealed.len());
        let written: Vec<u8> = self.sealed.drain(..frames).collect();
        let (announced, unsent) = (&mut self.announced, &mut self.unsent);
        let said_goodbye = &mut self.said_goodbye;
        // A lie may be no frame at all; then there is nothing more to be learned of it.
        let _ = self
            .tap
            .feed(&written, &|_| u32::MAX, &mut |kind, payload| {
                if kind == Kind::Starting
                    && let Ok(starting) = Starting::decode(payload)
                {
                    announced.insert(starting.task);
                }
                *said_goodbye |= kind == Kind::Goodbye;
                if kind == Kind::Results {
                    // A lie may be one more.
                    unsent.pop_front();
                }
                ControlFlow::<()>::Continue(())
            });
        self.written += taken;
        if let Some((_, since)) = &mut self.last_word {
            *since += taken;
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }

    /// One round of the main thread.
    fn compute(&mut self, now: Nanos, rng: &mut ChaCha8Rng) -> Step {
        if self.deaf {
            self.compute_at = Nanos::MAX;
            return Step::On;
        }
        if let Some(computing) = &mut self.computing {
            let mut offered = Vec::new();
            while computing.offers.first().is_some_and(|offer| offer.0 <= now) {
                let (_, best, image, witness) = computing.offers.remove(0);
                match self.core.offer(best, image, &witness) {
                    Ok(()) => offered.push((best, image)),
                    Err(reason) => {
                        computing.refused.get_or_insert(reason);
                    }
                }
            }
            for (best, image) in offered {
                self.owe(best, image);
            }
            self.nudge(now);
            let is_due = self
                .computing
                .as_ref()
                .is_some_and(|computing| computing.wake_at.is_some_and(|at| at <= now));
            let goes_on = self.served(now);
            if let Some(wake) = goes_on {
                self.go_on_computing(wake, now, rng);
            } else if is_due && !self.finish(now) {
                self.go_on_computing(Wake::On, now, rng);
            }
            if self.computing.is_some() {
                self.compute_at = Nanos::MAX;
                return Step::On;
            }
            self.compute_at = now;
        }
        if self.compute_at > now {
            return Step::On;
        }
        self.compute_at = Nanos::MAX;
        self.learn();
        let next = self.core.next_task(now);
        match &next {
            Next::Run(assignment) if !assignment.converses => self.nudge_beside_task(now),
            _ => self.nudge(now),
        }
        match next {
            Next::Run(assignment) => {
                let task = assignment.task;
                self.begin(assignment, now, rng);
                Step::Begins(task)
            }
            Next::Wait | Next::Stop(_) => Step::On,
        }
    }

    fn learn(&mut self) {
        if let Some(learned) = self.core.take_learned() {
            self.bests.take(&learned);
        }
    }

    fn begin(&mut self, assignment: Assignment, now: Nanos, rng: &mut ChaCha8Rng) {
        self.bests.set_hungry(self.core.is_hungry());
        self.cancelled
            .store(self.core.is_cancelled(), Ordering::Relaxed);
        let mut length = rng.random_range(self.pace.compute_min..=self.pace.compute_max);
        if rng.random_range(0..100) < self.pace.long_percent {
            length *= LONG;
        }
        self.log(assignment.task, now);
        let cx = self.cx.take().unwrap_or_else(|| self.surroundings());
        let registry = Arc::clone(&self.registry);
        let (task, algorithm) = (assignment.task, assignment.algorithm);
        self.given.clone_from(&assignment.shared);
        let routine = Routine::new(&self.pauses, move || run(&registry, &assignment, cx));
        self.computing = Some(Computing {
            task,
            algorithm,
            begun: now,
            until: now + length,
            routine,
            waits: None,
            wake_at: None,
            outcome: None,
            refused: None,
            offers: Vec::new(),
        });
        self.go_on_computing(Wake::On, now, rng);
    }

    /// A task logs as it begins: nothing, some lines, or more than may be said.
    fn log(&mut self, task: u64, now: Nanos) {
        let Some(asked) = self.core.log_level() else {
            return;
        };
        let (lines, bytes) = match task % 7 {
            0 => (300, 100),
            1 => (20, 3_000),
            other => (other % 4, 30),
        };
        for nth in 0..lines {
            let level = LogLevel::ALL[(task + nth) as usize % 5];
            let mut text = format!("{nth} of {lines}");
            text.extend(std::iter::repeat_n('.', bytes as usize));
            self.core.log(level, &text, now);
            if level <= asked {
                text.truncate(Log::TEXT_BYTES_MAX);
                self.logged.push((level, Some(task), text));
            }
        }
    }

    /// What a task that waits for its conversation goes on with, once that is there.
    fn served(&mut self, now: Nanos) -> Option<Wake> {
        if self.hangs {
            return None;
        }
        let computing = self.computing.as_mut()?;
        let (wake, over) = match computing.waits.as_ref()? {
            Waits::ToSay(message) => (say(&mut self.core, message), false),
            Waits::ToHear(until) => (listen(&mut self.core), *until <= now),
        };
        let wake = wake.or(over.then_some(Wake::Heard(None)))?;
        computing.waits = None;
        Some(wake)
    }

    /// What its tasks see of it.
    fn surroundings(&self) -> Cx {
        let welcome = self.core.welcome().expect("tasks come after it");
        Cx::new(
            SlaveId(welcome.slave),
            welcome.seed,
            welcome.args.clone().into(),
            Arc::clone(&self.cancelled),
            self.bests.clone(),
            Arc::clone(&self.offers) as Arc<dyn OfferSink>,
        )
        .with_host(Rc::clone(&self.pauses) as Rc<dyn Host>)
    }

    /// The task computes to its next pause, or to its end.
    fn go_on_computing(&mut self, mut wake: Wake, now: Nanos, rng: &mut ChaCha8Rng) {
        let computing = self.computing.as_mut().expect("a task computes");
        let left = computing.until.saturating_sub(now);
        let takes = loop {
            self.pauses
                .checkpoint_due
                .set(self.core.checkpoint_is_due(now));
            match computing
                .routine
                .resume(std::mem::replace(&mut wake, Wake::On))
            {
                Resumed::Returned(computed) => {
                    let (cx, outcome) = *computed;
                    self.cx = Some(cx);
                    computing.outcome = Some(outcome);
                    break left;
                }
                Resumed::Paused(Pause::Look) if left == 0 => break LOOK,
                Resumed::Paused(Pause::Look) => break rng.random_range(1..=left),
                Resumed::Paused(Pause::Progress(done, total)) => {
                    self.core.progress(done, total, now);
                }
                Resumed::Paused(Pause::IsOpen) => wake = Wake::Is(self.core.is_open()),
                Resumed::Paused(Pause::Say(message)) => match say(&mut self.core, &message) {
                    Some(said) => wake = said,
                    None => {
                        computing.waits = Some(Waits::ToSay(message));
                        break Nanos::MAX;
                    }
                },
                Resumed::Paused(Pause::Hear(timeout)) => match listen(&mut self.core) {
                    Some(heard) => wake = heard,
                    None if timeout == Some(Duration::ZERO) => wake = Wake::Heard(None),
                    None => {
                        let nanos = |time: Duration| u64::try_from(time.as_nanos());
                        let wait = timeout
                            .map_or(Nanos::MAX, |timeout| nanos(timeout).unwrap_or(Nanos::MAX));
                        let until = now.saturating_add(wait);
                        computing.waits = Some(Waits::ToHear(until));
                        break until - now;
                    }
                },
                Resumed::Paused(Pause::AsksHungry) => self.core.asks_hungry(),
                Resumed::Paused(Pause::MakesCheckpoints) => self.core.makes_checkpoints(now),
                Resumed::Paused(Pause::Checkpoint(draws, state_type, state)) => {
                    let made = self.core.checkpoint(draws, state_type, &state, now);
                    wake = made.map_or_else(Wake::Refused, |()| Wake::On);
                    if self.core.end().is_some() {
                        // It was told to go, and that was what it waited for.
                        self.io_at = now;
                    }
                }
            }
        };
        let offers = std::mem::take(&mut *self.offers.0.lock().expect("one thread"));
        for (best, image, witness) in offers {
            let at = now + rng.random_range(0..=takes.min(left));
            computing.offers.push((at, best, image, witness));
        }
        computing.offers.sort_by_key(|offer| offer.0);
        let wake_at = now.saturating_add(takes);
        computing.wake_at = (!self.hangs && wake_at < Nanos::MAX).then_some(wake_at);
        self.nudge(now);
    }

    /// Tells the end of a task that has returned; false if there is none.
    fn finish(&mut self, now: Nanos) -> bool {
        let Some(computing) = self
            .computing
            .take_if(|computing| computing.outcome.is_some())
        else {
            return false;
        };
        let (algorithm, compute) = (computing.algorithm, now - computing.begun);
        let returned = computing.outcome.expect("asked above");
        let outcome = computing
            .refused
            .map_or(returned, |why| Err(RunError::Failed(why)));
        let outcome = match outcome {
            Ok(_) if now < self.broken_until => {
                Err(RunError::Failed("this slave is broken".to_owned()))
            }
            outcome => outcome,
        };
        let is_slaves = matches!(
            outcome,
            Err(RunError::StateInit(_) | RunError::Surroundings(_))
        );
        let code = self.deadly.as_mut().and_then(deadly);
        if let Some(code) = code.filter(|_| self.core.end().is_none()) {
            self.core.blame(code, "its task ends it");
            self.io_at = now;
            self.nudge(now);
            return true;
        }
        if self.core.end().is_none() && !is_slaves {
            self.finished.push(computing.task);
        }
        match &outcome {
            Ok(output) => self.core.finish(algorithm, Ok(output), compute, now),
            Err(RunError::Failed(text)) => self.core.finish(algorithm, Err(text), compute, now),
            Err(RunError::Args(error)) => {
                let is_there = !matches!(error, WireError::SharedGone { .. });
                assert!(is_there, "a task begins without what it names: {error}");
                let text = format!("its arguments cannot be read: {error}");
                self.core.finish(algorithm, Err(&text), compute, now);
            }
            Err(RunError::StateInit(reason)) => {
                self.not_begun = Some(computing.task);
                self.core.leave(GoodbyeCode::StateInit, reason);
            }
            Err(RunError::Surroundings(reason)) => {
                self.core.leave(GoodbyeCode::Surroundings, reason);
            }
        }
        if self
            .returns_after
            .is_some_and(|tasks| self.core.completed() >= tasks)
        {
            let reason = "the slave algorithm returned";
            self.core.leave(GoodbyeCode::Other, reason);
        }
        if self.core.end().is_some() {
            self.io_at = now;
        }
        self.nudge_after(computing.task, compute, now);
        true
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

    /// Writes bytes of no honest slave behind what it has to say.
    pub(super) fn lie(&mut self, bytes: &[u8], now: Nanos) {
        while self.core.has_output() {
            self.take_said(now, true);
        }
        self.core.say_raw(bytes, true);
        self.take_said(now, false);
        self.lied = true;
        self.io_at = now;
    }

    /// The frames that it has sealed since this was asked last.
    pub(super) fn take_sealed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// From now on it reads nothing.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
        self.computing = None;
    }

    /// Since when its I/O thread has not looked at the clock, if it serves a master and should.
    pub(super) fn unlooked_since(&self) -> Option<Nanos> {
        let serves = self.core.welcome().is_some() && !self.is_apart();
        let is_up = self.life == Life::Up && self.core.end().is_none();
        (serves && is_up).then_some(self.looked)
    }

    /// Whether all that it said has been heard.
    pub(super) fn is_heard(&self, link: &Link) -> bool {
        self.out.is_empty() && link.up.in_flight() == 0
    }

    /// What it has to say. One that reads nothing beats at most: it answers for itself.
    fn take_output(&mut self, now: Nanos) {
        if !self.out.is_empty() {
            return;
        }
        if !self.deaf {
            return self.take_said(now, true);
        }
        if self.core.has_output() {
            let mut beat = Vec::new();
            frame::put_frame(&mut beat, Kind::Heartbeat, &[]);
            self.core.say_raw(&beat, false);
            self.take_said(now, false);
        }
    }

    /// What its core has to say goes out; `is_its_own`: it says frames.
    fn take_said(&mut self, now: Nanos, is_its_own: bool) {
        let (open, unsent) = (&mut self.recalls_open, &mut self.unsent);
        let wanted = &mut self.wanted;
        let logs_said = &mut self.logs_said;
        let (mouth, sealed, said) = (&mut self.mouth, &mut self.sealed, &mut self.said);
        let given = self.core.take_said(&mut self.out, now, &mut |frames| {
            sealed.extend(frames);
            said.extend_from_slice(frames);
            if !is_its_own {
                return;
            }
            let (mut count, logs) = (0, logs_said.len());
            let flow = mouth.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
                count += 1;
                if kind == Kind::Log {
                    logs_said.push((payload.to_vec(), true));
                }
                *open -= u64::from(kind == Kind::Returned);
                if kind == Kind::Results {
                    unsent.push_back(payload.len());
                }
                if kind == Kind::Want
                    && let Ok(want) = Want::decode(payload)
                    && want.from == 0
                {
                    wanted.push(want.name);
                }
                ControlFlow::<()>::Continue(())
            });
            assert!(flow.is_ok(), "a core says frames");
            for (_, alone) in &mut logs_said[logs..] {
                *alone = count == 1;
            }
        });
        if given {
            self.given_at = now;
        }
    }

    /// Whether it has written the announcement of this task, as far as a liar's stream can be read.
    pub(super) fn has_announced(&self, task: u64) -> bool {
        self.lied || self.announced.contains(&task)
    }

    /// Replaces its handshake.
    pub(super) fn say_first(&mut self, bytes: Vec<u8>) {
        let mut own = Vec::new();
        self.core.take_output(&mut own, 0);
        self.out = bytes;
    }

    pub(super) fn computes(&self) -> bool {
        self.computing.is_some()
    }
}

/// What a slave has heard that matters to the observer.
#[derive(Default)]
struct Heard {
    recalls: u64,
    /// Keys of the run's incumbents, by place.
    told: Vec<(u32, u64)>,
}

/// Reads what it hears.
fn hear(ear: &mut FrameReader, heard: &mut Heard, frames: &[u8]) {
    let _ = ear.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
        heard.recalls += u64::from(kind == Kind::Recall);
        if kind == Kind::Bests
            && let Ok(bests) = Bests::decode(payload)
        {
            heard.told.extend(bests.entries);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// A task says something, if that may go.
fn say(core: &mut SlaveCore, message: &[u8]) -> Option<Wake> {
    match core.say(message) {
        Ok(Talked::Now(is_said)) => Some(Wake::Is(is_said)),
        Ok(Talked::Wait) => None,
        Err(reason) => Some(Wake::Refused(reason)),
    }
}

/// A task hears something, if that is there.
fn listen(core: &mut SlaveCore) -> Option<Wake> {
    match core.hear() {
        Talked::Now(heard) => Some(Wake::Heard(heard.map(|message| message.to_vec()))),
        Talked::Wait => None,
    }
}

/// As a real slave computes.
fn run(registry: &Registry, assignment: &Assignment, mut cx: Cx) -> Computed {
    let mut output = Vec::new();
    let outcome = compute(registry, assignment, &mut cx, &mut output);
    (cx, outcome.map(|()| output))
}
