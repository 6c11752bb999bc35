//! More connections at once than a master lets in: of the silent, of strangers, of ten thousand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringmw::internals::proto::HANDSHAKES_MAX;
use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::batch::ResultStatus;
use ringmw_codec::frame::{FrameReader, Kind};

use crate::app::{answer, count, dir, lost, naps, printed, ready};
use crate::crowd::Crowd;
use crate::crowds::crowd_size;
use crate::process::Process;
use crate::support::{archive, frame, frames_of, hello_frame, results, tasks_in, until};

/// More silent connections than handshakes may be under way, and a slave behind them all.
pub(crate) fn a_storm_of_the_silent(engine: &str) {
    let storm = crowd_size(HANDSHAKES_MAX + 500);
    let dir = dir();
    let mut master = Process::master(dir.path(), &["--mw-engine", engine, "--tasks", "50"]);
    let address = master.address();
    let silent: Vec<_> = (0..storm)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    // Accepting has paused by then: the slave waits in the backlog.
    let full = storm.min(HANDSHAKES_MAX);
    let accepted = |event: &Event| matches!(event, Event::Client { .. });
    master.await_count("the limit of handshakes", full, accepted);
    let mut slave = Process::slave(dir.path(), "slave", &address);
    let took = slave.expect_exit(0);
    assert!(
        took < Duration::from_secs(60),
        "they give way after a second: {took:?}"
    );
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    drop(silent);
    let gave_way = |event: &Event| matches!(event, Event::Rejected { reason, .. } if reason.contains("gave way"));
    let gave_way = count(&master.events(), gave_way);
    eprintln!("{engine}: {storm} silent, {gave_way} gave way, the slave was done after {took:.1?}");
    assert!(gave_way > 0 || storm < HANDSHAKES_MAX);
}

