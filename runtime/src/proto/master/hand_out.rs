//! The one pass at the end of a turn: tasks to every slave with room, keys to those that have not heard of them.

use ringmw_codec::audit::Event;
use ringmw_codec::batch::{BOUND, CONVERSES, MARKED};
use ringmw_codec::control::Recall;
use ringmw_codec::frame::{self, Kind};
use ringmw_sched::{AUTO, Series, SlaveId};

use super::incumbents::tell_bests;
use super::{MasterCore, trail};
use crate::proto::put;
use crate::proto::series::Body;

impl MasterCore {
    /// Hands tasks to every slave with room, then prepares all that is to be sent.
    pub fn hand_out(&mut self) {
        if self.config.dismisses && self.stopping.is_none() {
            self.dismiss();
        }
        self.relieve();
        self.remember_bests();
        let mut sent = Vec::new();
        loop {
            self.batch.clear();
            self.batch_pieces.clear();
            let duplicated = self.sched.duplicated();
            let mut last = None;
            let (batch, trail, now) = (&mut self.batch, &mut self.trail, self.now);
            let pieces = &mut self.batch_pieces;
            let (recorder, config) = (&mut self.recorder, &self.config);
            let (checkpoints, talks) = (&self.checkpoints, &self.talks);
            let mut goes_on = None;
            let handed = self
                .sched
                .hand_out(now, &mut |task, algorithm, handed, body: &Body| {
                    let flags =
                        (u16::from(handed.marked) * MARKED) | (u16::from(handed.bound) * BOUND);
                    let flags = flags | (u16::from(talks.has(task.seq())) * CONVERSES);
                    body.put(batch, (task.seq(), algorithm.0, flags), pieces);
                    last = Some(task.seq());
                    if let Some(recorder) = recorder
                        && handed.once
                    {
                        recorder.on_once(algorithm, config.info(algorithm).hash_args, body);
                    }
                    // It is the only one in its packet.
                    goes_on = checkpoints.of(task.seq()).map(|_| task.seq());
                    if trail.writes_tasks() {
                        let tasks = (task.seq()..).take(body.tasks() as usize);
                        sent.extend(tasks.map(|task| (task, algorithm)));
                    }
                });
            let Some(slave) = handed else { break };
            if !sent.is_empty() {
                for (task, algorithm) in sent.drain(..) {
                    trail.on_task_sent(slave, task, self.config.info(algorithm).name);
                }
            }
            if self.sched.duplicated() > duplicated
                && let Some(task) = last
            {
                trail.push(Event::Duplicated {
                    task,
                    slave: slave.0,
                });
            }
            self.send_batch(slave, goes_on);
        }
        self.tell_quarantines();
        self.recall();
        self.tell_hungry();
        self.collect_withdrawals();
        while let Some((slave, from, to)) = self.sched.poll_moved() {
            self.trail.push(Event::Group {
                slave: slave.0,
                from: trail::group(from),
                to: trail::group(to),
            });
        }
        self.follow_queue();
        self.look_for_missing();
        self.collect_unrunnable();
        self.push_bests();
        self.let_go();
        self.send_pieces();
    }

    /// Asks slaves for tasks that they have not begun, while others are idle.
    fn recall(&mut self) {
        while let Some((slave, tasks)) = self.sched.recall(self.now) {
            let slot = self.slot_of(slave);
            let state = self.conns[slot]
                .as_mut()
                .expect("a slave has its connection");
            put(&mut state.out, Kind::Recall, |out| {
                Recall { tasks }.encode(out);
            });
            let conn = state.id;
            self.mark_dirty(conn);
        }
    }

    /// Sends the packet, before it where its task goes on.
    fn send_batch(&mut self, slave: SlaveId, goes_on: Option<u64>) {
        let slot = self.slot_of(slave);
        let state = self.conns[slot]
            .as_mut()
            .expect("a slave has its connection");
        self.spare.lend(&mut state.out);
        tell_bests(
            state,
            &self.bests,
            self.config.rules.sched.task_packet_bytes_max,
        );
        if let Some(task) = goes_on
            && let Some(kept) = self.checkpoints.of(task)
        {
            put(&mut state.out, Kind::Resume, |out| {
                kept.of_task(task).encode(out)
            });
        }
        let (before, before_bytes) = (state.out.len(), state.out_bytes());
        let mark = frame::begin_frame(&mut state.out, Kind::Tasks);
        let payload_at = state.out.len();
        self.batch.encode(&mut state.out);
        match self.batch.gaps() {
            [] => frame::finish_frame(&mut state.out, mark),
            gaps => {
                let pieces = &mut self.batch_pieces;
                state
                    .pieces
                    .finish_frame(&mut state.out, mark, payload_at, gaps, pieces);
            }
        }
        let bytes = (state.out_bytes() - before_bytes) as u64;
        if let Some(recorder) = &mut self.recorder {
            recorder.on_packet(state, before);
        }
        let group = match self.config.rules.sched.task_group {
            AUTO => self.batch.tasks() as u32,
            number => number,
        };
        self.trail.on_tasks(
            &mut state.meter,
            slave,
            self.batch.tasks() as u64,
            bytes,
            group,
            slot as u32,
        );
        self.dirty.push(slot as u32);
        let of = (&self.config, &mut self.sched);
        self.unsent.account(state, self.now, of);
    }
}
