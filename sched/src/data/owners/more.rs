//! What a few records have beside what stands in them: a priority, needs, a time within which they are to begin.

use crate::data::owners::{EachWithin, More, Owners, PLAIN, Share};
use crate::data::record::Record;
use crate::ids::{Nanos, Needs, Owner};
use crate::series::Series;
use crate::task::{PRIORITY_MIN, Policy, TaskSpec};

impl Owners {
    /// What a record of this kind has as its flow. The first task has that number; where the tasks differ in their
    /// `start_within`, `each` has theirs.
    #[inline]
    pub(crate) fn flow(&mut self, spec: &TaskSpec, first: u64, each: Vec<Nanos>) -> u32 {
        let owner = self.slot(spec.owner);
        match spec.owner {
            _ if !spec.policy.is_without_more() => self.add_more(spec, owner, (first, each)),
            Owner::Call(call) => call,
            Owner::Queue | Owner::Map(_) => owner,
        }
    }

    #[cold]
    fn add_more(&mut self, spec: &TaskSpec, owner: u32, each: (u64, Vec<Nanos>)) -> u32 {
        let (first, within) = each;
        let Policy {
            priority,
            needs,
            start_within,
            ..
        } = spec.policy;
        let level = (priority - PRIORITY_MIN) as u8;
        let share = match (level, needs) {
            (PLAIN, needs) if needs == Needs::NONE => owner,
            _ => self.other_share(owner, level, needs),
        };
        self.get_mut(share).users += 1;
        self.with_deadline += u64::from(start_within != Nanos::MAX);
        let more = More {
            share,
            call: match spec.owner {
                Owner::Call(call) => call,
                Owner::Queue | Owner::Map(_) => 0,
            },
            start_within,
            each: (!within.is_empty()).then(|| Box::new(EachWithin { first, within })),
            records: 1,
        };
        match self.free_more.pop() {
            Some(at) => {
                self.more[at as usize] = more;
                at
            }
            None => {
                self.more.push(more);
                self.more.len() as u32 - 1
            }
        }
    }

    fn other_share(&mut self, owner: u32, level: u8, needs: Needs) -> u32 {
        if let Some(&share) = self.others.get(&(owner, level, needs)) {
            return share;
        }
        let share = Share {
            level,
            needs,
            ..Share::first(owner, self.get(owner).number)
        };
        let slot = self.add(share);
        self.others.insert((owner, level, needs), slot);
        slot
    }

    /// A record that has more is gone.
    #[cold]
    pub(super) fn drop_more(&mut self, at: u32) {
        let more = &mut self.more[at as usize];
        more.records -= 1;
        self.with_deadline -= u64::from(more.start_within != Nanos::MAX);
        if more.records > 0 {
            return;
        }
        more.each = None;
        let slot = more.share;
        self.free_more.push(at);
        let share = self.get_mut(slot);
        share.users -= 1;
        let (owner, level, needs) = (share.owner, share.level, share.needs);
        if share.users == 0 && owner != slot {
            debug_assert_eq!((share.held, share.tasks), (0, 0));
            self.others.remove(&(owner, level, needs));
            self.free.push(slot);
        }
    }

    /// The policy of a record's first task as it was given.
    #[inline]
    pub(crate) fn policy_of<P: Series>(&self, record: &Record<P>) -> Policy {
        let policy = record.policy();
        match record.has_more() {
            false => policy,
            true => self.policy_with_more(record, policy),
        }
    }

    #[cold]
    fn policy_with_more<P: Series>(&self, record: &Record<P>, policy: Policy) -> Policy {
        let more = &self.more[record.flow() as usize];
        let share = self.get(more.share);
        let each = more.each.as_ref();
        Policy {
            priority: share.level as i8 + PRIORITY_MIN,
            needs: share.needs,
            start_within: each.map_or(more.start_within, |each| each.of(record)[0]),
            ..policy
        }
    }

    /// The `start_within` of each task of a record; nothing where all have the one that its policy says.
    pub(crate) fn each_within<P: Series>(&self, record: &Record<P>) -> &[Nanos] {
        match record.has_each_within() {
            false => &[],
            true => {
                let each = self.more[record.flow() as usize].each.as_ref();
                each.map_or(&[], |each| each.of(record))
            }
        }
    }

    /// Records that have a deadline.
    pub(crate) fn with_deadline(&self) -> u64 {
        self.with_deadline
    }
}
