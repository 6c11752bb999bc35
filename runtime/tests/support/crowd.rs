//! Thousands of played slaves on real sockets, in one thread.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::Refusal;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::support::{Given, PATIENCE, frame, frames_of, hello_frame, tasks_in};

/// What a member answers to a task: a whole frame.
pub(crate) type Answer = fn(&Given) -> Vec<u8>;

struct Member {
    stream: TcpStream,
    reader: FrameReader,
    out: VecDeque<u8>,
    welcomed: bool,
    tasks: u64,
    gone: bool,
}

pub(crate) struct Crowd {
    epoll: OwnedFd,
    members: Vec<Member>,
    answer: Answer,
    beat: Duration,
    beaten: Instant,
    pub(crate) welcomed: usize,
    /// Members that were given a task.
    pub(crate) working: usize,
    pub(crate) answered: u64,
    pub(crate) gone: usize,
}

impl Crowd {
    /// `size` members, all of them connected; each beats every `beat`.
    pub(crate) fn connect(ready: &Ready, size: usize, beat: Duration, answer: Answer) -> Crowd {
        let hello = hello_frame(&ready.hello);
        let mut crowd = Crowd {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            members: Vec::with_capacity(size),
            answer,
            beat,
            beaten: Instant::now(),
            welcomed: 0,
            working: 0,
            answered: 0,
            gone: 0,
        };
        for index in 0..size {
            let mut stream = TcpStream::connect(&ready.address)
                .unwrap_or_else(|error| panic!("slave {index}: {error}"));
            stream.write_all(&hello).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            epoll::add(
                &crowd.epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )
            .unwrap();
            crowd.members.push(Member {
                stream,
                reader: FrameReader::new(),
                out: VecDeque::new(),
                welcomed: false,
                tasks: 0,
                gone: false,
            });
            if index % 100 == 99 {
                crowd.turn(Duration::ZERO);
            }
        }
        crowd
    }

    /// Plays until `over`.
    pub(crate) fn play(&mut self, what: &str, over: impl Fn(&Crowd) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !over(self) {
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

    /// The least and the most tasks that a member had.
    pub(crate) fn spread(&self) -> (u64, u64) {
        let tasks = || self.members.iter().map(|member| member.tasks);
        (tasks().min().unwrap_or(0), tasks().max().unwrap_or(0))
    }

    fn turn(&mut self, wait: Duration) {
        let mut events = Vec::with_capacity(1024);
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_nanos() as _,
        };
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&wait),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
        for event in events {
            let index = event.data.u64() as usize;
            self.read(index);
            self.write(index);
        }
        if self.beaten.elapsed() >= self.beat {
            self.beaten = Instant::now();
            let beat = frame(Kind::Heartbeat, b"");
            for index in 0..self.members.len() {
                self.members[index].out.extend(&beat);
                self.write(index);
            }
        }
    }

    fn read(&mut self, index: usize) {
        let member = &mut self.members[index];
        let mut buffer = [0u8; 16384];
        let bytes = match member.stream.read(&mut buffer) {
            Ok(0) => return self.on_gone(index),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
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
                        self.answered += 1;
                        member.out.extend((self.answer)(&given));
                    }
                }
                Kind::Refuse => panic!("slave {index}: {}", Refusal::decode(&payload).unwrap()),
                Kind::Shutdown => return self.on_gone(index),
                _ => {}
            }
        }
    }

    fn write(&mut self, index: usize) {
        let member = &mut self.members[index];
        while !member.gone && !member.out.is_empty() {
            match member.stream.write(member.out.make_contiguous()) {
                Ok(written) => drop(member.out.drain(..written)),
                // What is left goes with the next turn of this member, at its next beat at the latest.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.on_gone(index),
            }
        }
    }

    fn on_gone(&mut self, index: usize) {
        let member = &mut self.members[index];
        if !member.gone {
            member.gone = true;
            self.gone += 1;
            epoll::delete(&self.epoll, &member.stream).unwrap();
            let _ = member.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}
