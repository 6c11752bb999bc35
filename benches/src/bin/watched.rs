//! What it costs a master to be watched, and how long an answer takes while its thread is held.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin watched
//! cargo run --release -p ringmw-benches --bin watched -- --runs 9 --slaves 5000
//! cargo run --release -p ringmw-benches --bin watched -- --held 30 --slaves 5000
//! ```

use std::cell::RefCell;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ringmw::prelude::*;
use ringmw_benches::case::{self, Case, Load, PLAYED_FROM, Through};
use ringmw_benches::fleet;
use ringmw_benches::played::{self, Cast};
use ringmw_benches::shapes::Shape;
use ringmw_benches::{apart, app, look, machine};
use ringmw_codec::audit::{Event, Line};
use ringmw_codec::handshake::Hello;
use serde_json::Value;

/// No-op tasks at full throughput by a master that nobody can watch, one that nobody watches, and one whose page is open
///
/// The three are run in turns, each a process of its own. CPU is that of the master's process, all threads, a task. The
/// page is played: a process that asks for the status as often as the page does, every second, every other one with more
/// than 1,000 slaves.
#[derive(Parser)]
struct Opts {
    /// Slaves, from 1,000 on played ones
    #[arg(long, default_value_t = 2, value_name = "N")]
    slaves: u32,
    /// Tasks per packet
    #[arg(long, default_value_t = 100, value_name = "N")]
    group: u32,
    /// Tasks of each run
    #[arg(long, default_value_t = 40_000_000, value_name = "N")]
    tasks: u64,
    /// Rounds
    #[arg(long, default_value_t = 5, value_name = "N")]
    runs: u32,
    /// Instead: the master algorithm holds its thread for so many seconds, and it is asked all the while
    #[arg(long, value_name = "SECONDS")]
    held: Option<u64>,
}

/// Who sees how the run does.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
enum Watch {
    /// Nobody can: it has neither a page nor a resource file.
    None,
    /// Who likes, and nobody does.
    Unseen,
    /// Somebody who has the page open.
    Page,
}

/// While the thread is held, an answer is asked for so often.
const ASKED_EVERY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some("--mw-master") {
        return app().master(master).run();
    }
    let opts = Opts::parse();
    let told = match opts.held {
        Some(_) => run(&opts, Watch::Page).map(|answers| println!("{answers}")),
        None => rounds(&opts),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watched: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let case = Case {
        through: Through::Map,
        shape: Shape::Noop,
        group: args.value("--group", 100)?,
        slaves: args.value("--slaves", 2)?,
    };
    match args.value("--held", 0)? {
        0 => {
            let load = Load::with(case, args.value("--tasks", 1_000_000)?);
            println!("{}", case::measure(mw, load).await?);
        }
        seconds => {
            fleet::connected(&mw, case.slaves).await;
            println!("all are here");
            // How they are is published before the thread is held.
            tokio::time::sleep(Duration::from_secs(3)).await;
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }
    Ok(())
}

/// What this very binary's slaves say first.
fn hello() -> Hello {
    async fn nothing(_: Master, _: Args) -> Result {
        Ok(())
    }
    let hello = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&hello);
    let master = app().master(nothing).embedded(0);
    master
        .on_ready(move |ready| *slot.borrow_mut() = Some(ready.hello))
        .run();
    let mut hello = hello.borrow_mut().take().expect("it was ready");
    hello.member_id = b"default-member-id".to_vec();
    hello
}

/// Where this master, whose trail is here, listens; it must not have ended.
fn address(master: &mut Child, trail: &Path) -> Result<String> {
    loop {
        let text = std::fs::read_to_string(trail).unwrap_or_default();
        let events = text.lines().filter_map(|line| Line::parse(line).ok());
        let mut ready = events.filter_map(|line| match line.event {
            Event::Ready { addresses, .. } => addresses.first().cloned(),
            _ => None,
        });
        if let Some(address) = ready.next() {
            return Ok(address);
        }
        if let Some(status) = master.try_wait()? {
            return Err(format!("the master ended with {status}: {text}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn slaves(count: u32, address: &str) -> std::io::Result<Vec<Child>> {
    if count >= PLAYED_FROM {
        let cast = Cast {
            slaves: count,
            ..Cast::default()
        };
        return Ok(vec![played::start_at(address, &hello(), None, &cast)?]);
    }
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let to = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    let start = |_| {
        let mut slave = Command::new("/proc/self/exe");
        slave.args(to).stdout(Stdio::null()).spawn()
    };
    (0..count).map(start).collect()
}

/// One run: the master's figures, or of a held one how long the answers took.
fn run(opts: &Opts, watch: Watch) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (trail, file) = (path("trail"), path("app.rsc"));
    let mut master = Command::new("/proc/self/exe");
    master.args([
        "--mw-master",
        "--mw-master-host",
        "127.0.0.1",
        "--mw-no-secret",
    ]);
    master.args(["--mw-audit-file", &trail]);
    for (flag, number) in [
        ("--mw-slave-task-group", u64::from(opts.group)),
        ("--mw-slave-result-group", u64::from(opts.group)),
        ("--slaves", u64::from(opts.slaves)),
        ("--group", u64::from(opts.group)),
        ("--tasks", opts.tasks),
        ("--held", opts.held.unwrap_or(0)),
    ] {
        master.args([flag, &number.to_string()]);
    }
    if watch != Watch::None {
        master.args(["--mw-resource-file", &file, "--mw-status-port", "0"]);
    }
    let mut master = master
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let fleet = slaves(opts.slaves, &address(&mut master, trail.as_ref())?)?;
    let every = match (opts.held, opts.slaves) {
        (Some(_), _) => ASKED_EVERY,
        (None, ..=1_000) => Duration::from_secs(1),
        (None, _) => Duration::from_secs(2),
    };
    let looks = match watch {
        Watch::Page => Some(look::start(file.as_ref(), every)?),
        _ => None,
    };
    let output = master.wait_with_output()?;
    let answers = looks.map(look::wait).transpose()?;
    for slave in fleet {
        slave.wait_with_output()?;
    }
    if !output.status.success() {
        return Err(format!("the master ended with {}", output.status).into());
    }
    match (opts.held, answers) {
        (Some(_), Some(answers)) => Ok(answers),
        _ => Ok(serde_json::from_slice(&output.stdout)?),
    }
}

fn rounds(opts: &Opts) -> Result<()> {
    println!(
        "load {:.1}; ns of the master's CPU a task, {} slaves, {} tasks a packet",
        machine::load().unwrap_or(f64::NAN),
        opts.slaves,
        opts.group
    );
    let mut all: [Vec<f64>; 3] = Default::default();
    for round in 0..opts.runs as usize {
        // Each begins a round as often as the others.
        for nth in 0..all.len() {
            let at = (round + nth) % all.len();
            let figures = run(opts, Watch::value_variants()[at])?;
            all[at].push(apart::number(&figures, "master_cpu_ns_per_task"));
        }
    }
    for (watch, figures) in Watch::value_variants().iter().zip(&all) {
        let ratios = figures.iter().zip(&all[0]).map(|(with, none)| with / none);
        println!(
            "{watch:?}: median {:.2}, least {:.2}, median of the rounds' ratios {:.4}",
            apart::median(figures.clone()),
            figures.iter().copied().fold(f64::INFINITY, f64::min),
            apart::median(ratios.collect())
        );
    }
    Ok(())
}
