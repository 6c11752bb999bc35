//! What slaves say: results, acknowledgements, announcements, offers. All of a result is checked before it is accepted.

use std::ops::Range;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::Accepted;

use super::*;

/// A result by itself.
struct OneResult<'a> {
    task: u64,
    algorithm: u16,
    status: ResultStatus,
    compute: Nanos,
    output: &'a [u8],
    /// Where the output lies in the packet.
    range: Range<usize>,
}

impl MasterCore {
    pub(super) fn on_frame(
        &mut self,
        conn: ConnId,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), Stop> {
        let slave = match self.conn(conn).map(|c| &c.phase) {
            Some(Phase::Slave { id, .. }) => *id,
            Some(Phase::Handshake { .. }) if kind == Kind::Hello => {
                return self.on_hello(conn, payload);
            }
            _ => return Err(too_early(kind)),
        };
        match kind {
            Kind::Heartbeat if payload.is_empty() => Ok(()),
            Kind::Results => self.on_results(conn, slave, payload),
            Kind::Withdrawn => self.on_withdrawn(slave, payload),
            Kind::Returned => self.on_returned(slave, payload),
            Kind::Starting => {
                let starting = Starting::decode(payload).map_err(offence)?;
                self.sched.announce(slave, starting.task).map_err(offence)
            }
            Kind::Offer => self.on_offer(slave, payload),
            Kind::Goodbye => {
                let goodbye = Goodbye::decode(payload).map_err(offence)?;
                Err(Stop::Goodbye(goodbye))
            }
            other => Err(offence(format!("a slave never sends {other:?}"))),
        }
    }

