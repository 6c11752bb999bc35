//! Shared data on its way to slaves: what they want, piece by piece, behind everything else.
//!
//! ```text
//!   handles, tasks        known           wants            line               pieces
//!   keep it alive   ->  by name  <-  a slave's, one  ->  whose turn it is  ->  one at a time
//! ```
//!
//! In a turn pieces come last, so many at most, and to a slave none while a quarter of what may be unread is: a
//! packet of tasks or a word never waits behind more than that, and what the slave has asked for.
//!
//! Of a file some blocks are read while those before them are sent:
//!
//! ```text
//!   0 ──────── at ────────────────── read ───────────── length
//!     sent        here | asked for        nobody has it
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use ringmw_codec::audit::Event;
use ringmw_codec::batch::Gap;
use ringmw_codec::frame::{Kind, begin_frame};
use ringmw_codec::shared::{Blob as Piece, BlobName, BlobRef, Want};
use ringmw_sched::{Cancelled, Reason, TaskId, Unrunnable};

use super::conn::{Conn, Phase, Stop, offence};
use super::{MasterCore, put_withdraw};
use crate::proto::blob::{Blob, Named, PIECE_BYTES_MAX, Source};
use crate::proto::conn::ConnId;
use crate::proto::end::CannotRun;
use crate::proto::pieces::LONG_BYTES_MIN;
use crate::proto::put;

/// Pieces of one turn, to all slaves: a megabyte, which takes a fraction of a millisecond.
const PIECES_PER_TURN: usize = 16;

/// With this part of what may be unread a slave gets no piece, and a piece is no larger than that part of it.
const UNSENT_PART: u64 = 4;
const PIECE_PART: u64 = 16;

/// Pieces of a file that are read at a time, how many such blocks are kept for all slaves, and how many for one: the memory
/// that files cost is 16 MiB at most, and a megabyte where there is one slave.
const BLOCK_PIECES: u64 = 2;
const BLOCKS_MAX: usize = 128;
const BLOCKS_EACH: usize = 8;

/// Submissions that are looked at in a turn for whether their tasks have ended.
const LOOKS_PER_TURN: usize = 64;

/// Names that are known before those that nobody keeps are dropped.
const KNOWN_MIN: usize = 64;

/// What the master has of shared data.
#[derive(Default)]
pub(super) struct Shares {
    known: BTreeMap<BlobName, Known>,
    /// How many are known before the next sweep.
    known_max: usize,
    /// Submissions that name something: their tasks keep it alive.
    held: VecDeque<Held>,
    /// Connections that may be sent a piece.
    line: VecDeque<ConnId>,
    /// Blocks of files that are wanted or here.
    blocks: usize,
    loads: VecDeque<Load>,
    /// Connections that wait for a block's place.
    starved: VecDeque<ConnId>,
    /// Connections that want what nobody keeps.
    orphans: Vec<ConnId>,
}

struct Known {
    blob: Weak<Blob>,
    /// It cannot be read any more.
    is_gone: bool,
}

/// Tasks of one submission.
struct Held {
    first: TaskId,
    tasks: u32,
    /// So many of the first have ended.
    ended: u32,
    named: Named,
}

/// What a connection is being sent.
///
/// It has a name alone, and keeps nothing: whose task has ended asks for no more, and does not say so. Nor does it ask
/// again where the same is shared anew meanwhile, and named by its next task.
pub(super) struct Sending {
    name: BlobName,
    at: u64,
    to: u64,
    /// Parts of a file from `at` on: the one that is being sent, and those behind it.
    blocks: VecDeque<Block>,
    /// It is in the line.
    in_line: bool,
    /// It waits for the same to be shared anew.
    is_orphan: bool,
}

/// A part of a file.
enum Block {
    /// It is being read, from this byte on, so many.
    Asked(u64, usize),
    /// What is left of it.
    Here(VecDeque<Bytes>),
}

impl Sending {
    /// Whether it waits for a part to be read.
    fn waits(&self) -> bool {
        matches!(self.blocks.front(), Some(Block::Asked(..)))
    }

