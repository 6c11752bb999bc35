//! What a slave makes of a master that is damaged, lies, or is another program: an end with a reason, never a panic. And
//! the order in which it says what it has to say.

mod support;

use std::ops::ControlFlow;

use ringmw::proto::{Next, SECOND, SlaveConfig, SlaveCore, SlaveEnd};
use ringmw_codec::batch::{
    BOUND, MARKED, TaskBatchBuilder, TaskBody, encode_task_body, result_batch,
};
use ringmw_codec::control::{
    Bests, Goodbye, GoodbyeCode, Recall, Returned, Shutdown, Starting, Withdraw,
};
use ringmw_codec::frame::{FrameReader, HEADER_BYTES, Kind};
use ringmw_codec::handshake::{Fingerprint, Hello, PROTOCOL_VERSION, Refusal, Welcome};
use support::{archive, frame};

fn welcome() -> Welcome {
    Welcome {
        slave: 3,
        client_timeout_ms: 4_000,
        tasks_bytes_max: 4_096,
        results_bytes_max: 4_096,
        result_group: 10,
        seed: 1,
        args: vec!["a".into()],
    }
}

fn welcome_frame(welcome: &Welcome) -> Vec<u8> {
    let mut payload = Vec::new();
    welcome.encode(&mut payload);
    frame(Kind::Welcome, &payload)
}

fn core() -> SlaveCore {
    let fingerprint = Fingerprint {
        app_version: String::new(),
        build: "b".into(),
        format: 1,
        algorithms: Vec::new(),
    };
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        member_id: b"m".to_vec(),
        host: "h".into(),
        job: String::new(),
        pid: 1,
        fingerprint,
    };
    let mut core = SlaveCore::new(&SlaveConfig { hello }, 0);
    assert_eq!(kinds(&said(&mut core)), [Kind::Hello]);
    core
}

fn welcomed() -> SlaveCore {
    let mut core = core();
    core.on_bytes(&welcome_frame(&welcome()), 0);
    assert!(core.welcome().is_some());
    core
}

