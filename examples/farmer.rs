//! A farmer of tasks that depend on one another (PHILIP-JOSE): some steps one after the other, some at once, some for
//! whoever is first, and one that fails in the middle and is made good.
//!
//! ```text
//! cargo run --release --example farmer
//! ```
//!
//! Use calls where the next task needs what the last one gave: `call` is a future, so all that Rust has for futures says
//! who waits for whom. Where tasks do not know of one another, a `map` is less to say and much faster.

use futures_util::future::{select_ok, try_join, try_join_all};
use ringmw::prelude::*;

/// What a unit compiles to: its letters, upside down.
#[algorithm]
fn compile(unit: &str) -> Result<Vec<u8>, String> {
    match unit {
        "broken" => Err("it does not parse".into()),
        unit => Ok(unit.bytes().rev().collect()),
    }
}

/// The image of objects: either linker gives the same.
#[algorithm]
fn link(objects: Vec<Vec<u8>>, fast: bool) -> Vec<u8> {
    match fast {
        true => objects.concat(),
        false => objects.into_iter().flatten().collect(),
    }
}

/// All units at once, then both linkers, of which the slower is taken back.
async fn build(mw: &Master, units: &[&str]) -> Result<Vec<u8>, TaskError> {
    let objects = try_join_all(units.iter().map(|unit| mw.call(compile::task(unit)))).await?;
    let linkers = [true, false].map(|fast| mw.call(link::task(objects.clone(), fast)));
    let (image, _slower) = select_ok(linkers).await?;
    Ok(image)
}

async fn master(mw: Master, _args: Args) -> Result {
    let (one, two) = try_join(build(&mw, &["ab", "cd"]), build(&mw, &["ef"])).await?;
    println!("{}", String::from_utf8_lossy(&[one, two].concat()));
    let three = match build(&mw, &["gh", "broken"]).await {
        Err(error) if matches!(error.kind(), TaskErrorKind::Failed { .. }) => {
            println!("made good: {error}");
            build(&mw, &["gh", "mended"]).await?
        }
        built => built?,
    };
    println!("{}", String::from_utf8_lossy(&three));
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<compile>()
        .algorithm::<link>()
        .master(master)
        .run()
}
