//! `&mut T` of a type that is no slave state, also where the function returns an alias of `Result`.
use ringmw::prelude::*;

type Fallible<T> = std::result::Result<T, String>;

#[algorithm]
fn count(counter: &mut u64) -> Fallible<u64> {
    *counter += 1;
    Ok(*counter)
}

fn main() {}