/// Everything that it has to say, all of it written.
fn said(core: &mut SlaveCore) -> Vec<(Kind, Vec<u8>)> {
    let mut bytes = Vec::new();
    core.take_output(&mut bytes, 0);
    core.on_flushed();
    let mut frames = Vec::new();
    let flow = FrameReader::new().feed(&bytes, &|_| u32::MAX, &mut |kind, payload| {
        frames.push((kind, payload.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(flow, Ok(ControlFlow::Continue(())));
    frames
}

fn kinds(frames: &[(Kind, Vec<u8>)]) -> Vec<Kind> {
    frames.iter().map(|(kind, _)| *kind).collect()
}

fn tasks(tasks: &[(u64, u16)]) -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    for &(task, flags) in tasks {
        let mut body = Vec::new();
        encode_task_body(
            &mut body,
            &TaskBody {
                domain: 0,
                stream: 0,
                tag_type: 0,
                tag: b"",
                args: &archive(task),
            },
        );
        builder.push(task, 0, flags, &body);
    }
    let mut payload = Vec::new();
    builder.encode(&mut payload);
    frame(Kind::Tasks, &payload)
}

fn withdraw(task: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    Withdraw { tasks: vec![task] }.encode(&mut payload);
    frame(Kind::Withdraw, &payload)
}

fn run(core: &mut SlaveCore) -> u64 {
    match core.next_task() {
        Next::Run(assignment) => assignment.task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_leave_before_a_marked_task_is_announced_and_it_begins_after_that() {
    let mut core = welcomed();
    core.on_bytes(&tasks(&[(1, 0), (2, 0), (3, MARKED), (4, 0)]), 0);
    for task in [1, 2] {
        assert_eq!(run(&mut core), task);
        core.finish(0, Ok(&archive(task)), 1, 0);
    }
    assert_eq!(kinds(&said(&mut core)), [], "ten results travel together");
    assert!(matches!(core.next_task(), Next::Wait));
    let mut bytes = Vec::new();
    core.take_output(&mut bytes, 0);
    assert!(
        matches!(core.next_task(), Next::Wait),
        "the announcement has not left yet"
    );
    core.on_flushed();
    assert_eq!(run(&mut core), 3);
    let mut frames = Vec::new();
    let _ = FrameReader::new().feed(&bytes, &|_| u32::MAX, &mut |kind, payload| {
        frames.push((kind, payload.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(kinds(&frames), [Kind::Results, Kind::Starting]);
    assert_eq!(result_batch(&frames[0].1).unwrap().len(), 2);
    assert_eq!(Starting::decode(&frames[1].1).unwrap().task, 3);
    core.finish(0, Err("no"), 1, 0);
    // Unmarked ones pay nothing.
    assert_eq!(run(&mut core), 4);
    assert_eq!(kinds(&said(&mut core)), []);
    core.finish(0, Ok(b""), 1, 0);
    assert_eq!(
        kinds(&said(&mut core)),
        [Kind::Results],
        "there is no more to wait for"
    );
}

/// Between the announcement of a task and its beginning the master may take it back.
#[test]
fn a_marked_task_may_be_withdrawn_before_it_begins() {
    let mut core = welcomed();
    core.on_bytes(&tasks(&[(1, MARKED), (2, MARKED)]), 0);
    assert!(matches!(core.next_task(), Next::Wait));
    assert_eq!(kinds(&said(&mut core)), [Kind::Starting]);
    core.on_bytes(&withdraw(1), 0);
    assert!(
        matches!(core.next_task(), Next::Wait),
        "the second is announced for itself"
    );
    assert_eq!(kinds(&said(&mut core)), [Kind::Withdrawn, Kind::Starting]);
    assert_eq!(run(&mut core), 2);
    // One that runs is cancelled, and answered all the same.
    core.on_bytes(&withdraw(2), 0);
    assert!(core.is_cancelled());
    core.finish(0, Ok(b""), 1, 0);
    assert_eq!(kinds(&said(&mut core)), [Kind::Results]);
}

fn recall(tasks: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    Recall { tasks }.encode(&mut payload);
    frame(Kind::Recall, &payload)
}

fn returned(core: &mut SlaveCore) -> Vec<u64> {
    let frames = said(core);
    let (kind, payload) = frames.last().expect("every recall is answered");
    assert_eq!(*kind, Kind::Returned);
    Returned::decode(payload).unwrap().tasks
}

/// The last ones first, and neither what runs, nor what is announced, nor what is for this slave alone.
#[test]
fn a_slave_gives_back_what_it_has_not_begun() {
    let mut core = welcomed();
    core.on_bytes(
        &tasks(&[(1, 0), (2, 0), (3, BOUND), (4, 0), (5, BOUND), (6, 0)]),
        0,
    );
    assert_eq!(run(&mut core), 1);
    core.on_bytes(&recall(2), 0);
    assert_eq!(returned(&mut core), [6, 4]);
    core.on_bytes(&recall(4_000), 0);
    assert_eq!(returned(&mut core), [2]);
    core.on_bytes(&recall(1), 0);
    assert_eq!(returned(&mut core), [0; 0]);
    for task in [3, 5] {
        core.finish(0, Ok(b""), 1, 0);
        assert_eq!(run(&mut core), task, "ordered tasks keep their order");
    }

    let mut core = welcomed();
    core.on_bytes(&tasks(&[(1, MARKED), (2, 0)]), 0);
    assert!(matches!(core.next_task(), Next::Wait));
    assert_eq!(kinds(&said(&mut core)), [Kind::Starting]);
    core.on_bytes(&recall(2), 0);
    assert_eq!(returned(&mut core), [2], "the first is as good as begun");
}

/// Its word of what it has begun: the oldest task that it holds once all results are sent.
#[test]
fn a_goodbye_tells_whether_a_task_was_begun() {
    for begun in [false, true] {
        let mut core = welcomed();
        core.on_bytes(&tasks(&[(1, 0), (2, 0), (3, 0)]), 0);
        assert_eq!(run(&mut core), 1);
        core.finish(0, Ok(b""), 1, 0);
        if begun {
            assert_eq!(run(&mut core), 2);
        }
        core.leave(GoodbyeCode::Evicted, "SIGTERM");
        let frames = said(&mut core);
        assert_eq!(kinds(&frames), [Kind::Results, Kind::Goodbye]);
        assert_eq!(Goodbye::decode(&frames[1].1).unwrap().begun, begun);
    }
}

/// What a master can say, in one stream.
fn speech() -> Vec<u8> {
    let mut bests = Vec::new();
    Bests {
        entries: vec![(0, 5), (1, 6)],
    }
    .encode(&mut bests);
    let mut shutdown = Vec::new();
    Shutdown { finished: true }.encode(&mut shutdown);
    [
        welcome_frame(&welcome()),
        tasks(&[(1, 0), (2, MARKED)]),
        frame(Kind::Bests, &bests),
        withdraw(2),
        recall(1),
        frame(Kind::Heartbeat, b""),
        frame(Kind::Shutdown, &shutdown),
    ]
    .concat()
}

#[test]
fn every_flipped_bit_of_a_master_is_its_loss() {
    let speech = speech();
    for bit in 0..speech.len() * 8 {
        let mut bytes = speech.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut core = core();
        core.on_bytes(&bytes, 0);
        core.on_closed("it closed the connection");
        let end = core.end().expect("it is over");
        assert!(matches!(end, SlaveEnd::MasterLost(_)), "bit {bit}: {end:?}");
        assert_eq!(end.exit_code(), 255);
    }
}

/// With checksums that fit: whatever it means, the slave lives through an hour of it.
#[test]
fn every_lie_in_one_bit_of_a_master_is_borne() {
    let speech = speech();
    let mut at = 0;
    while at < speech.len() {
        let length = u32::from_le_bytes(speech[at + 8..at + 12].try_into().unwrap()) as usize;
        let kind = Kind::from_u8(speech[at + 3]).unwrap();
        let payload = &speech[at + HEADER_BYTES..][..length];
        for bit in 0..length * 8 {
            let mut payload = payload.to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            let bytes = [
                &speech[..at],
                &frame(kind, &payload),
                &speech[at + HEADER_BYTES + length..],
            ]
            .concat();
            let mut core = core();
            // The last frame sends it home; before that it works.
            let home = bytes.len() - HEADER_BYTES - 1;
            core.on_bytes(&bytes[..home], 0);
            for hour in 0..3 {
                let now = hour * 1_200 * SECOND;
                core.on_time(now, 0);
                let _ = core.next_deadline();
                if let Next::Run(_) = core.next_task() {
                    core.finish(0, Ok(&[0; 3_000]), 1, now);
                }
                said(&mut core);
            }
            core.on_bytes(&bytes[home..], 0);
            assert!(
                core.end().is_some() || kind == Kind::Shutdown,
                "{kind:?}, bit {bit}"
            );
        }
        at += HEADER_BYTES + length;
    }
}

#[test]
fn another_service_on_the_port_is_told_in_a_sentence() {
    let early = tasks(&[(1, 0)]);
    // It announced 4 GiB, and the slave kept what came until it ran out of memory.
    let announced = [&frame(Kind::Tasks, b"")[..8], &[0xff; 4]].concat();
    let rows: &[(&[u8], &str)] = &[
        (b"SSH-2.0-OpenSSH_9.6\r\n", "another program on this port"),
        (b"RW\x02", "version 2"),
        (&early, "Tasks before the handshake was answered"),
        (&announced, "Tasks before the handshake was answered"),
    ];
    for (bytes, expected) in rows {
        let mut core = core();
        core.on_bytes(bytes, 0);
        core.on_bytes(&[0; 64], 0);
        match core.end() {
            Some(SlaveEnd::MasterLost(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    // One that never answers is given up after ten minutes, with a sentence too.
    let mut core = core();
    core.on_time(600 * SECOND, 0);
    assert!(matches!(core.end(), Some(SlaveEnd::MasterLost(why)) if why.contains("600 s")));
}

/// A packet may share its chunk with the welcome that limits it; for that chunk there was no limit.
#[test]
fn the_limit_of_a_welcome_holds_from_its_last_byte_on() {
    for (extra, borne) in [(0, true), (1, false)] {
        let announced = welcome().tasks_bytes_max + extra;
        let mut bytes = welcome_frame(&welcome());
        bytes.extend_from_slice(&frame(Kind::Tasks, b"")[..8]);
        bytes.extend_from_slice(&announced.to_le_bytes());
        let mut core = core();
        core.on_bytes(&bytes, 0);
        assert_eq!(core.end().is_none(), borne, "{:?}", core.end());
    }
}

#[test]
fn refusals_of_later_versions_are_understood() {
    let mut payload = Vec::new();
    Refusal::Other {
        code: 99,
        text: "Not on Sundays.".into(),
    }
    .encode(&mut payload);
    for mut core in [core(), welcomed()] {
        core.on_bytes(&frame(Kind::Refuse, &payload), 0);
        assert_eq!(
            core.end(),
            Some(&SlaveEnd::Refused("Not on Sundays.".into()))
        );
    }
}
