//! The results of a packet: all of one is checked before it is accepted.

use ringmw_codec::audit::Event;
use ringmw_codec::batch::{Elements, ResultBatchView, ResultEntryRef, ResultStatus};
use ringmw_sched::{Accepted, AlgorithmId, Answers, Nanos, Series, SlaveId};

use super::account::{Ended, How};
use super::conn::{Phase, Stop, offence};
use super::{MasterCore, meter};
use crate::proto::bytes::{Came, SmallBytes};
use crate::proto::conn::ConnId;
use crate::proto::end::{End, Failed, ResultPacket, ResultSeries, Results};
use crate::proto::trace;

/// The results of an entry of a packet.
struct Entry<'a> {
    entry: &'a ResultEntryRef,
    body: &'a [u8],
    /// Where the body begins among those of the packet.
    at: usize,
    elements: Elements,
}

impl<'a> Entry<'a> {
    fn new(entry: &'a ResultEntryRef, body: &'a [u8], at: usize) -> Self {
        Entry {
            entry,
            body,
            at,
            elements: entry.elements(body),
        }
    }

    /// Compute time of the one at `nth`.
    #[inline]
    fn compute(&self, nth: u32) -> Nanos {
        self.elements.compute(self.body, nth, self.entry.compute_ns)
    }

    /// Compute time of `results` of them from the `nth` on, together.
    #[inline]
    fn compute_of(&self, nth: u32, results: u32) -> Nanos {
        let alone = self.entry.compute_ns;
        self.elements.compute_of(self.body, nth, results, alone)
    }

    /// Compute time and output of `results` of them from the `nth` on.
    #[inline]
    fn some(&self, nth: u32, results: u32) -> impl Iterator<Item = (Nanos, &'a [u8])> + Clone {
        let alone = self.entry.compute_ns;
        self.elements.iter(self.body, nth, results, alone)
    }
}

/// What has come of the results of a packet so far.
#[derive(Default)]
struct Tally {
    accepted: u64,
    failed: u64,
    late: u64,
    compute: Nanos,
    /// Accepted ones of one algorithm that are told to one owner, and have not been put with the ends yet.
    open: Option<Results>,
    /// What the outputs are read from, kept from the first result on: a share of the packet if that came in memory of its
    /// own, else a copy, as none may pin a receive buffer. There while `open` has none.
    bodies: Option<SmallBytes>,
    /// How many further series of results there may be.
    room: usize,
    /// Outcomes of unordered tasks of one algorithm.
    outcomes: Option<(AlgorithmId, Answers)>,
}

