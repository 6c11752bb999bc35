//! Offenders against a real master on real sockets: each loses its connection, with a reason on both sides, and
//! nothing else happens. Meanwhile an honest slave works through a map whose answers are checked to the last.

#[path = "support/need.rs"]
mod need;
mod support;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringmw::Ready;
use ringmw::prelude::*;
use ringmw_codec::audit::Event;
use ringmw_codec::batch::ResultStatus::{Done, Failed};
use ringmw_codec::control::{Offer, Returned, Starting, Withdraw, Withdrawn};
use ringmw_codec::frame::{HEADER_BYTES, Kind};
use ringmw_codec::handshake::{AlgorithmSignature, Hello};
use support::{Played, archive, events, frame, hello_frame, result, results};

fn main() -> ExitCode {
    let args = libtest_mimic::Arguments::from_args();
    let trials = for_both_engines!["ring", "epoll";
        offenders_harm_only_themselves,
        half_a_frame_and_silence,
        any_build_takes_another_build,
        a_late_result_costs_nothing,
        closed_handshakes_leave_no_descriptor,
        a_flood_of_heartbeats_and_a_slow_reader,
        a_flood_of_offers_is_few_lines,
    ];
    libtest_mimic::run(&args, trials.into()).exit_code()
}

#[algorithm]
fn square(n: u64) -> u64 {
    // The honest slave is in no hurry, so that offenders are given tasks too.
    thread::sleep(Duration::from_micros(100));
    n.wrapping_mul(n)
}

#[algorithm]
fn text(n: u64) -> String {
    n.to_string()
}

#[algorithm]
fn bounded(n: u64, best: &Best<u64, String>) -> bool {
    n < best.get()
}

/// What came of one offender: where it sat, and the sentence it was sent off with.
struct Told {
    offence: &'static str,
    from: String,
    sentence: String,
}

/// Whether a slave had joined when it offended.
#[derive(Copy, Clone, PartialEq)]
enum As {
    Stranger,
    Slave,
}

/// One offender: what it does, what both sides read, and how.
type Offender = (&'static str, As, &'static str, fn(&Ready) -> Played);

fn joined(ready: &Ready) -> Played {
    Played::join(ready).0
}

fn changed(ready: &Ready, change: impl FnOnce(&mut Hello)) -> Played {
    let mut hello = ready.hello.clone();
    change(&mut hello);
    Played::greet(ready, &hello)
}

fn signature(hello: &mut Hello, name: &str) -> usize {
    hello
        .fingerprint
        .algorithms
        .iter()
        .position(|algorithm| algorithm.name == name)
        .unwrap()
}

/// A hello whose first field is another version, with a checksum that fits.
fn old_protocol(ready: &Ready) -> Played {
    let mut played = Played::dial(ready);
    let mut payload = Vec::new();
    ready.hello.encode(&mut payload);
    payload[..2].copy_from_slice(&0u16.to_le_bytes());
    played.send(Kind::Hello, &payload);
    played
}

fn strange(ready: &Ready, bytes: &[u8]) -> Played {
    let mut played = Played::dial(ready);
    played.say(bytes);
    played
}

fn after_joining(ready: &Ready, kind: Kind, payload: &[u8]) -> Played {
    let mut played = joined(ready);
    played.send(kind, payload);
    played
}

fn withdrawn(task: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    Withdrawn {
        tasks: vec![(task, false)],
    }
    .encode(&mut payload);
    payload
}

fn offer(best: u32, key: u64, witness: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    Offer { best, key, witness }.encode(&mut payload);
    payload
}

