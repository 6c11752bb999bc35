//! What a long run under churn does to the master's memory: tasks through a map and the queue, while slaves are killed
//! and evicted one after the other and others come in their place.
//!
//! Two things are held against the master, or this exits with 1:
//!
//! - At the end its resident memory is within 10 % of its level after the first million tasks. Both are taken
//!   once every task has ended and the allocator has given back what is free (`malloc_trim(3)`): all that is left is
//!   held by somebody. On a master of 5 MiB 10 % are less than the tables that it has from the start but has not
//!   touched yet, so [`TABLES_BYTES`] are allowed in any case; 0.1 bytes lost per task would still be seen.
//! - At no time between was it more than [`BURST_BYTES_MAX`] above that: lists of results that came at once and were
//!   taken at once, and what the allocator keeps of them. It goes by the size of the groups, not by how many tasks there
//!   were.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin churn
//! cargo run --release -p ringmw-benches --bin churn -- --tasks 3000000 --engine epoll --json
//! ```

use std::cell::Cell;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use ringmw::Ready;
use ringmw::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

/// The level is taken after so many tasks.
const SETTLED: u64 = 1_000_000;
/// Tables of a fixed size whose pages become resident as the groups grow, which they do long after the first
/// million tasks: a chunk of the table of tasks (4096 of 96 bytes), what is read into (256 KiB of epoll's, 4 MiB of the
/// ring's, most of which are soon touched). 0.1 to 0.4 MiB were seen.
const TABLES_BYTES: f64 = 1_048_576.0;
/// What may come and go on top of the level: 0.6 MiB were seen in groups of 100, 2.1 MiB in those that the master
/// chooses, in the third million tasks as in the tenth.
const BURST_BYTES_MAX: f64 = 4_194_304.0;
/// Tasks of the queue that wait.
const QUEUED: u64 = 2_000;

/// Runs no-op tasks under churn and weighs the master.
#[derive(Clone, Parser)]
struct Opts {
    /// Tasks in all
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(2 * SETTLED..))]
    tasks: u64,
    /// Slaves that there are at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    slaves: usize,
    /// Milliseconds from one loss to the next
    #[arg(long, value_name = "MS", default_value_t = 25)]
    every_ms: u64,
    /// Tasks and results per packet, or auto
    #[arg(long, value_name = "N", default_value = "auto")]
    group: String,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// How much the master may have grown at the end, of its level
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    growth_max: f64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[algorithm]
fn echo(n: u64) -> u64 {
    n
}

fn app() -> App {
    App::new().algorithm::<echo>()
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok())
        .expect("VmRSS is a number of KiB")
        * 1024.0
}

// ---- slaves that come and go

/// Has slaves lost until it is dropped.
struct Churn {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Churn {
    fn begin(ready: Ready, opts: Opts) -> Churn {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut slaves: Vec<_> = (0..opts.slaves).map(|_| start(&ready)).collect();
            let mut lost = 0;
            while !until.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(opts.every_ms));
                let slave = &mut slaves[lost as usize % opts.slaves];
                let signal = [Signal::KILL, Signal::TERM][lost as usize / opts.slaves % 2];
                kill_process(Pid::from_child(slave), signal).expect("it is our child");
                slave.wait().expect("it is our child");
                *slave = start(&ready);
                lost += 1;
            }
            // The master has ended, and they do.
            for mut slave in slaves {
                slave.wait().expect("it is our child");
            }
            lost
        });
        Churn {
            over,
            thread: Some(thread),
        }
    }

    /// How many were lost.
    fn end(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("every slave can be started and ended")
    }
}

/// A slave in a process of this very binary.
fn start(ready: &Ready) -> Child {
    let (host, port) = ready.address.rsplit_once(':').expect("host:port");
    let member = std::str::from_utf8(&ready.hello.member_id).expect("an embedded master's is text");
    Command::new("/proc/self/exe")
        .args(["--mw-slave", "--mw-master-host", host])
        .args(["--mw-master-port", port, "--mw-member-id", member])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this very binary can be started")
}

// ---- the master

#[derive(Copy, Clone, Default)]
struct Weighed {
    /// Resident bytes after the first tasks, trimmed.
    settled: f64,
    /// At most, at any time after that.
    most: f64,
    /// At the end, trimmed.
    last: f64,
    unrunnable: u64,
}

impl Weighed {
    fn growth(&self) -> f64 {
        self.last / self.settled - 1.0
    }
}

/// Resident bytes once the allocator has given back what is free.
fn trimmed() -> f64 {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
    resident()
}

