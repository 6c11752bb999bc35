//! Level 2: a user's own master algorithm in the simulated world.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::audit::{Event, Line, RoleWord, Who};
use ringmw_sched::Nanos;

use super::fleet::{Character, Fleet, Leavers, Weights};
use super::law::Law;
use super::net::Quality;
use super::refusals::Refusals;
use super::script::{Tap, Told, hello};
use super::slave::Pace;
use crate::app::args::{Args, ExitRequest};
use crate::app::exit::Exit;
use crate::app::parts::OWN_VERSION;
use crate::app::{App, master_role};
use crate::flags;
use crate::io::clock::Clock;
use crate::master::state::State;
use crate::master::turn::Ending;
use crate::master::{Master, turn};
use crate::proto::SECOND;
use crate::proto::master::{MasterCore, SHUTDOWN_WAIT};

/// What befalls the slaves of a [`World`], and how often.
#[derive(Copy, Clone, Debug)]
pub struct Churn {
    every: Duration,
    weights: Weights,
}

impl Churn {
    /// Nothing befalls anybody; links only delay, split and merge.
    pub fn none() -> Self {
        Churn {
            every: Duration::MAX,
            weights: [0; 10],
        }
    }

    /// About so often something befalls a slave or its link: it is killed, hangs, stops and goes on, loses
    /// power, is evicted; the link is cut or stalls. Slaves go of their own will, too: idle, at a time limit, or because
    /// their algorithm returned. Others come in their place; at times nobody listens, and they dial again after growing
    /// pauses. Strangers knock.
    pub fn every(mean: Duration) -> Self {
        Churn {
            every: mean,
            weights: [2, 4, 2, 1, 2, 1, 2, 2, 0, 0],
        }
    }

    /// Slaves lie as well: unknown tasks, the same result twice, garbage; some read nothing any more and answer all the
    /// same. A lie may be a failed result, too.
    #[must_use]
    pub fn with_liars(mut self) -> Self {
        self.weights[8] = 2;
        self.weights[9] = 1;
        self
    }
}

/// A simulated cluster for one master algorithm: the cores that ship, a clock that costs no time, and links and
/// slaves whose fate one seed draws. The same seed gives the same run.
///
/// ```
/// use std::time::Duration;
/// use ringmw::prelude::*;
/// use ringmw::testing::{Churn, World};
///
/// #[algorithm]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// async fn master(mw: Master, _args: Args) -> Result {
///     let mut squares = mw.map((0..100).map(square::task)).in_order();
///     let mut sum = 0;
///     while let Some(square) = squares.try_next().await? {
///         sum += square;
///     }
///     assert_eq!(sum, 328_350);
///     Ok(())
/// }
///
/// for seed in 0..5 {
///     let app = App::new().algorithm::<square>().master(master);
///     let churn = Churn::every(Duration::from_millis(500));
///     let report = World::new(seed).slaves(5).churn(churn).run(app);
///     assert_eq!(report.code, 0, "seed {seed}: {report:?}");
/// }
/// ```
///
/// A task takes simulated time, which passes where it asks for something ([`Cx::cancelled`](crate::Cx::cancelled)) and
/// before its end is told; `tokio::time` is simulated with it. What the master algorithm awaits beside that (sockets,
/// files, threads), and what a task sleeps, takes no simulated time. The run has a secret, as a real one has; with the
/// argument `--mw-no-secret` it has none, and a world of many slaves is simulated faster.
#[derive(Clone, Debug)]
#[must_use = "a world does nothing until it is run"]
pub struct World {
    seed: u64,
    slaves: usize,
    churn: Churn,
    args: Vec<String>,
    compute: (Duration, Duration),
    patience: Duration,
    transcript: bool,
    labels: Vec<Vec<String>>,
}

/// What a run in the world was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The exit code that a master's process would have.
    pub code: u8,
    /// The error of the master algorithm.
    pub error: Option<String>,
    /// Simulated time until the master algorithm returned.
    pub simulated: Duration,
    /// Turns of the master.
    pub turns: u64,
    /// Slaves that joined.
    pub joined: u64,
    /// Slaves that were lost.
    pub lost: u64,
    /// Times that a slave began a task.
    pub begun: u64,
    /// Tasks that went to another slave, theirs having been lost.
    pub recycled: u64,
    /// Results that came after the end of their task.
    pub late: u64,
    /// Tasks that a slave gave back, not having begun them, for an idle one.
    pub given_back: u64,
    /// The master's audit trail, as its file would hold it; simulated time begins with the year 1970.
    pub trail: Vec<u8>,
}