const OFFENDERS: &[Offender] = &[
    (
        "a wrong member id",
        As::Stranger,
        "The membership token differs",
        |ready| changed(ready, |hello| hello.member_id = b"somebody else's".to_vec()),
    ),
    (
        "an old protocol",
        As::Stranger,
        ", the slave 0; run the same binary on both sides",
        old_protocol,
    ),
    (
        "another build",
        As::Stranger,
        "or give the master --mw-any-build",
        |ready| {
            changed(ready, |hello| {
                hello.fingerprint.build = "another build".into()
            })
        },
    ),
    (
        "another app version",
        As::Stranger,
        "run the same version on both sides",
        |ready| {
            changed(ready, |hello| {
                hello.fingerprint.app_version = "0.0.0-older".into()
            })
        },
    ),
    (
        "an algorithm less",
        As::Stranger,
        "The slave has no algorithm \"square\"",
        |ready| {
            changed(ready, |hello| {
                let at = signature(hello, "square");
                hello.fingerprint.algorithms.remove(at);
            })
        },
    ),
    (
        "an algorithm more",
        As::Stranger,
        "The slave has an algorithm \"zebra\", which the master lacks",
        |ready| {
            changed(ready, |hello| {
                hello.fingerprint.algorithms.push(AlgorithmSignature {
                    name: "zebra".into(),
                    arguments: "u8".into(),
                    result: "u8".into(),
                    types: 1,
                });
            })
        },
    ),
    (
        "other argument types",
        As::Stranger,
        "The arguments of algorithm \"square\" differ",
        |ready| {
            changed(ready, |hello| {
                let at = signature(hello, "square");
                hello.fingerprint.algorithms[at].arguments = "f64".into();
                hello.fingerprint.algorithms[at].types ^= 1;
            })
        },
    ),
    (
        "another result type",
        As::Stranger,
        "The result of algorithm \"square\" differs",
        |ready| {
            changed(ready, |hello| {
                let at = signature(hello, "square");
                hello.fingerprint.algorithms[at].result = "f64".into();
                hello.fingerprint.algorithms[at].types ^= 1;
            })
        },
    ),
    (
        "a web browser",
        As::Stranger,
        "is it another program on this port?",
        |ready| strange(ready, b"GET / HTTP/1.1\r\nHost: master\r\n\r\n"),
    ),
    (
        "another frame version",
        As::Stranger,
        "frames are of version 9",
        |ready| strange(ready, b"RW\x09"),
    ),
    (
        "an unknown kind",
        As::Stranger,
        "unknown kind 200",
        |ready| strange(ready, b"RW\x01\xc8"),
    ),
    (
        "4 GiB announced",
        As::Stranger,
        "announces 4294967295 bytes, at most 65536",
        |ready| strange(ready, b"RW\x01\x01\0\0\0\0\xff\xff\xff\xff"),
    ),
    (
        "a hello with a bit flipped",
        As::Stranger,
        "damaged on the way",
        |ready| {
            let mut bytes = hello_frame(&ready.hello);
            *bytes.last_mut().unwrap() ^= 0x10;
            strange(ready, &bytes)
        },
    ),
    (
        "a hello cut short",
        As::Stranger,
        "hello could not be read",
        |ready| {
            let mut payload = Vec::new();
            ready.hello.encode(&mut payload);
            payload.truncate(payload.len() - 3);
            strange(ready, &frame(Kind::Hello, &payload))
        },
    ),
    (
        "work without a hello",
        As::Stranger,
        "Results before the handshake",
        |ready| strange(ready, &results(&[(1, 0, Done, b"12345678")])),
    ),
    (
        "a heartbeat with a bit flipped",
        As::Slave,
        "damaged on the way",
        |ready| {
            let mut bytes = frame(Kind::Heartbeat, b"");
            bytes[13] ^= 1;
            let mut played = joined(ready);
            played.say(&bytes);
            played
        },
    ),
    (
        "a heartbeat that carries",
        As::Slave,
        "announces 1 bytes, at most 0",
        |ready| after_joining(ready, Kind::Heartbeat, b"!"),
    ),
    (
        "4 GiB of results announced",
        As::Slave,
        "announces 4294967295 bytes, at most 131072",
        |ready| {
            let mut played = joined(ready);
            played.say(b"RW\x01\x05\0\0\0\0\xff\xff\xff\xff");
            played
        },
    ),
    (
        "results with a bit flipped",
        As::Slave,
        "damaged on the way",
        |ready| {
            let mut played = joined(ready);
            let given = played.task();
            let mut bytes = result(&given, 1);
            *bytes.last_mut().unwrap() ^= 1;
            played.say(&bytes);
            played
        },
    ),
    (
        "results that are no batch",
        As::Slave,
        "batch's archive is damaged",
        |ready| after_joining(ready, Kind::Results, &[0x5a; 100]),
    ),
    (
        "a result never asked for",
        As::Slave,
        "TASK-4000000000",
        |ready| {
            let mut played = joined(ready);
            played.say(&results(&[(4_000_000_000, 0, Done, &archive(1))]));
            played
        },
    ),
    ("a result given twice", As::Slave, "TASK-", |ready| {
        let mut played = joined(ready);
        let given = played.task();
        let right = given.number().wrapping_mul(given.number());
        let bytes = result(&given, right);
        played.say(&[bytes.clone(), bytes].concat());
        played
    }),
    ("results out of order", As::Slave, "TASK-", |ready| {
        let mut played = joined(ready);
        let _first = played.task();
        let second = played.task();
        let right = second.number().wrapping_mul(second.number());
        played.say(&result(&second, right));
        played
    }),
    (
        "a run of results that does not add up",
        As::Slave,
        "its results computed for 2000 ns, it says 2001",
        |ready| {
            let mut played = joined(ready);
            let (given, output) = (played.task(), archive(1));
            let both =
                [given.task, given.task + 1].map(|task| (task, given.algorithm, Done, &output[..]));
            let mut payload = results(&both)[HEADER_BYTES..].to_vec();
            // Two results of 12 bytes each, then the entry, whose second field it is.
            payload[2 * 12 + 8] += 1;
            played.send(Kind::Results, &payload);
            played
        },
    ),
    (
        "a result of another algorithm",
        As::Slave,
        "names another algorithm",
        |ready| {
            let mut played = joined(ready);
            let given = played.task();
            played.say(&results(&[(
                given.task,
                given.algorithm + 1,
                Done,
                &archive(1),
            )]));
            played
        },
    ),
    (
        "a result of an algorithm beyond all",
        As::Slave,
        "names another algorithm",
        |ready| {
            let mut played = joined(ready);
            let given = played.task();
            played.say(&results(&[(given.task, u16::MAX, Failed, b"no")]));
            played
        },
    ),
    ("an archive that lies", As::Slave, "of `square`", |ready| {
        let mut played = joined(ready);
        let given = played.task();
        played.say(&results(&[(given.task, given.algorithm, Done, b"no u64")]));
        played
    }),
    (
        "a Best that does not exist",
        As::Slave,
        "Best with the number 77",
        |ready| after_joining(ready, Kind::Offer, &offer(77, 0, b"")),
    ),
    ("a witness that lies", As::Slave, "String", |ready| {
        after_joining(ready, Kind::Offer, &offer(0, 0, &[0xff; 3]))
    }),
    ("an offer cut short", As::Slave, "key", |ready| {
        after_joining(ready, Kind::Offer, &[0; 6])
    }),
    ("Withdrawn never asked for", As::Slave, "TASK-", |ready| {
        let mut played = joined(ready);
        let given = played.task();
        played.send(Kind::Withdrawn, &withdrawn(given.task));
        played
    }),
    (
        "Withdrawn of a task not held",
        As::Slave,
        "TASK-3999999999",
        |ready| after_joining(ready, Kind::Withdrawn, &withdrawn(3_999_999_999)),
    ),
    ("Returned never asked for", As::Slave, "asked", |ready| {
        let mut payload = Vec::new();
        Returned { tasks: vec![] }.encode(&mut payload);
        after_joining(ready, Kind::Returned, &payload)
    }),
    (
        "Recall to the master",
        As::Slave,
        "a slave never sends Recall",
        |ready| after_joining(ready, Kind::Recall, &[1, 0, 0, 0]),
    ),
    (
        "Starting a task not held",
        As::Slave,
        "TASK-3999999998",
        |ready| {
            let mut payload = Vec::new();
            Starting {
                task: 3_999_999_998,
            }
            .encode(&mut payload);
            after_joining(ready, Kind::Starting, &payload)
        },
    ),
    (
        "a second hello",
        As::Slave,
        "a slave never sends Hello",
        |ready| {
            let bytes = hello_frame(&ready.hello);
            let mut played = joined(ready);
            played.say(&bytes);
            played
        },
    ),
    (
        "Welcome to the master",
        As::Slave,
        "a slave never sends Welcome",
        |ready| after_joining(ready, Kind::Welcome, &[0; 40]),
    ),
    (
        "Tasks to the master",
        As::Slave,
        "a slave never sends Tasks",
        |ready| after_joining(ready, Kind::Tasks, &[0; 40]),
    ),
    (
        "Shutdown to the master",
        As::Slave,
        "a slave never sends Shutdown",
        |ready| after_joining(ready, Kind::Shutdown, &[1]),
    ),
    (
        "Withdraw to the master",
        As::Slave,
        "a slave never sends Withdraw",
        |ready| {
            let mut payload = Vec::new();
            Withdraw {
                tasks: vec![0, 1, 2],
            }
            .encode(&mut payload);
            after_joining(ready, Kind::Withdraw, &payload)
        },
    ),
    ("a goodbye that is none", As::Slave, "code", |ready| {
        after_joining(ready, Kind::Goodbye, &[99, 0, 0])
    }),
];

