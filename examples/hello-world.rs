//! The first application: ten tasks, ten greetings, in whatever order they come.
//!
//! On this machine alone, with a slave for each core:
//!
//! ```text
//! cargo run --release --example hello-world
//! ```
//!
//! As a master, and as many slaves as you like; the master's trail, on its standard output, says which port it has:
//!
//! ```text
//! hello-world --mw-master --mw-master-host 127.0.0.1 --mw-slave-task-group 10 --mw-slave-result-group 10
//! hello-world --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use ringmw::prelude::*;

#[algorithm]
fn hello(name: String) -> String {
    format!("Hello World: {name}")
}

async fn master(mw: Master, _args: Args) -> Result {
    let mut greetings = mw.map((0..10).map(|n| hello::task(format!("Task {n}"))));
    while let Some(greeting) = greetings.try_next().await? {
        println!("Got result from slave: {greeting:?}");
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<hello>().master(master).run()
}
