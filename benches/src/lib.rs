//! Benchmarks of ringmw.
