//! Tasks whose result an earlier life of the run recorded, or a slave of it has kept: found where they are given, before
//! anybody is handed them; or, while slaves still come back, where the result comes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ringmw_codec::audit::Event;
use ringmw_codec::batch::TaskBody;
use ringmw_codec::journal::{hash_name, key};
use ringmw_sched::{AlgorithmId, Nanos, TaskId, TaskSpec};

use super::state::State;
use crate::proto::bytes::SmallBytes;
use crate::proto::config::{AlgorithmInfo, HashArgs};
use crate::proto::known::{Known, KnownBest, Outputs};
use crate::proto::master::known::Recorded;
use crate::proto::master::{CameOf, MasterCore, Returned};

/// What earlier lives left, and how it is read.
pub(crate) struct Earlier {
    known: Known,
    outputs: Box<dyn Outputs>,
    /// By algorithm: the hash of its name, and how its arguments are hashed.
    algorithms: Vec<(u64, HashArgs)>,
    scratch: Vec<u8>,
    said_unread: bool,
    said_away: bool,
    said_unfounded: bool,
    /// A task was given whose result another one has had.
    is_again: bool,
    said_again: bool,
    returns: Returns,
}

/// Live tasks that are found by what their slave of an earlier life brings: those that were given first are what it had in
/// hand. 48 MiB.
const LIVE_MAX: usize = 1 << 20;

/// Bytes that slaves have brought for tasks that are still to be given. What is beyond is computed again.
const STORED_BYTES_MAX: usize = 256 << 20;

/// What one of them takes beside its output.
const STORED_BYTES: usize = 128;

/// What slaves that come back have kept, and for which tasks.
#[derive(Default)]
struct Returns {
    /// Until then slaves may come back.
    until: Nanos,
    /// Results for tasks that are not given yet.
    stored: BTreeMap<u128, (Recorded, CameOf)>,
    bytes: usize,
    /// Tasks that were given while slaves may come back.
    live: BTreeMap<u128, TaskId>,
    /// Of those that are begun at most once: begun by an earlier life, and handed to nobody by this one.
    away: BTreeMap<u128, Vec<TaskId>>,
    /// Results that found no room.
    dropped: u64,
}

impl Returns {
    /// The result that was brought for the task of this key, and the keys that it came of. One that nobody may compute again
    /// stays for whoever asks next.
    fn take(&mut self, key: u128, stays: bool) -> Option<(Recorded, CameOf)> {
        if stays {
            return self.stored.get(&key).cloned();
        }
        let stored = self.stored.remove(&key)?;
        self.bytes -= stored.0.output.len() + STORED_BYTES;
        Some(stored)
    }
}

impl Earlier {
    pub(crate) fn new(known: Known, outputs: Box<dyn Outputs>, infos: &[AlgorithmInfo]) -> Self {
        let algorithm = |info: &AlgorithmInfo| (hash_name(info.name), info.hash_args);
        Earlier {
            known,
            outputs,
            algorithms: infos.iter().map(algorithm).collect(),
            scratch: Vec::new(),
            said_unread: false,
            said_away: false,
            said_unfounded: false,
            is_again: false,
            said_again: false,
            returns: Returns::default(),
        }
    }

    /// Until then slaves of earlier lives may come back, with what they have kept.
    pub(crate) fn expect_returns(&mut self, until: Nanos) {
        self.returns.until = until;
    }

    /// It has something to say of tasks.
    fn is_of_use(&self) -> bool {
        !self.known.is_empty() || self.returns.until > 0 || !self.returns.stored.is_empty()
    }

    /// The incumbents that they had.
    pub(crate) fn take_bests(&mut self) -> BTreeMap<u32, KnownBest> {
        self.known.take_bests()
    }

    #[inline]
    fn key(&self, algorithm: AlgorithmId, domain: u64, stream: u64, args: &[u8]) -> u128 {
        let (name, hash_args) = self.algorithms[usize::from(algorithm.0)];
        key(name, domain, stream, hash_args(args))
    }

