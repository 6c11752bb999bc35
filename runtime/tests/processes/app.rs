//! The application whose processes the tests start, what is right of it, and what its trails say.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ringmw::Ready;
use ringmw::prelude::*;
use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::batch::{TaskBatchBuilder, TaskBody, encode_task_body};
use ringmw_codec::frame::Kind;

use crate::conversing::{self, pay_heed, prate, prattle};
use crate::endless::endless;
use crate::logging::{self, shout};
use crate::memory::{self, spread};
use crate::misfortune::{self, fell, perish, pine, plod};
use crate::process::Process;
use crate::racing::{self, sprint};
use crate::support::{Given, archive, frame, result};

/// A nap that tells when it begins: it will be disturbed.
pub(crate) const LONG_MS: u64 = 60_000;

/// Naps, then squares; the ballast makes packets large.
#[algorithm]
fn square(n: u64, nap_ms: u64, ballast: Vec<u8>) -> u64 {
    if nap_ms >= LONG_MS {
        println!("{n} has begun");
    }
    thread::sleep(Duration::from_millis(nap_ms));
    n * n + ballast.len() as u64 - ballast.len() as u64
}

/// The first of the algorithms by name.
#[algorithm]
pub(crate) fn nap(ms: u64) -> u64 {
    thread::sleep(Duration::from_millis(ms));
    ms
}

/// In the environment of a slave: the file that its large results wait for.
pub(crate) const GATE: &str = "RINGMW_TEST_GATE";

/// The last of the algorithms by name: its results are large.
#[algorithm]
fn swell(n: u64, bytes: usize) -> Vec<u8> {
    if let Some(gate) = std::env::var_os(GATE) {
        while !Path::new(&gate).exists() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    vec![n as u8; bytes]
}

/// Tells when it is made.
struct Told;

impl SlaveState for Told {
    fn init(_cx: &mut Cx) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        println!("made");
        Ok(Told)
    }
}

/// A number that its random stream alone decides, and a nap.
#[algorithm]
fn noise(nap_ms: u64, _told: &mut Told, cx: &mut Cx) -> f64 {
    thread::sleep(Duration::from_millis(nap_ms));
    cx.rng().random::<f64>()
}

/// The smallest of these keys is looked for.
#[algorithm]
fn seek(from: u64, best: &Best<u64, u64>) {
    thread::sleep(Duration::from_millis(2));
    for n in from * 100..(from + 1) * 100 {
        let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        if key < best.get() {
            best.offer(key, &n);
        }
    }
}

/// What does not depend on when it is computed, in one line.
async fn outlive(mw: Master, tasks: u64) -> Result {
    let best = mw.minimum::<u64, u64>(u64::MAX);
    let mut sum = 0f64;
    let mut noises = mw.map((0..tasks).map(|_| noise::task(2))).in_order();
    while let Some(noise) = noises.try_next().await? {
        sum += noise / 3.0;
    }
    let mut seeks = mw.map((0..tasks).map(|from| seek::task(from, &best)));
    while seeks.try_next().await?.is_some() {}
    let tree = mw.map((0..tasks).map(|_| noise::task(2)));
    let tree = tree.reduce(|a, b| a + b).await?.ok_or("there are some")?;
    let (key, witness) = (best.get(), best.witness().ok_or("it is found")?);
    println!("{:x} {key} {witness} {:x}", sum.to_bits(), tree.to_bits());
    Ok(())
}

/// A state is saved each time that a file of its number is there, and restored once one is that says `over`.
async fn saves(mw: Master, folder: &Path) -> Result {
    for n in 0u64.. {
        while !folder.join(n.to_string()).exists() && !folder.join("over").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if folder.join("over").exists() {
            break;
        }
        match mw.save(&n).await {
            Ok(()) => println!("saved {n}"),
            Err(error) => println!("{error}"),
        }
    }
    println!(
        "restored {}",
        mw.restore::<u64>().await?.unwrap_or(u64::MAX)
    );
    Ok(())
}

/// Large results, each task begun at most once: one that is lost is told as unrunnable.
async fn swells(mw: Master, tasks: u64, bytes: usize) -> Result {
    let tasks = (0..tasks).map(|n| swell::task(n, bytes).retry(false));
    let mut swells = mw.map(tasks).window(1_000);
    let (mut good, mut bad) = (0, 0);
    while let Some(swell) = swells.next().await {
        match swell {
            Ok(swell) => good += u64::from(swell.len() == bytes),
            Err(_) => bad += 1,
        }
    }
    println!("{good} came, {bad} did not");
    Ok(())
}

