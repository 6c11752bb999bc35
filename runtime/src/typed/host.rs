//! What a running task asks of the slave that it runs on.
//!
//! [`Cx`](crate::typed::cx::Cx) and [`Talk`](crate::typed::talk::Talk) ask, whoever runs the task answers: here stand only the
//! questions.

use std::time::Duration;

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

    /// The task is so far: so much of so much is done.
    fn progress(&self, done: u64, total: u64);

    /// Whether somebody listens to it, and still wants it.
    fn is_open(&self) -> bool;

    /// It says something, whose archive this is, and waits until that may go; false: nobody listens.
    ///
    /// # Errors
    /// When it is larger than the master reads.
    fn say(&self, message: Vec<u8>) -> Result<bool, String>;

    /// The archive of what it hears next; it waits for that, no longer than it says.
    fn hear(&self, timeout: Option<Duration>) -> Option<Vec<u8>>;
}
