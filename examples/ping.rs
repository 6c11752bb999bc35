//! Any number of tasks through a queue of a thousand: the general target number is a thermostat that says how many
//! more are wanted, so that memory stays the same however many tasks there are.
//!
//! ```text
//! cargo run --release --example ping -- --tasks 100000 --mw-slave-task-group 100 --mw-slave-result-group 100
//! ```
//!
//! As a master and slaves (the master's trail says which port it has):
//!
//! ```text
//! ping --mw-master --mw-master-host 127.0.0.1 --mw-slave-task-group 100 --mw-slave-result-group 100
//! ping --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use std::time::Instant;

use ringmw::prelude::*;

/// Tasks that wait in the master, on no slave yet.
const QUEUE: u64 = 1_000;

#[algorithm]
fn ping(word: &str) -> String {
    match word {
        "ping" => "ping-ok".into(),
        _ => "ping-not-ok".into(),
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let tasks: u64 = args.value("--tasks", 1_000_000)?;
    let begun = Instant::now();
    let (mut submitted, mut answered, mut most_queued) = (0, 0, 0);
    mw.set_target(QUEUE);
    while answered < tasks {
        let wanted = mw.upto_target().min(tasks - submitted);
        submitted += mw.submit_all((0..wanted).map(|_| ping::task("ping")));
        most_queued = most_queued.max(mw.pending());
        mw.events().await;
        for result in mw.take_results() {
            let answer = result.output::<ping>()?;
            if answer != "ping-ok" {
                return Err(format!("{} answered {answer:?}", result.slave()).into());
            }
            answered += 1;
        }
        if let Some(task) = mw.take_unrunnable().first() {
            return Err(task.to_string().into());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{answered} of {tasks} answered ping-ok");
    println!(
        "{:.0} a second for {seconds:.2} s",
        answered as f64 / seconds
    );
    // What a lost slave had in its hands goes back into the queue, also above the target.
    let above = most_queued.saturating_sub(QUEUE);
    println!("at most {most_queued} in the queue, {above} above its target");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<ping>().master(master).run()
}