impl World {
    /// A world without churn, with three slaves, whose tasks compute for 1 to 100 ms.
    pub fn new(seed: u64) -> Self {
        World {
            seed,
            slaves: 3,
            churn: Churn::none(),
            args: Vec::new(),
            compute: (Duration::from_millis(1), Duration::from_millis(100)),
            patience: Duration::from_secs(24 * 3600),
            transcript: false,
            labels: Vec::new(),
        }
    }

    /// How many slaves there are at the start; who goes is replaced.
    pub fn slaves(mut self, slaves: usize) -> Self {
        self.slaves = slaves;
        self
    }

    /// The labels of slaves: those of the first set are the first slave's, and so on, in turn for all that ever join. A
    /// set may be empty; without any set no slave has a label.
    ///
    /// ```
    /// use ringmw::prelude::*;
    /// use ringmw::testing::World;
    ///
    /// #[algorithm]
    /// fn render(frame: u32) -> u32 {
    ///     frame
    /// }
    ///
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let result = mw.call(render::task(7).needs("gpu")).await?;
    ///     assert_eq!(result, 7);
    ///     Ok(())
    /// }
    ///
    /// let app = App::new().algorithm::<render>().master(master);
    /// let report = World::new(1).labels([vec![], vec!["gpu=2"]]).run(app);
    /// assert_eq!(report.code, 0);
    /// ```
    pub fn labels<S: Into<String>>(mut self, sets: impl IntoIterator<Item = Vec<S>>) -> Self {
        let own = |set: Vec<S>| set.into_iter().map(Into::into).collect();
        self.labels = sets.into_iter().map(own).collect();
        self
    }

    /// What befalls them.
    pub fn churn(mut self, churn: Churn) -> Self {
        self.churn = churn;
        self
    }

    /// Arguments as on the command line: the user's, and the `--mw-*` of a master.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A task computes for a time between these.
    pub fn compute(mut self, min: Duration, max: Duration) -> Self {
        self.compute = (min, max);
        self
    }

    /// How much simulated time the master algorithm may take: a day, if nothing is said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Prints what happens.
    pub fn transcript(mut self) -> Self {
        self.transcript = true;
        self
    }

