//! An engine with what it told, and peers of it on real sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringmw::internals::engine::{self, Choice, Close, Closed, ConnId, Engine, Handler, Want};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

pub(crate) fn listener() -> TcpListener {
    engine::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

pub(crate) fn open(choice: Choice) -> Box<dyn Engine> {
    engine::raise_nofile().unwrap();
    engine::open(choice, listener()).unwrap().0
}

/// All that was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) accepted: Vec<(ConnId, SocketAddr)>,
    pub(crate) bytes: BTreeMap<ConnId, Vec<u8>>,
    pub(crate) sent: Vec<(ConnId, Vec<u8>, bool)>,
    pub(crate) closed: Vec<(ConnId, Closed)>,
    pub(crate) accept_errors: Vec<io::Error>,
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
    pub(crate) fn of(&self, conn: ConnId) -> &[u8] {
        self.bytes.get(&conn).map_or(&[], |bytes| bytes)
    }
    pub(crate) fn total(&self) -> usize {
        self.bytes.values().map(Vec::len).sum()
    }
}

pub(crate) struct Rig {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) seen: Seen,
    /// Sends back whatever comes.
    pub(crate) echo: bool,
}

impl Rig {
    pub(crate) fn new(choice: Choice) -> Self {
        Self {
            engine: open(choice),
            seen: Seen::default(),
            echo: false,
        }
    }

    /// One turn; true if another is wanted at once.
    pub(crate) fn turn(&mut self) -> bool {
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

    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
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

    pub(crate) fn park(&self, end: Instant, what: &str) {
        let left = end.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap();
        let fd = self.engine.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => panic!("{what}: never woken"),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("{errno}"),
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.engine.local_addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection's two ends.
    pub(crate) fn pair(&mut self) -> (TcpStream, ConnId) {
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

    pub(crate) fn until_empty(&mut self) {
        self.until("all closed", |rig| rig.engine.connections() == 0);
    }

    pub(crate) fn in_an_hour(&self) -> Close {
        Close::Flushed {
            by: Instant::now() + Duration::from_secs(3600),
        }
    }
}

/// Bytes that differ along the way and by seed, to notice a hole, a repetition or a stranger.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
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
pub(crate) fn until_arrived(stream: &TcpStream) {
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

pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
