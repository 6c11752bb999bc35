//! A slave at which everything fails, in the simulated world: what it costs, how soon it is named, and that it is taken back.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, Report, World};
use ringmw_codec::audit::{Event, Line};

/// On the slave of this number it fails at once.
#[algorithm]
fn work(_n: u64, bad: u32, cx: &mut Cx) -> Result<u32, String> {
    if cx.slave().0 == bad {
        return Err("no library on this node".to_owned());
    }
    // Each look takes 5 ms.
    for _ in 0..12 {
        let _ = cx.cancelled();
    }
    Ok(cx.slave().0)
}

const TASKS: u64 = 4_000;
const BAD: u32 = 3;

/// The slave that heals does so after so many results.
async fn master(mw: Master, args: Args) -> Result {
    let heals_after: u64 = args.value("--heals-after", TASKS)?;
    let (mut ended, mut failed, mut of_bad) = (0, 0, 0);
    for (tasks, bad) in [(heals_after, BAD), (TASKS - heals_after, u32::MAX)] {
        let mut ends = mw.map((0..tasks).map(|n| work::task(n, bad)));
        while let Some(end) = ends.next().await {
            ended += 1;
            match end {
                Ok(slave) => of_bad += u64::from(slave == BAD),
                Err(_) => failed += 1,
            }
        }
    }
    assert_eq!(ended, TASKS);
    assert!(failed <= TASKS / 50, "{failed} of {TASKS} failed");
    let heals = heals_after < TASKS;
    assert_eq!(of_bad > 20, heals, "it gave {of_bad} good results");
    Ok(())
}

fn run(seed: u64, args: &[&str]) -> (Report, Vec<(Duration, Event)>) {
    let app = App::new().algorithm::<work>().master(master);
    let millisecond = Duration::from_millis(1);
    let world = World::new(seed).slaves(8).churn(Churn::none());
    let world = world
        .compute(millisecond, millisecond)
        .args([&["--mw-no-secret"], args].concat());
    let report = world.run(app);
    assert_eq!(report.code, 0, "seed {seed}: {:?}", report.error);
    let text = String::from_utf8(report.trail.clone()).unwrap();
    let lines = text
        .lines()
        .map(|line| Line::parse(line).expect("the trail's own"));
    let lines = lines.map(|line| (Duration::from_micros(line.time_us as u64), line.event));
    let lines = lines.collect();
    (report, lines)
}

#[test]
fn a_black_hole_is_named_within_seconds_and_fails_few_tasks() {
    for seed in 0..1 {
        let (_, lines) = run(seed, &[]);
        let named = lines.iter().find_map(|(at, event)| match event {
            Event::Quarantined { slave, .. } => Some((*at, *slave)),
            _ => None,
        });
        let (at, slave) = named.unwrap_or_else(|| panic!("seed {seed}: nobody is named"));
        assert_eq!(slave, Some(BAD), "seed {seed}");
        assert!(at < Duration::from_secs(3), "seed {seed}: after {at:?}");
    }
}

#[test]
fn it_is_taken_back_when_it_heals() {
    for seed in 0..1 {
        let (_, lines) = run(seed, &["--heals-after", "400"]);
        let healed = |(_, event): &(_, Event)| {
            matches!(
                event,
                Event::QuarantineOver {
                    slave: Some(BAD),
                    healed: true,
                    ..
                }
            )
        };
        assert!(lines.iter().any(healed), "seed {seed}");
    }
}
