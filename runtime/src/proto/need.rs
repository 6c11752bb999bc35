//! How many slaves the batch system is asked for.

/// What the batch system should know: spec section 14.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Slaves that are still missing.
    pub needed: u64,
    /// The sum of the desires.
    pub desired: u64,
    /// Slaves that are here.
    pub connected: u64,
    /// Slaves with work in their hands.
    pub busy: u64,
    /// Tasks that wait for a slave.
    pub queued: u64,
}

impl Need {
    /// Whether the batch system would do the same for both: how many are here and busy is for people.
    pub(crate) fn asks_the_same(&self, other: &Need) -> bool {
        (self.needed, self.desired) == (other.needed, other.desired)
    }
}
