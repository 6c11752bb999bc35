//! A type without `#[wire]` as a result, plain and behind an alias of `Result`.
use ringmw::prelude::*;

struct Point;

type Fallible<T> = std::result::Result<T, String>;

#[algorithm]
fn origin() -> Point {
    Point
}

#[algorithm]
fn perhaps() -> Fallible<Point> {
    Ok(Point)
}

fn main() {}
