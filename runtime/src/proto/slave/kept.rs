//! A slave outlasts its master: what it has in hand it computes on, what it has finished it keeps, and the next life of its
//! run gets it.
//!
//! ```text
//!   serves ──master lost, or leaves unfinished──► apart: computes, keeps ──the run's next life welcomes it──► serves
//!                                                  └── patience is over, the run is finished, another run ──► over
//! ```
//!
//! A new life knows no task by its former number. So each result is kept with what a journal knows its task by, and goes to
//! the next life in frames of their own ([`Kept`]); so does, when it ends, what is still in hand of a former life. Offers
//! are kept in one line with the results: none may come to the master before the offers that it came of.
//!
//! What was sent in the last seconds is kept too: the master's host may have had it, and the master not.

use std::collections::VecDeque;

use ringmw_codec::control::{Bests, Offer};
use ringmw_codec::frame::Kind;
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_sched::Nanos;

use super::SlaveCore;
use super::leave::{Leaving, SlaveEnd};
use super::packet::{Announcement, Assignment, Running};
use crate::proto::SECOND;
use crate::proto::config::HashArgs;
use crate::proto::incumbents::{Keys, improve};

/// With so many bytes kept a slave without a master begins no more tasks: 64 MiB, or one result if that is larger.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What was sent is kept for so long: a master that is alive has recorded it by then.
const SENT_KEPT_FOR: Nanos = 2 * SECOND;

/// Of what was sent no more than so many bytes are kept.
const SENT_BYTES_MAX: usize = 8 << 20;

/// What a journal knows a task by, beside its algorithm.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskKey {
    domain: u64,
    stream: u64,
    args: u128,
}

struct Item {
    /// Where it ends in all that was said on this connection; none: it is not said.
    end: Option<u64>,
    at: Nanos,
    what: What,
}

enum What {
    Result {
        algorithm: u16,
        failed: bool,
        key: TaskKey,
        compute: Nanos,
        output: Box<[u8]>,
    },
    Offer {
        best: u32,
        key: u64,
        witness: Box<[u8]>,
    },
}

impl Item {
    fn bytes(&self) -> usize {
        let body = match &self.what {
            What::Result { output, .. } => output.len(),
            What::Offer { witness, .. } => witness.len(),
        };
        body + size_of::<Item>()
    }

    /// Whether nobody waits for its key any more: a result has none.
    fn is_told(&self, told: &Keys) -> bool {
        match self.what {
            What::Result { .. } => true,
            What::Offer { best, key, .. } => told.get(&best).is_some_and(|told| *told <= key),
        }
    }
}

/// What is kept.
#[derive(Default)]
pub(super) struct Keeper {
    /// By algorithm; empty where the slave never comes back.
    hashes: Vec<HashArgs>,
    /// How long it looks for its run, where that was given to it.
    given: Option<Nanos>,
    log: VecDeque<Item>,
    bytes: usize,
    /// Offers that came before all of it, of each place the best, which the master has not told: it may not have recorded
    /// them yet.
    untold: Vec<Item>,
    /// The best keys that former lives have told: what is kept may have come of them.
    came_of: Keys,
    /// Why it has no master, while it has none.
    apart: Option<SlaveEnd>,
    /// The refusal that ended it passes: another try may end otherwise.
    pub(super) refused_for_now: bool,
}

impl Keeper {
    fn push(&mut self, end: Option<u64>, at: Nanos, what: What) {
        let item = Item { end, at, what };
        self.bytes += item.bytes();
        self.log.push_back(item);
    }

    /// Of a place no more than one offer is kept between two results, or between two that were said.
    fn forget_worse(&mut self, best: u32, key: u64) {
        let last = self
            .log
            .iter()
            .rev()
            .take_while(|item| item.end.is_none() && matches!(item.what, What::Offer { .. }));
        let first = self.log.len() - last.count();
        let worse = |item: &Item| match item.what {
            What::Offer {
                best: of, key: was, ..
            } => of == best && was >= key,
            What::Result { .. } => false,
        };
        if let Some(at) = (first..self.log.len()).find(|&at| worse(&self.log[at]))
            && let Some(item) = self.log.remove(at)
        {
            self.bytes -= item.bytes();
        }
    }

