//! Ends of tasks on their way from the core to those who wait for them: the results of a packet together, any other by
//! itself.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use ringmw_codec::batch::{Elements, TaskBody};
use ringmw_sched::{Accepted, AlgorithmId, Cancelled, Nanos, Owner, SlaveId, TaskId, Unrunnable};

use crate::proto::bytes::SmallBytes;
use crate::proto::config::AlgorithmInfo;
use crate::proto::printable::printable;
use crate::proto::series::Body;

/// How tasks ended. Every task is in exactly one, and that is told once.
#[derive(Debug)]
pub enum End {
    /// With results, which have been checked.
    Done(Results),
    /// The algorithm returned an error or panicked.
    Failed(Box<Failed>),
    /// It cannot run.
    Unrunnable(Box<CannotRun>),
    /// The application took it back.
    Cancelled(Box<Cancelled<Body>>),
}

// Ready ends wait in queues of millions.
const _: () = assert!(size_of::<Option<End>>() == 24);

/// A task whose algorithm returned an error or panicked.
#[derive(Debug)]
pub struct Failed {
    /// The task, its body by itself.
    pub task: Accepted<Body>,
    /// Its algorithm.
    pub info: AlgorithmInfo,
    /// The error, or the panic and its place.
    pub message: String,
    /// Time in the algorithm.
    pub compute: Nanos,
    /// From the hand-out that brought it to its arrival, less the compute time.
    pub travel: Nanos,
}

/// A task that cannot run.
#[derive(Debug)]
pub struct CannotRun {
    pub(crate) task: Unrunnable<Body>,
    /// Of the slave that its reason names, where the loss of that one is the reason.
    pub(crate) last_seen: Option<Arc<LastSeen>>,
}

impl Deref for CannotRun {
    type Target = Unrunnable<Body>;

    fn deref(&self) -> &Unrunnable<Body> {
        &self.task
    }
}

impl From<Unrunnable<Body>> for CannotRun {
    fn from(task: Unrunnable<Body>) -> Self {
        CannotRun {
            task,
            last_seen: None,
        }
    }
}

/// What is known of a slave that was lost, in its own words: printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastSeen {
    host: String,
    /// Its last word, or what was seen of its end.
    said: String,
}

/// What the last word begins with of a slave that a signal kills; the signal's name follows.
pub(crate) const KILLED_BY: &str = "it was killed by ";
/// What the last word begins with of a slave whose code ends it; the call follows.
pub(crate) const CALLED: &str = "its code called ";

impl LastSeen {
    pub(crate) fn new(host: &str, said: &str) -> Self {
        LastSeen {
            host: printable(host),
            said: printable(said),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }
}

impl Failed {
    /// From submission to the hand-out that brought it.
    pub(crate) fn wait(&self) -> Nanos {
        self.task.handed_out.saturating_sub(self.task.submitted)
    }
}

impl End {
    /// The task; of several the first.
    pub fn id(&self) -> TaskId {
        match self {
            End::Done(results) => results.id(),
            End::Failed(failed) => failed.task.id,
            End::Unrunnable(task) => task.id,
            End::Cancelled(task) => task.id,
        }
    }

    pub(crate) fn algorithm(&self) -> AlgorithmId {
        match self {
            End::Done(results) => results.packet.algorithm,
            End::Failed(failed) => failed.task.algorithm,
            End::Unrunnable(task) => task.algorithm,
            End::Cancelled(task) => task.algorithm,
        }
    }

    /// To whom it is told.
    #[inline]
    pub(crate) fn owner(&self) -> Owner {
        match self {
            End::Done(results) => results.packet.owner,
            End::Failed(failed) => failed.task.owner,
            End::Unrunnable(task) => task.owner,
            End::Cancelled(task) => task.owner,
        }
    }

    /// How many tasks it is of; at least one.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        match self {
            End::Done(results) => results.next.left as usize,
            End::Failed(_) | End::Unrunnable(_) | End::Cancelled(_) => 1,
        }
    }

    /// What it takes until it is taken.
    #[inline]
    pub(crate) fn ready_bytes(&self) -> u64 {
        match self {
            End::Done(results) => results.ready_bytes() as u64,
            End::Failed(failed) => {
                (failed.message.len() + failed.task.payload.alone_bytes() + FAILED_BYTES) as u64
            }
            End::Unrunnable(_) | End::Cancelled(_) => 0,
        }
    }

    /// Takes the first task's off. `None`: there is no other, and it is taken as it is.
    #[inline]
    pub(crate) fn split_first(&mut self) -> Option<End> {
        match self {
            End::Done(results) if results.next.left > 1 => Some(End::Done(results.split_first())),
            _ => None,
        }
    }

    /// Each task's by itself.
    pub fn each(self) -> impl Iterator<Item = End> {
        let mut rest = Some(self);
        std::iter::from_fn(move || match rest.as_mut()?.split_first() {
            Some(first) => Some(first),
            None => rest.take(),
        })
    }
}