    pub(super) fn on_results(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        payload: &[u8],
    ) -> Result<(), Stop> {
        let view = batch::result_batch(payload).map_err(offence)?;
        let mut tally = Tally::default();
        let mut stop = None;
        let mut left = view.tasks() as usize;
        'entries: for (at, (entry, body)) in view.iter().enumerate() {
            let range = view.body_range(at);
            let each = range.len() / entry.count as usize;
            for index in 0..entry.count {
                let (compute, output) = entry.element(body, index);
                let end = range.start + (index as usize + 1) * each;
                if tally.done.capacity() == 0 {
                    tally.done.reserve_exact(left);
                }
                let result = OneResult {
                    task: entry.task + u64::from(index),
                    algorithm: entry.algorithm,
                    status: entry.status,
                    compute,
                    output,
                    range: end - output.len()..end,
                };
                if let Err(reason) = self.on_result(slave, payload, result, &mut tally) {
                    stop = Some(reason);
                    break 'entries;
                }
                tally.compute = tally.compute.saturating_add(compute);
                left -= 1;
            }
        }
        self.put_done(slave, &mut tally);
        let Tally {
            accepted,
            failed,
            late,
            compute,
            ..
        } = tally;
        self.late += late;
        if late > 0 {
            self.trail.push(Event::Late {
                slave: slave.0,
                results: late,
            });
        }
        if let Some(Some(state)) = self.conns.get_mut(conn.slot()) {
            let idle = self.sched.held_by(slave) == 0;
            self.trail.on_results(
                &mut state.meter,
                slave,
                trail::Packet {
                    tasks: accepted + failed + late,
                    failed,
                    bytes: payload.len() as u64,
                    compute,
                    idle,
                },
                conn.slot() as u32,
            );
        }
        stop.map_or(Ok(()), |reason| Err(offence(reason)))
    }

    #[inline]
    fn on_result(
        &mut self,
        slave: SlaveId,
        payload: &[u8],
        result: OneResult<'_>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let OneResult {
            task,
            algorithm: named,
            status,
            compute,
            output,
            range,
        } = result;
        // All of it is checked before the result is accepted: once it is, its task is gone.
        let config = &self.config;
        let check = |algorithm: AlgorithmId| {
            if algorithm.0 != named {
                return Err(format!("the result of TASK-{task} names another algorithm"));
            }
            if status == ResultStatus::Done {
                config.check_output[usize::from(algorithm.0)](output).map_err(|error| {
                    format!(
                        "the result of TASK-{task} of `{}`: {error}",
                        trail::name(&config.names, algorithm)
                    )
                })?;
            }
            Ok(())
        };
        let verdict = self.sched.result_if(slave, task, check);
        let accepted = match verdict.map_err(|offence| offence.to_string())?? {
            Verdict::Late => {
                tally.late += 1;
                return Ok(());
            }
            Verdict::Accepted(accepted) => accepted,
        };
        self.sched.learn_compute(accepted.algorithm, compute);
        let wait = accepted.handed_out.saturating_sub(accepted.submitted);
        let on_the_way = self.now.saturating_sub(accepted.handed_out);
        let travel = on_the_way.saturating_sub(compute);
        let Accepted {
            id,
            algorithm,
            owner,
            payload: task,
            ..
        } = accepted;
        if status == ResultStatus::Failed {
            let message = String::from_utf8_lossy(output).into_owned();
            let name = trail::name(&self.config.names, algorithm);
            self.trail.on_failed(slave, id, name, &message);
            let fate = Fate::Failed {
                message,
                slave,
                compute,
                wait,
                travel,
            };
            self.trail.on_task_ended(id, &fate, None);
            self.put_done(slave, tally);
            tally.failed += 1;
            self.ends.push_back(Ends::one(End {
                id,
                algorithm,
                owner,
                body: task,
                fate,
            }));
            return Ok(());
        }
        self.trail.on_task_done(id, slave, compute);
        tally.accepted += 1;
        if tally.of != Some((owner, algorithm)) {
            self.put_done(slave, tally);
            tally.of = Some((owner, algorithm));
        }
        if tally.packet.is_none() {
            tally.packet = Some(Bytes::copy_from_slice(payload));
        }
        tally.done.push(DoneOne {
            id,
            body: TaskBody::has_tag(&task).then(|| Box::new(task)),
            output: (range.start as u32, range.end as u32),
            compute,
            wait,
            travel,
        });
        Ok(())
    }

    /// Puts the results that were accepted with the ends.
    fn put_done(&mut self, slave: SlaveId, tally: &mut Tally) {
        if tally.done.is_empty() {
            return;
        }
        if let (Some((owner, algorithm)), Some(packet)) = (tally.of, &tally.packet) {
            self.ends.push_back(Ends::Done(Done {
                owner,
                algorithm,
                slave,
                packet: packet.clone(),
                results: std::mem::take(&mut tally.done).into_iter(),
            }));
        }
    }

    pub(super) fn on_withdrawn(&mut self, slave: SlaveId, payload: &[u8]) -> Result<(), Stop> {
        let withdrawn = Withdrawn::decode(payload).map_err(offence)?;
        for (task, begun) in withdrawn.tasks {
            self.sched.withdrawn(slave, task, begun).map_err(offence)?;
        }
        self.note_idle(slave);
        Ok(())
    }

    pub(super) fn on_returned(&mut self, slave: SlaveId, payload: &[u8]) -> Result<(), Stop> {
        let returned = Returned::decode(payload).map_err(offence)?;
        let tasks = self.sched.given_back(slave, &returned.tasks);
        let tasks = tasks.map_err(offence)?;
        if !tasks.is_empty() {
            self.trail.push(Event::Returned {
                slave: slave.0,
                count: tasks.len() as u64,
                tasks: TaskRanges::from_sorted(tasks),
            });
        }
        self.note_idle(slave);
        Ok(())
    }

    fn note_idle(&mut self, slave: SlaveId) {
        if self.sched.held_by(slave) == 0
            && let Some(&slot) = self.slots.get(&slave)
            && let Some(Some(state)) = self.conns.get_mut(slot as usize)
        {
            self.trail.on_hands_empty(&mut state.meter, slave);
        }
    }

    pub(super) fn on_offer(&mut self, slave: SlaveId, payload: &[u8]) -> Result<(), Stop> {
        let offer = Offer::decode(payload).map_err(offence)?;
        if self
            .bests
            .accept(offer.best, offer.key, offer.witness)
            .map_err(offence)?
        {
            self.trail.on_best(offer.best, offer.key, slave);
        }
        Ok(())
    }
}
