//! A type without `#[wire]` as an argument.
use ringmw::prelude::*;

struct Point {
    x: f64,
}

#[algorithm]
fn norm(point: &Point) -> f64 {
    point.x.abs()
}

fn main() {}
