//! For the tests: tasks that fail in every way, and tasks and results that are too large.
//!
//! With `--poison`: a task that ends its process each time it runs, in the middle of ten innocent ones.

use ringmw::prelude::*;

#[algorithm]
fn innocent(n: u64) -> u64 {
    n
}

#[algorithm]
fn errs() -> Result<u64, String> {
    Err("no answer".into())
}

#[algorithm]
fn panics() -> u64 {
    panic!("out of order")
}

#[algorithm]
fn kills() -> u64 {
    std::process::abort()
}

#[algorithm]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[algorithm]
fn zeros(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

async fn master(mw: Master, args: Args) -> Result {
    if args.has("--poison") {
        mw.submit_all((0..5).map(innocent::task));
        mw.submit(kills::task());
        mw.submit_all((5..10).map(innocent::task));
    } else {
        mw.submit(errs::task());
        mw.submit(panics::task());
        mw.submit(length::task(&vec![0; 200_000]));
        mw.submit(zeros::task(200_000));
        mw.submit(length::task(&vec![0; 100_000]));
        mw.submit(zeros::task(100_000));
    }
    while !mw.events().await.is_empty() {
        for result in mw.take_results() {
            let name = result.algorithm();
            match result.failure() {
                Some(message) => println!("{name} failed: {message}"),
                None if result.is::<innocent>() => {
                    println!("innocent {}", result.output::<innocent>()?)
                }
                None if result.is::<length>() => println!("length {}", result.output::<length>()?),
                None => println!("{name} {}", result.output::<zeros>()?.len()),
            }
        }
        for task in mw.take_unrunnable() {
            println!("{} unrunnable: {}", task.algorithm(), task.why());
        }
    }
    println!("the run went on to its end");
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<innocent>()
        .algorithm::<errs>()
        .algorithm::<panics>()
        .algorithm::<kills>()
        .algorithm::<length>()
        .algorithm::<zeros>()
        .master(master)
        .run()
}
