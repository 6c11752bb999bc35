//! A turn of a master and of its journal's thread, as its driver has them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::Block;
use ringmw_codec::secret::Key;
use ringmw_sched::Nanos;

use super::{BESIDE_MAX, Doom, Play, Process, app};
use crate::io::engine::{Closed, ConnId, Handler};
use crate::master::turn;
use crate::master::turn::Ending;
use crate::proto::SECOND;
use crate::proto::conn::Effect;
use crate::proto::master::MasterCore;
use crate::proto::recording::{News, Rest};
use crate::testing::law::lives::LivesLaw;

/// What the engine tells a core.
struct ToCore<'a> {
    core: &'a mut MasterCore,
    keys: &'a mut ChaCha8Rng,
    law: &'a mut LivesLaw,
    number: u32,
    now: Nanos,
}

impl Handler for ToCore<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.law.on_accept(conn, &peer.to_string());
        self.core.on_accept(conn, peer);
        if self.core.has_secret() {
            self.core.on_key(conn, Key::new(self.keys.random()));
        }
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let serves = self.core.serves(conn);
        let (law, number, now) = (&mut *self.law, self.number, self.now);
        self.core.on_received(conn, bytes, &mut |frames| {
            if serves {
                law.on_heard(number, conn, frames, now);
            }
        });
    }

    fn is_long(&self, conn: ConnId) -> bool {
        self.core.is_long(conn)
    }

    fn lend(&mut self, conn: ConnId) -> Option<Block> {
        self.core.lend(conn)
    }

    fn on_block(&mut self, conn: ConnId, bytes: Vec<u8>, more: usize) {
        self.core.on_block(conn, bytes, more, &mut |_| ());
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.core.on_sent(conn, buffer, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.core.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: io::Error) {
        self.core.on_accept_error(&error);
    }
}

impl Play {
    pub(super) fn turns(&mut self) {
        let numbers: Vec<u32> = self.masters.iter().map(|process| process.number).collect();
        for number in numbers {
            let position = |process: &Process| process.number == number;
            let Some(at) = self.masters.iter().position(position) else {
                continue;
            };
            if let Some(until) = self.masters[at].stopped_until {
                if until > self.now {
                    continue;
                }
                self.say(|| format!("master {number} goes on"));
                let process = &mut self.masters[at];
                process.stopped_until = None;
                if process.rest != Rest::Over {
                    process.round_at = self.now;
                }
            }
            if self.masters[at].round_at <= self.now {
                self.round(at);
            }
            if self.due(at) > self.now {
                continue;
            }
            self.turn(at);
            if self.answer.is_some() {
                return;
            }
        }
    }

    /// The journal's thread of a master has its turn.
    pub(super) fn round(&mut self, at: usize) {
        let now = self.now;
        let process = &mut self.masters[at];
        let backlog = Rc::clone(&process.backlog);
        let news = &mut process.news;
        process.rest = process.recording.round(
            &mut process.disk,
            &|| backlog.borrow_mut(),
            (now, 0),
            &mut |said| news.push_back(said),
        );
        if !process.has_results && process.disk.is_alive() {
            process.has_results = process.news.contains(&News::Progress);
            let there = LivesLaw::has_results(&self.files.borrow(), process.life);
            // Behind an operation that the disk refused it says so when that is done.
            let is_late = matches!(process.rest, Rest::Pause(_) | Rest::Over);
            assert!(
                process.has_results == there || (there && is_late),
                "life {} has results: {there}; it says: {}",
                process.life,
                process.has_results
            );
        }
        let soon = now + self.rng.random_range(10_000..5_000_000);
        process.round_at = match process.rest {
            Rest::Over => Nanos::MAX,
            Rest::Until(due) => due.max(soon),
            Rest::Pause(due) => due.max(soon),
        };
        // A disk may be slow.
        if self.is_disturbed && self.dooms_left > 0 && self.rng.random_range(0..100) == 0 {
            process.round_at = process
                .round_at
                .max(now + self.rng.random_range(0..5 * SECOND));
        }
    }

