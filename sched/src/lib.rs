//! The pure task scheduler of ringmw.

/// The identity of a slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlaveId(pub u32);

impl std::fmt::Display for SlaveId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SLAVE-{}", self.0)
    }
}
