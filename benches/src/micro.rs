//! Pieces of work for the microbenchmarks of codec and sched (`benches/micro.rs`), and tests that run them in small.

use std::ops::ControlFlow;

use ringmw_codec::batch::{
    ResultBatchBuilder, ResultBatchView, ResultEntryRef, ResultStatus, TASK_ENTRY_BYTES,
    TaskBatchBuilder, TaskBatchView, TaskEntryRef, TaskSeries,
};
use ringmw_codec::frame::{self, FrameReader, Kind};
use ringmw_sched::{AlgorithmId, Config, Departure, Owner, Scheduler, SlaveId, TaskSpec};

/// Bytes of each argument and output.
const PAYLOAD: [u8; 16] = [7; 16];

/// What the tasks of a batch are to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Consecutive and alike: all of them are one run.
    Run,
    /// Each is an entry by itself.
    Apart,
}

/// Builders that hold a batch, and the payloads that they encode to.
pub struct Batches {
    count: u32,
    likeness: Likeness,
    tasks: TaskBatchBuilder,
    results: ResultBatchBuilder,
    /// An encoded batch of tasks.
    pub task_payload: Vec<u8>,
    /// An encoded batch of results.
    pub result_payload: Vec<u8>,
    /// Both, each as a frame.
    pub stream: Vec<u8>,
    /// The arguments of all tasks.
    args: Vec<u8>,
}

impl Batches {
    /// Batches of so many tasks and results.
    pub fn of(count: u32, likeness: Likeness) -> Self {
        let mut batches = Batches {
            count,
            likeness,
            tasks: TaskBatchBuilder::new(),
            results: ResultBatchBuilder::new(),
            task_payload: Vec::new(),
            result_payload: Vec::new(),
            stream: Vec::new(),
            args: PAYLOAD.repeat(count as usize),
        };
        batches.encode_tasks();
        batches.encode_results();
        frame::put_frame(&mut batches.stream, Kind::Tasks, &batches.task_payload);
        frame::put_frame(&mut batches.stream, Kind::Results, &batches.result_payload);
        batches
    }

