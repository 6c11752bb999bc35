//! What may still go into a packet.

use crate::ids::Nanos;

/// What may still go into a packet.
pub(crate) struct Room {
    pub(crate) tasks: u32,
    /// `None` where a number was given.
    pub(crate) compute: Option<Nanos>,
    /// Unordered tasks that it may take from the others.
    pub(crate) share: u64,
}

impl Room {
    /// Whether it takes no more, whatever they cost.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.tasks == 0
    }

    /// How many of `tasks` more of this cost each it takes; of the first ones, one at least.
    #[inline]
    pub(crate) fn takes(
        &mut self,
        first: bool,
        unordered: bool,
        tasks: u32,
        cost: impl FnOnce() -> Nanos,
    ) -> u32 {
        let mut takes = tasks.min(self.tasks);
        if let Some(compute) = &mut self.compute {
            let cost = cost();
            let within = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
            takes = takes.min(within(compute.checked_div(cost).unwrap_or(u64::MAX)));
            if unordered {
                takes = takes.min(within(self.share));
            }
            takes = takes.max(u32::from(first));
            *compute = compute.saturating_sub(cost.saturating_mul(takes.into()));
            self.share = self
                .share
                .saturating_sub(u64::from(takes) * u64::from(unordered));
        }
        self.tasks = self.tasks.saturating_sub(takes);
        takes
    }
}
