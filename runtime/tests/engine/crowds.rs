//! Many peers at once, or a few that send without end: each is heard, and nobody sleeps through any of them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use ringmw::internals::engine::{
    self, Choice, Closed, ConnId, Engine, Handler, TAKE_BYTES_MAX, Want,
};

use crate::rig::{PATIENCE, Rig, Seen, open, pattern, until_arrived};

pub(crate) fn many_idle_connections_do_not_disturb_one(choice: Choice) {
    let mut rig = Rig::new(choice);
    let (_, limit) = engine::raise_nofile().unwrap();
    let count = 2000.min(limit as usize / 8);
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(rig.connect());
        rig.turn();
    }
    rig.until("all accepted", |rig| rig.seen.accepted.len() == count);
    rig.echo = true;
    let mut active = rig.connect();
    let talking = thread::spawn(move || {
        for n in 0..500 {
            let words = pattern(n, 64);
            active.write_all(&words).unwrap();
            let mut got = [0; 64];
            active.read_exact(&mut got).unwrap();
            assert_eq!(got[..], words);
        }
    });
    rig.until("talked", |rig| !rig.seen.closed.is_empty());
    talking.join().unwrap();
    assert_eq!(rig.engine.connections(), count + 1);
    drop(idle);
    rig.until("all gone", |rig| rig.seen.closed.len() == count + 1);
}

/// The driver's thread was held up: peers have connected and sent, more than there are shared buffers.
pub(crate) fn one_take_catches_up(choice: Choice) {
    const CLIENTS: usize = 600;
    const BYTES: usize = 40_000;
    let mut rig = Rig::new(choice);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS / 2 {
        clients.push(rig.pair().0);
    }
    for _ in 0..CLIENTS / 2 {
        clients.push(rig.connect());
    }
    for (index, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(index as u64, BYTES)).unwrap();
    }
    clients.iter().for_each(until_arrived);
    let all = rig
        .engine
        .take(Instant::now(), Want::All, &mut rig.seen)
        .unwrap();
    assert!(all);
    assert_eq!(rig.seen.accepted.len(), CLIENTS);
    assert_eq!(rig.seen.total(), CLIENTS * BYTES);
    for (index, client) in clients.iter().enumerate() {
        let address = client.local_addr().unwrap();
        let ours = |(_, peer): &&(ConnId, SocketAddr)| *peer == address;
        let (conn, _) = rig.seen.accepted.iter().find(ours).unwrap();
        assert!(rig.seen.of(*conn) == pattern(index as u64, BYTES));
    }
}

/// Some peers send without end; `take` returns all the same, and has heard a peer who sent one byte before it was called.
pub(crate) fn a_flood_gives_way_and_silences_nobody(choice: Choice) {
    struct Count {
        bytes: usize,
        quiet: Option<ConnId>,
        heard: bool,
    }
    impl Handler for Count {
        fn on_accept(&mut self, _: ConnId, _: SocketAddr) {}
        fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
            self.bytes += bytes.len();
            self.heard |= Some(conn) == self.quiet;
        }
        fn on_sent(&mut self, _: ConnId, _: Vec<u8>, _: bool) {}
        fn on_closed(&mut self, _: ConnId, _: Closed) {}
        fn on_accept_error(&mut self, error: io::Error) {
            panic!("{error}");
        }
    }
    let mut rig = Rig::new(choice);
    let (mut quiet, conn) = rig.pair();
    let flood: Vec<_> = (0..3)
        .map(|_| {
            let (mut client, _) = rig.pair();
            thread::spawn(move || while client.write_all(&[1; 1 << 16]).is_ok() {})
        })
        .collect();
    for _ in 0..10 {
        quiet.write_all(b"!").unwrap();
        until_arrived(&quiet);
        let mut count = Count {
            bytes: 0,
            quiet: Some(conn),
            heard: false,
        };
        rig.engine
            .take(Instant::now(), Want::All, &mut count)
            .unwrap();
        assert!(count.heard);
        assert!(count.bytes < 2 * TAKE_BYTES_MAX, "{}", count.bytes);
        rig.engine.submit().unwrap();
    }
    drop(rig);
    for thread in flood {
        thread.join().unwrap();
    }
}

pub(crate) fn a_runtime_can_drive_it(choice: Choice) {
    async fn serve(mut engine: Box<dyn Engine>) {
        let descriptor = engine::watch(engine.as_ref()).unwrap();
        let mut seen = Seen::default();
        loop {
            let all = engine.take(Instant::now(), Want::Share, &mut seen).unwrap();
            for (conn, bytes) in std::mem::take(&mut seen.bytes) {
                engine.send(conn, bytes);
            }
            if seen.closed.len() == 20 {
                return;
            }
            if engine.submit().unwrap() || !all {
                continue;
            }
            let ready = tokio::time::timeout(PATIENCE, descriptor.readable()).await;
            ready.expect("never woken").unwrap().clear_ready();
        }
    }
    let engine = open(choice);
    let address = engine.local_addr();
    let clients = thread::spawn(move || {
        let connect = |_| TcpStream::connect(address).unwrap();
        let mut clients: Vec<_> = (0..20).map(connect).collect();
        for round in 0..300 {
            // One at a time, so that the driver parks again and again.
            for client in &mut clients[..1 + round % 20] {
                let words = pattern(round as u64, 1 + round * 17 % 5000);
                client.write_all(&words).unwrap();
                let mut got = vec![0; words.len()];
                client.read_exact(&mut got).unwrap();
                assert!(got == words);
            }
        }
    });
    match choice {
        Choice::Ring => tokio_uring::start(serve(engine)),
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(serve(engine)),
    }
    clients.join().unwrap();
}