/// Works until the first tasks have ended, and then until all have; weighs the master after each.
async fn work(mw: Master, tasks: u64) -> Result<Weighed> {
    let mut weighed = Weighed::default();
    run(&mw, SETTLED, &mut weighed).await?;
    weighed.settled = trimmed();
    weighed.most = weighed.settled;
    run(&mw, tasks - SETTLED, &mut weighed).await?;
    weighed.last = trimmed();
    Ok(weighed)
}

/// Half of the tasks through a map, half through the queue, where one in ten is not retried.
async fn run(mw: &Master, tasks: u64, weighed: &mut Weighed) -> Result {
    let half = tasks / 2;
    let mut weigh_at = SETTLED;
    let (mut submitted, mut sum) = (0, 0u64);
    let (mut mapped, mut queued) = (0, 0);
    let mut answers = mw.map((0..half).map(echo::task));
    mw.set_target(QUEUED);
    while mapped < half || queued < half {
        // The map drives; the queue is served beside it, and alone at the end.
        match answers.try_next().await? {
            Some(n) => {
                sum = sum.wrapping_add(n);
                mapped += 1;
            }
            None => drop(mw.events().await),
        }
        if mapped % 100 == 0 || mapped == half {
            let room = mw.upto_target().min(half - submitted);
            let task = |n: u64| echo::task(n).tag(&n).retry(!n.is_multiple_of(10));
            mw.submit_all((submitted..submitted + room).map(task));
            submitted += room;
            for result in mw.take_results() {
                let n = result.output::<echo>()?;
                assert_eq!(result.tag()?, Some(n), "{} has its own tag", result.id());
                sum = sum.wrapping_add(n);
                queued += 1;
            }
            for task in mw.take_unrunnable() {
                let n = task.tag::<u64>()?.ok_or("it had a tag")?;
                assert_eq!(n % 10, 0, "{n}: {}", task.why());
                sum = sum.wrapping_add(n);
                queued += 1;
                weighed.unrunnable += 1;
            }
        }
        if mapped + queued >= weigh_at {
            weighed.most = weighed.most.max(resident());
            weigh_at += SETTLED;
        }
    }
    let once = (0..half).fold(0, u64::wrapping_add);
    assert_eq!(sum, once.wrapping_mul(2), "every task ended once");
    Ok(())
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--mw-slave") {
        return app().run();
    }
    let opts = Opts::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trail = folder.path().join("trail").display().to_string();
    let weighed = Rc::new(Cell::new(Weighed::default()));
    let churn = Rc::new(Cell::new(None));
    let (result, begun_churn) = (Rc::clone(&weighed), Rc::clone(&churn));
    let (tasks, begin) = (opts.tasks, opts.clone());
    let begun = Instant::now();
    let code = app()
        .master(async move |mw: Master, _| {
            result.set(work(mw, tasks).await?);
            Ok::<(), Error>(())
        })
        .embedded(0)
        .args(["--mw-engine", &opts.engine, "--mw-crash-limit", "0"])
        .args(["--mw-audit-file", &trail, "--mw-no-secret"])
        .args(["--mw-slave-task-group", &opts.group])
        .args(["--mw-slave-result-group", &opts.group])
        .on_ready(move |ready| begun_churn.set(Some(Churn::begin(ready, begin))))
        .run();
    let seconds = begun.elapsed().as_secs_f64();
    let lost = churn.take().expect("the master was ready").end();
    assert_eq!(code, 0, "the master algorithm failed");
    let weighed = weighed.get();
    let [settled, most, last] =
        [weighed.settled, weighed.most, weighed.last].map(|bytes| bytes / f64::from(1 << 20));
    let (growth, unrunnable) = (weighed.growth(), weighed.unrunnable);
    if opts.json {
        println!(
            "{{\"case\":\"churn\",\"engine\":\"{}\",\"tasks\":{tasks},\"seconds\":{seconds:.1},\"slaves_lost\":{lost},\"unrunnable\":{unrunnable},\"settled_mib\":{settled:.2},\"most_mib\":{most:.2},\"last_mib\":{last:.2},\"growth\":{growth:.3}}}",
            opts.engine
        );
    } else {
        println!(
            "{tasks} tasks in {seconds:.1} s, {lost} slaves lost, {unrunnable} tasks not retried: {settled:.2} MiB after \
             {SETTLED}, {most:.2} MiB at most, {last:.2} MiB at the end, {:+.1} %",
            100.0 * growth
        );
    }
    let level_max = weighed.settled + TABLES_BYTES.max(opts.growth_max * weighed.settled);
    let ok = weighed.last <= level_max && weighed.most <= level_max + BURST_BYTES_MAX;
    match ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
