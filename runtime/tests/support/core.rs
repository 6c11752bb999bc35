//! A master's core without sockets: turns, what it sent to whom, and what became of its tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringmw::internals::engine::{Closed, ConnId};
use ringmw::internals::proto::{AlgorithmInfo, Level, Rules, SmallBytes, Wanted};
use ringmw::internals::proto::{Config, Effect, End, MasterCore, SECOND};
use ringmw_codec::audit::Event;
use ringmw_codec::batch::{BATCH_OVERHEAD_BYTES, TASK_ENTRY_BYTES, TaskBody, encode_task_body};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::{
    About, AlgorithmSignature, Fingerprint, Hello, PROTOCOL_VERSION, Refusal,
};
use ringmw_sched::{AlgorithmId, Nanos, Owner, SlaveId, TaskId, TaskSpec};

use crate::support::{Given, archive, frame, frames_of, hello_frame, result, tasks_in};

pub(crate) const CLIENT_TIMEOUT: Nanos = 4 * SECOND;

/// What one connection was sent.
#[derive(Default)]
struct Line {
    reader: FrameReader,
    frames: Vec<(Kind, Vec<u8>)>,
    read: usize,
    closed: bool,
}

pub(crate) struct Rig {
    pub(crate) core: MasterCore,
    pub(crate) now: Nanos,
    pub(crate) events: Vec<Event>,
    pub(crate) ends: Vec<End>,
    /// Every change of accepting.
    pub(crate) accepting: Vec<bool>,
    lines: BTreeMap<ConnId, Line>,
    connections: u32,
    /// Buffers for those who do not read for now: the engine has not written them.
    unread: BTreeMap<ConnId, Vec<Vec<u8>>>,
}

