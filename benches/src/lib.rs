//! What the benchmarks of ringmw share: the no-op workload, and how a case is run and measured.
//!
//! A case runs the whole system on loopback: a master in this process with its audit trail in a file, slaves as
//! processes of the same binary. What is measured is the CPU of the master's process, all its threads included, between
//! the first result and the last.

use std::cell::Cell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw::prelude::*;

/// The smallest task: what it costs is the system's own.
#[algorithm]
pub fn noop(n: u64) -> u64 {
    n
}

/// How the master algorithm takes its results.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Through {
    /// `map`.
    Map,
    /// `submit` and `take_results`.
    Queue,
}

/// One case of the throughput benchmark.
#[derive(Copy, Clone, Debug)]
pub struct Case {
    /// Tasks and results per packet; 0 is automatic.
    pub group: u32,
    /// Slave processes.
    pub slaves: u32,
    /// Tasks in all.
    pub tasks: u64,
    /// How results are taken.
    pub through: Through,
}

impl Case {
    /// The value of the grouping flags.
    pub fn group_text(&self) -> String {
        match self.group {
            0 => "auto".to_owned(),
            number => number.to_string(),
        }
    }
}

/// What a case cost.
#[derive(Copy, Clone, Debug)]
pub struct Measured {
    /// Results that came in the measured span.
    pub tasks: u64,
    /// Its wall time.
    pub wall: Duration,
    /// CPU time of the master's process in it.
    pub cpu: Duration,
}

impl Measured {
    /// Results per second.
    pub fn tasks_per_s(&self) -> f64 {
        self.tasks as f64 / self.wall.as_secs_f64()
    }

    /// Nanoseconds of the master's CPU for each.
    pub fn cpu_ns_per_task(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.tasks as f64
    }
}

/// CPU time of this process so far, user and system, all threads.
pub fn process_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The application that master and slaves of a case are.
pub fn app() -> App {
    App::new().algorithm::<noop>()
}

/// Runs a case with its trail in a file at a level, or without one; slaves are processes of this very binary, which must call `app().run()` when it is given `--mw-slave`.
///
/// # Panics
/// When the master algorithm fails or a slave cannot be started: a benchmark that does not run is no benchmark.
pub fn run(case: Case, engine: &str, trail: Option<(&Path, &str)>) -> Measured {
    let measured = Rc::new(Cell::new(None));
    let result = Rc::clone(&measured);
    let children = Rc::new(Cell::new(Vec::new()));
    let started = Rc::clone(&children);
    let code = app()
        .master(async move |mw: Master, _| {
            let measured = match case.through {
                Through::Map => through_map(&mw, case.tasks).await?,
                Through::Queue => through_queue(&mw, case).await?,
            };
            result.set(Some(measured));
            Ok::<(), Error>(())
        })
        .embedded(0)
        .args(trail.into_iter().flat_map(|(file, level)| {
            let file = file.display().to_string();
            [
                "--mw-audit-file".to_owned(),
                file,
                "--mw-audit-level".to_owned(),
                level.to_owned(),
            ]
        }))
        .args([
            "--mw-engine",
            engine,
            "--mw-slave-task-group",
            &case.group_text(),
            "--mw-slave-result-group",
            &case.group_text(),
        ])
        .on_ready(move |ready| started.set(start_slaves(&ready, case.slaves)))
        .run();
    for mut child in children.take() {
        child
            .wait()
            .expect("a slave that was started can be waited for");
    }
    assert_eq!(code, 0, "the master algorithm failed");
    measured.get().expect("the master algorithm measured")
}

fn start_slaves(ready: &Ready, slaves: u32) -> Vec<Child> {
    let (host, port) = ready.address.rsplit_once(':').expect("host:port");
    let member =
        String::from_utf8(ready.hello.member_id.clone()).expect("an embedded master's is text");
    let start = |_| {
        Command::new("/proc/self/exe")
            .args([
                "--mw-slave",
                "--mw-master-host",
                host,
                "--mw-master-port",
                port,
                "--mw-member-id",
                &member,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("this very binary can be started")
    };
    (0..slaves).map(start).collect()
}

struct Span {
    wall: Instant,
    cpu: Duration,
}

impl Span {
    fn begin() -> Self {
        Span {
            wall: Instant::now(),
            cpu: process_cpu(),
        }
    }

    fn end(self, tasks: u64) -> Measured {
        Measured {
            tasks,
            wall: self.wall.elapsed(),
            cpu: process_cpu() - self.cpu,
        }
    }
}

async fn through_map(mw: &Master, tasks: u64) -> Result<Measured> {
    let mut results = mw.map((0..tasks).map(noop::task));
    let (mut sum, mut count) = (0u64, 0);
    let mut span = None;
    while let Some(n) = results.try_next().await? {
        span.get_or_insert_with(Span::begin);
        sum = sum.wrapping_add(n);
        count += 1;
    }
    let measured = span.ok_or("there were no tasks")?.end(count);
    assert_eq!(
        sum,
        (0..tasks).fold(0, u64::wrapping_add),
        "every result came once"
    );
    Ok(measured)
}

async fn through_queue(mw: &Master, case: Case) -> Result<Measured> {
    let target = u64::from(case.slaves) * u64::from(case.group.max(100)) * 2 + 1_000;
    mw.set_target(target);
    let (mut next, mut done, mut sum) = (0, 0u64, 0u64);
    let mut span = None;
    while done < case.tasks {
        let missing = mw.upto_target().min(case.tasks - next);
        mw.submit_all((next..next + missing).map(noop::task));
        next += missing;
        mw.events().await;
        for result in mw.take_results() {
            span.get_or_insert_with(Span::begin);
            sum = sum.wrapping_add(result.output::<noop>()?);
            done += 1;
        }
    }
    assert_eq!(
        sum,
        (0..case.tasks).fold(0, u64::wrapping_add),
        "every result came once"
    );
    Ok(span.ok_or("there were no tasks")?.end(done))
}
