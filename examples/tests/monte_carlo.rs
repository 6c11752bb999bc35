//! `monte-carlo-pi`: the same digits whatever happens to the slaves, and a trail that tells what did.

use ringmw_codec::audit::{Event, LossCause};
use ringmw_examples::{Process, Signal, Stage};

/// More than the slaves have in their hands at once, so that those who come late get some.
const TRIAL_SETS: &str = if cfg!(debug_assertions) { "20" } else { "400" };

const GROUPS_AND_TIMEOUT: [&str; 4] = ["--mw-slave-task-group", "2", "--mw-client-timeout", "3"];

fn lost(trail: &[Event], slave: u32) -> Option<(LossCause, u64, u64)> {
    trail.iter().find_map(|event| match event {
        Event::Lost {
            slave: lost,
            cause,
            recycled,
            tasks,
            ..
        } if *lost == slave => {
            let named = tasks
                .ranges()
                .iter()
                .map(|(first, last)| last - first + 1)
                .sum();
            Some((*cause, *recycled, named))
        }
        _ => None,
    })
}

/// Waits until the slave has been handed tasks.
fn wait_until_busy(master: &Process, slave: u32) {
    master.wait_for("a slave that was handed tasks", |trail| {
        trail
            .iter()
            .any(|event| matches!(event, Event::TasksSent { slave: to, .. } if *to == slave))
            .then_some(())
    });
}

#[test]
fn slaves_that_die_hang_and_come_late_change_no_digit() {
    let run = ["--max-trial-sets", TRIAL_SETS, "--mw-seed", "7"];
    let undisturbed = Stage::new("monte-carlo-pi").local(run).success();
    let digits = &undisturbed.lines()[..2];
    assert!(digits[0].starts_with("pi is about 3.14"), "{digits:?}");

    let stage = Stage::new("monte-carlo-pi");
    let mut master = stage.master(run.into_iter().chain(GROUPS_AND_TIMEOUT));
    let mut slaves: Vec<_> = (0..6).map(|_| stage.slave(&master)).collect();
    let ids: Vec<_> = slaves.iter().map(Process::slave_id).collect();
    for at in [0, 1, 2] {
        wait_until_busy(&master, ids[at]);
        slaves[at].send([Signal::KILL, Signal::KILL, Signal::STOP][at]);
    }
    // The dead are found at once, the one that hangs by its silence; the run cannot end without its tasks.
    for at in [0, 1] {
        let (cause, recycled, named) =
            master.wait_for("the loss of a killed slave", |trail| lost(trail, ids[at]));
        assert!(
            matches!(cause, LossCause::Eof | LossCause::Reset),
            "{cause:?}"
        );
        assert!(
            recycled > 0 && recycled == named,
            "{recycled} recycled, {named} named"
        );
    }
    let mut late = stage.slave(&master);
    let (cause, recycled, named) =
        master.wait_for("the loss of a silent slave", |trail| lost(trail, ids[2]));
    assert!(matches!(cause, LossCause::Timeout), "{cause:?}");
    assert!(
        recycled > 0 && recycled == named,
        "{recycled} recycled, {named} named"
    );
    slaves[2].send(Signal::CONT);
    assert_eq!(slaves[2].end().code, Some(255), "it wakes without a master");

    let end = master.success();
    assert_eq!(&end.lines()[..2], digits);
    assert_eq!(end.stderr, "", "no progress bar where there is no terminal");
    for at in [3, 4, 5] {
        slaves[at].success();
    }
    assert!(late.success().stdout.is_empty() && late.words().contains(&"results-sent"));
}

#[test]
fn a_standard_error_is_reached_at_the_same_digits_on_any_number_of_slaves() {
    let run = |slaves| {
        let end = Stage::new("monte-carlo-pi")
            .local(["--eps", "8e-4", "--mw-seed", "3", "--mw-local", slaves])
            .success();
        end.lines()[..2].join("\n")
    };
    let one = run("1");
    let error: f64 = one
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(error < 8e-4, "{one}");
    assert_eq!([run("2"), run("6")], [one.clone(), one]);
}

#[test]
fn what_makes_no_sense_is_told_with_its_flag() {
    for (args, flag) in [
        (["--eps", "0"], "--eps"),
        (["--max-trial-sets", "0"], "--max-trial-sets"),
    ] {
        let end = Stage::new("monte-carlo-pi").local(args).end();
        assert_eq!(end.code, Some(2), "{end:?}");
        assert!(end.stderr.contains(flag), "{end:?}");
    }
}
