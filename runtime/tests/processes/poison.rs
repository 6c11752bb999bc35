//! A task that kills its slaves is charged for those that it killed.

use ringmw_codec::audit::Event;
use rustix::process::Signal;

use crate::app::{count, dir};
use crate::process::Process;
use crate::support::until;

pub(crate) fn a_poisoned_task_is_charged_for_lost_slaves_alone() {
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &["--tasks", "1", "--nap", "60000", "--mw-crash-limit", "1"],
    );
    let address = master.address();
    // Unmarked at first: nobody knows which task of the packet killed it. Then evicted: no fault of the task's.
    for (round, signal) in [Signal::KILL, Signal::TERM, Signal::KILL]
        .into_iter()
        .enumerate()
    {
        let mut slave = Process::slave(dir.path(), &format!("slave-{round}"), &address);
        slave.await_event("the task", |event| {
            matches!(event, Event::TasksReceived { .. }).then_some(())
        });
        master.await_count("the task to be out", round + 1, |event| {
            matches!(event, Event::TasksSent { .. })
        });
        // Its announcement was written before it begins.
        until("the task to begin", || {
            (!slave.stdout().is_empty()).then_some(())
        });
        slave.signal(signal);
        slave.exit();
        master.await_count("the loss", round + 1, |event| {
            matches!(event, Event::Lost { .. })
        });
        let charged = count(&master.events(), |event| {
            matches!(event, Event::Charged { .. })
        });
        assert_eq!(charged, usize::from(round == 2), "round {round}");
    }
    master.expect_exit(255);
    assert!(master.complaint().contains("SLAVE-"), "{}", master.stderr());
    assert_eq!(
        count(&master.events(), |event| matches!(
            event,
            Event::Unrunnable { .. }
        )),
        1
    );
}
