//! A simulated disk: the segments of a journal and a state file with the one before it. Who has it open may die in the midst
//! of anything, the host may lose power, blocks go bad, and for a time it is full or slow.
//!
//! ```text
//!   written  what each life meant to write: nobody but the observer sees it
//!   bytes    what is there:  | synced | in the host's memory alone |
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use rand::{Rng as _, RngExt};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::journal::{Found, Record, Records, Segment, StateFile};
use ringmw_sched::Nanos;
use tokio::sync::oneshot;

use crate::io::files::state::{Answer, Newest, StateStore, is_worth_keeping, newest};
use crate::proto::disk::{Disk, Name, Unread};
use crate::proto::known::{Outputs, Place};

/// Bytes that go bad together.
const BLOCK_BYTES: usize = 512;

/// Where a segment says of which version it is.
const VERSION: Range<usize> = 8..12;

/// A segment, as it is and as it was meant.
#[derive(Clone, Debug, Default)]
pub(super) struct SimSegment {
    pub(super) bytes: Vec<u8>,
    /// Of them those that a loss of power leaves.
    pub(super) synced: usize,
    pub(super) written: Vec<u8>,
    /// What went bad though it was safe.
    pub(super) bad: Vec<Range<usize>>,
}

/// What is on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) segments: BTreeMap<Name, SimSegment>,
    /// The state file, and the one before it.
    states: [Option<Vec<u8>>; 2],
    /// So many of a hundred writes fail, and so many syncs.
    pub(super) full_percent: u32,
    pub(super) broken_percent: u32,
}

impl Files {
    /// The host loses power: what was not synced is there, is cut off at any byte, or lacks blocks.
    pub(super) fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        for segment in self.segments.values_mut() {
            let unsynced = segment.bytes.len() - segment.synced;
            if unsynced > 0 {
                let kept = segment.synced + rng.random_range(0..=unsynced);
                if rng.random_range(0..3) > 0 {
                    segment.bytes.truncate(kept);
                }
                lose_blocks(&mut segment.bytes, segment.synced, rng);
            }
            segment.synced = segment.bytes.len();
        }
    }

    /// Something goes bad that was safe: a block is zeroed or a bit flipped, anywhere.
    pub(super) fn rot(&mut self, rng: &mut ChaCha8Rng) {
        let nth = rng.random_range(0..self.segments.len().max(1));
        let Some(segment) = self.segments.values_mut().nth(nth) else {
            return;
        };
        if segment.bytes.len() <= VERSION.end {
            return;
        }
        let at = rng.random_range(0..segment.bytes.len());
        let range = match rng.random_range(0..2) {
            // One of another version is refused, and who runs it decides.
            0 if VERSION.contains(&at) => return,
            0 => {
                segment.bytes[at] ^= 1 << rng.random_range(0..8);
                at..at + 1
            }
            _ => {
                let begin = at - at % BLOCK_BYTES;
                let end = (begin + BLOCK_BYTES).min(segment.bytes.len());
                segment.bytes[begin..end].fill(0);
                begin..end
            }
        };
        segment.bad.push(range);
    }

    /// Whether a saved state has this key with its witness.
    pub(super) fn has_saved(&self, best: u32, key: u64) -> bool {
        let states = self.states.iter().flatten();
        let states = states.filter_map(|file| StateFile::decode(file).ok());
        let mut saved = states.flat_map(|state| state.bests);
        saved.any(|saved| (saved.best, saved.image) == (best, key))
    }

    /// A bit of a recorded output or witness is flipped.
    pub(super) fn rot_body(&mut self, rng: &mut ChaCha8Rng) {
        let nth = rng.random_range(0..self.segments.len().max(1));
        let Some(segment) = self.segments.values_mut().nth(nth) else {
            return;
        };
        let Ok((head, begin)) = Segment::decode(&segment.written) else {
            return;
        };
        let file = segment.written.as_ptr() as usize;
        let bodies = Records::new(&head, &segment.written, begin).filter_map(|found| {
            let body = match found {
                Found::Record {
                    record: Record::Results(results),
                    ..
                } => results.outputs,
                Found::Record {
                    record: Record::Offer(offer),
                    ..
                } => offer.witness,
                _ => return None,
            };
            let begin = body.as_ptr() as usize - file;
            Some(begin..begin + body.len())
        });
        let bodies: Vec<Range<usize>> = bodies.filter(|body| !body.is_empty()).collect();
        if bodies.is_empty() {
            return;
        }
        let of = rng.random_range(0..bodies.len());
        let at = rng.random_range(bodies[of].clone());
        if let Some(byte) = segment.bytes.get_mut(at) {
            *byte ^= 1 << rng.random_range(0..8);
            segment.bad.push(at..at + 1);
        }
    }

    /// The newest state is torn, where there is one before it. Whether it is.
    pub(super) fn tear_state(&mut self, rng: &mut ChaCha8Rng) -> bool {
        match &mut self.states {
            [Some(newest), Some(_)] if !newest.is_empty() => {
                newest.truncate(rng.random_range(0..newest.len()));
                true
            }
            _ => false,
        }
    }

    fn replace_state(&mut self, file: Vec<u8>) {
        let old = self.states[0].replace(file);
        if old.as_deref().is_some_and(is_worth_keeping) {
            self.states[1] = old;
        }
    }
}