pub(crate) fn fingerprint() -> Fingerprint {
    Fingerprint {
        app_version: "1.0".into(),
        build: "b".into(),
        format: 1,
        algorithms: vec![AlgorithmSignature {
            name: "square".into(),
            arguments: "u64".into(),
            result: "u64".into(),
            types: 1,
        }],
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: b"m".to_vec(),
        host: "node".into(),
        job: "j".into(),
        pid: 7,
        about: About::default(),
        fingerprint: fingerprint(),
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            run: 0,
            reconnect: 0,
            rules: Rules {
                sched: ringmw_sched::Config {
                    task_packet_bytes_max: 4096,
                    task_packet_overhead_bytes: BATCH_OVERHEAD_BYTES as u32,
                    crash_limit: 2,
                    queued_bytes_max: 1 << 30,
                    take_back: true,
                    ..ringmw_sched::Config::for_test()
                },
                result_packet_bytes_max: 4096,
                result_group: 1,
                task_timeout: None,
                is_crash_limit_given: false,
                client_timeout: CLIENT_TIMEOUT,
                shared_cache_bytes: 1 << 30,
                checkpoint_interval: 10_000_000_000,
                any_build: false,
                level: Level::Tasks,
                log: None,
                wanted: Wanted::Fixed(0),
            },
            unsent_bytes_max: 1 << 20,
            dismisses: false,
            seed: 1,
            member_id: b"m".to_vec(),
            args: Vec::new(),
            fingerprint: fingerprint(),
            algorithms: vec![AlgorithmInfo {
                name: "square",
                of: std::any::TypeId::of::<()>(),
                check_outputs: ringmw::internals::wire::check_each::<u64>,
                hash_args: ringmw_codec::journal::hash_args,
                mentions: None,
                check_said: None,
            }],
        };
        change(&mut config);
        Rig {
            core: MasterCore::new(config, 0),
            now: 0,
            events: Vec::new(),
            ends: Vec::new(),
            accepting: Vec::new(),
            lines: BTreeMap::new(),
            connections: 0,
            unread: BTreeMap::new(),
        }
    }

    /// One turn, `later` than the last.
    pub(crate) fn turn<T>(&mut self, later: Nanos, facts: impl FnOnce(&mut MasterCore) -> T) -> T {
        self.now += later;
        self.core.begin_turn(self.now);
        let value = facts(&mut self.core);
        self.core.check_overdue(true);
        self.core.hand_out();
        while let Some(effect) = self.core.poll_effect() {
            let effect = match effect {
                Effect::SendShared(conn, bytes) => Effect::Send(conn, bytes.to_vec()),
                effect => effect,
            };
            match effect {
                Effect::SendShared(..) => unreachable!("made its own above"),
                Effect::Send(conn, bytes) => {
                    let line = self.lines.get_mut(&conn).expect("only to a connection");
                    assert!(!line.closed, "nothing is sent behind a close");
                    line.frames.extend(frames_of(&mut line.reader, &bytes));
                    match self.unread.get_mut(&conn) {
                        Some(unread) => unread.push(bytes),
                        None => self.core.on_sent(conn, bytes, true),
                    }
                }
                Effect::Close { conn, .. } => {
                    self.lines.get_mut(&conn).expect("only a connection").closed = true
                }
                Effect::Accepting(on) => self.accepting.push(on),
            }
        }
        self.events.extend(self.core.drain_audit());
        let ends = std::iter::from_fn(|| self.core.poll_end());
        self.ends.extend(ends.flat_map(End::each));
        value
    }

    /// From now on it reads nothing. What it was sent can be seen all the same.
    pub(crate) fn stop_reading(&mut self, conn: ConnId) {
        self.unread.entry(conn).or_default();
    }

    /// It reads all that it was sent, and goes on reading.
    pub(crate) fn read_on(&mut self, conn: ConnId) {
        let buffers = self.unread.remove(&conn).unwrap_or_default();
        self.turn(0, |core| {
            for buffer in buffers {
                core.on_sent(conn, buffer, true);
            }
        });
    }

    /// Time passes, in turns as the driver would have them.
    pub(crate) fn pass(&mut self, time: Nanos) {
        let end = self.now + time;
        while self.now < end {
            self.turn((end - self.now).min(SECOND / 2), |_| {});
        }
    }

    pub(crate) fn peer(conn: ConnId) -> SocketAddr {
        SocketAddr::from(([10, 0, (conn.slot() >> 8) as u8, conn.slot() as u8], 4000))
    }

    pub(crate) fn dial(&mut self) -> ConnId {
        let conn = ConnId::new(self.connections, 1);
        self.connections += 1;
        self.lines.insert(conn, Line::default());
        self.turn(0, |core| core.on_accept(conn, Self::peer(conn)));
        conn
    }

    pub(crate) fn join(&mut self) -> ConnId {
        let conn = self.dial();
        self.say(conn, &hello_frame(&hello()));
        assert_eq!(
            self.frames(conn).first().map(|frame| frame.0),
            Some(Kind::Welcome)
        );
        conn
    }

    pub(crate) fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        self.turn(0, |core| core.on_bytes(conn, bytes));
    }

    pub(crate) fn end(&mut self, conn: ConnId) {
        self.turn(0, |core| core.on_closed(conn, Closed::Eof));
    }

    pub(crate) fn beat(&mut self, conn: ConnId) {
        self.say(conn, &frame(Kind::Heartbeat, b""));
    }

    pub(crate) fn submit(&mut self, number: u64) -> TaskId {
        self.submit_to(number, None)
    }

    pub(crate) fn submit_to(&mut self, number: u64, to: Option<SlaveId>) -> TaskId {
        let mut body = Vec::new();
        encode_task_body(
            &mut body,
            &TaskBody {
                domain: 0,
                stream: number,
                tag_type: 0,
                timeout_ms: 0,
                tag: b"",
                args: &archive(number),
            },
        );
        let bytes = (body.len() + TASK_ENTRY_BYTES) as u32;
        let spec = TaskSpec {
            policy: ringmw_sched::Policy {
                to,
                ..ringmw_sched::Policy::default()
            },
            ..TaskSpec::new(AlgorithmId(0), Owner::Queue, bytes)
        };
        self.turn(0, |core| {
            core.submit(spec, SmallBytes::copy_from_slice(&body))
        })
    }

    pub(crate) fn frames(&self, conn: ConnId) -> &[(Kind, Vec<u8>)] {
        &self.lines[&conn].frames
    }

    /// The tasks that came since this was asked last.
    pub(crate) fn given(&mut self, conn: ConnId) -> Vec<Given> {
        let line = self.lines.get_mut(&conn).unwrap();
        let fresh = &line.frames[line.read..];
        let given = fresh
            .iter()
            .filter(|(kind, _)| *kind == Kind::Tasks)
            .flat_map(|(_, payload)| tasks_in(payload))
            .collect();
        line.read = line.frames.len();
        given
    }

    /// Works until there is nothing more to do.
    pub(crate) fn work(&mut self, conn: ConnId) {
        loop {
            let given = self.given(conn);
            if given.is_empty() {
                return;
            }
            for given in given {
                self.say(
                    conn,
                    &result(&given, given.number().wrapping_mul(given.number())),
                );
            }
        }
    }

    pub(crate) fn is_closed(&self, conn: ConnId) -> bool {
        self.lines[&conn].closed
    }

    pub(crate) fn refusal(&self, conn: ConnId) -> Option<String> {
        let refuse = |(kind, payload): &(Kind, Vec<u8>)| {
            (*kind == Kind::Refuse).then(|| Refusal::decode(payload).unwrap().to_string())
        };
        self.frames(conn).iter().find_map(refuse)
    }

    /// Whether the trail says why this peer went.
    pub(crate) fn told_off(&self, conn: ConnId) -> bool {
        let peer = Self::peer(conn).to_string();
        self.events.iter().any(|event| match event {
            Event::Offence { from, reason, .. }
            | Event::Refused { from, reason, .. }
            | Event::Rejected { from, reason } => *from == peer && !reason.is_empty(),
            Event::Lost { from, .. } => *from == peer,
            _ => false,
        })
    }

    /// Every task has exactly one end, a result that is right.
    pub(crate) fn assert_all_squared(
        &self,
        numbers: std::ops::Range<u64>,
        case: &dyn std::fmt::Display,
    ) {
        let mut squares: Vec<u64> = self
            .ends
            .iter()
            .map(|end| match end {
                End::Done(results) => ringmw::internals::wire::decode(results.output()).unwrap(),
                other => panic!("{case}: {other:?}"),
            })
            .collect();
        squares.sort_unstable();
        assert!(
            squares.iter().copied().eq(numbers.map(|n| n * n)),
            "{case}: {squares:?}"
        );
    }
}
