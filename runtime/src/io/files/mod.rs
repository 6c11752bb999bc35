//! The files of a process: audit trail and resource file.
//!
//! Each has a thread of its own before a bounded queue, so that a slow, full or hung filesystem never stalls the
//! network. What goes into them the cores decide; here bytes are moved, and errors told.

pub(crate) mod audit;
pub(crate) mod blob;
mod reserve;
pub(crate) mod resource;