    /// An offer is no older than the result that came behind it: the result does not count without it. It is kept until the
    /// master has `told` its key or a better one: what others leave out for it then lies on disk with its witness.
    fn trim(&mut self, written: u64, now: Nanos, told: &Keys) {
        self.untold.retain(|item| !item.is_told(told));
        let is_result = |item: &&Item| matches!(item.what, What::Result { .. });
        while let Some(front) = self.log.front()
            && let Some(result) = self.log.iter().find(is_result)
            && front.end.is_some_and(|end| end <= written)
            && (now >= result.at + SENT_KEPT_FOR || self.bytes > SENT_BYTES_MAX)
        {
            self.bytes -= front.bytes();
            let item = self.log.pop_front().expect("just seen");
            if !item.is_told(told) {
                self.hold(item);
            }
        }
    }

    fn hold(&mut self, item: Item) {
        let place = |item: &Item| match item.what {
            What::Offer { best, key, .. } => Some((best, key)),
            What::Result { .. } => None,
        };
        let Some((best, key)) = place(&item) else {
            return;
        };
        let is_no_better =
            |other: &Item| place(other).is_some_and(|(place, other)| place == best && other >= key);
        self.untold.retain(|other| !is_no_better(other));
        self.untold.push(item);
    }

    /// What was held back is before all others again.
    fn take_up_untold(&mut self) {
        for item in std::mem::take(&mut self.untold) {
            self.bytes += item.bytes();
            self.log.push_front(item);
        }
    }
}

impl SlaveCore {
    /// Should its master be lost, somebody looks for the run's next life: for so long, or as long as the master says. The
    /// hashes are the algorithms', by their numbers.
    pub(crate) fn may_come_back(&mut self, hashes: Vec<HashArgs>, patience: Option<Nanos>) {
        self.keeper.hashes = hashes;
        self.keeper.given = patience;
    }

    /// How long it looks for its run's next life; nothing where it does not.
    pub fn patience(&self) -> Nanos {
        match (&self.welcome, self.keeper.hashes.is_empty()) {
            (Some(welcome), false) => {
                let told = welcome.reconnect_ms.saturating_mul(1_000_000);
                self.keeper.given.unwrap_or(told)
            }
            _ => 0,
        }
    }

    /// Whether it has no master, and looks for the next life of its run.
    pub fn is_apart(&self) -> bool {
        self.keeper.apart.is_some()
    }

    /// Whether the refusal that ended it is one that passes.
    pub(crate) fn may_try_again(&self) -> bool {
        self.keeper.refused_for_now
    }

    /// It has ended so, unless it goes on without its master: whether it does.
    pub(super) fn goes_apart(&mut self, end: &SlaveEnd) -> bool {
        let is_loss = matches!(
            end,
            SlaveEnd::MasterLost(_) | SlaveEnd::Shutdown { finished: false }
        );
        if !is_loss || self.end.is_some() || self.leaving.is_some() || self.is_evicted() {
            return false;
        }
        if self.is_apart() {
            return true;
        }
        if self.patience() == 0 {
            return false;
        }
        self.sum_up(self.last_sent, true);
        self.say_lost(end);
        self.keeper.apart = Some(end.clone());
        self.keeper.take_up_untold();
        let told = self.told.iter().map(|(&best, &image)| (best, image));
        improve(&mut self.keeper.came_of, told);
        for item in &mut self.keeper.log {
            item.end = None;
        }
        self.cut_off();
        // Nobody hears that a marked one begins, and what is not here of shared data does not come.
        let shelf = &self.shelf;
        (self.tasks)
            .retain(|queued| !queued.marked && queued.mentions.iter().all(|blob| shelf.has(blob)));
        self.tasks
            .iter_mut()
            .for_each(|queued| queued.former = true);
        self.queued = self.tasks.iter().map(|queued| queued.left.len()).sum();
        if let Some(running) = &mut self.running {
            running.former = true;
        }
        true
    }

    /// What was to be said is not, and what was coming does not come.
    fn cut_off(&mut self) {
        self.reader = Default::default();
        self.secured = None;
        self.out.clear();
        self.results.clear();
        self.oldest_result = None;
        (self.handed, self.written) = (0, 0);
        self.unsent.clear();
        self.announcement = Announcement::None;
        self.checkpoints = Default::default();
        self.shelf.cut_off();
    }

    /// Its search is over: so it ends.
    pub(crate) fn give_up_return(&mut self, end: Option<SlaveEnd>) {
        if let Some(why) = self.keeper.apart.take() {
            self.keeper.hashes.clear();
            self.tasks.clear();
            self.queued = 0;
            match end {
                Some(end) => self.finish_with(end),
                // The trail has its line.
                None => self.end = Some(why),
            }
        }
    }

