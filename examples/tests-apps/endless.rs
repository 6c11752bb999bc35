//! For the tests: a map over an endless iterator, dropped after `--results N`.

use std::cell::Cell;
use std::rc::Rc;

use ringmw::prelude::*;

#[algorithm]
fn echo(n: u64) -> u64 {
    n
}

async fn master(mw: Master, args: Args) -> Result {
    let wanted: u64 = args.value("--results", 1_000_000)?;
    let submitted = Rc::new(Cell::new(0));
    let counter = Rc::clone(&submitted);
    let mut echoes = mw.map((0..).map(move |n| {
        counter.set(n + 1);
        echo::task(n)
    }));
    let mut sum = 0;
    for _ in 0..wanted {
        sum += echoes.try_next().await?.expect("it is endless");
    }
    drop(echoes);
    println!(
        "submitted {} taken {wanted} sum {sum} runnable {}",
        submitted.get(),
        mw.runnable()
    );
    // The slaves are fit for more.
    println!("then {}", mw.call(echo::task(12)).await?);
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<echo>().master(master).run()
}
