//! The type-erased table by which master and slave mean the same algorithm by the same number.

use std::any::TypeId;
use std::fmt;
use std::time::Duration;

use ringmw_sched::Nanos;

use crate::proto::blob::Mentions;
use crate::proto::config::{AlgorithmInfo, CheckOutputs, CheckSaid, HashArgs};
use crate::typed::algorithm::{Algorithm, Signature};
use crate::typed::cx::Cx;
use crate::typed::rng::name_hash;
use crate::typed::tag::RunError;
use crate::typed::wire::check_each;

/// The number of an algorithm in a [`Registry`]: the same in every process of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AlgorithmIndex(pub(crate) u16);

/// [`Algorithm::run`].
type RunFn = fn(&[u8], &mut Cx, &mut Vec<u8>) -> Result<(), RunError>;

/// What can be done with an algorithm whose type is not known.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// For the key of its tasks' random streams.
    pub(crate) name_hash: u64,
    pub(crate) signature: fn() -> Signature,
    pub(crate) check_outputs: CheckOutputs,
    pub(crate) hash_args: HashArgs,
    pub(crate) run: RunFn,
    pub(crate) mentions: Option<Mentions>,
    pub(crate) check_said: Option<CheckSaid>,
    pub(crate) timeout: Option<Duration>,
    type_id: TypeId,
}

impl Entry {
    fn of<A: Algorithm>() -> Self {
        Self {
            name: A::NAME,
            name_hash: name_hash(A::NAME),
            signature: A::signature,
            check_outputs: check_each::<A::Output>,
            hash_args: A::hash_args,
            run: A::run,
            mentions: A::MENTIONS,
            check_said: A::CHECK_SAID,
            timeout: A::TIMEOUT,
            type_id: TypeId::of::<A>(),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why an algorithm cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another one has the same name; names are how master and slave know them.
    #[error("two task algorithms are called `{name}`: rename one of them")]
    SameName {
        /// That name.
        name: &'static str,
    },
    /// There are more than a task's header can name.
    #[error("an application has at most {} task algorithms", usize::from(u16::MAX) + 1)]
    TooMany,
}

/// Collects the algorithms of an application, in any order.
#[derive(Debug, Default)]
pub(crate) struct RegistryBuilder(Vec<Entry>);

impl RegistryBuilder {
    /// Adds `A`. Adding it again changes nothing.
    pub(crate) fn register<A: Algorithm>(&mut self) -> Result<(), RegistryError> {
        let entry = Entry::of::<A>();
        match self.0.iter().find(|known| known.name == entry.name) {
            Some(known) if known.type_id == entry.type_id => return Ok(()),
            Some(_) => return Err(RegistryError::SameName { name: entry.name }),
            None => {}
        }
        if self.0.len() > usize::from(u16::MAX) {
            return Err(RegistryError::TooMany);
        }
        self.0.push(entry);
        Ok(())
    }

    /// Numbers them by name, so that the order of registration means nothing.
    pub(crate) fn finish(mut self) -> Registry {
        self.0.sort_unstable_by_key(|entry| entry.name);
        let mut by_type: Vec<_> = (0u16..)
            .zip(&self.0)
            .map(|(index, entry)| (entry.type_id, AlgorithmIndex(index)))
            .collect();
        by_type.sort_unstable();
        Registry {
            entries: self.0,
            by_type,
        }
    }
}

/// The algorithms of an application, sorted by name.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<Entry>,
    by_type: Vec<(TypeId, AlgorithmIndex)>,
}

impl Registry {
    /// `None` for a number that no algorithm has: it may come from the network.
    pub(crate) fn get(&self, index: AlgorithmIndex) -> Option<&Entry> {
        self.entries.get(usize::from(index.0))
    }

    /// `None` if `A` was not registered.
    pub(crate) fn index_of<A: Algorithm>(&self) -> Option<AlgorithmIndex> {
        let at = self
            .by_type
            .binary_search_by_key(&TypeId::of::<A>(), |(id, _)| *id)
            .ok()?;
        Some(self.by_type[at].1)
    }

    /// What a master knows of each.
    pub(crate) fn infos(&self) -> Vec<AlgorithmInfo> {
        let info = |entry: &Entry| AlgorithmInfo {
            name: entry.name,
            of: entry.type_id,
            check_outputs: entry.check_outputs,
            hash_args: entry.hash_args,
            mentions: entry.mentions,
            check_said: entry.check_said,
        };
        self.entries.iter().map(info).collect()
    }

    /// What finds the shared data that the arguments of each mention, in the order of their indices.
    pub(crate) fn mentions(&self) -> Vec<Option<Mentions>> {
        self.entries.iter().map(|entry| entry.mentions).collect()
    }

    /// The hashes of the arguments of each, in the order of their indices.
    pub(crate) fn hashes(&self) -> Vec<HashArgs> {
        self.entries.iter().map(|entry| entry.hash_args).collect()
    }

    /// The time-outs that were given with the algorithms, in the order of their indices.
    pub(crate) fn timeouts(&self) -> Vec<Option<Nanos>> {
        let nanos = |time: Duration| Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX / 4);
        let entries = self.entries.iter();
        entries.map(|entry| entry.timeout.map(nanos)).collect()
    }

    /// All of them, in the order of their indices.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::Elements;

    use super::*;
    use crate::prelude::*;

    #[algorithm]
    fn beta(n: u64, text: &str) -> Result<u64, String> {
        text.parse::<u64>()
            .map(|m| n + m)
            .map_err(|error| error.to_string())
    }

    #[algorithm]
    fn alpha() {}

    mod other {
        #[ringmw::algorithm]
        pub(super) fn alpha() {}
    }

    #[test]
    fn numbers_do_not_depend_on_the_order_of_registration() {
        let mut forwards = RegistryBuilder::default();
        forwards.register::<alpha>().unwrap();
        forwards.register::<beta>().unwrap();
        let mut backwards = RegistryBuilder::default();
        backwards.register::<beta>().unwrap();
        backwards.register::<alpha>().unwrap();
        backwards.register::<alpha>().unwrap();
        for registry in [forwards.finish(), backwards.finish()] {
            assert_eq!(registry.entries().len(), 2);
            assert_eq!(registry.index_of::<alpha>(), Some(AlgorithmIndex(0)));
            assert_eq!(registry.index_of::<beta>(), Some(AlgorithmIndex(1)));
            assert_eq!(registry.index_of::<other::alpha>(), None);
            assert!(registry.get(AlgorithmIndex(2)).is_none());

            let entry = registry.get(AlgorithmIndex(1)).unwrap();
            assert_eq!((entry.name, entry.name_hash), ("beta", name_hash("beta")));
            assert_eq!((entry.signature)(), beta::signature());
            assert!(beta::check_args(&beta::task(1, "1").args).is_ok());
            let pairs = |bytes| Elements::new(2, false, bytes).expect("an even number");
            assert!(
                (entry.check_outputs)(&[0; 24], pairs(24), 0..2).is_ok()
                    && (entry.check_outputs)(&[0; 22], pairs(22), 0..2).is_err()
            );
            let mut out = Vec::new();
            (entry.run)(&beta::task(1, "1").args, &mut Cx::for_test(1), &mut out).unwrap();
            assert_eq!(out, [2, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let mut registry = RegistryBuilder::default();
        registry.register::<alpha>().unwrap();
        let error = registry.register::<other::alpha>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "two task algorithms are called `alpha`: rename one of them"
        );
    }
}
