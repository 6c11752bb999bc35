//! What the examples and their tests share.