    /// How far a file has been asked for.
    fn read(&self) -> u64 {
        let blocks = self.blocks.iter().map(|block| match block {
            Block::Asked(_, bytes) => *bytes,
            Block::Here(pieces) => pieces.iter().map(Bytes::len).sum(),
        });
        self.at + blocks.sum::<usize>() as u64
    }

    /// The part that is being read from this byte on.
    fn asked(&mut self, from: u64) -> Option<&mut Block> {
        let mut blocks = self.blocks.iter_mut();
        blocks.find(|block| matches!(block, Block::Asked(at, _) if *at == from))
    }

    /// So many of its parts are here.
    fn blocks_here(&self) -> usize {
        let here = |block: &&Block| matches!(block, Block::Here(_));
        self.blocks.iter().filter(here).count()
    }
}

/// A part of a file that the core wants read.
#[derive(Debug)]
pub(crate) struct Load {
    conn: ConnId,
    pub(crate) blob: Arc<Blob>,
    pub(crate) from: u64,
    pub(crate) bytes: usize,
}

/// Whether it has read nearly all that it was sent, and stays.
fn reads(conn: &Conn, unsent_max: u64) -> bool {
    let stays = matches!(conn.phase, Phase::Slave { leaving: false, .. });
    stays && conn.unsent.bytes < unsent_max
}

fn is_of(weak: &Weak<Blob>, blob: &Arc<Blob>) -> bool {
    std::ptr::eq(weak.as_ptr(), Arc::as_ptr(blob))
}

impl MasterCore {
    /// Makes shared data known; what has the same content is the same data.
    pub(crate) fn share(&mut self, blob: Blob) -> Arc<Blob> {
        let shares = &mut self.shares;
        if let Some(known) = shares.known.get(&blob.of.name)
            && !known.is_gone
            && let Some(blob) = known.blob.upgrade()
        {
            return blob;
        }
        if shares.known.len() >= shares.known_max.max(KNOWN_MIN) {
            shares
                .known
                .retain(|_, known| known.blob.strong_count() > 0);
            shares.known_max = 2 * shares.known.len();
        }
        let blob = Arc::new(blob);
        let known = Known {
            blob: Arc::downgrade(&blob),
            is_gone: false,
        };
        shares.known.insert(blob.of.name, known);
        self.adopt_orphans(blob.of.name);
        blob
    }

    /// It is shared anew: who has asked for it before is sent it.
    fn adopt_orphans(&mut self, name: BlobName) {
        for conn in std::mem::take(&mut self.shares.orphans) {
            let sending = self.conn_mut(conn).and_then(|state| state.sending.as_mut());
            match sending.filter(|sending| sending.is_orphan) {
                Some(sending) if sending.name == name => {
                    sending.is_orphan = false;
                    self.line_up(conn);
                }
                Some(_) => self.shares.orphans.push(conn),
                None => {}
            }
        }
    }

    /// Nobody keeps what it wants.
    fn orphan(&mut self, conn: ConnId) {
        let sending = self.conn_mut(conn).and_then(|state| state.sending.as_mut());
        if let Some(sending) = sending.filter(|sending| !sending.is_orphan) {
            sending.is_orphan = true;
            // One that was asked for comes still: its place is given back when it does.
            let here = sending.blocks_here();
            sending.blocks.clear();
            if !self.shares.orphans.contains(&conn) {
                self.shares.orphans.push(conn);
            }
            for _ in 0..here {
                self.free_block();
            }
        }
    }

    fn known(&self, name: BlobName) -> Option<Arc<Blob>> {
        let known = self.shares.known.get(&name)?;
        known.blob.upgrade().filter(|_| !known.is_gone)
    }

    /// What these mentions name; `None` if nobody keeps one of them.
    pub(crate) fn named(&self, mentions: &[BlobRef]) -> Option<Named> {
        let mut named = Named::default();
        for mention in mentions {
            named.push(&self.known(mention.name)?);
        }
        Some(named)
    }

    /// Tasks that were just submitted, from this one on, keep what they name alive until they have ended. With `None` what
    /// they name is gone, and they are unrunnable.
    #[inline]
    pub(crate) fn hold(&mut self, first: TaskId, tasks: u32, named: Option<Named>) {
        if named.as_ref().is_none_or(|named| !named.is_empty()) {
            self.hold_named(first, tasks, named);
        }
    }

