//! What a run looks like from outside: the schema of `/status.json`, which is also what `ringmw top` is told.
//!
//! A reader passes over fields that it does not know, and takes those that are missing for empty, so that tools and
//! masters of different age understand each other; a field that changes its meaning raises [`STATUS_VERSION`].
//!
//! Times on the master's wall clock are microseconds since the start of 1970, UTC, and end in `_us`; durations end in
//! their unit. Numbers that may pass 2^53, which scripts would round, are texts.
//!
//! Version 1: the first.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// The version of the schema, its first field.
pub const STATUS_VERSION: u32 = 1;

/// Slaves that are listed one by one; of more only hosts and groups are told.
pub const SLAVES_LISTED_MAX: usize = 5_000;

/// Messages that are kept, the newest.
pub const MESSAGES_MAX: usize = 100;

/// A run as its master saw it last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// When the master published this.
    pub at_us: i64,
    /// How old it was when it was told.
    pub age_ms: u64,
    /// For how long the master algorithm has held the master's thread by then; 0 if it does not.
    pub held_ms: u64,
    /// The run.
    pub run: Run,
    /// Tasks by what has become of them.
    pub tasks: Tasks,
    /// How many slaves there are and should be.
    pub slaves: Slaves,
    /// Groups of slaves.
    pub groups: Vec<Group>,
    /// Every algorithm that is registered.
    pub algorithms: Vec<Algorithm>,
    /// Hosts that slaves have come from, by name.
    pub hosts: Vec<Host>,
    /// Slaves one by one in the order of their numbers; empty if there are more than [`SLAVES_LISTED_MAX`].
    pub each: Vec<Slave>,
    /// Why slaves were lost.
    pub losses: Vec<Loss>,
    /// What the trail said beside packets and churn, the newest last, at most [`MESSAGES_MAX`].
    pub messages: Vec<Message>,
    /// What there is beside: a name and a value each, for people.
    pub more: Vec<(String, String)>,
}

/// What the run is, and how its master does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The application's name: that of its binary.
    pub name: String,
    /// ringmw's version.
    pub ringmw: String,
    /// The application's version.
    pub app_version: String,
    /// The identity of its binary.
    pub build: String,
    /// The master's host.
    pub host: String,
    /// The master's process there.
    pub pid: u32,
    /// `ring` or `epoll`.
    pub engine: String,
    /// The seed, as a text.
    pub seed: String,
    /// Where slaves reach the master.
    pub addresses: Vec<String>,
    /// Since when the master runs.
    pub since_us: i64,
    /// For how long.
    pub uptime_ms: u64,
    /// The master tells its slaves to go.
    pub is_leaving: bool,
    /// Turns that took more than a second.
    pub stalls: u64,
    /// The share of the master's time in which its thread was busy, 0 to 1, over the last seconds.
    pub load: f64,
    /// Packets of tasks sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Packets of results received.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Bytes kept for slaves that have not read them.
    pub unsent_bytes: u64,
}

/// Tasks, of all algorithms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tasks {
    /// Submitted so far.
    pub submitted: u64,
    /// Queued in the master.
    pub queued: u64,
    /// In slaves' hands.
    pub running: u64,
    /// Ended with a result.
    pub done: u64,
    /// Ended with a failed result.
    pub failed: u64,
    /// Ended without having been run.
    pub unrunnable: u64,
    /// Taken back by the application.
    pub cancelled: u64,
    /// Handed out again since their slave was lost.
    pub recycled: u64,
    /// Handed to a second slave since they ran so long.
    pub duplicated: u64,
    /// Results that came when their task had ended.
    pub late: u64,
    /// Tasks that ended in a second, over the last seconds.
    pub rate: f64,
    /// What queued tasks take, in bytes.
    pub queued_bytes: u64,
    /// Their bound.
    pub queued_bytes_max: u64,
    /// Ends that the master algorithm has not taken.
    pub ready: u64,
    /// Queued tasks that no connected slave may run.
    pub waiting_for_nobody: u64,
}

/// How many slaves there are and should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slaves {
    /// Connected.
    pub connected: u64,
    /// Of them with tasks in hand.
    pub busy: u64,
    /// Desired.
    pub desired: u64,
    /// Missing of those.
    pub needed: u64,
    /// Since when some are missing without a break.
    pub needed_since_us: Option<i64>,
    /// Came so far.
    pub came: u64,
    /// Lost so far.
    pub lost: u64,
    /// Left as they were told to.
    pub left: u64,
    /// Refused so far, and handshakes that broke off.
    pub refused: u64,
    /// Handshakes under way.
    pub pending: u64,
    /// Get no unordered tasks of some algorithm, since theirs fail while others' succeed.
    pub quarantined: u64,
}

/// A group of slaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// `ordered`, `intermingle` or `unordered`.
    pub group: String,
    /// Desired in it.
    pub desired: u64,
    /// In it.
    pub here: u64,
}

/// Tasks of one algorithm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Algorithm {
    /// Its name.
    pub name: String,
    /// Submitted so far.
    pub submitted: u64,
    /// Queued in the master.
    pub queued: u64,
    /// In slaves' hands.
    pub running: u64,
    /// Ended with a result.
    pub done: u64,
    /// Ended with a failed result.
    pub failed: u64,
    /// Ended without having been run.
    pub unrunnable: u64,
    /// Taken back by the application.
    pub cancelled: u64,
    /// Results in a second, failed ones included, over the last seconds.
    pub rate: f64,
    /// Compute times.
    pub compute: Times,
}