    /// Runs to the end of the master algorithm and of the slaves.
    ///
    /// # Panics
    /// With the master algorithm's own panic; when it is out of patience; and when the cores break a law of theirs.
    /// The seed is printed.
    pub fn run(self, app: App) -> Report {
        let seed = self.seed;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap_or_else(|error| panic!("the runtime cannot be made: {error}"));
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tokio::task::LocalSet::new().block_on(&runtime, self.drive(app))
        }));
        run.unwrap_or_else(|panic| {
            eprintln!("seed {seed}: the run in the simulated world failed");
            std::panic::resume_unwind(panic)
        })
    }

    async fn drive(self, app: App) -> Report {
        let settings = flags::parse(self.args.iter().map(Into::into))
            .unwrap_or_else(|error| panic!("{error}"));
        let mut parts = app.into_parts().unwrap_or_else(|error| panic!("{error}"));
        let algorithm = parts
            .master
            .take()
            .expect("a world runs a master algorithm: add .master(..) to the App");
        let member_id = "simulated";
        let seed = settings.seed.unwrap_or(self.seed);
        let registry = Arc::clone(&parts.registry);
        let config = master_role::config(&settings, member_id, &parts.version, &registry, seed);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let quality = Quality {
            delay_min: 20_000,
            delay_max: 2_000_000,
            slow_permille: 2,
            split_percent: 10,
            window: 1 << 18,
        };
        let pace = Pace {
            compute_min: nanos(self.compute.0),
            compute_max: nanos(self.compute.1.max(self.compute.0)),
            long_percent: 0,
            choke_percent: 0,
        };
        let fleet_rng = ChaCha8Rng::seed_from_u64(rng.random());
        let hello = hello(&registry, &parts.version, member_id.as_bytes());
        let mut fleet = Fleet::new(fleet_rng, quality, pace, Arc::clone(&registry), hello);
        fleet.transcript = self.transcript;
        fleet.labels.clone_from(&self.labels);
        fleet.stall_max = 2 * config.rules.client_timeout;
        if self.churn.every < Duration::MAX {
            fleet.refusals = Some(Refusals::new(self.seed));
            fleet.leavers = Some(Leavers::new(
                self.seed,
                nanos(self.churn.every).max(SECOND / 10),
            ));
        }
        let init = Event::Init {
            version: OWN_VERSION.to_owned(),
            role: RoleWord::Master,
            member_id: member_id.to_owned(),
            build: "simulated".to_owned(),
            app_version: parts.version.clone(),
            seed: Some(seed),
            pid: 0,
            host: "master".to_owned(),
        };
        let clock = Clock::simulated();
        let mut core = MasterCore::new(config.clone(), 0);
        let mut law = Law::new(config, true);
        if !settings.no_secret {
            let secret = fleet.draw_secret(self.seed);
            core.set_secret(secret);
            law.expect_secret();
        }
        let state = State::new(core, registry.entries().len(), settings.ready_bytes_max);
        let mw = Master::new(state, registry, clock, seed);
        for _ in 0..self.slaves {
            fleet.come(Character::Honest);
        }
        let args = Args::new(settings.user.clone());
        let mut run = Run {
            algorithm: algorithm(mw.clone(), args),
            mw,
            light: FuturesUnordered::new(),
            fleet,
            law,
            rng,
            keys: ChaCha8Rng::seed_from_u64(self.seed ^ 0x6b65_7973),
            now: 0,
            busy_until: 0,
            next_fault: 0,
            world: self,
            report: Report::default(),
        };
        line(&mut run.report.trail, 0, init);
        let ending = run.until_over().await;
        run.leave().await;
        run.finish(ending)
    }
}

