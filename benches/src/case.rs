//! One case of the throughput benchmark: no-op tasks through the whole system.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringmw::internals::proto::Traffic;
use ringmw::prelude::*;
use serde_json::{Value, json};

use crate::fleet::{self, Setting, Slaves};
use crate::meter::{self, Syscalls, process_cpu};
use crate::played::Cast;
use crate::shapes::{self, Shape, Source};
use crate::{app, noop};

/// The group sizes of the cases; 0 is automatic.
pub const GROUPS: [u32; 5] = [1, 10, 100, 1000, 0];
/// The numbers of slaves of the cases.
pub const SLAVES: [u32; 5] = [2, 8, 64, 1_000, 10_000];
/// Of the cases with other tasks than no-ops the group size and the numbers of slaves.
const SHAPE_GROUP: u32 = 100;
const SHAPE_SLAVES: [u32; 2] = [2, 64];
/// From here on slaves are played.
pub const PLAYED_FROM: u32 = 1_000;

/// A case ends after this long even when tasks are left: with start and end it is within 20 s.
pub const WORK_MAX: Duration = Duration::from_secs(6);

/// One task of so many is timed from submission to result.
const TIMED_APART: u64 = 256;

/// How often, and how many bytes, this thread has allocated so far.
pub type Allocated = &'static dyn Fn() -> (u64, u64);

/// How the master algorithm takes its results.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Through {
    /// `map`.
    Map,
    /// `submit` and `take_results`.
    Queue,
}

/// A case.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// How results are taken.
    pub through: Through,
    /// What tasks are like.
    pub shape: Shape,
    /// Tasks and results per packet; 0 is automatic.
    pub group: u32,
    /// Slaves.
    pub slaves: u32,
}

impl Case {
    /// Every case, in the order of the table.
    pub fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for through in [Through::Map, Through::Queue] {
            for slaves in SLAVES {
                cases.extend(GROUPS.map(|group| Case {
                    through,
                    shape: Shape::Noop,
                    group,
                    slaves,
                }));
            }
        }
        let shapes = Shape::OTHERS.map(|shape| (shape, SHAPE_GROUP));
        // What is done a packet at a time shows in large ones.
        for (shape, group) in shapes.into_iter().chain([(Shape::Reduce, 1_000)]) {
            cases.extend(SHAPE_SLAVES.map(|slaves| Case {
                through: Through::Map,
                shape,
                group,
                slaves,
            }));
        }
        cases
    }

    /// The case of this name.
    pub fn named(name: &str) -> Option<Case> {
        Case::all().into_iter().find(|case| case.name() == name)
    }

    /// Such as `noop-g100-s64`, `noop-queue-gauto-s2` or `echo-g100-s2`.
    pub fn name(&self) -> String {
        let through = match self.through {
            Through::Map => self.shape.name(),
            Through::Queue => "noop-queue",
        };
        let group = match self.group {
            0 => "auto".to_owned(),
            number => number.to_string(),
        };
        format!("{through}-g{group}-s{}", self.slaves)
    }

    /// Tasks for a second or a few, and for some packets of each slave.
    pub fn usual_tasks(&self) -> u64 {
        let enough: u64 = match self.group {
            1 => 300_000,
            10 => 2_000_000,
            100 => 8_000_000,
            _ => 16_000_000,
        };
        enough.max(2 * u64::from(self.group) * u64::from(self.slaves))
    }

    /// Its slaves: real or, when there are many, played.
    pub fn cast(&self) -> Slaves {
        match self.slaves >= PLAYED_FROM {
            true => Slaves::Played(Cast {
                slaves: self.slaves,
                ..Cast::default()
            }),
            false => Slaves::Real(self.slaves),
        }
    }
}

/// What a case is run with.
#[derive(Clone)]
pub struct Load {
    /// The case.
    pub case: Case,
    /// Its slaves.
    pub slaves: Slaves,
    /// Tasks in all.
    pub tasks: u64,
    /// Those of them that are not measured: the first ones.
    pub warm: u64,
    /// When submission ends even though tasks are left.
    pub limit: Duration,
    /// Measure until the last result; else only while the queue is kept full.
    pub until_drained: bool,
    /// How many tasks are kept pending where results are taken from the queue.
    pub target: u64,
    /// Results per packet, where they are not as many as tasks; 0 is automatic.
    pub result_group: Option<u32>,
    /// A busy slave may have packets ahead: the master's default.
    pub prefetch: bool,
    /// Encrypted, as a run is that is not told otherwise.
    pub secret: bool,
    /// What it comes to is recorded in this folder.
    pub journal: Option<PathBuf>,
    /// Where `allocations` and `allocated_bytes` come from; without, they are 0.
    pub allocated: Allocated,
}

