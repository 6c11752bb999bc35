//! For the tests: tasks that end their slaves in every way, hang, fail, fork, take memory, need a label, or a licence that
//! one node lacks, beside many that do nothing odd, until the file `--until` exists. Every end is checked: any wrong,
//! missing or second one is a panic.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ringmw::Reason;
use ringmw::prelude::*;

/// How long one that never ends may take.
const TIMEOUT: Duration = Duration::from_millis(300);
/// The label of slaves that may die of a task.
const SPARE: &str = "spare";
/// In a slave's own arguments: it fails every [`choosy`] at once.
const SICK: &str = "--sick";
/// In a slave's own arguments: no [`Licence`] can be had there.
const UNLICENSED: &str = "--unlicensed";

/// Ends in this way, or does as it is told.
#[algorithm]
fn act(n: u64, how: &str, cx: &mut Cx) -> u64 {
    match how {
        "be good" => sleep(Duration::from_micros(n % 2_000)),
        // SAFETY: it is not: nothing is at address 8, and that is the point.
        "segfault" => unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(n) },
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        // SAFETY: it ends the process at once.
        "_exit" => unsafe { libc::_exit(0) },
        "hang" => loop {
            sleep(Duration::from_secs(1));
        },
        "heed" => {
            while !cx.cancelled() {
                sleep(Duration::from_millis(5));
            }
        }
        "swell" => {
            let mut taken = Vec::new();
            loop {
                taken.push(vec![1u8; 4 << 20]);
                sleep(Duration::from_millis(1));
            }
        }
        "fork" => {
            // SAFETY: the child returns from the task like its parent, and ends there.
            unsafe { libc::fork() };
        }
        other => panic!("nobody does {other}"),
    }
    digest(n)
}

/// Fails everywhere, one way or the other. An algorithm of its own: these are submitted one after another, and of one that
/// else succeeds a slave that happens to get them all would be taken for a bad one.
#[algorithm]
fn broken(n: u64, panics: bool) -> Result<u64, String> {
    assert!(!panics, "{n} is out of order");
    Err(format!("{n} is out of order"))
}

/// What a slave knows of its node.
struct Node {
    is_sick: bool,
}

impl SlaveState for Node {
    fn init(cx: &mut Cx) -> Result<Self> {
        let is_sick = cx.own_args().iter().any(|arg| arg == SICK);
        Ok(Node { is_sick })
    }
}

/// Fails at once on a sick node, takes a little elsewhere.
#[algorithm]
fn choosy(n: u64, node: &mut Node) -> Result<u64, String> {
    if node.is_sick {
        return Err("no library on this node".to_owned());
    }
    sleep(Duration::from_millis(3));
    Ok(digest(n))
}

/// Not to be had everywhere.
struct Licence;

impl SlaveState for Licence {
    fn init(cx: &mut Cx) -> Result<Self> {
        match cx.own_args().iter().any(|arg| arg == UNLICENSED) {
            true => Err("no licence on this node".into()),
            false => Ok(Licence),
        }
    }
}

#[algorithm]
fn licensed(n: u64, _licence: &mut Licence) -> u64 {
    digest(n)
}

