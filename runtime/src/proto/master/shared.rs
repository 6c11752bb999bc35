//! Shared data on its way to slaves: what they want, piece by piece, behind everything else.
//!
//! ```text
//!   handles, tasks        known           wants            line               pieces
//!   keep it alive   ->  by name  <-  a slave's, one  ->  whose turn it is  ->  one at a time
//! ```
//!
//! In a turn pieces come last, so many at most, and to a slave none while a quarter of what may be unread is: a
//! packet of tasks or a word never waits behind more than that, and what the slave has asked for.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Weak};

use ringmw_codec::audit::Event;
use ringmw_codec::frame::Kind;
use ringmw_codec::shared::{Blob as Piece, BlobName, BlobRef, Want};
use ringmw_sched::{Cancelled, Reason, TaskId, Unrunnable};

use super::MasterCore;
use super::conn::{Conn, Phase, Stop, offence};
use crate::proto::blob::{Blob, Named, PIECE_BYTES_MAX, Source};
use crate::proto::conn::ConnId;
use crate::proto::end::End;
use crate::proto::put;
use crate::proto::reason::InWords;

/// Pieces of one turn, to all slaves: a megabyte, which takes a fraction of a millisecond.
const PIECES_PER_TURN: usize = 16;

/// With this part of what may be unread a slave gets no piece, and a piece is no larger than that part of it.
const UNSENT_PART: u64 = 4;
const PIECE_PART: u64 = 16;

/// What is read of files at a time, and how many such blocks are kept: the memory that files cost.
const BLOCK_BYTES: u64 = 1 << 20;
const BLOCKS_MAX: usize = 16;

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
pub(super) struct Sending {
    blob: Arc<Blob>,
    at: u64,
    to: u64,
    block: Block,
    /// It is in the line.
    in_line: bool,
}

/// A part of a file.
enum Block {
    None,
    Asked,
    Here { from: u64, bytes: Vec<u8> },
}

