//! The queue: ends of submitted tasks that wait for `take_results`, `take_unrunnable` or `results`.

use std::collections::VecDeque;
use std::task::Waker;

use ringmw_sched::{AlgorithmId, Unrunnable};

use super::error::Origin;
use super::unrunnable::{Entry, UnrunnableEnds};
use crate::proto::end::End;

/// What [`events`](super::Master::events) waits for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Unrunnable tasks that wait to be taken.
    pub unrunnable: usize,
    /// Results that wait to be taken, failed ones among them.
    pub results: usize,
    /// Ordered and intermingle slaves that came.
    pub connected: usize,
    /// Ordered and intermingle slaves that went.
    pub disconnected: usize,
}

impl Events {
    /// Whether there is nothing of any kind.
    pub fn is_empty(&self) -> bool {
        *self == Events::default()
    }
}

#[derive(Default)]
struct OfAlgorithm {
    /// With the number of the first arrival of each.
    ready: VecDeque<(u64, End)>,
    unrunnable: UnrunnableEnds,
    live: u64,
}

/// An end that is taken by itself.
pub(crate) enum Taken {
    /// A result.
    Ready(End),
    Unrunnable(Unrunnable<Origin>),
}

pub(crate) struct Queue {
    of: Vec<OfAlgorithm>,
    arrivals: u64,
    ready: usize,
    unrunnable: usize,
    ready_bytes: u64,
    ready_bytes_max: u64,
    unrunnable_bytes: u64,
    /// An unrunnable task's arguments were not kept.
    has_been_bare: bool,
    said_bare: bool,
    held: bool,
    wakers: Vec<Waker>,
    said_full: bool,
    /// Said once in the trail.
    pub(crate) said_nothing: bool,
}

impl Queue {
    pub(crate) fn new(algorithms: usize, ready_bytes_max: u64) -> Self {
        Queue {
            of: (0..algorithms).map(|_| OfAlgorithm::default()).collect(),
            arrivals: 0,
            ready: 0,
            unrunnable: 0,
            ready_bytes: 0,
            ready_bytes_max,
            unrunnable_bytes: 0,
            has_been_bare: false,
            said_bare: false,
            held: false,
            wakers: Vec::new(),
            said_full: false,
            said_nothing: false,
        }
    }

    fn of(&mut self, algorithm: AlgorithmId) -> &mut OfAlgorithm {
        &mut self.of[usize::from(algorithm.0)]
    }

    pub(crate) fn submitted(&mut self, algorithm: AlgorithmId, tasks: u32) {
        self.of(algorithm).live += u64::from(tasks);
        self.said_nothing = false;
    }

    pub(crate) fn cancelled(&mut self, algorithm: AlgorithmId) {
        self.of(algorithm).live -= 1;
    }

    /// An end has come. An unrunnable one keeps its arguments if all unrunnable ones together take no more than
    /// `unrunnable_bytes_max`.
    pub(crate) fn ended(&mut self, end: End, unrunnable_bytes_max: u64) {
        let of = &mut self.of[usize::from(end.algorithm().0)];
        let (arrival, count) = (self.arrivals, end.count());
        of.live -= count as u64;
        self.arrivals += count as u64;
        if let End::Unrunnable(task) = end {
            self.unrunnable += 1;
            let room = unrunnable_bytes_max.saturating_sub(self.unrunnable_bytes);
            let (bytes, is_whole) = of.unrunnable.push(arrival, task, room);
            self.unrunnable_bytes += bytes;
            self.has_been_bare |= !is_whole;
        } else {
            self.ready += count;
            self.ready_bytes += end.ready_bytes();
            of.ready.push_back((arrival, end));
        }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.unrunnable, self.ready)
    }

    pub(crate) fn live(&self, algorithm: AlgorithmId) -> u64 {
        self.of[usize::from(algorithm.0)].live
    }

    pub(crate) fn ready_bytes(&self) -> (u64, u64) {
        (self.ready_bytes, self.ready_bytes_max)
    }

    /// What unrunnable ends take that nobody has taken.
    pub(crate) fn unrunnable_bytes(&self) -> u64 {
        self.unrunnable_bytes
    }

    /// Whether the trail is to be told, which it is once, that unrunnable tasks lose their arguments.
    pub(crate) fn says_bare(&mut self) -> bool {
        self.has_been_bare && !std::mem::replace(&mut self.said_bare, true)
    }

    /// Ends that came, ever.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Whether the trail is to be told that handing out is held: not for every result about the bound, but once it has
    /// been well below.
    pub(crate) fn says_full(&mut self) -> bool {
        !std::mem::replace(&mut self.said_full, true)
    }

    /// Whether handing out must begin or stop to be held, if that has changed.
    pub(crate) fn hold_changes(&mut self) -> Option<bool> {
        let hold = self.ready_bytes > self.ready_bytes_max;
        self.said_full &= self.ready_bytes > self.ready_bytes_max / 2;
        (hold != self.held).then(|| {
            self.held = hold;
            hold
        })
    }

    pub(crate) fn take_results(&mut self) -> Vec<End> {
        let mut results = Vec::with_capacity(self.ready);
        self.ready = 0;
        self.ready_bytes = 0;
        for end in merge(self.of.iter_mut().map(|of| &mut of.ready)) {
            results.extend(end.each());
        }
        results
    }

    /// All unrunnable ends, each by itself, and how many there are.
    pub(crate) fn take_unrunnable(
        &mut self,
    ) -> (usize, impl Iterator<Item = Unrunnable<Origin>> + use<>) {
        self.unrunnable_bytes = 0;
        let entries = merge(self.of.iter_mut().map(|of| of.unrunnable.entries()));
        let tasks = entries.into_iter().flat_map(Entry::each);
        (std::mem::take(&mut self.unrunnable), tasks)
    }

    /// The oldest end of one algorithm, by itself.
    pub(crate) fn take_one(&mut self, algorithm: AlgorithmId) -> Option<Taken> {
        let of = &mut self.of[usize::from(algorithm.0)];
        let unrunnable_first = match (of.ready.front(), of.unrunnable.oldest()) {
            (Some((ready, _)), Some(unrunnable)) => unrunnable < *ready,
            (None, None) => return None,
            (ready, _) => ready.is_none(),
        };
        if unrunnable_first {
            self.unrunnable -= 1;
            let (task, bytes) = of.unrunnable.pop()?;
            self.unrunnable_bytes -= bytes;
            return Some(Taken::Unrunnable(task));
        }
        let (arrival, ends) = of.ready.front_mut()?;
        *arrival += 1;
        let end = match ends.split_first() {
            Some(first) => first,
            None => of.ready.pop_front()?.1,
        };
        self.ready -= 1;
        self.ready_bytes -= end.ready_bytes();
        Some(Taken::Ready(end))
    }

    /// Keeps the waker of who waits, or gives it back where it has it already.
    pub(super) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        if self.wakers.iter().any(|known| known.will_wake(&waker)) {
            return Some(waker);
        }
        self.wakers.push(waker);
        None
    }

    /// Those who wait, to be woken.
    pub(super) fn waiting(&mut self) -> std::vec::Drain<'_, Waker> {
        self.wakers.drain(..)
    }

    /// Ends that nobody took.
    pub(crate) fn untold(&self) -> usize {
        self.ready + self.unrunnable
    }
}

