//! What cannot travel, told before rkyv's derives are asked.
use ringmw::prelude::*;

#[wire]
union Bits {
    float: f32,
    word: u32,
}

#[wire]
struct Borrows<'a> {
    text: &'a str,
}

#[wire]
struct Static {
    text: &'static str,
}

#[wire]
enum Tree {
    Leaf,
    Node(Box<Tree>, Box<Tree>),
}

#[wire(fast)]
struct Fast;

#[wire]
fn no_type() {}

fn main() {}
