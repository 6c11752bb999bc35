//! Slaves whose memory cannot be set up on one host: that host is of no use, the others are.

use ringmw::prelude::*;

struct Licence;

impl SlaveState for Licence {
    fn init(cx: &mut Cx) -> Result<Self> {
        let bad = cx.args().last().cloned().unwrap_or_default();
        let host = rustix::system::uname();
        if host.nodename().to_string_lossy() == bad {
            return Err(format!("there is no licence on {bad}").into());
        }
        Ok(Licence)
    }
}

#[algorithm]
fn work(n: u64, _licence: &mut Licence) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(50));
    n
}

async fn master(mw: Master, args: Args) -> Result {
    let tasks: u64 = args.value("--tasks", 200)?;
    let mut done = mw.map((0..tasks).map(work::task));
    let mut sum = 0;
    while let Some(n) = done.try_next().await? {
        sum += n;
    }
    println!("sum {sum} of {tasks}");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<work>().master(master).run()
}
