//! For the tests: throws a coin until a precision is reached, reproducibly; saved, and continued by the next life of its run.

use ringmw::prelude::*;

#[algorithm]
fn throws(n: u64, cx: &mut Cx) -> u64 {
    (0..n).filter(|_| cx.rng().random::<f64>() < 0.5).count() as u64
}

async fn master(mw: Master, args: Args) -> Result {
    let precision: f64 = args.value("--precision", 1e-4)?;
    let ((mut hits, mut n), at) = mw
        .restore::<((u64, u64), Position)>()
        .await?
        .unwrap_or_default();
    let tasks = (at.index()..).map(|_| throws::task(1000));
    let mut map = mw.map(tasks).in_order().resume_at(at);
    while let Some(h) = map.try_next().await? {
        hits += h;
        n += 1000;
        if n % 1_000_000 == 0 {
            mw.save(&((hits, n), map.position())).await?;
        }
        if (n as f64).sqrt().recip() < precision {
            break;
        }
    }
    println!("{}", hits as f64 / n as f64);
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<throws>().master(master).run()
}