    #[inline(never)]
    fn hold_named(&mut self, first: TaskId, tasks: u32, named: Option<Named>) {
        // What was shared anew since it was gone is what slaves are sent.
        let named = named.and_then(|named| {
            let mentions: Vec<BlobRef> = named.iter().map(|blob| blob.of).collect();
            self.named(&mentions)
        });
        match named {
            Some(named) if named.is_empty() => {}
            Some(named) => self.shares.held.push_back(Held {
                first,
                tasks,
                ended: 0,
                named,
            }),
            None => self.end_gone(first, 0..tasks),
        }
    }

    /// What tasks name is gone: those that live are unrunnable.
    fn end_gone(&mut self, first: TaskId, tasks: Range<u32>) {
        for nth in tasks {
            let Some(task) = self.sched.cancel(first.after(nth)) else {
                continue;
            };
            let Cancelled {
                id,
                algorithm,
                owner,
                policy,
                payload,
                ..
            } = task;
            self.end_unrunnable(CannotRun::from(Unrunnable {
                id,
                algorithm,
                owner,
                policy,
                payload,
                reason: Reason::SharedGone,
            }));
        }
        self.collect_withdrawals();
    }

    /// It cannot be read any more.
    fn lose_shared(&mut self, blob: &Arc<Blob>, reason: &str) {
        let known = self.shares.known.get_mut(&blob.of.name);
        // It may have been shared anew meanwhile.
        let Some(known) = known.filter(|known| !known.is_gone && is_of(&known.blob, blob)) else {
            return;
        };
        known.is_gone = true;
        let text = format!(
            "shared data {} is gone, and the tasks that name it are unrunnable: {reason}",
            blob.of.name
        );
        self.trail.push(Event::Note { text });
        let (gone, held) = std::mem::take(&mut self.shares.held)
            .into_iter()
            .partition(|held| held.named.iter().any(|named| Arc::ptr_eq(named, blob)));
        let gone: VecDeque<Held> = gone;
        self.shares.held = held;
        for Held {
            first,
            tasks,
            ended,
            ..
        } in gone
        {
            self.end_gone(first, ended..tasks);
        }
    }

    /// Lets go of what tasks have named that have ended.
    pub(super) fn let_go(&mut self) {
        let looks = self.shares.held.len().min(LOOKS_PER_TURN);
        for _ in 0..looks {
            let Some(mut held) = self.shares.held.pop_front() else {
                return;
            };
            let ended = (held.ended..held.tasks)
                .take(LOOKS_PER_TURN)
                .take_while(|&nth| !self.sched.is_live(held.first.after(nth)))
                .count();
            held.ended += ended as u32;
            if held.ended < held.tasks {
                self.shares.held.push_back(held);
            }
        }
    }

    pub(super) fn on_want(&mut self, conn: ConnId, want: Want) -> Result<(), Stop> {
        let known = self.known(want.name).map(|blob| blob.of.bytes);
        if let Some(bytes) = known.filter(|&bytes| want.to > bytes) {
            return Err(offence(format!(
                "it wants byte {} of shared data of {bytes} bytes",
                want.to
            )));
        }
        let Some(state) = self.conn_mut(conn) else {
            return Ok(());
        };
        match &mut state.sending {
            Some(sending) if sending.name == want.name && sending.to == want.from => {
                sending.to = want.to;
            }
            other => {
                let before = other.replace(Sending {
                    name: want.name,
                    at: want.from,
                    to: want.to,
                    blocks: VecDeque::new(),
                    in_line: false,
                    is_orphan: false,
                });
                self.give_block_back(before);
            }
        }
        self.line_up(conn);
        Ok(())
    }

    /// A connection that wants something and reads gets into the line.
    pub(super) fn line_up(&mut self, conn: ConnId) {
        let unsent_max = self.config.unsent_bytes_max / UNSENT_PART;
        if let Some(state) = self.conn_mut(conn)
            && reads(state, unsent_max)
            && let Some(sending) = &mut state.sending
            && !sending.in_line
            && !sending.is_orphan
            && sending.at < sending.to
            && !sending.waits()
        {
            sending.in_line = true;
            self.shares.line.push_back(conn);
        }
    }

