//! What a master keeps for others is bounded, and given back: for peers that do not read, and of frames that are not
//! complete. By the core alone, which counts; the engines are held to the same account in `engine`.

#[path = "support/core.rs"]
#[allow(dead_code)]
mod rig;
mod support;

use rig::Rig;
use ringmw::internals::engine::ConnId;
use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::frame::Kind;
use support::{frame, result};

/// More than any packet of this file: one task each.
const PACKET_MAX: u64 = 200;

/// Answers whatever it is given, until it is given nothing; how many that was.
fn answer_all(rig: &mut Rig, conn: ConnId) -> usize {
    let mut answers = 0;
    loop {
        let given = rig.given(conn);
        if given.is_empty() {
            return answers;
        }
        for given in given {
            answers += 1;
            rig.say(
                conn,
                &result(&given, given.number().wrapping_mul(given.number())),
            );
        }
    }
}

#[test]
fn who_answers_and_never_reads_gets_no_more_work() {
    const MOST: u64 = 2_000;
    let mut rig = Rig::with(|config| config.unsent_bytes_max = MOST);
    let deaf = rig.join();
    rig.stop_reading(deaf);
    for number in 0..1_000 {
        rig.submit(number);
    }
    let answers = answer_all(&mut rig, deaf);
    let kept = rig.core.unsent_bytes();
    assert!(
        (MOST..MOST + PACKET_MAX).contains(&kept) && answers < 100,
        "{kept} bytes are kept, {answers} answers"
    );
    // It beats, and keeps its group and its connection.
    rig.beat(deaf);
    assert!(rig.given(deaf).is_empty() && !rig.is_closed(deaf));
    // Others work on past it.
    let other = rig.join();
    let its = answer_all(&mut rig, other);
    assert!(its > 0 && its + answers == 1_000, "{its} and {answers}");
    assert_eq!(rig.core.unsent_bytes(), kept);
    // It reads after all.
    rig.read_on(deaf);
    assert_eq!(rig.core.unsent_bytes(), 0);
    rig.end(other);
    rig.submit(1_000);
    assert_eq!(answer_all(&mut rig, deaf), 1);
    rig.assert_all_squared(0..1_001, &"one after the other");
}

#[test]
fn who_is_far_behind_is_dropped_with_that_reason_and_nobody_is_charged() {
    // Twice the bound is less than one packet.
    let mut rig = Rig::with(|config| config.unsent_bytes_max = 20);
    let deaf = rig.join();
    rig.stop_reading(deaf);
    let task = rig.submit(3);
    rig.turn(0, |_| ());
    assert!(rig.is_closed(deaf));
    let lost = rig.events.iter().find_map(|event| match event {
        Event::Lost { cause, detail, .. } => Some((*cause, detail.clone())),
        _ => None,
    });
    let (cause, detail) = lost.expect("it is in the trail");
    assert_eq!(cause, LossCause::Protocol);
    assert!(detail.starts_with("It does not read: "), "{detail}");
    assert_eq!(rig.core.unsent_bytes(), 0, "what was kept goes with it");
    let charged = |event: &Event| matches!(event, Event::Charged { .. });
    assert!(!rig.events.iter().any(charged));
    assert!(rig.core.sched().is_live(task), "another may run it");
}

#[test]
fn all_together_are_bounded_and_who_has_waited_longest_gets_no_work_first() {
    const ALL_MAX: u64 = 4_000;
    const SLAVES: usize = 20;
    let mut rig = Rig::with(|config| config.rules.sched.queued_bytes_max = 4 * ALL_MAX);
    let slaves: Vec<ConnId> = (0..SLAVES).map(|_| rig.join()).collect();
    for conn in &slaves {
        rig.stop_reading(*conn);
    }
    let (mut number, mut answers) = (0, [0; SLAVES]);
    // They answer in turn, the first one always first: it has waited longest.
    for _ in 0..100 {
        for (conn, answers) in slaves.iter().zip(&mut answers) {
            rig.submit(number);
            number += 1;
            rig.pass(1);
            for given in rig.given(*conn) {
                *answers += 1;
                rig.say(*conn, &result(&given, 0));
            }
        }
        rig.pass(1);
    }
    let kept = rig.core.unsent_bytes();
    let all_max = ALL_MAX + SLAVES as u64 * PACKET_MAX;
    assert!(kept <= all_max, "{kept} bytes are kept of {all_max}");
    assert!(
        kept > ALL_MAX / 2,
        "and the bound was met: {kept}, {answers:?}"
    );
    // Who has nothing unsent is served whatever the others have.
    let fresh = rig.join();
    let its = answer_all(&mut rig, fresh);
    assert!(its > 0, "{answers:?}");
    for conn in slaves {
        rig.read_on(conn);
    }
    assert_eq!(rig.core.unsent_bytes(), 0);
}

#[test]
fn nothing_is_kept_of_a_half_frame_whose_connection_is_gone() {
    const HALVES: usize = 50;
    let mut rig = Rig::new();
    let half = &frame(Kind::Results, &[7; 4_000])[..3_000];
    let conns: Vec<ConnId> = (0..HALVES).map(|_| rig.join()).collect();
    for conn in &conns {
        rig.say(*conn, half);
    }
    assert_eq!(rig.core.begun_bytes(), (HALVES * half.len()) as u64);
    assert_eq!(rig.core.take_left_bytes(), 0);
    // Half of them end; of the others the frames do not come in time.
    for conn in &conns[..HALVES / 2] {
        rig.end(*conn);
    }
    assert_eq!(rig.core.begun_bytes(), (HALVES / 2 * half.len()) as u64);
    rig.pass(rig::CLIENT_TIMEOUT + 2 * ringmw::internals::proto::SECOND);
    assert!(conns.iter().all(|conn| rig.is_closed(*conn)));
    assert_eq!(rig.core.begun_bytes(), 0);
    let left = rig.core.take_left_bytes();
    assert_eq!(
        (left, rig.core.take_left_bytes()),
        ((HALVES * half.len()) as u64, 0),
        "the allocator hears of it once"
    );
}