impl MasterCore {
    pub(super) fn on_results(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        view: &ResultBatchView<'_>,
        payload: &Came<'_>,
    ) -> Result<(), Stop> {
        let mut tally = Tally {
            room: view.entries().saturating_sub(1),
            ..Tally::default()
        };
        let mut stop = None;
        let mut at = 0;
        'entries: for (entry, body) in view.iter() {
            let results = Entry::new(&entry, body, at);
            at += body.len();
            let mut nth = 0;
            while nth < entry.count {
                match self.on_some(slave, (view.bodies(), payload), &results, nth, &mut tally) {
                    Ok(taken) => nth += taken,
                    Err(reason) => {
                        stop = Some(reason);
                        break 'entries;
                    }
                }
            }
            tally.compute = tally.compute.saturating_add(entry.compute_ns);
        }
        let Tally {
            accepted,
            failed,
            late,
            compute,
            open,
            outcomes,
            ..
        } = tally;
        if let Some(open) = open {
            self.ends.push_back(End::Done(open));
        }
        if let Some(outcomes) = outcomes {
            self.learn_outcomes(slave, &outcomes);
        }
        self.tell_quarantines();
        self.late += late;
        if late > 0 {
            self.trail.push(Event::Late {
                slave: slave.0,
                results: late,
            });
        }
        if let Some(Some(state)) = self.conns.get_mut(conn.slot()) {
            let idle = self.sched.held_by(slave) == 0;
            if let Phase::Slave { info, .. } = &mut state.phase {
                let results = accepted + failed;
                self.account
                    .on_packet(&mut info.deeds, results, failed, compute);
            }
            self.trail.on_results(
                &mut state.meter,
                slave,
                meter::Packet {
                    tasks: accepted + failed + late,
                    failed,
                    bytes: payload.bytes().len() as u64,
                    compute,
                    idle,
                },
                conn.slot() as u32,
            );
        }
        stop.map_or(Ok(()), |reason| Err(offence(reason)))
    }

    /// Takes the results of an entry from the `nth` on that are of one series of tasks; how many they were.
    fn on_some(
        &mut self,
        slave: SlaveId,
        (bodies, payload): (&[u8], &Came<'_>),
        results: &Entry<'_>,
        nth: u32,
        tally: &mut Tally,
    ) -> Result<u32, String> {
        let entry = results.entry;
        // All of it is checked before the results are accepted: once they are, their tasks are gone.
        let (first, config) = (entry.task + u64::from(nth), &self.config);
        let check = |algorithm: AlgorithmId, tasks: u32| {
            if algorithm.0 != entry.algorithm {
                return Err(format!(
                    "the result of TASK-{first} names another algorithm"
                ));
            }
            if entry.status == ResultStatus::Failed {
                return Ok(());
            }
            let info = config.info(algorithm);
            (info.check_outputs)(results.body, results.elements, nth..nth + tasks).map_err(
                |(nth, error)| {
                    let (task, name) = (entry.task + u64::from(nth), info.name);
                    format!("the result of TASK-{task} of `{name}`: {error}")
                },
            )
        };
        let accepted = self
            .sched
            .results_if(slave, first, entry.count - nth, check);
        // Matched where it lies: it is large.
        let task = match accepted {
            Ok(Ok(Some(task))) => task,
            Ok(Ok(None)) => {
                tally.late += 1;
                return Ok(1);
            }
            Ok(Err(reason)) => return Err(reason),
            Err(offence) => return Err(offence.to_string()),
        };
        let (id, algorithm, owner) = (task.id, task.algorithm, task.owner);
        let tasks = task.payload.tasks();
        self.forget_checkpoints(id.seq(), tasks);
        self.forget_talks(id.seq(), tasks);
        let computes = results.some(nth, tasks).map(|(compute, _)| compute);
        let compute = match tasks == entry.count {
            true => entry.compute_ns,
            false => results.compute_of(nth, tasks),
        };
        let is_failed = entry.status == ResultStatus::Failed;
        // What a slave that fails alone takes for it would make packets of all sizes wrong.
        if !is_failed || !self.sched.is_suspect(slave) {
            self.sched
                .learn_computes(algorithm, tasks, compute, computes.clone());
        }
        if task.policy.to.is_none() {
            if let Some(before) = tally.outcomes.take_if(|(of, _)| *of != algorithm) {
                self.learn_outcomes(slave, &before);
            }
            let (_, answers) = tally
                .outcomes
                .get_or_insert((algorithm, Answers::default()));
            answers.add(id.seq(), tasks, is_failed);
        }
        self.account
            .on_results(algorithm, (tasks, is_failed), compute, |at| {
                results.compute(nth + at)
            });
        self.account.remember(Ended {
            first: id.seq(),
            tasks,
            algorithm,
            how: if is_failed { How::Failed } else { How::Done },
            slave: Some(slave),
            at: self.now,
            compute,
        });
        let on_the_way = self.now.saturating_sub(task.handed_out);
        if entry.status == ResultStatus::Failed {
            let told = String::from_utf8_lossy(results.body);
            let message = trace::parted(&told).0.to_owned();
            let info = *self.config.info(algorithm);
            self.trail.on_failed(slave, id, info.name, &message);
            let (what, whom) = ((id, algorithm, task.policy), (slave, task.handed_out));
            self.keep_failure(what, whom, &task.payload, &told);
            if let Some(recorder) = &mut self.recorder {
                let (bests, hash) = (&self.bests, info.hash_args);
                recorder.put_failure(bests, algorithm, hash, &task.payload, compute, &message);
            }
            let end = End::Failed(Box::new(Failed {
                task: Accepted {
                    payload: task.payload.alone(),
                    ..task
                },
                info,
                message,
                compute,
                travel: on_the_way.saturating_sub(compute),
            }));
            self.trail.on_task_ended(&end);
            self.put_open(tally);
            tally.failed += 1;
            self.ends.push_back(end);
            return Ok(tasks);
        }
        if self.trail.writes_tasks() {
            for (nth, compute) in (0..).zip(computes) {
                self.trail.on_task_done(id.after(nth), slave, compute);
            }
        }
        if let Some(recorder) = &mut self.recorder {
            let hash = self.config.info(algorithm).hash_args;
            let some = results.some(nth, tasks);
            recorder.put_results(&self.bests, algorithm, hash, &task.payload, some);
        }
        tally.accepted += u64::from(tasks);
        let tagged = task.payload.is_tagged();
        let series = ResultSeries {
            id,
            tasks,
            at: results.at as u32,
            first: nth,
            elements: results.elements,
            compute,
            wait: task.handed_out.saturating_sub(task.submitted),
            on_the_way,
            tagged: tagged.then(|| Box::new(task.payload)),
        };
        if let Some(open) = &mut tally.open
            && open.of() == (owner, algorithm)
        {
            open.push(series, tally.room);
            return Ok(tasks);
        }
        self.put_open(tally);
        let kept = || payload.keep(bodies);
        let bodies = tally.bodies.take().unwrap_or_else(kept);
        let info = *self.config.info(algorithm);
        let packet = ResultPacket::new((owner, algorithm), info, slave, bodies, series);
        tally.open = Some(Results::new(packet));
        Ok(tasks)
    }

    fn learn_outcomes(&mut self, slave: SlaveId, &(algorithm, answers): &(AlgorithmId, Answers)) {
        self.sched
            .learn_outcomes(slave, algorithm, answers, self.now);
    }

    /// Puts the results that were accepted with the ends, before others of the packet.
    fn put_open(&mut self, tally: &mut Tally) {
        if let Some(open) = tally.open.take() {
            tally.bodies = Some(open.bodies().clone());
            self.ends.push_back(End::Done(open));
        }
    }
}
