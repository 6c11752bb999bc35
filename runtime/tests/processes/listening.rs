//! Slaves that listen, and masters that dial them.

use std::net::TcpListener;
use std::path::Path;

use ringmw_codec::audit::Event;
use ringmw_codec::resource::ResourceFile;

use crate::app::{LONG_MS, dir, printed};
use crate::process::Process;
use crate::support::until;

/// A slave that listens on a port of its own, with these flags; and where.
fn listening(dir: &Path, name: &str, flags: &[&str]) -> (Process, String) {
    let role = ["--mw-slave", "--mw-slave-listen", "127.0.0.1:0"];
    let slave = Process::start(dir, name, &[&role, flags].concat());
    let address = slave.address();
    (slave, address)
}

/// A secret that master and slave are both given.
fn secret(dir: &Path) -> String {
    let path = dir.join("secret");
    std::fs::write(&path, "c0ffee11".repeat(8)).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, permissions).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Who dials, with a secret or without.
pub(crate) fn either_side_dials(engine: &str) {
    for has_secret in [true, false] {
        let dir = dir();
        let file = secret(dir.path());
        let flags: &[&str] = if has_secret {
            &["--mw-secret-file", &file]
        } else {
            &[]
        };
        let master = ["--mw-engine", engine, "--tasks", "50"];
        let (_slave, address) = listening(dir.path(), "listens", flags);
        let dials = ["--mw-slave-at", &address];
        let mut master = Process::master(dir.path(), &[&master[..], &dials, flags].concat());
        master.expect_exit(0);
        assert_eq!(master.stdout(), printed(50), "the master dials");

        let dir = crate::app::dir();
        let file = secret(dir.path());
        let flags: &[&str] = if has_secret {
            &["--mw-secret-file", &file]
        } else {
            &[]
        };
        let args = ["--mw-engine", engine, "--tasks", "50"];
        let mut master = Process::master(dir.path(), &[&args[..], flags].concat());
        let address = master.address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let dials = [
            "--mw-slave",
            "--mw-master-host",
            host,
            "--mw-master-port",
            port,
        ];
        let mut slave = Process::start(dir.path(), "dials", &[&dials[..], flags].concat());
        master.expect_exit(0);
        slave.expect_exit(0);
        assert_eq!(master.stdout(), printed(50), "the slave dials");
    }
}

pub(crate) fn a_listening_slave_outlives_its_masters() {
    let dir = dir();
    let file = secret(dir.path());
    let (mut slave, address) = listening(dir.path(), "slave", &["--mw-secret-file", &file]);
    let args = |tasks| {
        [
            "--mw-secret-file",
            &file,
            "--mw-slave-at",
            &address,
            "--mw-client-timeout",
            "5",
            "--tasks",
            tasks,
        ]
    };
    for (tasks, nap) in [("7", "0"), ("8", "0"), ("1", &LONG_MS.to_string())] {
        let mut flags = args(tasks).to_vec();
        flags.extend(["--nap", nap]);
        let begun = dir.path().join(tasks);
        std::fs::create_dir(&begun).unwrap();
        let mut master = Process::master(&begun, &flags);
        if nap == "0" {
            master.expect_exit(0);
            assert_eq!(master.stdout(), printed(tasks.parse().unwrap()));
        } else {
            // Lost in the midst of a task that goes on for long.
            until("the task to begin", || {
                slave.stdout().contains("has begun").then_some(())
            });
            master.signal(rustix::process::Signal::KILL);
        }
    }
    // And once more, after which nobody comes.
    let begun = dir.path().join("9");
    std::fs::create_dir(&begun).unwrap();
    let mut master = Process::master(&begun, &args("9"));
    master.expect_exit(0);
    slave.expect_exit(0);
    let events = slave.events();
    let lives = events
        .iter()
        .filter(|event| matches!(event, Event::Init { .. }));
    // The first, and one after each master.
    assert_eq!(lives.count(), 5);
    for event in &events {
        if let Event::Ready { addresses, .. } = event {
            assert_eq!(addresses[0], address, "the port is kept");
        }
    }
}