async fn master(mw: Master, args: Args) -> Result {
    let slaves = args.value("--slaves", 1usize)?;
    let tasks = args.value("--tasks", 100u64)?;
    let nap_ms = args.value("--nap", 0u64)?;
    let ballast = args.value("--ballast", 0usize)?;
    let hold_ms = args.value("--hold", 0u64)?;
    let until: String = args.value("--until", String::new())?;
    while mw.connected() < slaves {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kind: String = args.value("--restless", String::new())?;
    if !kind.is_empty() {
        println!("{kind}");
        if kind == "converse" {
            return conversing::converse(&mw).await;
        }
        if kind == "talk" {
            return conversing::talk(&mw, Path::new(&until)).await;
        }
        if kind == "spread" {
            return memory::spreads(&mw, Path::new(&until)).await;
        }
        if kind == "race" {
            let folder: String = args.value("--folder", String::new())?;
            return racing::race(&mw, Path::new(&folder)).await;
        }
        return match endless(&mw, &kind).await {
            Some(ended) => ended,
            None => restless(&mw, &kind).await,
        };
    }
    let saved: String = args.value("--saves", String::new())?;
    if !saved.is_empty() {
        return saves(mw, Path::new(&saved)).await;
    }
    let outlives = args.value("--outlive", 0u64)?;
    if outlives > 0 {
        return outlive(mw, outlives).await;
    }
    let misfortune: String = args.value("--misfortune", String::new())?;
    if !misfortune.is_empty() {
        return misfortune::master(&mw, &args, tasks, &misfortune).await;
    }
    if hold_ms > 0 {
        thread::sleep(Duration::from_millis(hold_ms));
    }
    let swell = args.value("--swell", 0usize)?;
    if swell > 0 {
        return swells(mw, tasks, swell).await;
    }
    // As many as --tasks says; or, with --until, as many as are begun before that file is there.
    let numbers = (0..).take_while(|n| match &until[..] {
        "" => *n < tasks,
        file => n % 64 > 0 || !Path::new(file).exists(),
    });
    let mut squares = mw.map(numbers.map(|n| square::task(n, nap_ms, vec![7; ballast])));
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(square) = squares.try_next().await? {
        sum += square;
        count += 1;
    }
    println!("{count} squares, {sum}");
    Ok(())
}

/// A master algorithm that goes on for ever and leaves nobody any time.
async fn restless(mw: &Master, kind: &str) -> Result {
    match kind {
        "shouts" => logging::shouts(mw).await,
        // It does not wait for anything.
        "holds" => loop {
            thread::sleep(Duration::from_secs(LONG_MS));
        },
        // A call that fails at once is made again.
        "retries" => {
            let nobody = SlaveId(4_000_000);
            while mw.call(nap::task(0).slave(nobody)).await.is_err() {}
            Err("a slave that never came has answered".into())
        }
        // What it waits for is ready, and is nothing of the master's.
        "channel" => {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            tell.send(())?;
            while let Some(news) = told.recv().await {
                tell.send(news)?;
            }
            Ok(())
        }
        // A library of C might, in the midst of anything.
        "aborts" => std::process::abort(),
        "yields" => loop {
            tokio::task::yield_now().await;
        },
        // It starts a program, which tells the signals that it ignores.
        "starts" => {
            let status = ["SigIgn", "/proc/self/status"];
            let output = std::process::Command::new("grep").args(status).output()?;
            print!("{}", String::from_utf8(output.stdout)?);
            Ok(())
        }
        other => Err(other.into()),
    }
}

/// In the environment of a slave that has a slave algorithm of its own: what that one does.
pub(crate) const OWN_SLAVE: &str = "RINGMW_TEST_SLAVE";

fn own_slave(slave: &mut Slave, args: Args) -> u8 {
    match &std::env::var(OWN_SLAVE).unwrap()[..] {
        "dawdles" => {
            println!("{:?}", slave.one_task());
            thread::sleep(Duration::from_millis(LONG_MS));
        }
        "panics" => panic!("what a slave algorithm cannot bear"),
        "parses" => drop(args.parse::<NoArguments>()),
        "leaves" => {}
        "tells" => {
            let code = slave.until_shutdown();
            println!("over");
            return code;
        }
        "one task" => {
            slave.one_task();
            println!("over");
        }
        "one group" => {
            slave.one_group();
            println!("over");
        }
        "fails" => {
            slave.one_group();
            println!("over");
            panic!("what a slave algorithm cannot bear");
        }
        "groups" => groups(slave),
        other => panic!("{other}"),
    }
    0
}

/// Three tasks by each of the loops, and what their six values are; see `hearing`.
fn groups(slave: &mut Slave) {
    println!(
        "mine {:?}, the master's {:?}",
        slave.own_args(),
        slave.args()
    );
    // Nothing comes before the master has seen this.
    println!(
        "nothing {:?}",
        slave.one_task_timeout(Duration::from_millis(1))
    );
    println!(
        "nothing {:?}",
        slave.one_group_timeout(Duration::from_millis(1))
    );
    println!("group {:?}", slave.one_group());
    println!(
        "group {:?}",
        slave.one_group_timeout(Duration::from_secs(60))
    );
    println!("task {:?}", slave.one_task_timeout(Duration::from_secs(60)));
    println!("task {:?}", slave.one_task());
    println!("group {:?}", slave.one_group());
    println!("over {:?}", slave.one_group());
}

#[derive(clap::Parser)]
struct NoArguments {}

pub(crate) fn app() -> App {
    let app = App::new()
        .algorithm::<fell>()
        .algorithm::<nap>()
        .algorithm::<noise>()
        .algorithm::<seek>()
        .algorithm::<pay_heed>()
        .algorithm::<perish>()
        .algorithm::<pine>()
        .algorithm::<plod>()
        .algorithm::<prate>()
        .algorithm::<prattle>()
        .algorithm::<shout>()
        .algorithm::<spread>()
        .algorithm::<sprint>()
        .algorithm::<square>()
        .algorithm::<swell>()
        .master(master);
    match std::env::var_os(OWN_SLAVE) {
        Some(_) => app.slave(own_slave),
        None => app,
    }
}

/// What a master prints whose every task was answered once, and right.
pub(crate) fn printed(tasks: u64) -> String {
    format!(
        "{tasks} squares, {}\n",
        (0..tasks).map(|n| n * n).sum::<u64>()
    )
}

/// What a played slave answers: the first argument stands behind the lengths of two.
pub(crate) fn answer(given: &Given) -> Vec<u8> {
    let n = u64::from_le_bytes(given.args()[8..16].try_into().unwrap());
    result(given, n * n)
}

/// A packet of naps, numbered from 0.
pub(crate) fn naps(naps_ms: &[u64]) -> Vec<u8> {
    numbered_naps(0, naps_ms)
}

/// The number of `nap` among the algorithms, which are in the order of their names.
const NAP: u16 = 1;

/// A packet of naps, numbered from this one on.
pub(crate) fn numbered_naps(first: u64, naps_ms: &[u64]) -> Vec<u8> {
    let mut batch = TaskBatchBuilder::new();
    for (task, &ms) in (first..).zip(naps_ms) {
        let mut body = Vec::new();
        let args = archive(ms);
        let parts = TaskBody {
            domain: 0,
            stream: 0,
            tag_type: 0,
            timeout_ms: 0,
            tag: b"",
            args: &args,
        };
        encode_task_body(&mut body, &parts);
        batch.push(task, NAP, 0, &body);
    }
    let mut payload = Vec::new();
    batch.encode(&mut payload);
    frame(Kind::Tasks, &payload)
}

/// The hello of a slave of this application; asked of a master within this process.
pub(crate) fn ready(address: String) -> Ready {
    let hello = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&hello);
    async fn nothing(_: Master, _: Args) -> Result {
        Ok(())
    }
    let app = app().master(nothing);
    assert_eq!(
        app.embedded(0)
            .on_ready(move |ready| *slot.borrow_mut() = Some(ready.hello))
            .run(),
        0
    );
    let mut hello = hello.borrow_mut().take().unwrap();
    hello.member_id = b"default-member-id".to_vec();
    Ready {
        secret: None,
        address,
        hello,
    }
}

pub(crate) fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn lost(events: &[Event]) -> Vec<(u32, LossCause, u64)> {
    let lost = events.iter().filter_map(|event| match event {
        Event::Lost {
            slave,
            cause,
            recycled,
            ..
        } => Some((*slave, *cause, *recycled)),
        _ => None,
    });
    lost.collect()
}

pub(crate) fn count(events: &[Event], kind: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| kind(event)).count()
}

/// The trail ends with one line that says how.
pub(crate) fn assert_exit_line(process: &Process, expected: u8) {
    let events = process.events();
    let exits: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Exit { .. }))
        .collect();
    assert!(
        matches!(exits[..], [Event::Exit { code, .. }] if *code == expected),
        "{events:#?}"
    );
    assert_eq!(events.last(), exits.last().copied());
}
