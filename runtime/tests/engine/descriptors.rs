//! An engine and the descriptors of its process.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use ringmw::internals::engine::{Choice, Close};

use crate::rig::{Rig, reset};

/// Runs the named test again in a process of its own, for what concerns a whole process.
fn alone(test: &str, choice: Choice) -> bool {
    const MARK: &str = "RINGMW_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let engine = match choice {
        Choice::Ring => "ring",
        _ => "epoll",
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{engine}::{test}"), "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

pub(crate) fn no_descriptor_is_lost(choice: Choice) {
    if !alone("no_descriptor_is_lost", choice) {
        return;
    }
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let mut rig = Rig::new(choice);
    let with_engine = open_files();
    for round in 0..50 {
        let (mut client, conn) = rig.pair();
        match round % 5 {
            0 => rig.engine.close(conn, Close::Now),
            1 => {
                rig.engine.send(conn, vec![1; 10 << 20]);
                rig.engine.submit().unwrap();
                rig.engine.close(conn, Close::Now);
            }
            2 => {
                let how = rig.in_an_hour();
                rig.engine.close(conn, how);
                client.shutdown(Shutdown::Both).unwrap();
            }
            3 => {
                reset(client);
                rig.until("told", |rig| rig.seen.closed.pop().is_some());
                rig.engine.close(conn, Close::Now);
            }
            _ => {
                client.write_all(&[2; 1000]).unwrap();
                drop(client);
                rig.until("told", |rig| rig.seen.closed.pop().is_some());
                rig.engine.close(conn, Close::Now);
            }
        }
        rig.until_empty();
    }
    assert_eq!(open_files(), with_engine);
    let _left = rig.pair();
    drop(rig);
    drop(_left);
    assert_eq!(open_files(), before);
}

pub(crate) fn accepting_stops_for_want_of_descriptors(choice: Choice) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if !alone("accepting_stops_for_want_of_descriptors", choice) {
        return;
    }
    let mut rig = Rig::new(choice);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let open_files = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let current = Some(open_files + 9);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut clients: Vec<_> = (0..6).map(|_| rig.connect()).collect();
    rig.until("refused", |rig| !rig.seen.accept_errors.is_empty());
    let accepted = rig.seen.accepted.len();
    assert!((1..6).contains(&accepted), "{accepted}");
    assert_eq!(rig.seen.accept_errors[0].raw_os_error(), Some(libc::EMFILE));
    while rig.turn() {}
    assert_eq!(rig.seen.accept_errors.len(), 1);
    // Those accepted go on.
    let (conn, peer) = rig.seen.accepted[0];
    let ours = |client: &&mut TcpStream| client.local_addr().unwrap() == peer;
    let first = clients.iter_mut().find(ours).unwrap();
    first.write_all(b"still here").unwrap();
    rig.until("heard", |rig| rig.seen.of(conn) == b"still here");
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
    rig.engine.set_accepting(true);
    rig.until("the others", |rig| rig.seen.accepted.len() == 6);
}
