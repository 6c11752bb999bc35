//! Tasks whose result an earlier life of the run recorded: found where they are given, before anybody is handed them.

use std::collections::BTreeMap;

use ringmw_codec::audit::Event;
use ringmw_codec::batch::TaskBody;
use ringmw_codec::journal::{hash_name, key};
use ringmw_sched::{AlgorithmId, TaskId, TaskSpec};

use super::state::State;
use crate::proto::bytes::SmallBytes;
use crate::proto::config::{AlgorithmInfo, HashArgs};
use crate::proto::known::{Known, KnownBest, Outputs};
use crate::proto::master::known::Recorded;

/// What earlier lives left, and how it is read.
pub(crate) struct Earlier {
    known: Known,
    outputs: Box<dyn Outputs>,
    /// By algorithm: the hash of its name, and how its arguments are hashed.
    algorithms: Vec<(u64, HashArgs)>,
    scratch: Vec<u8>,
    said_unread: bool,
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
        }
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
        let found = *self.known.find(key)?;
        self.scratch.clear();
        let is_read = self.outputs.read(found.place(), &mut self.scratch);
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
        self.earlier = (!earlier.known.is_empty()).then(|| Box::new(earlier));
    }

    /// Whether a task may end at once for what an earlier life knows of it: it joins no series.
    #[inline(never)]
    pub(super) fn may_be_known(&self, algorithm: AlgorithmId, body: &TaskBody<'_>) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| {
            let key = earlier.key(algorithm, body.domain, body.stream, body.args);
            earlier.known.find(key).is_some() || earlier.known.was_begun(key)
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

    fn push_found(&mut self, spec: TaskSpec, body: &TaskBody<'_>) -> Option<TaskId> {
        let earlier = self.earlier.as_mut()?;
        let key = earlier.key(spec.algorithm, body.domain, body.stream, body.args);
        let was_begun = !spec.policy.retry && earlier.known.was_begun(key);
        if let Some(read) = earlier.read(key) {
            let recorded = read
                .ok()
                .filter(|recorded| self.core.is_output(&spec, recorded));
            if let Some(recorded) = recorded {
                self.expect(&spec, 1);
                let body = self.body(body);
                return Some(self.core.submit_known(spec, body.into(), recorded));
            }
            self.say_unread();
        }
        was_begun.then(|| {
            self.expect(&spec, 1);
            let body = self.body(body);
            self.core.submit_begun_before(spec, body.into())
        })
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
