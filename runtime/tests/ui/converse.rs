//! A task to converse with is of an algorithm that does.
use ringmw::prelude::*;

#[algorithm]
fn plain(n: u64) -> u64 {
    n
}

async fn master(mw: Master, _args: Args) -> Result {
    let _talk = mw.converse(plain::task(1));
    Ok(())
}

fn main() {
    let _ = App::new().algorithm::<plain>().master(master).run();
}