/// A map that goes on until `done`, its answers checked to the last: right, and each exactly once.
async fn checked_map(mw: &Master, done: Arc<AtomicBool>) -> Result<u64> {
    let numbers = (0..).take_while(move |_| !done.load(Ordering::Relaxed));
    let submitted = Rc::new(RefCell::new(0u64));
    let count = Rc::clone(&submitted);
    let mut squares = mw.map(
        numbers
            .inspect(move |_| *count.borrow_mut() += 1)
            .map(square::task),
    );
    let mut answers = Vec::new();
    while let Some(square) = squares.try_next().await? {
        answers.push(square);
    }
    answers.sort_unstable();
    assert!(
        answers
            .iter()
            .copied()
            .eq((0..*submitted.borrow()).map(|n| n * n)),
        "each answer once, and right"
    );
    Ok(answers.len() as u64)
}

/// Runs `play` against a master whose honest slave works all the while; the trail of the run.
fn against(engine: &str, flags: &[&str], play: impl FnOnce(Ready) + Send + 'static) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    let done = Arc::new(AtomicBool::new(false));
    let played = Rc::new(RefCell::new(None));
    let (done_playing, slot) = (Arc::clone(&done), Rc::clone(&played));
    let master = move |mw: Master, _: Args| async move {
        let _best = mw.minimum::<u64, String>(1_000_000);
        let answers = checked_map(&mw, done).await?;
        eprintln!("{answers} answers, each once");
        Result::<()>::Ok(())
    };
    let app = App::new()
        .algorithm::<square>()
        .algorithm::<text>()
        .algorithm::<bounded>()
        .version("1.0")
        .master(master);
    let code = app
        .embedded(1)
        .args([
            "--mw-engine",
            engine,
            "--mw-no-secret",
            "--mw-slave-task-group",
            "4",
            "--mw-audit-file",
            trail.to_str().unwrap(),
        ])
        .args(flags.iter().copied())
        .on_ready(move |ready| {
            let play = move || {
                // The map must end even if the play fails.
                struct Over(Arc<AtomicBool>);
                impl Drop for Over {
                    fn drop(&mut self) {
                        self.0.store(true, Ordering::Relaxed);
                    }
                }
                let _over = Over(done_playing);
                play(ready);
            };
            *slot.borrow_mut() = Some(thread::spawn(play));
        })
        .run();
    let play = played.borrow_mut().take().expect("the master got ready");
    if let Err(panic) = play.join() {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(code, 0);
    events(&trail)
}

/// Where in the trail this peer is told off, and how.
fn told_off<'e>(events: &'e [Event], peer: &str) -> Option<(&'e str, &'e str)> {
    events.iter().find_map(|event| match event {
        Event::Offence { from, reason, .. } if from == peer => Some(("offence", &reason[..])),
        Event::Refused { from, reason, .. } if from == peer => Some(("refused", reason)),
        Event::Rejected { from, reason } if from == peer => Some(("rejected", reason)),
        Event::Lost { from, detail, .. } if from == peer => Some(("lost", detail)),
        _ => None,
    })
}