impl Load {
    /// The usual one.
    pub fn of(case: Case) -> Load {
        Load::with(case, case.usual_tasks())
    }

    /// The usual one with so many tasks.
    pub fn with(case: Case, tasks: u64) -> Load {
        let target = u64::from(case.slaves) * u64::from(case.group.max(100)) * 2 + 1_000;
        Load {
            case,
            slaves: case.cast(),
            tasks,
            warm: tasks / 10,
            limit: WORK_MAX,
            until_drained: true,
            target,
            result_group: None,
            prefetch: true,
            secret: false,
            journal: None,
            allocated: &|| (0, 0),
        }
    }
}

/// Runs a case in this process, which should have done nothing else, and gives its figures, the JSON line of the
/// benchmark.
///
/// # Panics
/// As [`fleet::run`].
pub fn run(load: &Load, engine: &str, trail: Option<(&Path, &str)>) -> Value {
    let setting = Setting {
        slaves: load.slaves.clone(),
        engine,
        trail,
        group: load.case.group,
        result_group: load.result_group,
        prefetch: load.prefetch,
        secret: load.secret,
    };
    let measured = load.clone();
    let journal = load
        .journal
        .as_ref()
        .map(|folder| folder.display().to_string());
    let flags = journal.as_ref().map(|folder| ["--mw-journal", folder]);
    let flags = flags.as_ref().map_or(&[][..], |flags| &flags[..]);
    let (mut figures, _) = fleet::run_with(app(), &setting, flags, move |mw| measure(mw, measured));
    figures["journal"] = load.journal.is_some().into();
    figures["security"] = fleet::security_word(load.secret).into();
    figures["engine"] = fleet::engine_word(engine).into();
    figures["audit"] = trail.map_or("none", |(_, level)| level).into();
    if let Some((file, _)) = trail {
        figures["trail_bytes"] = std::fs::metadata(file).map_or(0, |file| file.len()).into();
    }
    figures
}

/// Runs a case with the slaves that this master has or gets: its figures.
///
/// # Errors
/// When there were no tasks, or one of them ended otherwise than well.
pub async fn measure(mw: Master, load: Load) -> Result<Value> {
    let case = load.case;
    let (alone, _) = meter::memory();
    fleet::connected(&mw, case.slaves).await;
    let (idle, _) = meter::memory();
    // What the joining of calls costs is not theirs.
    let joining = match case.shape {
        Shape::Call => shapes::join_all_ns(load.tasks.min(100_000)),
        _ => 0.0,
    };
    let flow = Flow::new(&load);
    flow.run(&mw).await?;
    let span = flow.span.take().ok_or("there were no tasks")?;
    let done = span.tasks as f64;
    let cpu = span.cpu.as_nanos() as f64 - joining * done;
    // Of all tasks: in the span, packets of one long turn can be told apart less well.
    let tasks_per_packet = span.tasks_per_packet;
    let latency_us = |quantile| {
        let latencies = flow.latencies.borrow();
        latencies.value_at_quantile(quantile) as f64 / 1e3
    };
    let latencies = json!({
        "p50": latency_us(0.5),
        "p90": latency_us(0.9),
        "p99": latency_us(0.99),
        "p99.9": latency_us(0.999),
        "max": latency_us(1.0),
    });
    let (syscalls, syscalls_note) = match count_syscalls(&mw, load).await? {
        Ok(per_task) => (json!(per_task), Value::Null),
        Err(why) => (Value::Null, json!(why)),
    };
    // A few turns, for memory that is given back in them.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (settled, peak) = meter::memory();
    Ok(json!({
        "case": case.name(),
        "tasks": span.tasks,
        "tasks_per_s": done / span.wall.as_secs_f64(),
        "wall_s": span.wall.as_secs_f64(),
        "master_cpu_ns_per_task": cpu / done,
        "master_cpu_ns_per_packet": cpu / done * tasks_per_packet,
        "join_all_ns_per_task": joining,
        "master_cpu_share": span.cpu.as_secs_f64() / span.wall.as_secs_f64(),
        "packets": span.traffic.packets_in,
        "packets_out": span.traffic.packets_out,
        "tasks_per_packet": tasks_per_packet,
        "latency_us": latencies,
        "syscalls_per_task": syscalls,
        "syscalls_note": syscalls_note,
        "allocations": span.allocated.0,
        "allocated_bytes": span.allocated.1,
        "bytes_out": span.traffic.bytes_out,
        "bytes_in": span.traffic.bytes_in,
        "idle_slave_bytes": idle.saturating_sub(alone) as f64 / f64::from(case.slaves),
        "memory_idle_bytes": idle,
        "memory_peak_bytes": peak,
        "memory_settled_bytes": settled,
    }))
}

