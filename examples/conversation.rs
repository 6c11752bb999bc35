//! A search that reports and is steered: several walkers look for the lowest place of a landscape, tell where they are, and are
//! sent to where another one has found it lower.
//!
//! ```text
//! cargo run --release --example conversation -- --walkers 4 --reports 30
//! ```
//!
//! Use a conversation where the master has to see what a task is doing, and the task has to hear of it, before it is through. A
//! better bound alone is said with `Best`, how far a task is with `cx.progress`; both cost less. A task that converses has its
//! slave to itself until it has ended.

use futures_util::future::join_all;
use ringmw::prelude::*;
use std::cell::Cell;

/// What a walker hears.
#[wire]
enum Steer {
    /// Go on from here, where it is lower.
    From([f64; 2]),
    /// That is enough.
    Stop,
}

/// What a walker says now and then.
#[wire]
#[derive(Debug)]
struct Report {
    place: [f64; 2],
    height: f64,
}

/// A landscape with very many hollows, the deepest of them, of height 0, at (1, 1).
fn height([x, y]: [f64; 2]) -> f64 {
    let hollow = |x: f64| x * x - (6.0 * std::f64::consts::PI * x).cos() + 1.0;
    hollow(x - 1.0) + hollow(y - 1.0)
}

/// Walks until it is told to stop, and gives the lowest place that it has seen.
#[algorithm]
fn walk(start: [f64; 2], talk: &mut Talk<Steer, Report>, cx: &mut Cx) -> [f64; 2] {
    let (mut place, mut width, mut steps) = (start, 4.0, 0u64);
    while talk.is_open() {
        for _ in 0..2_000 {
            let next = place.map(|at| at + width * cx.rng().random_range(-1.0..1.0));
            if height(next) < height(place) {
                place = next;
            }
        }
        width = (width * 0.8).max(1e-3);
        steps += 2_000;
        cx.progress(steps, 0);
        let height = height(place);
        // Says where it is, and waits for what the master makes of that.
        talk.say(&Report { place, height });
        match talk.hear() {
            Some(Steer::From(lower)) => place = lower,
            Some(Steer::Stop) | None => break,
        }
    }
    place
}

/// One walker: hears what it reports, and sends it to the lowest place that any of them knows.
async fn steer(mw: Master, start: [f64; 2], reports: u32, lowest: &Cell<[f64; 2]>) -> Result<()> {
    let talk = mw.converse(walk::task(start));
    let mut heard = 0;
    while let Some(news) = talk.next().await {
        match news {
            Heard::Said(report) => {
                heard += 1;
                if report.height < height(lowest.get()) {
                    lowest.set(report.place);
                }
                let steer = match heard < reports {
                    true => Steer::From(lowest.get()),
                    false => Steer::Stop,
                };
                talk.say(&steer).await;
            }
            Heard::Restarted { attempt, slave } => {
                eprintln!("{} begins for the {attempt}th time, on {slave}", talk.id());
            }
        }
    }
    let place = talk.await?;
    if height(place) < height(lowest.get()) {
        lowest.set(place);
    }
    Ok(())
}

async fn master(mw: Master, args: Args) -> Result {
    let walkers: u32 = args.value("--walkers", 4)?;
    let reports: u32 = args.value("--reports", 30)?;
    let lowest = Cell::new([9.0, 9.0]);
    let starts = (0..walkers).map(|n| [f64::from(n) - 5.0, 7.0 - f64::from(n)]);
    let all = starts.map(|start| steer(mw.clone(), start, reports, &lowest));
    for walked in join_all(all).await {
        walked?;
    }
    let [x, y] = lowest.get();
    println!("{:.3} at {x:.2} {y:.2}", height(lowest.get()));
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<walk>().master(master).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walker_stops_when_it_is_told() {
        let mut talk = Talk::for_test([Steer::From([1.0, 1.0]), Steer::Stop]);
        let place = walk([5.0, 5.0], &mut talk, &mut Cx::for_test(1));
        assert_eq!(place, [1.0, 1.0]);
        assert_eq!(talk.said().len(), 2);
    }
}
