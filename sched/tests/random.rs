//! Long random runs with many slaves and tasks, against the model: whatever happens, every end is told once.

mod model;

use model::{Event, Hold, World};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use ringmw_sched::{Config, Group};

/// What kind of weather a run has: how often each kind of event happens.
#[derive(Clone, Debug)]
struct Weather {
    slaves: u32,
    churn: u32,
    groups: u32,
    cancels: u32,
    lies: u32,
}

/// One event out of three numbers, as the situation allows it.
fn event(world: &World, weather: &Weather, kind: u32, a: u32, b: u32) -> Event {
    let model = &world.model;
    let slave = |nth: u32| model.slaves.get(nth as usize % model.slaves.len().max(1));
    let any_slave = if model.slave_count() == 0 {
        0
    } else {
        a % (model.slave_count() + 1)
    };
    let any_task = if model.task_count() == 0 {
        0
    } else {
        u64::from(a) % model.task_count()
    };
    let group = Group::ALL[a as usize % 3];
    let mut kinds = vec![
        (
            if (model.slaves.len() as u32) < weather.slaves {
                2 + weather.churn
            } else {
                0
            },
            0,
        ),
        (weather.churn, 1),
        (weather.groups, 2),
        (weather.groups, 3),
        (weather.groups, 4),
        (
            if model.task_count() > 0 {
                weather.cancels
            } else {
                0
            },
            5,
        ),
        (weather.lies, 6),
        (weather.lies, 7),
        (1, 8),
        (40, 9),
        (40, 10),
        (80, 11),
        (10, 12),
        (2 * weather.cancels, 13),
    ];
    kinds.retain(|(weight, _)| *weight > 0);
    let mut rest = kind % kinds.iter().map(|(weight, _)| weight).sum::<u32>();
    let (_, kind) = *kinds
        .iter()
        .find(|(weight, _)| {
            let hit = rest < *weight;
            rest = rest.saturating_sub(*weight);
            hit
        })
        .unwrap();
    let one_in = |n: u32| b.is_multiple_of(n);
    match (kind, slave(a)) {
        (0, _) => Event::Connect,
        (1, Some(slave)) => Event::Lose(slave.id, !one_in(3)),
        (2, _) => Event::Allocate(group, b % 4),
        (3, _) if one_in(4) => Event::FreeOf(group),
        (3, _) => Event::Deallocate(group, b % 4),
        (4, Some(slave)) => Event::Free(slave.id),
        (5, _) => Event::Cancel(any_task),
        (6, _) => Event::Result(any_slave, u64::from(b) % (model.task_count() + 1)),
        (7, _) => Event::Withdrawn(
            any_slave,
            u64::from(b) % (model.task_count() + 1),
            one_in(2),
        ),
        (8, _) => Event::Hold(one_in(2)),
        (9, _) => Event::Submit {
            to: one_in(3).then_some(any_slave),
            do_it_anyway: one_in(2),
            retry: !one_in(7),
            of: [0, 0, 0, 1, 2, 3][b as usize % 6],
            algorithm: (b % 3) as u16,
            bytes: if b % 50 == 1 { 1000 } else { b % 40 },
        },
        (11, Some(slave)) if !slave.hands.is_empty() => Event::Result(slave.id, slave.hands[0].0),
        (12, Some(slave)) if !slave.hands.is_empty() => Event::Announce(slave.id, slave.hands[0].0),
        (13, Some(slave)) => match slave
            .hands
            .iter()
            .find(|(_, hold)| *hold == Hold::Withdrawn)
        {
            Some(&(task, _)) => Event::Withdrawn(slave.id, task, one_in(3)),
            None => Event::HandOut,
        },
        _ => Event::HandOut,
    }
}

fn weathers() -> impl Strategy<Value = Weather> {
    (1..40u32, 0..12u32, 0..8u32, 0..12u32, 0..3u32).prop_map(
        |(slaves, churn, groups, cancels, lies)| Weather {
            slaves,
            churn,
            groups,
            cancels,
            lies,
        },
    )
}

fn configs() -> impl Strategy<Value = Config> {
    (
        1..12u32,
        0..4u32,
        40..200u32,
        0..10u32,
        prop_oneof![Just(2_000u64), Just(1 << 30)],
    )
        .prop_map(
            |(
                task_group,
                crash_limit,
                task_packet_bytes_max,
                task_packet_overhead_bytes,
                queued_bytes_max,
            )| {
                Config {
                    task_group,
                    crash_limit,
                    task_packet_bytes_max,
                    task_packet_overhead_bytes,
                    queued_bytes_max,
                    ..Config::for_test()
                }
            },
        )
}

proptest! {
    #![proptest_config(Runs { cases: 200, rng_seed: RngSeed::Fixed(920), failure_persistence: None, ..Runs::default() })]

    #[test]
    fn the_law_holds_in_any_weather(
        config in configs(),
        weather in weathers(),
        draws in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..800),
    ) {
        let mut world = World::new(config);
        for (nth, (kind, a, b)) in draws.into_iter().enumerate() {
            let event = event(&world, &weather, kind, a, b);
            world.step(&event);
            // All of it, but not always: long stories are worth more than a look after every word.
            if nth % 8 == 0 {
                world.compare();
            }
        }
        world.finish();
    }
}
