//! Frames, handshake, batches, audit lines and resource file of ringmw.
