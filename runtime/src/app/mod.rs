//! The application: one binary that is master, slave, or both on one machine.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use ringmw_codec::flags::exit as code;

use crate::app::args::Args;
use crate::app::exit::IntoExit;
use crate::app::parts::{MasterAlgorithm, Parts, SlaveAlgorithm, version_string};
use crate::flags::{self, Role};
use crate::io::signals::outlive_the_file_size_limit;
use crate::io::terminal::{complain, program_name};
use crate::master::Master;
use crate::slave::Slave;
use crate::typed::algorithm::Algorithm;
use crate::typed::registry::RegistryBuilder;

pub(crate) mod args;
mod batch_job;
mod embedded;
pub(crate) mod exit;
pub(crate) mod fingerprint;
pub(crate) mod master_role;
mod node_role;
pub(crate) mod parts;
mod slave_role;

pub use embedded::{Embedded, Ready};

/// An application: its task algorithms, its master algorithm and, if it has its own, its slave
/// algorithm.
///
/// ```no_run
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn hello(name: String) -> String {
///     format!("Hello World: {name}")
/// }
///
/// async fn master(mw: Master, _args: Args) -> Result {
///     let mut greetings = mw.map((0..10).map(|n| hello::task(format!("Task {n}"))));
///     while let Some(greeting) = greetings.try_next().await? {
///         println!("Got result from slave: {greeting:?}");
///     }
///     Ok(())
/// }
///
/// fn main() -> ExitCode {
///     App::new().algorithm::<hello>().master(master).run()
/// }
/// ```
#[derive(Default)]
#[must_use = "an application does nothing until it is run"]
pub struct App {
    algorithms: RegistryBuilder,
    wrong: Option<String>,
    master: Option<MasterAlgorithm>,
    slave: Option<SlaveAlgorithm>,
    version: String,
}

impl App {
    /// An application without anything.
    pub fn new() -> Self {
        App::default()
    }

    /// Adds a task algorithm.
    pub fn algorithm<A: Algorithm>(mut self) -> Self {
        if let Err(error) = self.algorithms.register::<A>() {
            self.wrong.get_or_insert(error.to_string());
        }
        self
    }

    /// Sets the master algorithm.
    pub fn master<F, Fut>(mut self, algorithm: F) -> Self
    where
        F: FnOnce(Master, Args) -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoExit,
    {
        self.master = Some(Box::new(move |mw, args| {
            let future = algorithm(mw, args);
            Box::pin(async move { future.await.into_exit() })
        }));
        self
    }

    /// Sets a slave algorithm of the application's own; the default one computes until it is told to
    /// stop. It runs on the main thread and calls the loops of [`Slave`]. One that returns before it was told leaves with
    /// its own code, 255 for 0: the computation is not finished, and only a slave that leaves with 0 is not run again.
    pub fn slave<F, R>(mut self, algorithm: F) -> Self
    where
        F: Fn(&mut Slave, Args) -> R + Send + Sync + 'static,
        R: IntoExit,
    {
        self.slave = Some(Arc::new(move |slave, args| {
            algorithm(slave, args).into_exit()
        }));
        self
    }

    /// The application's version: master and slaves of different versions refuse each other.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Runs the role that the command line asks for and gives the process's exit code: 0 done, 2 bad
    /// usage, 128 + n a master on signal n, the master algorithm's own, else 255.
    pub fn run(self) -> ExitCode {
        let argv: Vec<_> = std::env::args_os().collect();
        ExitCode::from(self.run_with(argv))
    }

    fn run_with(self, argv: Vec<std::ffi::OsString>) -> u8 {
        let name = program_name(&argv);
        let settings = match flags::parse(argv.into_iter().skip(1)) {
            Ok(settings) => settings,
            Err(error) => {
                complain(&name, &error);
                return code::USAGE;
            }
        };
        let parts = match self.into_parts() {
            Ok(parts) => parts,
            Err(error) => {
                complain(&name, &error);
                return code::ERROR;
            }
        };
        if let Err(error) = outlive_the_file_size_limit() {
            complain(&name, &format!("signals cannot be caught: {error}"));
            return code::ERROR;
        }
        let names = &settings.without_effect;
        if !names.is_empty() {
            let other = match settings.role {
                Role::Slave => "master",
                _ => "slave",
            };
            let names = names.join(", ");
            complain(
                &name,
                &format!("{names}: of a {other} alone, and of no effect here"),
            );
        }
        match settings.role {
            Role::Help { all } => print(&flags::help_text(&name, all)),
            Role::Version => print(&format!("{}\n", version_string(&parts.version))),
            Role::Slave => match settings.slave_count {
                Some(count) => node_role::run(&settings, count, &name),
                None => slave_role::run(parts, settings, &name),
            },
            Role::Master | Role::Local { .. } => master_role::run(parts, settings, &name),
        }
    }

    /// Everything in one process, for tests and debugging: the master in this thread, `slaves` slaves
    /// in threads of their own, the same protocol between them over loopback.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let mut squares = mw.map((0..100).map(square::task)).in_order();
    ///     let mut sum = 0;
    ///     while let Some(square) = squares.try_next().await? {
    ///         sum += square;
    ///     }
    ///     assert_eq!(sum, 328_350);
    ///     Ok(())
    /// }
    ///
    /// assert_eq!(App::new().algorithm::<square>().master(master).embedded(2).run(), 0);
    /// ```
    pub fn embedded(self, slaves: u32) -> Embedded {
        Embedded::new(self, slaves)
    }

    pub(crate) fn into_parts(self) -> Result<Parts, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let registry = self.algorithms.finish();
        // A slave would find out when it says hello.
        crate::app::fingerprint::of(&registry, &self.version)
            .validate()
            .map_err(|error| format!("the application cannot be told in a handshake: {error}"))?;
        Ok(Parts {
            registry: Arc::new(registry),
            master: self.master,
            slave: self.slave,
            version: self.version,
        })
    }
}

fn print(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code::OK,
        Err(_) => code::ERROR,
    }
}