/// Whole blocks of what was in the host's memory did not reach the disk.
fn lose_blocks(bytes: &mut [u8], from: usize, rng: &mut ChaCha8Rng) {
    for begin in (from..bytes.len()).step_by(BLOCK_BYTES) {
        if rng.random_range(0..4) == 0 {
            let end = (begin + BLOCK_BYTES).min(bytes.len());
            bytes[begin..end].fill(0);
        }
    }
}

/// The disk in the hands of one process.
#[derive(Clone)]
pub(super) struct SimDisk {
    files: Rc<RefCell<Files>>,
    is_alive: Rc<Cell<bool>>,
    /// After so many more operations the process is dead.
    fuse: Rc<Cell<u32>>,
    last: Option<Name>,
    rng: ChaCha8Rng,
}

impl SimDisk {
    pub(super) fn new(files: &Rc<RefCell<Files>>, rng: ChaCha8Rng) -> Self {
        SimDisk {
            files: Rc::clone(files),
            is_alive: Rc::new(Cell::new(true)),
            fuse: Rc::new(Cell::new(u32::MAX)),
            last: None,
            rng,
        }
    }

    /// The process is dead: nothing that it does shows any more.
    pub(super) fn die(&self) {
        self.is_alive.set(false);
    }

    pub(super) fn is_alive(&self) -> bool {
        self.is_alive.get()
    }

    /// It dies in the midst of what it does after so many operations.
    pub(super) fn dies_after(&self, operations: u32) {
        self.fuse.set(operations);
    }

    /// One more operation; whether the process dies in the midst of it.
    fn burns(&self) -> bool {
        match self.fuse.get() {
            u32::MAX => false,
            0 => {
                self.die();
                true
            }
            left => {
                self.fuse.set(left - 1);
                false
            }
        }
    }

    fn dead() -> io::Error {
        io::Error::other("the process is dead")
    }
}

impl Disk for SimDisk {
    fn segments(&mut self) -> io::Result<Vec<Name>> {
        Ok(self.files.borrow().segments.keys().copied().collect())
    }

    fn bytes(&mut self, name: Name) -> io::Result<u64> {
        Ok(self.files.borrow().segments[&name].bytes.len() as u64)
    }

    fn read(&mut self, name: Name, out: &mut Vec<u8>) -> Result<(), Unread> {
        out.extend_from_slice(&self.files.borrow().segments[&name].bytes);
        Ok(())
    }

    fn create(&mut self, name: Name, head: &[u8]) -> io::Result<()> {
        if !self.is_alive() {
            return Err(Self::dead());
        }
        let is_cut = self.burns();
        let mut files = self.files.borrow_mut();
        let is_full = self.rng.random_range(0..100) < files.full_percent;
        if files.segments.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let all = match is_cut || is_full {
            true => self.rng.random_range(0..head.len()),
            false => head.len(),
        };
        let segment = SimSegment {
            bytes: head[..all].to_vec(),
            synced: all,
            written: head[..all].to_vec(),
            bad: Vec::new(),
        };
        files.segments.insert(name, segment);
        self.last = None;
        if all < head.len() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        self.last = Some(name);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.is_alive() {
            return Err(Self::dead());
        }
        let is_cut = self.burns();
        let mut files = self.files.borrow_mut();
        let is_full = self.rng.random_range(0..100) < files.full_percent;
        let name = self.last.ok_or_else(Self::dead)?;
        let segment = files.segments.get_mut(&name).expect("it was made");
        let all = match is_cut || is_full {
            true => self.rng.random_range(0..bytes.len()),
            false => bytes.len(),
        };
        let at = usize::try_from(at).expect("segments are short");
        for file in [&mut segment.bytes, &mut segment.written] {
            file.resize(file.len().max(at + all), 0);
            file[at..at + all].copy_from_slice(&bytes[..all]);
        }
        segment.synced = segment.synced.min(at);
        match all < bytes.len() {
            true => Err(rustix::io::Errno::NOSPC.into()),
            false => Ok(()),
        }
    }

