//! For the tests: an endless map of small mixed tasks, an endless trickle into the queue, and an endless row of tasks for
//! each ordered and intermingle slave, every answer checked, until the file `--until` exists. The map's tasks share a
//! bound that never ceases to improve. Any wrong, missing or second answer is a panic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmw::prelude::*;
use ringmw::{TaskResult, UnrunnableTask};

/// Tasks of the map that are out.
const WINDOW: usize = 400;
/// Tasks of the queue that are out.
const QUEUED_MAX: usize = 300;
/// Tasks that are out for each slave that is addressed.
const ROW_MAX: u64 = 10;

/// Computes for so long and answers with so many bytes; the highest number has its digest as witness.
#[algorithm]
fn mixed(n: u64, us: u64, bytes: usize, highest: &Best<u64, u64>) -> (u64, Vec<u8>) {
    compute(us);
    highest.offer(n, &digest(n));
    (digest(n), vec![digest(n) as u8; bytes])
}

/// The queue's: some fail.
#[algorithm]
fn moody(n: u64, us: u64) -> Result<u64, String> {
    compute(us);
    if fails(n) {
        return Err(format!("{n} is out of order"));
    }
    Ok(digest(n))
}

/// What a slave remembers: the number of the last task that was addressed to it.
struct Memory(Option<u64>);

impl SlaveState for Memory {
    fn init(_cx: &mut Cx) -> Result<Self> {
        Ok(Memory(None))
    }
}

/// For this slave, so many of its row; tells who has it, and what that slave had of its row before.
#[algorithm]
fn addressed(
    to: u32,
    number: u64,
    us: u64,
    memory: &mut Memory,
    cx: &mut Cx,
) -> (u32, Option<u64>) {
    compute(us);
    let own = cx.slave().0;
    if own != to {
        return (own, None);
    }
    (own, memory.0.replace(number))
}

fn compute(us: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(us) {
        std::hint::spin_loop();
    }
}