fn lost(events: &[Event]) -> Vec<&str> {
    let lost = events.iter().filter_map(|event| match event {
        Event::Lost { from, .. } => Some(&from[..]),
        _ => None,
    });
    lost.collect()
}

fn offenders_harm_only_themselves(engine: &str) {
    let (tell, told) = std::sync::mpsc::channel();
    let events = against(engine, &[], move |ready| {
        for (offence, _, expected, play) in OFFENDERS {
            let played = play(&ready);
            let from = played.from.clone();
            let sentence = played.refusal();
            assert!(
                sentence.contains(expected),
                "{offence}: the offender reads {sentence:?}"
            );
            tell.send(Told {
                offence,
                from,
                sentence,
            })
            .unwrap();
        }
    });
    let told: Vec<Told> = told.try_iter().collect();
    assert_eq!(told.len(), OFFENDERS.len());
    for (
        Told {
            offence,
            from,
            sentence,
        },
        (_, _, expected, _),
    ) in told.iter().zip(OFFENDERS)
    {
        let (_, reason) =
            told_off(&events, from).unwrap_or_else(|| panic!("{offence}: not in the trail"));
        assert!(
            reason.contains(expected),
            "{offence}: the trail says {reason:?}, the offender reads {sentence:?}"
        );
    }
    // The offenders that had joined are lost, and nobody else.
    let joined: Vec<&str> = told
        .iter()
        .zip(OFFENDERS)
        .filter(|(_, (_, who, _, _))| *who == As::Slave)
        .map(|(told, _)| &told.from[..])
        .collect();
    assert_eq!(lost(&events), joined);
}

