//! What a task carries, and series of tasks that share it.

pub(crate) const HAS_PAYLOAD: &str = "a live task has its payload, and ends once";

/// What the caller wants back at the end of a task; the scheduler looks at its size alone.
///
/// One payload may be for a *series*: tasks that follow one another in number and are alike in everything that the
/// scheduler knows. A series is queued, handed out and answered in one step, and split where its tasks part. What becomes
/// of a task does not depend on whether it is one of a series. Of the methods a payload for one task needs none.
///
/// ```
/// use ringmw_sched::Series;
///
/// /// Squares to be computed, of consecutive numbers.
/// struct Squares(std::ops::Range<u64>);
///
/// impl Series for Squares {
///     fn tasks(&self) -> u32 {
///         (self.0.end - self.0.start) as u32
///     }
///     fn split_front(&mut self, tasks: u32) -> Self {
///         let middle = self.0.start + u64::from(tasks);
///         Squares(std::mem::replace(&mut self.0.start, middle)..middle)
///     }
/// }
///
/// let mut squares = Squares(0..10);
/// assert_eq!(squares.split_front(3).0, 0..3);
/// assert_eq!(squares.0, 3..10);
/// ```
pub trait Series: Sized {
    /// How many tasks it is for; at least one.
    #[inline]
    fn tasks(&self) -> u32 {
        1
    }

    /// Bytes that its first `tasks` tasks, at least one, add to a packet beside those of the first one alone. More tasks
    /// never add fewer.
    #[inline]
    fn more_bytes(&self, tasks: u32) -> u64 {
        let _ = tasks;
        0
    }

    /// Bytes of the first task that are its own: by as many more than these as another task has of its own it would add
    /// more to a packet, alone.
    #[inline]
    fn own_bytes(&self) -> u32 {
        0
    }

    /// Splits off what is for the first `tasks` of a series: at least one, and fewer than there are.
    fn split_front(&mut self, tasks: u32) -> Self {
        unreachable!("{tasks} of one task")
    }
}

impl Series for () {}
impl Series for u64 {}
impl Series for &'static str {}