    /// The tasks' numbers; no two are consecutive where they stand apart.
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let step = match self.likeness {
            Likeness::Run => 1,
            Likeness::Apart => 2,
        };
        (0..u64::from(self.count)).map(move |nth| step * nth)
    }

    /// Collects and encodes the batch of tasks; its bytes.
    pub fn encode_tasks(&mut self) -> usize {
        self.tasks.clear();
        let series = |stream, count, elements| TaskSeries {
            count,
            domain: 1,
            stream,
            tag_type: None,
            timeout_ms: 0,
            elements,
            ends: &[],
            base: 0,
        };
        match self.likeness {
            Likeness::Run => self
                .tasks
                .push_series(0, 0, 0, &series(2, self.count, &self.args)),
            Likeness::Apart => {
                for task in self.numbers() {
                    self.tasks
                        .push_series(task, 0, 0, &series(task, 1, &PAYLOAD));
                }
            }
        }
        self.task_payload.clear();
        self.tasks.encode(&mut self.task_payload);
        self.task_payload.len()
    }

    /// Collects and encodes the batch of results; its bytes.
    pub fn encode_results(&mut self) -> usize {
        self.results.clear();
        for task in self.numbers() {
            self.results
                .push(task, 0, ResultStatus::Done, 1_000, &PAYLOAD);
        }
        self.result_payload.clear();
        self.results.encode(&mut self.result_payload);
        self.result_payload.len()
    }

    /// Checks the batch of tasks and reads every one of them and its body; the sum of their numbers and first bytes.
    ///
    /// # Panics
    /// When it is damaged.
    pub fn read_tasks(&self) -> u64 {
        let batch = TaskBatchView::decode(&self.task_payload).expect("it was encoded here");
        let read = |(entry, body): (TaskEntryRef, &[u8])| {
            let series = TaskSeries::parse(body, entry.count).expect("it was encoded here");
            let one = |index| {
                let args = series.nth(index).expect("it was encoded here").args;
                entry.task + u64::from(index) + u64::from(args[0])
            };
            (0..entry.count).map(one).sum::<u64>()
        };
        batch.iter().map(read).sum()
    }

    /// As [`Batches::read_tasks`], of results.
    ///
    /// # Panics
    /// When it is damaged.
    pub fn read_results(&self) -> u64 {
        let batch = ResultBatchView::decode(&self.result_payload).expect("it was encoded here");
        let read = |(entry, body): (ResultEntryRef, &[u8])| {
            let one = |index| {
                let (_, output) = entry.element(body, index);
                entry.task + u64::from(index) + u64::from(output[0])
            };
            (0..entry.count).map(one).sum::<u64>()
        };
        batch.iter().map(read).sum()
    }

    /// Takes the stream of both frames apart, in chunks of so many bytes; the bytes of their payloads.
    ///
    /// # Panics
    /// When it is no stream of frames.
    pub fn take_apart(&self, reader: &mut FrameReader, chunk_bytes: usize) -> usize {
        let mut bytes = 0;
        for chunk in self.stream.chunks(chunk_bytes) {
            let flow = reader.feed(chunk, &|_| u32::MAX, &mut |_, payload| {
                bytes += payload.len();
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(flow, Ok(ControlFlow::Continue(())));
        }
        bytes
    }
}

/// A scheduler with slaves.
pub struct Rig {
    sched: Scheduler<u64>,
    slaves: Vec<SlaveId>,
    now: u64,
    packet: Vec<u64>,
}

impl Rig {
    /// So many slaves, and so many tasks per packet.
    pub fn new(slaves: u32, task_group: u32) -> Self {
        let config = Config {
            task_group,
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 1);
        let slaves = (0..slaves).map(|_| sched.connect().0).collect();
        Rig {
            sched,
            slaves,
            now: 1,
            packet: Vec::new(),
        }
    }

    /// Submits tasks; they stay queued until [`Rig::run`].
    pub fn submit(&mut self, tasks: u64) {
        let bytes = TASK_ENTRY_BYTES as u32 + 44;
        for payload in 0..tasks {
            self.now += 1;
            let spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, bytes);
            self.sched.submit(spec, payload, self.now);
        }
    }

    /// Hands out one packet, and gives to whom.
    pub fn hand_out(&mut self) -> Option<SlaveId> {
        self.now += 1;
        let packet = &mut self.packet;
        packet.clear();
        self.sched
            .hand_out(self.now, &mut |id, _, _, _| packet.push(id.seq()))
    }

    /// Hands out and finishes at least so many tasks, packet by packet; how many.
    ///
    /// # Panics
    /// When there are too few.
    pub fn run(&mut self, tasks: u64) -> u64 {
        let mut done = 0;
        while done < tasks {
            let slave = self.hand_out().expect("there are tasks");
            for task in &self.packet {
                let verdict = self.sched.result(slave, *task);
                assert!(matches!(verdict, Ok(Some(_))), "it holds this task");
            }
            done += self.packet.len() as u64;
        }
        done
    }

    /// A slave that holds a packet is lost, its tasks are queued again, and another comes in its place; how many tasks.
    ///
    /// # Panics
    /// When there are no tasks.
    pub fn recycle(&mut self) -> u64 {
        let slave = self.hand_out().expect("there are tasks");
        let losses = self.sched.lose(slave, Departure::Crashed);
        let place = self.slaves.iter().position(|other| *other == slave);
        self.slaves[place.expect("it is one of ours")] = self.sched.connect().0;
        // The application is told; else the news would pile up.
        drop(self.sched.take_connected());
        drop(self.sched.take_disconnected());
        losses.recycled.len() as u64
    }

    /// Tasks that are queued.
    pub fn queued(&self) -> u64 {
        self.sched.queued()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_encoded_and_read() {
        for (count, likeness) in [
            (1, Likeness::Run),
            (10, Likeness::Apart),
            (100, Likeness::Apart),
            (100, Likeness::Run),
        ] {
            let batches = Batches::of(count, likeness);
            let sum = batches.numbers().sum::<u64>() + 7 * u64::from(count);
            assert_eq!((batches.read_tasks(), batches.read_results()), (sum, sum));
            let entries = match likeness {
                Likeness::Run => 1,
                Likeness::Apart => count as usize,
            };
            let collected = (batches.tasks.entries(), batches.results.entries());
            assert_eq!(collected, (entries, entries));
            let payloads = batches.task_payload.len() + batches.result_payload.len();
            for chunk_bytes in [7, 4096] {
                let mut reader = FrameReader::new();
                assert_eq!(batches.take_apart(&mut reader, chunk_bytes), payloads);
            }
        }
    }

    #[test]
    fn tasks_go_out_and_are_finished() {
        for (slaves, group) in [(2, 1), (2, 100), (64, 10)] {
            let mut rig = Rig::new(slaves, group);
            rig.submit(1_000);
            assert_eq!(rig.run(1_000), 1_000);
            assert_eq!(rig.queued(), 0);
        }
    }

    #[test]
    fn a_lost_slaves_tasks_are_queued_again() {
        let mut rig = Rig::new(4, 10);
        rig.submit(100);
        for _ in 0..5 {
            assert_eq!(rig.recycle(), 10);
            assert_eq!(rig.queued(), 100);
        }
    }
}