fn half_a_frame_and_silence(engine: &str) {
    let (tell, told) = std::sync::mpsc::channel();
    let events = against(engine, &["--mw-client-timeout", "1"], move |ready| {
        // Both wait at the same time.
        let mut half = joined(&ready);
        half.say(&frame(Kind::Heartbeat, b"")[..9]);
        let silent = joined(&ready);
        // Bytes of one frame that never ends are no sign of life, though they come often.
        let mut dripping = joined(&ready);
        let frame = results(&[(0, 0, Done, &[7; 4_000])]);
        let drops = thread::spawn(move || {
            for byte in &frame[..100] {
                dripping.say(&[*byte]);
                thread::sleep(Duration::from_millis(20));
            }
            dripping
        });
        for (what, played) in [
            ("half a frame", half),
            ("silence", silent),
            ("dripping", drops.join().unwrap()),
        ] {
            let from = played.from.clone();
            tell.send((what, from, played.refusal())).unwrap();
        }
    });
    let mut lost_ones = Vec::new();
    for (what, from, sentence) in told.try_iter() {
        let (how, reason) =
            told_off(&events, &from).unwrap_or_else(|| panic!("{what}: not in the trail"));
        assert_eq!(how, "lost", "{what}: {reason}");
        assert!(
            sentence.contains("--mw-client-timeout"),
            "{what}: it reads {sentence:?}"
        );
        lost_ones.push(from);
    }
    let mut lost = lost(&events);
    lost.sort_unstable();
    lost_ones.sort_unstable();
    assert_eq!(lost, lost_ones);
}

fn any_build_takes_another_build(engine: &str) {
    let events = against(engine, &["--mw-any-build"], |ready| {
        let mut hello = ready.hello.clone();
        hello.fingerprint.build = "another build".into();
        let mut played = Played::greet(&ready, &hello);
        for _ in 0..100 {
            let given = played.task();
            played.say(&result(&given, given.number().wrapping_mul(given.number())));
        }
        // Waived is the build alone.
        hello.fingerprint.app_version = "2.0".into();
        assert!(
            Played::greet(&ready, &hello)
                .refusal()
                .contains("version differs")
        );
    });
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::Connected { .. }))
            .count(),
        2
    );
}

