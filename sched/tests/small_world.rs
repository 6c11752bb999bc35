//! Every order of events in a small world, against the model: up to 3 tasks of every policy, up to 3 connections.
//!
//! `RINGMW_DEPTH=6 cargo test --release -p ringmw-sched --test small_world` goes deeper.

mod model;

use std::collections::HashSet;

use model::{Event, Hold, Model, World};
use ringmw_sched::{Config, Group};

const TASKS_MAX: u64 = 3;
const CONNECTIONS_MAX: u32 = 3;

/// Every event that may happen next; of those that only report offences, one of a kind.
fn possible(world: &World) -> Vec<Event> {
    let model = &world.model;
    let mut events = vec![Event::HandOut, Event::Hold(!model.is_held())];
    if model.slave_count() < CONNECTIONS_MAX {
        events.push(Event::Connect);
    }
    if model.task_count() < TASKS_MAX {
        events.extend(submits(if model.task_count() == 1 { 2 } else { 0 }));
    }
    for slave in &model.slaves {
        let id = slave.id;
        events.extend([
            Event::Lose(id, true),
            Event::Lose(id, false),
            Event::Free(id),
        ]);
        if let Some(&(task, _)) = slave.hands.first() {
            events.extend([Event::Result(id, task), Event::Announce(id, task)]);
        }
        for &(task, hold) in slave.hands.iter().filter(|(_, hold)| *hold != Hold::Live) {
            events.push(Event::Withdrawn(id, task, false));
            events.extend((hold == Hold::Withdrawn).then_some(Event::Withdrawn(id, task, true)));
        }
        if let Some(&(task, _)) = slave.hands.get(1) {
            events.extend([
                Event::Result(id, task),
                Event::Announce(id, task),
                Event::Withdrawn(id, task, true),
            ]);
        }
    }
    events.extend((0..model.task_count()).map(Event::Cancel));
    for group in [Group::Ordered, Group::Intermingle] {
        events.extend((model.desired(group) < 2).then_some(Event::Allocate(group, 1)));
        events.extend((model.desired(group) > 0).then_some(Event::Deallocate(group, 1)));
    }
    events
}

/// A task of every policy.
fn submits(of: u8) -> impl Iterator<Item = Event> {
    (0..12).map(move |bits| {
        let to = [None, Some(0), Some(1)][bits / 4];
        let (do_it_anyway, retry) = (bits & 1 == 1, bits & 2 == 2);
        Event::Submit {
            to,
            do_it_anyway,
            retry,
            of,
            algorithm: u16::from(of > 0),
            bytes: 10,
        }
    })
}

/// Is printed if a step panics.
struct Story(Vec<Event>);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after: {:#?}", self.0);
        }
    }
}

/// Level by level, so that a situation is met first on its shortest way, and is gone on from once.
fn check(config: Config, opening: &[Event]) {
    let depth_max =
        std::env::var("RINGMW_DEPTH").map_or(4, |depth| depth.parse().expect("a number"));
    let mut world = World::new(config);
    for event in opening {
        world.step(event);
        world.compare();
    }
    let mut seen: HashSet<Model> = HashSet::from([world.model.clone()]);
    let (mut level, mut steps) = (vec![(world, opening.to_vec())], 0);
    for depth in 1..=depth_max {
        let mut next_level = vec![];
        for (world, story) in level {
            for event in possible(&world) {
                let mut next = world.clone();
                let mut story = Story(story.clone());
                story.0.push(event.clone());
                next.step(&event);
                next.compare();
                steps += 1;
                if seen.insert(next.model.clone()) && depth < depth_max {
                    next_level.push((next, std::mem::take(&mut story.0)));
                }
            }
        }
        level = next_level;
    }
    println!("{} situations, {steps} steps", seen.len());
}

fn small() -> Config {
    Config {
        task_group: 2,
        crash_limit: 2,
        task_packet_bytes_max: 100,
        task_packet_overhead_bytes: 8,
        queued_bytes_max: 1 << 20,
        ..Config::for_test()
    }
}

fn task(to: Option<u32>, do_it_anyway: bool) -> Event {
    Event::Submit {
        to,
        do_it_anyway,
        retry: true,
        of: 0,
        algorithm: 0,
        bytes: 10,
    }
}

#[test]
fn from_nothing() {
    check(small(), &[]);
}

#[test]
fn from_one_ordered_slave_and_one_unordered() {
    check(
        small(),
        &[
            Event::Allocate(Group::Ordered, 1),
            Event::Connect,
            Event::Connect,
        ],
    );
}

#[test]
fn from_an_intermingle_slave_with_both_kinds() {
    let allocate = Event::Allocate(Group::Intermingle, 1);
    check(
        small(),
        &[
            allocate,
            Event::Connect,
            task(None, false),
            task(Some(0), true),
            Event::HandOut,
        ],
    );
}

#[test]
fn from_two_busy_unordered_slaves() {
    let one_each = Config {
        task_group: 1,
        ..small()
    };
    let tasks = [task(None, false), task(None, false)];
    let [one, two] = tasks;
    check(
        one_each,
        &[
            Event::Connect,
            Event::Connect,
            one,
            two,
            Event::HandOut,
            Event::HandOut,
        ],
    );
}

#[test]
fn from_a_marked_task_that_was_charged_once() {
    let lost = |id| [Event::Announce(id, 0), Event::Lose(id, true)];
    let mut opening = vec![Event::Connect, task(None, false), Event::HandOut];
    opening.extend(lost(0));
    opening.extend([Event::Connect, Event::HandOut]);
    check(small(), &opening);
}

#[test]
fn from_a_busy_slave_with_a_queue_of_its_own() {
    let tight = Config {
        task_group: 1,
        ..small()
    };
    let allocate = Event::Allocate(Group::Ordered, 1);
    check(
        tight,
        &[
            allocate,
            Event::Connect,
            task(Some(0), false),
            task(Some(0), true),
            Event::HandOut,
        ],
    );
}
