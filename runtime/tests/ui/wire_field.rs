//! A field that cannot travel.
use ringmw::prelude::*;

struct Inner;

#[wire]
struct Outer {
    inner: Vec<Inner>,
}

fn main() {}
