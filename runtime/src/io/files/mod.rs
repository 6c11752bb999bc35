//! The files of a process: audit trail, resource file, and what outlasts it: the journal.
//!
//! Each has a thread of its own before a bounded queue, so that a slow, full or hung filesystem never stalls the
//! network. What goes into them the cores decide; here bytes are moved, and errors told.

pub(crate) mod audit;
pub(crate) mod blob;
pub(crate) mod journal;
pub(crate) mod kept;
pub(crate) mod life;
pub(crate) mod private;
mod reserve;
pub(crate) mod resource;
pub(crate) mod state;