    /// It leaves while it has no master: there is nobody to say goodbye to.
    pub(super) fn leave_apart(&mut self, reason: &str) {
        self.keeper.apart = None;
        let results = self.keeper.log.iter();
        let results = results
            .filter(|item| matches!(item.what, What::Result { .. }))
            .count();
        let reason = match results {
            0 => reason.to_owned(),
            _ => format!("{reason}; results not sent: {results}, since its master is lost"),
        };
        self.finish_with(SlaveEnd::Left(reason));
        self.leaving = Some(Leaving::over());
    }

    /// Run, seed and arguments, which each life of a run shares.
    pub(crate) fn run(&self) -> Option<(u128, u64, &[String])> {
        let welcome = self.welcome.as_ref()?;
        Some((welcome.run, welcome.seed, &welcome.args))
    }

    /// It is the slave that `former` was, welcomed by the next life of its run.
    pub(crate) fn go_on(&mut self, former: &mut SlaveCore, now: Nanos) {
        // Tasks of this life may have come with its welcome.
        let mut tasks = std::mem::take(&mut former.tasks);
        for mut queued in self.tasks.drain(..) {
            queued.packet += former.packets;
            tasks.push_back(queued);
        }
        self.tasks = tasks;
        self.queued += std::mem::take(&mut former.queued);
        self.running = former.running.take();
        self.running_cancelled = former.running_cancelled;
        self.is_abandoned = former.is_abandoned;
        self.mean_compute = former.mean_compute;
        self.packets += former.packets;
        self.packet_tasks = self.packet_tasks.max(former.packet_tasks);
        self.completed = former.completed;
        self.shelf.go_on(&mut former.shelf);
        self.take_over_logs(former);
        self.bounds = former.bounds;
        self.started = former.started;
        self.busy_at = now;
        self.keeper = std::mem::take(&mut former.keeper);
        self.keeper.apart = None;
        self.forget_former_keys();
        self.say_came_of();
        self.say_kept(now);
    }

    /// The keys that former lives have told: this one takes what came of them only if it knows them, too.
    fn say_came_of(&mut self) {
        let entries: Vec<(u32, u64)> = self.keeper.came_of.clone().into_iter().collect();
        let entries_max = self.result_bytes_max().saturating_sub(4) / Bests::ENTRY_BYTES;
        for entries in entries.chunks(entries_max.max(1)) {
            let entries = entries.to_vec();
            self.out
                .put(Kind::CameOf, |out| Bests { entries }.encode(out));
        }
    }

    /// All that is kept, in its order.
    fn say_kept(&mut self, now: Nanos) {
        let bytes_max = self.result_bytes_max();
        let log = std::mem::take(&mut self.keeper.log);
        let mut said = VecDeque::with_capacity(log.len());
        let mut packet = Vec::new();
        let mut bytes = Kept::HEADER_BYTES;
        for mut item in log {
            let more = match &item.what {
                What::Offer { .. } => usize::MAX / 2,
                What::Result { output, .. } => KeptResult::HEADER_BYTES + output.len(),
            };
            if bytes + more > bytes_max {
                self.put_kept(&mut packet, &mut said);
                bytes = Kept::HEADER_BYTES;
            }
            item.at = now;
            match &item.what {
                What::Offer { best, key, witness } => {
                    if witness.len() + Offer::HEADER_BYTES <= bytes_max {
                        let (best, key) = (*best, *key);
                        self.out.put(Kind::Offer, |out| {
                            Offer { best, key, witness }.encode(out);
                        });
                    }
                    item.end = Some(self.said_bytes());
                    said.push_back(item);
                }
                // This life reads no packet that holds it.
                What::Result { .. } if bytes + more > bytes_max => {
                    self.keeper.bytes -= item.bytes();
                }
                What::Result { .. } => {
                    bytes += more;
                    packet.push(item);
                }
            }
        }
        self.put_kept(&mut packet, &mut said);
        self.keeper.log = said;
    }

    fn put_kept(&mut self, packet: &mut Vec<Item>, said: &mut VecDeque<Item>) {
        if packet.is_empty() {
            return;
        }
        let results = packet.iter().filter_map(|item| match &item.what {
            What::Offer { .. } => None,
            What::Result {
                algorithm,
                failed,
                key,
                compute,
                output,
            } => Some(KeptResult {
                algorithm: *algorithm,
                failed: *failed,
                domain: key.domain,
                stream: key.stream,
                args: key.args,
                compute_ns: *compute,
                output,
            }),
        });
        let kept = Kept {
            results: results.collect(),
        };
        self.out.put(Kind::Kept, |out| kept.encode(out));
        let end = self.said_bytes();
        self.unsent.push_back((end, packet.len()));
        for mut item in packet.drain(..) {
            item.end = Some(end);
            said.push_back(item);
        }
    }

