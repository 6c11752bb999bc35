//! What the master hears: connections, and every frame of a slave. An honest slave commits no offence.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use ringmw_codec::batch::{self, ResultStatus};
use ringmw_codec::control::{Begun, Goodbye, GoodbyeCode, Offer, Returned, Starting, Withdrawn};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::Hello;
use ringmw_sched::{Death, Departure, Group, SlaveId};

use crate::io::engine::{Closed, ConnId};
use crate::proto::bytes::SmallBytes;
use crate::proto::config::CheckOutputs;
use crate::testing::coverage::{Happening, Must};
use crate::testing::law::Law;
use crate::testing::law::tables::{Conn, Hold, Phase, Place, Slave, record_bytes};
use crate::typed::wire;

impl Law {
    pub(in crate::testing) fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        let fresh = Conn {
            peer: peer.to_string(),
            phase: Phase::Handshake,
            reader: FrameReader::new(),
            heard: self.awake,
            frame_since: None,
            closed: false,
            since: self.awake,
            down: FrameReader::new(),
        };
        self.conns.insert(conn, fresh);
    }

    pub(in crate::testing) fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        if state.phase == Phase::Dropped {
            self.see(conn, Happening::Bytes);
            return;
        }
        state.heard = self.awake;
        self.check_heard(conn, bytes);
        let state = self.conns.get_mut(&conn).expect("looked up above");
        let mut reader = std::mem::take(&mut state.reader);
        let limits = (
            self.config.rules.sched.task_packet_bytes_max,
            self.config.rules.result_packet_bytes_max,
        );
        // Of a stranger nothing but a hello is kept, or a goodbye in its place.
        let stranger = Cell::new(self.conns[&conn].phase == Phase::Handshake);
        let limit =
            |kind: Kind| match stranger.get() && !matches!(kind, Kind::Hello | Kind::Goodbye) {
                true => 0,
                false => kind.limit().bytes(limits.0, limits.1),
            };
        let mut frames = 0;
        let flow = reader.feed(bytes, &limit, &mut |kind, payload| {
            frames += 1;
            stranger.set(false);
            match self.on_frame(conn, kind, payload) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let (awake, begun_record) = (self.awake, self.begun_record(conn));
        let state = self.conns.get_mut(&conn).expect("looked up above");
        let mid_frame = reader.is_mid_frame() || begun_record > 0;
        state.frame_since = match (mid_frame, state.frame_since) {
            (true, Some(since)) if frames == 0 => Some(since),
            (true, _) => Some(awake),
            (false, _) => None,
        };
        state.reader = reader;
        if flow.is_err() {
            self.on_offence(conn);
        }
    }

    pub(in crate::testing) fn on_closed(&mut self, conn: ConnId, why: &Closed) {
        let happening = match why {
            Closed::Eof => Happening::Eof,
            Closed::Error(_) => Happening::Reset,
        };
        self.see(conn, happening);
        if matches!(self.conns[&conn].phase, Phase::Slave(_)) {
            self.check_nothing_left(conn);
        }
        self.lose(conn, Departure::Crashed);
    }

    /// False: the connection is dropped for it.
    fn on_frame(&mut self, conn: ConnId, kind: Kind, payload: &[u8]) -> bool {
        let id = match self.conns[&conn].phase {
            Phase::Slave(id) => id,
            Phase::Handshake if kind == Kind::Hello => return self.on_hello(conn, payload),
            _ => {
                self.on_offence(conn);
                return false;
            }
        };
        let good = match kind {
            Kind::Heartbeat => {
                self.see(conn, Happening::Heartbeat);
                true
            }
            Kind::Results => self.on_results(conn, id, payload),
            Kind::Withdrawn => self.on_withdrawn(conn, id, payload),
            Kind::Returned => self.on_returned(conn, id, payload),
            Kind::Starting => self.on_starting(conn, id, payload),
            Kind::Offer => self.on_offer(conn, payload),
            Kind::Said => self.on_said_frame(id, payload),
            Kind::Heard => self.on_heard_frame(id, payload),
            Kind::Progress => self.on_progress_frame(id, payload),
            Kind::Log => self.on_log_frame(id, payload),
            Kind::Checkpoint => self.on_checkpoint(conn, id, payload),
            Kind::AsksHungry => self.on_asks_hungry(payload),
            Kind::Want => self.on_want(conn, id, payload),
            Kind::Goodbye => match Goodbye::decode(payload) {
                Ok(goodbye) => {
                    self.see(conn, Happening::Goodbye);
                    self.check_nothing_left(conn);
                    let mut death = Death::Connection;
                    let departure = match goodbye {
                        Goodbye {
                            code,
                            begun: Begun::Oldest,
                            ..
                        } if code.is_by_task() => {
                            death = match code {
                                GoodbyeCode::Signalled => Death::Signal,
                                GoodbyeCode::Memory => Death::Memory,
                                _ => Death::Exit,
                            };
                            Departure::Ended
                        }
                        Goodbye {
                            begun: Begun::Any, ..
                        } => Departure::Excused,
                        Goodbye { begun, .. } => Departure::Goodbye {
                            begun: begun == Begun::Oldest,
                        },
                    };
                    self.lose_by(conn, departure, death);
                    return false;
                }
                Err(_) => false,
            },
            _ => false,
        };
        if !good {
            self.on_offence(conn);
        }
        good
    }

    fn on_hello(&mut self, conn: ConnId, payload: &[u8]) -> bool {
        let hello = Hello::decode(payload);
        let good = hello.as_ref().is_ok_and(|hello| {
            hello.member_id == self.config.member_id
                && hello.fingerprint.app_version == self.config.fingerprint.app_version
        });
        let happening = match good {
            true => Happening::Hello,
            false => Happening::BadHello,
        };
        self.see(conn, happening);
        if good {
            let id = SlaveId(self.slaves_ever);
            self.slaves_ever += 1;
            let labels = hello.map_or_else(|_| Vec::new(), |hello| hello.about.labels);
            self.needs.on_slave(id, labels);
            self.conns.get_mut(&conn).expect("it speaks").phase = Phase::Slave(id);
            let slave = Slave {
                conn,
                hands: VecDeque::new(),
                packet: Vec::new(),
                announced: None,
                withdraw: Vec::new(),
                asked: false,
                leaving: self.stopped,
                freed: false,
                group: Group::Unordered,
                stint: 0,
            };
            self.slaves.insert(id, slave);
        } else {
            self.conns.get_mut(&conn).expect("it speaks").phase = Phase::Dropped;
        }
        good
    }

    fn on_results(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(view) = batch::ResultBatchView::decode(payload) else {
            return false;
        };
        let results = view
            .iter()
            .flat_map(|(entry, body)| (0..entry.count).map(move |index| (entry, body, index)));
        for (entry, body, index) in results {
            let (compute, body) = entry.element(body, index);
            let Some(&(task, hold)) = self.slaves[&id].hands.front() else {
                return false;
            };
            if task != entry.task + u64::from(index) {
                return false;
            }
            self.on_result_heard(conn, task);
            if hold != Hold::Live {
                self.see(conn, Happening::Late);
                self.answered(id);
                self.late += 1;
                self.on_hands(id);
                continue;
            }
            let spec = &self.tasks[&task].spec;
            let (algorithm, is_unordered) = (spec.algorithm, spec.policy.to.is_none());
            let done = entry.status == ResultStatus::Done;
            let check = self.config.algorithms[usize::from(algorithm.0)].check_outputs;
            if algorithm.0 != entry.algorithm || (done && !is_valid(check, body)) {
                return false;
            }
            self.see(
                conn,
                if done {
                    Happening::Result
                } else {
                    Happening::Failed
                },
            );
            if is_unordered {
                self.wards.on_answer((id, algorithm.0), task, done);
            }
            let mean = self.means.entry(algorithm.0).or_insert(compute);
            *mean = *mean - *mean / 16 + compute / 16;
            self.answered(id);
            self.drop_twin(task, id);
            if !done {
                self.check_timeout(task, body);
            }
            let must = match done {
                true => Must::Done {
                    slave: id,
                    output: SmallBytes::copy_from_slice(body),
                },
                false => Must::Failed {
                    slave: id,
                    bytes: body.len(),
                },
            };
            self.end(task, must);
            self.on_hands(id);
        }
        true
    }

    fn answered(&mut self, id: SlaveId) {
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        slave.hands.pop_front();
        slave.announced = None;
    }

    fn on_withdrawn(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(withdrawn) = Withdrawn::decode(payload) else {
            return false;
        };
        self.see(conn, Happening::Withdrawn);
        self.on_hands_hungry(id);
        for (task, begun) in withdrawn.tasks {
            let slave = self.slaves.get_mut(&id).expect("it speaks");
            let found = slave
                .hands
                .iter()
                .position(|held| *held == (task, Hold::Withdrawn));
            let Some(at) = found else { return false };
            if begun {
                slave.hands[at].1 = Hold::Begun;
            } else {
                slave.let_go(at);
            }
            self.on_hands(id);
        }
        true
    }

    fn on_returned(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(returned) = Returned::decode(payload) else {
            return false;
        };
        if !std::mem::take(&mut self.slaves.get_mut(&id).expect("it speaks").asked) {
            return false;
        }
        self.see(conn, Happening::Returned);
        self.on_hands_hungry(id);
        for seq in returned.tasks {
            let slave = self.slaves.get_mut(&id).expect("it speaks");
            let Some(at) = slave.hands.iter().position(|held| held.0 == seq) else {
                return false;
            };
            assert!(
                slave.announced != Some(seq) || self.liars.contains(&conn),
                "{id} gives TASK-{seq} back, which it has announced"
            );
            let bound = self.bound.contains(&(id, seq));
            let hold = slave.hands[at].1;
            if hold == Hold::Begun || bound {
                return false;
            }
            slave.let_go(at);
            if hold == Hold::Live && self.let_go(seq, id) {
                let task = self.tasks.get_mut(&seq).expect("it was handed out");
                if let Some(must) = task.why_late() {
                    self.end(seq, must);
                    continue;
                }
                (task.place, task.returned) = (Place::Queued, true);
                self.queued_bytes += record_bytes(&task.spec);
                self.coverage.returned();
            }
        }
        self.on_hands(id);
        true
    }

    fn on_starting(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(Starting { task }) = Starting::decode(payload) else {
            return false;
        };
        self.see(conn, Happening::Starting);
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        if slave.hands.front().is_none_or(|front| front.0 != task) {
            return false;
        }
        let before = slave.announced.replace(task);
        assert!(before.is_none() || before == Some(task));
        true
    }

    fn on_offer(&mut self, conn: ConnId, payload: &[u8]) -> bool {
        let Ok(offer) = Offer::decode(payload) else {
            return false;
        };
        let Some(keys) = self.keys.get_mut(offer.best as usize) else {
            return self.lenient;
        };
        if wire::check::<Vec<u64>>(offer.witness).is_err() {
            return false;
        }
        keys.push(offer.key);
        self.see(conn, Happening::Offer);
        true
    }

    /// From now on this peer may say anything.
    pub(in crate::testing) fn on_liar(&mut self, conn: ConnId) {
        self.liars.insert(conn);
        self.on_excused(conn);
    }

    pub(super) fn on_offence(&mut self, conn: ConnId) {
        let honest =
            matches!(self.conns[&conn].phase, Phase::Slave(_)) && !self.liars.contains(&conn);
        assert!(!honest, "an honest slave on {conn} commits an offence");
        self.see(conn, Happening::Offence);
        self.lose(conn, Departure::Excused);
    }
}

/// Whether an output by itself is one.
fn is_valid(check: CheckOutputs, output: &[u8]) -> bool {
    let alone = batch::Elements::new(1, false, output.len()).expect("short of 4 GiB");
    check(output, alone, 0..1).is_ok()
}
