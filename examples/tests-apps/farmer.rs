//! For the tests: the family's farmer with an error type of the application's own choice. Steps one after the other and at
//! once, whoever is first, and one that fails in the middle and is made good; errors go through `?` of a plain function of
//! the application, which has no other dependency on futures than what the library hands on.

use ringmw::futures::future::{select_ok, try_join, try_join_all};
use ringmw::prelude::*;

#[algorithm]
fn compile(unit: String) -> Result<Vec<u8>, String> {
    match &*unit {
        "bad" => Err("it does not parse".into()),
        _ => Ok(unit.into_bytes()),
    }
}

#[algorithm]
fn link(objects: Vec<Vec<u8>>, fast: bool) -> Result<Vec<u8>, std::io::Error> {
    match (fast, objects.len()) {
        // Of two linkers one may fail: the other one's image is taken.
        (true, 2) => Err(std::io::Error::other("the fast one takes no two objects")),
        _ => Ok(objects.concat()),
    }
}

async fn build(mw: &Master, units: &[&str]) -> anyhow::Result<Vec<u8>> {
    let compiled = units
        .iter()
        .map(|unit| mw.call(compile::task(unit.to_string())));
    let objects = try_join_all(compiled).await?;
    let linkers = [true, false].map(|fast| mw.call(link::task(objects.clone(), fast)));
    let (image, _other) = select_ok(linkers).await?;
    Ok(image)
}

fn is_failed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<TaskError>();
    error.is_some_and(|error| matches!(error.kind(), TaskErrorKind::Failed { .. }))
}

async fn master(mw: Master, _args: Args) -> anyhow::Result<()> {
    let (a, b) = try_join(build(&mw, &["x", "y"]), build(&mw, &["z"])).await?;
    let c = match build(&mw, &["bad"]).await {
        Ok(image) => image,
        Err(error) if is_failed(&error) => {
            println!("made good: {error}");
            build(&mw, &["good"]).await?
        }
        Err(error) => return Err(error),
    };
    // A light thread's `?` is the awaiting one's.
    let light = mw.spawn({
        let mw = mw.clone();
        async move { anyhow::Ok(build(&mw, &["light"]).await?.len()) }
    });
    println!(
        "{} {} {} {}",
        String::from_utf8(a)?,
        b.len(),
        c.len(),
        light.await?
    );
    build(&mw, &["bad", "z"]).await?;
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<compile>()
        .algorithm::<link>()
        .master(master)
        .run()
}
