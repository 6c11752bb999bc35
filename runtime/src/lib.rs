//! A master-slave runtime for Linux clusters.

pub mod local;
