//! Maps whose results are combined: whatever befalls the slaves, the value is that of the one tree over the places that
//! gave one, and the first place that gave none is the error.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::app::App;
use crate::master::{Master, TaskErrorKind};
use crate::testing::{Churn, World};

/// A number that shows of which place it is; of some there is none.
#[ringmw::algorithm]
fn leaf(place: u64, fails: u64) -> Result<u64, String> {
    match fails > 0 && mix(place, fails).is_multiple_of(fails) {
        true => Err(format!("place {place} has none")),
        false => Ok(mix(place, 1)),
    }
}

/// Neither commutative nor associative: of any other tree than the one it is another number.
fn mix(a: u64, b: u64) -> u64 {
    let mixed = a.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The tree that is promised, written down by itself: blocks of a power of two, left before right, and what is left at the
/// end combined from the right.
fn tree(values: &[u64]) -> Option<u64> {
    let (&first, rest) = values.split_first()?;
    if rest.is_empty() {
        return Some(first);
    }
    // The largest power of two below their number: half of them, where that is one.
    let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
    Some(mix(tree(left)?, tree(right)?))
}

#[derive(Copy, Clone, Debug)]
struct Habits {
    tasks: u64,
    /// One in so many fails; 0: none.
    fails: u64,
    window: Option<usize>,
    /// Other tasks are given meanwhile, so that the map's do not follow one another in number.
    disturbed: bool,
    /// Some places are taken back meanwhile.
    cancels: bool,
    leaves_holes_out: bool,
}

/// Runs one such master in a world of its own.
///
/// # Panics
/// When the value is another one, or the cores break the law.
pub(super) fn reduced(seed: u64, transcript: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x4ed0_ce00);
    let coin = |rng: &mut ChaCha8Rng| rng.random_range(0..2) == 0;
    let cancels = coin(&mut rng);
    let habits = Habits {
        tasks: [0, 1, 100, 128, 300, 300][rng.random_range(0..6)] + rng.random_range(0..3),
        fails: [0, 7, 20, 60][rng.random_range(0..4)],
        window: [None, Some(1), Some(9), Some(50)][rng.random_range(0..4)],
        disturbed: coin(&mut rng),
        cancels,
        leaves_holes_out: cancels || coin(&mut rng),
    };
    let group = [0, 1, 7, 40][rng.random_range(0..4)].to_string();
    let group = if group == "0" {
        "auto".to_owned()
    } else {
        group
    };
    let app = App::new()
        .algorithm::<leaf>()
        .master(move |mw, _| async move { master(mw, habits).await });
    let mut world = World::new(seed)
        .slaves(rng.random_range(1..6))
        .churn(Churn::every(Duration::from_millis(
            rng.random_range(20..400),
        )))
        .compute(Duration::from_micros(10), Duration::from_millis(20))
        .args(["--mw-client-timeout", "3", "--mw-crash-limit", "0"])
        .args(["--mw-slave-task-group", &group]);
    if transcript {
        eprintln!("{habits:?}");
        world = world.transcript();
    }
    let report = world.run(app);
    assert_eq!(report.code, 0, "{:?}", report.error);
}

async fn master(mw: Master, habits: Habits) {
    let Habits { tasks, fails, .. } = habits;
    let of = move |place: u64| {
        let task = leaf::task(place, fails);
        // A task with a tag goes by itself.
        match place % 17 == 3 {
            true => task.tag(&place),
            false => task,
        }
    };
    let map = mw.map((0..tasks).map(of));
    let map = match habits.window {
        Some(window) => map.window(window),
        None => map,
    };
    let beside = mw.spawn(beside(mw.clone(), habits));
    let all = map.reduce(mix);
    let is_hole = |place: &u64| leaf(*place, fails).is_err();
    if habits.leaves_holes_out {
        let all = all.holes().await;
        let holes: BTreeSet<u64> = all.holes.iter().map(|(place, _)| *place).collect();
        assert!(all.holes.is_sorted_by(|a, b| a.0 < b.0), "{holes:?}");
        for (place, error) in &all.holes {
            match error.kind() {
                TaskErrorKind::Failed { origin, .. } => {
                    assert_eq!(origin.args::<leaf>(), Some((*place, fails)));
                }
                TaskErrorKind::Cancelled { origin, .. } => {
                    assert!(habits.cancels && origin.args::<leaf>() == Some((*place, fails)));
                }
                other => panic!("place {place}: {other}"),
            }
        }
        let named = (0..tasks)
            .filter(is_hole)
            .all(|place| holes.contains(&place));
        assert!(named, "a place that gave nothing is not named: {holes:?}");
        let rest = (0..tasks).filter(|place| !holes.contains(place));
        let leaves: Vec<u64> = rest.map(|place| mix(place, 1)).collect();
        assert_eq!(all.value, tree(&leaves), "another tree; holes {holes:?}");
    } else {
        let first = (0..tasks).find(is_hole);
        match (all.await, first) {
            (Ok(value), None) => {
                let leaves: Vec<u64> = (0..tasks).map(|place| mix(place, 1)).collect();
                assert_eq!(value, tree(&leaves), "another tree");
            }
            (Err(error), Some(first)) => {
                let TaskErrorKind::Failed { origin, .. } = error.kind() else {
                    panic!("{error}");
                };
                let place = origin.args::<leaf>();
                assert_eq!(place, Some((first, fails)), "another place is the error");
                assert_eq!(mw.runnable(), 0, "what is out is taken back");
            }
            (value, first) => panic!("{value:?}, and the first hole is {first:?}"),
        }
    }
    beside.await;
}

/// Gives other tasks and takes places back.
async fn beside(mw: Master, habits: Habits) {
    if !habits.disturbed && !habits.cancels {
        return;
    }
    for n in 0..20u64 {
        if habits.disturbed {
            mw.cancel(mw.submit(leaf::task(n, 0)));
        }
        if habits.cancels {
            mw.cancel_tagged(&(17 * n + 3));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