    /// Whether what it has kept is as much as it may keep without a master.
    pub(super) fn has_kept_all(&self) -> bool {
        self.is_apart() && self.keeper.bytes >= KEPT_BYTES_MAX
    }

    /// By what the next life knows a task, where there may be one.
    pub(super) fn key_of(&self, assignment: &Assignment) -> Option<TaskKey> {
        if self.patience() == 0 {
            return None;
        }
        let hash = self.keeper.hashes.get(usize::from(assignment.algorithm))?;
        let body = assignment.body().ok()?;
        Some(TaskKey {
            domain: body.domain,
            stream: body.stream,
            args: hash(body.args),
        })
    }

    /// A task has ended: kept, if it may have to be said again; and said, if its number is a former life's.
    pub(super) fn keep(
        &mut self,
        running: &Running,
        outcome: Result<&[u8], &str>,
        compute: Nanos,
        now: Nanos,
    ) {
        if let Some(key) = running.key {
            let (failed, output) = match outcome {
                Ok(output) => (false, output),
                Err(text) => (true, text.as_bytes()),
            };
            self.keeper.trim(self.written, now, &self.told);
            let what = What::Result {
                algorithm: running.algorithm,
                failed,
                key,
                compute,
                output: output.into(),
            };
            self.keeper.push(None, now, what);
            let bytes = Kept::HEADER_BYTES + KeptResult::HEADER_BYTES + output.len();
            if running.former && !self.is_apart() && bytes <= self.result_bytes_max() {
                self.flush_results();
                let item = self.keeper.log.pop_back().expect("just put there");
                let mut said = VecDeque::new();
                self.put_kept(&mut vec![item], &mut said);
                self.keeper.log.append(&mut said);
            }
        }
    }

    /// What was finished so far is said.
    pub(super) fn mark_said(&mut self) {
        let end = self.said_bytes();
        let unsaid = self.keeper.log.iter_mut().rev();
        for item in unsaid.take_while(|item| item.end.is_none()) {
            item.end = Some(end);
        }
    }

    /// Offers that waited have been given to be written.
    pub(super) fn mark_offers_said(&mut self) {
        let end = self.handed;
        let log = &mut self.keeper.log;
        let unsaid = log.iter().rev().take_while(|item| item.end.is_none());
        let first = log.len() - unsaid.count();
        let offers = log.iter_mut().skip(first);
        // Results behind them wait for others to travel with.
        for item in offers.take_while(|item| matches!(item.what, What::Offer { .. })) {
            item.end = Some(end);
        }
    }

