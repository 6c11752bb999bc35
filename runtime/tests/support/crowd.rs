//! Thousands of played slaves on real sockets, in one thread.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::Refusal;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::support::{Given, PATIENCE, frame, frames_of, hello_frame, tasks_in};

/// After so long a slave of a storm that had to give way dials again, as whoever supervises it has it do.
const AWAY: Duration = Duration::from_secs(1);

/// What a member answers to a task: a whole frame.
pub(crate) type Answer = fn(&Given) -> Vec<u8>;

struct Member {
    stream: TcpStream,
    reader: FrameReader,
    out: VecDeque<u8>,
    /// A slave of a storm, which dials again should it have to give way.
    comes_again: bool,
    welcomed: bool,
    tasks: u64,
    /// When it has computed all that it was given.
    busy_until: Instant,
    gone: bool,
}

pub(crate) struct Crowd {
    epoll: OwnedFd,
    members: Vec<Member>,
    answer: Answer,
    /// How long each of a member's tasks takes it, one after the other.
    pub(crate) compute: Duration,
    /// Answers that are being computed: when, by whom.
    due: BinaryHeap<Reverse<(Instant, usize, Vec<u8>)>>,
    beat: Duration,
    beaten: Instant,
    /// All have dialled at once: some say no hello, and slaves that had to give way dial again.
    storm: Option<Storm>,
    pub(crate) welcomed: usize,
    /// Members that were given a task.
    pub(crate) working: usize,
    pub(crate) answered: u64,
    pub(crate) gone: usize,
}

/// Where to, with which hello, and who of those who had to give way will do it when.
struct Storm {
    address: SocketAddr,
    hello: Vec<u8>,
    away: VecDeque<(Instant, usize)>,
}

impl Crowd {
    /// Nobody yet; each member will beat every `beat`.
    fn new(beat: Duration, answer: Answer) -> Crowd {
        Crowd {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            members: Vec::new(),
            answer,
            compute: Duration::ZERO,
            due: BinaryHeap::new(),
            beat,
            beaten: Instant::now(),
            storm: None,
            welcomed: 0,
            working: 0,
            answered: 0,
            gone: 0,
        }
    }

    /// `size` members, all of them connected; each beats every `beat`.
    pub(crate) fn connect(ready: &Ready, size: usize, beat: Duration, answer: Answer) -> Crowd {
        let words = vec![hello_frame(&ready.hello); size];
        Crowd::connect_each(ready, &words, beat, answer)
    }

    /// A member for each of these words, all of them connected.
    pub(crate) fn connect_each(
        ready: &Ready,
        words: &[Vec<u8>],
        beat: Duration,
        answer: Answer,
    ) -> Crowd {
        let mut crowd = Crowd::new(beat, answer);
        for (index, words) in words.iter().enumerate() {
            let stream = TcpStream::connect(&ready.address)
                .unwrap_or_else(|error| panic!("slave {index}: {error}"));
            stream.set_nonblocking(true).unwrap();
            crowd.add(stream, words);
            if index % 100 == 99 {
                crowd.turn(Duration::ZERO);
            }
        }
        crowd
    }

    /// As many members as there are words, which dial all at once; each then says its own. Who says no hello must
    /// not be welcomed: that is the caller's to check. On a crowded machine slaves say theirs so late that they have to give
    /// way, and come again.
    pub(crate) fn burst(ready: &Ready, words: &[Vec<u8>], beat: Duration, answer: Answer) -> Crowd {
        let mut crowd = Crowd::new(beat, answer);
        let address: SocketAddr = ready.address.parse().unwrap();
        crowd.storm = Some(Storm {
            address,
            hello: hello_frame(&ready.hello),
            away: VecDeque::new(),
        });
        for words in words {
            crowd.add(dial(address), words);
        }
        crowd
    }

    fn add(&mut self, stream: TcpStream, words: &[u8]) {
        self.listen_to(&stream, self.members.len());
        self.members.push(Member {
            stream,
            reader: FrameReader::new(),
            out: words.iter().copied().collect(),
            comes_again: (self.storm.as_ref()).is_some_and(|storm| words == storm.hello),
            welcomed: false,
            tasks: 0,
            busy_until: Instant::now(),
            gone: false,
        });
    }

    fn listen_to(&self, stream: &TcpStream, index: usize) {
        stream.set_nodelay(true).unwrap();
        // Edges: a member with nothing to say would else be writable in every turn.
        epoll::add(
            &self.epoll,
            stream,
            EventData::new_u64(index as u64),
            EventFlags::IN | EventFlags::OUT | EventFlags::ET,
        )
        .unwrap();
    }

    /// Slaves that had to give way and have been away for long enough.
    fn come_again(&mut self) {
        while let Some(storm) = &mut self.storm
            && let Some(&(due, index)) = storm.away.front()
            && due <= Instant::now()
        {
            storm.away.pop_front();
            let member = &mut self.members[index];
            member.stream = dial(storm.address);
            member.reader = FrameReader::new();
            member.out = storm.hello.iter().copied().collect();
            member.gone = false;
            self.listen_to(&self.members[index].stream, index);
        }
    }

