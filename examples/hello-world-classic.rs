//! `hello-world` the way CL-MW's manual has it: a queue, a loop that waits for events and takes results, and a slave
//! algorithm of its own.
//!
//! ```text
//! cargo run --release --example hello-world-classic
//! ```
//!
//! As a master and slaves (the master's trail says which port it has):
//!
//! ```text
//! hello-world-classic --mw-master --mw-master-host 127.0.0.1 --mw-slave-task-group 10 --mw-slave-result-group 10
//! hello-world-classic --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use ringmw::prelude::*;

const TASKS: usize = 10;

#[algorithm]
fn hello(name: &str) -> String {
    format!("Hello World: {name}")
}

/// Prints its line when it goes, whichever way the algorithm ends (Lisp's `unwind-protect`).
struct Cleanup(&'static str);

impl Drop for Cleanup {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

async fn master(mw: Master, _args: Args) -> Result {
    let _cleanup = Cleanup("Master algo cleanup form.");
    mw.submit_all((0..TASKS).map(|n| hello::task(&format!("Task {n}"))));
    let mut ended = 0;
    while ended < TASKS {
        mw.events().await;
        for result in mw.take_results() {
            println!("Got result from slave: {:?}", result.output::<hello>()?);
            ended += 1;
        }
        for task in mw.take_unrunnable() {
            println!("{task}");
            ended += 1;
        }
    }
    Ok(())
}

fn slave(slave: &mut Slave, _args: Args) -> u8 {
    let _cleanup = Cleanup("Slave algo cleanup form.");
    slave.until_shutdown()
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<hello>()
        .master(master)
        .slave(slave)
        .run()
}
