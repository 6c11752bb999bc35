//! The attributes of ringmw.
