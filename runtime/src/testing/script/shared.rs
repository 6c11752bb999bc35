//! The shared data of the played application: of memory and of files, named by tasks, given up, shared anew; files change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use rand::{Rng as _, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::shared::BlobName;
use ringmw_sched::{Nanos, Owner};

use crate::proto::SECOND;
use crate::proto::blob::{Blob, BlobFile, Source, name_of, read_pieces};
use crate::proto::master::Load;
use crate::testing::script::Script;
use crate::testing::script::algorithms::{weigh, zips};
use crate::typed::rng::Stream;
use crate::typed::shared::Shared;

/// It keeps so many at most.
const KEPT_MAX: usize = 6;

/// The largest is of so many pieces: some parts of a file are read at a time, and come in any order.
const PIECES_MAX: usize = 10;

/// Reading a part of a file takes so long at most.
const READ_MAX: Nanos = SECOND / 10;

/// Turns after which what nobody names and nobody keeps is forgotten.
const FORGET_TURNS: u64 = 40;

pub(super) struct Blobs {
    rng: ChaCha8Rng,
    bytes_max: usize,
    kept: Vec<Handle>,
    /// What was shared so far.
    past: Vec<Arc<Vec<u8>>>,
    /// What each name stands for now, unless that cannot be read any more.
    current: BTreeMap<BlobName, Weak<Blob>>,
    /// All that there ever was.
    ever: Vec<Weak<Blob>>,
    reads: Vec<(Nanos, Load)>,
}

struct Handle {
    shared: Shared<[u8]>,
    bytes: Arc<Vec<u8>>,
    file: Option<Arc<File>>,
}

struct File {
    bytes: Arc<Vec<u8>>,
    has_changed: AtomicBool,
}

struct Opened(Arc<File>);

impl BlobFile for Opened {
    fn read(&self, from: u64, bytes: usize) -> Result<Vec<u8>, String> {
        match self.0.has_changed.load(Ordering::Relaxed) {
            true => Err("it has changed".to_owned()),
            false => Ok(self.0.bytes[from as usize..][..bytes].to_vec()),
        }
    }
}

impl Blobs {
    /// Some seeds have shared data.
    pub(super) fn drawn(seed: u64) -> Option<Blobs> {
        (seed % 4 == 2).then(|| Blobs {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x5_4a2e_d000),
            bytes_max: 0,
            kept: Vec::new(),
            past: Vec::new(),
            current: BTreeMap::new(),
            ever: Vec::new(),
            reads: Vec::new(),
        })
    }

    /// How often a task is one that names some, among the others.
    pub(super) fn often(&mut self) -> u32 {
        self.rng.random_range(1..6)
    }

    /// One takes some pieces, and some windows of a link; what a slave's cache holds: all, some, or hardly one.
    pub(super) fn fit(&mut self, unsent_bytes_max: u64, window: usize) -> u64 {
        let piece = (unsent_bytes_max / 16).clamp(1, 64 << 10) as usize;
        self.bytes_max = (PIECES_MAX * piece).min(8 * window).min(100_000);
        match self.rng.random_range(0..3) {
            0 => 1 << 30,
            1 => 3 * self.bytes_max as u64,
            _ => self.bytes_max as u64,
        }
    }

    fn draw_bytes(&mut self) -> Arc<Vec<u8>> {
        if !self.past.is_empty() && self.rng.random_range(0..4) == 0 {
            let at = self.rng.random_range(0..self.past.len());
            return Arc::clone(&self.past[at]);
        }
        let bytes = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(0..3),
            1 => self.bytes_max,
            _ => self.rng.random_range(1..=self.bytes_max),
        };
        let mut drawn = vec![0; bytes];
        self.rng.fill_bytes(&mut drawn);
        let drawn = Arc::new(drawn);
        self.past.push(Arc::clone(&drawn));
        drawn
    }

    fn draw_handle(&mut self) -> &Handle {
        let at = self.rng.random_range(0..self.kept.len());
        &self.kept[at]
    }

    fn is_current(&self, name: BlobName) -> bool {
        let current = self.current.get(&name);
        current.is_some_and(|blob| blob.strong_count() > 0)
    }
}

impl Script {
    /// One more is shared, one is given up, a file changes, tasks that name some are dropped at once, or nothing.
    pub(super) fn share_some(&mut self) {
        let drops = self.seed % 16 == 10;
        let Some(blobs) = &mut self.blobs else {
            return;
        };
        match blobs.rng.random_range(0..10) {
            0..3 if blobs.kept.len() < KEPT_MAX => self.share(),
            3 if !blobs.kept.is_empty() => {
                let at = blobs.rng.random_range(0..blobs.kept.len());
                blobs.kept.swap_remove(at);
            }
            4 if !blobs.kept.is_empty() => {
                if let Some(file) = &blobs.draw_handle().file {
                    file.has_changed.store(true, Ordering::Relaxed);
                }
            }
            5 if drops && !blobs.kept.is_empty() => self.submit_and_drop(),
            _ => {}
        }
    }

