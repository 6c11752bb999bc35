//! What a running task asks of the slave that it runs on.
//!
//! [`Cx`](crate::typed::cx::Cx) asks, whoever runs the task answers: here stands only the question.

/// The surroundings of a running task, as far as they are not plain data.
pub(crate) trait Host {
    /// The task looks whether it is still wanted. Where time is simulated it passes here.
    fn look(&self);
}
