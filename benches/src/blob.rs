//! Tasks and results of 100 KB and of 4 MB, held against a bare socket that moves blocks of the same size between two
//! processes through a buffer that is used again.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ringmw::prelude::*;
use ringmw_codec::secret::RECORD_PLAIN_BYTES_MAX;
use serde_json::{Value, json};

use crate::fleet::{self, Setting, Slaves};
use crate::meter::{self, process_cpu};

/// The first argument of a process that is the other end of the bare socket.
pub const PEER: &str = "--blob-peer";

/// The largest packet, both ways.
const PACKET_BYTES_MAX: u64 = 8 << 20;
const SLAVES: u32 = 2;

/// So many bytes, which it keeps: a task's own memory is no part of the measurement.
#[algorithm]
pub fn give(kept: &mut Kept, bytes: u64) -> Vec<u8> {
    kept.0.resize(bytes as usize, 7);
    kept.0.clone()
}

/// How many they are.
#[algorithm]
pub fn weigh(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// What [`give()`] gives.
pub struct Kept(Vec<u8>);

impl SlaveState for Kept {
    fn init(_: &mut Cx) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        Ok(Kept(Vec::new()))
    }
}

/// Registers the algorithms.
pub fn register(app: App) -> App {
    app.algorithm::<give>().algorithm::<weigh>()
}

/// Which way the bytes go, and how many a task has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// To the master; else from it.
    pub is_in: bool,
    /// Bytes of one result, or of one task's arguments.
    pub bytes: usize,
}

impl Case {
    /// Every case.
    pub const ALL: [Case; 4] = [
        Case {
            is_in: true,
            bytes: 100_000,
        },
        Case {
            is_in: true,
            bytes: 4_000_000,
        },
        Case {
            is_in: false,
            bytes: 100_000,
        },
        Case {
            is_in: false,
            bytes: 4_000_000,
        },
    ];

    /// Such as `in-100k`.
    pub fn name(self) -> String {
        let way = if self.is_in { "in" } else { "out" };
        match self.bytes {
            100_000 => format!("{way}-100k"),
            _ => format!("{way}-4m"),
        }
    }
}

/// What it costs to move bytes.
#[derive(Copy, Clone, Debug)]
pub struct Cost {
    /// CPU of this process for a byte, in nanoseconds.
    pub ns_per_byte: f64,
    /// Bytes a second.
    pub rate: f64,
}

/// Moves so many bytes through a master and its slaves, and measures the last four fifths of them.
///
/// # Panics
/// As [`fleet::run`].
pub fn ours(case: Case, bytes: u64, engine: &str, secret: bool) -> Cost {
    let setting = Setting {
        slaves: Slaves::Real(SLAVES),
        engine,
        trail: None,
        group: 0,
        result_group: None,
        prefetch: true,
        secret,
    };
    let blocks = (bytes / case.bytes as u64).max(5);
    let limit = PACKET_BYTES_MAX.to_string();
    let flags = [
        "--mw-max-read-buffer-size",
        &limit,
        "--mw-max-write-buffer-size",
        &limit,
    ];
    let (cost, _) = fleet::run_with(crate::app(), &setting, &flags, move |mw| {
        measure(mw, case, blocks)
    });
    cost
}

async fn measure(mw: Master, case: Case, blocks: u64) -> Result<Cost> {
    fleet::connected(&mw, SLAVES).await;
    let warm = blocks / 5;
    let block = vec![7; case.bytes];
    let mut begun = None;
    let mut span = Span::default();
    let mut note = |done: u64| {
        if done == warm {
            begun = Some((Instant::now(), process_cpu()));
        }
        if let Some((wall, cpu)) = begun
            && done == blocks
        {
            span = Span {
                wall: wall.elapsed(),
                cpu: process_cpu() - cpu,
            };
        }
    };
    let mut done = 0;
    if case.is_in {
        // Read in place, as one does who does not want a copy.
        let in_hand = 4 * u64::from(SLAVES);
        let mut submitted = 0;
        while done < blocks {
            let more = (blocks - submitted).min(in_hand.saturating_sub(submitted - done));
            mw.submit_all((0..more).map(|_| give::task(case.bytes as u64)));
            submitted += more;
            mw.events().await;
            for result in mw.take_results() {
                let bytes = result.archived::<give>()?;
                assert_eq!(bytes.len(), case.bytes);
                done += 1;
                note(done);
            }
        }
    } else {
        let mut results = mw.map((0..blocks).map(|_| weigh::task(&block)));
        while let Some(bytes) = results.try_next().await? {
            assert_eq!(bytes, case.bytes as u64);
            done += 1;
            note(done);
        }
    }
    Ok(span.cost((blocks - warm) * case.bytes as u64))
}

