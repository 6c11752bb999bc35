//! The master's one thread: in each turn it takes what came, lets the master algorithm run, hands out
//! tasks, and sends, in this order; then it parks.
//!
//! While there is more to take, turns follow one another for a little while. It parks again and again even so: that is
//! what lets tokio-uring submit its own operations (files of the master algorithm); an always-ready task would starve
//! them.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use ringmw_codec::audit::{Event, Who};
use ringmw_sched::Nanos;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::unconstrained;

use super::handle::Master;
use super::light::Spawned;
use super::publish::{Publisher, figures};
use super::state::State;
use super::turn::{self, Ending, ToCore};
use crate::io::beside::Beside;
use crate::io::clock;
use crate::io::dial::{Dialled, Dialler};
use crate::io::engine::{self, Close, Engine, Handler};
use crate::io::files::audit::AuditWriter;
use crate::io::files::journal::writer::JournalWriter;
use crate::io::files::kept::KeptWriter;
use crate::io::forwarded::Forwarded;
use crate::io::memory;
use crate::io::progress::Progress;
use crate::io::signals::Signals;
use crate::io::status::Question;
use crate::proto::conn::Effect;
use crate::proto::master::{MasterCore, SHUTDOWN_WAIT};
use crate::proto::need::Need;
use crate::proto::recording::News;

/// What ends a run from outside: local mode's supervisor.
pub(crate) type StopSignal = tokio::sync::mpsc::UnboundedReceiver<Outside>;

/// News from outside the loop.
pub(crate) enum Outside {
    /// End the run, for this reason.
    Stop(String),
    /// Write this into the trail.
    Event(Event),
    /// From the journal's thread.
    Journal(News),
    /// Somebody asks why something is as it is.
    Ask(Question),
}

/// See [`Driver::report`].
pub(crate) type Report = Box<dyn FnMut(Nanos, Need, &mut dyn FnMut(Event))>;

pub(crate) struct Driver {
    pub(crate) mw: Master,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) audit: Arc<AuditWriter>,
    /// Told at the end of every turn what the batch system should know; may add lines to the trail.
    pub(crate) report: Option<Report>,
    pub(crate) outside: StopSignal,
    /// Where the run is recorded.
    pub(crate) journal: Option<Arc<JournalWriter>>,
    /// Where tasks that give no output are kept.
    pub(crate) kept: Option<KeptWriter>,
    /// The sockets of the host name's further addresses.
    pub(crate) beside: Beside,
    /// Dials slaves that listen.
    pub(crate) dialler: Option<Dialler>,
    /// This process's signals, where they are the run's (not embedded).
    pub(crate) signals: Option<Signals>,
    /// For those who look at the run.
    pub(crate) publisher: Option<Publisher>,
    /// For a person at the terminal.
    pub(crate) progress: Option<Progress>,
    /// Shows what slaves' logs say, where that is wanted.
    pub(crate) forwarded: Option<Forwarded>,
    /// A run that is stopped waits for no running task.
    pub(crate) stops_now: Arc<AtomicBool>,
    /// Called for every line of the trail.
    pub(crate) watch: Box<dyn FnMut(&Event)>,
}

/// Everything that one turn works with.
struct Loop {
    driver: Driver,
    fd: AsyncFd<OwnedFd>,
    timer: Pin<Box<tokio::time::Sleep>>,
    /// When the timer fires, if it is to.
    armed: Option<Instant>,
    light: FuturesUnordered<Spawned>,
    failure: Option<io::Error>,
    /// The engine has more to take before the thread may sleep.
    again: bool,
    memory: Memory,
    /// For the journal: empty between turns.
    payloads: Vec<u8>,
    load: Load,
}

/// How long a turn may begin after the first one without parking in between: timers and files wait for so long.
const TURNS_FOR: Nanos = 200_000;

/// Up to this many connections a debug build holds the core's account of unsent bytes to the engine's, turn by turn.
const WALKED_MAX: usize = 64;

/// How long a master that is stopped at once waits for its slaves to hear of it.
const STOP_WAIT: Nanos = 100_000_000;

/// How long a connection that is closed may take to be read to its last byte.
const FLUSH_WAIT: Nanos = 5_000_000_000;