/// Compute times of tasks, in nanoseconds; of large packets some tasks stand for the others. All 0 without a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// Of all results together.
    pub sum_ns: Nanos,
    /// Half of them took no longer, within a tenth.
    pub p50_ns: Nanos,
    /// Nine of ten.
    pub p90_ns: Nanos,
    /// Ninety-nine of a hundred.
    pub p99_ns: Nanos,
    /// The longest.
    pub max_ns: Nanos,
}

/// A host that slaves have come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub host: Arc<str>,
    /// Slaves on it.
    pub slaves: u32,
    /// Of them with tasks in hand.
    #[serde(default)]
    pub busy: u32,
    /// Results of its slaves so far, those that are gone included.
    #[serde(default)]
    pub done: u64,
    /// Failed ones.
    #[serde(default)]
    pub failed: u64,
    /// Slaves of it that were lost.
    #[serde(default)]
    pub lost: u64,
    /// Compute time of its results, in milliseconds.
    #[serde(default)]
    pub compute_ms: u64,
}

/// What a slave is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// It has no task.
    #[default]
    Idle,
    /// It has tasks.
    Busy,
    /// It gets no more work and moves to another group once its hands are empty.
    Moving,
    /// It does not read what it is sent, and so gets no work.
    Behind,
    /// It was told to go.
    Leaving,
}

impl Doing {
    /// The word in the status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Doing::Idle => "idle",
            Doing::Busy => "busy",
            Doing::Moving => "moving",
            Doing::Behind => "behind",
            Doing::Leaving => "leaving",
        }
    }
}

/// A connected slave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slave {
    /// Its number: 17 for `SLAVE-17`.
    pub slave: u32,
    /// Its host.
    pub host: Arc<str>,
    /// Its address.
    pub from: SocketAddr,
    /// Its batch job, or empty.
    #[serde(default)]
    pub job: Arc<str>,
    /// Its process there.
    #[serde(default)]
    pub pid: u32,
    /// `ordered`, `intermingle` or `unordered`.
    pub group: std::borrow::Cow<'static, str>,
    /// What it is doing.
    pub state: Doing,
    /// For how long it is connected.
    #[serde(default)]
    pub age_ms: u64,
    /// Tasks in its hands.
    #[serde(default)]
    pub held: u32,
    /// How long ago the first of them came to be the first; 0 without one.
    #[serde(default)]
    pub first_ms: u64,
    /// Its results.
    #[serde(default)]
    pub done: u64,
    /// Of them failed.
    #[serde(default)]
    pub failed: u64,
    /// Their compute time, in milliseconds.
    #[serde(default)]
    pub compute_ms: u64,
    /// How far the task is that it runs, if that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Algorithms of which it gets no unordered tasks, since its fail while others' succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Arc<str>>,
}

/// How far a running task is, as it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Its number: 7 for `TASK-7`.
    pub task: u64,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do; 0 if that is not known.
    pub total: u64,
}

/// Slaves lost for one cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// The trail's word for it.
    pub cause: String,
    /// How many.
    pub slaves: u64,
    /// When the last of them.
    pub last_us: i64,
}

/// What the trail said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// When.
    pub at_us: i64,
    /// One line.
    pub text: String,
}

/// The answer to a question, or to a wish: text for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Nothing is known of what was asked, or it was not done: why. Then there may be lines all the same.
    pub error: Option<String>,
    /// For how long the master algorithm has held the master's thread: then the answer is as of before that.
    pub held_ms: u64,
    /// The answer.
    pub lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_what_it_knows_and_misses_nothing() {
        let text = r#"{"version":1,"held_ms":30000,"from_tomorrow":{"x":[1]},"tasks":{"done":7,"odd":"8"},
            "each":[{"slave":3,"host":"n1","from":"10.0.0.1:99","group":"unordered","state":"busy","new":1}]}"#;
        let status: Status = serde_json::from_str(text).expect("unknown fields are passed over");
        assert_eq!(
            (status.held_ms, status.tasks.done, status.tasks.failed),
            (30_000, 7, 0)
        );
        assert_eq!(
            (&*status.each[0].host, status.each[0].state),
            ("n1", Doing::Busy)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let status = Status {
            version: STATUS_VERSION,
            run: Run {
                seed: u64::MAX.to_string(),
                ..Run::default()
            },
            each: vec![Slave {
                slave: 17,
                host: "node\"7\u{1b}".into(),
                from: "[::1]:4432".parse().expect("an address"),
                job: "".into(),
                pid: 1,
                group: "ordered".into(),
                state: Doing::Behind,
                age_ms: 1,
                held: 2,
                first_ms: 3,
                done: 4,
                failed: 5,
                compute_ms: 6,
                progress: Some(Progress {
                    task: 7,
                    done: 3,
                    total: 10,
                }),
                quarantined: vec!["step".into()],
            }],
            more: vec![("journal".into(), "12 records".into())],
            ..Status::default()
        };
        let text = serde_json::to_string(&status).expect("it can be written");
        assert!(text.starts_with(r#"{"version":1,"#), "{text}");
        assert_eq!(serde_json::from_str::<Status>(&text).expect("read"), status);
        for doing in [
            Doing::Idle,
            Doing::Busy,
            Doing::Moving,
            Doing::Behind,
            Doing::Leaving,
        ] {
            let text = serde_json::to_string(&doing).expect("it can be written");
            assert_eq!(text, format!("{:?}", doing.word()));
        }
    }
}
