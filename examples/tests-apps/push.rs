//! Work-pushing with a bounded queue for each reserved slave, one light thread a slave; then the same with a stream's
//! combinators.
use std::cell::RefCell;
use std::rc::Rc;

use ringmw::futures::future::join_all;
use ringmw::futures::stream::{self, FuturesUnordered, StreamExt};
use ringmw::prelude::*;

#[algorithm]
fn factors(n: u64) -> u64 {
    n
}

async fn master(mw: Master, args: Args) -> Result {
    let upto: u64 = args.value("--upto", 100)?;
    let numbers = Rc::new(RefCell::new(1..=upto));
    let slaves = join_all((0..4).map(|_| mw.reserve())).await;
    let sums = join_all(slaves.iter().map(|slave| {
        let (mw, numbers) = (&mw, &numbers);
        let push = move || {
            let next = numbers.borrow_mut().next();
            next.map(|n| mw.call(factors::task(n).slave(slave).do_it_anyway(true)))
        };
        async move {
            let mut queue: FuturesUnordered<_> = (0..8).map_while(|_| push()).collect();
            let mut sum = 0;
            while let Some(f) = queue.next().await {
                sum += f?;
                queue.extend(push());
            }
            Ok::<u64, TaskError>(sum)
        }
    }))
    .await;
    let total: u64 = sums.into_iter().sum::<std::result::Result<_, _>>()?;
    drop(slaves);
    let again: u64 = stream::iter(1..=upto)
        .map(|n| mw.call(factors::task(n)))
        .buffer_unordered(64)
        .fold(0, async |sum, f| sum + f.unwrap_or(0))
        .await;
    println!("sums of 1..{upto}: {total} {again}");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<factors>().master(master).run()
}
