//! The master's own code without kernel and slaves: what a task costs in each part of a turn.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use ringmw_codec::audit::{Stamp, Who};
use ringmw_codec::batch::{self, ResultBatchBuilder, ResultStatus, TaskSeries};
use ringmw_codec::frame::{self, FrameReader, Kind};

use super::script::hello;
use crate::app::args::Args;
use crate::app::exit::Exit;
use crate::app::{App, master_role};
use crate::flags;
use crate::io::clock::Clock;
use crate::io::engine::ConnId;
use crate::master::state::State;
use crate::master::turn::Ending;
use crate::master::{Master, turn};
use crate::proto::conn::Effect;
use crate::proto::master::MasterCore;
use crate::typed::cx::Cx;
use crate::typed::registry::{AlgorithmIndex, Registry};

/// A run of an application's master algorithm against slaves that answer every packet at once with the same output.
///
/// The cores, their turns and the trail's lines are those that ship; there is no kernel, no other process and no
/// waiting, so that the thread's CPU time is the master's own code and nothing else. For benchmarks and profiles.
#[derive(Clone, Debug)]
pub struct Alone {
    /// Slaves.
    pub slaves: u32,
    /// How many of them answer in one turn.
    pub packets_per_turn: usize,
    /// The master's flags.
    pub flags: Vec<String>,
    /// The archive of the output that every task has; empty: what its algorithm gives, outside of what is measured.
    pub output: Vec<u8>,
}

/// What the parts of all turns have cost, in CPU time of this thread.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Frames are read, results checked and accepted, ends told to their owners.
    pub take: Duration,
    /// The master algorithm: takes results, submits tasks.
    pub application: Duration,
    /// Tasks are handed out, packets made, the trail's lines written.
    pub hand_out: Duration,
    /// Turns.
    pub turns: u64,
    /// Packets of results that were taken.
    pub packets: u64,
    /// Results that were taken.
    pub results: u64,
}

impl Parts {
    /// All three.
    pub fn sum(&self) -> Duration {
        self.take + self.application + self.hand_out
    }
}

/// CPU time of this thread so far.
fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A slave's side of a connection.
struct Peer {
    id: ConnId,
    reader: FrameReader,
    /// The answers that it has not sent.
    says: Vec<Vec<u8>>,
}

impl Alone {
    /// Runs the application's master algorithm to its end.
    ///
    /// # Panics
    /// With the master algorithm's own panic, and when it waits for what never comes.
    pub fn run(&self, app: App) -> Parts {
        let settings = flags::parse(self.flags.iter().map(Into::into))
            .unwrap_or_else(|error| panic!("{error}"));
        let mut parts = app.into_parts().unwrap_or_else(|error| panic!("{error}"));
        let algorithm = parts.master.take().expect("it has a master algorithm");
        let registry = Arc::clone(&parts.registry);
        let member_id = "alone";
        let config = master_role::config(&settings, member_id, &parts.version, &registry, 1);
        let clock = Clock::start();
        let state = State::new(
            MasterCore::new(config, 0),
            registry.entries().len(),
            settings.ready_bytes_max,
        );
        let mw = Master::new(state, Arc::clone(&registry), clock, 1);
        let mut hello_frame = Vec::new();
        let mark = frame::begin_frame(&mut hello_frame, Kind::Hello);
        hello(&registry, &parts.version, member_id.as_bytes()).encode(&mut hello_frame);
        frame::finish_frame(&mut hello_frame, mark);
        let mut run = Run {
            alone: self,
            algorithm: algorithm(mw.clone(), Args::new(settings.user.clone())),
            mw,
            light: FuturesUnordered::new(),
            peers: Vec::new(),
            next: 0,
            parts: Parts::default(),
            line: Vec::new(),
            clock,
            registry,
        };
        for slot in 0..self.slaves {
            run.peers.push(Peer {
                id: ConnId::new(slot, 0),
                reader: FrameReader::new(),
                says: vec![hello_frame.clone()],
            });
        }
        run.until_over()
    }
}

struct Run<'a> {
    alone: &'a Alone,
    mw: Master,
    algorithm: Pin<Box<dyn Future<Output = Exit>>>,
    light: FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>,
    peers: Vec<Peer>,
    /// The slave that answers next.
    next: usize,
    parts: Parts,
    line: Vec<u8>,
    clock: Clock,
    registry: Arc<Registry>,
}

