//! For the tests: the family's dpfw. A generator in a slave's table, a task with two ports, tasks side by side, the promise of
//! a local procedure, whoever is first, slaves that are its own. It wants five slaves with the label `gpu`.

use std::collections::HashMap;

use ringmw::futures::future::{join_all, select_ok, try_join_all};
use ringmw::prelude::*;

#[derive(Default)]
struct Table(HashMap<String, u64>);

impl SlaveState for Table {
    fn init(_: &mut Cx) -> Result<Self> {
        Ok(Table::default())
    }
}

#[algorithm]
fn next(id: String, table: &mut Table) -> u64 {
    let n = table.0.entry(id).or_default();
    *n += 1;
    *n
}

#[algorithm]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[algorithm]
fn ports(talk: &mut Talk<String, String>) -> u64 {
    let mut n = 0;
    while let Some(line) = talk.hear() {
        n += 1;
        talk.say(&line.to_uppercase());
        if line == "bye" {
            break;
        }
    }
    n
}

async fn master(mw: Master, _args: Args) -> Result {
    let slave = mw.reserve().await;
    for expected in 1..=2 {
        let next = next::task("uniqID".into()).slave(&slave);
        assert_eq!(mw.call(next).await?, expected);
    }
    let both = try_join_all([mw.call(add::task(2, 1)), mw.call(add::task(5, 5))]).await?;
    assert_eq!(both, [3, 10]);
    let promise = mw.spawn({
        let mw = mw.clone();
        async move {
            let talk = mw.converse(ports::task());
            for line in ["hello", "bye"] {
                talk.say(&line.to_string()).await;
                println!("{:?}", talk.next().await);
            }
            talk.await
        }
    });
    println!("{}", promise.await?);
    let (first, rest) = select_ok([mw.call(add::task(1, 1)), mw.call(add::task(2, 2))]).await?;
    drop(rest);
    // Four more, each of which has this label.
    let slaves = join_all((0..4).map(|_| mw.reserve().needs("gpu"))).await;
    println!("{} {}", first == 2 || first == 4, slaves.len());
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<next>()
        .algorithm::<add>()
        .algorithm::<ports>()
        .master(master)
        .run()
}
