//! Ends of tasks on their way to those who wait for them: the results of a packet together, any other by itself.

use std::ops::Range;
use std::rc::Rc;

use ringmw_codec::batch::Elements;
use ringmw_sched::{AlgorithmId, Nanos, Owner, Reason, SlaveId, TaskId};

use crate::proto::bytes::SmallBytes;
use crate::proto::config::AlgorithmInfo;

/// How a task ended.
#[derive(Debug)]
pub enum Fate {
    /// With a result, whose archive has been checked.
    Done {
        /// The output's archive, a share of its packet.
        output: SmallBytes,
        /// Who computed it.
        slave: SlaveId,
        /// Time in the algorithm.
        compute: Nanos,
        /// From submission to the hand-out that brought the result.
        wait: Nanos,
        /// From that hand-out to the result's arrival, less the compute time.
        travel: Nanos,
    },
    /// The algorithm returned an error or panicked.
    Failed {
        /// Its message and place.
        message: String,
        /// Where.
        slave: SlaveId,
        /// Time in the algorithm.
        compute: Nanos,
        /// As for `Done`.
        wait: Nanos,
        /// As for `Done`.
        travel: Nanos,
    },
    /// It cannot run.
    Unrunnable {
        /// Why.
        reason: Reason,
        /// The slave that it was addressed to, if it was.
        to: Option<SlaveId>,
        /// Its policy.
        do_it_anyway: bool,
        /// Its policy.
        retry: bool,
    },
    /// The application took it back.
    Cancelled,
}

/// The one end of a task.
#[derive(Debug)]
pub struct End {
    /// Which task.
    pub id: TaskId,
    /// Of which algorithm.
    pub algorithm: AlgorithmId,
    /// What that is.
    pub info: AlgorithmInfo,
    /// To whom the end is told.
    pub owner: Owner,
    /// Its body: stream, tag and arguments. Empty where it is of no more use: of a task without a tag that is done.
    pub body: SmallBytes,
    /// How it ended.
    pub fate: Fate,
}

/// Results of one packet and one algorithm whose ends are told to one owner.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) owner: Owner,
    pub(crate) algorithm: AlgorithmId,
    pub(crate) info: AlgorithmInfo,
    pub(crate) slave: SlaveId,
    /// What the outputs are read from.
    pub(crate) bodies: SmallBytes,
    pub(crate) runs: Runs,
}

/// Runs of results in their order: of most packets of few tasks there is but one.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    first: Option<Run>,
    others: Vec<Run>,
}

impl Runs {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Room for so many.
    pub(crate) fn reserve(&mut self, runs: usize) {
        self.others.reserve_exact(runs.saturating_sub(1));
    }

    #[inline]
    pub(crate) fn push(&mut self, run: Run) {
        match self.first {
            None => self.first = Some(run),
            Some(_) => self.others.push(run),
        }
    }

    #[inline]
    fn get(&self, nth: u32) -> Option<&Run> {
        match nth.checked_sub(1) {
            None => self.first.as_ref(),
            Some(nth) => self.others.get(nth as usize),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.others)
    }
}

/// Results of tasks of one run: each has its compute time, unless there is but one, and its output.
#[derive(Debug)]
pub(crate) struct Run {
    /// The first task.
    pub(crate) id: TaskId,
    /// How many there are.
    pub(crate) tasks: u32,
    /// Where the first result begins among the bodies.
    pub(crate) at: u32,
    /// Where each lies from there on.
    pub(crate) elements: Elements,
    /// Of all; of each where it does not stand before the output.
    pub(crate) compute: Nanos,
    pub(crate) wait: Nanos,
    pub(crate) on_the_way: Nanos,
    /// The body of a task that has a tag.
    pub(crate) body: Option<Box<SmallBytes>>,
}

/// What a ready result takes beside its output and a tagged task's body, at most.
pub(crate) const RESULT_BYTES: usize = size_of::<Run>();

/// A result where it came: a share of its packet.
#[derive(Debug)]
pub(crate) struct OneResult {
    packet: Rc<Packet>,
    run: u32,
    nth: u32,
}

impl OneResult {
    #[inline]
    fn run(&self) -> &Run {
        let run = self.packet.runs.get(self.run);
        run.expect("a result is of a run of its packet")
    }

    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        self.run().id.after(self.nth)
    }

    #[inline]
    pub(crate) fn info(&self) -> &AlgorithmInfo {
        &self.packet.info
    }

    pub(crate) fn slave(&self) -> SlaveId {
        self.packet.slave
    }

    #[inline]
    pub(crate) fn output(&self) -> &[u8] {
        &self.packet.bodies[self.run().output(self.nth)]
    }

    pub(crate) fn compute(&self) -> Nanos {
        let run = self.run();
        let body = &self.packet.bodies[run.at as usize..];
        let mut one = run.elements.iter(body, self.nth, 1, run.compute);
        one.next().expect("one was asked for").0
    }

    pub(crate) fn wait(&self) -> Nanos {
        self.run().wait
    }

    pub(crate) fn travel(&self) -> Nanos {
        self.run().on_the_way.saturating_sub(self.compute())
    }

    /// The body of a task that has a tag, else empty.
    pub(crate) fn body(&self) -> &[u8] {
        self.run().body.as_deref().map_or(&[], |body| body)
    }

    fn to_end(&self) -> End {
        End {
            id: self.id(),
            algorithm: self.packet.algorithm,
            info: self.packet.info,
            owner: self.packet.owner,
            body: SmallBytes::copy_from_slice(self.body()),
            fate: Fate::Done {
                output: self.packet.bodies.slice(self.run().output(self.nth)),
                slave: self.slave(),
                compute: self.compute(),
                wait: self.wait(),
                travel: self.travel(),
            },
        }
    }
}

