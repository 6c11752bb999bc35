//! How connections end: by the peer, by the owner, with the engine.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringmw::internals::engine::{Choice, Close, Closed, Want};

use crate::rig::{Rig, Seen, pattern, reset, until_arrived};

pub(crate) fn a_half_closed_peer_can_be_answered(choice: Choice) {
    let mut rig = Rig::new(choice);
    let (mut client, conn) = rig.pair();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    rig.until("end of stream", |rig| !rig.seen.closed.is_empty());
    assert!(matches!(rig.seen.closed[..], [(it, Closed::Eof)] if it == conn));
    assert_eq!(rig.seen.of(conn), b"question");
    let answer = pattern(7, 1 << 20);
    rig.engine.send(conn, answer.clone());
    let how = rig.in_an_hour();
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    rig.engine.close(conn, how);
    rig.until_empty();
    assert!(reading.join().unwrap() == answer);
}

pub(crate) fn a_reset_is_told_after_the_bytes_before_it(choice: Choice) {
    let mut rig = Rig::new(choice);
    for round in 0..20 {
        let (mut client, conn) = rig.pair();
        client.write_all(b"last words").unwrap();
        // Sometimes the engine learns of it by failing to send.
        if round % 2 == 0 {
            until_arrived(&client);
            rig.engine.send(conn, vec![0; 8 << 20]);
            rig.engine.submit().unwrap();
        }
        reset(client);
        rig.until("told", |rig| rig.seen.closed.len() == 1);
        let (from, why) = rig.seen.closed.pop().unwrap();
        // A send that failed has taken the error with it; then the stream merely ends.
        let failed = matches!(why, Closed::Error(_)) || round % 2 == 0;
        assert!(from == conn && failed, "{why:?}");
        assert_eq!(rig.seen.of(conn), b"last words");
        rig.engine.close(conn, Close::Now);
        rig.until_empty();
        assert!(rig.seen.closed.is_empty() && rig.seen.sent.is_empty());
    }
}

pub(crate) fn a_reset_peer_can_be_sent_to_and_closed(choice: Choice) {
    let mut rig = Rig::new(choice);
    for flushed in [false, true] {
        let (client, conn) = rig.pair();
        reset(client);
        rig.until("told", |rig| rig.seen.closed.len() == 1);
        assert!(matches!(rig.seen.closed.pop(), Some((_, Closed::Error(_)))));
        rig.engine.send(conn, vec![1; 100]);
        rig.turn();
        rig.turn();
        assert!(rig.seen.sent.is_empty() && rig.seen.closed.is_empty());
        assert_eq!(rig.engine.connections(), 1);
        let how = if flushed {
            rig.in_an_hour()
        } else {
            Close::Now
        };
        rig.engine.close(conn, how);
        rig.until_empty();
    }
}

pub(crate) fn last_frame_arrives_though_the_peer_is_sending(choice: Choice) {
    let mut rig = Rig::new(choice);
    for bytes in [11, 3 << 20] {
        let (client, conn) = rig.pair();
        let mut writer = client.try_clone().unwrap();
        let sending = thread::spawn(move || while writer.write_all(&[9; 4096]).is_ok() {});
        let mut reader = client;
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            let result = reader.read_to_end(&mut got);
            let _ = reader.shutdown(Shutdown::Both);
            (result, got)
        });
        rig.until("it is sending", |rig| rig.seen.of(conn).len() > 100_000);
        rig.engine.send(conn, pattern(3, bytes));
        let how = rig.in_an_hour();
        rig.engine.close(conn, how);
        let told = rig.seen.total();
        rig.until_empty();
        let (result, got) = reading.join().unwrap();
        sending.join().unwrap();
        result.unwrap();
        assert!(got == pattern(3, bytes));
        assert_eq!(rig.seen.total(), told);
        assert!(rig.seen.closed.is_empty() && rig.seen.sent.is_empty());
    }
}

pub(crate) fn a_flush_ends_at_its_deadline(choice: Choice) {
    let mut rig = Rig::new(choice);
    assert_eq!(rig.engine.deadline(), None);
    let start = Instant::now();
    let by = start + Duration::from_secs(1000);
    // One does not read, the other does not close.
    let (stuck, quiet) = (rig.pair(), rig.pair());
    rig.engine.send(stuck.1, vec![0; 64 << 20]);
    rig.engine.send(quiet.1, vec![0; 64]);
    for (_, conn) in [&stuck, &quiet] {
        rig.engine.close(*conn, Close::Flushed { by });
    }
    let mut got = Vec::new();
    while got.len() < 64 {
        rig.turn();
        let mut buffer = [0; 64];
        let count = (&quiet.0).read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(rig.engine.connections(), 2);
    assert_eq!(rig.engine.deadline(), Some(by));
    rig.engine.take(by, Want::All, &mut rig.seen).unwrap();
    rig.until_empty();
    assert_eq!(rig.engine.deadline(), None);
    assert!(rig.seen.sent.is_empty() && rig.seen.closed.is_empty());
}

pub(crate) fn nothing_is_told_after_close(choice: Choice) {
    let mut rig = Rig::new(choice);
    for bytes in [0, 1 << 10, 32 << 20] {
        let (mut client, conn) = rig.pair();
        client.write_all(b"to be read by nobody").unwrap();
        rig.engine.send(conn, vec![5; bytes]);
        if bytes > 1 << 10 {
            rig.engine.submit().unwrap();
        }
        rig.seen = Seen::default();
        rig.engine.close(conn, Close::Now);
        rig.engine.close(conn, Close::Now);
        rig.engine.send(conn, vec![6; 10]);
        rig.until_empty();
        let mut rest = Vec::new();
        // A reset is as good an end, there being bytes that nobody read.
        let _ = client.read_to_end(&mut rest);
        assert!(rest.iter().all(|byte| *byte == 5));
        rig.turn();
        let Seen {
            bytes,
            sent,
            closed,
            ..
        } = &rig.seen;
        assert!(bytes.is_empty() && sent.is_empty() && closed.is_empty());
    }
}

pub(crate) fn dropping_an_engine_closes_all(choice: Choice) {
    let mut rig = Rig::new(choice);
    let address = rig.engine.local_addr();
    let clients: Vec<_> = (0..50).map(|_| rig.pair()).collect();
    for (_, conn) in &clients {
        rig.engine.send(*conn, vec![1; 16 << 20]);
    }
    rig.engine.submit().unwrap();
    drop(rig);
    for (mut client, _) in clients {
        let mut got = Vec::new();
        let _ = client.read_to_end(&mut got);
        assert!(got.len() < 16 << 20);
    }
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