    /// A connection goes: nothing more is read for it.
    pub(super) fn forget_sending(&mut self, sending: Option<Sending>) {
        self.give_block_back(sending);
    }

    fn give_block_back(&mut self, sending: Option<Sending>) {
        // As of an orphan.
        for _ in 0..sending.map_or(0, |sending| sending.blocks_here()) {
            self.free_block();
        }
    }

    fn free_block(&mut self) {
        self.shares.blocks -= 1;
        if let Some(conn) = self.shares.starved.pop_front() {
            if let Some(Conn {
                sending: Some(sending),
                ..
            }) = self.conn_mut(conn)
            {
                sending.in_line = false;
            }
            self.line_up(conn);
        }
    }

    /// Whether there are more pieces to send than a turn had room for.
    pub(super) fn has_pieces(&self) -> bool {
        !self.shares.line.is_empty()
    }

    /// After all else of a turn: the next pieces.
    pub(super) fn send_pieces(&mut self) {
        let unsent_max = self.config.unsent_bytes_max / UNSENT_PART;
        let mut left = PIECES_PER_TURN;
        while left > 0
            && let Some(conn) = self.shares.line.pop_front()
        {
            if let Some(state) = self.conn_mut(conn)
                && let Some(sending) = &mut state.sending
            {
                sending.in_line = false;
                // It may have been given other things since it got into the line.
                if reads(state, unsent_max) {
                    left -= 1;
                    self.send_piece(conn);
                    self.line_up(conn);
                }
            }
        }
    }

    fn piece_bytes_max(&self) -> u64 {
        (self.config.unsent_bytes_max / PIECE_PART).clamp(1, PIECE_BYTES_MAX as u64)
    }

    fn send_piece(&mut self, conn: ConnId) {
        let piece_max = self.piece_bytes_max();
        let sending = self.conn(conn).and_then(|state| state.sending.as_ref());
        let Some((name, to)) = sending.map(|sending| (sending.name, sending.to)) else {
            return;
        };
        let Some(blob) = self.known(name) else {
            return self.orphan(conn);
        };
        let of = blob.of;
        if to > of.bytes {
            // It asked when nobody knew how long it is. No honest slave does.
            let forgotten = self.conn_mut(conn).and_then(|state| state.sending.take());
            return self.give_block_back(forgotten);
        }
        self.prepare_out(conn.slot());
        let state = self.conns[conn.slot()].as_mut().expect("just looked up");
        let Phase::Slave { id, .. } = state.phase else {
            return;
        };
        let Some(sending) = &mut state.sending else {
            return;
        };
        let from = sending.at;
        let bytes = (sending.to - from).min(piece_max) as usize;
        let piece = match (&blob.source, sending.blocks.front_mut()) {
            (Source::Memory(data), _) => data.slice(from as usize..from as usize + bytes),
            (Source::File(_), Some(Block::Here(pieces))) => {
                let first = pieces.front_mut().expect("one that is sent is taken away");
                let piece = first.split_to(bytes.min(first.len()));
                if first.is_empty() {
                    pieces.pop_front();
                }
                piece
            }
            (Source::File(_), Some(Block::Asked(..))) => return,
            (Source::File(_), None) => return self.ask_block(conn, &blob),
        };
        sending.at += piece.len() as u64;
        let is_whole = sending.at == of.bytes;
        let used_up = matches!(sending.blocks.front(), Some(Block::Here(left)) if left.is_empty());
        if used_up {
            sending.blocks.pop_front();
        }
        if is_whole {
            state.sending = None;
        }
        put_withdraw(&mut state.withdraw, &mut state.out);
        put_piece(state, Piece::header(name, from), piece);
        if used_up {
            self.free_block();
        }
        self.mark_dirty(conn);
        if is_whole {
            self.trail.push(Event::Shared {
                slave: id.0,
                name: of.name.to_string(),
                bytes: of.bytes,
            });
        } else if let Source::File(_) = &blob.source {
            self.ask_ahead(conn, &blob);
        }
    }

