//! A run is watched while it runs, also while its master algorithm holds the thread, and stopped for good.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_codec::resource::ResourceFile;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};

use crate::app::{assert_exit_line, count, dir, printed};
use crate::process::Process;
use crate::support::until;

/// Host and port of the page, and its token, as the link on standard error tells them.
fn link(master: &Process) -> (String, String) {
    until("the link to be printed", || {
        let stderr = master.stderr();
        let (_, rest) = stderr.split_once("http://")?;
        let (at, rest) = rest.split_once("/?token=")?;
        let token = rest.split_whitespace().next()?;
        Some((at.to_owned(), token.to_owned()))
    })
}

/// One request; the answer's status line and body.
fn get(at: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("text, and an end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.lines().next().unwrap_or_default().to_owned();
    (status, body.to_owned())
}

fn ask(at: &str, path: &str, token: &str) -> (String, String) {
    get(
        at,
        &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\n\r\n"),
    )
}

/// Connections to the page at once.
const CROWD: usize = 1_000;

/// This process may have so many more files.
fn raise_files(more: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = 1_024 + more as u64;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted.min(limit.maximum.unwrap_or(wanted)));
        setrlimit(Resource::Nofile, limit).expect("up to what is allowed");
    }
}

/// Crowds that send nothing, or a byte now and then, are bounded; and a master whose thread is held tells how it does.
pub(crate) fn a_held_master_tells_how_it_does(engine: &str) {
    let dir = dir();
    let args = [
        "--slaves",
        "0",
        "--restless",
        "holds",
        "--mw-status-port",
        "0",
        "--mw-engine",
        engine,
    ];
    let mut master = Process::master(dir.path(), &args);
    let (at, token) = link(&master);
    until("the thread to be held", || {
        let (status, body) = ask(&at, "/status.json", &token);
        assert!(status.contains(" 200 "), "{status}");
        (!body.contains("\"held_ms\":0,")).then_some(())
    });
    let (status, body) = ask(&at, "/", &token);
    assert!(status.contains(" 200 ") && body.starts_with("<!doctype html>"));
    let (status, body) = ask(&at, "/metrics", &token);
    assert!(status.contains(" 200 ") && body.contains("ringmw_master_held_seconds"));
    let refused = [
        (format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n"), " 401 "),
        (
            format!("GET /?token={token} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            " 421 ",
        ),
        (
            format!("POST /?token={token} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\n\r\n"),
            " 405 ",
        ),
    ];
    for (request, expected) in refused {
        let (status, _) = get(&at, &request);
        assert!(status.contains(expected), "{request}: {status}");
    }
    // Half a request each, from many more than are served at a time: they are closed, and then it answers again. What is
    // served is judged by its head as a whole, so a byte a second is no better than none.
    raise_files(CROWD);
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = TcpStream::connect(&at).expect("the backlog takes them");
            stream.write_all(b"GET / HTT").expect("sent");
            stream
        })
        .collect();
    let (status, _) = ask(&at, "/metrics", &token);
    assert!(status.contains(" 200 "), "{status}");
    drop(crowd);
    master.signal(Signal::USR2);
    master.expect_exit(0);
    assert_exit_line(&master, 0);
}

/// A thousand at once that ask for another host, by POST, or without token are refused each; as many that send a byte at a
/// time are closed. The run goes on beside them.
pub(crate) fn a_crowd_of_wrong_requests_is_refused(engine: &str) {
    let dir = dir();
    let over = dir.path().join("over");
    let until_over = ["--until", over.to_str().expect("text")];
    let page = ["--nap", "1", "--mw-status-port", "0"];
    let args = [&page, &until_over[..], &["--mw-engine", engine]].concat();
    let mut master = Process::master(dir.path(), &args);
    let (at, token) = link(&master);
    raise_files(CROWD);
    let dial = |request: &str| {
        let mut stream = TcpStream::connect(&at).expect("the backlog takes them");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a time-out");
        stream
    };
    let kinds = [
        (
            format!("GET /status.json HTTP/1.1\r\nHost: {at}\r\n\r\n"),
            "401",
        ),
        (
            format!("GET /status.json?token={token} HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            "421",
        ),
        (
            format!(
                "POST /status.json?token={token} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\n\r\n"
            ),
            "405",
        ),
    ];
    let _slave = Process::slave(dir.path(), "slave", &master.address());
    let crowd: Vec<(TcpStream, &str)> = (0..CROWD)
        .map(|nth| {
            let (request, expected) = &kinds[nth % kinds.len()];
            (dial(request), *expected)
        })
        .collect();
    for (mut stream, expected) in crowd {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1);
        assert_eq!(status, Some(expected), "{answer}");
        assert!(!answer.contains("slaves"), "{answer}");
    }
    // Each gets its next byte once all others had theirs, until the last one is closed.
    let mut slow: Vec<TcpStream> = (0..CROWD).map(|_| dial("GET /")).collect();
    until("the slow to be closed", || {
        slow.retain_mut(|stream| {
            stream.set_nonblocking(true).expect("a socket");
            let is_open = match stream.read(&mut [0; 256]) {
                Ok(_) => false,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            is_open && stream.write_all(b"x").is_ok()
        });
        slow.is_empty().then_some(())
    });
    let (status, _) = ask(&at, "/metrics", &token);
    assert!(status.contains(" 200 "), "{status}");
    std::fs::write(&over, "").expect("written");
    master.expect_exit(0);
    let out = master.stdout();
    let tasks = out.split(' ').next().and_then(|tasks| tasks.parse().ok());
    assert_eq!(out, printed(tasks.expect("their number")));
    assert_exit_line(&master, 0);
}

/// SIGUSR2 ends the run for good, also where a thread of its own must: the file says finished, all leave with 0.
pub(crate) fn a_stopped_run_is_finished() {
    for kind in ["channel", "holds"] {
        let dir = dir();
        let file = dir.path().join("app.rsc");
        let path = file.display().to_string();
        let args = [
            "--slaves",
            "0",
            "--restless",
            kind,
            "--mw-resource-file",
            &path,
        ];
        let mut master = Process::master(dir.path(), &args);
        until("the master algorithm to begin", || {
            (master.stdout() == format!("{kind}\n")).then_some(())
        });
        let slave = (kind != "holds").then(|| {
            until("the resource file", || file.exists().then_some(()));
            let to = ["--mw-slave", "--mw-resource-file", &path];
            let slave = Process::start(dir.path(), "slave", &to);
            master.await_count("the slave to come", 1, |event| {
                matches!(event, Event::Connected { .. })
            });
            slave
        });
        master.signal(Signal::USR2);
        master.expect_exit(0);
        assert_exit_line(&master, 0);
        let text = std::fs::read(&file).expect("the file is there");
        let said = ResourceFile::parse(&text).expect("a resource file");
        assert!(said.finished, "{kind}");
        if let Some(mut slave) = slave {
            slave.expect_exit(0);
            let told = |event: &Event| matches!(event, Event::MasterShutdown { finished: true });
            assert_eq!(count(&slave.events(), told), 1);
        }
    }
}
