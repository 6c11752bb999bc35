//! Master and slaves in one process.

use std::sync::Arc;
use std::thread;

use ringmw_codec::handshake::{About, Hello};
use ringmw_codec::secret::Secret;

use crate::app::parts::SlaveSide;
use crate::app::{App, master_role, slave_role};
use crate::flags;
use crate::io::files::audit::{AuditWriter, Sink};
use crate::proto::config::Bounds;
use crate::slave::{self, Join, Slave, Via};

/// The stack of a slave's thread: the usual one of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// An application that runs in one process; see [`App::embedded`].
#[must_use = "an application does nothing until it is run"]
pub struct Embedded {
    app: App,
    slaves: u32,
    args: Vec<String>,
    on_ready: Option<Box<dyn FnOnce(Ready)>>,
}

/// What another slave, a played one for example, needs to join an embedded master.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The run's secret, which a slave must prove to know; none with `--mw-no-secret`.
    pub secret: Option<Secret>,
    /// Where the master listens, as `host:port`.
    pub address: String,
    /// What this very application's slaves say first.
    pub hello: Hello,
}

impl Embedded {
    pub(super) fn new(app: App, slaves: u32) -> Self {
        Embedded {
            app,
            slaves,
            args: Vec::new(),
            on_ready: None,
        }
    }

    /// Arguments as on the command line: the user's, and the `--mw-*` of a master; `--mw-slave-label` is for all slaves.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Calls `ready` when the master listens, before its own slaves are started.
    pub fn on_ready(mut self, ready: impl FnOnce(Ready) + 'static) -> Self {
        self.on_ready = Some(Box::new(ready));
        self
    }

    /// Runs to the end and gives the exit code that a process would have.
    ///
    /// # Panics
    /// With the master algorithm's own panic, so that a test shows it.
    pub fn run(self) -> u8 {
        let settings = match flags::parse(self.args.into_iter().map(Into::into)) {
            Ok(settings) => settings,
            Err(error) => panic!("{error}"),
        };
        let parts = self
            .app
            .into_parts()
            .unwrap_or_else(|error| panic!("{error}"));
        slave::panics::remember_panics();
        let (slaves, on_ready) = (self.slaves, self.on_ready);
        let labels = settings.labels.clone();
        let slave = Arc::new(parts.slave_side());
        master_role::run_embedded(parts, settings, move |address, member_id, secret| {
            let ready = Ready {
                secret,
                address,
                hello: slave_role::hello(
                    &slave,
                    &member_id,
                    About {
                        labels,
                        ..About::default()
                    },
                ),
            };
            if let Some(tell) = on_ready {
                tell(ready.clone());
            }
            for index in 0..slaves {
                let name = format!("ringmw-slave-{index}");
                spawn_slave(name, Arc::clone(&slave), ready.clone());
            }
        })
    }
}

fn spawn_slave(name: String, parts: Arc<SlaveSide>, ready: Ready) {
    thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(move || be_slave(&parts, ready))
        .expect("a thread for each embedded slave");
}

/// A slave that must leave a thread at a task which has timed out is replaced by another.
fn be_slave(parts: &Arc<SlaveSide>, ready: Ready) {
    let replace = {
        let (parts, ready) = (Arc::clone(parts), ready.clone());
        move || spawn_slave("ringmw-slave-again".to_owned(), parts, ready)
    };
    let join = Join {
        via: Via::Dial(vec![ready.address]),
        birth: slave::birth(
            ready.hello,
            ready.secret,
            Bounds::default(),
            &parts.registry,
            Some(0),
        ),
        registry: Arc::clone(&parts.registry),
        audit: Arc::new(AuditWriter::open(Sink::None).expect("no file is opened")),
        term: None,
        own_args: Vec::new(),
        word: None,
        replace: Some(Box::new(replace)),
        memory_max: None,
        back: None,
    };
    match Slave::join(join) {
        Ok(mut slave) => {
            slave_role::serve(&mut slave, parts, true);
        }
        Err(error) => eprintln!("an embedded slave: {error}"),
    }
}