/// Writes a line of the master's trail.
fn line(trail: &mut Vec<u8>, now: Nanos, event: Event) {
    let time_us = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    let who = Who::Master;
    Line {
        time_us,
        who,
        event,
    }
    .write(trail);
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Set when anything that the application awaits has come.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The clock goes on by no more than this at once, so that the application's own timers are not late.
const STRIDE: Nanos = SECOND / 100;

struct Run {
    mw: Master,
    algorithm: Pin<Box<dyn Future<Output = Exit>>>,
    light: FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>,
    fleet: Fleet,
    law: Law,
    rng: ChaCha8Rng,
    keys: ChaCha8Rng,
    now: Nanos,
    busy_until: Nanos,
    next_fault: Nanos,
    world: World,
    report: Report,
}

impl Run {
    /// Turn by turn until the master algorithm has returned.
    async fn until_over(&mut self) -> Ending<Exit> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            if self.due(woken.0.load(Ordering::Relaxed)) <= self.now {
                woken.0.store(false, Ordering::Relaxed);
                if let Some(ending) = self.turn(&waker, true) {
                    return ending;
                }
            }
            // Whatever else the application has spawned on tokio runs, and its timers.
            tokio::task::yield_now().await;
            self.go_on(woken.0.load(Ordering::Relaxed)).await;
            let patience = self.world.patience;
            assert!(
                self.now <= nanos(patience),
                "after {patience:?} of simulated time the master algorithm has not returned: {} tasks are queued or running, {} slaves are here",
                self.mw.runnable(),
                self.mw.connected(),
            );
        }
    }

    /// Every slave is told, and has as long to go as in a real run.
    async fn leave(&mut self) {
        self.light = FuturesUnordered::new();
        self.mw.forget_spawned();
        self.report.simulated = Duration::from_nanos(self.now);
        self.law.on_shutdown();
        self.mw.act(|state| state.core.shutdown(true));
        let until = self.now + SHUTDOWN_WAIT;
        while self.now < until && self.mw.connected() > 0 {
            if self.due(false) <= self.now {
                self.turn(Waker::noop(), false);
            }
            self.go_on(false).await;
        }
    }

    /// When the master's next turn is.
    fn due(&self, woken: bool) -> Nanos {
        let core = self.mw.work(|state| state.core.next_deadline());
        let due = self.fleet.master_due().min(core);
        let due = if woken { self.now } else { due };
        due.max(self.busy_until)
    }

    /// The clock goes on to whatever happens next.
    async fn go_on(&mut self, woken: bool) {
        let next = self
            .due(woken)
            .min(self.fleet.due())
            .min(self.next_fault)
            .min(self.now + STRIDE);
        if next > self.now {
            tokio::time::advance(Duration::from_nanos(next - self.now)).await;
            self.now = next;
            Clock::set(next);
        }
        self.fleet.step(self.now, &mut self.law);
        if self.next_fault <= self.now {
            let every = nanos(self.world.churn.every);
            if every >= u64::MAX / 4 {
                self.next_fault = Nanos::MAX;
                return;
            }
            if self.now > 0 {
                self.fleet.fault(&self.world.churn.weights, &mut self.law);
            }
            self.next_fault = self.now + self.rng.random_range(0..=2 * every);
        }
    }

    /// One turn of the master: see `master::turn`.
    fn turn(&mut self, waker: &Waker, runs: bool) -> Option<Ending<Exit>> {
        self.report.turns += 1;
        let mw = self.mw.clone();
        mw.enter_turn();
        self.law.on_turn(self.now);
        let (law, fleet, keys) = (&mut self.law, &mut self.fleet, &mut self.keys);
        let taken = mw.work(|state| {
            turn::begin(state, self.now, |want, core| {
                let caught_up = fleet.take(want, &mut Tap { law, core, keys });
                law.on_taken(caught_up);
                Ok(caught_up)
            })
        });
        assert!(taken.is_ok(), "nothing can fail here");
        self.read_trail();
        mw.on_pass();
        let mut cx = Context::from_waker(waker);
        let ended = match runs {
            true => turn::application(&mw, self.algorithm.as_mut(), &mut self.light, &mut cx),
            false => None,
        };
        let mut effects = Vec::new();
        mw.work(|state| {
            let told = |core: &mut MasterCore, effect| effects.push(Told::new(core, effect));
            turn::end(state, || None, told);
            for told in effects {
                told.perform(&mut self.law, &state.core, false, &mut self.fleet);
            }
        });
        self.read_trail();
        mw.work(|state| {
            self.law.on_logs_told(state.core.take_logs());
            self.law.follow(&state.core);
            self.law.check(&state.core);
        });
        mw.leave_turn(waker);
        while self.fleet.processes() < self.world.slaves {
            self.fleet.join_later(5 * SECOND);
        }
        // More than no time where the master algorithm held its thread.
        let held = mw.now() - self.now;
        Clock::set(self.now);
        self.busy_until = self.now + held + self.rng.random_range(1_000..100_000);
        ended
    }

    fn read_trail(&mut self) {
        let events: Vec<Event> = self.mw.work(|state| state.core.drain_audit().collect());
        for event in events {
            self.fleet.say(|| format!("    {event:?}"));
            match &event {
                Event::Connected { .. } => self.report.joined += 1,
                Event::Lost { recycled, .. } => {
                    self.report.lost += 1;
                    self.report.recycled += recycled;
                }
                Event::Late { results, .. } => self.report.late += results,
                Event::Returned { count, .. } => self.report.given_back += count,
                _ => {}
            }
            self.law.on_line(&event);
            line(&mut self.report.trail, self.now, event);
        }
    }

    fn finish(self, ending: Ending<Exit>) -> Report {
        let exit = match ending {
            Ending::Returned(exit) => exit,
            Ending::Panicked(panic) => match panic.downcast::<ExitRequest>() {
                Ok(request) => Exit::code(request.0),
                Err(panic) => std::panic::resume_unwind(panic),
            },
            Ending::Signal(_) | Ending::Superseded(_) | Ending::Stopped(_) => {
                unreachable!("there is nothing outside this world")
            }
        };
        let mut report = self.report;
        let reason = exit.error.clone().unwrap_or_default();
        let code = exit.code;
        line(&mut report.trail, self.now, Event::Exit { code, reason });
        Report {
            code,
            error: exit.error,
            begun: self.fleet.begun,
            ..report
        }
    }
}
