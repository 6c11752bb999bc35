//! The pure task scheduler of ringmw.
