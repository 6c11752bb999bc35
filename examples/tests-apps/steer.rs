//! For the tests: a search that reports and is steered, of two conversations at once with a timer beside them.

use std::time::Duration;

use ringmw::prelude::*;
use tokio::time::sleep;

#[wire]
enum Steer {
    Cool(f64),
    Stop,
}

#[wire]
#[derive(Debug)]
struct Report {
    step: u64,
    cost: f64,
}

#[algorithm]
fn anneal(
    start: u64,
    talk: &mut Talk<Steer, Report>,
    best: &Best<f64, u64>,
    cx: &mut Cx,
) -> Result<u64, String> {
    let mut t = 1.0;
    for step in start.. {
        match talk.try_hear() {
            Some(Steer::Cool(c)) => t *= c,
            Some(Steer::Stop) => return Ok(step),
            None => {}
        }
        if step % 1000 == 0 {
            talk.say(&Report { step, cost: t });
        }
        if cx.cancelled() {
            break;
        }
        best.offer(t, &step);
    }
    Err("cancelled".into())
}

async fn master(mw: Master, _args: Args) -> Result {
    let best = mw.minimum(1e9);
    let a = mw.converse(anneal::task(1, &best));
    let b = mw.converse(anneal::task(2, &best));
    let (mut x, mut y) = (true, true);
    // Cooled so often, it is told to stop; the timer is for one that says nothing.
    let mut cooled = 0;
    while x || y {
        tokio::select! {
            heard = a.next(), if x => match heard {
                Some(Heard::Said(report)) => {
                    assert!(report.step % 1000 == 0 && report.cost <= 1.0, "{report:?}");
                    b.say(&Steer::Cool(0.9)).await;
                    cooled += 1;
                    if cooled == 20 {
                        a.say(&Steer::Stop).await;
                        b.say(&Steer::Stop).await;
                    }
                }
                Some(Heard::Restarted { attempt, .. }) => println!("again {attempt}"),
                None => x = false,
            },
            heard = b.next(), if y => match heard {
                Some(_heard) => {}
                None => y = false,
            },
            () = sleep(Duration::from_secs(5)) => {
                a.say(&Steer::Stop).await;
                b.say(&Steer::Stop).await;
            }
        }
    }
    let (a, b) = (a.await?, b.await?);
    println!("both stopped: {}", a > 0 && b > 0);
    println!("cooler than 0.9: {}", best.get() < 0.9);
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<anneal>().master(master).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit() {
        let mut talk = Talk::for_test([Steer::Stop]);
        let best = Best::minimum_for_test(1.0);
        assert_eq!(anneal(1, &mut talk, &best, &mut Cx::for_test(1)), Ok(1));
        assert!(talk.said().is_empty());
    }
}