    fn read(&mut self, key: u128) -> Option<Result<Recorded, ()>> {
        let (found, is_again) = self.known.take_for(key)?;
        self.is_again |= is_again;
        self.scratch.clear();
        let is_read = self.outputs.read_whole(found.place(), &mut self.scratch);
        let recorded = || Recorded {
            output: SmallBytes::copy_from_slice(&self.scratch),
            failed: found.is_failed(),
            compute: found.compute(),
        };
        Some(is_read.then(recorded).ok_or(()))
    }
}

impl State {
    /// From here on tasks that earlier lives have the results of end at once with them.
    pub(crate) fn go_on(&mut self, earlier: Earlier) {
        self.earlier = earlier.is_of_use().then(|| Box::new(earlier));
    }

    /// What slaves that came back have kept ends the tasks that it is of, or waits until they are given.
    pub(super) fn take_returned(&mut self) {
        let returned = self.core.take_returned();
        let Some(earlier) = &mut self.earlier else {
            return;
        };
        for Returned {
            algorithm,
            stream: (domain, stream),
            args,
            recorded,
            came_of,
        } in returned
        {
            let (name, _) = earlier.algorithms[usize::from(algorithm.0)];
            let key = key(name, domain, stream, args);
            if earlier.known.find(key).is_some() {
                continue;
            }
            let was_begun = earlier.known.was_begun(key);
            // A failed one counts as little as one of a journal does, but where nobody may try again.
            if recorded.failed && !was_begun && !earlier.known.takes_failures() {
                continue;
            }
            let returns = &mut earlier.returns;
            for id in returns.away.remove(&key).into_iter().flatten() {
                self.core.answer_returned(id, recorded.clone());
            }
            if let Some(&id) = returns.live.get(&key) {
                if let Some(best) = self.core.unknown_of(&came_of) {
                    say_unfounded(&mut earlier.said_unfounded, &mut self.core, best);
                } else {
                    returns.live.remove(&key);
                    self.core.answer_returned(id, recorded);
                }
                continue;
            }
            let bytes = recorded.output.len() + STORED_BYTES;
            if returns.bytes + bytes > STORED_BYTES_MAX {
                returns.dropped += 1;
                if returns.dropped == 1 {
                    let text = format!(
                        "slaves that came back have brought more than {STORED_BYTES_MAX} bytes of results whose tasks are not given yet; such tasks are computed again"
                    );
                    self.core.note(Event::Note { text });
                }
            } else if let Entry::Vacant(place) = returns.stored.entry(key) {
                place.insert((recorded, came_of));
                returns.bytes += bytes;
            }
        }
    }

    /// No slave of an earlier life comes any more once its time is over; whether that is now.
    pub(super) fn expire_returns(&mut self, now: Nanos) -> bool {
        if let Some(earlier) = &mut self.earlier
            && earlier.returns.until > 0
            && now >= earlier.returns.until
        {
            earlier.returns.until = 0;
            earlier.returns.live = BTreeMap::new();
            let away = std::mem::take(&mut earlier.returns.away);
            self.core.give_up_away(away.into_values().flatten());
            if !earlier.is_of_use() {
                self.earlier = None;
            }
            return true;
        }
        false
    }

    /// A task was given that nothing is known of: a slave of an earlier life may bring its result.
    #[inline]
    pub(super) fn note_live(&mut self, algorithm: AlgorithmId, body: &TaskBody<'_>, id: TaskId) {
        if let Some(earlier) = &mut self.earlier
            && earlier.returns.until > 0
            && earlier.returns.live.len() < LIVE_MAX
        {
            let key = earlier.key(algorithm, body.domain, body.stream, body.args);
            earlier.returns.live.insert(key, id);
        }
    }