    fn truncate(&mut self, at: u64) -> io::Result<()> {
        if !self.is_alive() || self.burns() {
            return Err(Self::dead());
        }
        let mut files = self.files.borrow_mut();
        let is_broken = self.rng.random_range(0..100) < files.broken_percent;
        let name = self.last.ok_or_else(Self::dead)?;
        if is_broken {
            return Err(rustix::io::Errno::IO.into());
        }
        let segment = files.segments.get_mut(&name).expect("it was made");
        let at = usize::try_from(at).expect("segments are short");
        segment.bytes.truncate(at);
        segment.written.truncate(at);
        segment.synced = segment.synced.min(at);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.is_alive() || self.burns() {
            return Err(Self::dead());
        }
        let mut files = self.files.borrow_mut();
        let is_broken = self.rng.random_range(0..100) < files.broken_percent;
        let name = self.last.ok_or_else(Self::dead)?;
        let segment = files.segments.get_mut(&name).expect("it was made");
        if is_broken {
            // What the kernel could not write it forgets, and says so this once.
            lose_blocks(&mut segment.bytes, segment.synced, &mut self.rng);
            segment.synced = segment.bytes.len();
            return Err(rustix::io::Errno::IO.into());
        }
        segment.synced = segment.bytes.len();
        Ok(())
    }

    fn shown(&self, name: Option<Name>) -> String {
        name.map_or_else(
            || "DIR".to_owned(),
            |(life, number)| Segment::file_name(life, number),
        )
    }
}

/// The outputs where they lie.
pub(super) struct SimOutputs {
    pub(super) files: Rc<RefCell<Files>>,
    pub(super) read: Vec<Name>,
}

impl Outputs for SimOutputs {
    fn read(&mut self, place: Place, out: &mut Vec<u8>) -> bool {
        let files = self.files.borrow();
        let segment = &files.segments[&self.read[place.segment as usize]];
        let (at, bytes) = (place.at as usize, place.bytes as usize);
        match segment.bytes.get(at..at + bytes) {
            Some(output) => out.extend_from_slice(output),
            None => return false,
        }
        true
    }
}

/// A state on its way to the disk: when it is there, and who is told.
type Waiting = (Nanos, Vec<u8>, oneshot::Sender<Result<(), String>>);

/// The state file in the hands of one process.
pub(super) struct SimStore {
    disk: SimDisk,
    waiting: RefCell<Vec<Waiting>>,
    rng: RefCell<ChaCha8Rng>,
    pub(super) now: Cell<Nanos>,
}

impl SimStore {
    pub(super) fn new(disk: SimDisk, mut rng: ChaCha8Rng) -> Self {
        rng.next_u64();
        SimStore {
            disk,
            waiting: RefCell::default(),
            rng: RefCell::new(rng),
            now: Cell::new(0),
        }
    }

    pub(super) fn due(&self) -> Nanos {
        let waiting = self.waiting.borrow();
        waiting
            .iter()
            .map(|waiting| waiting.0)
            .min()
            .unwrap_or(Nanos::MAX)
    }

    /// What has reached the disk by now has.
    pub(super) fn step(&self, now: Nanos) {
        self.now.set(now);
        let mut waiting = self.waiting.borrow_mut();
        while let Some(at) = waiting.iter().position(|waiting| waiting.0 <= now) {
            let (_, file, told) = waiting.remove(at);
            if self.disk.is_alive() {
                self.disk.files.borrow_mut().replace_state(file);
                // Who asked may be gone.
                let _ = told.send(Ok(()));
            }
        }
    }
}

impl StateStore for SimStore {
    fn write(&self, file: Vec<u8>) -> Answer<()> {
        let (told, answer) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        let last = waiting.last().map_or(0, |waiting| waiting.0);
        let due = self.now.get() + self.rng.borrow_mut().random_range(0..20_000_000);
        waiting.push((due.max(last), file, told));
        answer
    }

    fn read(&self) -> Answer<Newest> {
        let (told, answer) = oneshot::channel();
        let [now, before] = self.disk.files.borrow().states.clone();
        let found = newest([("state".to_owned(), now), ("state.1".to_owned(), before)]);
        let _ = told.send(found);
        answer
    }
}
