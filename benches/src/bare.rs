//! A bare ring: an echo server on io_uring, and nothing else. What it spends is what the kernel asks for.
//!
//! It serves [`played`] slaves with packets of one no-op task each that were encoded once, in advance: a
//! multishot accept, a multishot receive for each connection into one shared buffer ring, plain sends, one system call
//! a turn. It looks at no byte that arrives: it counts them, and each packet's worth is answered with a packet. No
//! scheduler, no audit trail, no check, no timer.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use ringmw_codec::batch::{
    ResultBatchBuilder, ResultStatus, TaskBatchBuilder, TaskBody, encode_task_body,
};
use ringmw_codec::control::Shutdown;
use ringmw_codec::frame::{self, Kind};
use ringmw_codec::handshake::{About, Fingerprint, Hello, PROTOCOL_VERSION, Welcome};
use rustix::mm::{MapFlags, ProtFlags};
use serde_json::{Value, json};

use crate::meter::process_cpu;
use crate::played::{self, Cast};

const ENTRIES: u32 = 4096;
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 2048;
const GROUP: u16 = 0;
const ACCEPT: u64 = u64::MAX;
/// Bit of a send's `user_data`, beside the connection's number.
const SEND: u64 = 1 << 63;

/// Runs it until the slaves have had so many packets (or `limit` is over), each with `outstanding` of them at a time.
///
/// The keys of what it gives are those of a case: `packets`, `wall_s`, `master_cpu_ns_per_packet`, `packets_per_s`. The
/// first tenth of the packets is not measured.
///
/// # Errors
/// When io_uring is refused or the slaves cannot be played.
///
/// # Panics
/// When `outstanding` is 0 or above 64.
pub fn run(slaves: u32, outstanding: u32, packets: u64, limit: Duration) -> io::Result<Value> {
    assert!((1..=64).contains(&outstanding), "packets of one slave");
    ringmw::internals::engine::raise_nofile()?;
    let listener =
        ringmw::internals::engine::listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        member_id: b"bare".to_vec(),
        host: String::new(),
        job: String::new(),
        pid: 0,
        about: About::default(),
        fingerprint: Fingerprint {
            app_version: String::new(),
            build: "bare".into(),
            format: 1,
            algorithms: Vec::new(),
        },
    };
    let cast = Cast {
        slaves,
        ..Cast::default()
    };
    let child = played::start_at(&listener.local_addr()?.to_string(), &hello, None, &cast)?;
    let mut server = Server::new(listener, outstanding as usize)?;
    let figures = server.serve(slaves, packets, limit)?;
    played::wait(child)?;
    Ok(figures)
}

/// What is sent, in one block that is never changed: the kernel may read it at any time.
struct Texts {
    /// A welcome and `outstanding` packets of tasks.
    welcome: Vec<u8>,
    /// As many packets of one task as a slave can have answered at once.
    packets: Vec<u8>,
    packet_bytes: usize,
    shutdown: Vec<u8>,
    /// Bytes of a slave's answer to one packet.
    answer_bytes: usize,
}