impl Run {
    /// Where an output is among the bodies.
    #[inline]
    fn output(&self, nth: u32) -> Range<usize> {
        let Range { start, end } = self.elements.output(nth);
        self.at as usize + start..self.at as usize + end
    }
}

/// The end of a task, as small as can be for one that is done.
#[derive(Debug)]
pub(crate) enum TaskEnd {
    Done(OneResult),
    Other(Box<End>),
}

const _: () = assert!(size_of::<TaskEnd>() == 16);

impl TaskEnd {
    pub(crate) fn id(&self) -> TaskId {
        match self {
            TaskEnd::Done(one) => one.id(),
            TaskEnd::Other(end) => end.id,
        }
    }

    /// By itself.
    pub(crate) fn into_end(self) -> End {
        match self {
            TaskEnd::Done(one) => one.to_end(),
            TaskEnd::Other(end) => *end,
        }
    }

    /// What it takes until it is taken.
    pub(crate) fn ready_bytes(&self) -> u64 {
        match self {
            TaskEnd::Done(one) => (one.output().len() + one.body().len() + RESULT_BYTES) as u64,
            TaskEnd::Other(end) => end.ready_bytes(),
        }
    }
}

/// Results of a packet, of which some may have been taken.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) packet: Rc<Packet>,
    /// The next one: its run, and which of that it is.
    run: u32,
    nth: u32,
    left: usize,
}

impl Results {
    pub(crate) fn new(packet: Packet) -> Self {
        Results {
            left: packet.runs.iter().map(|run| run.tasks as usize).sum(),
            packet: Rc::new(packet),
            run: 0,
            nth: 0,
        }
    }

    /// Takes the next one: its run, and which of that it is.
    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        loop {
            let run = self.packet.runs.get(self.run)?;
            if self.nth < run.tasks {
                self.left -= 1;
                self.nth += 1;
                return Some((self.run, self.nth - 1));
            }
            self.run += 1;
            self.nth = 0;
        }
    }

    /// Takes the next one: its task and output.
    #[inline]
    pub(crate) fn next_output(&mut self) -> Option<(TaskId, &[u8])> {
        let packet = &*self.packet;
        let mut run = packet.runs.get(self.run)?;
        while self.nth == run.tasks {
            (self.run, self.nth) = (self.run + 1, 0);
            run = packet.runs.get(self.run)?;
        }
        let nth = self.nth;
        self.nth += 1;
        self.left -= 1;
        Some((run.id.after(nth), &packet.bodies[run.output(nth)]))
    }

    /// Takes the next one by itself.
    #[inline]
    pub(crate) fn next_result(&mut self) -> Option<OneResult> {
        let (run, nth) = self.next()?;
        Some(OneResult {
            packet: Rc::clone(&self.packet),
            run,
            nth,
        })
    }

    /// What those that are left take: outputs, tagged tasks' bodies, and [`RESULT_BYTES`] for each.
    fn bytes(&self) -> usize {
        let runs = self.packet.runs.iter().skip(self.run as usize);
        let of_run = |(at, run): (usize, &Run)| {
            let left = run.tasks - if at == 0 { self.nth } else { 0 };
            let body = run.body.as_ref().map_or(0, |body| body.len());
            left as usize * (body + run.elements.output_bytes() + RESULT_BYTES)
        };
        runs.enumerate().map(of_run).sum()
    }
}

/// Ends of tasks as they come: those of a packet together.
#[derive(Debug)]
pub(crate) enum Ends {
    /// Results that follow one another in a packet, of the same algorithm and told to the same owner.
    Done(Results),
    /// Any other; none once it was taken.
    One(Option<Box<End>>),
}

impl Ends {
    pub(crate) fn one(end: End) -> Self {
        Ends::One(Some(Box::new(end)))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Ends::Done(results) => results.left,
            Ends::One(end) => usize::from(end.is_some()),
        }
    }

    /// Takes the next one by itself.
    #[inline]
    pub(crate) fn next_end(&mut self) -> Option<TaskEnd> {
        match self {
            Ends::Done(results) => results.next_result().map(TaskEnd::Done),
            Ends::One(end) => end.take().map(TaskEnd::Other),
        }
    }

    /// What they take until they are taken: as [`TaskEnd::ready_bytes`] of each.
    pub(crate) fn ready_bytes(&self) -> u64 {
        match self {
            Ends::Done(results) => results.bytes() as u64,
            Ends::One(end) => end.as_deref().map_or(0, End::ready_bytes),
        }
    }
}

impl End {
    fn ready_bytes(&self) -> u64 {
        let said = match &self.fate {
            Fate::Done { output, .. } => output.len(),
            Fate::Failed { message, .. } => message.len(),
            Fate::Unrunnable { .. } | Fate::Cancelled => 0,
        };
        (said + self.body.len() + size_of::<End>()) as u64
    }
}
