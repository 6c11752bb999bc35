//! For the tests: one task that holds its slave for as long as a file is missing, then many short ones.
//!
//! With `--first-only` it holds the first slave that runs it, and no other.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use ringmw::prelude::*;

const SHORT: u64 = 40;

#[algorithm]
fn short(n: u64) -> u64 {
    n
}

/// Returns when the file `release` is in the folder, or at once when another slave began it before.
#[algorithm]
fn long(folder: &str, first_only: bool) -> u64 {
    let folder = Path::new(folder);
    let begun = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(folder.join("begun"));
    let held = begun.is_ok() || !first_only;
    while held && !Path::exists(&folder.join("release")) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1_000
}

async fn master(mw: Master, args: Args) -> Result {
    let folder: String = args.value("--folder", ".".to_owned())?;
    let first_only = args.has("--first-only");
    let begun = Path::new(&folder).join("begun");
    if first_only {
        // The median is known before one of them hangs.
        std::fs::write(&begun, "")?;
        for _ in 0..5 {
            mw.call(long::task(&folder, true)).await?;
        }
        std::fs::remove_file(&begun)?;
    }
    let held = mw.call(long::task(&folder, first_only));
    let mut sum = 0;
    let mut shorts = mw.map((0..SHORT).map(short::task));
    while let Some(n) = shorts.next().await {
        sum += n?;
    }
    println!("sum {}", sum + held.await?);
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<short>()
        .algorithm::<long>()
        .master(master)
        .run()
}