/// SplitMix64: every task's answer, cost and size come of it.
fn digest(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Most tasks are short, one in 64 takes 20 ms.
fn cost_us(n: u64) -> u64 {
    match digest(n) >> 58 {
        0 => 20_000,
        _ => digest(n) % 500,
    }
}

/// Most answers are short, one in 64 has 20 KB.
fn answer_bytes(n: u64) -> usize {
    match (digest(n) >> 48) % 64 {
        0 => 20_000,
        _ => (digest(n) >> 40) as usize % 50,
    }
}

fn fails(n: u64) -> bool {
    n % 41 == 7
}

/// These end with their slave.
fn is_retried(n: u64) -> bool {
    n % 5 != 3
}

/// The tasks that are addressed to slaves.
#[derive(Default)]
struct Rows {
    /// The next number of each slave that is there, and how many of its tasks are out.
    slaves: BTreeMap<u32, (u64, u64)>,
    /// Slave and number.
    open: BTreeMap<u64, (u32, u64)>,
    right: u64,
    elsewhere: u64,
    unrunnable: u64,
}

fn runs_anyway(number: u64) -> bool {
    number % 3 == 1
}

impl Rows {
    fn fill(&mut self, mw: &Master) {
        for (&slave, (next, out)) in &mut self.slaves {
            while *out < ROW_MAX {
                let number = *next;
                (*next, *out) = (number + 1, *out + 1);
                let cost = cost_us(u64::from(slave) << 32 | number);
                let task = addressed::task(slave, number, cost)
                    .slave(SlaveId(slave))
                    .do_it_anyway(runs_anyway(number))
                    .retry(is_retried(number));
                self.open.insert(mw.submit(task).seq(), (slave, number));
            }
        }
    }

    fn close(&mut self, id: TaskId) -> (u32, u64) {
        let (to, number) = self
            .open
            .remove(&id.seq())
            .unwrap_or_else(|| panic!("{id} ended twice, or never was"));
        if let Some((_, out)) = self.slaves.get_mut(&to) {
            *out -= 1;
        }
        (to, number)
    }

    fn on_result(&mut self, result: &TaskResult) {
        let (to, number) = self.close(result.id());
        let (slave, before) = result.output::<addressed>().expect("it has not failed");
        assert_eq!(slave, result.slave().0, "who has it knows its own number");
        if slave == to {
            assert_eq!(
                before,
                number.checked_sub(1),
                "what SLAVE-{to} had before {number}"
            );
            self.right += 1;
        } else {
            assert!(runs_anyway(number), "{number} of SLAVE-{to} ran elsewhere");
            self.elsewhere += 1;
        }
    }

    fn on_unrunnable(&mut self, task: &UnrunnableTask) {
        let (to, number) = self.close(task.id());
        assert!(
            !runs_anyway(number) || !is_retried(number),
            "{number} of SLAVE-{to}: {}",
            task.why()
        );
        self.unrunnable += 1;
    }

    fn meet(&mut self, mw: &Master) {
        // In this order: one that came and went already stands in both.
        for (slave, _) in mw.take_connected() {
            self.slaves.entry(slave.0).or_default();
        }
        for (slave, _) in mw.take_disconnected() {
            self.slaves.remove(&slave.0);
        }
    }
}

/// What is out, and how the rest has ended.
#[derive(Default)]
struct Queue {
    rows: Rows,
    next: u64,
    open: BTreeMap<u64, u64>,
    right: u64,
    failed: u64,
    unrunnable: u64,
}

impl Queue {
    fn fill(&mut self, mw: &Master) {
        while self.open.len() < QUEUED_MAX {
            let n = self.next;
            self.next += 1;
            let task = moody::task(n, cost_us(n)).tag(&n).retry(is_retried(n));
            self.open.insert(mw.submit(task).seq(), n);
        }
    }

    fn close(&mut self, id: TaskId, tag: Option<u64>) -> u64 {
        let n = self.open.remove(&id.seq());
        let n = n.unwrap_or_else(|| panic!("{id} ended twice, or never was"));
        assert_eq!(tag, Some(n), "{id} has its own tag");
        n
    }

    fn take(&mut self, mw: &Master) -> Result<(), ringmw::TagError> {
        self.rows.meet(mw);
        for result in mw.take_results() {
            if result.is::<addressed>() {
                self.rows.on_result(&result);
                continue;
            }
            let n = self.close(result.id(), result.tag()?);
            match result.failure() {
                Some(message) => {
                    assert!(
                        fails(n) && message.contains(&format!("{n} is out of order")),
                        "{n}: {message}"
                    );
                    self.failed += 1;
                }
                None => {
                    let answer = result.output::<moody>().expect("it has not failed");
                    assert_eq!((answer, fails(n)), (digest(n), false), "{n}");
                    self.right += 1;
                }
            }
        }
        for task in mw.take_unrunnable() {
            if task.is::<addressed>() {
                self.rows.on_unrunnable(&task);
                continue;
            }
            let n = self.close(task.id(), task.tag()?);
            assert!(!is_retried(n), "{n}: {}", task.why());
            self.unrunnable += 1;
        }
        Ok(())
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let until: String = args.value("--until", String::new())?;
    // Slaves of each of the groups that are addressed.
    let addressed: u32 = args.value("--addressed", 2)?;
    let groups = [Group::Ordered, Group::Intermingle];
    for group in groups {
        mw.allocate(group, addressed);
    }
    let highest = mw.maximum(0u64);
    let open = RefCell::new(BTreeMap::new());
    let tasks = (0u64..)
        .take_while(|n| n % 64 > 0 || !Path::new(&until).exists())
        .map(|n| {
            open.borrow_mut().insert(digest(n), n);
            mixed::task(n, cost_us(n), answer_bytes(n), &highest)
        });
    let mut queue = Queue::default();
    let mut answers = mw.map(tasks).window(WINDOW);
    let mut right = 0u64;
    while let Some(answer) = answers.next().await {
        let (digest, bytes) = answer?;
        let n = open.borrow_mut().remove(&digest);
        let n = n.unwrap_or_else(|| panic!("{digest:x} is wrong, or came twice"));
        assert_eq!(bytes, vec![digest as u8; answer_bytes(n)], "{n}");
        right += 1;
        let best = highest.get();
        assert!(best >= n, "{n} is done, and {best} the highest");
        let witness = highest.witness();
        assert_eq!(witness, (best > 0).then(|| self::digest(best)), "of {best}");
        queue.fill(&mw);
        queue.rows.fill(&mw);
        queue.take(&mw)?;
    }
    assert!(open.borrow().is_empty(), "never answered: {open:?}");
    for group in groups {
        mw.deallocate(group, addressed);
    }
    while !mw.events().await.is_empty() {
        queue.take(&mw)?;
    }
    assert!(queue.open.is_empty(), "never ended: {:?}", queue.open);
    let rows = queue.rows;
    assert!(rows.open.is_empty(), "never ended: {:?}", rows.open);
    println!("{right} of the map");
    println!(
        "{} of the queue: {} right, {} failed, {} unrunnable",
        queue.next, queue.right, queue.failed, queue.unrunnable
    );
    println!(
        "addressed: {} in their row, {} elsewhere, {} unrunnable",
        rows.right, rows.elsewhere, rows.unrunnable
    );
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<mixed>()
        .algorithm::<moody>()
        .algorithm::<addressed>()
        .master(master)
        .run()
}