/// The resident memory of a master through which so many tasks with arguments of so many bytes go, on four slaves and with
/// a write buffer a quarter larger: what it had before, and its peak.
///
/// # Panics
/// As [`fleet::run`].
pub fn resident(tasks: u64, bytes: usize, engine: &str, secret: bool) -> (u64, u64) {
    const SLAVES: u32 = 4;
    let setting = Setting {
        slaves: Slaves::Real(SLAVES),
        engine,
        trail: None,
        group: 0,
        result_group: None,
        prefetch: true,
        secret,
    };
    let limit = (bytes + bytes / 4).to_string();
    let flags = ["--mw-max-write-buffer-size", &limit];
    let (memory, _) = fleet::run_with(crate::app(), &setting, &flags, async move |mw: Master| {
        fleet::connected(&mw, SLAVES).await;
        let (before, _) = meter::memory();
        // Each task's arguments are made when it is: nobody holds them but the task.
        let mut results = mw.map((0..tasks).map(|n| weigh::task(&vec![n as u8 | 1; bytes])));
        while let Some(weighed) = results.try_next().await? {
            assert_eq!(weighed, bytes as u64);
        }
        Ok((before, meter::memory().1))
    });
    memory
}

#[derive(Default)]
struct Span {
    wall: Duration,
    cpu: Duration,
}

impl Span {
    fn cost(&self, bytes: u64) -> Cost {
        Cost {
            ns_per_byte: self.cpu.as_nanos() as f64 / bytes as f64,
            rate: bytes as f64 / self.wall.as_secs_f64(),
        }
    }
}

/// What a block of a bare socket lies in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// One buffer, used again for each: the processor's caches hold it.
    Reused,
    /// Memory of its own at both ends, which whoever sends it has written: what each program does whose blocks differ.
    Made,
    /// Who sends uses one buffer, who receives keeps all that comes: what shared data asks for.
    Kept,
    /// One buffer, sealed and opened where it lies, a record at a time: what encryption costs that copies nothing.
    Sealed,
}

impl Blocks {
    const NAMES: [(&'static str, Blocks); 4] = [
        ("reused", Blocks::Reused),
        ("made", Blocks::Made),
        ("kept", Blocks::Kept),
        ("sealed", Blocks::Sealed),
    ];

    fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, blocks)| *blocks == self);
        named.expect("every one has a name").0
    }
}

/// Moves so many bytes through a bare socket, and measures the last four fifths of them.
///
/// # Errors
/// When the other process cannot be started or goes away.
pub fn raw(case: Case, blocks_are: Blocks, bytes: u64) -> io::Result<Cost> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let blocks = (bytes / case.bytes as u64).max(5);
    let way = if case.is_in { "in" } else { "out" };
    let mut peer: Child = Command::new("/proc/self/exe")
        .args([PEER, way, &case.bytes.to_string(), &blocks.to_string()])
        .arg(blocks_are.name())
        .arg(listener.local_addr()?.to_string())
        .stdin(Stdio::null())
        .spawn()?;
    let (stream, _) = listener.accept()?;
    let warm = blocks / 5;
    let mut begun = (Instant::now(), Duration::ZERO);
    pass(
        stream,
        case.is_in,
        blocks_are,
        case.bytes,
        blocks,
        |block| {
            if block == warm {
                begun = (Instant::now(), process_cpu());
            }
        },
    )?;
    let span = Span {
        wall: begun.0.elapsed(),
        cpu: process_cpu() - begun.1,
    };
    peer.wait()?;
    Ok(span.cost((blocks - warm) * case.bytes as u64))
}

/// What one direction of a sealed socket has: the key, the number of the next record, and a block with a record's tag behind it.
struct Seal {
    key: LessSafeKey,
    records: u64,
    block: Vec<u8>,
}

