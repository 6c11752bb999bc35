//! Tasks as users have them: what they carry and how they are given, beside the no-op that all is held against.
//!
//! | shape | a task | its result |
//! |---|---|---|
//! | `noop` | a number | a number |
//! | `str` | a text of 16 bytes | its length |
//! | `vstr` | a text of 8 to 40 bytes | its length |
//! | `echo` | a text of 8 to 40 bytes | the text |
//! | `vecf` | 1 to 8 floating-point numbers | as many |
//! | `tag` | a number, and a number as its tag | a number |
//! | `policy` | a number, to be begun at most once | a number |
//! | `ordered` | a number, for one slave: a packet for each in turn | a number |
//! | `inorder` | a number, results in the order of submission | a number |
//! | `call` | a number, calls of some packets joined | a number |
//! | `reduce` | a number | a number; all are combined into one |

use std::cell::Cell;

use ringmw::prelude::*;

use crate::noop;

/// What text tasks are made of.
const TEXT: &str = "the quick brown fox jumps over the lazy dog, and over again.";
const NUMBERS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];

/// The length of a text.
#[algorithm]
pub fn length(text: &str) -> u64 {
    text.len() as u64
}

/// The text itself.
#[algorithm]
pub fn echo(text: &str) -> String {
    text.to_owned()
}

/// The numbers doubled.
#[algorithm]
pub fn doubled(numbers: Vec<f64>) -> Vec<f64> {
    numbers.into_iter().map(|number| 2.0 * number).collect()
}

/// Registers the algorithms of all shapes.
pub fn register(app: App) -> App {
    app.algorithm::<length>()
        .algorithm::<echo>()
        .algorithm::<doubled>()
}

/// What tasks are like.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above has them")]
pub enum Shape {
    Noop,
    Str,
    VStr,
    Echo,
    VecF,
    Tag,
    Policy,
    Ordered,
    InOrder,
    Call,
    Reduce,
}

impl Shape {
    /// Every shape but the no-op.
    pub const OTHERS: [Shape; 10] = [
        Shape::Str,
        Shape::VStr,
        Shape::Echo,
        Shape::VecF,
        Shape::Tag,
        Shape::Policy,
        Shape::Ordered,
        Shape::InOrder,
        Shape::Call,
        Shape::Reduce,
    ];

    /// Its name in cases.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Noop => "noop",
            Shape::Str => "str",
            Shape::VStr => "vstr",
            Shape::Echo => "echo",
            Shape::VecF => "vecf",
            Shape::Tag => "tag",
            Shape::Policy => "policy",
            Shape::Ordered => "ordered",
            Shape::InOrder => "inorder",
            Shape::Call => "call",
            Shape::Reduce => "reduce",
        }
    }

    /// The shape of this name.
    pub fn named(name: &str) -> Option<Shape> {
        let all = [Shape::Noop].into_iter().chain(Shape::OTHERS);
        all.into_iter().find(|shape| shape.name() == name)
    }
}

/// Where tasks come from, and where what became of them is noted.
pub trait Source {
    /// The number of the next task, until there are none.
    fn next(&self) -> Option<u64>;

    /// The result of one has come to this master.
    fn done(&self, mw: &Master);
}

/// Runs all tasks of a source: how many of them ended well, and `group` of them make a packet.
///
/// # Errors
/// With the first task that ended otherwise.
pub async fn run<S: Source>(mw: &Master, shape: Shape, group: u32, source: &S) -> Result<u64> {
    match shape {
        Shape::Noop => through::<noop, S>(mw, source, false, noop::task).await,
        Shape::InOrder => through::<noop, S>(mw, source, true, noop::task).await,
        Shape::Str => through(mw, source, false, |_| length::task(&TEXT[..16])).await,
        Shape::VStr => through(mw, source, false, |n| length::task(text(n))).await,
        Shape::Echo => through(mw, source, false, |n| echo::task(text(n))).await,
        Shape::VecF => {
            let numbers = |n: u64| NUMBERS[..1 + spread(n) % 8].to_vec();
            through(mw, source, false, |n| doubled::task(numbers(n))).await
        }
        Shape::Tag => through(mw, source, false, |n| noop::task(n).tag(&n)).await,
        Shape::Policy => through(mw, source, false, |n| noop::task(n).retry(false)).await,
        Shape::Ordered => {
            let slaves = mw.slaves();
            mw.allocate(Group::Ordered, slaves.len() as u32);
            let ids: Vec<SlaveId> = slaves.iter().map(|slave| slave.id).collect();
            let to = |n: u64| ids[(n / u64::from(group.max(1))) as usize % ids.len()];
            through(mw, source, false, |n| noop::task(n).slave(to(n))).await
        }
        Shape::Call => calls(mw, group, source).await,
        Shape::Reduce => reduced(mw, source).await,
    }
}

/// All results combined: but for the first one each is noted where it is combined with those before it.
async fn reduced<S: Source>(mw: &Master, source: &S) -> Result<u64> {
    let mut done = 0;
    let tasks = std::iter::from_fn(|| source.next().map(noop::task));
    let merged = mw.map(tasks).reduce(|a, b| {
        done += 1;
        source.done(mw);
        a.wrapping_add(b)
    });
    if let Some(value) = merged.await? {
        std::hint::black_box(value);
        done += 1;
        source.done(mw);
    }
    Ok(done)
}

/// Different enough from its neighbours'.
fn spread(n: u64) -> usize {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

fn text(n: u64) -> &'static str {
    &TEXT[..8 + spread(n) % 33]
}

async fn through<A: Algorithm, S: Source>(
    mw: &Master,
    source: &S,
    in_order: bool,
    task: impl Fn(u64) -> Task<A>,
) -> Result<u64> {
    let tasks = std::iter::from_fn(|| source.next().map(&task));
    let mut results = mw.map(tasks);
    if in_order {
        results = results.in_order();
    }
    let mut done = 0;
    while let Some(output) = results.try_next().await? {
        std::hint::black_box(&output);
        done += 1;
        source.done(mw);
    }
    Ok(done)
}

/// Calls of so many packets of each slave are made in one poll, and awaited together.
const CALL_PACKETS: u32 = 4;

async fn calls<S: Source>(mw: &Master, group: u32, source: &S) -> Result<u64> {
    let most = group.max(1) * CALL_PACKETS * mw.connected().max(1) as u32;
    let mut done = 0;
    loop {
        let numbers = std::iter::from_fn(|| source.next()).take(most as usize);
        let calls: Vec<_> = numbers.map(|n| mw.call(noop::task(n))).collect();
        if calls.is_empty() {
            return Ok(done);
        }
        for output in futures_util::future::join_all(calls).await {
            std::hint::black_box(output?);
            done += 1;
            source.done(mw);
        }
    }
}

/// What `join_all` costs for each of so many futures that have their value at once, in nanoseconds of this thread's CPU
/// time.
pub fn join_all_ns(futures: u64) -> f64 {
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
    };
    let ready = |n: u64| {
        let value = Cell::new(Some(n));
        futures_util::future::poll_fn(move |_| std::task::Poll::Ready(value.take()))
    };
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = cpu();
        let all: Vec<_> = (0..futures).map(ready).collect();
        let mut joined = std::pin::pin!(futures_util::future::join_all(all));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        std::hint::black_box(joined.as_mut().poll(&mut cx).is_ready());
        best = best.min((cpu() - begun) / futures as f64);
    }
    best
}