/// SplitMix64: every task's answer comes of it.
fn digest(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What becomes of a task that is not given up for its slaves' deaths.
#[derive(Clone, Copy, PartialEq)]
enum Due {
    Output,
    /// A failed result whose message has this.
    Failure(&'static str),
    /// Nothing: it is given up, always.
    Nothing,
}

/// A kind of task: how many of it are out at a time, and what is due.
struct Kind {
    name: &'static str,
    out: usize,
    due: Due,
}

const fn kind(name: &'static str, out: usize, due: Due) -> Kind {
    Kind { name, out, due }
}

/// Of the deadly ones few are out: each takes several slaves with it.
const KINDS: &[Kind] = &[
    kind("be good", 200, Due::Output),
    kind("fail", 10, Due::Failure("is out of order")),
    kind("panic", 5, Due::Failure("is out of order")),
    kind("fork", 2, Due::Output),
    kind("heed", 1, Due::Output),
    kind("hang", 1, Due::Failure("timed out after 0.3 s")),
    kind("segfault", 1, Due::Nothing),
    kind("abort", 1, Due::Nothing),
    kind("exit", 1, Due::Nothing),
    kind("_exit", 1, Due::Nothing),
    kind("swell", 1, Due::Nothing),
    kind("choosy", 60, Due::Output),
    kind("licensed", 20, Due::Output),
    kind("needy", 5, Due::Output),
];

#[derive(Default)]
struct Ends {
    outputs: u64,
    failures: u64,
    given_up: u64,
}

#[derive(Default)]
struct Run {
    next: u64,
    /// By the task's number: its kind's place, and its own number.
    open: BTreeMap<u64, (usize, u64)>,
    ends: BTreeMap<&'static str, Ends>,
}

impl Run {
    fn fill(&mut self, mw: &Master) {
        for (place, kind) in KINDS.iter().enumerate() {
            let out = self.open.values().filter(|open| open.0 == place).count();
            for _ in out..kind.out {
                let n = self.next;
                self.next += 1;
                let id = match kind.name {
                    "choosy" => mw.submit(choosy::task(n)),
                    "licensed" => mw.submit(licensed::task(n)),
                    "fail" | "panic" => mw.submit(broken::task(n, kind.name == "panic")),
                    "needy" => mw.submit(act::task(n, "be good").needs("gpu")),
                    how => {
                        let task = act::task(n, how).timeout(TIMEOUT);
                        mw.submit(match kind.due == Due::Nothing || how == "hang" {
                            true => task.needs(SPARE),
                            false => task,
                        })
                    }
                };
                self.open.insert(id.seq(), (place, n));
            }
        }
    }

    fn close(&mut self, id: TaskId) -> (&'static Kind, u64) {
        let (place, n) = self
            .open
            .remove(&id.seq())
            .unwrap_or_else(|| panic!("{id} ended twice, or never was"));
        (&KINDS[place], n)
    }

    fn ends(&mut self, kind: &Kind) -> &mut Ends {
        self.ends.entry(kind.name).or_default()
    }

    fn take(&mut self, mw: &Master) -> Result {
        for result in mw.take_results() {
            let (kind, n) = self.close(result.id());
            let name = kind.name;
            if let Some(message) = result.failure() {
                let is_due = match kind.due {
                    Due::Failure(due) => message.contains(due),
                    _ => name == "choosy" && message.contains("no library on this node"),
                };
                // Whoever is stopped by the test for longer than its time has timed out.
                assert!(
                    is_due || message.contains("timed out after 0.3 s"),
                    "{name} {n}: {message}"
                );
                self.ends(kind).failures += 1;
                continue;
            }
            assert!(kind.due == Due::Output, "{name} {n} has an output");
            let answer = match name {
                "choosy" => result.output::<choosy>()?,
                "licensed" => result.output::<licensed>()?,
                _ => result.output::<act>()?,
            };
            assert_eq!(answer, digest(n), "{name} {n}");
            self.ends(kind).outputs += 1;
        }
        for task in mw.take_unrunnable() {
            let (kind, n) = self.close(task.id());
            let is_crashed = matches!(task.reason(), Reason::Crashed { .. });
            assert!(is_crashed, "{} {n}: {}", kind.name, task.why());
            self.ends(kind).given_up += 1;
        }
        Ok(())
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let until: String = args.value("--until", String::new())?;
    let mut run = Run::default();
    while !Path::new(&until).exists() {
        run.fill(&mw);
        mw.events_timeout(Duration::from_millis(50)).await;
        run.take(&mw)?;
    }
    while !mw.events().await.is_empty() {
        run.take(&mw)?;
    }
    assert!(run.open.is_empty(), "never ended: {:?}", run.open);
    for (name, ends) in &run.ends {
        let Ends {
            outputs,
            failures,
            given_up,
        } = ends;
        println!("{name}: {outputs} outputs, {failures} failed, {given_up} given up");
    }
    // The test's own kills may meet a task that has nothing to do with them, four times; hardly ever.
    let good = &run.ends["be good"];
    assert!(
        good.outputs > 0 && good.given_up * 100 <= good.outputs,
        "{} of {} that do nothing odd were given up",
        good.given_up,
        good.outputs
    );
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<act>()
        .algorithm::<broken>()
        .algorithm::<choosy>()
        .algorithm::<licensed>()
        .master(master)
        .run()
}
