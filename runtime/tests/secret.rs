//! What strangers, recordings and those on the way get of a run that has a secret: the end of their own connection, with
//! the right reason, and nothing else. Real sockets, both engines.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw::internals::engine::raise_nofile;
use ringmw::internals::proto::{SlaveConfig, SlaveCore, SlaveEnd};
use ringmw::prelude::*;
use ringmw_codec::audit::Event;
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::Refusal;
use ringmw_codec::secret::{
    ANSWER_BYTES, Channel, FIRST_BYTES, First, Initiator, Key, Role, Secret,
};

use crate::need::{Need, trial};
use crate::support::{PATIENCE, events, frame, hello_frame};

#[path = "support/need.rs"]
mod need;
#[path = "support/mod.rs"]
mod support;

fn main() -> ExitCode {
    if let Ok(address) = std::env::var(CROWD_OF) {
        dials_again_and_again(&address);
        return ExitCode::SUCCESS;
    }
    let args = libtest_mimic::Arguments::from_args();
    let trials = for_both_engines!["ring", "epoll";
        who_knows_the_secret_joins,
        who_does_not_is_told_why,
        what_is_changed_on_the_way_ends_the_connection,
        a_recording_gets_nowhere,
        half_proofs_do_not_stop_those_who_know_the_secret,
        what_is_long_passes_whole,
    ];
    let mut trials: Vec<_> = trials.into();
    trials.push(trial(
        "a_slave_believes_nobody_but_its_master",
        &[],
        a_slave_believes_nobody_but_its_master,
    ));
    // Minutes, where the code is built for tests: `.ci/run machine` runs them.
    let long: [(_, fn()); 2] = [
        ("ring::twenty_thousand_half_proofs", || {
            twenty_thousand_half_proofs("ring")
        }),
        ("epoll::twenty_thousand_half_proofs", || {
            twenty_thousand_half_proofs("epoll")
        }),
    ];
    for (name, test) in long {
        let needs = [Need::ManyFiles];
        trials.push(trial(name, &needs, test).with_ignored_flag(true));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

#[algorithm]
fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// Long arguments are sealed part by part as they are sent, long frames opened in their own memory: what is short goes its
/// way between them, and all of it is what was sent.
fn what_is_long_passes_whole(engine: &str) {
    let master = async |mw: Master, _: Args| {
        let sizes = [
            10, 40_000, 70_000, 300_000, 3_000_000, 1, 1_200_000, 5_000_000,
        ];
        let made = |nth: usize| -> Vec<u8> {
            let bytes = sizes[nth % sizes.len()] + nth;
            (0..bytes).map(|at| (at * 7 + nth) as u8).collect()
        };
        let tasks = (0..24).map(|nth| turned::task(&made(nth)));
        let mut results = mw.map(tasks).in_order();
        for nth in 0..24 {
            let squared = mw.call(square::task(nth as u64)).await?;
            assert_eq!(squared, (nth * nth) as u64);
            let mut came = results.try_next().await?.expect("one for each");
            came.reverse();
            assert!(came == made(nth), "task {nth}");
        }
        // What is still being sent when the master ends harms nobody.
        for nth in 4..8 {
            mw.submit(turned::task(&made(nth)));
        }
        mw.poll_events().await;
        Ok::<(), Error>(())
    };
    let code = App::new()
        .algorithm::<square>()
        .algorithm::<turned>()
        .master(master)
        .embedded(2)
        .args(["--mw-engine", engine])
        .args(["--mw-max-write-buffer-size", "8000000"])
        .args(["--mw-max-read-buffer-size", "8000000"])
        .run();
    assert_eq!(code, 0);
}

/// Runs a master until the play is over; its trail.
fn play(engine: &str, play: impl FnOnce(&Ready) + Send + 'static) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail");
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let played = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&played);
    let master = async move |mw: Master, _: Args| {
        // The last one works: whoever was refused has harmed nobody.
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(mw.call(square::task(7)).await?, 49);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<(), Error>(())
    };
    let code = App::new()
        .algorithm::<square>()
        .master(master)
        .embedded(1)
        .args(["--mw-engine", engine])
        .args(["--mw-audit-file", trail.to_str().unwrap()])
        .on_ready(move |ready| {
            *slot.borrow_mut() = Some(thread::spawn(move || {
                struct Over(Arc<AtomicBool>);
                impl Drop for Over {
                    fn drop(&mut self) {
                        self.0.store(true, Ordering::Relaxed);
                    }
                }
                let _over = Over(over);
                play(&ready);
            }));
        })
        .run();
    let played = played.borrow_mut().take().expect("the master got ready");
    if let Err(panic) = played.join() {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(code, 0);
    events(&trail)
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn secret(ready: &Ready) -> &Secret {
    ready.secret.as_ref().expect("it has one by default")
}

fn key(number: u8) -> Key {
    Key::new([number; 32])
}

/// All that still comes until the end of the connection.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset may be the end.
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// The refusal in these frames, which is all that is in them.
fn refusal(frames: &[u8]) -> Refusal {
    let mut found = Vec::new();
    let flow = FrameReader::new().feed(frames, &|_| u32::MAX, &mut |kind, payload| {
        assert_eq!(kind, Kind::Refuse);
        found.push(Refusal::decode(payload).unwrap());
        ControlFlow::<()>::Continue(())
    });
    assert!(flow.is_ok(), "frames in plain: {frames:?}");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Proves itself; the connection and what all goes through from there on.
fn proved(ready: &Ready, number: u8) -> (TcpStream, Channel) {
    let mut stream = dial(&ready.address);
    let member_id = &ready.hello.member_id;
    let (initiator, first) = Initiator::new(secret(ready), Role::Slave, member_id, key(number));
    stream.write_all(&first).unwrap();
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).unwrap();
    let channel = initiator.finish(&answer).expect("the master knows it too");
    (stream, channel)
}

fn sealed(channel: &mut Channel, frames: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    channel.seal(&mut frames.to_vec(), &mut records);
    records
}

/// The frames in what still comes.
fn opened(channel: &mut Channel, stream: &TcpStream) -> Vec<u8> {
    let mut frames = Vec::new();
    channel
        .open(&rest(stream), &mut frames)
        .expect("the master's own");
    frames
}

fn connected(events: &[Event]) -> usize {
    let connected = |event: &&Event| matches!(event, Event::Connected { .. });
    events.iter().filter(connected).count()
}

fn who_knows_the_secret_joins(engine: &str) {
    let events = play(engine, |ready| {
        let (mut stream, mut channel) = proved(ready, 1);
        stream
            .write_all(&sealed(&mut channel, &hello_frame(&ready.hello)))
            .unwrap();
        let (mut frames, mut buffer) = (Vec::new(), [0; 4096]);
        while !frames.starts_with(b"RW\x01\x02") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "it is welcome");
            channel.open(&buffer[..read], &mut frames).unwrap();
        }
    });
    assert_eq!(connected(&events), 2);
    let ready = events.iter().find_map(|event| match event {
        Event::Ready { security, .. } => security.clone(),
        _ => None,
    });
    assert_eq!(ready.as_deref(), Some("secret"));
}

/// What somebody says first, given what a slave would say, and what the refusal says.
type Stranger = (&'static str, fn(&Ready) -> Vec<u8>, &'static str);

fn first_of(secret: &Secret, role: Role, member_id: &[u8]) -> [u8; FIRST_BYTES] {
    Initiator::new(secret, role, member_id, key(9)).1
}

fn changed(ready: &Ready, at: usize) -> Vec<u8> {
    let mut first = first_of(secret(ready), Role::Slave, &ready.hello.member_id);
    first[at] ^= 1;
    first.to_vec()
}

const STRANGERS: &[Stranger] = &[
    (
        "another secret",
        |ready| first_of(&Secret::new([3; 32]), Role::Slave, &ready.hello.member_id).to_vec(),
        "The secret differs from the master's",
    ),
    (
        "another token",
        |ready| first_of(secret(ready), Role::Slave, b"an\nother").to_vec(),
        "the slave's \"an\\nother\"",
    ),
    (
        "no secret",
        |ready| hello_frame(&ready.hello),
        "has a secret, and the slave came without one",
    ),
    (
        "half a plain frame",
        |_| b"RW".to_vec(),
        "has a secret, and the slave came without one",
    ),
    (
        "another program",
        |_| b"GET / HTTP/1.1".to_vec(),
        "another program on this port",
    ),
    ("another version", |ready| changed(ready, 2), "of version 0"),
    (
        "another protocol",
        |ready| changed(ready, 5),
        "The protocol version differs",
    ),
    (
        "reserved bytes",
        |ready| changed(ready, 7),
        "reserved bytes",
    ),
    (
        "what a master answers",
        |ready| {
            let mut first = first_of(secret(ready), Role::Slave, &ready.hello.member_id);
            first[3] = 128;
            first.to_vec()
        },
        "for role 128",
    ),
    (
        "a key that was changed",
        |ready| changed(ready, 280),
        "The secret differs",
    ),
    (
        "a tag that was changed",
        |ready| changed(ready, 319),
        "The secret differs",
    ),
    (
        "an observer",
        |ready| first_of(secret(ready), Role::Observer, &ready.hello.member_id).to_vec(),
        "an observer belongs at the status address",
    ),
    (
        "more than the first message",
        |ready| {
            let mut said = first_of(secret(ready), Role::Slave, &ready.hello.member_id).to_vec();
            said.push(0);
            said
        },
        "before its proof was answered",
    ),
];

fn who_does_not_is_told_why(engine: &str) {
    let events = play(engine, |ready| {
        for (what, says, told) in STRANGERS {
            let mut stream = dial(&ready.address);
            stream.write_all(&says(ready)).unwrap();
            let said = refusal(&rest(&stream)).to_string();
            assert!(said.contains(told), "{what}: {said}");
        }
    });
    // The embedded one.
    assert_eq!(connected(&events), 1);
    for (what, _, told) in STRANGERS {
        let is_said = |event: &Event| match event {
            Event::Refused { reason, .. } | Event::Offence { reason, .. } => reason.contains(told),
            _ => false,
        };
        assert!(events.iter().any(is_said), "{what}: the trail says {told}");
    }
}

fn what_is_changed_on_the_way_ends_the_connection(engine: &str) {
    type Change = fn(Vec<Vec<u8>>) -> Vec<u8>;
    let rows: [(&str, Change); 5] = [
        ("repeated", |records| {
            [&records[0][..], &records[0]].concat()
        }),
        ("out of order", |records| {
            [&records[1][..], &records[0]].concat()
        }),
        ("the first left out", |records| records[1].clone()),
        ("a length of nothing", |mut records| {
            records[0][..2].copy_from_slice(&3u16.to_le_bytes());
            records.concat()
        }),
        ("shorter than it was", |mut records| {
            records[0][0] -= 1;
            records.concat()
        }),
    ];
    let events = play(engine, move |ready| {
        let words = |channel: &mut Channel| {
            let heartbeat = frame(Kind::Heartbeat, &[]);
            vec![
                sealed(channel, &hello_frame(&ready.hello)),
                sealed(channel, &heartbeat),
            ]
        };
        let mut refused = 0;
        let mut check =
            |what: &str, says: Vec<u8>, stream: &mut TcpStream, channel: &mut Channel| {
                stream.write_all(&says).unwrap();
                let frames = opened(channel, stream);
                let end = frames
                    .windows(4)
                    .rposition(|window| window == b"RW\x01\x03");
                let end = end.unwrap_or_else(|| panic!("{what}: it is told why"));
                let said = refusal(&frames[end..]).to_string();
                assert!(said.contains("record"), "{what}: {said}");
                refused += 1;
            };
        for (what, change) in rows {
            let (mut stream, mut channel) = proved(ready, 1);
            let says = change(words(&mut channel));
            check(what, says, &mut stream, &mut channel);
        }
        let (_, mut channel) = proved(ready, 1);
        let bytes = words(&mut channel)[0].len();
        // Each byte behind the length: a shorter record is told above, and a longer one is as one that is cut.
        for at in 2..bytes {
            let (mut stream, mut channel) = proved(ready, 1);
            let mut says = words(&mut channel)[0].clone();
            says[at] ^= 1 << (at % 8);
            check(&format!("byte {at}"), says, &mut stream, &mut channel);
        }
        // Cut, anywhere: it is not heard at all.
        for at in 0..bytes {
            let (mut stream, mut channel) = proved(ready, 1);
            let says = &words(&mut channel)[0];
            stream.write_all(&says[..at]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(opened(&mut channel, &stream), b"", "cut at {at}");
        }
        // Whoever has proved that it knows the secret goes on in plain: for as long as its first two bytes say a record is.
        let (mut stream, mut channel) = proved(ready, 1);
        let mut says = hello_frame(&ready.hello);
        while says.len() < 2 + usize::from(u16::from_le_bytes(*b"RW")) {
            says.extend(frame(Kind::Heartbeat, &[]));
        }
        check("downgraded", says, &mut stream, &mut channel);
        // What the master says comes back to it.
        let (mut stream, mut channel) = proved(ready, 1);
        stream.write_all(&words(&mut channel)[0]).unwrap();
        let mut told = vec![0; 2];
        stream.read_exact(&mut told).unwrap();
        told.resize(2 + usize::from(u16::from_le_bytes([told[0], told[1]])), 0);
        stream.read_exact(&mut told[2..]).unwrap();
        channel.open(&told, &mut Vec::new()).unwrap();
        check("reflected", told, &mut stream, &mut channel);
    });
    // The one that is repeated has joined before it was repeated, and the one that is reflected before it was.
    assert_eq!(connected(&events), 3);
}

fn a_recording_gets_nowhere(engine: &str) {
    let events = play(engine, |ready| {
        let member_id = &ready.hello.member_id;
        let (_, first) = Initiator::new(secret(ready), Role::Slave, member_id, key(1));
        let (mut stream, mut channel) = proved(ready, 1);
        let hello = sealed(&mut channel, &hello_frame(&ready.hello));
        stream.write_all(&hello).unwrap();
        for says in [&first[..], &hello] {
            assert!(!says.windows(6).any(|window| window == b"square"));
        }
        // All that it said, once more.
        let mut again = dial(&ready.address);
        again.write_all(&first).unwrap();
        let mut answer = [0; ANSWER_BYTES];
        again.read_exact(&mut answer).unwrap();
        again.write_all(&hello).unwrap();
        let told = rest(&again);
        assert!(
            !told.starts_with(b"RW"),
            "it is told under the keys that it does not know"
        );
    });
    assert_eq!(connected(&events), 2);
    let is_offence = |event: &&Event| matches!(event, Event::Offence { reason, .. } if reason.contains("does not open"));
    assert_eq!(events.iter().filter(is_offence).count(), 1);
}

fn half_proofs_do_not_stop_those_who_know_the_secret(engine: &str) {
    const CROWD: usize = 300;
    let events = play(engine, |ready| {
        let member_id = &ready.hello.member_id;
        let first = first_of(secret(ready), Role::Slave, member_id);
        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|nth| {
                let mut stream = dial(&ready.address);
                // Some a part of it, some all of it and no more: each of these costs the master a proof.
                stream.write_all(&first[..FIRST_BYTES - nth % 2]).unwrap();
                stream
            })
            .collect();
        let (mut stream, mut channel) = proved(ready, 2);
        let hello = hello_frame(&ready.hello);
        stream.write_all(&sealed(&mut channel, &hello)).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        drop(crowd);
    });
    assert_eq!(connected(&events), 2);
    let is_lost = |event: &&Event| matches!(event, Event::Lost { .. });
    let lost = events.iter().filter(is_lost).count();
    assert!(lost <= 1, "none but the played one, which went: {lost}");
}

/// Set where this program is the crowd of a test: the address that it dials.
const CROWD_OF: &str = "RINGMW_TEST_CROWD_OF";
const HALF_PROOFS: usize = 20_000;

/// Dials with the half proof that is its input, half of them a byte shorter, and waits until those that it still has open
/// are told no, with a reason or without one.
fn dials_again_and_again(address: &str) {
    // Those that came before these have had to give way, or are closed by their own side.
    const OPEN_MAX: usize = 10_000;
    raise_nofile().unwrap();
    let mut first = [0; FIRST_BYTES];
    std::io::stdin().read_exact(&mut first).unwrap();
    let begun = Instant::now();
    let mut crowd = VecDeque::new();
    for nth in 0..HALF_PROOFS {
        let mut stream = dial(address);
        // One that had to give way meanwhile may be gone.
        let _ = stream.write_all(&first[..FIRST_BYTES - nth % 2]);
        crowd.push_back(stream);
        if crowd.len() > OPEN_MAX {
            crowd.pop_front();
        }
    }
    println!("{HALF_PROOFS} dialled in {:.1?}", begun.elapsed());
    crowd.iter().for_each(|stream| drop(rest(stream)));
    println!("all are gone after {:.1?}", begun.elapsed());
}

/// Half of them stop a byte before their proof is whole, half after it. Meanwhile somebody who knows the secret joins, and
/// who has joined goes on to work. They are in a process of their own, as the master is: each may have so many files open.
fn twenty_thousand_half_proofs(engine: &str) {
    // Two masters, each with a crowd, are more files than a process may have.
    static ONE_CROWD: Mutex<()> = Mutex::new(());
    let _alone = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let events = play(engine, |ready| {
        let member_id = &ready.hello.member_id;
        let mut crowd = Command::new(std::env::current_exe().unwrap());
        crowd.env(CROWD_OF, &ready.address).stdin(Stdio::piped());
        let mut crowd = Ended(crowd.spawn().unwrap());
        let first = first_of(secret(ready), Role::Slave, member_id);
        let mut input = crowd.0.stdin.take().expect("piped");
        input.write_all(&first).unwrap();
        // In the midst of them.
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let (mut stream, mut channel) = proved(ready, 2);
        let hello = hello_frame(&ready.hello);
        stream.write_all(&sealed(&mut channel, &hello)).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        println!("who knew the secret joined in {:.1?}", begun.elapsed());
        assert!(crowd.0.wait().unwrap().success());
    });
    assert_eq!(connected(&events), 2);
    let is_lost = |event: &&Event| matches!(event, Event::Lost { .. });
    let lost = events.iter().filter(is_lost).count();
    assert!(lost <= 1, "none but the played one, which went: {lost}");
}

/// A process that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- what a slave thinks of who answers

/// How it ends for a slave that is answered so, given what it said.
fn answered(answers: impl FnOnce(&[u8; FIRST_BYTES]) -> Vec<u8>) -> Option<SlaveEnd> {
    let ours = Secret::new([5; 32]);
    let hello = ringmw_codec::handshake::Hello {
        member_id: b"id".to_vec(),
        ..ringmw_codec::handshake::Hello::for_test()
    };
    let mut core = SlaveCore::new(&SlaveConfig { hello }, 0);
    let first = core.set_secret(&ours, b"id", key(1));
    let mut said = Vec::new();
    assert!(core.take_output(&mut said, 0));
    assert_eq!(
        said, first,
        "nothing else before the master has proved itself"
    );
    assert!(!core.has_output());
    // In two pieces.
    let answers = answers(&first);
    let (begin, end) = answers.split_at(answers.len() / 2);
    for bytes in [begin, end] {
        core.on_received(bytes, 1, &mut |_| ());
    }
    core.end().cloned()
}

fn a_slave_believes_nobody_but_its_master() {
    let theirs = Secret::new([6; 32]);
    let lost = |text: &str, end: Option<SlaveEnd>| match end {
        Some(SlaveEnd::MasterLost(reason)) => assert!(reason.contains(text), "{reason}"),
        end => panic!("{text}: {end:?}"),
    };
    lost(
        "does not know the secret",
        answered(|_| {
            let (_, first) = Initiator::new(&theirs, Role::Slave, b"id", key(1));
            let read = First::read(&first).unwrap();
            let (_, answer) = read.prove(&theirs, b"id", key(2)).unwrap().answer();
            answer.to_vec()
        }),
    );
    lost(
        "no master of this version",
        answered(|first| first[..ANSWER_BYTES].to_vec()),
    );
    lost(
        "Welcome without the secret",
        answered(|_| frame(Kind::Welcome, &[0; 36])),
    );
    lost(
        "Tasks without the secret",
        answered(|_| frame(Kind::Tasks, &[])),
    );
    lost("another program", answered(|_| b"HTTP/1.1 400".to_vec()));
    let refused = answered(|_| {
        let mut payload = Vec::new();
        Refusal::SecretDiffers.encode(&mut payload);
        frame(Kind::Refuse, &payload)
    });
    let text = Refusal::SecretDiffers.to_string();
    assert_eq!(refused, Some(SlaveEnd::Refused(text)));
}
