//! Programs that do several things at once, undisturbed and with their slaves killed, on both engines: one answer each.

use ringmw_codec::audit::Event;
use ringmw_examples::{Signal, Stage, wait_for};

const PROGRAMS: [&str; 5] = ["talks", "reserves", "holes", "draws", "searches"];
const SLAVES: usize = 4;
const KILLS: usize = 4;

/// What it says; each kill, or eviction, takes the slave that has been there longest, and another one comes.
fn answer(engine: &str, program: &str, kills: usize) -> String {
    let stage = Stage::new("test-mixed").with_engine(engine);
    let flags = [
        program,
        "--mw-seed",
        "5",
        "--mw-checkpoint-interval",
        "1",
        "--mw-crash-limit",
        "0",
    ];
    let mut master = stage.master(flags);
    let mut slaves: Vec<_> = (0..SLAVES).map(|_| stage.slave(&master)).collect();
    slaves.iter().for_each(|slave| _ = slave.slave_id());
    for nth in 0..kills {
        // What it strikes is left to the machine: the answer is the same everywhere.
        slaves.remove(0).send([Signal::KILL, Signal::TERM][nth % 2]);
        if master.has_ended() {
            break;
        }
        let mut next = stage.slave(&master);
        wait_for(
            "a slave that joins",
            || master.describe(),
            || {
                let joined = next
                    .trail()
                    .iter()
                    .any(|event| matches!(event, Event::Id { .. }));
                (joined || next.has_ended()).then_some(())
            },
        );
        slaves.push(next);
    }
    master.success().stdout
}

fn one_answer(engine: &str) {
    for program in PROGRAMS {
        let undisturbed = answer(engine, program, 0);
        assert!(!undisturbed.is_empty(), "{program}");
        assert_eq!(
            answer(engine, program, KILLS),
            undisturbed,
            "{program}, {engine}"
        );
    }
}

#[test]
fn programs_that_mix_features_have_one_answer_on_the_ring() {
    one_answer("ring");
}

#[test]
fn programs_that_mix_features_have_one_answer_on_epoll() {
    one_answer("epoll");
}
