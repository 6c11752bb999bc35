//! For the tests: an endless map of small mixed tasks and an endless trickle into the queue, every answer checked, until
//! the file `--until` exists. Any wrong, missing or second answer is a panic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmw::prelude::*;

/// Tasks of the map that are out.
const WINDOW: usize = 400;
/// Tasks of the queue that are out.
const QUEUED_MAX: usize = 300;

/// Computes for so long and answers with so many bytes.
#[algorithm]
fn mixed(n: u64, us: u64, bytes: usize) -> (u64, Vec<u8>) {
    compute(us);
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

/// What is out, and how the rest has ended.
#[derive(Default)]
struct Queue {
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
        for result in mw.take_results() {
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
            let n = self.close(task.id(), task.tag()?);
            assert!(!is_retried(n), "{n}: {}", task.reason());
            self.unrunnable += 1;
        }
        mw.take_connected();
        mw.take_disconnected();
        Ok(())
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let until: String = args.value("--until", String::new())?;
    let open = RefCell::new(BTreeMap::new());
    let tasks = (0u64..)
        .take_while(|n| n % 64 > 0 || !Path::new(&until).exists())
        .map(|n| {
            open.borrow_mut().insert(digest(n), n);
            mixed::task(n, cost_us(n), answer_bytes(n))
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
        queue.fill(&mw);
        queue.take(&mw)?;
    }
    assert!(open.borrow().is_empty(), "never answered: {open:?}");
    while !mw.events().await.is_empty() {
        queue.take(&mw)?;
    }
    assert!(queue.open.is_empty(), "never ended: {:?}", queue.open);
    println!("{right} of the map");
    println!(
        "{} of the queue: {} right, {} failed, {} unrunnable",
        queue.next, queue.right, queue.failed, queue.unrunnable
    );
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<mixed>()
        .algorithm::<moody>()
        .master(master)
        .run()
}