/// Results of one packet and one algorithm whose ends are told to one owner.
#[derive(Debug)]
pub(crate) struct ResultPacket {
    pub(crate) owner: Owner,
    pub(crate) algorithm: AlgorithmId,
    pub(crate) info: AlgorithmInfo,
    pub(crate) slave: SlaveId,
    /// What the outputs are read from.
    pub(crate) bodies: SmallBytes,
    /// Series of results in their order: of most packets of few tasks there is but one, which stands in place.
    first: ResultSeries,
    others: Vec<ResultSeries>,
}

impl ResultPacket {
    /// With its first results.
    pub(crate) fn new(
        (owner, algorithm): (Owner, AlgorithmId),
        info: AlgorithmInfo,
        slave: SlaveId,
        bodies: SmallBytes,
        first: ResultSeries,
    ) -> Self {
        ResultPacket {
            owner,
            algorithm,
            info,
            slave,
            bodies,
            first,
            others: Vec::new(),
        }
    }

    #[inline]
    fn series(&self, nth: u32) -> Option<&ResultSeries> {
        match nth.checked_sub(1) {
            None => Some(&self.first),
            Some(nth) => self.others.get(nth as usize),
        }
    }
}

/// Results of tasks of one series: each has its compute time, unless there is but one, and its output.
#[derive(Debug)]
pub(crate) struct ResultSeries {
    /// The first task.
    pub(crate) id: TaskId,
    /// How many there are; at least one.
    pub(crate) tasks: u32,
    /// Where the body of their entry begins among the bodies.
    pub(crate) at: u32,
    /// Which result of the entry the first one is.
    pub(crate) first: u32,
    /// Where each lies in the entry's body.
    pub(crate) elements: Elements,
    /// Of all; of each where it does not stand before the output.
    pub(crate) compute: Nanos,
    pub(crate) wait: Nanos,
    pub(crate) on_the_way: Nanos,
    /// The bodies of tasks that have tags.
    pub(crate) tagged: Option<Box<Body>>,
}

/// What a ready result takes beside its output and a tagged task's body, at most.
pub(crate) const RESULT_BYTES: usize = size_of::<ResultSeries>();

/// What a ready failure takes beside its message and its task's body.
pub(crate) const FAILED_BYTES: usize = size_of::<Failed>() + size_of::<End>();

impl ResultSeries {
    /// An output among the bodies.
    #[inline(always)]
    fn output<'a>(&self, bodies: &'a [u8], nth: u32) -> &'a [u8] {
        let body = &bodies[self.at as usize..];
        &body[self.elements.output(body, self.first + nth)]
    }
}

/// Results of a packet that nobody has taken; at least one. A result by itself is these with one left.
#[derive(Debug)]
pub struct Results {
    packet: Rc<ResultPacket>,
    next: Next,
    _niche: Niche,
}

/// The next result that is taken: its series, which of that it is, and how many are left with it.
#[derive(Copy, Clone, Debug)]
struct Next {
    series: u32,
    nth: u32,
    left: u32,
}

impl Next {
    /// It is taken; its series has so many.
    #[inline]
    fn step(&mut self, tasks: u32) {
        self.left -= 1;
        self.nth += 1;
        if self.nth == tasks {
            (self.series, self.nth) = (self.series + 1, 0);
        }
    }
}

/// Its unused values tell the other kinds of [`End`] apart, which is then no larger than [`Results`].
#[derive(Copy, Clone, Debug)]
#[repr(u8)]
enum Niche {
    Here,
}

impl Results {
    #[inline]
    pub(crate) fn new(packet: ResultPacket) -> Self {
        let (series, nth, left) = (0, 0, packet.first.tasks);
        Results {
            packet: Rc::new(packet),
            next: Next { series, nth, left },
            _niche: Niche::Here,
        }
    }

