//! A master that is short of descriptors serves whom it has, and goes on when some are free.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use ringmw_codec::resource::ResourceFile;
use rustix::process::{Resource, Signal};

use crate::app::{answer, count, dir, lost, printed, ready};
use crate::crowd::Crowd;
use crate::process::{Process, limit};
use crate::support::PATIENCE;

pub(crate) fn no_descriptors(engine: &str) {
    const FILES: u64 = 64;
    let dir = dir();
    let mut master = Process::master_with(
        dir.path(),
        &["--mw-engine", engine, "--tasks", "50"],
        |command| {
            limit(command, Resource::Nofile, FILES);
        },
    );
    let address = master.address();
    let idle: Vec<_> = (0..FILES + 20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let shortage = |event: &Event| match event {
        Event::Note { text } if text.contains("cannot accept") => Some(text.clone()),
        _ => None,
    };
    let told = master.await_event("the shortage to be told", shortage);
    assert!(told.contains("ulimit -n"), "{told}");
    // It goes on, and does not spin.
    let (begun, before) = (Instant::now(), master.cpu());
    let mut slave = Process::slave(dir.path(), "slave", &address);
    while begun.elapsed() < Duration::from_millis(1_500) {
        thread::sleep(Duration::from_millis(50));
    }
    let used = master.cpu() - before;
    assert!(
        used < Duration::from_millis(500),
        "{used:?} of processor time in 1.5 s of waiting"
    );
    assert_eq!(
        count(&slave.events(), |event| matches!(event, Event::Id { .. })),
        0,
        "it waits in the backlog"
    );
    drop(idle);
    slave.expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    assert_eq!(
        count(&master.events(), |event| shortage(event).is_some()),
        1
    );
}

/// More slaves than a master has descriptors for: those who are in work on, and others come when some have gone.
pub(crate) fn sixty_four_files(engine: &str) {
    const FILES: u64 = 64;
    const REAL: usize = 12;
    const KILLED: usize = 5;
    let dir = dir();
    let over = dir.path().join("over");
    let file = dir.path().join("resource");
    let mut master = Process::master_with(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            &REAL.to_string(),
            "--nap",
            "10",
            "--until",
            over.to_str().unwrap(),
            "--mw-resource-file",
            file.to_str().unwrap(),
            "--mw-resource-file-update-interval",
            "1",
            "--mw-no-secret",
        ],
        |command| limit(command, Resource::Nofile, FILES),
    );
    let address = master.address();
    let mut real: Vec<_> = (0..REAL)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    let connected = |event: &Event| matches!(event, Event::Connected { .. });
    master.await_count("the real ones to be in", REAL, connected);
    let mut crowd = Crowd::connect(
        &ready(address),
        FILES as usize,
        Duration::from_secs(5),
        answer,
    );
    let short = |event: &Event| matches!(event, Event::Note { text } if text.contains("cannot accept") && text.contains("ulimit -n"));
    let playing = |crowd: &mut Crowd, what: &str, over: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !over() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            crowd.play_for(Duration::from_millis(20));
        }
    };
    playing(&mut crowd, "the shortage to be told", &|| {
        count(&master.events(), short) > 0
    });
    // Those who were accepted before it are welcomed yet.
    let mut full = 0;
    while full != count(&master.events(), connected) {
        full = count(&master.events(), connected);
        crowd.play_for(Duration::from_millis(500));
    }
    assert!(
        full > REAL && full < FILES as usize,
        "{full} of {FILES} files are slaves"
    );

    // The resource file is written all the same.
    let before = std::fs::read(&file).unwrap();
    playing(&mut crowd, "the resource file to be written", &|| {
        std::fs::read(&file).is_ok_and(|now| now != before)
    });
    let resource = ResourceFile::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(resource.slaves_connected, Some(full as u64));

    for slave in &mut real[..KILLED] {
        slave.signal(Signal::KILL);
        slave.exit();
    }
    playing(&mut crowd, "others to come in their place", &|| {
        count(&master.events(), connected) >= full + KILLED
    });
    std::fs::write(&over, "").unwrap();
    crowd.play("the end", |crowd| crowd.gone == crowd.size());
    master.expect_exit(0);
    for slave in &mut real[KILLED..] {
        slave.expect_exit(0);
    }
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
    let events = master.events();
    let lost = lost(&events);
    assert_eq!(lost.len(), KILLED, "none but the killed: {lost:?}");
    let errors: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::ResourceFileError { .. }))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    eprintln!("{engine}: {full} slaves fit into {FILES} files, {tasks} tasks");
}
