//! Thousands of played slaves: one process that speaks the protocol for all of them.
//!
//! A real slave is a process with a thread for its socket and one that computes. Here a single thread holds every
//! connection and answers each packet of no-op tasks at once with one packet of results, so that the master is what a
//! benchmark with thousands of slaves measures. A played slave says hello, beats, reads what comes with the real
//! codec, and leaves when it is told to.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw_codec::batch::{ResultBatchBuilder, ResultStatus, TaskBatchView, TaskSeries};
use ringmw_codec::control::{Offer, Returned};
use ringmw_codec::frame::{self, FrameReader, Kind};
use ringmw_codec::handshake::{Hello, Refusal, Welcome};
use ringmw_codec::secret::{
    ANSWER_BYTES, Channel, Fixed, Initiator, Key, Role, SECRET_BYTES, Secret,
};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use serde_json::{Value, json};

/// The first argument of a process that plays slaves; [`start`] gives it.
pub const FLAG: &str = "--played";

/// Handshakes under way at a time: well below the usual bound of a listener's backlog.
const HANDSHAKES_MAX: usize = 1_000;

/// Received at a time: a packet of a thousand no-op tasks fits.
const READ_BYTES: usize = 256 << 10;

/// What a played slave says that it spent on a task: as little as a no-op takes.
const COMPUTE_NS: u64 = 50;

/// What is to be played.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// How many slaves.
    pub slaves: u32,
    /// Improvements of the run's first `Best` a second, all slaves together; each is better than the last.
    pub offers_per_s: u32,
    /// They keep their tasks and never answer: busy with something long.
    pub holds: bool,
    /// How long each takes for a task, in microseconds: a packet is answered once all of its tasks have had that, and those
    /// of the packets before it. At 0 each packet is answered at once.
    pub task_us: u64,
}

/// Starts the process that plays them. Its last line on standard output is a JSON object: `welcomed`, `connect_s` (from
/// the first connection to the last welcome), `packets`, `tasks`, `bests` (packets of keys that came), `bytes_in`,
/// `bytes_out`.
///
/// # Errors
/// When the process cannot be started or told its hello.
pub fn start(ready: &Ready, cast: &Cast) -> io::Result<Child> {
    start_at(&ready.address, &ready.hello, ready.secret.as_ref(), cast)
}

/// As [`start`], for a master that listens at `address`.
///
/// # Errors
/// As [`start`].
pub fn start_at(
    address: &str,
    hello: &Hello,
    secret: Option<&Secret>,
    cast: &Cast,
) -> io::Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .args([FLAG, &cast.slaves.to_string(), address])
        .args([cast.offers_per_s.to_string(), cast.holds.to_string()])
        .arg(cast.task_us.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // The secret goes by the pipe, as to any child.
    let secret = secret.map_or_else(String::new, |secret| secret.to_text().to_string());
    let member_id = &hello.member_id;
    let mut payload = vec![secret.len() as u8];
    payload.extend_from_slice(secret.as_bytes());
    payload.push(u8::try_from(member_id.len()).expect("at most 255 bytes"));
    payload.extend_from_slice(member_id);
    hello.encode(&mut payload);
    child
        .stdin
        .take()
        .expect("it was piped")
        .write_all(&payload)?;
    Ok(child)
}

/// Waits for a process that plays slaves: what it has to say.
///
/// # Errors
/// When it failed.
pub fn wait(child: Child) -> io::Result<Value> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the played slaves ended with {}",
            output.status
        )));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the process that [`start`] starts does.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    match play(&args) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("played slaves: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(args: &[String]) -> io::Result<Value> {
    let wrong = || {
        io::Error::new(
            ErrorKind::InvalidInput,
            "slaves, address, offers a second, holds, microseconds a task",
        )
    };
    let [slaves, address, offers, holds, task_us] = args else {
        return Err(wrong());
    };
    let address = address.parse().map_err(|_| wrong())?;
    let cast = Cast {
        slaves: slaves.parse().map_err(|_| wrong())?,
        offers_per_s: offers.parse().map_err(|_| wrong())?,
        holds: holds.parse().map_err(|_| wrong())?,
        task_us: task_us.parse().map_err(|_| wrong())?,
    };
    let mut told = Vec::new();
    io::stdin().read_to_end(&mut told)?;
    let mut rest = &told[..];
    let mut field = || {
        let (len, after) = rest.split_first()?;
        let (field, after) = after.split_at_checked(usize::from(*len))?;
        rest = after;
        Some(field.to_vec())
    };
    let (secret, member_id) = field().zip(field()).ok_or_else(wrong)?;
    let hello = rest;
    let secret = match &secret[..] {
        [] => None,
        text => Some(Secret::parse(&String::from_utf8_lossy(text)).map_err(io::Error::other)?),
    };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    ringmw::internals::engine::raise_nofile()?;
    let proof = secret.map(|secret| (secret, member_id));
    Crowd::new(address, hello, proof, &cast)?.play()
}