/// A part of a file that the core wants read.
#[derive(Debug)]
pub(crate) struct Load {
    conn: ConnId,
    pub(crate) blob: Arc<Blob>,
    pub(crate) from: u64,
    pub(crate) bytes: usize,
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
        blob
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
    pub(crate) fn hold(&mut self, first: TaskId, tasks: u32, named: Option<Named>) {
        let named = named.filter(|named| {
            let is_there = |blob: &Arc<Blob>| self.known(blob.of.name).is_some();
            named.iter().all(is_there)
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
            let reason = Reason::SharedGone;
            self.forget_checkpoints(id.seq(), 1);
            self.forget_talks(id.seq(), 1);
            self.trail.on_unrunnable(id, InWords(reason));
            let payload = payload.alone();
            let end = Unrunnable {
                id,
                algorithm,
                owner,
                policy,
                payload,
                reason,
            };
            let end = End::Unrunnable(Box::new(end));
            self.trail.on_task_ended(&end);
            self.ends.push_back(end);
        }
        self.collect_withdrawals();
    }

    /// It cannot be read any more.
    fn lose_shared(&mut self, blob: &Arc<Blob>, reason: &str) {
        let known = self.shares.known.get_mut(&blob.of.name);
        let Some(known) = known.filter(|known| !known.is_gone) else {
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
        let Some(blob) = self.known(want.name) else {
            // Its task has ended meanwhile, and the slave hears so.
            return Ok(());
        };
        if want.to > blob.of.bytes {
            return Err(offence(format!(
                "it wants byte {} of shared data of {} bytes",
                want.to, blob.of.bytes
            )));
        }
        let Some(state) = self.conn_mut(conn) else {
            return Ok(());
        };
        match &mut state.sending {
            Some(sending) if Arc::ptr_eq(&sending.blob, &blob) && sending.to == want.from => {
                sending.to = want.to;
            }
            other => {
                let before = other.replace(Sending {
                    blob,
                    at: want.from,
                    to: want.to,
                    block: Block::None,
                    in_line: false,
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
        if let Some(Conn {
            phase: Phase::Slave { leaving: false, .. },
            sending: Some(sending),
            unsent,
            ..
        }) = self.conn_mut(conn)
            && !sending.in_line
            && sending.at < sending.to
            && unsent.bytes < unsent_max
            && !matches!(sending.block, Block::Asked)
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
        // One that was asked for comes still: its place is given back when it does.
        if let Some(Sending {
            block: Block::Here { .. },
            ..
        }) = sending
        {
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
        let mut left = PIECES_PER_TURN;
        while left > 0
            && let Some(conn) = self.shares.line.pop_front()
        {
            left -= 1;
            if let Some(state) = self.conn_mut(conn)
                && let Some(sending) = &mut state.sending
            {
                sending.in_line = false;
                self.send_piece(conn);
                self.line_up(conn);
            }
        }
    }

    fn send_piece(&mut self, conn: ConnId) {
        self.prepare_out(conn.slot());
        let state = self.conns[conn.slot()].as_mut().expect("just looked up");
        let Phase::Slave { id, .. } = state.phase else {
            return;
        };
        let Some(sending) = &mut state.sending else {
            return;
        };
        let Sending {
            blob,
            at,
            to,
            block,
            ..
        } = sending;
        let piece_max =
            (self.config.unsent_bytes_max / PIECE_PART).clamp(1, PIECE_BYTES_MAX as u64);
        let bytes = (*to - *at).min(piece_max) as usize;
        let piece = match (&blob.source, &*block) {
            (Source::Memory(data), _) => &data[*at as usize..][..bytes],
            (Source::File(_), Block::Here { from, bytes: here })
                if *at - from < here.len() as u64 =>
            {
                let rest = &here[(*at - from) as usize..];
                &rest[..bytes.min(rest.len())]
            }
            (Source::File(_), Block::Asked) => return,
            (Source::File(_), _) => return self.ask_block(conn),
        };
        let (name, from, sent) = (blob.of.name, *at, piece.len() as u64);
        put(&mut state.out, Kind::Blob, |out| {
            Piece::encode_header(name, from, out);
            out.extend_from_slice(piece);
        });
        *at += sent;
        let is_whole = *at == blob.of.bytes;
        let of = blob.of;
        let used_up = match block {
            Block::Here { from, bytes } => *at == *from + bytes.len() as u64,
            _ => false,
        };
        if used_up {
            *block = Block::None;
        }
        if is_whole {
            state.sending = None;
        }
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
        }
    }

    /// The next part of a file is wanted.
    fn ask_block(&mut self, conn: ConnId) {
        let has_room = self.shares.blocks < BLOCKS_MAX;
        let state = self.conns[conn.slot()].as_mut().expect("just looked up");
        let Some(sending) = &mut state.sending else {
            return;
        };
        let had_one = matches!(sending.block, Block::Here { .. });
        if !has_room && !had_one {
            // Not in the line: whoever gives a place back puts it there.
            sending.in_line = true;
            self.shares.starved.push_back(conn);
            return;
        }
        sending.block = Block::Asked;
        let blob = Arc::clone(&sending.blob);
        let from = sending.at;
        let bytes = (blob.of.bytes - from).min(BLOCK_BYTES) as usize;
        self.shares.blocks += usize::from(!had_one);
        self.shares.loads.push_back(Load {
            conn,
            blob,
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
    pub(crate) fn loaded(&mut self, load: Load, read: Result<Vec<u8>, String>) {
        let Load {
            conn, blob, from, ..
        } = load;
        let waits = |state: &Conn| {
            state.sending.as_ref().is_some_and(|sending| {
                Arc::ptr_eq(&sending.blob, &blob)
                    && sending.at == from
                    && matches!(sending.block, Block::Asked)
            })
        };
        match read {
            Ok(bytes) => {
                if let Some(state) = self.conn_mut(conn)
                    && waits(state)
                    && let Some(sending) = &mut state.sending
                {
                    sending.block = Block::Here { from, bytes };
                    self.line_up(conn);
                } else {
                    self.free_block();
                }
            }
            Err(reason) => {
                if let Some(state) = self.conn_mut(conn)
                    && waits(state)
                {
                    state.sending = None;
                }
                self.free_block();
                self.lose_shared(&blob, &reason);
            }
        }
    }
}