impl Texts {
    fn new(outstanding: usize) -> Self {
        let argument = 7u64.to_le_bytes();
        let (mut body, mut tasks) = (Vec::new(), TaskBatchBuilder::new());
        encode_task_body(
            &mut body,
            &TaskBody {
                domain: 0,
                stream: 7,
                tag_type: 0,
                timeout_ms: 0,
                tag: b"",
                args: &argument,
            },
        );
        tasks.push(7, 0, 0, &body);
        let mut packet = Vec::new();
        let mark = frame::begin_frame(&mut packet, Kind::Tasks);
        tasks.encode(&mut packet);
        frame::finish_frame(&mut packet, mark);

        let mut results = ResultBatchBuilder::new();
        results.push(7, 0, ResultStatus::Done, 0, &argument);

        let mut welcome = Vec::new();
        let mark = frame::begin_frame(&mut welcome, Kind::Welcome);
        Welcome {
            slave: 0,
            // No heartbeat comes between the answers, whose bytes are counted.
            client_timeout_ms: 1 << 40,
            checkpoint_interval_ms: 10_000,
            task_packet_bytes_max: 1 << 20,
            result_packet_bytes_max: 1 << 20,
            result_group: 1,
            crash_limit: 10,
            task_timeout_ms: 0,
            seed: 0,
            shared_cache_bytes: 1 << 30,
            run: 0,
            life: 0,
            reconnect_ms: 0,
            log: None,
            args: Vec::new(),
        }
        .encode(&mut welcome);
        frame::finish_frame(&mut welcome, mark);
        let packets = packet.repeat(outstanding);
        welcome.extend(&packets);

        let mut shutdown = Vec::new();
        let mark = frame::begin_frame(&mut shutdown, Kind::Shutdown);
        Shutdown { finished: true }.encode(&mut shutdown);
        frame::finish_frame(&mut shutdown, mark);
        Texts {
            welcome,
            packets,
            packet_bytes: packet.len(),
            shutdown,
            answer_bytes: frame::HEADER_BYTES + results.bytes(),
        }
    }
}

struct Conn {
    fd: i32,
    welcomed: bool,
    gone: bool,
    /// Bytes of an answer that has not come whole.
    rest: usize,
}

struct Server {
    ring: IoUring,
    buffers: Buffers,
    listener: TcpListener,
    texts: Texts,
    conns: Vec<Conn>,
    backlog: Vec<squeue::Entry>,
    welcomed: usize,
    gone: usize,
    answers: u64,
}