/// All entries in the order of their arrival.
fn merge<'a, T: 'a>(queues: impl Iterator<Item = &'a mut VecDeque<(u64, T)>>) -> Vec<T> {
    let mut queues = queues.filter(|queue| !queue.is_empty());
    let Some(first) = queues.next() else {
        return Vec::new();
    };
    let Some(second) = queues.next() else {
        return first.drain(..).map(|(_, entry)| entry).collect();
    };
    let mut all: Vec<(u64, T)> = Vec::from(std::mem::take(first));
    all.extend(second.drain(..));
    queues.for_each(|queue| all.extend(queue.drain(..)));
    all.sort_unstable_by_key(|(arrival, _)| *arrival);
    all.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::TaskBody;
    use ringmw_sched::{AlgorithmId, Config, Owner, Scheduler, SlaveId, TaskSpec};

    use super::Queue;
    use crate::proto::end::End;
    use crate::proto::series::{Body, encoded};

    const BOUND: u64 = 16_000;

    /// A queue with so many unrunnable ends, told one after another with that bound.
    fn queue(tasks: u64, tag: &[u8]) -> Queue {
        let mut sched = Scheduler::<Body>::new(Config::for_test(), 1);
        let mut queue = Queue::new(1, 0);
        for stream in 0..tasks {
            let body = TaskBody {
                domain: 0,
                stream,
                tag_type: u64::from(!tag.is_empty()),
                timeout_ms: 0,
                tag,
                args: &[7; 64],
            };
            let mut spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, 64);
            spec.policy.to = Some(SlaveId(7));
            sched.submit(spec, encoded(&body).into(), 0);
            queue.submitted(AlgorithmId(0), 1);
            let task = sched.poll_unrunnable().expect("there is no such slave");
            queue.ended(End::Unrunnable(Box::new(task.into())), BOUND);
        }
        queue
    }

    #[test]
    fn unrunnable_ends_past_the_bound_take_no_more_however_many_they_are() {
        let some = queue(200, &[]).unrunnable_bytes();
        let mut many = queue(20_000, &[]);
        assert_eq!(many.unrunnable_bytes(), some);
        assert!((BOUND - 300..BOUND + 300).contains(&some), "{some}");
        // A long tag is dropped, and does not keep them from being one range; each short one takes its place.
        assert!(queue(20_000, &[7; 65]).unrunnable_bytes() < BOUND + 300);
        let tagged = queue(20_000, &[7; 64]).unrunnable_bytes();
        assert!((20_000 * 100..20_000 * 250).contains(&tagged), "{tagged}");
        // Taken one by one, they give back what they took.
        let mut taken = 0;
        while many.take_one(AlgorithmId(0)).is_some() {
            taken += 1;
        }
        assert_eq!(
            (taken, many.unrunnable_bytes(), many.counts()),
            (20_000, 0, (0, 0))
        );
    }
}
