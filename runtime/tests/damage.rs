//! Damage and pressure on the master's core, without sockets: every bit of a frame flipped, bytes cut anywhere, storms of
//! handshakes, descriptors that run out, tasks that are poison.

mod support;

#[path = "support/core.rs"]
#[allow(dead_code)]
mod rig;

use std::collections::BTreeSet;
use std::io;

use rig::{CLIENT_TIMEOUT, Rig, hello};
use ringmw::internals::engine::ConnId;
use ringmw::internals::proto::{
    Effect, End, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, MasterCore, SECOND,
};
use ringmw_codec::audit::Event;
use ringmw_codec::control::{Begun, Goodbye, GoodbyeCode, Starting, Withdraw, Withdrawn};
use ringmw_codec::frame::{HEADER_BYTES, Kind};
use ringmw_codec::secret::{Initiator, Key, Role, Secret};
use ringmw_sched::Reason;
use support::{Given, archive, frame, hello_frame, result, results};

/// What a slave says next, with whatever must come before it.
type Speech = (&'static str, fn(&mut Rig) -> (ConnId, Vec<u8>));

fn only(mut given: Vec<Given>) -> Given {
    assert_eq!(given.len(), 1);
    given.pop().unwrap()
}

fn starting(task: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    Starting { task }.encode(&mut payload);
    frame(Kind::Starting, &payload)
}

const SPEECHES: &[Speech] = &[
    ("hello", |rig| (rig.dial(), hello_frame(&hello()))),
    ("heartbeat", |rig| (rig.join(), frame(Kind::Heartbeat, b""))),
    ("results", |rig| {
        let conn = rig.join();
        let given = only(rig.given(conn));
        (
            conn,
            result(&given, given.number().wrapping_mul(given.number())),
        )
    }),
    ("starting", |rig| {
        let conn = rig.join();
        (conn, starting(only(rig.given(conn)).task))
    }),
    ("goodbye", |rig| {
        let conn = rig.join();
        let mut payload = Vec::new();
        Goodbye {
            code: GoodbyeCode::Other,
            begun: Begun::None,
            reason: "enough".into(),
        }
        .encode(&mut payload);
        (conn, frame(Kind::Goodbye, &payload))
    }),
];

/// The header was enough for a packet of any slave's size to be kept, from thousands who had not said who they are.
#[test]
fn a_stranger_may_say_hello_and_nothing_else() {
    for kind in Kind::ALL {
        let announced = [&frame(kind, b"")[..8], &1u32.to_le_bytes()].concat();
        let mut rig = Rig::new();
        let stranger = rig.dial();
        rig.say(stranger, &announced);
        let told = rig.events.iter().any(|event| {
            let expected = format!("{kind:?} before the handshake");
            matches!(event, Event::Offence { reason, .. } | Event::Rejected { reason, .. }
                if reason.contains(&expected))
        });
        // In place of its hello a slave that was dialled may say that it is another master's.
        let may_begin = matches!(kind, Kind::Hello | Kind::Goodbye);
        assert_eq!(told, !may_begin, "{kind:?}: {:?}", rig.events);
    }
    // A slave that is evicted at once has its goodbye behind its hello.
    let mut rig = Rig::new();
    let slave = rig.dial();
    let mut payload = Vec::new();
    Goodbye {
        code: GoodbyeCode::Evicted,
        begun: Begun::None,
        reason: "at once".into(),
    }
    .encode(&mut payload);
    let both = [hello_frame(&hello()), frame(Kind::Goodbye, &payload)].concat();
    rig.say(slave, &both);
    let has = |word| rig.events.iter().any(|event| event.word() == word);
    assert!(has("connected") && has("lost") && !has("offence"));
}

/// Two tasks, an honest slave that has one of them, and the other for whoever comes.
fn with_honest() -> (Rig, ConnId) {
    let mut rig = Rig::new();
    let honest = rig.join();
    rig.submit(0);
    rig.submit(1);
    (rig, honest)
}

/// Time enough for every patience to end, while the honest slave beats.
fn wait_out(rig: &mut Rig, honest: ConnId) {
    let until = rig.now + HANDSHAKE_TIMEOUT.max(CLIENT_TIMEOUT) + SECOND;
    while rig.now < until {
        rig.pass(SECOND);
        rig.beat(honest);
    }
}

#[test]
fn every_flipped_bit_costs_the_offender_alone() {
    for (what, speech) in SPEECHES {
        let (mut rig, _) = with_honest();
        let bits = speech(&mut rig).1.len() * 8;
        for bit in 0..bits {
            let case = format!("{what}, bit {bit}");
            let (mut rig, honest) = with_honest();
            let (offender, mut bytes) = speech(&mut rig);
            bytes[bit / 8] ^= 1 << (bit % 8);
            rig.say(offender, &bytes);
            wait_out(&mut rig, honest);
            assert!(rig.is_closed(offender), "{case}: still connected");
            assert!(
                rig.refusal(offender).is_some(),
                "{case}: the offender is told nothing"
            );
            assert!(rig.told_off(offender), "{case}: the trail says nothing");
            assert!(!rig.is_closed(honest), "{case}: {:?}", rig.refusal(honest));
            rig.work(honest);
            rig.assert_all_squared(0..2, &case);
        }
    }
}

/// As above with a checksum that fits, as from a slave that lies: whatever it says, each task ends once.
#[test]
fn every_lie_in_one_bit_is_an_offence_or_harmless() {
    for (what, speech) in SPEECHES {
        let (mut rig, _) = with_honest();
        let bytes = speech(&mut rig).1.len();
        for bit in 0..(bytes - HEADER_BYTES) * 8 {
            let case = format!("{what}, payload bit {bit}");
            let (mut rig, honest) = with_honest();
            let (offender, bytes) = speech(&mut rig);
            let kind = Kind::from_u8(bytes[3]).unwrap();
            let mut payload = bytes[HEADER_BYTES..].to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            rig.say(offender, &frame(kind, &payload));
            let offended = rig.is_closed(offender);
            assert_eq!(offended, rig.told_off(offender), "{case}");
            assert!(
                !offended || kind == Kind::Goodbye || rig.refusal(offender).is_some(),
                "{case}"
            );
            if !offended {
                rig.end(offender);
            }
            assert!(!rig.is_closed(honest), "{case}");
            rig.work(honest);
            let ids: BTreeSet<u64> = rig.ends.iter().map(|end| end.id().seq()).collect();
            assert_eq!(
                (rig.ends.len(), ids.len()),
                (2, 2),
                "{case}: each task ends once"
            );
        }
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    for (what, speech) in SPEECHES {
        let (mut rig, honest) = with_honest();
        let (conn, bytes) = speech(&mut rig);
        for byte in bytes {
            rig.say(conn, &[byte]);
        }
        assert_eq!(rig.refusal(conn), None, "{what}");
        if !rig.is_closed(conn) {
            rig.end(conn);
        }
        rig.work(honest);
        rig.assert_all_squared(0..2, what);
    }
}

#[test]
fn at_the_limit_of_handshakes_the_silent_give_way() {
    let mut rig = Rig::new();
    let slow = rig.dial();
    rig.say(slow, &hello_frame(&hello())[..20]);
    let silent: Vec<ConnId> = (1..HANDSHAKES_MAX).map(|_| rig.dial()).collect();
    assert_eq!(rig.accepting, [false], "accepting pauses at the limit");
    // Nobody gives way within a second.
    rig.pass(SECOND - 1);
    assert_eq!(
        silent.iter().filter(|&&conn| rig.is_closed(conn)).count(),
        0
    );
    // One of them was only late.
    rig.say(silent[0], &hello_frame(&hello()));
    assert_eq!(rig.accepting, [false, true]);
    let late_comer = rig.dial();
    assert_eq!(rig.accepting, [false, true, false]);
    rig.pass(1);
    let gone = silent.iter().filter(|&&conn| rig.is_closed(conn)).count();
    assert!(
        gone > HANDSHAKES_MAX / 2 && gone < HANDSHAKES_MAX - 10,
        "{gone} gave way at once"
    );
    assert_eq!(rig.accepting, [false, true, false, true]);
    assert!(!rig.is_closed(slow), "who speaks goes after who does not");
    assert!(!rig.is_closed(late_comer), "it has had no second yet");
    let bytes = hello_frame(&hello());
    rig.say(slow, &bytes[20..]);
    rig.say(late_comer, &bytes);
    assert_eq!(rig.core.slaves(), 3);
    // The others have ten seconds in all.
    rig.pass(HANDSHAKE_TIMEOUT);
    assert!(
        silent[1..]
            .iter()
            .all(|&conn| rig.is_closed(conn) && rig.told_off(conn))
    );
}

/// A proof may wait for the master longer than the second that a peer has, and its peer is not to blame: it gave way in the
/// very turn in which it was answered.
#[test]
fn who_was_answered_just_now_does_not_give_way() {
    // What is said is sealed, and no frames: the core by itself.
    let mut core = Rig::new().core;
    core.set_secret(Secret::new([5; 32]));
    let mut turn = |now: u64, facts: &mut dyn FnMut(&mut MasterCore)| -> Vec<Effect> {
        core.begin_turn(now);
        facts(&mut core);
        core.check_overdue(true);
        core.hand_out();
        std::iter::from_fn(|| core.poll_effect()).collect()
    };
    let closes = |effects: &[Effect], of| {
        let is_its = |effect: &Effect| matches!(effect, Effect::Close { conn, .. } if *conn == of);
        effects.iter().any(is_its)
    };
    let slots = 0..u32::try_from(HANDSHAKES_MAX).unwrap();
    let conns: Vec<ConnId> = slots.map(|slot| ConnId::new(slot, 1)).collect();
    let proves = conns[0];
    let accept = |core: &mut MasterCore, conns: &[ConnId]| {
        for &conn in conns {
            core.on_accept(conn, Rig::peer(conn));
            core.on_key(conn, Key::new([1; 32]));
        }
    };
    turn(0, &mut |core| accept(core, &conns[..1]));
    let ours = Secret::new([5; 32]);
    let (_, first) = Initiator::new(&ours, Role::Slave, b"m", Key::new([2; 32]));
    let late = 2 * SECOND;
    let effects = turn(late, &mut |core| {
        accept(core, &conns[1..]);
        core.on_received(proves, &first, &mut |_| ());
    });
    assert!(!closes(&effects, proves), "it was answered just now");
    let is_answer = |effect: &Effect| matches!(effect, Effect::Send(conn, _) if *conn == proves);
    assert!(effects.iter().any(is_answer));
    // It has a second from then on, as others have from their accept.
    let before = turn(late + SECOND - 1, &mut |_| ());
    assert!(!closes(&before, proves));
}

#[test]
fn accepting_waits_for_a_descriptor() {
    let error = || io::Error::from_raw_os_error(libc::EMFILE);
    let mut rig = Rig::new();
    let conn = rig.join();
    rig.turn(0, |core| core.on_accept_error(&error()));
    // The engine has paused by itself. Trying again at once would spin.
    assert!(rig.accepting.is_empty());
    for _ in 0..10 {
        rig.turn(SECOND / 100, |_| {});
    }
    assert!(rig.accepting.is_empty());
    // A connection that is closed gives a descriptor back.
    rig.end(conn);
    rig.turn(1, |_| {});
    assert_eq!(rig.accepting, [true]);
    // Somebody else may have taken it; else it is tried again after a second.
    rig.turn(0, |core| core.on_accept_error(&error()));
    rig.pass(SECOND - 1);
    assert_eq!(rig.accepting, [true]);
    rig.pass(1);
    assert_eq!(rig.accepting, [true, true]);
    // The operator reads of it once, not every second.
    for _ in 0..10 {
        rig.turn(SECOND, |core| core.on_accept_error(&error()));
    }
    let notes: Vec<_> = rig
        .events
        .iter()
        .filter(|event| matches!(event, Event::Note { .. }))
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        matches!(notes[0], Event::Note { text } if text.contains("ulimit -n")),
        "{notes:?}"
    );
}

#[test]
fn what_was_in_a_lost_slave_s_hands_comes_back_marked() {
    let mut rig = Rig::new();
    let task = rig.submit(5);
    for crash in 1..=2u32 {
        let conn = rig.join();
        let given = only(rig.given(conn));
        assert_eq!((given.task, given.marked), (task.seq(), crash > 1));
        rig.say(conn, &starting(given.task));
        rig.end(conn);
        let charged = rig
            .events
            .iter()
            .filter(|event| matches!(event, Event::Charged { .. }))
            .count();
        assert_eq!(charged, crash as usize);
    }
    assert_eq!(rig.ends.len(), 1);
    let end = &rig.ends[0];
    let reason = match end {
        End::Unrunnable(task) => task.reason,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(reason, Reason::Crashed { crashes: 2, .. }),
        "{reason:?}"
    );
}

/// Goodbye and offences charge nobody, however often.
#[test]
fn only_a_lost_slave_is_charged() {
    let mut rig = Rig::new();
    rig.submit(5);
    for round in 0..10 {
        let conn = rig.join();
        let given = only(rig.given(conn));
        rig.say(conn, &starting(given.task));
        if round % 2 == 0 {
            rig.say(conn, b"nonsense");
        } else {
            let mut payload = Vec::new();
            Goodbye {
                code: GoodbyeCode::Evicted,
                begun: Begun::Oldest,
                reason: "SIGTERM".into(),
            }
            .encode(&mut payload);
            rig.say(conn, &frame(Kind::Goodbye, &payload));
        }
        assert!(rig.is_closed(conn));
    }
    assert!(
        !rig.events
            .iter()
            .any(|event| matches!(event, Event::Charged { .. }))
    );
    let honest = rig.join();
    rig.work(honest);
    assert_eq!(rig.ends.len(), 1);
    assert!(matches!(rig.ends[0], End::Done(_)));
}

/// The answer to a withdrawal, and the result that crosses it, in every order.
#[test]
fn a_result_that_crosses_its_withdrawal_is_late() {
    for begun in [None, Some(false), Some(true)] {
        let mut rig = Rig::new();
        let conn = rig.join();
        let task = rig.submit(3);
        let given = only(rig.given(conn));
        let told = rig
            .turn(0, |core| core.cancel(task))
            .expect("it has not ended");
        assert!(matches!(told, End::Cancelled(_)));
        let (kind, payload) = rig.frames(conn).last().unwrap();
        assert_eq!(
            (*kind, Withdraw::decode(payload).unwrap().tasks),
            (Kind::Withdraw, vec![task.seq()])
        );
        if let Some(begun) = begun {
            let mut payload = Vec::new();
            Withdrawn {
                tasks: vec![(given.task, begun)],
            }
            .encode(&mut payload);
            rig.say(conn, &frame(Kind::Withdrawn, &payload));
        }
        // Late, even with bytes that are no archive: nobody reads them.
        rig.say(
            conn,
            &results(&[(
                given.task,
                given.algorithm,
                ringmw_codec::batch::ResultStatus::Done,
                b"x",
            )]),
        );
        let late = rig
            .events
            .iter()
            .any(|event| matches!(event, Event::Late { results: 1, .. }));
        // It gave its word that it had not begun: then there can be no result.
        assert_eq!(late, begun != Some(false), "{begun:?}");
        assert_eq!(rig.is_closed(conn), begun == Some(false), "{begun:?}");
        assert_eq!(rig.ends.len(), 0, "{begun:?}");
        // The same result once more is an offence.
        rig.say(conn, &result(&given, 9));
        assert!(rig.is_closed(conn));
    }
}

/// A master that was held judges nobody by its own pause, and takes what has come first.
#[test]
fn a_pause_of_the_master_is_nobody_s_silence() {
    let mut rig = Rig::new();
    let beating = rig.join();
    let dead = rig.join();
    let half = rig.join();
    rig.say(half, &frame(Kind::Heartbeat, b"")[..5]);
    // Each counts as one second of silence, however long it was.
    let pauses = CLIENT_TIMEOUT / SECOND - 1;
    for _ in 0..pauses {
        rig.turn(3 * CLIENT_TIMEOUT, |_| {});
    }
    let stalls = rig
        .events
        .iter()
        .filter(
            |event| matches!(event, Event::Stall { ms } if *ms == 3 * CLIENT_TIMEOUT / 1_000_000),
        )
        .count();
    assert_eq!(stalls as u64, pauses);
    assert_eq!(rig.core.slaves(), 3);
    let end = rig.now + CLIENT_TIMEOUT;
    while rig.now < end {
        rig.beat(beating);
        rig.pass(SECOND / 2);
    }
    assert_eq!(
        (
            rig.is_closed(beating),
            rig.is_closed(dead),
            rig.is_closed(half)
        ),
        (false, true, true)
    );
}

/// Where every turn of the master is long, whoever is silent is found all the same.
#[test]
fn silence_is_found_however_long_the_turns_are() {
    let mut rig = Rig::new();
    let beating = rig.join();
    let dead = rig.join();
    let half = rig.join();
    rig.say(half, &frame(Kind::Heartbeat, b"")[..5]);
    for _ in 0..CLIENT_TIMEOUT / SECOND + 1 {
        rig.beat(beating);
        rig.turn(3 * CLIENT_TIMEOUT, |_| {});
    }
    assert_eq!(
        (
            rig.is_closed(beating),
            rig.is_closed(dead),
            rig.is_closed(half)
        ),
        (false, true, true)
    );
}

/// What one slave may keep the master from giving back is bounded: a frame that never ends is as large as its kind may be.
#[test]
fn a_frame_is_never_larger_than_its_kind() {
    let (mut rig, honest) = with_honest();
    let conn = rig.join();
    let given = only(rig.given(conn));
    let long = results(&[(
        given.task,
        given.algorithm,
        ringmw_codec::batch::ResultStatus::Done,
        &[0; 5_000],
    )]);
    rig.say(conn, &long[..HEADER_BYTES]);
    assert!(rig.is_closed(conn) && rig.refusal(conn).unwrap().contains("at most 4096"));
    rig.work(honest);
    rig.assert_all_squared(0..2, &"");
    assert_eq!(archive(1).len(), 8);
}

// ---- checkpoints by the thousand

/// Ten thousand running tasks have a checkpoint each: as many are kept as fit beside the queue, which the trail says once;
/// they go with their tasks to the next slaves, and leave their room when those have ended.
#[test]
fn ten_thousand_checkpoints_keep_to_their_bound() {
    use ringmw_codec::running::Checkpoint;
    const TASKS: u64 = 10_000;
    const BYTES_MAX: u64 = 4 << 20;
    const STATE: [u8; 1_000] = [7; 1_000];
    let mut rig = Rig::with(|config| {
        config.rules.sched.queued_bytes_max = BYTES_MAX;
        config.rules.sched.prefetch = false;
    });
    let running = |rig: &mut Rig, tasks: u64| -> Vec<(ConnId, Given)> {
        let conns: Vec<ConnId> = (0..tasks).map(|_| rig.join()).collect();
        let given = conns.into_iter().map(|conn| (conn, only(rig.given(conn))));
        given.collect()
    };
    let keep = |rig: &mut Rig, running: &[(ConnId, Given)]| {
        for (conn, given) in running {
            let mut payload = Vec::new();
            let checkpoint = Checkpoint {
                task: given.task,
                draws: 3,
                state_type: 9,
                state: &STATE,
            };
            checkpoint.encode(&mut payload);
            rig.say(*conn, &frame(Kind::Checkpoint, &payload));
            let last = rig.frames(*conn).last().map(|frame| frame.0);
            assert_eq!(last, Some(Kind::CheckpointTaken), "kept or not");
        }
    };
    let resumed = |rig: &Rig, running: &[(ConnId, Given)]| -> (u64, u64) {
        let (mut tasks, mut bytes) = (0, 0);
        for (conn, given) in running {
            let resumes = rig.frames(*conn).iter();
            for (_, payload) in resumes.filter(|frame| frame.0 == Kind::Resume) {
                let resume = Checkpoint::decode(payload).unwrap();
                assert_eq!((resume.task, resume.state), (given.task, &STATE[..]));
                tasks += 1;
                bytes += payload.len() as u64;
            }
        }
        (tasks, bytes)
    };
    (0..TASKS).for_each(|n| _ = rig.submit(n));
    let first = running(&mut rig, TASKS);
    keep(&mut rig, &first);
    // The newest of each is kept in the place of the last one.
    keep(&mut rig, &first);
    let full = rig.events.iter().filter_map(|event| match event {
        Event::CheckpointsFull { bytes, bytes_max } => Some((*bytes, *bytes_max)),
        _ => None,
    });
    let full: Vec<(u64, u64)> = full.collect();
    assert!(
        matches!(full[..], [(bytes, BYTES_MAX)] if bytes <= BYTES_MAX),
        "{full:?}"
    );
    first.iter().for_each(|(conn, _)| rig.end(*conn));
    let second = running(&mut rig, TASKS);
    let (tasks, bytes) = resumed(&rig, &second);
    assert!(
        bytes <= BYTES_MAX && tasks < TASKS,
        "{tasks} tasks, {bytes} bytes"
    );
    assert!(
        bytes >= BYTES_MAX / 2,
        "{bytes} bytes of {BYTES_MAX} are used"
    );
    for (conn, given) in &second {
        let square = given.number() * given.number();
        let answer = [starting(given.task), result(given, square)].concat();
        rig.say(*conn, &answer);
        rig.end(*conn);
    }
    assert_eq!(rig.ends.len() as u64, TASKS);
    // There is room again.
    (0..100).for_each(|n| _ = rig.submit(TASKS + n));
    let third = running(&mut rig, 100);
    keep(&mut rig, &third);
    third.iter().for_each(|(conn, _)| rig.end(*conn));
    let fourth = running(&mut rig, 100);
    assert_eq!(resumed(&rig, &fourth).0, 100);
}