impl Server {
    fn new(listener: TcpListener, outstanding: usize) -> io::Result<Self> {
        let ring = IoUring::builder()
            .dontfork()
            .setup_defer_taskrun()
            .setup_single_issuer()
            .setup_submit_all()
            .setup_cqsize(4 * ENTRIES)
            .build(ENTRIES)?;
        let buffers = Buffers::map()?;
        // SAFETY: the address is that of BUFFERS page-aligned entries that stay mapped for the life of the process.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.ring.as_ptr() as u64,
                BUFFERS,
                GROUP,
                0,
            )
        }?;
        Ok(Server {
            ring,
            buffers,
            listener,
            texts: Texts::new(outstanding),
            conns: Vec::new(),
            backlog: Vec::new(),
            welcomed: 0,
            gone: 0,
            answers: 0,
        })
    }

    fn serve(&mut self, slaves: u32, packets: u64, limit: Duration) -> io::Result<Value> {
        let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build();
        self.push(accept.user_data(ACCEPT));
        while self.welcomed < slaves as usize {
            self.turn(true)?;
        }
        let begun = Instant::now();
        while self.answers < packets / 10 {
            self.turn(true)?;
        }
        let (before, since, cpu) = (self.answers, Instant::now(), process_cpu());
        while self.answers < packets && begun.elapsed() < limit {
            self.turn(true)?;
        }
        let done = (self.answers - before) as f64;
        let (wall, cpu) = (since.elapsed(), process_cpu() - cpu);
        for index in 0..self.conns.len() {
            self.send(index, Text::Shutdown);
        }
        while self.gone < self.conns.len() {
            self.turn(false)?;
        }
        Ok(json!({
            "packets": done,
            "wall_s": wall.as_secs_f64(),
            "packets_per_s": done / wall.as_secs_f64(),
            "master_cpu_ns_per_packet": cpu.as_nanos() as f64 / done,
            "master_cpu_share": cpu.as_secs_f64() / wall.as_secs_f64(),
        }))
    }

    /// Submits all, waits, and takes what has completed.
    fn turn(&mut self, answering: bool) -> io::Result<()> {
        self.fill();
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        while let Some(completion) = self.next() {
            self.on_completion(&completion, answering)?;
        }
        self.buffers.publish();
        Ok(())
    }

    fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn on_completion(&mut self, entry: &cqueue::Entry, answering: bool) -> io::Result<()> {
        let (data, result) = (entry.user_data(), entry.result());
        let more = cqueue::more(entry.flags());
        if data == ACCEPT {
            return self.on_accept(result, more);
        }
        let index = (data & !SEND) as usize;
        if data & SEND != 0 {
            // A peer that has gone is seen by its receive.
            return Ok(());
        }
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            self.buffers.give(buffer);
        }
        match result {
            bytes if bytes > 0 => {
                if !more {
                    self.receive(index);
                }
                if answering {
                    self.on_bytes(index, bytes as usize);
                }
            }
            error if error == -libc::ENOBUFS => self.receive(index),
            _ => {
                let conn = &mut self.conns[index];
                if !conn.gone {
                    conn.gone = true;
                    self.gone += 1;
                }
            }
        }
        Ok(())
    }

    fn on_accept(&mut self, result: i32, more: bool) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        rustix::net::sockopt::set_tcp_nodelay(
            // SAFETY: the kernel gave this descriptor; it is never closed.
            unsafe { std::os::fd::BorrowedFd::borrow_raw(result) },
            true,
        )?;
        self.conns.push(Conn {
            fd: result,
            welcomed: false,
            gone: false,
            rest: 0,
        });
        self.receive(self.conns.len() - 1);
        if !more {
            let accept = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build();
            self.push(accept.user_data(ACCEPT));
        }
        Ok(())
    }

    fn on_bytes(&mut self, index: usize, bytes: usize) {
        let conn = &mut self.conns[index];
        if !conn.welcomed {
            // A hello fits one segment of loopback.
            conn.welcomed = true;
            self.welcomed += 1;
            return self.send(index, Text::Welcome);
        }
        let all = conn.rest + bytes;
        let answers = all / self.texts.answer_bytes;
        conn.rest = all % self.texts.answer_bytes;
        self.answers += answers as u64;
        if answers > 0 {
            self.send(index, Text::Packets(answers));
        }
    }

    fn receive(&mut self, index: usize) {
        let entry = opcode::RecvMulti::new(Fd(self.conns[index].fd), GROUP).build();
        self.push(entry.user_data(index as u64));
    }

    fn send(&mut self, index: usize, text: Text) {
        let bytes = match text {
            Text::Welcome => &self.texts.welcome[..],
            Text::Packets(number) => &self.texts.packets[..number * self.texts.packet_bytes],
            Text::Shutdown => &self.texts.shutdown[..],
        };
        let entry = opcode::Send::new(Fd(self.conns[index].fd), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.push(entry.user_data(SEND | index as u64));
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: an entry points into `texts`, which is never changed and outlives the ring's last completion, or to
        // nothing.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push(entry);
        }
    }

    fn fill(&mut self) {
        let mut queue = self.ring.submission();
        let room = queue.capacity() - queue.len();
        for entry in self.backlog.drain(..room.min(self.backlog.len())) {
            // SAFETY: as in `push`; there is room.
            unsafe { queue.push(&entry) }.expect("there is room");
        }
    }
}

enum Text {
    Welcome,
    Packets(usize),
    Shutdown,
}

/// The shared buffers and the ring in which they are lent to the kernel. Never unmapped: a server is a process.
struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    fn map() -> io::Result<Self> {
        let map = |bytes: usize| {
            // SAFETY: new anonymous memory, which aliases nothing.
            let address = unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE,
                )
            }?;
            io::Result::Ok(NonNull::new(address).expect("a mapping is not at 0"))
        };
        let mut buffers = Buffers {
            ring: map(usize::from(BUFFERS) * size_of::<BufRingEntry>())?.cast(),
            memory: map(usize::from(BUFFERS) * BUFFER_BYTES)?.cast(),
            tail: 0,
        };
        for buffer in 0..BUFFERS {
            buffers.give(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Gives a buffer back; the kernel knows once it is published.
    fn give(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: the slot is within the ring's entries, and the kernel does not read it before it is published; the
        // buffer is within the mapping.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(usize::from(buffer) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the ring's tail lies in its first entry; the kernel only reads it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

const _: () = assert!(BUFFERS.is_power_of_two());
