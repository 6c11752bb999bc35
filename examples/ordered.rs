//! Slaves that remember: a table of primes too big for one of them lies in shards on slaves that keep their shard
//! between tasks and are asked by name. One of them dies on the way; its shard is rebuilt on another slave.
//!
//! Ordered slaves do what is addressed to them and nothing else; the intermingle slave keeps a shard too, and otherwise
//! helps with the tasks that any slave may do.
//!
//! ```text
//! cargo run --release --example ordered
//! cargo run --release --example ordered -- --ordered 3 --mw-local 5
//! ```
//!
//! As a master and slaves, one more of them than are asked for by `--ordered` (default 1), and another one for the one
//! that dies (the master's trail says which port it has):
//!
//! ```text
//! ordered --mw-master --mw-master-host 127.0.0.1
//! ordered --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use std::collections::{BTreeMap, BTreeSet};

use ringmw::prelude::*;

/// All primes are below this.
const LIMIT: u64 = 1_000_000;

/// The numbers for which the primes below them are counted.
const QUESTIONS: [u64; 5] = [1_000, 10_000, 100_000, 500_000, LIMIT];

/// What a slave remembers: the primes of each shard that it keeps.
struct Table(BTreeMap<u64, Vec<u64>>);

impl SlaveState for Table {
    fn init(_cx: &mut Cx) -> Result<Self> {
        Ok(Table(BTreeMap::new()))
    }
}

/// Finds the primes of this shard, to be asked for later.
#[algorithm]
fn build(shard: u64, shards: u64, table: &mut Table) {
    let width = LIMIT.div_ceil(shards);
    let numbers = shard * width..((shard + 1) * width).min(LIMIT);
    table
        .0
        .insert(shard, numbers.filter(|n| is_prime(*n)).collect());
}

/// How many primes of this shard are below `n`.
#[algorithm]
fn primes_below(n: u64, shard: u64, table: &mut Table) -> Result<usize, String> {
    let primes = table
        .0
        .get(&shard)
        .ok_or(format!("shard {shard} is not here"))?;
    Ok(primes.partition_point(|prime| *prime < n))
}

/// The slave dies, as slaves do.
#[algorithm]
fn die() {
    std::process::exit(1)
}

/// What any slave may do, without a table: count the primes of a range.
#[algorithm]
fn count(from: u64, to: u64) -> usize {
    (from..to).filter(|n| is_prime(*n)).count()
}

fn is_prime(n: u64) -> bool {
    n > 1
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

/// Which slave keeps which shard, and what the shards have answered.
#[derive(Default)]
struct Shards {
    number: u64,
    homeless: BTreeSet<u64>,
    free: BTreeMap<SlaveId, Group>,
    homes: BTreeMap<SlaveId, u64>,
    answers: BTreeMap<(u64, u64), usize>,
    killed: bool,
}

impl Shards {
    fn new(number: u64) -> Self {
        Shards {
            number,
            homeless: (0..number).collect(),
            ..Shards::default()
        }
    }

    fn is_done(&self) -> bool {
        self.answers.len() as u64 == self.number * QUESTIONS.len() as u64
    }

    /// A slave's shard is lost with it. Its tasks turn out unrunnable: nobody else could do them.
    fn on_disconnected(&mut self, slave: SlaveId) {
        self.free.remove(&slave);
        if let Some(shard) = self.homes.remove(&slave) {
            println!("{slave} is lost, and shard {shard} with it");
            self.homeless.insert(shard);
        }
    }

    /// Gives every shard that nobody keeps to a slave that keeps none, with the questions that are open.
    fn settle(&mut self, mw: &Master) {
        while !self.homeless.is_empty()
            && let Some((slave, group)) = self.free.pop_first()
            && let Some(shard) = self.homeless.pop_first()
        {
            println!("{slave} ({group}) builds shard {shard}");
            self.homes.insert(slave, shard);
            // Tasks for one slave begin in the order in which they are submitted.
            mw.submit(build::task(shard, self.number).slave(slave));
            let open = QUESTIONS
                .into_iter()
                .filter(|n| !self.answers.contains_key(&(shard, *n)));
            for n in open {
                mw.submit(primes_below::task(n, shard).slave(slave).tag(&(shard, n)));
                if !std::mem::replace(&mut self.killed, true) {
                    mw.submit(die::task().slave(slave));
                }
            }
        }
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let ordered: u32 = args.value("--ordered", 1)?;
    mw.allocate(Group::Ordered, ordered);
    mw.allocate(Group::Intermingle, 1);
    println!("waiting for {ordered} ordered and 1 intermingle slave");
    let number = u64::from(ordered) + 1;
    let mut shards = Shards::new(number);

    let step = LIMIT / 20;
    let mut to_count = mw.submit_all(
        (0..LIMIT)
            .step_by(step as usize)
            .map(|from| count::task(from, from + step)),
    );
    let mut counted = 0;
    while to_count > 0 || !shards.is_done() {
        mw.events().await;
        // In this order: one that came and went already stands in both.
        shards.free.extend(mw.take_connected());
        for (slave, _) in mw.take_disconnected() {
            shards.on_disconnected(slave);
        }
        shards.settle(&mw);
        for result in mw.take_results() {
            if result.is::<count>() {
                counted += result.output::<count>()?;
                to_count -= 1;
            } else if result.is::<primes_below>() {
                let asked = result
                    .tag::<(u64, u64)>()?
                    .expect("every question has this tag");
                shards
                    .answers
                    .insert(asked, result.output::<primes_below>()?);
            }
        }
        for task in mw.take_unrunnable() {
            println!("{} is unrunnable: {}", task.algorithm(), task.why());
        }
    }

    for n in QUESTIONS {
        let primes: usize = (0..number).map(|shard| shards.answers[&(shard, n)]).sum();
        println!("{primes} primes below {n}");
    }
    println!("{counted} counted without a table");
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<build>()
        .algorithm::<primes_below>()
        .algorithm::<die>()
        .algorithm::<count>()
        .master(master)
        .run()
}