/// A task cancelled while a slave had it, and answered after all.
fn a_late_result_costs_nothing(engine: &str) {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    let thread = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&thread);
    async fn master(mw: Master, _: Args) -> Result {
        let call = mw.call(square::task(7));
        // It is out once the slave has asked for more by its heartbeat: see below.
        while mw.pending() > 0 {
            tokio::task::yield_now().await;
        }
        drop(call);
        // Answered by the same slave, over the same connection, after the late result.
        assert_eq!(mw.call(square::task(8)).await?, 64);
        Ok(())
    }
    let code = App::new()
        .algorithm::<square>()
        .master(master)
        .embedded(0)
        .args([
            "--mw-engine",
            engine,
            "--mw-no-secret",
            "--mw-audit-file",
            trail.to_str().unwrap(),
        ])
        .on_ready(move |ready| {
            let play = move || {
                let mut played = joined(&ready);
                let given = played.task();
                assert_eq!(given.number(), 7);
                let withdraw = Withdraw::decode(&played.await_kind(Kind::Withdraw)).unwrap();
                assert_eq!(withdraw.tasks, [given.task]);
                played.say(&result(&given, 49));
                let given = played.task();
                played.say(&result(&given, 64));
                played.await_kind(Kind::Shutdown);
            };
            *slot.borrow_mut() = Some(thread::spawn(play));
        })
        .run();
    thread.borrow_mut().take().unwrap().join().unwrap();
    assert_eq!(code, 0);
    let events = events(&trail);
    let late: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Late { results: 1, .. }))
        .collect();
    assert_eq!(late.len(), 1, "{events:#?}");
    let harm = |event: &&Event| matches!(event, Event::Offence { .. } | Event::Lost { .. });
    assert_eq!(events.iter().find(harm), None);
}

/// A port scanner: connections that end before their handshake must leave nothing behind.
fn closed_handshakes_leave_no_descriptor(engine: &str) {
    const SCANS: usize = 300;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests of this process open a few files beside.
    const OTHERS: usize = SCANS / 2;
    against(engine, &[], move |ready| {
        let before = open();
        for scan in 0..SCANS {
            let mut played = Played::dial(&ready);
            if scan % 2 == 0 {
                played.say(&hello_frame(&ready.hello)[..7]);
            }
        }
        support::until("the descriptors to come back", || {
            (open() < before + OTHERS).then_some(())
        });
    });
}

fn a_flood_of_heartbeats_and_a_slow_reader(engine: &str) {
    let events = against(engine, &["--mw-client-timeout", "2"], |ready| {
        let mut flood = joined(&ready);
        let mut slow = joined(&ready);
        let beats = frame(Kind::Heartbeat, b"").repeat(10_000);
        for _ in 0..20 {
            flood.say(&beats);
            // It beats, and reads nothing.
            slow.send(Kind::Heartbeat, b"");
        }
        // Neither is lost by that: both work.
        for mut played in [flood, slow] {
            let given = played.task();
            played.say(&result(&given, given.number().wrapping_mul(given.number())));
            played.send(Kind::Goodbye, &[2, 0, 0, 0]);
            while played.hear().is_some() {}
        }
    });
    let offences = events
        .iter()
        .filter(|event| matches!(event, Event::Offence { .. }))
        .count();
    assert_eq!(offences, 0);
}

fn a_flood_of_offers_is_few_lines(engine: &str) {
    const OFFERS: u64 = 50_000;
    let mut witness = Vec::new();
    ringmw::internals::wire::encode(&String::from("proof"), &mut witness).unwrap();
    let events = against(engine, &[], move |ready| {
        let mut played = joined(&ready);
        let flood: Vec<u8> = (1..=OFFERS)
            .rev()
            .flat_map(|key| frame(Kind::Offer, &offer(0, key, &witness)))
            .collect();
        played.say(&flood);
        // Its answer is read behind all of them.
        let given = played.task();
        played.say(&result(&given, given.number().wrapping_mul(given.number())));
        played.send(Kind::Goodbye, &[2, 0, 0, 0]);
        while played.hear().is_some() {}
    });
    let keys: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Best { key, .. } => Some(*key),
            _ => None,
        })
        .collect();
    assert_eq!(keys.last(), Some(&1), "the last word is told");
    assert!(keys.is_sorted_by(|a, b| a > b));
    assert!(keys.len() < OFFERS as usize / 10, "{} lines", keys.len());
}
