//! Shared data on a slave: what its tasks name, what has come of it, and what is dropped.
//!
//! What a task names is asked for as soon as the task is in hand, one after the other, in the order of the tasks; the
//! task begins once all of it is here. What is whole is kept, past the bound by least recent use; what a task in hand
//! names stays.
//!
//! ```text
//!   of what is coming
//!   0 ─────────── came ──────────── wanted ────────────── length
//!     hashed        under way         is not sent yet
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::sync::Arc;

use ringmw_codec::batch::TaskSeries;
use ringmw_codec::frame::Kind;
use ringmw_codec::shared::{Blob, BlobName, BlobRef, Want};

use super::SlaveCore;
use super::packet::Queued;
use crate::proto::blob::{Mentions, WINDOW_BYTES};

/// Shared data that is here, as a task is given it.
pub(crate) type Here = (BlobName, Arc<Vec<u8>>);

/// Prepares memory that is about to be filled; its contents stay as they are.
pub(crate) type Populate = fn(&mut [MaybeUninit<u8>]);

/// Memory of what is coming is prepared in parts of so many bytes: the processor's caches hold one until it is filled.
const POPULATED_BYTES: usize = 256 << 10;

/// What a slave has of shared data.
#[derive(Default)]
pub(super) struct Shelf {
    populate: Option<Populate>,
    /// By algorithm: what finds what its arguments mention, where they can.
    mentions: Vec<Option<Mentions>>,
    whole: BTreeMap<BlobName, Whole>,
    /// Bytes of what is whole.
    bytes: u64,
    coming: Option<Coming>,
    /// Grows with each use.
    uses: u64,
    /// Names of the running task.
    running: Vec<BlobRef>,
    /// Something that a task names was passed over, for want of room.
    is_short: bool,
}

struct Whole {
    data: Arc<Vec<u8>>,
    used: u64,
}

struct Coming {
    of: BlobRef,
    data: Vec<u8>,
    /// So many bytes of its memory are prepared, those that came included.
    populated: usize,
    hash: blake3::Hasher,
    wanted: u64,
}

impl Coming {
    /// Prepares the memory for so many bytes more, and some for what comes behind them.
    fn populate(&mut self, more: usize, populate: Populate) {
        let needed = self.data.len() + more;
        if needed <= self.populated {
            return;
        }
        let until = (needed + POPULATED_BYTES).min(self.data.capacity());
        let from = self.populated.max(self.data.len()) - self.data.len();
        let until_spare = until - self.data.len();
        populate(&mut self.data.spare_capacity_mut()[from..until_spare]);
        self.populated = until;
    }
}

impl Shelf {
    fn finder(&self, algorithm: u16) -> Option<Mentions> {
        *self.mentions.get(usize::from(algorithm))?
    }

    /// What all tasks of an entry mention, each once.
    pub(super) fn all_mentions(&self, algorithm: u16, series: &[u8], count: u32) -> Vec<BlobRef> {
        let mut found = Vec::new();
        if let Some(find) = self.finder(algorithm)
            && let Ok(series) = TaskSeries::parse(series, count)
        {
            for index in 0..count {
                if let Ok(task) = series.nth(index) {
                    find(task.args, &mut found);
                }
                found.sort_unstable();
                found.dedup();
            }
        }
        found
    }

    /// What the next task of an entry mentions.
    fn next_mentions(&self, queued: &Queued) -> Vec<BlobRef> {
        let mut found = Vec::new();
        if !queued.mentions.is_empty()
            && let Some(find) = self.finder(queued.algorithm)
            && let Ok(series) = TaskSeries::parse(&queued.body, queued.count)
            && let Ok(task) = series.nth(queued.left.start)
        {
            find(task.args, &mut found);
        }
        found
    }

