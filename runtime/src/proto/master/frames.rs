//! What slaves say: results, acknowledgements, announcements, offers. All of a result is checked before it is accepted.

use super::*;

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
        // One copy into a block that all results of the packet share: none may pin a receive buffer.
        let packet = Bytes::copy_from_slice(payload);
        let view = batch::result_batch(&packet).map_err(offence)?;
        let (mut accepted, mut failed, mut late, mut compute_sum) = (0u64, 0u64, 0u64, 0u64);
        let mut stop = None;
        for (index, (entry, body)) in view.iter().enumerate() {
            match self.on_result(slave, &packet, view.body_range(index), &entry, body) {
                Ok(Counted::Accepted) => accepted += 1,
                Ok(Counted::Failed) => failed += 1,
                Ok(Counted::Late) => late += 1,
                Err(reason) => {
                    stop = Some(reason);
                    break;
                }
            }
            compute_sum = compute_sum.saturating_add(entry.compute_ns);
        }
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
                    compute: compute_sum,
                    idle,
                },
                conn.slot() as u32,
            );
        }
        stop.map_or(Ok(()), |reason| Err(offence(reason)))
    }

    pub(super) fn on_result(
        &mut self,
        slave: SlaveId,
        packet: &Bytes,
        range: std::ops::Range<usize>,
        entry: &batch::ResultEntryRef,
        body: &[u8],
    ) -> Result<Counted, String> {
        let status = entry.status;
        // All of it is checked before the result is accepted: once it is, its task is gone.
        if let Some((task, Some(algorithm))) = self.sched.next_held(slave)
            && task == entry.task
        {
            if algorithm.0 != entry.algorithm {
                return Err(format!("the result of TASK-{task} names another algorithm"));
            }
            if status == ResultStatus::Done {
                self.config.check_output[usize::from(algorithm.0)](body).map_err(|error| {
                    format!(
                        "the result of TASK-{task} of `{}`: {error}",
                        trail::name(&self.config.names, algorithm)
                    )
                })?;
            }
        }
        let accepted = match self
            .sched
            .result(slave, entry.task)
            .map_err(|o| o.to_string())?
        {
            Verdict::Late => return Ok(Counted::Late),
            Verdict::Accepted(accepted) => accepted,
        };
        let compute = entry.compute_ns;
        self.sched.learn_compute(accepted.algorithm, compute);
        let wait = accepted.handed_out.saturating_sub(accepted.submitted);
        let on_the_way = self.now.saturating_sub(accepted.handed_out);
        let travel = on_the_way.saturating_sub(compute);
        let fate = match status {
            ResultStatus::Done => Fate::Done {
                output: packet.slice(range),
                slave,
                compute,
                wait,
                travel,
            },
            ResultStatus::Failed => {
                let message = String::from_utf8_lossy(body).into_owned();
                let name = trail::name(&self.config.names, accepted.algorithm);
                self.trail.on_failed(slave, accepted.id, name, &message);
                Fate::Failed {
                    message,
                    slave,
                    compute,
                    wait,
                    travel,
                }
            }
        };
        let counted = match fate {
            Fate::Failed { .. } => Counted::Failed,
            _ => Counted::Accepted,
        };
        self.trail.on_task_ended(accepted.id, &fate, None);
        self.ends.push_back(End {
            id: accepted.id,
            algorithm: accepted.algorithm,
            owner: accepted.owner,
            body: accepted.payload,
            fate,
        });
        Ok(counted)
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
