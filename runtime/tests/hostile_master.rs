//! What a slave makes of a master that is damaged, lies, or is another program: an end with a reason, never a panic. And
//! the order in which it says what it has to say.

mod support;

use std::ops::ControlFlow;

use proptest::prelude::*;
use ringmw::internals::proto::{Next, Output, SECOND, SlaveConfig, SlaveCore, SlaveEnd};
use ringmw_codec::batch::{
    BOUND, MARKED, ResultBatchView, TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBatchView, TaskSeries,
};
use ringmw_codec::control::{
    Begun, Bests, Goodbye, GoodbyeCode, Recall, Returned, Shutdown, Starting, Withdraw,
};
use ringmw_codec::frame::{FrameReader, HEADER_BYTES, Kind};
use ringmw_codec::handshake::{Hello, Refusal, Welcome};
use support::{archive, frame};

fn welcome() -> Welcome {
    Welcome {
        slave: 3,
        client_timeout_ms: 4_000,
        result_group: 10,
        args: vec!["a".into()],
        ..Welcome::for_test()
    }
}

fn welcome_frame(welcome: &Welcome) -> Vec<u8> {
    let mut payload = Vec::new();
    welcome.encode(&mut payload);
    frame(Kind::Welcome, &payload)
}

fn core() -> SlaveCore {
    let mut hello = Hello {
        member_id: b"m".to_vec(),
        host: "h".into(),
        ..Hello::for_test()
    };
    hello.fingerprint.build = "b".into();
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
    while core.has_output() {
        let before = bytes.len();
        core.take_output(&mut bytes, 0);
        core.on_written(bytes.len() - before, 0);
    }
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
        builder.push_series(task, 0, flags, &series(1, 0, &archive(task)));
    }
    let mut payload = Vec::new();
    builder.encode(&mut payload);
    frame(Kind::Tasks, &payload)
}

/// Tasks with consecutive numbers that are alike.
#[derive(Clone, Debug)]
struct Run {
    first: u64,
    flags: u16,
    stream: u64,
    /// Of each task, all equally long.
    args: Vec<Vec<u8>>,
}

/// So many tasks of a number each.
fn series_of(first: u64, tasks: u64, flags: u16) -> Run {
    Run {
        first,
        flags,
        stream: 7,
        args: (first..first + tasks).map(archive).collect(),
    }
}

fn series(count: u32, stream: u64, elements: &[u8]) -> TaskSeries<'_> {
    TaskSeries {
        count,
        domain: 0,
        stream,
        tag_type: None,
        timeout_ms: 0,
        elements,
        ends: &[],
        base: 0,
    }
}