    /// The next part of a file is wanted.
    fn ask_block(&mut self, conn: ConnId, blob: &Arc<Blob>) {
        if self.shares.blocks < BLOCKS_MAX {
            return self.ask(conn, blob);
        }
        if let Some(Conn {
            sending: Some(sending),
            ..
        }) = self.conn_mut(conn)
        {
            // Not in the line: whoever gives a place back puts it there.
            sending.in_line = true;
            self.shares.starved.push_back(conn);
        }
    }

    /// The parts behind the one that is being sent are read meanwhile, unless other connections need the places.
    fn ask_ahead(&mut self, conn: ConnId, blob: &Arc<Blob>) {
        while self.shares.blocks < BLOCKS_MAX / 2
            && let Some(state) = self.conn(conn)
            && let Some(sending) = &state.sending
            && sending.blocks.len() < BLOCKS_EACH
            && sending.read() < blob.of.bytes
        {
            self.ask(conn, blob);
        }
    }

    fn ask(&mut self, conn: ConnId, blob: &Arc<Blob>) {
        let block_bytes = BLOCK_PIECES * self.piece_bytes_max();
        let Some(Conn {
            sending: Some(sending),
            ..
        }) = self.conn_mut(conn)
        else {
            return;
        };
        let from = sending.read();
        let bytes = (blob.of.bytes - from).min(block_bytes) as usize;
        sending.blocks.push_back(Block::Asked(from, bytes));
        self.shares.blocks += 1;
        self.shares.loads.push_back(Load {
            conn,
            blob: Arc::clone(blob),
            from,
            bytes,
        });
    }

    /// Whether there is something to be read from a file.
    pub(crate) fn has_loads(&self) -> bool {
        !self.shares.loads.is_empty()
    }

    /// What is to be read from a file next, and then told to [`loaded`](Self::loaded).
    pub(crate) fn poll_load(&mut self) -> Option<Load> {
        self.shares.loads.pop_front()
    }

    /// A part of a file was read, or cannot be.
    pub(crate) fn loaded(&mut self, load: Load, read: Result<VecDeque<Bytes>, String>) {
        let Load {
            conn, blob, from, ..
        } = load;
        let reason = match read {
            Ok(pieces) => {
                let state = self.conn_mut(conn).and_then(|state| state.sending.as_mut());
                let sending = state.filter(|sending| sending.name == blob.of.name);
                match sending.and_then(|sending| sending.asked(from)) {
                    Some(block) => *block = Block::Here(pieces),
                    None => self.free_block(),
                }
                return self.line_up(conn);
            }
            Err(reason) => reason,
        };
        self.free_block();
        self.lose_shared(&blob, &reason);
        let state = self.conn_mut(conn).and_then(|state| state.sending.as_mut());
        let sending = state.filter(|sending| sending.name == blob.of.name);
        if let Some(sending) = sending
            && sending.asked(from).is_some()
        {
            // It may have been shared anew meanwhile: what comes behind it is read anew too.
            let place = |block: &Block| matches!(block, Block::Asked(at, _) if *at == from);
            let at = sending.blocks.iter().position(place).unwrap_or(0);
            let behind = sending.blocks.split_off(at);
            let here = behind
                .iter()
                .filter(|block| matches!(block, Block::Here(_)));
            for _ in 0..here.count() {
                self.free_block();
            }
        }
        self.line_up(conn);
    }
}

/// Appends a piece: one that is long is sent from where it is.
fn put_piece(state: &mut Conn, header: [u8; Piece::HEADER_BYTES], piece: Bytes) {
    if piece.len() < LONG_BYTES_MIN {
        return put(&mut state.out, Kind::Blob, |out| {
            out.extend_from_slice(&header);
            out.extend_from_slice(&piece);
        });
    }
    let mark = begin_frame(&mut state.out, Kind::Blob);
    let payload_at = state.out.len();
    state.out.extend_from_slice(&header);
    let gap = Gap {
        at: header.len(),
        bytes: piece.len(),
    };
    let (out, pieces) = (&mut state.out, &mut state.pieces);
    pieces.finish_frame(out, mark, payload_at, &[gap], &mut vec![piece]);
}