struct Member {
    stream: TcpStream,
    reader: FrameReader,
    /// Frames that are to be sealed.
    frames: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    welcomed: bool,
    gone: bool,
    /// Where the run has a secret.
    secured: Option<Secured>,
    /// Packets of tasks that it computes, and by when, first come first.
    computes: VecDeque<(Instant, Vec<u8>)>,
}

/// What a member's bytes go through where the run has a secret.
enum Secured {
    Begins(Option<Box<Initiator>>, Fixed<ANSWER_BYTES>),
    Open(Channel),
}

impl Secured {
    /// Appends what opens of what came.
    fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = bytes;
        if let Secured::Begins(initiator, read) = self {
            let answer = read.feed(&mut rest);
            let Some(answer) = answer.map_err(io::Error::other)? else {
                return Ok(());
            };
            let initiator = initiator.take().expect("it has not been answered before");
            *self = Secured::Open(initiator.finish(&answer).map_err(io::Error::other)?);
        }
        match self {
            Secured::Open(channel) => channel.open(rest, plain).map_err(io::Error::other),
            Secured::Begins(..) => Ok(()),
        }
    }

    /// Appends the frames, sealed; they wait until the master has answered.
    fn seal(&mut self, frames: &mut Vec<u8>, out: &mut Vec<u8>) {
        if let Secured::Open(channel) = self
            && !frames.is_empty()
        {
            channel.seal(frames, out);
            frames.clear();
        }
    }
}

struct Crowd {
    address: SocketAddr,
    hello: Vec<u8>,
    slaves: usize,
    epoll: OwnedFd,
    members: Vec<Member>,
    begun: Instant,
    connect: Duration,
    welcomed: usize,
    gone: usize,
    beat: Duration,
    beaten: u64,
    offers_per_s: u32,
    holds: bool,
    task: Duration,
    /// When each packet that is computed is to be answered, and by whom.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    proof: Option<(Secret, Vec<u8>)>,
    plain: Vec<u8>,
    offered: u64,
    told: Told,
    results: ResultBatchBuilder,
}

/// What has passed between the crowd and its master.
#[derive(Default)]
struct Told {
    packets: u64,
    tasks: u64,
    bests: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Member {
    /// Where its frames go.
    fn frames_out(&mut self) -> &mut Vec<u8> {
        match &self.secured {
            None => &mut self.out,
            Some(_) => &mut self.frames,
        }
    }
}

impl Crowd {
    fn new(
        address: SocketAddr,
        hello: &[u8],
        proof: Option<(Secret, Vec<u8>)>,
        cast: &Cast,
    ) -> io::Result<Self> {
        let slaves = cast.slaves as usize;
        let mut frame = Vec::new();
        frame::put_frame(&mut frame, Kind::Hello, hello);
        Ok(Crowd {
            address,
            hello: frame,
            slaves,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            members: Vec::with_capacity(slaves),
            begun: Instant::now(),
            connect: Duration::ZERO,
            welcomed: 0,
            gone: 0,
            beat: Duration::MAX,
            beaten: 0,
            offers_per_s: cast.offers_per_s,
            holds: cast.holds,
            task: Duration::from_micros(cast.task_us),
            due: BinaryHeap::new(),
            proof,
            plain: Vec::new(),
            offered: 0,
            told: Told::default(),
            results: ResultBatchBuilder::new(),
        })
    }