    /// An offer is made: kept, if it may have to be said again, in the place of one that is not said, is no better, and no
    /// result has followed. Whether it is not to be said now.
    pub(super) fn keep_offer(&mut self, best: u32, key: u64, witness: &[u8]) -> bool {
        if self.patience() > 0 {
            self.keeper.forget_worse(best, key);
            let what = What::Offer {
                best,
                key,
                witness: witness.into(),
            };
            // It is no older than the result that follows it.
            let at = self
                .keeper
                .log
                .back()
                .map_or(self.last_sent, |item| item.at);
            self.keeper.push(None, at, what);
        }
        self.is_apart()
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::ResultBatchView;
    use ringmw_codec::control::{Bests, Offer, Recall, Shutdown, Withdraw};
    use ringmw_codec::frame::Kind;
    use ringmw_codec::handshake::Welcome;
    use ringmw_codec::journal::hash_args;
    use ringmw_codec::kept::Kept;

    use super::{KEPT_BYTES_MAX, SENT_KEPT_FOR};
    use crate::proto::slave::for_tests::{hear, run, said, tasks, unwelcomed};
    use crate::proto::slave::{Assignment, Next, SlaveCore, SlaveEnd};

    fn core(patience: Option<u64>) -> SlaveCore {
        let mut core = unwelcomed();
        if patience != Some(0) {
            core.may_come_back(vec![hash_args as fn(&[u8]) -> u128], patience);
        }
        core
    }

    fn welcome(core: &mut SlaveCore, slave: u32, reconnect_ms: u64) {
        let welcome = Welcome {
            slave,
            run: 7,
            life: slave,
            reconnect_ms,
            ..Welcome::for_test()
        };
        hear(core, Kind::Welcome, |out| welcome.encode(out));
    }

    fn begin(core: &mut SlaveCore) -> Option<u64> {
        match core.next_task(0) {
            Next::Run(assignment) => Some(assignment.task),
            _ => None,
        }
    }

    /// The streams of what was kept, in their order; 0 for an offer.
    fn kept(frames: &[(Kind, Vec<u8>)]) -> Vec<u64> {
        let mut streams = Vec::new();
        for (kind, payload) in frames {
            match kind {
                Kind::Kept => {
                    let kept = Kept::decode(payload).expect("our own");
                    for result in &kept.results {
                        let args = (result.stream - 100).to_le_bytes();
                        assert_eq!((result.domain, result.args), (1, hash_args(&args)));
                        streams.push(result.stream);
                    }
                }
                Kind::Offer => {
                    Offer::decode(payload).expect("our own");
                    streams.push(0);
                }
                _ => {}
            }
        }
        streams
    }

    fn served(reconnect_ms: u64, patience: Option<u64>) -> SlaveCore {
        let mut core = core(patience);
        welcome(&mut core, 3, reconnect_ms);
        said(&mut core, 0);
        core
    }

    fn back(former: &mut SlaveCore, now: u64) -> SlaveCore {
        let mut next = core(None);
        welcome(&mut next, 4, 300_000);
        said(&mut next, now);
        next.go_on(former, now);
        next
    }

    /// A slave that was at the tasks 0 and 1 and has come back to a life of its run whose tasks came with its welcome.
    fn back_with(numbers: impl IntoIterator<Item = u64>) -> SlaveCore {
        let mut former = served(300_000, None);
        tasks(&mut former, 0..2);
        former.on_closed("gone");
        let mut next = core(None);
        welcome(&mut next, 4, 300_000);
        tasks(&mut next, numbers);
        next.go_on(&mut former, 1);
        next
    }

    #[test]
    fn whether_it_looks_is_the_flags_word_then_the_masters() {
        let mut plain = served(0, None);
        plain.on_closed("gone");
        assert!(matches!(plain.end(), Some(SlaveEnd::MasterLost(_))));
        let mut told = served(300_000, Some(0));
        told.on_closed("gone");
        assert!(told.end().is_some());
        let mut asked = served(0, Some(9));
        asked.on_closed("gone");
        assert!(asked.is_apart() && asked.end().is_none() && !asked.is_cancelled());
        asked.give_up_return(None);
        assert_eq!(asked.end(), Some(&SlaveEnd::MasterLost("gone".into())));
        let mut finished = served(300_000, None);
        hear(&mut finished, Kind::Shutdown, |out| {
            Shutdown { finished: true }.encode(out)
        });
        assert_eq!(finished.end(), Some(&SlaveEnd::Shutdown { finished: true }));
        let mut unfinished = served(300_000, None);
        hear(&mut unfinished, Kind::Shutdown, |out| {
            Shutdown { finished: false }.encode(out)
        });
        assert!(unfinished.is_apart());
        unfinished.give_up_return(Some(SlaveEnd::Shutdown { finished: true }));
        assert_eq!(unfinished.end().map(SlaveEnd::exit_code), Some(0));
    }

    #[test]
    fn what_is_in_hand_is_computed_and_kept_in_its_order() {
        let mut core = served(300_000, None);
        tasks(&mut core, 0..6);
        assert_eq!(run(&mut core, b"a", 0), Some(0));
        assert_eq!(begin(&mut core), Some(1));
        core.on_closed("gone");
        assert!(!core.has_output());
        core.offer(2, 5, b"w").expect("small");
        core.finish(0, Ok(&mut b"b"[..].into()), 5, 1);
        assert_eq!(run(&mut core, b"c", 2), Some(2));
        assert!(!core.has_output(), "there is nobody to tell");
        let mut next = back(&mut core, 10);
        assert_eq!(kept(&said(&mut next, 10)), [100, 0, 101, 102]);
        // What is still in hand is computed on, and said as it ends, before what this life hands out.
        tasks(&mut next, [3, 9]);
        for (task, stream) in [(3, 103), (4, 104), (5, 105)] {
            assert_eq!(run(&mut next, b"d", 20), Some(task));
            assert_eq!(kept(&said(&mut next, 20)), [stream]);
        }
        assert_eq!(run(&mut next, b"e", 30), Some(3));
        let frames = said(&mut next, 30);
        let [(Kind::Results, payload)] = &frames[..] else {
            panic!("a result as any other: {frames:?}");
        };
        assert_eq!(ResultBatchView::decode(payload).expect("ours").tasks(), 1);
    }

    /// A number of this life is none of a former one's.
    #[test]
    fn former_tasks_are_not_withdrawn_or_recalled() {
        let mut core = served(300_000, None);
        tasks(&mut core, 0..4);
        assert_eq!(begin(&mut core), Some(0));
        core.on_closed("gone");
        let mut next = back(&mut core, 1);
        said(&mut next, 1);
        hear(&mut next, Kind::Withdraw, |out| {
            Withdraw { tasks: vec![0, 1] }.encode(out)
        });
        assert!(!next.is_cancelled());
        hear(&mut next, Kind::Recall, |out| {
            Recall { tasks: 10 }.encode(out)
        });
        assert_eq!(next.queued(), 3);
    }

    #[test]
    fn tasks_that_come_with_the_welcome_stay() {
        let mut next = back_with([7]);
        let all: Vec<_> = std::iter::from_fn(|| run(&mut next, b"x", 1)).collect();
        assert_eq!(all, [0, 1, 7]);
    }

    #[test]
    fn a_task_is_of_the_life_that_handed_it_out() {
        let mut next = back_with([0]);
        let mut names = Vec::new();
        while let Next::Run(Assignment { task, life, .. }) = next.next_task(1) {
            names.push((task, life));
            next.finish(0, Ok(&mut b"x"[..].into()), 5, 1);
        }
        assert_eq!(names, [(0, 3), (1, 3), (0, 4)]);
    }

    /// The next life hears first of the keys that a former one told: of them all, the best of each place.
    #[test]
    fn what_a_life_told_is_said_to_the_next_ones() {
        let keys = |core: &mut SlaveCore, entries: &[(u32, u64)]| {
            let entries = entries.to_vec();
            hear(core, Kind::Bests, |out| Bests { entries }.encode(out));
        };
        let came_of = |frames: &[(Kind, Vec<u8>)]| match frames {
            [(Kind::CameOf, payload), ..] => Bests::decode(payload).expect("our own").entries,
            _ => Vec::new(),
        };
        let mut first = served(300_000, None);
        keys(&mut first, &[(0, 9), (2, 5)]);
        keys(&mut first, &[(0, 7)]);
        tasks(&mut first, 0..2);
        assert_eq!(run(&mut first, b"a", 0), Some(0));
        first.on_closed("gone");
        let mut second = back(&mut first, 1);
        let frames = said(&mut second, 1);
        assert_eq!(came_of(&frames), [(0, 7), (2, 5)]);
        assert_eq!(kept(&frames), [100]);
        keys(&mut second, &[(0, 8), (2, 4), (3, 3)]);
        second.on_closed("gone again");
        let mut third = back(&mut second, 2);
        assert_eq!(came_of(&said(&mut third, 2)), [(0, 7), (2, 4), (3, 3)]);
    }

    /// What the master may not have had is said again, and again to the life after; what is older is not kept.
    #[test]
    fn what_was_sent_lately_is_kept_too() {
        let mut core = served(300_000, None);
        tasks(&mut core, 0..3);
        run(&mut core, b"a", 0);
        said(&mut core, 0);
        run(&mut core, b"b", SENT_KEPT_FOR);
        said(&mut core, SENT_KEPT_FOR);
        run(&mut core, b"c", SENT_KEPT_FOR + 1);
        core.on_closed("gone");
        let mut next = back(&mut core, SENT_KEPT_FOR + 2);
        assert_eq!(kept(&said(&mut next, SENT_KEPT_FOR + 2)), [101, 102]);
        next.on_closed("gone again");
        let mut last = back(&mut next, SENT_KEPT_FOR + 3);
        assert_eq!(kept(&said(&mut last, SENT_KEPT_FOR + 3)), [101, 102]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut core = served(300_000, None);
        tasks(&mut core, 0..60);
        core.on_closed("gone");
        let output = vec![7; 4_000];
        let mut computed = 0;
        while run(&mut core, &output, 1).is_some() {
            computed += 1;
        }
        assert_eq!(computed, 60, "they are far from {KEPT_BYTES_MAX} bytes");
        core.keeper.bytes = KEPT_BYTES_MAX;
        assert!(core.has_kept_all() && core.is_held_back());
        core.evict("told to go", 5);
        let end = core.end().expect("nobody is to be waited for").to_string();
        assert!(end.contains("results not sent: 60"), "{end}");
        assert!(core.is_gone());
    }
}