    /// What another connection has brought is here too.
    pub(super) fn go_on(&mut self, former: &mut Shelf) {
        let coming = self.coming.as_ref().map(|coming| coming.of.name);
        for (name, whole) in std::mem::take(&mut former.whole) {
            if coming != Some(name) {
                self.bytes += whole.data.len() as u64;
                self.whole.insert(name, whole);
            }
        }
        self.uses = self.uses.max(former.uses);
        self.running = std::mem::take(&mut former.running);
    }

    /// What is coming does not come any more.
    pub(super) fn cut_off(&mut self) {
        self.coming = None;
        self.is_short = false;
    }

    pub(super) fn has(&self, blob: &BlobRef) -> bool {
        blob.bytes == 0 || self.whole.contains_key(&blob.name)
    }
}

impl SlaveCore {
    /// By algorithm: what finds the shared data that its arguments mention, where they can.
    pub(crate) fn set_mentions(&mut self, mentions: Vec<Option<Mentions>>) {
        self.shelf.mentions = mentions;
    }

    /// Memory of shared data is prepared by this before it is filled.
    pub(crate) fn set_populate(&mut self, populate: Populate) {
        self.shelf.populate = Some(populate);
    }

    /// What is here from its first byte to its last, for an observer.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn shared_here(&self) -> impl Iterator<Item = BlobName> {
        self.shelf.whole.keys().copied()
    }

    /// Whether all that the next task names is here.
    pub(super) fn has_shared_of(&self, queued: &Queued) -> bool {
        queued.mentions.is_empty()
            || self
                .shelf
                .next_mentions(queued)
                .iter()
                .all(|blob| self.shelf.has(blob))
    }

    /// The next task begins: what it names is its own as long as it runs.
    pub(super) fn take_shared_of(&mut self, mentioned: Vec<BlobRef>) -> Vec<Here> {
        let shelf = &mut self.shelf;
        let mut here = Vec::new();
        for blob in &mentioned {
            shelf.uses += 1;
            if blob.bytes == 0 {
                here.push((blob.name, Arc::default()));
            }
            if let Some(whole) = shelf.whole.get_mut(&blob.name) {
                whole.used = shelf.uses;
                here.push((blob.name, Arc::clone(&whole.data)));
            }
        }
        shelf.running = mentioned;
        here
    }

    /// What the next task mentions.
    pub(super) fn mentions_of_next(&self) -> Vec<BlobRef> {
        self.tasks
            .front()
            .map_or_else(Vec::new, |front| self.shelf.next_mentions(front))
    }

    /// The running task has ended.
    pub(super) fn release_shared(&mut self) {
        if !std::mem::take(&mut self.shelf.running).is_empty() {
            self.make_room(0);
        }
        // Room or none, it may be the very next task now that names what was passed over.
        if self.shelf.is_short {
            self.seek_shared();
        }
    }

    /// Tasks in hand came or went: what is coming may be wanted no more, or something is.
    pub(super) fn seek_shared(&mut self) {
        if self.end.is_some() || self.shelf.mentions.iter().all(Option::is_none) {
            return;
        }
        self.make_room(0);
        if let Some(coming) = &self.shelf.coming {
            if self.is_named(coming.of.name) {
                return;
            }
            self.shelf.coming = None;
        }
        self.shelf.is_short = false;
        let Some(of) = self.next_wanted() else { return };
        self.make_room(of.bytes);
        self.shelf.coming = Some(Coming {
            of,
            data: Vec::new(),
            populated: 0,
            hash: blake3::Hasher::new(),
            wanted: 0,
        });
        self.want_more();
    }

    /// The first that a task in hand names and that is not here. Only what the very next task names comes where there is
    /// no room.
    fn next_wanted(&mut self) -> Option<BlobRef> {
        let front = self.mentions_of_next();
        if let Some(&missing) = front.iter().find(|blob| !self.shelf.has(blob)) {
            return Some(missing);
        }
        let mentioned = self.tasks.iter().flat_map(|queued| &queued.mentions);
        let missing = *mentioned.into_iter().find(|blob| !self.shelf.has(blob))?;
        let pinned = self.pinned();
        let stays = |(name, whole): (&BlobName, &Whole)| match pinned.contains(name) {
            true => whole.data.len() as u64,
            false => 0,
        };
        let stay: u64 = self.shelf.whole.iter().map(stays).sum();
        self.shelf.is_short = stay.saturating_add(missing.bytes) > self.shared_cache_bytes();
        (!self.shelf.is_short).then_some(missing)
    }

    fn shared_cache_bytes(&self) -> u64 {
        self.welcome
            .as_ref()
            .map_or(0, |welcome| welcome.shared_cache_bytes)
    }

    /// What tasks in hand name.
    fn pinned(&self) -> BTreeSet<BlobName> {
        let queued = self.tasks.iter().flat_map(|queued| &queued.mentions);
        queued
            .chain(&self.shelf.running)
            .map(|blob| blob.name)
            .collect()
    }

    fn is_named(&self, name: BlobName) -> bool {
        let mut queued = self.tasks.iter().flat_map(|queued| &queued.mentions);
        queued.any(|blob| blob.name == name)
    }

    /// Drops what was used longest ago, as long as there is too much for so many bytes more; what a task in hand names
    /// stays.
    fn make_room(&mut self, more: u64) {
        let most = self.shared_cache_bytes().saturating_sub(more);
        if self.shelf.bytes <= most {
            return;
        }
        let pinned = self.pinned();
        let shelf = &mut self.shelf;
        let free = shelf
            .whole
            .iter()
            .filter(|(name, _)| !pinned.contains(name));
        let mut free: Vec<_> = free.map(|(name, whole)| (whole.used, *name)).collect();
        free.sort_unstable();
        for (_, name) in free {
            if shelf.bytes <= most {
                return;
            }
            let whole = shelf.whole.remove(&name).expect("it was just listed");
            shelf.bytes -= whole.data.len() as u64;
        }
    }

    /// Asks for more of what is coming, before it stands still.
    fn want_more(&mut self) {
        let Some(Coming {
            of, data, wanted, ..
        }) = &mut self.shelf.coming
        else {
            return;
        };
        let came = data.len() as u64;
        if *wanted - came > WINDOW_BYTES / 2 || *wanted == of.bytes {
            return;
        }
        let (from, to) = (*wanted, of.bytes.min(came + WINDOW_BYTES));
        *wanted = to;
        let name = of.name;
        self.out
            .put(Kind::Want, |out| Want { name, from, to }.encode(out));
    }

    /// A piece came. One of what is wanted no more is passed over.
    pub(super) fn on_blob(&mut self, piece: &Blob<'_>) -> Result<(), String> {
        let populate = self.shelf.populate;
        let Some(coming) = &mut self.shelf.coming else {
            return Ok(());
        };
        let Coming {
            of, data, wanted, ..
        } = coming;
        if piece.name != of.name || piece.from != data.len() as u64 {
            return Ok(());
        }
        if piece.bytes.len() as u64 > *wanted - piece.from {
            return Err(format!(
                "more of shared data {} than was asked for",
                of.name
            ));
        }
        if data.is_empty() {
            let bytes = usize::try_from(of.bytes).unwrap_or(usize::MAX);
            data.try_reserve_exact(bytes)
                .map_err(|_| format!("there is no memory for shared data of {bytes} bytes"))?;
        }
        if let Some(populate) = populate {
            coming.populate(piece.bytes.len(), populate);
        }
        coming.data.extend_from_slice(piece.bytes);
        coming.hash.update(piece.bytes);
        if (coming.data.len() as u64) < coming.of.bytes {
            self.want_more();
            return Ok(());
        }
        let Some(Coming { of, data, hash, .. }) = self.shelf.coming.take() else {
            return Ok(());
        };
        if *hash.finalize().as_bytes() != of.name.0 {
            return Err(format!(
                "shared data {} came with another content than its name says",
                of.name
            ));
        }
        self.shelf.uses += 1;
        let whole = Whole {
            data: Arc::new(data),
            used: self.shelf.uses,
        };
        self.shelf.bytes += of.bytes;
        self.shelf.whole.insert(of.name, whole);
        self.make_room(0);
        self.seek_shared();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::{TaskBatchBuilder, TaskBody, encode_task_body};
    use ringmw_codec::frame;
    use ringmw_codec::handshake::{Hello, Welcome};

    use super::*;
    use crate::proto::blob::{PIECE_BYTES_MAX, name_of};
    use crate::proto::config::SlaveConfig;
    use crate::proto::put;
    use crate::proto::slave::{Next, Output, SlaveEnd};

    /// Arguments that are mentions and nothing else.
    fn mentions(args: &[u8], found: &mut Vec<BlobRef>) {
        let each = args.chunks_exact(BlobRef::BYTES);
        found.extend(each.map(|mention| BlobRef::decode(mention).expect("of this length")));
    }

    /// A slave that has been given tasks which name these.
    fn slave_with(tasks: &[&[BlobRef]], shared_cache_bytes: u64) -> SlaveCore {
        let hello = Hello::for_test();
        let welcome = Welcome {
            slave: 3,
            client_timeout_ms: 4_000,
            result_group: 10,
            shared_cache_bytes,
            ..Welcome::for_test()
        };
        let mut core = SlaveCore::new(&SlaveConfig { hello }, 0);
        core.set_mentions(vec![Some(mentions)]);
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Welcome, |out| welcome.encode(out));
        let mut batch = TaskBatchBuilder::new();
        for (task, named) in (0..).zip(tasks) {
            let args: Vec<u8> = named.iter().flat_map(BlobRef::encode).collect();
            let mut body = Vec::new();
            let parts = TaskBody {
                domain: 0,
                timeout_ms: 0,
                stream: 0,
                tag_type: 0,
                tag: &[],
                args: &args,
            };
            encode_task_body(&mut body, &parts);
            batch.push(task, 0, 0, &body);
        }
        put(&mut bytes, Kind::Tasks, |out| batch.encode(out));
        core.on_bytes(&bytes, 0);
        assert!(core.end().is_none(), "{:?}", core.end());
        core
    }

    /// Gives it all of it, piece by piece.
    fn give(core: &mut SlaveCore, of: BlobRef, content: &[u8]) {
        for (nth, bytes) in content.chunks(PIECE_BYTES_MAX).enumerate() {
            let mut piece = Vec::new();
            let mark = frame::begin_frame(&mut piece, Kind::Blob);
            piece.extend(Blob::header(of.name, (nth * PIECE_BYTES_MAX) as u64));
            piece.extend_from_slice(bytes);
            frame::finish_frame(&mut piece, mark);
            core.on_bytes(&piece, 0);
        }
    }

    #[test]
    fn a_byte_that_is_another_is_found_by_the_name() {
        let content: Vec<u8> = (0..2 * PIECE_BYTES_MAX + 5_000)
            .map(|n| (n % 251) as u8)
            .collect();
        let of = BlobRef {
            name: name_of(&content),
            bytes: content.len() as u64,
        };
        let mut core = slave_with(&[&[of]], 1 << 30);
        assert!(
            matches!(core.next_task(0), Next::Wait),
            "half of it is not it"
        );
        give(&mut core, of, &content);
        let Next::Run(task) = core.next_task(0) else {
            panic!("it has all that it names")
        };
        assert_eq!(*task.shared[0].1, content);
        let places = [
            0,
            1,
            PIECE_BYTES_MAX - 1,
            PIECE_BYTES_MAX,
            content.len() - 1,
        ];
        for at in places {
            let mut flipped = content.clone();
            flipped[at] ^= 0x10;
            let mut core = slave_with(&[&[of]], 1 << 30);
            give(&mut core, of, &flipped);
            let Some(SlaveEnd::MasterLost(reason)) = core.end() else {
                panic!("byte {at} is another, and it goes on: {:?}", core.end())
            };
            assert!(
                reason.contains(&format!("shared data {}", of.name))
                    && reason.contains("another content"),
                "{reason}"
            );
        }
    }

    thread_local! {
        static POPULATED: std::cell::RefCell<Vec<std::ops::Range<usize>>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    fn note_populated(memory: &mut [MaybeUninit<u8>]) {
        let range = memory.as_ptr_range();
        POPULATED.with_borrow_mut(|all| all.push(range.start as usize..range.end as usize));
    }

    #[test]
    fn memory_is_prepared_once_ahead_of_what_comes_and_no_further_than_it_goes() {
        for bytes in [1, PIECE_BYTES_MAX, 10 * PIECE_BYTES_MAX + 5_000] {
            let content: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            let of = BlobRef {
                name: name_of(&content),
                bytes: content.len() as u64,
            };
            let mut core = slave_with(&[&[of]], 1 << 30);
            core.set_populate(note_populated);
            give(&mut core, of, &content);
            let Next::Run(task) = core.next_task(0) else {
                panic!("it has all that it names")
            };
            let data = task.shared[0].1.as_ptr_range();
            let populated = POPULATED.take();
            let ends = populated.windows(2).all(|two| two[0].end == two[1].start);
            assert!(ends, "one behind the other: {populated:?}");
            let all = populated[0].start..populated[populated.len() - 1].end;
            assert_eq!(all, data.start as usize..data.end as usize);
        }
    }

    /// A seed of the simulated world stood still: what a task named had no room beside its own while it was not the next;
    /// when it was, those before it had named nothing, and nobody looked again.
    #[test]
    fn what_had_no_room_comes_when_its_task_is_next() {
        let mut contents: Vec<Vec<u8>> = (1..3).map(|n| vec![n; 4_000]).collect();
        // In the order in which they are asked for.
        contents.sort_by_key(|content| name_of(content));
        let of = |content: &Vec<u8>| BlobRef {
            name: name_of(content),
            bytes: content.len() as u64,
        };
        let named: Vec<BlobRef> = contents.iter().map(of).collect();
        let mut core = slave_with(&[&[], &[], &named], 5_000);
        give(&mut core, named[0], &contents[0]);
        for _ in 0..2 {
            assert!(matches!(core.next_task(0), Next::Run(_)));
            core.finish(0, Ok(&mut Output::new()), 1, 1);
        }
        assert!(matches!(core.next_task(0), Next::Wait));
        give(&mut core, named[1], &contents[1]);
        let Next::Run(task) = core.next_task(0) else {
            panic!("it has all that it names")
        };
        assert_eq!(task.shared.len(), 2);
    }

    #[test]
    fn what_a_task_names_stays_whatever_the_bound() {
        let contents: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 10_000]).collect();
        let of = |content: &Vec<u8>| BlobRef {
            name: name_of(content),
            bytes: content.len() as u64,
        };
        let named: Vec<BlobRef> = contents.iter().map(of).collect();
        let mut core = slave_with(&[&named], 15_000);
        for (of, content) in named.iter().zip(&contents) {
            assert!(matches!(core.next_task(0), Next::Wait));
            give(&mut core, *of, content);
        }
        let Next::Run(task) = core.next_task(0) else {
            panic!("it has all that it names")
        };
        assert_eq!(task.shared.len(), 3);
        assert_eq!(
            core.shelf.bytes, 30_000,
            "more than its bound, and all pinned"
        );
        core.finish(0, Ok(&mut Output::new()), 1, 1);
        assert_eq!(core.shelf.bytes, 10_000, "the most recent one fits");
    }
}
