//! Long frames are received into memory that their owner lends.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;

use ringmw::internals::engine::{Choice, Close, Closed, ConnId, Handler, Want};
use ringmw_codec::frame::{Block, FrameReader, Kind, Payload, put_frame};

use crate::rig::{PATIENCE, Rig, pattern, reset};

/// An owner that takes frames apart, and lends the memory of long ones.
#[derive(Default)]
struct Framed {
    reader: FrameReader,
    frames: Vec<Vec<u8>>,
    /// Bytes that came in chunks, and in memory that was lent.
    copied: usize,
    direct: usize,
    closed: Option<Closed>,
    /// There is more to take before one may sleep.
    again: bool,
}

impl Framed {
    fn turn(&mut self, rig: &mut Rig) {
        if !self.again {
            rig.park(Instant::now() + PATIENCE, "frames come");
        }
        let all = rig.engine.take(Instant::now(), Want::Share, self).unwrap();
        self.again = rig.engine.submit().unwrap() || !all;
    }
}

impl Handler for Framed {
    fn on_accept(&mut self, _: ConnId, _: SocketAddr) {}
    fn on_bytes(&mut self, _: ConnId, bytes: &[u8]) {
        self.copied += bytes.len();
        let frames = &mut self.frames;
        let flow = self.reader.take(bytes, &|_| u32::MAX, &mut |_, payload| {
            frames.push(payload.bytes().to_vec());
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(flow, Ok(ControlFlow::Continue(())));
    }
    fn is_long(&self, _: ConnId) -> bool {
        self.reader.is_long()
    }
    fn lend(&mut self, _: ConnId) -> Option<Block> {
        self.reader.lend()
    }
    fn on_block(&mut self, _: ConnId, bytes: Vec<u8>, more: usize) {
        self.direct += more;
        let frames = &mut self.frames;
        let flow = self.reader.take_back(bytes, &mut |_, payload| {
            assert!(matches!(payload, Payload::Whole(_)));
            frames.push(payload.bytes().to_vec());
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(flow, Ok(ControlFlow::Continue(())));
    }
    fn on_sent(&mut self, _: ConnId, _: Vec<u8>, _: bool) {}
    fn on_closed(&mut self, _: ConnId, why: Closed) {
        self.closed = Some(why);
    }
    fn on_accept_error(&mut self, error: io::Error) {
        panic!("{error}");
    }
}

/// Long and short frames, in any order and cut anywhere: all of them, and of the long ones most of the bytes are not copied.
pub(crate) fn long_frames_are_received_into_their_own_memory(choice: Choice) {
    const LENGTHS: [usize; 12] = [
        5_000_000, 20, 300_000, 300_000, 0, 100_000, 40_000, 100_000, 9_000_000, 7, 33_000,
        2_000_000,
    ];
    let mut rig = Rig::new(choice);
    let (mut client, _) = rig.pair();
    let payloads: Vec<Vec<u8>> = (1..)
        .zip(LENGTHS)
        .map(|(seed, len)| pattern(seed, len))
        .collect();
    let mut stream = Vec::new();
    for payload in &payloads {
        put_frame(&mut stream, Kind::Results, payload);
    }
    let all = stream.len();
    let writing = thread::spawn(move || {
        for (nth, chunk) in stream.chunks(70_001).enumerate() {
            client.write_all(chunk).unwrap();
            if nth % 7 == 0 {
                thread::yield_now();
            }
        }
        client
    });
    let mut framed = Framed {
        again: true,
        ..Framed::default()
    };
    while framed.frames.len() < LENGTHS.len() {
        framed.turn(&mut rig);
    }
    let client = writing.join().unwrap();
    assert!(framed.frames == payloads);
    assert_eq!(framed.copied + framed.direct, all);
    assert!(!framed.reader.is_mid_frame());
    assert!(
        framed.direct > all / 2,
        "{} of {all} bytes were copied",
        framed.copied
    );
    drop(client);
    while framed.closed.is_none() {
        framed.turn(&mut rig);
    }
}

pub(crate) fn a_peer_that_goes_in_a_long_frame_is_told_of(choice: Choice) {
    let mut stream = Vec::new();
    put_frame(&mut stream, Kind::Results, &pattern(1, 1 << 20));
    for resets in [false, true] {
        let mut rig = Rig::new(choice);
        let (mut client, conn) = rig.pair();
        client.write_all(&stream[..stream.len() / 2]).unwrap();
        let mut framed = Framed {
            again: true,
            ..Framed::default()
        };
        while framed.direct == 0 || framed.copied + framed.direct < stream.len() / 2 {
            framed.turn(&mut rig);
        }
        match resets {
            true => reset(client),
            false => drop(client),
        }
        while framed.closed.is_none() {
            framed.turn(&mut rig);
        }
        assert!(framed.frames.is_empty() && framed.reader.is_mid_frame());
        rig.engine.close(conn, Close::Now);
        rig.until_empty();
    }
}