impl Driver {
    /// Runs the master algorithm to its end, then tells every slave and waits for them to go.
    ///
    /// # Errors
    /// When the runtime or the engine fails: nothing can be served any more.
    pub(crate) async fn run<R>(self, algorithm: impl Future<Output = R>) -> io::Result<Ending<R>> {
        let fd = engine::watch(&*self.engine)?;
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut this = Loop {
            driver: self,
            fd,
            timer,
            armed: None,
            light: FuturesUnordered::new(),
            failure: None,
            again: false,
            memory: Memory::new(),
            payloads: Vec::new(),
            load: Load::default(),
        };
        let ending = this.serve(algorithm).await?;
        // What is still running on the master ends with the master algorithm.
        this.light = FuturesUnordered::new();
        this.driver.mw.forget_spawned();
        this.leave(ending.is_for_good()).await?;
        if let Some(progress) = this.driver.progress.take() {
            let mw = &this.driver.mw;
            progress.finish(mw.read(|state| figures(state, mw.inner.clock.now())));
        }
        Ok(ending)
    }
}

impl Loop {
    async fn serve<R>(&mut self, algorithm: impl Future<Output = R>) -> io::Result<Ending<R>> {
        let mut algorithm = pin!(algorithm);
        std::future::poll_fn(|cx| {
            if let Some(signals) = &self.driver.signals {
                signals.wake(cx.waker());
            }
            self.take_beside(cx);
            self.take_dialled(cx);
            if let Some(ending) = self.poll_outside(cx) {
                self.say_left();
                return Poll::Ready(Ok(ending));
            }
            let ended = self.turns(cx, |this, cx| match this.interrupted() {
                Some(ending) => Some(ending),
                None => turn::application(&this.driver.mw, algorithm.as_mut(), &mut this.light, cx),
            });
            if let Some(error) = self.failure.take() {
                return Poll::Ready(Err(error));
            }
            match ended {
                Some(ending) => Poll::Ready(Ok(ending)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Tells every slave, and waits until they have gone or [`SHUTDOWN_WAIT`] has passed.
    async fn leave(&mut self, finished: bool) -> io::Result<()> {
        let mw = self.driver.mw.clone();
        mw.act(|state| state.core.shutdown(finished));
        let wait = match self.driver.stops_now.load(Ordering::Relaxed) {
            true => STOP_WAIT,
            false => SHUTDOWN_WAIT,
        };
        let until = mw.inner.clock.now() + wait;
        std::future::poll_fn(|cx| {
            let _ = self.turns(cx, |this, _| {
                // It leaves already; but the thread that hears signals first is told that this one goes on.
                let _ = this.driver.signals.as_ref().and_then(Signals::heard);
                None::<()>
            });
            if let Some(error) = self.failure.take() {
                return Poll::Ready(Err(error));
            }
            let gone = mw.read(|state| state.core.slaves() == 0);
            if gone || mw.inner.clock.now() >= until {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Turns until there is nothing more to take or [`TURNS_FOR`] has passed; `algorithm` is the application's part of
    /// each.
    fn turns<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut algorithm: impl FnMut(&mut Self, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        let mw = self.driver.mw.clone();
        if let Err(error) = own(cx, |cx| self.clear_ready(cx)) {
            self.failure = Some(error);
        }
        let mut begun = None;
        let ended = loop {
            let now = mw.inner.clock.now();
            let over = now - *begun.get_or_insert(now) >= TURNS_FOR;
            let ended = self.turn(&mw, now, cx, &mut algorithm);
            if !self.again || over || ended.is_some() || self.failure.is_some() {
                break ended;
            }
        };
        own(cx, |cx| self.arm(cx, &mw));
        ended
    }

    fn turn<T>(
        &mut self,
        mw: &Master,
        now: Nanos,
        cx: &mut Context<'_>,
        algorithm: impl FnOnce(&mut Self, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        mw.enter_turn();
        let weighs = mw.work(|state| state.core.weighs_packets());
        if let Err(error) = self.take(mw, now) {
            self.failure = Some(error);
        }
        let clock = mw.inner.clock;
        let taken = if weighs { clock.now() - now } else { 0 };
        mw.on_pass();
        if let Some(publisher) = &self.driver.publisher {
            publisher.lend(now);
        }
        let ended = algorithm(self, cx);
        if let Some(publisher) = &self.driver.publisher {
            publisher.give_back();
        }
        let since = if weighs { clock.now() } else { 0 };
        if let Err(error) = self.send(mw) {
            self.failure = Some(error);
        }
        if weighs {
            let spent = taken + (clock.now() - since);
            mw.work(|state| state.core.on_spent(spent));
        }
        mw.leave_turn(cx.waker());
        ended
    }

    /// Forgets readiness before completions are taken: one that comes later sets it again.
    fn clear_ready(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Poll::Ready(guard) = self.fd.poll_read_ready(cx) {
            guard?.clear_ready();
        }
        Ok(())
    }

    fn take(&mut self, mw: &Master, now: Nanos) -> io::Result<()> {
        let engine = &mut self.driver.engine;
        let caught_up = mw.work(|state| {
            turn::begin(state, now, |want, core| {
                engine.take(mw.inner.clock.instant(now), want, &mut ToCore(core))
            })
        })?;
        self.again = !caught_up;
        Ok(())
    }

    fn send(&mut self, mw: &Master) -> io::Result<()> {
        mw.work(|state| self.end(mw, state))
    }

    fn end(&mut self, mw: &Master, state: &mut State) -> io::Result<()> {
        let engine = &mut self.driver.engine;
        let mut dialler = self.driver.dialler.as_mut();
        let mut over = |conn| {
            if let Some(dialler) = &mut dialler {
                dialler.on_closed(conn);
            }
        };
        let (beside, again) = (&mut self.driver.beside, &mut self.again);
        let (load, clock) = (&mut self.load, mw.inner.clock);
        let load = || load.since_last(clock.now());
        turn::end(state, load, |core, effect| match core.seal(effect) {
            Effect::Send(conn, buffer) => engine.send(conn, buffer),
            Effect::SendShared(conn, bytes) => engine.send_shared(conn, bytes),
            Effect::Close {
                conn,
                graceful: false,
            } => {
                engine.close(conn, Close::Now);
                over(conn);
            }
            Effect::Close {
                conn,
                graceful: true,
            } => {
                let by = mw.inner.clock.instant(mw.inner.clock.now() + FLUSH_WAIT);
                engine.close(conn, Close::Flushed { by });
                over(conn);
            }
            Effect::Accepting(on) => {
                engine.set_accepting(on);
                // They are looked at before a turn, so there is to be one.
                *again |= beside.set_accepting(on);
            }
        });
        // A walk over all connections: not where they are many.
        debug_assert!(
            self.driver.engine.connections() > WALKED_MAX
                || self.driver.engine.unsent_bytes() <= state.core.unsent_bytes(),
            "the engine keeps what the core does not know of"
        );
        if let Some(journal) = &self.driver.journal {
            let barrier = state.core.take_payloads(&mut self.payloads);
            if barrier.is_some() || !self.payloads.is_empty() {
                journal.push(&self.payloads, barrier);
                self.payloads.clear();
            }
        }
        if let Some(kept) = &self.driver.kept {
            for failed in state.core.take_failed() {
                let task = failed.file.task;
                if !kept.push(failed) {
                    let name = state.core.task_name(task);
                    let text = format!("{name} is not kept: the disk is too slow");
                    state.core.note(Event::Note { text });
                }
            }
        }
        if let Some(forwarded) = &mut self.driver.forwarded {
            for told in state.core.take_logs() {
                forwarded.show(&told);
            }
        }
        let submitted = self.driver.engine.submit().map(|again| self.again |= again);
        // Before the trail is written: there may be no next turn for what it adds.
        if let Some(report) = &mut self.driver.report {
            let need = state.core.need();
            report(mw.inner.clock.now(), need, &mut |event| {
                state.core.note(event)
            });
        }
        self.write_trail(&mut state.core);
        if let Some(publisher) = &mut self.driver.publisher {
            let clock = mw.inner.clock;
            if publisher.is_due(clock.now()) {
                publisher.publish(state, || clock.now());
            }
        }
        if let Some(progress) = &mut self.driver.progress {
            let now = mw.inner.clock.now();
            if progress.is_due(now) {
                progress.tell(figures(state, now));
            }
        }
        let left = state.core.take_left_bytes();
        let queued = state.core.sched().queued_bytes();
        let traffic = state.core.traffic();
        let passed = traffic.bytes_in + traffic.bytes_out;
        let now = mw.inner.clock.now();
        self.memory.on_turn(now, queued, left, passed);
        submitted
    }

    fn write_trail(&mut self, core: &mut MasterCore) {
        let events = core.audit();
        if events.is_empty() {
            return;
        }
        events.iter().for_each(&mut self.driver.watch);
        if let Some(publisher) = &mut self.driver.publisher {
            events.iter().for_each(|event| publisher.on_event(event));
        }
        let now = clock::unix_micros();
        self.driver.audit.push_all(now, Who::Master, events);
        drop(core.drain_audit());
    }

    /// Makes sure that the next turn comes when something happens or is due.
    fn arm(&mut self, cx: &mut Context<'_>, mw: &Master) {
        let core = mw
            .inner
            .clock
            .instant(mw.read(|state| state.core.next_deadline()));
        let deadline = self
            .driver
            .engine
            .deadline()
            .map_or(core, |engine| engine.min(core));
        let publisher = self.driver.publisher.as_ref();
        let deadline = match publisher.and_then(Publisher::deadline) {
            Some(at) => deadline.min(mw.inner.clock.instant(at)),
            None => deadline,
        };
        let deadline = match &self.driver.progress {
            Some(progress) => deadline.min(mw.inner.clock.instant(progress.deadline())),
            None => deadline,
        };
        let deadline = match self.memory.deadline() {
            Some(at) => deadline.min(mw.inner.clock.instant(at)),
            None => deadline,
        };
        // A turn that comes too early costs less than setting the timer anew after every one.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.timer.as_mut().reset(deadline.into());
            self.armed = Some(deadline);
        }
        let due = self.timer.as_mut().poll(cx).is_ready();
        if due {
            self.armed = None;
        }
        let ready = self.fd.poll_read_ready(cx).is_ready();
        if due || ready || self.again {
            cx.waker().wake_by_ref();
        }
    }

    /// Takes the news from outside; the end of the run if there is one.
    fn poll_outside<R>(&mut self, cx: &mut Context<'_>) -> Option<Ending<R>> {
        while let Poll::Ready(Some(news)) = own(cx, |cx| self.driver.outside.poll_recv(cx)) {
            let event = match news {
                Outside::Stop(why) => return Some(Ending::Stopped(why)),
                Outside::Event(event) => event,
                Outside::Journal(news) => match news {
                    News::Synced(barrier) => {
                        self.driver.mw.act(|state| state.core.on_recorded(barrier));
                        continue;
                    }
                    News::Progress => continue,
                    News::Trouble(error) => Event::JournalTrouble { error },
                    News::Recovered(unrecorded) => Event::JournalWritten { unrecorded },
                    News::Full => Event::JournalFull,
                    News::Superseded(life) => {
                        self.note(Event::Superseded { life });
                        let why = format!(
                            "life {life} of this run has begun elsewhere, and this one ends: a run has one master at a time"
                        );
                        return Some(Ending::Superseded(why));
                    }
                },
                Outside::Ask(question) => {
                    let told = self.driver.mw.read(|state| state.core.why(&question.about));
                    // Who asked may be gone.
                    let _ = question.answer.send(told);
                    continue;
                }
            };
            self.note(event);
        }
        None
    }

    /// Who has come at a further address is served like who came at the first.
    fn take_beside(&mut self, cx: &mut Context<'_>) {
        while let Some(came) = own(cx, |cx| self.driver.beside.poll(cx)) {
            let adopted =
                came.and_then(|(stream, peer)| Ok((self.driver.engine.adopt(stream)?, peer)));
            let mw = &self.driver.mw;
            match adopted {
                Ok((conn, peer)) => mw.work(|state| ToCore(&mut state.core).on_accept(conn, peer)),
                Err(error) => {
                    self.driver.engine.set_accepting(false);
                    self.driver.beside.set_accepting(false);
                    mw.work(|state| ToCore(&mut state.core).on_accept_error(error));
                    return;
                }
            }
        }
    }

    /// Slaves that were dialled are served like those that have dialled.
    fn take_dialled(&mut self, cx: &mut Context<'_>) {
        let Some(mut dialler) = self.driver.dialler.take() else {
            return;
        };
        while let Some(dialled) = own(cx, |cx| dialler.poll(cx)) {
            match dialled {
                Dialled::Failed(text) => self.note(Event::Note { text }),
                Dialled::Connected(place, stream, peer) => match self.driver.engine.adopt(stream) {
                    Ok(conn) => {
                        dialler.on_adopted(place, conn);
                        let mw = &self.driver.mw;
                        mw.work(|state| ToCore(&mut state.core).on_accept(conn, peer));
                    }
                    Err(error) => {
                        dialler.on_failed(place);
                        let text = format!("the slave at {peer} cannot be served: {error}");
                        self.note(Event::Note { text });
                    }
                },
            }
        }
        self.driver.dialler = Some(dialler);
    }

    fn note(&self, event: Event) {
        self.driver.mw.inner.state.borrow_mut().core.note(event);
    }

    /// What an interrupted master algorithm leaves is counted before it is dropped: that cancels its calls and maps.
    fn say_left(&self) {
        let tasks = self.driver.mw.left();
        if tasks > 0 {
            self.note(Event::Left { tasks });
        }
    }

    /// Signals are heard before the master algorithm is polled: it need not wait for anything for that.
    fn interrupted<R>(&self) -> Option<Ending<R>> {
        let signal = self.driver.signals.as_ref()?.heard()?;
        self.note(Event::Signal {
            name: signal.name.into(),
        });
        self.say_left();
        Some(Ending::Signal(signal))
    }
}

/// Polls what is the driver's own. A master algorithm may have used up what tokio allows a task before it must yield
/// (`tokio::task::coop`); the driver's timer, sockets and news are asked all the same.
fn own<T>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut poll = Some(poll);
    let asked = std::future::poll_fn(|cx| match poll.take() {
        Some(poll) => Poll::Ready(poll(cx)),
        None => Poll::Pending,
    });
    match pin!(unconstrained(asked)).poll(cx) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("it is asked once"),
    }
}

/// A panic goes on where its run has ended.
pub(crate) fn rethrow(panic: Box<dyn std::any::Any + Send>) -> ! {
    resume_unwind(panic)
}

/// How busy this thread was since that was asked last.
#[derive(Default)]
struct Load {
    at: Nanos,
    busy: Nanos,
}

impl Load {
    /// In thousandths; none the first time, and where no time has passed.
    fn since_last(&mut self, now: Nanos) -> Option<u64> {
        let busy = clock::thread_time();
        let last = std::mem::replace(self, Load { at: now, busy });
        let parts = (busy - last.busy) * 1_000;
        let parts = parts.checked_div(now - last.at)?;
        (last.at > 0).then_some(parts.min(1_000))
    }
}

/// Gives the memory of a long queue back once it is drained, that of many half frames or unread buffers once their
/// connections are gone, and that of large results once no more come: the allocator keeps freed memory for later, and a
/// master that was full once need not stay so for a week.
struct Memory {
    peak: u64,
    /// Since when nothing is queued.
    drained: Option<Nanos>,
    /// What ended connections have left behind since the memory was given back last.
    left: u64,
    /// Bytes of all packets so far, as many as there were when the memory was given back last, and since when no more have
    /// come.
    passed: u64,
    given_back_at: u64,
    calm: Nanos,
}

impl Memory {
    fn new() -> Self {
        memory::keep_freed();
        Memory {
            peak: 0,
            drained: None,
            left: 0,
            passed: 0,
            given_back_at: 0,
            calm: 0,
        }
    }

    /// A shorter queue's memory is not worth the walk through the heap, nor is that of fewer bytes that have passed.
    const WORTH_IT: u64 = 16 << 20;
    /// Less that connections have left behind is not worth it either. They seldom leave anything.
    const LEFT_WORTH_IT: u64 = 8 << 20;
    /// A queue is drained that has been empty for so long: where it is empty in one turn and full in the next, what is given
    /// back is fetched again at once, page by page.
    const DRAINED_FOR: Nanos = 50_000_000;
    /// No more large packets come once none has come for so long.
    const CALM_FOR: Nanos = 1_000_000_000;

    /// When it is to be asked again, should nothing else happen.
    fn deadline(&self) -> Option<Nanos> {
        let has_peak = self.peak >= Self::WORTH_IT;
        let drained = self.drained.filter(|_| has_peak);
        let has_passed = self.passed - self.given_back_at >= Self::WORTH_IT;
        let calm = has_passed.then_some(self.calm + Self::CALM_FOR);
        let drained = drained.map(|since| since + Self::DRAINED_FOR);
        drained.into_iter().chain(calm).min()
    }

    fn on_turn(&mut self, now: Nanos, queued_bytes: u64, left_bytes: u64, passed: u64) {
        self.peak = self.peak.max(queued_bytes);
        self.left += left_bytes;
        self.drained = match queued_bytes {
            0 => self.drained.or(Some(now)),
            _ => None,
        };
        if self.passed != passed {
            (self.passed, self.calm) = (passed, now);
        }
        let is_due = self.deadline().is_some_and(|due| now >= due);
        if is_due || self.left >= Self::LEFT_WORTH_IT {
            (self.peak, self.left) = (queued_bytes, 0);
            self.given_back_at = passed;
            memory::give_back();
        }
    }
}