    fn play(mut self) -> io::Result<Value> {
        let mut buffer = vec![0u8; READ_BYTES];
        let mut events = Vec::with_capacity(4096);
        while self.members.len() < self.slaves || self.gone < self.members.len() {
            self.dial()?;
            events.clear();
            let wait = self.due.peek().map_or(Duration::MAX, |Reverse((due, _))| {
                due.saturating_duration_since(Instant::now())
            });
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: wait.min(Duration::from_millis(10)).as_nanos() as _,
            };
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&wait),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let index = event.data.u64() as usize;
                self.read(index, &mut buffer)?;
                self.write(index)?;
            }
            self.pass_time()?;
        }
        Ok(json!({
            "welcomed": self.welcomed,
            "connect_s": self.connect.as_secs_f64(),
            "packets": self.told.packets,
            "tasks": self.told.tasks,
            "bests": self.told.bests,
            "bytes_in": self.told.bytes_in,
            "bytes_out": self.told.bytes_out,
        }))
    }

    /// Dials while few handshakes are under way.
    fn dial(&mut self) -> io::Result<()> {
        while self.members.len() < self.slaves
            && self.members.len() - self.welcomed.max(self.gone) < HANDSHAKES_MAX
        {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let index = self.members.len();
            let data = EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &stream, data, EventFlags::IN)?;
            let mut member = Member {
                stream,
                reader: FrameReader::new(),
                frames: Vec::new(),
                out: Vec::new(),
                written: 0,
                welcomed: false,
                gone: false,
                secured: None,
                computes: VecDeque::new(),
            };
            match &self.proof {
                None => member.out.extend_from_slice(&self.hello),
                Some((secret, member_id)) => {
                    let mut key = [0; SECRET_BYTES];
                    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
                    let key = Key::new(key);
                    let (initiator, first) = Initiator::new(secret, Role::Slave, member_id, key);
                    member.out.extend_from_slice(&first);
                    member.frames.extend_from_slice(&self.hello);
                    let initiator = Some(Box::new(initiator));
                    member.secured = Some(Secured::Begins(initiator, Fixed::default()));
                }
            }
            self.members.push(member);
            self.write(index)?;
        }
        Ok(())
    }

    /// Reads once: what is left makes epoll tell of it again.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = match self.members[index].stream.read(buffer) {
            Ok(0) => return self.on_gone(index),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.on_gone(index),
        };
        self.told.bytes_in += bytes.len() as u64;
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let bytes = match &mut self.members[index].secured {
            None => bytes,
            Some(secured) => {
                secured.open(bytes, &mut plain)?;
                &plain[..]
            }
        };
        let mut reader = std::mem::take(&mut self.members[index].reader);
        let flow = reader.feed(bytes, &|_| u32::MAX, &mut |kind, payload| match self
            .on_frame(index, kind, payload)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        });
        self.members[index].reader = reader;
        self.plain = plain;
        match flow.map_err(io::Error::other)? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn on_frame(&mut self, index: usize, kind: Kind, payload: &[u8]) -> io::Result<()> {
        match kind {
            Kind::Tasks if self.holds => self.told.packets += 1,
            Kind::Tasks if self.task.is_zero() => {
                self.told.packets += 1;
                let out = self.members[index].frames_out();
                self.told.tasks += answer(payload, COMPUTE_NS, &mut self.results, out)?;
            }
            Kind::Tasks => {
                self.told.packets += 1;
                let now = Instant::now();
                let tasks = TaskBatchView::decode(payload)
                    .map_err(io::Error::other)?
                    .tasks();
                let member = &mut self.members[index];
                let begins = member.computes.back().map_or(now, |(due, _)| now.max(*due));
                let due = begins + self.task * tasks as u32;
                member.computes.push_back((due, payload.to_vec()));
                self.due.push(Reverse((due, index)));
            }
            Kind::Welcome => {
                let welcome = Welcome::decode(payload).map_err(io::Error::other)?;
                // A third of what the master bears.
                self.beat = Duration::from_millis(welcome.client_timeout_ms / 3);
                self.members[index].welcomed = true;
                self.welcomed += 1;
                self.connect = self.begun.elapsed();
            }
            Kind::Refuse => {
                let why = Refusal::decode(payload).map_err(io::Error::other)?;
                return Err(io::Error::other(format!("slave {index}: {why}")));
            }
            Kind::Bests => self.told.bests += 1,
            Kind::Shutdown => self.on_gone(index)?,
            // It computes what it has.
            Kind::Recall => frame::put_frame(self.members[index].frames_out(), Kind::Returned, &{
                let mut nothing = Vec::new();
                Returned { tasks: Vec::new() }.encode(&mut nothing);
                nothing
            }),
            // There is nothing to take back, and nothing to look up.
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, index: usize) -> io::Result<()> {
        let member = &mut self.members[index];
        if let Some(secured) = &mut member.secured {
            secured.seal(&mut member.frames, &mut member.out);
        }
        if member.out.is_empty() || member.gone {
            return Ok(());
        }
        let was_behind = member.written > 0;
        while member.written < member.out.len() {
            match member.stream.write(&member.out[member.written..]) {
                Ok(bytes) => {
                    member.written += bytes;
                    self.told.bytes_out += bytes as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.on_gone(index),
            }
        }
        let is_behind = member.written < member.out.len();
        if !is_behind {
            member.out.clear();
            member.written = 0;
        }
        if is_behind != was_behind {
            let data = EventData::new_u64(index as u64);
            let interest = match is_behind {
                true => EventFlags::IN | EventFlags::OUT,
                false => EventFlags::IN,
            };
            epoll::modify(&self.epoll, &member.stream, data, interest)?;
        }
        Ok(())
    }

    /// Beats and offers are spread over time: they never come all at once.
    fn pass_time(&mut self) -> io::Result<()> {
        if self.welcomed < self.slaves {
            return Ok(());
        }
        let now = Instant::now();
        while let Some(Reverse((due, index))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let member = &mut self.members[index];
            let (_, payload) = member.computes.pop_front().expect("it is due");
            let compute_ns = self.task.as_nanos() as u64;
            let out = member.frames_out();
            self.told.tasks += answer(&payload, compute_ns, &mut self.results, out)?;
            self.write(index)?;
        }
        let elapsed = (self.begun.elapsed() - self.connect).as_secs_f64();
        let due = (elapsed / self.beat.as_secs_f64() * self.slaves as f64) as u64;
        while self.beaten < due {
            let index = (self.beaten % self.slaves as u64) as usize;
            frame::put_frame(self.members[index].frames_out(), Kind::Heartbeat, b"");
            self.beaten += 1;
            self.write(index)?;
        }
        let due = (elapsed * f64::from(self.offers_per_s)) as u64;
        while self.offered < due {
            self.offered += 1;
            let index = (self.offered % self.slaves as u64) as usize;
            let out = self.members[index].frames_out();
            let mark = frame::begin_frame(out, Kind::Offer);
            Offer {
                best: 0,
                key: u64::MAX / 2 - self.offered,
                witness: &self.offered.to_le_bytes(),
            }
            .encode(out);
            frame::finish_frame(out, mark);
            self.write(index)?;
        }
        Ok(())
    }

    fn on_gone(&mut self, index: usize) -> io::Result<()> {
        let member = &mut self.members[index];
        if !member.gone {
            if !member.welcomed {
                return Err(io::Error::other(format!("slave {index} was not welcomed")));
            }
            member.gone = true;
            self.gone += 1;
            epoll::delete(&self.epoll, &member.stream)?;
            // The master may have closed it already.
            let _ = member.stream.shutdown(std::net::Shutdown::Both);
        }
        Ok(())
    }
}

/// Appends the packet of results to a packet of no-op tasks, and gives their number. A no-op's output is its only
/// argument, so the argument's archive is the output's.
fn answer(
    payload: &[u8],
    compute_ns: u64,
    results: &mut ResultBatchBuilder,
    out: &mut Vec<u8>,
) -> io::Result<u64> {
    let batch = TaskBatchView::decode(payload).map_err(io::Error::other)?;
    results.clear();
    for (entry, body) in batch.iter() {
        let series = TaskSeries::parse(body, entry.count).map_err(io::Error::other)?;
        for index in 0..entry.count {
            results.push(
                entry.task + u64::from(index),
                entry.algorithm,
                ResultStatus::Done,
                compute_ns,
                series.nth(index).map_err(io::Error::other)?.args,
            );
        }
    }
    let mark = frame::begin_frame(out, Kind::Results);
    results.encode(out);
    frame::finish_frame(out, mark);
    Ok(batch.tasks())
}
