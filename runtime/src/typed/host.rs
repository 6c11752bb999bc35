//! What a running task asks of the slave that it runs on.
//!
//! [`Cx`](crate::typed::cx::Cx) asks, whoever runs the task answers: here stands only the question.

/// The surroundings of a running task, as far as they are not plain data.
pub(crate) trait Host {
    /// Whether [`look`](Self::look) is of any use.
    fn looks(&self) -> bool {
        false
    }

    /// The task looks whether it is still wanted. Where time is simulated it passes here.
    fn look(&self) {}

    /// The task asks whether slaves are hungry: told once, before it asks.
    fn asks_hungry(&self);

    /// The task makes checkpoints: told once, before the first one.
    fn makes_checkpoints(&self);

    /// Whether the next one is due.
    fn checkpoint_is_due(&self) -> bool;

    /// One is due, and this is it: words drawn, hash of the state's type, the state's archive.
    fn checkpoint(&self, draws: u128, state_type: u64, state: &[u8]);
}