    /// One turn of a master, as its driver has it.
    pub(super) fn turn(&mut self, at: usize) {
        let doomed = self.befall(at);
        if matches!(doomed, Some((Doom::Stop(_), _))) {
            return;
        }
        let now = self.now;
        let process = &mut self.masters[at];
        let number = process.number;
        process.store.step(now);
        let mut is_superseded = None;
        for news in process.news.drain(..) {
            match news {
                News::Synced(barrier) => process.mw.act(|state| state.core.on_recorded(barrier)),
                News::Superseded(life) => is_superseded = Some(life),
                News::Progress | News::Trouble(_) | News::Recovered(_) | News::Full => {}
            }
        }
        if let Some(later) = is_superseded {
            let life = process.life;
            self.lives.superseded += 1;
            self.say(|| format!("life {life} sees life {later}, and ends"));
            self.leave(at);
        }
        let process = &mut self.masters[at];
        if let Some(since) = process.beside_since {
            let beside = now.saturating_sub(since);
            let stopped = process.leaves_until.is_some();
            assert!(
                stopped || beside < BESIDE_MAX + 20 * SECOND,
                "life {} has gone on beside a later one for {} s",
                process.life,
                beside / SECOND
            );
        }
        process.mw.enter_turn();
        self.fleet.at = number;
        let (fleet, keys, law) = (&mut self.fleet, &mut self.keys, &mut self.law);
        let mw = process.mw.clone();
        let taken = mw.work(|state| {
            turn::begin(state, now, |want, core| {
                Ok(fleet.take(
                    want,
                    &mut ToCore {
                        core,
                        keys,
                        law,
                        number,
                        now,
                    },
                ))
            })
        });
        assert!(taken.is_ok(), "nothing can fail here");
        mw.on_pass();
        process.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&process.woken));
        let mut cx = Context::from_waker(&waker);
        let ended = match process.leaves_until {
            None => turn::application(&mw, process.algorithm.as_mut(), &mut process.light, &mut cx),
            Some(_) => None,
        };
        for (stream, args) in app::take_begun_before() {
            let algorithm = app::once_index(&self.registry);
            let key = self.law.key_of(algorithm, stream, &args);
            self.law
                .on_begun_before(number, key, now, &self.files.borrow());
        }
        let mut effects = VecDeque::new();
        let law = &mut self.law;
        let barrier = mw.work(|state| {
            turn::end(
                state,
                || None,
                |core, effect| {
                    let effect = match effect {
                        Effect::SendShared(conn, bytes) => Effect::Send(conn, bytes.to_vec()),
                        effect => effect,
                    };
                    let frames = match &effect {
                        Effect::Send(conn, frames) => Some((*conn, frames.clone())),
                        _ => None,
                    };
                    effects.push_back((frames, core.seal(effect)));
                },
            );
            let events: Vec<_> = state.core.drain_audit().collect();
            for event in events {
                self.fleet.say(|| format!("    {number}: {event:?}"));
                law.on_line(&event);
            }
            drop(state.core.take_logs());
            state.core.take_payloads(&mut process.payloads)
        });
        law.on_payloads(&process.payloads);
        if barrier.is_some() || !process.payloads.is_empty() {
            process
                .backlog
                .borrow_mut()
                .push(&process.payloads, barrier);
            process.payloads.clear();
            if let Rest::Until(_) = process.rest {
                let soon = now + self.rng.random_range(0..3_000_000);
                process.round_at = process.round_at.min(soon);
            }
        }
        let kills = matches!(doomed, Some((Doom::Kill | Doom::Power, _)));
        let left = match doomed {
            Some((_, left)) if kills => left,
            _ => usize::MAX,
        };
        for (frames, effect) in effects.drain(..).take(left) {
            if let Some((conn, frames)) = frames {
                law.on_send(number, conn, &frames, &self.files.borrow());
            }
            self.fleet.perform(effect);
        }
        mw.leave_turn(&waker);
        if kills {
            if self.rng.random_range(0..2) == 0 {
                self.round(at);
            }
            let has_power = !matches!(doomed, Some((Doom::Power, _)));
            return self.gone(at, has_power);
        }
        let process = &mut self.masters[at];
        process.busy_until = now + self.rng.random_range(1_000..300_000);
        if process
            .leaves_until
            .is_some_and(|until| until <= now || mw.connected() == 0)
        {
            return self.gone(at, true);
        }
        match ended {
            None => {}
            Some(Ending::Returned(answer)) => self.answer = Some(answer),
            Some(Ending::Panicked(panic)) => std::panic::resume_unwind(panic),
            Some(Ending::Signal(_) | Ending::Superseded(_) | Ending::Stopped(_)) => {
                unreachable!("there is nothing outside this world")
            }
        }
        while self.fleet.listening.is_some() && self.fleet.processes() < self.habits.slaves {
            self.fleet.join_later(2 * SECOND);
        }
    }
}
