//! How connections begin, and that each has a name of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use ringmw::internals::engine::{Choice, Close};

use crate::rig::{Rig, listener, pattern};

pub(crate) fn a_slot_used_again_is_another_connection(choice: Choice) {
    let mut rig = Rig::new(choice);
    let mut names = Vec::new();
    let mut clients = Vec::new();
    for round in 0..300_u64 {
        let (mut client, conn) = rig.pair();
        assert!(!names.contains(&conn));
        assert!(conn.slot() < 20, "{conn}");
        names.push(conn);
        let words = pattern(round, 100 + round as usize % 7);
        client.write_all(&words).unwrap();
        if round % 3 == 0 {
            rig.until("its own words", |rig| rig.seen.of(conn) == words);
        }
        rig.engine.send(conn, vec![0; 1 << 20]);
        if round % 2 == 0 {
            rig.engine.submit().unwrap();
        }
        rig.engine.close(conn, Close::Now);
        // Some are left to live on beside those that follow.
        if round % 5 == 0 {
            clients.push(client);
        }
        let told = rig.seen.of(conn);
        assert!(words.starts_with(told), "{conn} was told another's words");
    }
    for (index, conn) in names.iter().enumerate() {
        let words = pattern(index as u64, 107);
        assert!(words.starts_with(rig.seen.of(*conn)));
    }
    assert!(rig.seen.closed.is_empty() && rig.seen.sent.is_empty());
    rig.until_empty();
}

pub(crate) fn accepting_pauses_and_resumes(choice: Choice) {
    let mut rig = Rig::new(choice);
    let (_first, _) = rig.pair();
    for round in 1..10 {
        rig.engine.set_accepting(false);
        rig.engine.set_accepting(false);
        while rig.turn() {}
        let _waits = rig.connect();
        for _ in 0..3 {
            while rig.turn() {}
        }
        assert_eq!(rig.seen.accepted.len(), round);
        rig.engine.set_accepting(true);
        // Resumed before the pause is done, too.
        rig.engine.set_accepting(false);
        rig.engine.set_accepting(true);
        rig.until("resumed", |rig| rig.seen.accepted.len() == round + 1);
    }
    assert!(rig.seen.accept_errors.is_empty());
}

pub(crate) fn an_adopted_connection_is_like_another(choice: Choice) {
    let mut rig = Rig::new(choice);
    let server = listener();
    let stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let conn = rig.engine.adopt(stream).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    rig.engine.send(conn, b"master".to_vec());
    rig.until("heard", |rig| rig.seen.of(conn) == b"hello");
    let how = rig.in_an_hour();
    rig.engine.close(conn, how);
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    rig.until_empty();
    assert_eq!(reading.join().unwrap(), b"master");
    assert!(rig.seen.accepted.is_empty());
}
