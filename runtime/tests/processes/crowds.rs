//! Many slaves: as many as there may be descriptors, and a thousand real ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringmw::internals::engine::raise_nofile;
use ringmw_codec::audit::Event;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::app::{answer, count, dir, lost, printed, ready};
use crate::crowd::Crowd;
use crate::process::Process;

/// As many as the limit of open files allows, of those that are wanted. Root may raise it.
pub(crate) fn crowd_size(wanted: usize) -> usize {
    let enough = Some(wanted as u64 + 200);
    let (_, hard) = raise_nofile().unwrap();
    if Some(hard) < enough {
        let raised = Rlimit {
            current: enough,
            maximum: enough,
        };
        // What it allows is asked below.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let (_, files) = raise_nofile().unwrap();
    wanted.min((files.min(1 << 20) as usize).saturating_sub(200))
}

pub(crate) fn thousands_of_slaves(engine: &str) {
    let size = crowd_size(5_000);
    let tasks = 4 * size as u64;
    let dir = dir();
    let (slaves_arg, tasks_arg) = (size.to_string(), tasks.to_string());
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            &slaves_arg,
            "--tasks",
            &tasks_arg,
            // Packets that are measured may give all tasks to some of the slaves, since these take no time.
            "--mw-slave-task-group",
            "1",
        ],
    );
    let ready = ready(master.address());
    let begun = Instant::now();
    let mut crowd = Crowd::connect(&ready, size, Duration::from_secs(10), answer);
    crowd.play("all to be welcomed", |crowd| crowd.welcomed == size);
    let welcomed = begun.elapsed();
    crowd.play("all to be sent home", |crowd| crowd.gone == size);
    let took = begun.elapsed();
    let (least, most) = crowd.spread();
    eprintln!(
        "{engine}: {size} slaves welcomed in {welcomed:.1?}, done in {took:.1?}, {least} to {most} tasks each"
    );
    assert_eq!(crowd.answered, tasks);
    assert!(least > 0, "every slave has work");
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(tasks));
    let events = master.events();
    // On a busy disk the trail counts what it cannot hold instead of telling it.
    let counted: u64 = events
        .iter()
        .map(|event| match event {
            Event::Connected { .. } => 1,
            Event::Dropped {
                connected, lost: 0, ..
            } => *connected,
            _ => 0,
        })
        .sum();
    assert_eq!(counted, size as u64);
    assert_eq!(lost(&events), []);
    assert_eq!(
        count(&events, |event| matches!(
            event,
            Event::Offence { .. } | Event::Rejected { .. }
        )),
        0
    );
}

pub(crate) fn a_thousand_real_slaves() {
    const SLAVES: usize = 1_000;
    const TASKS: u64 = 5_000;
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &[
            "--slaves",
            &SLAVES.to_string(),
            "--tasks",
            &TASKS.to_string(),
            "--nap",
            "1",
        ],
    );
    let address = master.address();
    let mut slaves: Vec<Process> = (0..SLAVES)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    master.expect_exit(0);
    for slave in &mut slaves {
        slave.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(TASKS));
    let events = master.events();
    assert_eq!(lost(&events), []);
    assert_eq!(
        count(&events, |event| matches!(event, Event::Connected { .. })),
        SLAVES
    );
    let at_work: BTreeSet<u32> = events
        .iter()
        .filter_map(|event| match event {
            Event::TasksSent { slave, .. } => Some(*slave),
            _ => None,
        })
        .collect();
    assert_eq!(at_work.len(), SLAVES, "every one gets work");
}
