//! The slaves' algorithms of the played application, and the hello of a slave that has them.

use std::sync::{Arc, OnceLock};

use ringmw_codec::handshake::{About, Hello, PROTOCOL_VERSION};

use crate::app::fingerprint;
use crate::typed::best::Best;
use crate::typed::cx::{Cx, SlaveState};
use crate::typed::registry::{Registry, RegistryBuilder};

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

/// Offers its key if it is better.
#[ringmw::algorithm]
pub(super) fn search(key: u64, best: &Best<u64, Vec<u64>>) -> bool {
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

pub(super) const ALGORITHMS: usize = 7;

pub(super) fn registry() -> (Arc<Registry>, Hello) {
    static REGISTRY: OnceLock<(Arc<Registry>, Hello)> = OnceLock::new();
    let (registry, hello) = REGISTRY.get_or_init(|| {
        let mut builder = RegistryBuilder::default();
        builder.register::<echo>().expect("distinct names");
        builder.register::<draw>().expect("distinct names");
        builder.register::<fails>().expect("distinct names");
        builder.register::<search>().expect("distinct names");
        builder.register::<counts>().expect("distinct names");
        builder.register::<steps>().expect("distinct names");
        builder.register::<yields>().expect("distinct names");
        let registry = Arc::new(builder.finish());
        let hello = hello(&registry, "sim", MEMBER_ID);
        (registry, hello)
    });
    (Arc::clone(registry), hello.clone())
}

/// The registry sorts by name: counts, draw, echo, fails, search, steps, yields.
pub(super) fn index_of(kind: usize) -> u16 {
    [2, 1, 3, 4, 0, 5, 6][kind]
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
