//! A master in this process, and its slaves in others.

use std::cell::Cell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ringmw::Ready;
use ringmw::internals::engine::{self, Choice};
use ringmw::prelude::*;
use serde_json::Value;

use crate::played::{self, Cast};

/// A master's slaves.
#[derive(Clone, Debug)]
pub enum Slaves {
    /// Processes of this very binary.
    Real(u32),
    /// One process of this very binary that plays them all.
    Played(Cast),
}

impl Slaves {
    /// How many there are.
    pub fn count(&self) -> u32 {
        match self {
            Slaves::Real(count) => *count,
            Slaves::Played(cast) => cast.slaves,
        }
    }
}

/// How a master is run.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// Its slaves.
    pub slaves: Slaves,
    /// `auto`, `ring` or `epoll`.
    pub engine: &'a str,
    /// Where its trail goes, and the level.
    pub trail: Option<(&'a Path, &'a str)>,
    /// Tasks per packet; 0 is automatic.
    pub group: u32,
    /// Results per packet, where they are not as many.
    pub result_group: Option<u32>,
    /// A busy slave may have packets ahead: the master's default.
    pub prefetch: bool,
    /// Encrypted, as a run is that is not told otherwise.
    pub secret: bool,
}

/// What a benchmark calls its run with a secret, or without.
pub fn security_word(secret: bool) -> &'static str {
    if secret { "secret" } else { "none" }
}

/// Runs a master algorithm with slaves: what it gives, and what the played slaves report (`null` of real ones).
///
/// # Panics
/// When the master algorithm fails or a slave cannot be started: a benchmark that does not run is no benchmark.
pub fn run<T: 'static, F, Fut>(app: App, setting: &Setting<'_>, algorithm: F) -> (T, Value)
where
    F: FnOnce(Master) -> Fut + 'static,
    Fut: Future<Output = Result<T>>,
{
    run_with(app, setting, &[], algorithm)
}

/// As [`run`], with more flags of the master's.
///
/// # Panics
/// As [`run`].
pub fn run_with<T: 'static, F, Fut>(
    app: App,
    setting: &Setting<'_>,
    flags: &[&str],
    algorithm: F,
) -> (T, Value)
where
    F: FnOnce(Master) -> Fut + 'static,
    Fut: Future<Output = Result<T>>,
{
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret_file = folder.path().join("secret");
    let secret_flags = match setting.secret {
        true => vec![
            "--mw-secret-file".to_owned(),
            secret_file.display().to_string(),
        ],
        false => vec!["--mw-no-secret".to_owned()],
    };
    let slave_flags = match setting.secret {
        true => secret_flags.clone(),
        false => Vec::new(),
    };
    let value = Rc::new(Cell::new(None));
    let result = Rc::clone(&value);
    let children = Rc::new(Cell::new(Vec::new()));
    let started = Rc::clone(&children);
    let slaves = setting.slaves.clone();
    let trail = setting.trail.into_iter().flat_map(|(file, level)| {
        let file = file.display().to_string();
        [
            "--mw-audit-file".into(),
            file,
            "--mw-audit-level".into(),
            level.into(),
        ]
    });
    let group_word = |group: u32| match group {
        0 => "auto".to_owned(),
        number => number.to_string(),
    };
    let group = group_word(setting.group);
    let result_group = group_word(setting.result_group.unwrap_or(setting.group));
    let prefetch = if setting.prefetch { "on" } else { "off" };
    let code = app
        .master(async move |mw: Master, _| {
            result.set(Some(algorithm(mw).await?));
            Ok::<(), Error>(())
        })
        .embedded(0)
        .args(trail)
        .args(["--mw-engine", setting.engine])
        .args(secret_flags)
        .args(flags.iter().copied())
        .args(["--mw-slave-task-group", &group])
        .args(["--mw-slave-result-group", &result_group])
        .args(["--mw-slave-prefetch", prefetch])
        .on_ready(move |ready| started.set(start(&ready, &slaves, &slave_flags)))
        .run();
    let mut report = Value::Null;
    for mut child in children.take() {
        match setting.slaves {
            Slaves::Real(_) => drop(
                child
                    .wait()
                    .expect("a slave that was started can be waited for"),
            ),
            Slaves::Played(_) => report = played::wait(child).expect("the played slaves report"),
        }
    }
    assert_eq!(code, 0, "the master algorithm failed");
    (
        value.take().expect("the master algorithm gave a value"),
        report,
    )
}

/// Waits until so many slaves are connected.
pub async fn connected(mw: &Master, slaves: u32) {
    while mw.connected() < slaves as usize {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The engine that a master with this flag runs on: `ring` or `epoll`.
///
/// # Panics
/// When there is no such engine here.
pub fn engine_word(flag: &str) -> &'static str {
    let choice: Choice = flag
        .parse()
        .unwrap_or_else(|error| panic!("--engine: {error}"));
    if choice == Choice::Epoll {
        return "epoll";
    }
    let listener = engine::listen("127.0.0.1:0".parse().expect("an address"))
        .unwrap_or_else(|error| panic!("a listening socket: {error}"));
    match engine::open(Choice::Ring, listener) {
        Ok(_) => "ring",
        Err(_) if choice == Choice::Auto => "epoll",
        Err(error) => panic!("--engine ring: {error}"),
    }
}

fn start(ready: &Ready, slaves: &Slaves, flags: &[String]) -> Vec<Child> {
    match slaves {
        Slaves::Played(cast) => {
            vec![played::start(ready, cast).expect("this very binary can be started")]
        }
        Slaves::Real(count) => (0..*count).map(|_| start_slave(ready, flags)).collect(),
    }
}

fn start_slave(ready: &Ready, flags: &[String]) -> Child {
    let (host, port) = ready.address.rsplit_once(':').expect("host:port");
    let member = str::from_utf8(&ready.hello.member_id).expect("an embedded master's is text");
    Command::new("/proc/self/exe")
        .args([
            "--mw-slave",
            "--mw-master-host",
            host,
            "--mw-master-port",
            port,
        ])
        .args(["--mw-member-id", member])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("this very binary can be started")
}
