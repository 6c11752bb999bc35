//! What an operator sees of real runs: what `ringmw why` answers, and `ringmw top` in a real terminal.
//!
//! This target has a main of its own, because its binary is the application too: the processes that the tests start are it
//! again.

mod app;
mod questions;
mod screens;

#[path = "../../../runtime/tests/support/crowd.rs"]
#[allow(dead_code)]
mod crowd;
#[path = "../../../runtime/tests/support/need.rs"]
#[allow(unused_macros)]
mod need;
#[path = "../../../runtime/tests/support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../../runtime/tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::need::{Need, trial};
use crate::process::AS_APPLICATION;

fn main() -> ExitCode {
    if std::env::var_os(AS_APPLICATION).is_some() {
        return app::app().run();
    }
    let mut args = Arguments::from_args();
    // Each starts several processes, and looks at what they do together.
    args.test_threads = Some(1);
    let questions = questions::ALL
        .iter()
        .map(|&(name, test)| trial(name, &[], test));
    let screens = screens::SIZES.iter().map(|&size| {
        let name = format!("top_in_a_terminal_with_{size}_slaves");
        let needs: &[Need] = match size {
            5_000 => &[Need::Tmux, Need::ManyFiles],
            _ => &[Need::Tmux],
        };
        trial(&name, needs, move || screens::is_looked_at(size))
    });
    let asked = screens::SIZES.iter().map(|&size| {
        let name = format!("why_with_{size}_slaves");
        let needs: &[Need] = match size {
            5_000 => &[Need::ManyFiles],
            _ => &[],
        };
        trial(&name, needs, move || screens::is_asked(size))
    });
    let trials = questions.chain(screens).chain(asked);
    libtest_mimic::run(&args, trials.collect()).exit_code()
}
