//! The slaves' algorithms of the played application, and the hello of a slave that has them.

use std::sync::{Arc, OnceLock};

use ringmw_codec::handshake::{About, Hello, PROTOCOL_VERSION};

use crate::app::fingerprint;
use crate::typed::best::Best;
use crate::typed::cx::{Cx, SlaveState};
use crate::typed::registry::{Registry, RegistryBuilder};
use crate::typed::shared::Shared;

/// Echoes its number so many times, whatever stands beside it; too many make a failed result.
#[ringmw::algorithm]
pub(super) fn echo(n: u64, times: u32, _beside: &[u8]) -> Vec<u64> {
    vec![n; times as usize]
}

/// Draws from its stream.
#[ringmw::algorithm]
pub(super) fn draw(cx: &mut Cx) -> u64 {
    use rand::Rng as _;
    cx.rng().next_u64()
}

/// Fails with a message that grows with its number.
#[ringmw::algorithm]
pub(super) fn fails(n: u64) -> Result<u64, String> {
    match n % 3 {
        0 => Ok(n),
        _ => Err("no ".repeat(n as usize % 700)),
    }
}

/// Offers its key if it is better; one that is odd it comes down to, each step being an offer.
#[ringmw::algorithm]
pub(super) fn search(key: u64, best: &Best<u64, Vec<u64>>) -> bool {
    for worse in (1..=30 * (key % 2)).rev() {
        best.offer(key + worse, &vec![key + worse; 1 + worse as usize]);
    }
    best.offer(key, &vec![key; 1 + key as usize % 40])
}

pub(super) struct Memory(u64);

impl SlaveState for Memory {
    fn init(cx: &mut Cx) -> Result<Self, Box<dyn std::error::Error>> {
        match cx.slave().0 % 5 {
            3 => Err("this machine is broken".into()),
            _ => Ok(Memory(0)),
        }
    }
}

/// Counts on its slave.
#[ringmw::algorithm]
pub(super) fn counts(by: u64, memory: &mut Memory) -> u64 {
    memory.0 += by;
    memory.0
}

/// Sums so many draws from its stream, and says how far it has come.
#[ringmw::algorithm]
pub(super) fn steps(times: u32, cx: &mut Cx) -> u64 {
    use rand::Rng as _;
    let (mut step, mut sum) = cx.resume::<(u32, u64)>().unwrap_or((0, 0));
    while step < times {
        // Time passes. What it returns once its own is over is its end, so it goes on.
        let _ = cx.cancelled();
        sum = sum.wrapping_add(cx.rng().next_u64());
        step += 1;
        cx.checkpoint(&(step, sum));
    }
    sum
}

/// So many steps, and gives back what it has not done once slaves are hungry.
#[ringmw::algorithm]
pub(super) fn yields(steps: u32, cx: &mut Cx) -> u64 {
    let mut left = steps;
    while left > 0 && !cx.hungry() {
        left -= 1;
    }
    left.into()
}

/// A number that depends on every byte that it is given, and on its place.
#[ringmw::algorithm]
pub(super) fn zips(parts: &[Shared<[u8]>], one: &Shared<[u8]>) -> u64 {
    let all = parts.iter().chain([one]);
    weigh(all.map(|part| &part[..]))
}

/// What `zips` must give.
pub(super) fn weigh<'a>(all: impl Iterator<Item = &'a [u8]>) -> u64 {
    let byte = |sum: u64, &byte: &u8| sum.rotate_left(5) ^ u64::from(byte);
    let part = |sum, part: &[u8]| part.iter().fold(sum ^ part.len() as u64, byte);
    all.fold(0, part)
}

pub(super) const ALGORITHMS: usize = 8;

/// Without the last of them where nothing is shared.
pub(super) fn registry(shares: bool) -> (Arc<Registry>, Hello) {
    static REGISTRIES: [OnceLock<(Arc<Registry>, Hello)>; 2] = [OnceLock::new(), OnceLock::new()];
    let (registry, hello) = REGISTRIES[usize::from(shares)].get_or_init(|| {
        let mut builder = RegistryBuilder::default();
        builder.register::<echo>().expect("distinct names");
        builder.register::<draw>().expect("distinct names");
        builder.register::<fails>().expect("distinct names");
        builder.register::<search>().expect("distinct names");
        builder.register::<counts>().expect("distinct names");
        builder.register::<steps>().expect("distinct names");
        builder.register::<yields>().expect("distinct names");
        if shares {
            builder.register::<zips>().expect("distinct names");
        }
        let registry = Arc::new(builder.finish());
        let hello = hello(&registry, "sim", MEMBER_ID);
        (registry, hello)
    });
    (Arc::clone(registry), hello.clone())
}

/// The registry sorts by name: counts, draw, echo, fails, search, steps, yields, zips.
pub(super) fn index_of(kind: usize) -> u16 {
    [2, 1, 3, 4, 0, 5, 6, 7][kind]
}

pub(super) const MEMBER_ID: &[u8] = b"simulated";

pub(in crate::testing) fn hello(registry: &Registry, version: &str, member_id: &[u8]) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: member_id.to_vec(),
        host: "simulated".to_owned(),
        job: String::new(),
        pid: 1,
        about: About::default(),
        fingerprint: fingerprint::of(registry, version),
    }
}