pub(crate) fn of_two_masters_one_has_the_slave() {
    let dir = dir();
    let file = secret(dir.path());
    let (_slave, address) = listening(dir.path(), "slave", &["--mw-secret-file", &file]);
    let over = dir.path().join("over");
    let flags = |until: &str| {
        [
            "--mw-secret-file",
            &file,
            "--mw-slave-at",
            &address,
            "--nap",
            "1",
            "--tasks",
            "20",
            "--until",
            until,
        ]
        .map(str::to_owned)
    };
    let start = |name: &str, until: &str| {
        let begun = dir.path().join(name);
        std::fs::create_dir(&begun).unwrap();
        let flags = flags(until);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Process::master(&begun, &flags)
    };
    let mut first = start("first", over.to_str().unwrap());
    first.await_count("the first to have it", 1, |event| {
        matches!(event, Event::Connected { .. })
    });
    let mut second = start("second", "");
    second.await_count("the second to be told", 1, |event| {
        matches!(event, Event::Rejected { reason, .. } if reason.contains("serves the master at"))
    });
    // A stranger is told less: who has another secret.
    let other = dir.path().join("other");
    let mut stranger = {
        let begun = dir.path().join("third");
        std::fs::create_dir(&begun).unwrap();
        let other = other.to_str().unwrap();
        Process::master(
            &begun,
            &["--mw-secret-file", other, "--mw-slave-at", &address],
        )
    };
    stranger.await_count("the stranger to find out", 1, |event| {
        matches!(event, Event::Refused { reason, .. } if reason.contains("The secret differs"))
    });
    stranger.signal(rustix::process::Signal::TERM);
    stranger.expect_exit(143);
    std::fs::write(&over, "").unwrap();
    first.expect_exit(0);
    // Its turn comes: it dials again, and the slave listens again.
    second.expect_exit(0);
    assert_eq!(second.stdout(), printed(20));
}

/// Somebody takes the connection and says nothing, as the socket of a killed master does while its kernel still listens
/// with it: the slave tells so, and goes on to the master's next address.
pub(crate) fn a_silent_socket_keeps_nobody_from_the_next_address() {
    let dir = dir();
    let resource = dir.path().join("rsc");
    let flags = [
        "--mw-resource-file",
        resource.to_str().unwrap(),
        "--tasks",
        "3",
    ];
    let mut master = Process::master(dir.path(), &flags);
    let address = master.address();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (silent.local_addr().unwrap().to_string(), silent);
    let mut file = until("the resource file", || {
        ResourceFile::parse(&std::fs::read(&resource).ok()?).ok()
    });
    file.master_addresses.insert(0, silent.0.clone());
    let copy = dir.path().join("copy");
    std::fs::write(&copy, file.write()).unwrap();
    let copy = copy.to_str().unwrap();
    let args = ["--mw-slave", "--mw-resource-file", copy];
    let mut slave = Process::start(dir.path(), "slave", &args);
    slave.expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(3));
    let told = slave.stderr();
    let expected = format!(
        "the master at {} took the connection and has not answered in 10 s",
        silent.0
    );
    assert!(told.contains(&expected), "{told}");
    let connected = slave.events().into_iter().filter_map(|event| match event {
        Event::MasterConnected { to, .. } => Some(to),
        _ => None,
    });
    assert_eq!(connected.collect::<Vec<_>>(), [silent.0, address]);
}

/// A signal to one that waits for a master ends it at once, with a last line in its trail.
pub(crate) fn one_that_waits_is_told_to_go() {
    for (signal, name) in [
        (rustix::process::Signal::TERM, "SIGTERM"),
        (rustix::process::Signal::INT, "SIGINT"),
    ] {
        let dir = dir();
        let (mut slave, _) = listening(dir.path(), "slave", &[]);
        slave.signal(signal);
        slave.expect_exit(255);
        let told = format!("told to go by {name}");
        match slave.events().last() {
            Some(Event::Exit { code: 255, reason }) => assert_eq!(*reason, told),
            last => panic!("{last:?}"),
        }
    }
}