/// What somebody says who is no slave, by their number; every other one says nothing.
fn garbage(number: usize, hello: &[u8]) -> Vec<u8> {
    let mut flipped = hello.to_vec();
    flipped[hello.len() / 2] ^= 0x10;
    match number {
        n if n % 2 == 0 => Vec::new(),
        n if n % 10 == 1 => b"GET / HTTP/1.1\r\nHost: master\r\n\r\n".to_vec(),
        n if n % 10 == 3 => hello[..hello.len() / 2].to_vec(),
        n if n % 10 == 5 => flipped,
        n if n % 10 == 7 => naps(&[1]),
        n => (0..200u64)
            .map(|k| ((n as u64 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect(),
    }
}

/// Slaves that send all but the end of a large frame, and go: their memory goes back to the system.
pub(crate) fn half_frames_leave_nothing_behind(engine: &str) {
    const HALF_BYTES: usize = 120_000;
    const MIB: u64 = 1 << 20;
    let storm = crowd_size(1_000);
    let dir = dir();
    let over = dir.path().join("over");
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            "1",
            "--nap",
            "1",
            "--until",
            over.to_str().unwrap(),
        ],
    );
    let address = master.address();
    let mut slave = Process::slave(dir.path(), "slave", &address);
    let results = |event: &Event| matches!(event, Event::ResultsReceived { .. });
    master.await_count("the real one to work", 5, results);
    let start = master.rss();
    let ready = ready(address);
    let mut words = hello_frame(&ready.hello);
    words.extend_from_slice(&frame(Kind::Results, &[7; 130_000])[..HALF_BYTES]);
    let halves: Vec<_> = (0..storm)
        .map(|_| {
            let mut stream = TcpStream::connect(&ready.address).unwrap();
            stream.write_all(&words).unwrap();
            stream
        })
        .collect();
    let half_of_all = (storm * HALF_BYTES) as u64 / 2;
    until("the frames to be begun", || {
        (master.rss() >= start + half_of_all).then_some(())
    });
    let peak = master.rss();
    drop(halves);
    until("the memory to come back", || {
        (master.rss() <= start + 20 * MIB).then_some(())
    });
    eprintln!(
        "{engine}: {storm} half frames, {} MiB before, {} with them, {} after",
        start / MIB,
        peak / MIB,
        master.rss() / MIB
    );
    std::fs::write(&over, "").unwrap();
    master.expect_exit(0);
    slave.expect_exit(0);
}

/// A peer that answers whatever it is given, guessing what that is, and reads nothing: what the master keeps for it has a
/// bound, though hundreds of MB of tasks wait to be given to somebody.
pub(crate) fn a_deaf_peer_takes_no_memory(engine: &str) {
    const MIB: u64 = 1 << 20;
    const BALLAST: u64 = 100_000;
    const TASKS: u64 = 4_000;
    let dir = dir();
    let (tasks, ballast) = (TASKS.to_string(), BALLAST.to_string());
    let mut args = vec!["--mw-engine", engine, "--mw-client-timeout", "5"];
    args.extend(["--mw-slave-task-group", "1", "--mw-audit-level", "packets"]);
    args.extend(["--mw-max-queued-bytes", "16MiB"]);
    args.extend(["--slaves", "1", "--tasks", &tasks, "--ballast", &ballast]);
    let mut master = Process::master(dir.path(), &args);
    let ready = ready(master.address());
    let mut deaf = TcpStream::connect(&ready.address).unwrap();
    deaf.write_all(&hello_frame(&ready.hello)).unwrap();
    let (mut reader, mut buffer) = (FrameReader::new(), vec![0; 1 << 16]);
    let first = loop {
        let got = deaf.read(&mut buffer).unwrap();
        let frames = frames_of(&mut reader, &buffer[..got]);
        if let Some((_, payload)) = frames.into_iter().find(|frame| frame.0 == Kind::Tasks) {
            break tasks_in(&payload).remove(0);
        }
    };
    // From here on it reads nothing.
    let (start, mut peak, mut answered) = (master.rss(), 0, 0);
    let lost = until("the deaf one to be lost", || {
        let (mut given, mut lost) = (0, None);
        for event in master.events() {
            match event {
                Event::TasksSent { tasks, .. } => given += tasks,
                Event::Lost { cause, .. } => lost = Some(cause),
                _ => {}
            }
        }
        for n in answered..given {
            let number = archive(n);
            let answer = (
                first.task + n,
                first.algorithm,
                ResultStatus::Done,
                &number[..],
            );
            // Once it is lost nobody takes it.
            let _ = deaf.write_all(&results(&[answer]));
        }
        answered = given;
        peak = peak.max(master.rss());
        lost
    });
    eprintln!(
        "{engine}: {answered} tasks of {BALLAST} bytes answered unread, {} MiB before, {} at most, lost by {lost:?}",
        start / MIB,
        peak / MIB
    );
    assert!(
        answered * BALLAST > MIB && answered < TASKS / 2,
        "{answered} were given to it"
    );
    // Of which 16 are the map's, and 4 may be kept for all who do not read.
    assert!(peak <= start + 40 * MIB, "from {start} to {peak} bytes");
    assert!(
        matches!(lost, LossCause::Timeout | LossCause::Protocol),
        "it was given no more, had no more to say, and was silent: {lost:?}"
    );
    master.signal(rustix::process::Signal::KILL);
    master.exit();
}

/// 200 slaves work, some of them real; then ten thousand dial at once, every other one a slave.
pub(crate) fn a_storm_of_ten_thousand(engine: &str) {
    const REAL: usize = 20;
    const WORKERS: usize = 200;
    const NAP: Duration = Duration::from_millis(100);
    const CALM: Duration = Duration::from_secs(3);
    let storm = crowd_size(10_000 + WORKERS) - WORKERS;
    let dir = dir();
    let over = dir.path().join("over");
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--mw-client-timeout",
            "10",
            "--mw-slave-task-group",
            "1",
            "--slaves",
            &WORKERS.to_string(),
            "--nap",
            &NAP.as_millis().to_string(),
            "--until",
            over.to_str().unwrap(),
        ],
    );
    let address = master.address();
    let ready = ready(address.clone());
    let mut real: Vec<_> = (0..REAL)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    let beat = Duration::from_secs(2);
    let mut workers = Crowd::connect(&ready, WORKERS - REAL, beat, answer);
    workers.compute = NAP;
    workers.play("all to work", |crowd| crowd.working == WORKERS - REAL);

    // What they do while nothing happens, and while the storm does, over the same time or longer.
    let rate = |answers: u64, time: Duration| answers as f64 / time.as_secs_f64();
    let before = workers.answered;
    workers.play_for(CALM);
    let calm = rate(workers.answered - before, CALM);

    let hello = hello_frame(&ready.hello);
    let words: Vec<_> = (0..storm)
        .map(|index| match index % 2 {
            0 => hello.clone(),
            _ => garbage(index / 2, &hello),
        })
        .collect();
    let slaves = storm.div_ceil(2);
    let calmed = AtomicBool::new(false);
    let (before, begun) = (workers.answered, Instant::now());
    let (mut stormed, mut answered, mut took) = (0.0, 0, Duration::ZERO);
    thread::scope(|scope| {
        let (words, ready, calmed, dir_over) = (&words, &ready, &calmed, &over);
        let newcomers = scope.spawn(move || {
            let mut crowd = Crowd::burst(ready, words, beat, answer);
            // Their first tasks last longer than the storm.
            crowd.compute = Duration::from_secs(20);
            crowd.play("the storm to be let in", |crowd| crowd.welcomed == slaves);
            let took = begun.elapsed();
            calmed.store(true, Ordering::Relaxed);
            while !dir_over.exists() {
                crowd.play_for(Duration::from_millis(50));
            }
            crowd.hurry();
            crowd.play("all to be gone", |crowd| crowd.gone == crowd.size());
            (took, crowd.welcomed)
        });
        while !newcomers.is_finished()
            && (!calmed.load(Ordering::Relaxed) || begun.elapsed() < CALM)
        {
            workers.play_for(Duration::from_millis(50));
        }
        answered = workers.answered - before;
        stormed = rate(answered, begun.elapsed());
        std::fs::write(&over, "").unwrap();
        workers.hurry();
        workers.play("all to be sent home", |crowd| crowd.gone == WORKERS - REAL);
        let (its_time, welcomed) = newcomers.join().unwrap();
        took = its_time;
        assert_eq!(welcomed, slaves, "and no stranger");
    });
    master.expect_exit(0);
    for slave in &mut real {
        slave.expect_exit(0);
    }
    eprintln!(
        "{engine}: {slaves} slaves of a storm of {storm} were in after {took:.1?}; {} at work answered {calm:.0} a \
         second before, {stormed:.0} in it",
        WORKERS - REAL
    );
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
    let events = master.events();
    assert_eq!(lost(&events), []);
    // So many events at once may be more than the trail takes: then it counts them.
    let connected = events.iter().map(|event| match event {
        Event::Connected { .. } => 1,
        Event::Dropped {
            connected, lost, ..
        } => {
            assert_eq!(*lost, 0);
            *connected
        }
        _ => 0,
    });
    assert_eq!(connected.sum::<u64>(), (WORKERS + slaves) as u64);
    // How fast is the machine's business too: what holds on any is that the workers went on while the storm was let in.
    let workers_played = (WORKERS - REAL) as u64;
    assert!(
        answered >= workers_played,
        "{workers_played} at work answered {answered} times while the storm was let in"
    );
}
