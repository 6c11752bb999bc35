//! What of a run outlasts its master: results, incumbents and begun tasks are laid as the journal's payloads, in the order
//! in which they may be believed.
//!
//! ```text
//!   offer accepted ─► payload ─► on disk ─► told to slaves ─► results that came of it        an offer first there too
//!   no-retry task handed out ─► payload ─► on disk ─► its packet leaves
//! ```
//!
//! Nothing is written here: the driver takes the payloads at the end of a turn ([`MasterCore::take_payloads`]) and says
//! when a barrier has been passed ([`MasterCore::on_recorded`]). Without a journal there is none of this.

use std::collections::VecDeque;

use ringmw_codec::journal::{
    BegunEntry, Offered, begin_results, put_begun, put_failure, put_offer, put_result,
};
use ringmw_sched::{AlgorithmId, Nanos};

use super::MasterCore;
use super::conn::Conn;
use crate::proto::conn::ConnId;
use crate::proto::incumbents::Incumbents;
use crate::proto::known::KnownBest;
use crate::proto::series::Body;

/// Lays payloads.
#[derive(Default)]
pub(super) struct Recorder {
    out: Vec<u8>,
    /// Failed results are recorded too.
    failures: bool,
    /// How many offers were recorded.
    offers: u64,
    /// Those that may be told when the barrier behind them has been passed: that, the place and the key.
    untold: VecDeque<(u64, u32, u64)>,
    /// Of the packet that is being made: tasks that are begun at most once.
    begun: Vec<BegunEntry>,
    /// The barrier that was put last, and the last one that is known to be on disk.
    barrier: u64,
    recorded: u64,
    /// One was put since the payloads were taken.
    asks: bool,
    /// Connections that wait for a barrier.
    waiting: Vec<ConnId>,
}

impl Recorder {
    /// Puts the offers that were accepted since.
    #[inline]
    fn put_offers(&mut self, bests: &Incumbents) {
        if bests.has_improved() {
            self.put_new_offers(bests);
        }
    }

    #[cold]
    fn put_new_offers(&mut self, bests: &Incumbents) {
        self.barrier += 1;
        self.asks = true;
        for improved in bests.take_improved() {
            self.offers += 1;
            let offer = Offered {
                best: improved.best,
                number: self.offers,
                types: improved.types,
                image: improved.image,
                witness: &improved.witness,
            };
            put_offer(&mut self.out, &offer);
            self.untold
                .push_back((self.barrier, improved.best, improved.image));
        }
    }

    /// Puts results of tasks of one series.
    #[inline]
    pub(super) fn put_results<'a>(
        &mut self,
        bests: &Incumbents,
        algorithm: AlgorithmId,
        hash_args: fn(&[u8]) -> u128,
        body: &Body,
        mut results: impl Iterator<Item = (Nanos, &'a [u8])> + Clone,
    ) {
        self.put_offers(bests);
        let bytes = results.clone().map(|(_, output)| output.len()).sum();
        let (offers, out) = (self.offers, &mut self.out);
        let mut table = 0;
        body.each_args(|index, tasks, stream, args| {
            if index == 0 {
                table = begin_results(out, algorithm.0, tasks, offers, stream, bytes);
            }
            let (compute, output) = results.next().expect("each task has its result");
            put_result(out, table, index, hash_args(args), compute, output);
        });
    }

    /// Puts a failed result, if those are recorded.
    pub(super) fn put_failure(
        &mut self,
        bests: &Incumbents,
        algorithm: AlgorithmId,
        hash_args: fn(&[u8]) -> u128,
        body: &Body,
        compute: Nanos,
        message: &str,
    ) {
        if self.failures {
            self.put_offers(bests);
            let (offers, out) = (self.offers, &mut self.out);
            body.each_args(|index, tasks, stream, args| {
                debug_assert_eq!((index, tasks), (0, 1), "a failure is of one task");
                put_failure(
                    out,
                    algorithm.0,
                    offers,
                    stream,
                    hash_args(args),
                    compute,
                    message,
                );
            });
        }
    }

    /// A task that is begun at most once goes into the packet that is being made.
    #[cold]
    pub(super) fn on_once(
        &mut self,
        algorithm: AlgorithmId,
        hash_args: fn(&[u8]) -> u128,
        body: &Body,
    ) {
        body.each_args(|index, _, (domain, first), args| {
            self.begun.push(BegunEntry {
                algorithm: algorithm.0,
                domain,
                stream: first + u64::from(index),
                args: hash_args(args),
            });
        });
    }

