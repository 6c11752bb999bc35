//! What is sent arrives, all of it and in its order, and what is not read is accounted for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use ringmw::internals::engine::{Choice, Close, Closed, ConnId};

use crate::rig::{PATIENCE, Rig, pattern};

pub(crate) fn many_clients_are_echoed(choice: Choice) {
    let mut rig = Rig::new(choice);
    rig.echo = true;
    let address = rig.engine.local_addr();
    let clients: Vec<_> = (0..8)
        .map(|thread| {
            thread::spawn(move || {
                let connect = |_| {
                    let stream = TcpStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream
                };
                let mut streams: Vec<_> = (0..25).map(connect).collect();
                for round in 0..40 {
                    let words = |index: usize| {
                        let seed = thread << 32 | round << 16 | index as u64;
                        pattern(seed, 1 + (seed as usize * 37) % 9000)
                    };
                    for (index, stream) in streams.iter_mut().enumerate() {
                        stream.write_all(&words(index)).unwrap();
                    }
                    for (index, stream) in streams.iter_mut().enumerate() {
                        let expected = words(index);
                        let mut got = vec![0; expected.len()];
                        stream.read_exact(&mut got).unwrap();
                        assert!(got == expected);
                    }
                }
            })
        })
        .collect();
    rig.until("200 clients served", |rig| rig.seen.closed.len() == 200);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(rig.seen.accepted.len(), 200);
    for (conn, why) in std::mem::take(&mut rig.seen.closed) {
        assert!(matches!(why, Closed::Eof), "{why:?}");
        rig.engine.close(conn, Close::Now);
    }
    rig.until_empty();
}

pub(crate) fn big_frames_pass_both_ways(choice: Choice) {
    const BYTES: usize = 4 << 20;
    let mut rig = Rig::new(choice);
    let (client, conn) = rig.pair();
    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&pattern(1, BYTES)).unwrap());
    let mut reader = client;
    let reading = thread::spawn(move || {
        let mut got = vec![0; BYTES];
        reader.read_exact(&mut got).unwrap();
        (reader, got)
    });
    rig.engine.send(conn, pattern(2, BYTES));
    rig.until("both frames passed", |rig| {
        rig.seen.of(conn).len() == BYTES && !rig.seen.sent.is_empty()
    });
    writing.join().unwrap();
    let (_client, got) = reading.join().unwrap();
    assert!(got == pattern(2, BYTES));
    assert!(rig.seen.of(conn) == pattern(1, BYTES));
    let (from, buffer, drained) = rig.seen.sent.pop().unwrap();
    assert!(from == conn && drained && buffer == pattern(2, BYTES));
}

pub(crate) fn buffers_are_sent_in_order(choice: Choice) {
    const BUFFERS: usize = 1000;
    let mut rig = Rig::new(choice);
    let (mut client, conn) = rig.pair();
    let buffers: Vec<_> = (0..BUFFERS)
        .map(|n| pattern(n as u64, 1 + n * 29 % 5000))
        .collect();
    rig.engine.send(conn, Vec::new());
    for buffer in &buffers {
        rig.engine.send(conn, buffer.clone());
    }
    let expected = buffers.concat();
    let reading = thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).unwrap();
        assert!(got == expected);
        client
    });
    rig.until("all written", |rig| rig.seen.sent.len() == BUFFERS);
    reading.join().unwrap();
    for (n, (from, buffer, drained)) in rig.seen.sent.iter().enumerate() {
        assert!(*from == conn && *buffer == buffers[n]);
        // Drained may be said in between, when the engine was faster than this test.
        assert!(*drained || n + 1 < BUFFERS);
    }
}

/// What the owner knows by itself, what it sent less what came back, is what the engine keeps.
pub(crate) fn what_is_not_read_is_accounted_for(choice: Choice) {
    const BUFFER: usize = 100_000;
    const STEP: usize = 50;
    let mut rig = Rig::new(choice);
    let (reader, unread) = (rig.pair(), rig.pair());
    let mut kept = BTreeMap::from([(reader.1, 0), (unread.1, 0)]);
    let account = |rig: &mut Rig, kept: &mut BTreeMap<ConnId, u64>| {
        for (conn, buffer, drained) in rig.seen.sent.drain(..) {
            let bytes = kept.get_mut(&conn).expect("one of the two");
            *bytes -= buffer.len() as u64;
            assert!(!drained || *bytes == 0);
        }
        assert_eq!(rig.engine.unsent_bytes(), kept.values().sum::<u64>());
    };
    // Until one socket has been full for a while: more than any buffer of the kernel's.
    while kept[&unread.1] < 64 << 20 {
        for conn in [reader.1, unread.1] {
            for _ in 0..STEP {
                rig.engine.send(conn, vec![3; BUFFER]);
                *kept.get_mut(&conn).expect("one of the two") += BUFFER as u64;
            }
        }
        account(&mut rig, &mut kept);
        let stream = reader.0.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut got = vec![0; STEP * BUFFER];
            (&stream).read_exact(&mut got).unwrap();
        });
        rig.until("it reads all", |rig| {
            account(rig, &mut kept);
            kept[&reader.1] == 0
        });
        reading.join().unwrap();
    }
    rig.engine.close(unread.1, Close::Now);
    assert_eq!(
        rig.engine.unsent_bytes(),
        0,
        "with it all goes that was kept"
    );
}