impl Seal {
    fn new(bytes: usize) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("as long as a key is");
        Seal {
            key: LessSafeKey::new(key),
            records: 0,
            block: vec![7; bytes + MAX_TAG_LEN],
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.records.to_be_bytes());
        self.records += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Reads or writes the block, a record at a time. A record's tag stands for the first bytes of the next one until that is
    /// its turn.
    fn pass(&mut self, mut stream: &TcpStream, reads: bool) -> io::Result<()> {
        let bytes = self.block.len() - MAX_TAG_LEN;
        for at in (0..bytes).step_by(RECORD_PLAIN_BYTES_MAX) {
            let end = bytes.min(at + RECORD_PLAIN_BYTES_MAX);
            let nonce = self.nonce();
            let record = &mut self.block[at..end + MAX_TAG_LEN];
            if reads {
                stream.read_exact(record)?;
                (self.key)
                    .open_in_place(nonce, Aad::empty(), record)
                    .map_err(|_| io::ErrorKind::InvalidData)?;
                continue;
            }
            let (plain, behind) = record.split_at_mut(end - at);
            let tag = (self.key)
                .seal_in_place_separate_tag(nonce, Aad::empty(), plain)
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            let next: [u8; MAX_TAG_LEN] = *behind.first_chunk().expect("room for a tag");
            behind.copy_from_slice(tag.as_ref());
            stream.write_all(record)?;
            self.block[end..end + MAX_TAG_LEN].copy_from_slice(&next);
        }
        Ok(())
    }
}

/// Reads or writes so many blocks. Who has read the last one says so, and who has written it waits for that.
fn pass(
    mut stream: TcpStream,
    reads: bool,
    blocks_are: Blocks,
    bytes: usize,
    blocks: u64,
    mut before: impl FnMut(u64),
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = vec![7; bytes];
    let mut seal = (blocks_are == Blocks::Sealed).then(|| Seal::new(bytes));
    let mut kept = Vec::new();
    if reads && blocks_are == Blocks::Kept {
        kept.reserve_exact(bytes * blocks as usize);
    }
    for nth in 0..blocks {
        before(nth);
        match (reads, blocks_are) {
            (true, Blocks::Reused) => stream.read_exact(&mut block)?,
            (false, Blocks::Reused | Blocks::Kept) => stream.write_all(&block)?,
            (true, Blocks::Kept) => {
                let read = (&stream).take(bytes as u64).read_to_end(&mut kept)?;
                if read < bytes {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            (true, Blocks::Made) => {
                let mut made = Vec::with_capacity(bytes);
                (&stream).take(bytes as u64).read_to_end(&mut made)?;
                if made.len() < bytes {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                // The one before it is kept until then.
                block = made;
            }
            (false, Blocks::Made) => stream.write_all(&block.clone())?,
            (_, Blocks::Sealed) => {
                let seal = seal.as_mut().expect("it is made for such blocks");
                seal.pass(&stream, reads)?;
            }
        }
    }
    match reads {
        true => stream.write_all(b"."),
        false => stream.read_exact(&mut [0]),
    }
}

/// What the process at the other end of the bare socket does.
pub fn peer() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let [way, bytes, blocks, blocks_are, address] = &args[..] else {
        eprintln!("in or out, bytes, blocks, what they are, address");
        return ExitCode::from(2);
    };
    let named = Blocks::NAMES.iter().find(|(name, _)| name == blocks_are);
    let Some(&(_, blocks_are)) = named else {
        eprintln!("blocks are reused, made, kept or sealed");
        return ExitCode::from(2);
    };
    let passed = TcpStream::connect(address).and_then(|stream| {
        let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
        let (bytes, blocks) = (number(bytes)?, number(blocks)?);
        let (reads, bytes) = (way == "out", bytes as usize);
        pass(stream, reads, blocks_are, bytes, blocks, |_| ())
    });
    match passed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bare socket's other end: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The JSON line of a case: medians of ours and of the bare socket's, with one buffer and with one made for each block; and of
/// one that is sealed, where ours was.
pub fn line(case: Case, ours: Cost, raw: Cost, made: Cost, sealed: Option<Cost>) -> Value {
    let mut line = json!({
        "case": case.name(),
        "ns_per_byte": ours.ns_per_byte,
        "raw_ns_per_byte": raw.ns_per_byte,
        "made_ns_per_byte": made.ns_per_byte,
        "made_cpu_ratio": ours.ns_per_byte / made.ns_per_byte,
        "made_bytes_per_s": made.rate,
        "made_rate_ratio": ours.rate / made.rate,
        "cpu_ratio": ours.ns_per_byte / raw.ns_per_byte,
        "bytes_per_s": ours.rate,
        "raw_bytes_per_s": raw.rate,
        "rate_ratio": ours.rate / raw.rate,
    });
    if let Some(sealed) = sealed {
        line["sealed_ns_per_byte"] = sealed.ns_per_byte.into();
        line["sealed_cpu_ratio"] = (ours.ns_per_byte / sealed.ns_per_byte).into();
        line["sealed_bytes_per_s"] = sealed.rate.into();
        line["sealed_rate_ratio"] = (ours.rate / sealed.rate).into();
    }
    line
}