    /// Tasks that are begun at most once are queued again, with their slave's word that it has not begun them: the next life
    /// may hand them out.
    #[cold]
    fn put_not_begun(&mut self, algorithm: AlgorithmId, hash_args: fn(&[u8]) -> u128, body: &Body) {
        let mut entries = Vec::new();
        body.each_args(|index, _, (domain, first), args| {
            entries.push(BegunEntry {
                algorithm: algorithm.0,
                domain,
                stream: first + u64::from(index),
                args: hash_args(args),
            });
        });
        put_begun(&mut self.out, true, &entries);
    }

    /// The packet is made and lies at the end of this connection's buffer, from `begin` on: it leaves behind what was
    /// recorded of it.
    #[inline]
    pub(super) fn on_packet(&mut self, state: &mut Conn, begin: usize) {
        if !self.begun.is_empty() {
            put_begun(&mut self.out, false, &self.begun);
            self.begun.clear();
            self.barrier += 1;
            self.asks = true;
            let held_from = state.barred.map_or(begin, |(_, from)| from);
            state.barred = Some((self.barrier, held_from));
            self.waiting.push(state.id);
        }
    }
}

impl MasterCore {
    /// From here on what the run comes to is recorded; failed results too, if that is asked for.
    pub(crate) fn record(&mut self, failures: bool) {
        self.bests.watch();
        self.recorder = Some(Box::new(Recorder {
            failures,
            ..Recorder::default()
        }));
    }

    /// What an earlier life had of incumbents is theirs who are made at their places, and recorded anew.
    pub(crate) fn restore_bests(&mut self, bests: impl IntoIterator<Item = (u32, KnownBest)>) {
        self.bests.restore(bests);
    }

    /// What is queued again and is begun at most once is recorded as not begun.
    pub(super) fn record_not_begun(&mut self) {
        while let Some((algorithm, body)) = self.sched.poll_not_begun() {
            if let Some(recorder) = &mut self.recorder {
                recorder.put_not_begun(algorithm, self.config.info(algorithm).hash_args, body);
            }
        }
    }

    /// The payloads since they were taken last are put into `out`, which is empty; and the barrier that waits for them.
    pub(crate) fn take_payloads(&mut self, out: &mut Vec<u8>) -> Option<u64> {
        let recorder = self.recorder.as_mut()?;
        recorder.put_offers(&self.bests);
        std::mem::swap(&mut recorder.out, out);
        std::mem::take(&mut recorder.asks).then_some(recorder.barrier)
    }

    /// All payloads up to this barrier are on disk: packets that waited for them leave, and keys may be told.
    pub(crate) fn on_recorded(&mut self, barrier: u64) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        recorder.recorded = recorder.recorded.max(barrier);
        while let Some((barrier, best, image)) = recorder.untold.pop_front() {
            if barrier > recorder.recorded {
                recorder.untold.push_front((barrier, best, image));
                break;
            }
            self.bests.tell(best, image);
        }
        let (recorded, waiting) = (recorder.recorded, std::mem::take(&mut recorder.waiting));
        let mut still = Vec::new();
        for conn in waiting {
            let Some(state) = self.conn_mut(conn) else {
                continue;
            };
            match state.barred {
                Some((barrier, _)) if barrier <= recorded => {
                    state.barred = None;
                    self.mark_dirty(conn);
                }
                Some(_) => still.push(conn),
                None => {}
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.waiting = still;
        }
    }

    /// The run ends: what has not left for want of a record does not leave any more.
    pub(super) fn unbar(&mut self, slot: usize) {
        if let Some(Some(state)) = self.conns.get_mut(slot)
            && let Some((_, from)) = state.barred.take()
        {
            let conn = state.id;
            let kept = from + state.pieces.bytes_before(from);
            let gone = (state.out_bytes() - kept) as u64;
            state.out.truncate(from);
            state.pieces.truncate(from);
            let accounted = state.unsent.in_out.saturating_sub(kept) as u64;
            debug_assert_eq!(
                gone, accounted,
                "what is put into a buffer is accounted for"
            );
            state.unsent.in_out = state.unsent.in_out.min(kept);
            state.unsent.bytes -= accounted;
            self.unsent.bytes -= accounted;
            self.mark_dirty(conn);
        }
    }
}