impl Run<'_> {
    fn until_over(mut self) -> Parts {
        loop {
            if let Some(ending) = self.turn() {
                if let Ending::Panicked(panic) = ending {
                    std::panic::resume_unwind(panic);
                }
                return self.parts;
            }
        }
    }

    fn turn(&mut self) -> Option<Ending<Exit>> {
        let mw = self.mw.clone();
        let now = self.clock.now();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut heard = Vec::new();
        for _ in 0..self.peers.len() {
            let at = self.next;
            self.next = (self.next + 1) % self.peers.len();
            let state = &mut self.peers[at];
            if !state.says.is_empty() {
                heard.push((state.id, state.says.remove(0)));
            }
            if heard.len() == self.alone.packets_per_turn {
                break;
            }
        }
        let begun = thread_cpu();
        mw.enter_turn();
        let first = self.parts.turns == 0;
        let taken = mw.work(|state| {
            turn::begin(state, now, |_, core| {
                if first {
                    self.peers
                        .iter()
                        .for_each(|state| core.on_accept(state.id, peer));
                }
                for (conn, bytes) in &heard {
                    core.on_bytes(*conn, bytes);
                }
                Ok(true)
            })
        });
        assert!(taken.is_ok(), "nothing can fail here");
        mw.on_pass();
        let taken = thread_cpu();
        let mut cx = Context::from_waker(Waker::noop());
        let ended = turn::application(&mw, self.algorithm.as_mut(), &mut self.light, &mut cx);
        let applied = thread_cpu();
        let mut sent = Vec::new();
        mw.work(|state| {
            turn::end(
                state,
                || None,
                |core, effect| match core.seal(effect) {
                    Effect::Send(conn, bytes) => sent.push((conn, bytes)),
                    Effect::SendShared(conn, bytes) => sent.push((conn, bytes.to_vec())),
                    _ => {}
                },
            );
            drop(state.core.take_logs());
            let stamp = Stamp::new(0, Who::Master);
            for event in state.core.drain_audit() {
                self.line.clear();
                stamp.write(&event, &mut self.line);
            }
        });
        mw.leave_turn(Waker::noop());
        let handed = thread_cpu();
        self.parts.turns += 1;
        if !heard.is_empty() {
            self.parts.take += taken - begun;
            self.parts.application += applied - taken;
            self.parts.hand_out += handed - applied;
        }
        let waits = sent.is_empty() && self.peers.iter().all(|state| state.says.is_empty());
        assert!(
            !waits || mw.asks_for_pass() || ended.is_some() || self.parts.turns < 10,
            "the master algorithm waits for what never comes"
        );
        for (conn, bytes) in sent {
            self.answer(conn, &bytes);
            mw.work(|state| state.core.on_sent(conn, bytes, true));
        }
        ended
    }

    fn answer(&mut self, conn: ConnId, bytes: &[u8]) {
        let state = &mut self.peers[conn.slot()];
        let (says, output, parts) = (&mut state.says, &self.alone.output, &mut self.parts);
        let registry = &self.registry;
        let fed = state
            .reader
            .feed(bytes, &|_| u32::MAX, &mut |kind, payload| {
                if kind == Kind::Tasks {
                    let view = batch::TaskBatchView::decode(payload).expect("the master's own");
                    let mut results = ResultBatchBuilder::new();
                    let mut given = output.clone();
                    for (entry, body) in view.iter() {
                        let series =
                            TaskSeries::parse(body, entry.count).expect("the master's own");
                        let algorithm = registry.get(AlgorithmIndex(entry.algorithm));
                        let run = algorithm.expect("the master's own").run;
                        for index in 0..entry.count {
                            let task = entry.task + u64::from(index);
                            if output.is_empty() {
                                let args = series.nth(index).expect("the master's own").args;
                                given.clear();
                                run(args, &mut Cx::for_test(1), &mut given).expect("it gives one");
                            }
                            let done = ResultStatus::Done;
                            results.push(task, entry.algorithm, done, 100, &given);
                        }
                    }
                    let mut out = Vec::new();
                    let mark = frame::begin_frame(&mut out, Kind::Results);
                    results.encode(&mut out);
                    frame::finish_frame(&mut out, mark);
                    parts.packets += 1;
                    parts.results += view.tasks();
                    says.push(out);
                }
                ControlFlow::<()>::Continue(())
            });
        assert!(fed.is_ok(), "the master sends whole frames");
    }
}
