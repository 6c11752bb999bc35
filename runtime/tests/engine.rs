//! What an engine promises, on real sockets, the same for both engines.
//!
//! A rig waits for its engine's descriptor like a driver, and gives up after `PATIENCE`: a wake-up that is lost is a test
//! that fails.

#[path = "support/need.rs"]
mod need;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use ringmw::internals::engine::{
    self, Choice, Close, Closed, ConnId, Engine, Handler, TAKE_BYTES_MAX, Want,
};
use ringmw_codec::frame::{Block, FrameReader, Kind, Payload, put_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args = libtest_mimic::Arguments::from_args();
    let trials = for_both_engines![Choice::Ring, Choice::Epoll;
        many_clients_are_echoed,
        big_frames_pass_both_ways,
        long_frames_are_received_into_their_own_memory,
        a_peer_that_goes_in_a_long_frame_is_told_of,
        buffers_are_sent_in_order,
        what_is_not_read_is_accounted_for,
        a_half_closed_peer_can_be_answered,
        a_reset_is_told_after_the_bytes_before_it,
        a_reset_peer_can_be_sent_to_and_closed,
        last_frame_arrives_though_the_peer_is_sending,
        a_flush_ends_at_its_deadline,
        nothing_is_told_after_close,
        a_slot_used_again_is_another_connection,
        accepting_pauses_and_resumes,
        many_idle_connections_do_not_disturb_one,
        one_take_catches_up,
        a_flood_gives_way_and_silences_nobody,
        an_adopted_connection_is_like_another,
        dropping_an_engine_closes_all,
        a_runtime_can_drive_it,
        no_descriptor_is_lost,
        accepting_stops_for_want_of_descriptors,
    ];
    libtest_mimic::run(&args, trials.into()).exit_code()
}

fn listener() -> TcpListener {
    engine::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn open(choice: Choice) -> Box<dyn Engine> {
    engine::raise_nofile().unwrap();
    engine::open(choice, listener()).unwrap().0
}

/// All that was told.
#[derive(Default)]
struct Seen {
    accepted: Vec<(ConnId, SocketAddr)>,
    bytes: BTreeMap<ConnId, Vec<u8>>,
    sent: Vec<(ConnId, Vec<u8>, bool)>,
    closed: Vec<(ConnId, Closed)>,
    accept_errors: Vec<io::Error>,
}

impl Handler for Seen {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.accepted.push((conn, peer));
    }
    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        self.bytes.entry(conn).or_default().extend_from_slice(bytes);
    }
    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.sent.push((conn, buffer, drained));
    }
    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        assert!(self.closed.iter().all(|(other, _)| *other != conn));
        self.closed.push((conn, why));
    }
    fn on_accept_error(&mut self, error: io::Error) {
        self.accept_errors.push(error);
    }
}

impl Seen {
    fn of(&self, conn: ConnId) -> &[u8] {
        self.bytes.get(&conn).map_or(&[], |bytes| bytes)
    }
    fn total(&self) -> usize {
        self.bytes.values().map(Vec::len).sum()
    }
}

struct Rig {
    engine: Box<dyn Engine>,
    seen: Seen,
    /// Sends back whatever comes.
    echo: bool,
}

impl Rig {
    fn new(choice: Choice) -> Self {
        Self {
            engine: open(choice),
            seen: Seen::default(),
            echo: false,
        }
    }

    /// One turn; true if another is wanted at once.
    fn turn(&mut self) -> bool {
        let all = self
            .engine
            .take(Instant::now(), Want::Share, &mut self.seen)
            .unwrap();
        if self.echo {
            for (conn, bytes) in std::mem::take(&mut self.seen.bytes) {
                self.engine.send(conn, bytes);
            }
        }
        self.engine.submit().unwrap() || !all
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let again = self.turn();
            if done(self) {
                return;
            }
            assert!(Instant::now() < end, "{what}");
            if !again {
                self.park(end, what);
            }
        }
    }

    fn park(&self, end: Instant, what: &str) {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap();
        let fd = self.engine.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => panic!("{what}: never woken"),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("{errno}"),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.engine.local_addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection's two ends.
    fn pair(&mut self) -> (TcpStream, ConnId) {
        // An earlier client may have had the same port.
        let before = self.seen.accepted.len();
        let client = self.connect();
        let address = client.local_addr().unwrap();
        let mut found = None;
        self.until("accepted", |rig| {
            let ours = |(_, peer): &&(ConnId, SocketAddr)| *peer == address;
            let newer = rig.seen.accepted[before..].iter().find(ours);
            found = newer.map(|(conn, _)| *conn);
            found.is_some()
        });
        (client, found.unwrap())
    }

    fn until_empty(&mut self) {
        self.until("all closed", |rig| rig.engine.connections() == 0);
    }

    fn in_an_hour(&self) -> Close {
        Close::Flushed {
            by: Instant::now() + Duration::from_secs(3600),
        }
    }
}

/// Bytes that differ along the way and by seed, to notice a hole, a repetition or a stranger.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until the peer's kernel has all that was written.
fn until_arrived(stream: &TcpStream) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut unacknowledged: libc::c_int = 0;
        let fd = std::os::fd::AsRawFd::as_raw_fd(stream);
        // SAFETY: TIOCOUTQ writes one int to the address it is given.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut unacknowledged) };
        assert_eq!(result, 0);
        if unacknowledged == 0 {
            return;
        }
        assert!(Instant::now() < end, "{unacknowledged} bytes not arrived");
        thread::yield_now();
    }
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

fn many_clients_are_echoed(choice: Choice) {
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

fn big_frames_pass_both_ways(choice: Choice) {
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
fn long_frames_are_received_into_their_own_memory(choice: Choice) {
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

fn a_peer_that_goes_in_a_long_frame_is_told_of(choice: Choice) {
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

fn buffers_are_sent_in_order(choice: Choice) {
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
fn what_is_not_read_is_accounted_for(choice: Choice) {
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

fn a_half_closed_peer_can_be_answered(choice: Choice) {
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

fn a_reset_is_told_after_the_bytes_before_it(choice: Choice) {
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

fn a_reset_peer_can_be_sent_to_and_closed(choice: Choice) {
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

fn last_frame_arrives_though_the_peer_is_sending(choice: Choice) {
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

fn a_flush_ends_at_its_deadline(choice: Choice) {
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

fn nothing_is_told_after_close(choice: Choice) {
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

fn a_slot_used_again_is_another_connection(choice: Choice) {
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

fn accepting_pauses_and_resumes(choice: Choice) {
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

fn many_idle_connections_do_not_disturb_one(choice: Choice) {
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
fn one_take_catches_up(choice: Choice) {
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
fn a_flood_gives_way_and_silences_nobody(choice: Choice) {
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

fn an_adopted_connection_is_like_another(choice: Choice) {
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

fn dropping_an_engine_closes_all(choice: Choice) {
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

fn a_runtime_can_drive_it(choice: Choice) {
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

fn no_descriptor_is_lost(choice: Choice) {
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

fn accepting_stops_for_want_of_descriptors(choice: Choice) {
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