/// System calls per task of the master's threads, over more tasks of the same kind; or why they cannot be counted.
async fn count_syscalls(mw: &Master, load: Load) -> Result<Result<f64, String>> {
    let mut syscalls = match Syscalls::open() {
        Ok(syscalls) => syscalls,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let before = syscalls.count()?;
    let second = Load {
        tasks: (load.tasks / 8).max(1),
        warm: 0,
        limit: WORK_MAX / 6,
        until_drained: true,
        ..load
    };
    let flow = Flow::new(&second);
    flow.run(mw).await?;
    let calls = syscalls.count()? - before;
    Ok(Ok(calls as f64 / flow.submitted.get() as f64))
}

/// What the measured part of a flow cost.
#[derive(Copy, Clone)]
struct Span {
    /// Results that came in it.
    tasks: u64,
    /// Its time.
    wall: Duration,
    /// CPU time of this process in it, all threads.
    cpu: Duration,
    /// Packets and bytes of it.
    traffic: Traffic,
    /// Tasks of a packet of results, from the very first on.
    tasks_per_packet: f64,
    /// Allocations and their bytes.
    allocated: (u64, u64),
}

/// No-op tasks on their way through a master, and what is measured of them: all from the first result after the
/// `warm` first ones to the last.
struct Flow {
    load: Load,
    begun: Instant,
    submitted: Cell<u64>,
    /// Results of other tasks than no-ops.
    done: Cell<u64>,
    /// When each [`TIMED_APART`]th task was submitted, in nanoseconds since `begun`.
    stamps: RefCell<Vec<u64>>,
    latencies: RefCell<Histogram<u64>>,
    measuring: Cell<bool>,
    start: Cell<Option<Span>>,
    span: Cell<Option<Span>>,
}

impl Flow {
    fn new(load: &Load) -> Rc<Self> {
        let tasks = load.tasks;
        Rc::new(Flow {
            load: load.clone(),
            begun: Instant::now(),
            submitted: Cell::new(0),
            done: Cell::new(0),
            stamps: RefCell::new(Vec::with_capacity((tasks / TIMED_APART + 1) as usize)),
            latencies: RefCell::new(Histogram::new(3).expect("3 digits are allowed")),
            measuring: Cell::new(false),
            start: Cell::new(None),
            span: Cell::new(None),
        })
    }

    async fn run(self: &Rc<Self>, mw: &Master) -> Result {
        let Case { shape, group, .. } = self.load.case;
        if shape != Shape::Noop {
            let done = shapes::run(mw, shape, group, &**self).await?;
            assert_eq!(done, self.submitted.get(), "every result came once");
            self.end(mw, done);
            return Ok(());
        }
        let sum = match self.load.case.through {
            Through::Map => Some(self.through_map(mw).await?),
            Through::Queue => self.through_queue(mw).await?,
        };
        if let Some(sum) = sum {
            let expected = (0..self.submitted.get()).fold(0, u64::wrapping_add);
            assert_eq!(sum, expected, "every result came once");
            let tasks = self.submitted.get();
            self.end(mw, tasks);
        }
        Ok(())
    }

    async fn through_map(self: &Rc<Self>, mw: &Master) -> Result<u64> {
        let flow = Rc::clone(self);
        let mut results = mw.map(std::iter::from_fn(move || flow.next()));
        let (mut sum, mut done) = (0u64, 0);
        while let Some(n) = results.try_next().await? {
            sum = sum.wrapping_add(n);
            done += 1;
            self.on_result(mw, n, done);
        }
        Ok(sum)
    }

    /// `None`: the queue was measured full, and what was left in it is given up.
    async fn through_queue(self: &Rc<Self>, mw: &Master) -> Result<Option<u64>> {
        mw.set_target(self.load.target);
        let (mut sum, mut done) = (0u64, 0);
        loop {
            let missing = mw.upto_target();
            let flow = Rc::clone(self);
            mw.submit_all((0..missing).map_while(move |_| flow.next()));
            if done == self.submitted.get() {
                return Ok(Some(sum));
            }
            mw.events().await;
            for result in mw.take_results() {
                let n = result.output::<noop>()?;
                sum = sum.wrapping_add(n);
                done += 1;
                self.on_result(mw, n, done);
            }
            if !self.load.until_drained && self.submitted.get() == self.load.tasks {
                self.end(mw, done);
                mw.cancel_all();
                return Ok(None);
            }
        }
    }

    /// The next task, until there are none or the time is over.
    #[inline]
    fn next(&self) -> Option<Task<noop>> {
        self.next_number().map(noop::task)
    }

    #[inline]
    fn next_number(&self) -> Option<u64> {
        let n = self.submitted.get();
        if n == self.load.tasks || (n.is_multiple_of(TIMED_APART) && self.is_over()) {
            return None;
        }
        self.submitted.set(n + 1);
        Some(n)
    }

    /// Whether the time is over; else takes it of the next task.
    #[inline(never)]
    fn is_over(&self) -> bool {
        let now = self.begun.elapsed();
        let over = now > self.load.limit;
        if !over {
            self.stamps.borrow_mut().push(now.as_nanos() as u64);
        }
        over
    }

    #[inline]
    fn on_result(&self, mw: &Master, n: u64, done: u64) {
        if n.is_multiple_of(TIMED_APART) || !self.measuring.get() {
            self.on_noted(mw, n, done);
        }
    }

    #[inline(never)]
    fn on_noted(&self, mw: &Master, n: u64, done: u64) {
        let is_timed = n.is_multiple_of(TIMED_APART);
        if !self.measuring.get() {
            // Where the warm ones take too long, there must be time for others.
            let late = is_timed && self.begun.elapsed() > self.load.limit / 2;
            if done <= self.load.warm && !late {
                return;
            }
            self.measuring.set(true);
            self.start.set(Some(Span {
                tasks: done,
                wall: self.begun.elapsed(),
                cpu: process_cpu(),
                traffic: mw.traffic(),
                tasks_per_packet: f64::NAN,
                allocated: (self.load.allocated)(),
            }));
        }
        if is_timed {
            let now = self.begun.elapsed().as_nanos() as u64;
            let submitted = self.stamps.borrow()[(n / TIMED_APART) as usize];
            self.latencies
                .borrow_mut()
                .record(now - submitted)
                .expect("it grows as it must");
        }
    }

    /// What came since the first measured result, `done` results being in.
    fn end(&self, mw: &Master, done: u64) {
        self.span
            .set(self.start.take().map(|start| self.since(start, mw, done)));
    }

    fn since(&self, start: Span, mw: &Master, done: u64) -> Span {
        let (now, before) = (mw.traffic(), start.traffic);
        let allocated = (self.load.allocated)();
        Span {
            tasks: done - start.tasks + 1,
            wall: self.begun.elapsed() - start.wall,
            cpu: process_cpu() - start.cpu,
            traffic: Traffic {
                packets_out: now.packets_out - before.packets_out,
                bytes_out: now.bytes_out - before.bytes_out,
                packets_in: now.packets_in - before.packets_in,
                bytes_in: now.bytes_in - before.bytes_in,
            },
            tasks_per_packet: done as f64 / now.packets_in as f64,
            allocated: (
                allocated.0 - start.allocated.0,
                allocated.1 - start.allocated.1,
            ),
        }
    }
}

/// Results of other tasks than no-ops do not say which they are of: the time of one in so many is that of the task which
/// was submitted as the so-manieth.
impl Source for Flow {
    fn next(&self) -> Option<u64> {
        self.next_number()
    }

    fn done(&self, mw: &Master) {
        let n = self.done.get();
        self.done.set(n + 1);
        self.on_result(mw, n, n + 1);
    }
}