    /// All that is being computed is done, and so is what comes from now on.
    pub(crate) fn hurry(&mut self) {
        self.compute = Duration::ZERO;
        for member in &mut self.members {
            member.busy_until = Instant::now();
        }
        while let Some(Reverse((_, index, answer))) = self.due.pop() {
            self.say(index, &answer);
        }
    }

    /// Plays for so long.
    pub(crate) fn play_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(Duration::from_millis(5));
        }
    }

    /// Plays until `over`; in vain where nothing has happened for as long as anything may take, or much has and it is not
    /// over.
    pub(crate) fn play(&mut self, what: &str, over: impl Fn(&Crowd) -> bool) {
        let so_far = |crowd: &Crowd| (crowd.welcomed, crowd.working, crowd.answered, crowd.gone);
        let mut last = so_far(self);
        let mut end = Instant::now() + PATIENCE;
        let latest = Instant::now() + 12 * PATIENCE;
        while !over(self) {
            let now = so_far(self);
            if now != last {
                (last, end) = (now, latest.min(Instant::now() + PATIENCE));
            }
            assert!(
                Instant::now() < end,
                "waited in vain for {what}: {} welcomed, {} working, {} answers, {} gone",
                self.welcomed,
                self.working,
                self.answered,
                self.gone
            );
            self.turn(Duration::from_millis(20));
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// The least and the most tasks that a member had.
    pub(crate) fn spread(&self) -> (u64, u64) {
        let tasks = || self.members.iter().map(|member| member.tasks);
        (tasks().min().unwrap_or(0), tasks().max().unwrap_or(0))
    }

    /// Takes what has come and says what is due, within `wait`.
    pub(crate) fn turn(&mut self, wait: Duration) {
        self.come_again();
        let mut events = Vec::with_capacity(1024);
        let now = Instant::now();
        let next = self
            .due
            .peek()
            .map_or(wait, |Reverse((due, ..))| *due - now);
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.min(next).as_nanos() as _,
        };
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&wait),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
        for event in events {
            let index = event.data.u64() as usize;
            self.read(index);
            self.write(index);
        }
        let now = Instant::now();
        while let Some(Reverse((due, ..))) = self.due.peek()
            && *due <= now
        {
            let Reverse((_, index, answer)) = self.due.pop().expect("it was seen");
            self.say(index, &answer);
        }
        if self.beaten.elapsed() >= self.beat {
            self.beaten = now;
            let beat = frame(Kind::Heartbeat, b"");
            for index in 0..self.members.len() {
                if self.members[index].welcomed {
                    self.members[index].out.extend(&beat);
                    self.write(index);
                }
            }
        }
    }

    fn say(&mut self, index: usize, answer: &[u8]) {
        self.answered += 1;
        self.members[index].out.extend(answer);
        self.write(index);
    }

    /// To the last byte that is there: there is no second edge for it.
    fn read(&mut self, index: usize) {
        let mut buffer = [0u8; 16384];
        loop {
            let member = &mut self.members[index];
            if member.gone {
                return;
            }
            let bytes = match member.stream.read(&mut buffer) {
                Ok(0) => return self.on_gone(index),
                Ok(read) => &buffer[..read],
                // Not connected yet: there is an edge when it is.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return;
                }
                Err(_) => return self.on_gone(index),
            };
            for (kind, payload) in frames_of(&mut member.reader, bytes) {
                match kind {
                    Kind::Welcome => {
                        member.welcomed = true;
                        self.welcomed += 1;
                    }
                    Kind::Tasks => {
                        for given in tasks_in(&payload) {
                            self.working += usize::from(member.tasks == 0);
                            member.tasks += 1;
                            let begin = member.busy_until.max(Instant::now());
                            member.busy_until = begin + self.compute;
                            let answer = (self.answer)(&given);
                            self.due.push(Reverse((member.busy_until, index, answer)));
                        }
                    }
                    Kind::Refuse if member.welcomed || self.storm.is_none() => {
                        panic!("slave {index}: {}", Refusal::decode(&payload).unwrap())
                    }
                    Kind::Refuse | Kind::Shutdown => return self.on_gone(index),
                    _ => {}
                }
            }
        }
    }

    fn write(&mut self, index: usize) {
        let member = &mut self.members[index];
        while !member.gone && !member.out.is_empty() {
            match member.stream.write(member.out.make_contiguous()) {
                Ok(written) => drop(member.out.drain(..written)),
                // What is left goes when there is room for it, or a connection.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return;
                }
                Err(_) => return self.on_gone(index),
            }
        }
    }

    fn on_gone(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.gone {
            return;
        }
        member.gone = true;
        epoll::delete(&self.epoll, &member.stream).unwrap();
        let _ = member.stream.shutdown(std::net::Shutdown::Both);
        match &mut self.storm {
            Some(storm) if member.comes_again && !member.welcomed => {
                storm.away.push_back((Instant::now() + AWAY, index));
            }
            _ => self.gone += 1,
        }
    }
}

/// A connection that is being made.
fn dial(address: SocketAddr) -> TcpStream {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => socket.into(),
        Err(error) => panic!("{error}"),
    }
}