    fn share(&mut self) {
        let Some(blobs) = &mut self.blobs else {
            return;
        };
        let bytes = blobs.draw_bytes();
        let (source, file) = match blobs.rng.random_range(0..2) {
            0 => (Source::Memory(bytes.to_vec().into()), None),
            _ => {
                let file = Arc::new(File {
                    bytes: Arc::clone(&bytes),
                    has_changed: AtomicBool::new(false),
                });
                (
                    Source::File(Box::new(Opened(Arc::clone(&file)))),
                    Some(file),
                )
            }
        };
        let of = ringmw_codec::shared::BlobRef {
            name: name_of(&bytes),
            bytes: bytes.len() as u64,
        };
        let blob = self.state.core.share(Blob { of, source });
        self.law.on_share(&bytes);
        blobs.current.insert(of.name, Arc::downgrade(&blob));
        blobs.ever.push(Arc::downgrade(&blob));
        blobs.kept.push(Handle {
            shared: Shared::in_master(blob),
            bytes,
            file,
        });
        self.fleet
            .say(|| format!("  share {} of {} bytes", of.name, of.bytes));
    }

    /// A task that names up to three of them.
    pub(super) fn submit_zips(&mut self, owner: Owner, stream: Stream) {
        if self
            .blobs
            .as_ref()
            .is_some_and(|blobs| blobs.kept.is_empty())
        {
            self.share();
        }
        let Some(blobs) = &mut self.blobs else {
            return;
        };
        let parts = blobs.rng.random_range(0..3);
        let mut drawn = Vec::new();
        for _ in 0..=parts {
            let Handle { shared, bytes, .. } = blobs.draw_handle();
            drawn.push((shared.clone(), Arc::clone(bytes)));
        }
        let handles: Vec<Shared<[u8]>> = drawn.iter().map(|drawn| drawn.0.clone()).collect();
        let names: Vec<BlobName> = handles
            .iter()
            .map(|shared| BlobName(shared.hash()))
            .collect();
        let is_gone = names.iter().any(|name| !blobs.is_current(*name));
        let expected = weigh(drawn.iter().map(|drawn| &drawn.1[..]));
        let (one, others) = handles.split_last().expect("one at least");
        let before = self.ids.len();
        self.submit_task(7, zips::task(others, one), owner, stream);
        // A map may have no room for it.
        let Some(id) = self.ids.get(before) else {
            return;
        };
        let seq = id.seq();
        self.draws.insert(seq, expected);
        self.law.on_mentions(seq, names);
        if is_gone {
            self.law.on_submit_gone(seq);
        }
    }

    /// When a part of a file has been read.
    pub(super) fn next_read(&self) -> Nanos {
        let reads = self.blobs.iter().flat_map(|blobs| &blobs.reads);
        reads.map(|read| read.0).min().unwrap_or(Nanos::MAX)
    }

    /// What the master wants read of files is, after a while.
    pub(super) fn read_files(&mut self) {
        let Some(blobs) = &mut self.blobs else {
            return;
        };
        while let Some(load) = self.state.core.poll_load() {
            let at = self.now + blobs.rng.random_range(0..READ_MAX);
            blobs.reads.push((at, load));
        }
        while let Some(at) = blobs.reads.iter().position(|read| read.0 <= self.now) {
            let (_, load) = blobs.reads.swap_remove(at);
            let read = match &load.blob.source {
                Source::File(file) => read_pieces(&**file, load.from, load.bytes),
                Source::Memory(_) => unreachable!("what is in memory is not read"),
            };
            let name = load.blob.of.name;
            let is_current = blobs
                .current
                .get(&name)
                .is_some_and(|current| std::ptr::eq(current.as_ptr(), Arc::as_ptr(&load.blob)));
            if read.is_err() && is_current {
                blobs.current.remove(&name);
                self.law.on_gone(name);
            }
            self.state.core.loaded(load, read);
        }
        self.keep_ready();
    }

    fn reads_under_way(&self) -> bool {
        let mut blobs = self.blobs.iter();
        blobs.any(|blobs| !blobs.reads.is_empty())
    }

    /// Every task has ended: with the last handle, and the last read that is under way, nothing is kept any more.
    pub(super) fn forget_shared(&mut self) {
        let Some(blobs) = &mut self.blobs else {
            return;
        };
        blobs.kept.clear();
        let until = self.turns + FORGET_TURNS;
        while self.turns < until || self.reads_under_way() {
            self.advance();
        }
        let blobs = self.blobs.iter().flat_map(|blobs| &blobs.ever);
        let kept = blobs.filter(|blob| blob.strong_count() > 0).count();
        assert_eq!(kept, 0, "shared data that nobody names is kept");
    }
}
