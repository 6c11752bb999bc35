//! What a task algorithm's signature cannot be.
use ringmw::prelude::*;

#[algorithm]
async fn asynchronous(n: u32) -> u32 {
    n
}

#[algorithm]
fn generic<T>(n: T) -> T {
    n
}

#[algorithm]
fn implicit(n: impl Iterator<Item = u32>) -> u32 {
    n.sum()
}

#[algorithm]
fn lent_twice(_a: &&str) {}

#[algorithm]
fn lent_for_ever(_a: &'static str) {}

#[algorithm]
fn lending_back(a: &str) -> &str {
    a
}

#[algorithm]
unsafe fn not_safe() {}

#[algorithm]
fn pattern((a, b): (u32, u32)) -> u32 {
    a + b
}

#[algorithm]
fn twice(_a: &mut Cx, _b: &mut Cx) {}

#[algorithm]
fn shared(_table: Shared<Vec<u8>>) {}

#[algorithm]
fn by_value(_cx: Cx) {}

#[algorithm(fast)]
fn fast() {}

#[algorithm]
struct NoFunction;

struct Shared<T>(T);

fn main() {}

#[algorithm]
fn shared_list(_tables: Vec<Shared<Vec<u8>>>) {}

#[algorithm]
fn talk_by_value(_talk: Talk<u8, u8>) {}

#[algorithm]
fn talk_lent(_talk: &Talk<u8, u8>) {}

#[algorithm]
fn talk_of_nothing(_talk: &mut Talk) {}

#[algorithm]
fn two_talks(_a: &mut Talk<u8, u8>, _b: &mut Talk<u8, u16>) {}
