//! What slaves remember: dpfw's generator, whose numbers go on where they stopped, and a database that each slave loads
//! once and that is asked many times.
//!
//! ```text
//! cargo run --release --example remembering
//! ```
//!
//! Use `SlaveState` for what takes long to make and is worth keeping: a table, a connection, a cache. What must be true on
//! one slave alone, as a generator's last number, goes to an ordered slave by `.slave(id)`, and is gone with it.

use std::collections::BTreeMap;

use ringmw::prelude::*;

/// The last number of each generator on this slave.
#[derive(Default)]
struct Generators(BTreeMap<String, u64>);

impl SlaveState for Generators {
    fn init(_cx: &mut Cx) -> Result<Self> {
        Ok(Generators::default())
    }
}

/// The next number of a generator.
#[algorithm]
fn next(name: &str, generators: &mut Generators) -> u64 {
    let last = generators.0.entry(name.to_owned()).or_default();
    *last += 1;
    *last
}

/// The squares, and how often they were asked here.
struct Database {
    squares: Vec<u64>,
    asked: u64,
}

impl SlaveState for Database {
    fn init(_cx: &mut Cx) -> Result<Self> {
        let squares = (0..100_000).map(|n| n * n).collect();
        Ok(Database { squares, asked: 0 })
    }
}

/// The root of a square, if it is one, and how many questions this slave has answered.
#[algorithm]
fn root(square: u64, database: &mut Database) -> (Option<u64>, u64) {
    database.asked += 1;
    let root = database.squares.binary_search(&square).ok();
    (root.map(|root| root as u64), database.asked)
}

async fn master(mw: Master, _args: Args) -> Result {
    mw.allocate(Group::Intermingle, 1);
    let slave = loop {
        mw.events().await;
        if let Some((slave, _)) = mw.take_connected().pop() {
            break slave;
        }
    };
    for name in ["uniqID", "uniqID", "other", "uniqID"] {
        let number = mw.call(next::task(name).slave(slave)).await?;
        println!("{name}: {number}");
    }
    let mut roots = mw.map((0..10_000).map(|n| root::task(n * 7)));
    let (mut found, mut most) = (0, 0);
    while let Some((root, asked)) = roots.try_next().await? {
        found += u64::from(root.is_some());
        most = most.max(asked);
    }
    println!("{found} of 10000 multiples of seven are squares");
    println!(
        "one slave answered {}",
        if most > 1 {
            "many questions of one database"
        } else {
            "one"
        }
    );
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<next>()
        .algorithm::<root>()
        .master(master)
        .run()
}
