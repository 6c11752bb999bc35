//! A master-slave runtime for Linux clusters.

pub mod files;
pub mod flags;
pub mod local;