/// A packet with these runs as an entry each, or with each of their tasks as one.
fn packet(runs: &[Run], as_runs: bool) -> Vec<u8> {
    let mut builder = TaskBatchBuilder::new();
    for run in runs {
        if as_runs {
            let (count, args) = (run.args.len() as u32, run.args.concat());
            let all = series(count, run.stream, &args);
            builder.push_series(run.first, 0, run.flags, &all);
        } else {
            for (index, args) in (0..).zip(&run.args) {
                let task = run.first + index;
                let one = series(1, run.stream + index, args);
                builder.push_series(task, 0, run.flags, &one);
            }
        }
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
    match core.next_task(0) {
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
        core.finish(0, Ok(&mut archive(task)[..].into()), 1, 0);
    }
    assert_eq!(kinds(&said(&mut core)), [], "ten results travel together");
    assert!(matches!(core.next_task(0), Next::Wait));
    let mut bytes = Vec::new();
    core.take_output(&mut bytes, 0);
    assert!(
        matches!(core.next_task(0), Next::Wait),
        "the announcement has not left yet"
    );
    core.on_written(bytes.len(), 0);
    assert_eq!(run(&mut core), 3);
    let mut frames = Vec::new();
    let _ = FrameReader::new().feed(&bytes, &|_| u32::MAX, &mut |kind, payload| {
        frames.push((kind, payload.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(kinds(&frames), [Kind::Results, Kind::Starting]);
    assert_eq!(ResultBatchView::decode(&frames[0].1).unwrap().tasks(), 2);
    assert_eq!(Starting::decode(&frames[1].1).unwrap().task, 3);
    core.finish(0, Err("no"), 1, 0);
    // Unmarked ones pay nothing.
    assert_eq!(run(&mut core), 4);
    assert_eq!(kinds(&said(&mut core)), []);
    core.finish(0, Ok(&mut Output::new()), 1, 0);
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
    assert!(matches!(core.next_task(0), Next::Wait));
    assert_eq!(kinds(&said(&mut core)), [Kind::Starting]);
    core.on_bytes(&withdraw(1), 0);
    assert!(
        matches!(core.next_task(0), Next::Wait),
        "the second is announced for itself"
    );
    assert_eq!(kinds(&said(&mut core)), [Kind::Withdrawn, Kind::Starting]);
    assert_eq!(run(&mut core), 2);
    // One that runs is cancelled, and answered all the same.
    core.on_bytes(&withdraw(2), 0);
    assert!(core.is_cancelled());
    core.finish(0, Ok(&mut Output::new()), 1, 0);
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
        core.finish(0, Ok(&mut Output::new()), 1, 0);
        assert_eq!(run(&mut core), task, "ordered tasks keep their order");
    }

    let mut core = welcomed();
    core.on_bytes(&tasks(&[(1, MARKED), (2, 0)]), 0);
    assert!(matches!(core.next_task(0), Next::Wait));
    assert_eq!(kinds(&said(&mut core)), [Kind::Starting]);
    core.on_bytes(&recall(2), 0);
    assert_eq!(returned(&mut core), [2], "the first is as good as begun");
}

#[test]
fn a_slave_gives_back_a_part_of_a_run() {
    let mut core = welcomed();
    core.on_bytes(
        &packet(&[series_of(1, 3, 0), series_of(10, 3, BOUND)], true),
        0,
    );
    core.on_bytes(&packet(&[series_of(20, 4, 0)], true), 0);
    assert_eq!(core.queued(), 10);
    assert_eq!(run(&mut core), 1);
    core.on_bytes(&recall(3), 0);
    assert_eq!(returned(&mut core), [23, 22, 21]);
    core.on_bytes(&recall(2), 0);
    assert_eq!(returned(&mut core), [20, 3]);
    assert_eq!(core.queued(), 4);
    for task in [2, 10, 11, 12] {
        core.finish(0, Ok(&mut Output::new()), 1, 0);
        assert_eq!(run(&mut core), task);
    }
    core.finish(0, Ok(&mut Output::new()), 1, 0);
    assert!(matches!(core.next_task(0), Next::Wait));

    // What is announced stays, the rest of its series does not.
    let mut core = welcomed();
    core.on_bytes(&packet(&[series_of(1, 3, MARKED)], true), 0);
    assert!(matches!(core.next_task(0), Next::Wait));
    assert_eq!(kinds(&said(&mut core)), [Kind::Starting]);
    core.on_bytes(&recall(3), 0);
    assert_eq!(returned(&mut core), [3, 2]);
    assert_eq!(run(&mut core), 1);
}

#[test]
fn any_task_of_a_run_is_withdrawn_by_itself() {
    let mut core = welcomed();
    core.on_bytes(&packet(&[series_of(1, 9, 0), series_of(10, 2, 0)], true), 0);
    assert_eq!(run(&mut core), 1);
    // In the middle, at the begin, at the end; in the parts that are left; what is not there.
    for task in [5, 2, 9, 7, 4, 8, 6] {
        core.on_bytes(&withdraw(task), 0);
        assert_eq!(kinds(&said(&mut core)), [Kind::Withdrawn], "{task}");
        core.on_bytes(&withdraw(task), 0);
        assert_eq!(kinds(&said(&mut core)), [], "{task}");
    }
    core.on_bytes(&withdraw(12), 0);
    assert_eq!(kinds(&said(&mut core)), []);
    assert_eq!(core.queued(), 3);
    for task in [3, 10, 11] {
        core.finish(0, Ok(&mut Output::new()), 1, 0);
        match core.next_task(0) {
            Next::Run(assignment) => {
                assert_eq!(assignment.task, task);
                assert_eq!(assignment.body().unwrap().args, archive(task));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// As marked tasks by themselves are, since a slave may die of any of them.
#[test]
fn each_task_of_a_marked_run_is_announced_before_it_begins() {
    let mut core = welcomed();
    core.on_bytes(&packet(&[series_of(1, 3, MARKED)], true), 0);
    for task in [1, 3] {
        assert!(matches!(core.next_task(0), Next::Wait));
        let frames = said(&mut core);
        let (kind, payload) = frames.last().expect("it is announced");
        assert_eq!(*kind, Kind::Starting);
        assert_eq!(Starting::decode(payload).unwrap().task, task);
        assert_eq!(run(&mut core), task);
        core.finish(0, Ok(&mut Output::new()), 1, 0);
        core.on_bytes(&withdraw(2), 0);
        said(&mut core);
    }
    assert_eq!(core.queued(), 0);
}

/// Full to the last byte and never beyond, though a result in a series takes less than one by itself.
#[test]
fn a_packet_of_results_is_as_large_as_the_master_reads() {
    for (group, results) in [(1_000, [336, 64]), (300, [300, 100])] {
        let mut core = core();
        let welcome = Welcome {
            result_group: group,
            ..welcome()
        };
        core.on_bytes(&welcome_frame(&welcome), 0);
        core.on_bytes(&packet(&[series_of(1, 400, 0)], true), 0);
        for task in 1..=400 {
            assert_eq!(run(&mut core), task);
            core.finish(0, Ok(&mut archive(task)[..].into()), 1, 0);
        }
        let frames = said(&mut core);
        let found: Vec<_> = frames
            .iter()
            .map(|(_, payload)| {
                assert!(payload.len() <= welcome.result_packet_bytes_max as usize);
                ResultBatchView::decode(payload).unwrap().tasks()
            })
            .collect();
        assert_eq!(found, results);
        if group == 1_000 {
            // 32 and 32 bytes, and 336 times 4 and 8.
            assert_eq!(frames[0].1.len(), 4_096);
        }
    }
}

/// The payload of a packet of one series, with another count.
fn recounted(run: &Run, count: u32) -> Vec<u8> {
    let mut payload = packet(std::slice::from_ref(run), true)[HEADER_BYTES..].to_vec();
    let body_bytes = TaskBatchView::decode(&payload).unwrap().body_range(0).len();
    payload[body_bytes + 8..][..4].copy_from_slice(&count.to_le_bytes());
    assert_eq!(payload.len(), body_bytes + TASK_ENTRY_BYTES + 32);
    frame(Kind::Tasks, &payload)
}

#[test]
fn a_count_that_is_none_is_the_masters_loss() {
    let last = Run {
        first: u64::MAX - 2,
        args: vec![Vec::new(); 3],
        ..series_of(1, 1, 0)
    };
    for (run, count) in [(&series_of(1, 3, 0), 0), (&last, 4), (&last, u32::MAX)] {
        let mut core = welcomed();
        core.on_bytes(&recounted(run, count), 0);
        let sentence = format!("entry 0: {count} tasks from TASK-{} on", run.first);
        match core.end() {
            Some(SlaveEnd::MasterLost(why)) => assert!(why.contains(&sentence), "{why}"),
            other => panic!("{count}: {other:?}"),
        }
        assert_eq!(core.queued(), 0);
    }
}

/// What is wrong in a body is the failure of its tasks, and a count of billions costs nothing before they run.
#[test]
fn tasks_of_a_run_whose_body_is_wrong_fail_one_by_one() {
    let three = series_of(1, 3, 0);
    let late = Run {
        stream: u64::MAX - 2,
        args: vec![Vec::new(); 3],
        ..three.clone()
    };
    for (bytes, tasks) in [
        (recounted(&three, 5), 5),
        (recounted(&late, 4), 4),
        (recounted(&three, u32::MAX), u32::MAX as usize),
    ] {
        let mut core = welcomed();
        core.on_bytes(&bytes, 0);
        assert_eq!((core.queued(), core.end()), (tasks, None));
        for task in 1..4 {
            let Next::Run(assignment) = core.next_task(0) else {
                panic!("TASK-{task} begins");
            };
            assert_eq!(assignment.task, task);
            assert!(assignment.body().is_err());
            core.finish(0, Err("its body cannot be read"), 1, 0);
        }
    }
    // Four billion of nothing are good ones.
    let mut core = welcomed();
    let nothing = Run {
        args: vec![Vec::new()],
        ..series_of(1, 1, 0)
    };
    core.on_bytes(&recounted(&nothing, u32::MAX), 0);
    core.on_bytes(&withdraw(4_000_000_000), 0);
    core.on_bytes(&recall(2), 0);
    assert_eq!(returned(&mut core), [4_294_967_295, 4_294_967_294]);
    assert_eq!(core.queued(), 4_294_967_292);
    let Next::Run(assignment) = core.next_task(0) else {
        panic!("it begins");
    };
    assert_eq!(assignment.body().unwrap().stream, 7);
}

/// What happens to a slave, in the differential test below.
#[derive(Clone, Debug)]
enum Step {
    Give(Vec<Run>),
    Next,
    Finish(Result<usize, usize>),
    Withdraw(u64),
    Recall(u32),
    Flush,
}

fn any_step() -> impl Strategy<Value = Step> {
    // Numbers are given below, so that they are distinct.
    let run = (1..4u64, 1..6usize, 0..6u16, 0..3usize).prop_map(|(gap, tasks, flags, bytes)| Run {
        first: gap,
        flags: if flags > 3 { 0 } else { flags },
        stream: 10 * gap,
        args: (0..tasks).map(|nth| vec![nth as u8; bytes]).collect(),
    });
    prop_oneof![
        2 => prop::collection::vec(run, 1..4).prop_map(Step::Give),
        6 => Just(Step::Next),
        6 => prop_oneof![(0..3usize).prop_map(Ok), (0..3usize).prop_map(Err)].prop_map(Step::Finish),
        2 => (0..40u64).prop_map(Step::Withdraw),
        1 => (0..9u32).prop_map(Step::Recall),
        3 => Just(Step::Flush),
    ]
}

proptest! {
    /// Whatever becomes of them: two slaves, of which one has the series as such.
    #[test]
    fn a_run_is_its_tasks_one_by_one(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut cores = [welcomed(), welcomed()];
        let mut next_number = 0;
        for step in steps {
            let step = match step {
                Step::Give(mut runs) => {
                    for run in &mut runs {
                        run.first += next_number;
                        next_number = run.first + run.args.len() as u64 - 1;
                    }
                    Step::Give(runs)
                }
                // Late ones are the interesting ones.
                Step::Withdraw(back) => Step::Withdraw(next_number.saturating_sub(back)),
                step => step,
            };
            let [a, b] = [0, 1].map(|which| {
                let core = &mut cores[which];
                match &step {
                    Step::Give(runs) => core.on_bytes(&packet(runs, which == 0), 0),
                    Step::Next if !core.is_running() => {
                        if let Next::Run(assignment) = core.next_task(0) {
                            let body = assignment.body().expect("a good one");
                            return format!("{} {body:?}", assignment.task);
                        }
                    }
                    Step::Finish(outcome) if core.is_running() => match outcome {
                        Ok(bytes) => core.finish(0, Ok(&mut vec![7; *bytes][..].into()), 5, 0),
                        Err(bytes) => core.finish(0, Err(&"x".repeat(*bytes)), 5, 0),
                    },
                    Step::Next | Step::Finish(_) => {}
                    Step::Withdraw(task) => core.on_bytes(&withdraw(*task), 0),
                    Step::Recall(tasks) => core.on_bytes(&recall(*tasks), 0),
                    Step::Flush => return format!("{:?}", said(core)),
                }
                String::new()
            });
            prop_assert_eq!(a, b);
            let [a, b] = [0, 1].map(|which| {
                let core = &cores[which];
                (core.queued(), core.waiting_results(), core.is_cancelled(), core.end().cloned())
            });
            prop_assert_eq!(a, b);
        }
        let [a, b] = cores.each_mut().map(said);
        prop_assert_eq!(a, b);
    }
}

/// SIGTERM came while more was to be said than its link took in a second: the goodbye stood behind all of it and was lost.
#[test]
fn an_evicted_slave_says_goodbye_in_time() {
    const MS: u64 = 1_000_000;
    let mut core = welcomed();
    core.on_bytes(&tasks(&[(1, 0), (2, 0), (3, 0)]), 0);
    let output = [7; 6_000];
    let mut begun = Vec::new();
    for task in 1..=3 {
        assert_eq!(run(&mut core), task);
        core.finish(0, Ok(&mut output[..].into()), 1, 0);
        core.on_time(task * 200 * MS, 0);
        if task == 1 {
            assert!(core.take_output(&mut begun, 0));
        }
    }
    core.evict("SIGTERM", 1_000 * MS);
    core.on_untaken(0, 1_000 * MS);
    core.on_written(100, 1_010 * MS);
    core.on_untaken(0, 1_874 * MS);
    assert_eq!(core.leaving_deadline(), 1_875 * MS);
    core.on_untaken(0, 1_875 * MS);
    // What was begun to be written is written, and the goodbye behind it.
    core.on_written(begun.len() - 100, 1_900 * MS);
    let frames = said(&mut core);
    assert_eq!(kinds(&frames), [Kind::Goodbye]);
    let goodbye = Goodbye::decode(&frames[0].1).unwrap();
    assert_eq!(
        goodbye.begun,
        Begun::Any,
        "two of its tasks have ended, and the master cannot know which"
    );
    let end = core.end().unwrap().to_string();
    assert!(
        end.ends_with("SIGTERM; results not sent: 2, since its second was over"),
        "{end}"
    );

    // One that could not look at the clock in time says it all the same.
    let mut late = welcomed();
    late.on_bytes(&tasks(&[(1, 0)]), 0);
    assert_eq!(run(&mut late), 1);
    late.finish(0, Ok(&mut output[..].into()), 1, 0);
    late.evict("SIGTERM", 0);
    late.on_untaken(0, 5_000 * MS);
    assert!(!late.is_gone());
    assert_eq!(kinds(&said(&mut late)), [Kind::Goodbye]);
}

/// Its word of what it has begun: the oldest task that it holds once all results are sent.
#[test]
fn a_goodbye_tells_whether_a_task_was_begun() {
    for begun in [Begun::None, Begun::Oldest] {
        let mut core = welcomed();
        core.on_bytes(&tasks(&[(1, 0), (2, 0), (3, 0)]), 0);
        assert_eq!(run(&mut core), 1);
        core.finish(0, Ok(&mut Output::new()), 1, 0);
        if begun == Begun::Oldest {
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
        packet(&[series_of(5, 3, 0)], true),
        frame(Kind::Bests, &bests),
        withdraw(2),
        withdraw(6),
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
                if let Next::Run(_) = core.next_task(0) {
                    core.finish(0, Ok(&mut [0; 3_000][..].into()), 1, now);
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
        let announced = welcome().task_packet_bytes_max + extra;
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
