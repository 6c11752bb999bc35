//! What the tests beside it share: a slave by itself, what it hears, what it computes, what it says.

use std::ops::ControlFlow;

use ringmw_codec::batch::{TaskBatchBuilder, TaskBody, encode_task_body};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::{Hello, Welcome};
use ringmw_sched::Nanos;

use super::{Next, SlaveCore};
use crate::proto::config::SlaveConfig;
use crate::proto::put;

/// A slave that has not been welcomed.
pub(super) fn unwelcomed() -> SlaveCore {
    let hello = Hello::for_test();
    SlaveCore::new(&SlaveConfig { hello }, 0)
}

/// A slave that has written its hello at time 0, and was welcomed then.
pub(super) fn welcomed(welcome: &Welcome) -> SlaveCore {
    let mut core = unwelcomed();
    said(&mut core, 0);
    hear(&mut core, Kind::Welcome, |out| welcome.encode(out));
    core
}

/// It hears a frame.
pub(super) fn hear(core: &mut SlaveCore, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    put(&mut bytes, kind, payload);
    core.on_bytes(&bytes, 0);
}

/// It is given a packet of tasks with these numbers; the stream of each is a hundred more.
pub(super) fn tasks(core: &mut SlaveCore, numbers: impl IntoIterator<Item = u64>) {
    tasks_of(core, numbers.into_iter().map(|task| (task, 0, 0)));
}

/// It is given a packet of tasks with these numbers, algorithms and flags.
pub(super) fn tasks_of(core: &mut SlaveCore, tasks: impl IntoIterator<Item = (u64, u16, u16)>) {
    let mut packet = TaskBatchBuilder::new();
    for (task, algorithm, flags) in tasks {
        let mut body = Vec::new();
        let args = task.to_le_bytes();
        let parts = TaskBody {
            domain: 1,
            timeout_ms: 0,
            stream: 100 + task,
            tag_type: 0,
            tag: &[],
            args: &args,
        };
        encode_task_body(&mut body, &parts);
        packet.push(task, algorithm, flags, &body);
    }
    hear(core, Kind::Tasks, |out| packet.encode(out));
}

/// It computes a brief task, if one can begin: which.
pub(super) fn run(core: &mut SlaveCore, output: &[u8], now: Nanos) -> Option<u64> {
    run_for(core, 5, output, now)
}

/// It computes a task that takes so long, if one can begin: which.
pub(super) fn run_for(
    core: &mut SlaveCore,
    compute: Nanos,
    output: &[u8],
    now: Nanos,
) -> Option<u64> {
    let Next::Run(assignment) = core.next_task(now) else {
        return None;
    };
    core.finish(assignment.algorithm, Ok(&mut output.into()), compute, now);
    Some(assignment.task)
}

/// What it says: each frame's kind and payload. The socket takes it all.
pub(super) fn said(core: &mut SlaveCore, now: Nanos) -> Vec<(Kind, Vec<u8>)> {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    while core.has_output() {
        let before = bytes.len();
        core.take_output(&mut bytes, now);
        core.on_written(bytes.len() - before, now);
    }
    let fed = FrameReader::new().feed(
        &bytes,
        &|kind| kind.limit().bytes(4_096, 4_096),
        &mut |kind, payload| {
            frames.push((kind, payload.to_vec()));
            ControlFlow::<()>::Continue(())
        },
    );
    assert!(fed.is_ok());
    frames
}