    /// Whether a task may end at once for what an earlier life knows of it: it joins no series.
    #[inline(never)]
    pub(super) fn may_be_known(&self, algorithm: AlgorithmId, body: &TaskBody<'_>) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| {
            let key = earlier.key(algorithm, body.domain, body.stream, body.args);
            earlier.known.find(key).is_some()
                || earlier.known.was_begun(key)
                || earlier.returns.stored.contains_key(&key)
        })
    }

    /// Submits a task that ends at once, for what an earlier life knows of it; `None`: it is to be computed.
    #[inline]
    pub(super) fn push_known(&mut self, spec: TaskSpec, body: &TaskBody<'_>) -> Option<TaskId> {
        match self.earlier {
            Some(_) => self.push_found(spec, body),
            None => None,
        }
    }

    #[inline(never)]
    fn push_found(&mut self, spec: TaskSpec, body: &TaskBody<'_>) -> Option<TaskId> {
        let earlier = self.earlier.as_mut()?;
        let key = earlier.key(spec.algorithm, body.domain, body.stream, body.args);
        let was_begun = !spec.policy.retry && earlier.known.was_begun(key);
        let kept = earlier
            .returns
            .take(key, was_begun)
            .and_then(|(recorded, came_of)| {
                // One that nobody may compute again counts all the same.
                match self.core.unknown_of(&came_of).filter(|_| !was_begun) {
                    None => Some(recorded),
                    Some(best) => {
                        say_unfounded(&mut earlier.said_unfounded, &mut self.core, best);
                        None
                    }
                }
            });
        if let Some(recorded) = kept {
            self.expect(&spec, 1);
            let body = self.body(body).into();
            self.core.record_known(&spec, &body, &recorded);
            return Some(self.core.submit_known(spec, body, recorded));
        }
        if let Some(read) = earlier.read(key) {
            let recorded = read
                .ok()
                .filter(|recorded| self.core.is_output(&spec, recorded));
            if let Some(recorded) = recorded {
                self.say_again(spec.algorithm);
                self.expect(&spec, 1);
                let body = self.body(body);
                return Some(self.core.submit_known(spec, body.into(), recorded));
            }
            self.say_unread();
        }
        was_begun.then(|| self.push_begun(spec, body, key))
    }

    /// Says once that two tasks are one entry of the journal.
    fn say_again(&mut self, algorithm: AlgorithmId) {
        if let Some(earlier) = &mut self.earlier
            && earlier.is_again
            && !std::mem::replace(&mut earlier.said_again, true)
        {
            let name = self.core.info(algorithm).name;
            self.core.note(Event::Note {
                text: format!(
                    "tasks of {name} have the same stream and the same arguments as others before them: the journal has one result for both, and both end with it"
                ),
            });
        }
    }

    /// Submits a task that is begun at most once and was: it waits for its slave as long as slaves come back.
    fn push_begun(&mut self, spec: TaskSpec, body: &TaskBody<'_>, key: u128) -> TaskId {
        self.expect(&spec, 1);
        let body = self.body(body).into();
        let earlier = self.earlier.as_mut().expect("it knows the task");
        if earlier.returns.until == 0 {
            return self.core.submit_begun_before(spec, body);
        }
        if !std::mem::replace(&mut earlier.said_away, true) {
            self.core.note(Event::Note {
                text: "tasks with retry(false) that an earlier life of the master had handed out wait for their slaves, as long as those may come back".to_owned(),
            });
        }
        let id = self.core.submit_away(spec, body);
        earlier.returns.away.entry(key).or_default().push(id);
        id
    }

    /// Says once that a recorded result cannot be used any more: its task is computed again.
    fn say_unread(&mut self) {
        if let Some(earlier) = &mut self.earlier
            && !std::mem::replace(&mut earlier.said_unread, true)
        {
            self.core.note(Event::JournalTrouble {
                error: "a recorded result cannot be read any more, or is no output of its algorithm; such tasks are computed again".to_owned(),
            });
        }
    }
}

/// Says once that what slaves have kept of tasks came of a key that is not known here.
fn say_unfounded(said: &mut bool, core: &mut MasterCore, best: u32) {
    if !std::mem::replace(said, true) {
        core.note(Event::Note {
            text: format!(
                "slaves that came back have kept results which may have come of a key of the Best with the number {best} that is not known here, \
                 since the record of its witness is lost; such tasks are computed again"
            ),
        });
    }
}
