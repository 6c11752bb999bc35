//! A master-slave runtime for Linux clusters.