    /// Adds results of its algorithm and owner; `room` is how many further series there may be.
    ///
    /// # Panics
    /// If some were taken, or split off.
    #[inline]
    pub(crate) fn push(&mut self, series: ResultSeries, room: usize) {
        let packet = Rc::get_mut(&mut self.packet).expect("nobody has some of them yet");
        self.next.left += series.tasks;
        if packet.others.is_empty() {
            packet.others.reserve_exact(room);
        }
        packet.others.push(series);
    }

    /// Whose they are, and of which algorithm.
    #[inline]
    pub(crate) fn of(&self) -> (Owner, AlgorithmId) {
        (self.packet.owner, self.packet.algorithm)
    }

    /// What all outputs of their packet are read from.
    pub(crate) fn bodies(&self) -> &SmallBytes {
        &self.packet.bodies
    }

    /// The next one's series.
    #[inline]
    fn series(&self) -> &ResultSeries {
        let series = self.packet.series(self.next.series);
        series.expect("a result is of a series of its packet")
    }

    #[inline]
    fn split_first(&mut self) -> Results {
        let (tasks, next) = (self.series().tasks, self.next);
        self.next.step(tasks);
        Results {
            packet: Rc::clone(&self.packet),
            next: Next { left: 1, ..next },
            _niche: Niche::Here,
        }
    }

    /// Takes those off, from the next one on, whose tasks follow one another in number.
    pub(crate) fn split_following(&mut self) -> Results {
        let begin = self.next;
        let mut left = begin.left;
        while left > 0 {
            let series = self.series();
            let here = left.min(series.tasks - self.next.nth);
            let after = series.id.after(self.next.nth + here);
            left -= here;
            self.next = Next {
                series: self.next.series + 1,
                nth: 0,
                left,
            };
            if left > 0 && self.series().id != after {
                break;
            }
        }
        Results {
            packet: Rc::clone(&self.packet),
            next: Next {
                left: begin.left - left,
                ..begin
            },
            _niche: Niche::Here,
        }
    }

    /// Takes the next one, read in place: its task and output. `None`: all were taken.
    #[inline(always)]
    pub(crate) fn next_output(&mut self) -> Option<(TaskId, &[u8])> {
        let packet = &*self.packet;
        let series = packet.series(self.next.series)?;
        let nth = self.next.nth;
        self.next.step(series.tasks);
        Some((series.id.after(nth), series.output(&packet.bodies, nth)))
    }

    /// Whether all were taken.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.next.left == 0
    }

    /// The next one's task.
    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        self.series().id.after(self.next.nth)
    }

    #[inline]
    pub(crate) fn info(&self) -> &AlgorithmInfo {
        &self.packet.info
    }

    pub(crate) fn slave(&self) -> SlaveId {
        self.packet.slave
    }

    /// The next one's output.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.series().output(&self.packet.bodies, self.next.nth)
    }

    /// The next one's time in the algorithm.
    pub(crate) fn compute(&self) -> Nanos {
        let series = self.series();
        let body = &self.packet.bodies[series.at as usize..];
        let nth = series.first + self.next.nth;
        let mut one = series.elements.iter(body, nth, 1, series.compute);
        one.next().expect("one was asked for").0
    }

    /// From the next one's submission to the hand-out that brought it.
    pub(crate) fn wait(&self) -> Nanos {
        self.series().wait
    }

    /// From that hand-out to its arrival, less the compute time.
    pub(crate) fn travel(&self) -> Nanos {
        self.series().on_the_way.saturating_sub(self.compute())
    }

    /// The next one's task, if that has a tag: of others none is kept.
    pub(crate) fn tagged(&self) -> Option<TaskBody<'_>> {
        let bodies = self.series().tagged.as_deref();
        bodies.map(|bodies| bodies.nth(self.next.nth))
    }

    /// What those that are left take: outputs, tagged tasks' bodies, and [`RESULT_BYTES`] for each.
    #[inline]
    fn ready_bytes(&self) -> usize {
        let Next {
            series: mut at,
            nth: mut before,
            mut left,
        } = self.next;
        let mut bytes = 0;
        while left > 0 {
            let series = self.packet.series(at).expect("each is of a series");
            let tasks = left.min(series.tasks - before);
            let tagged = series.tagged.as_ref();
            let body = &self.packet.bodies[series.at as usize..];
            let first = series.first + before;
            bytes += tagged.map_or(0, |bodies| bodies.each_bytes(before, tasks))
                + series.elements.outputs_bytes(body, first, tasks)
                + tasks as usize * RESULT_BYTES;
            (at, left, before) = (at + 1, left - tasks, 0);
        }
        bytes
    }
}
