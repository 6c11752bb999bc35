//! What a master desires of a batch system, when a slave leaves by itself, and what one that is freed leaves behind: by
//! the cores alone.

#[path = "support/core.rs"]
#[allow(dead_code)]
mod rig;
mod support;

use rig::{Rig, hello};
use ringmw::Group;
use ringmw::internals::proto::{
    Bounds, End, Next, Output, SECOND, SlaveConfig, SlaveCore, SlaveEnd, Wanted,
};
use ringmw_codec::audit::Event;
use ringmw_codec::batch::{TaskBatchBuilder, TaskBody, encode_task_body};
use ringmw_codec::control::Shutdown;
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Welcome;
use ringmw_sched::SlaveId;
use support::{frame, result};

#[test]
fn a_fall_of_the_desire_tells_idle_slaves_that_they_are_done() {
    let mut rig = Rig::with(|config| config.dismisses = true);
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Unordered, 3));
    });
    let conns = [rig.join(), rig.join(), rig.join()];
    rig.submit(7);
    rig.turn(1, |_| ());
    rig.turn(1, |core| {
        core.with_sched(|sched| sched.deallocate(Group::Unordered, 2))
    });
    let mut finished = Vec::new();
    for conn in conns {
        for (kind, payload) in rig.frames(conn) {
            if *kind == Kind::Shutdown {
                finished.push(Shutdown::decode(payload).expect("a shutdown").finished);
            }
        }
    }
    assert_eq!(finished, [true, true], "two of three, and they exit 0");
    let gone = rig
        .events
        .iter()
        .filter(|event| matches!(event, Event::Dismissed { .. }));
    assert_eq!(gone.count(), 2);
}

/// The application may drop the call that waits for it in that very turn; the simulated world found that the end came to
/// a call that was no more.
#[test]
fn what_was_for_a_slave_that_moves_has_ended_before_the_application_has_its_part() {
    let mut rig = Rig::new();
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Ordered, 1));
    });
    let conn = rig.join();
    for number in 1..3 {
        rig.submit_to(number, Some(SlaveId(0)));
    }
    let freed = rig.turn(0, |core| {
        core.with_sched(|sched| sched.free_slave(SlaveId(0)))
    });
    assert!(freed);
    let given = rig.given(conn);
    assert_eq!(given.len(), 1, "the other one is queued for it");
    let ends = rig.turn(0, |core| {
        core.on_bytes(conn, &result(&given[0], 1));
        core.check_overdue(true);
        std::iter::from_fn(|| core.poll_end())
            .flat_map(End::each)
            .count()
    });
    assert_eq!(ends, 2, "a result, and what nobody may run any more");
}

#[test]
fn a_desire_that_follows_the_queue_rises_at_once_and_falls_late() {
    let mut rig = Rig::with(|config| {
        config.dismisses = true;
        config.rules.wanted = Wanted::Auto(5);
    });
    let desired = |rig: &mut Rig, later| rig.turn(later, |core| core.need().desired);
    assert_eq!(desired(&mut rig, 1), 0);
    (0..3).for_each(|n| _ = rig.submit(n));
    assert_eq!(desired(&mut rig, 1), 3);
    let ids: Vec<_> = (0..30).map(|n| rig.submit(n)).collect();
    desired(&mut rig, 1);
    assert_eq!(desired(&mut rig, 1), 5, "up to its limit");
    rig.turn(1, |core| ids.iter().for_each(|id| _ = core.cancel(*id)));
    desired(&mut rig, 29 * SECOND);
    assert_eq!(desired(&mut rig, 1), 5, "a short lull sends nobody away");
    desired(&mut rig, 2 * SECOND);
    assert!(desired(&mut rig, 1) < 5);
}

fn slave(bounds: Bounds) -> SlaveCore {
    let mut core = SlaveCore::new(&SlaveConfig { hello: hello() }, 0);
    core.set_bounds(bounds);
    let welcome = Welcome {
        slave: 3,
        ..Welcome::for_test()
    };
    let mut payload = Vec::new();
    welcome.encode(&mut payload);
    core.on_bytes(&frame(Kind::Welcome, &payload), SECOND);
    core
}

fn give(core: &mut SlaveCore, now: u64) {
    let mut body = Vec::new();
    let empty = TaskBody {
        stream: 0,
        domain: 0,
        tag_type: 0,
        timeout_ms: 0,
        tag: &[],
        args: &[],
    };
    encode_task_body(&mut body, &empty);
    let mut batch = TaskBatchBuilder::new();
    batch.push(7, 0, 0, &body);
    let mut payload = Vec::new();
    batch.encode(&mut payload);
    core.on_bytes(&frame(Kind::Tasks, &payload), now);
}

#[test]
fn an_idle_slave_leaves_with_0_and_work_keeps_it() {
    let idle_timeout = Some(10 * SECOND);
    let bounds = Bounds {
        idle_timeout,
        time_limit: None,
    };
    let mut core = slave(bounds);
    core.on_time(10 * SECOND, 0);
    assert_eq!(core.end(), None, "welcomed at one second");
    give(&mut core, 10 * SECOND);
    assert!(matches!(core.next_task(0), Next::Run(_)));
    core.on_time(40 * SECOND, 0);
    assert_eq!(core.end(), None, "it computes");
    core.finish(0, Ok(&mut Output::new()), 1, 40 * SECOND);
    core.on_time(60 * SECOND, 0);
    assert_eq!(
        core.end(),
        None,
        "nobody takes its result, and that is no idleness"
    );
    let mut bytes = Vec::new();
    core.take_output(&mut bytes, 60 * SECOND);
    core.on_written(bytes.len(), 60 * SECOND);
    core.on_time(69 * SECOND, 0);
    assert_eq!(core.end(), None);
    assert!(core.next_deadline() <= 70 * SECOND);
    core.on_time(70 * SECOND, 0);
    let end = core.end().expect("it leaves");
    assert!(matches!(end, SlaveEnd::Idle(_)), "{end:?}");
    assert_eq!(end.exit_code(), 0);
}

#[test]
fn at_its_time_limit_a_slave_finishes_what_ends_soon_and_leaves_with_255() {
    let bounds = Bounds {
        idle_timeout: None,
        time_limit: Some(30 * SECOND),
    };
    // Without a task: at once.
    let mut core = slave(bounds);
    core.on_time(30 * SECOND, 0);
    assert_eq!(core.end().map(SlaveEnd::exit_code), Some(255));
    // A task that ends within the grace is finished.
    let mut core = slave(bounds);
    give(&mut core, 29 * SECOND);
    assert!(matches!(core.next_task(0), Next::Run(_)));
    core.on_time(31 * SECOND, 0);
    assert_eq!(core.end(), None);
    core.finish(0, Ok(&mut Output::new()), 1, 32 * SECOND);
    assert_eq!((core.completed(), core.end().is_some()), (1, true));
    // One that does not is handed back.
    let mut core = slave(bounds);
    give(&mut core, 29 * SECOND);
    assert!(matches!(core.next_task(0), Next::Run(_)));
    core.on_time(35 * SECOND, 0);
    assert!(matches!(core.end(), Some(SlaveEnd::Left(_))));
}
