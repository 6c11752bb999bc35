//! The queue: ends of submitted tasks that wait for `take_results`, `take_unrunnable` or `results`.

use std::collections::VecDeque;
use std::task::Waker;

use ringmw_sched::{AlgorithmId, Unrunnable};

use crate::proto::end::End;
use crate::proto::series::Body;

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
    unrunnable: VecDeque<(u64, Box<Unrunnable<Body>>)>,
    live: u64,
}

pub(crate) struct Queue {
    of: Vec<OfAlgorithm>,
    arrivals: u64,
    ready: usize,
    unrunnable: usize,
    ready_bytes: u64,
    ready_bytes_max: u64,
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

    pub(crate) fn ended(&mut self, end: End) {
        let of = &mut self.of[usize::from(end.algorithm().0)];
        let (arrival, count) = (self.arrivals, end.count());
        of.live -= count as u64;
        self.arrivals += count as u64;
        if let End::Unrunnable(task) = end {
            self.unrunnable += 1;
            of.unrunnable.push_back((arrival, task));
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

    pub(crate) fn take_unrunnable(
        &mut self,
    ) -> impl Iterator<Item = Box<Unrunnable<Body>>> + use<> {
        self.unrunnable = 0;
        merge(self.of.iter_mut().map(|of| &mut of.unrunnable)).into_iter()
    }

    /// The oldest end of one algorithm, by itself.
    pub(crate) fn take_one(&mut self, algorithm: AlgorithmId) -> Option<End> {
        let of = &mut self.of[usize::from(algorithm.0)];
        let unrunnable_first = match (of.ready.front(), of.unrunnable.front()) {
            (Some((ready, _)), Some((unrunnable, _))) => unrunnable < ready,
            (None, None) => return None,
            (ready, _) => ready.is_none(),
        };
        if unrunnable_first {
            self.unrunnable -= 1;
            let (_, task) = of.unrunnable.pop_front()?;
            return Some(End::Unrunnable(task));
        }
        let (arrival, ends) = of.ready.front_mut()?;
        *arrival += 1;
        let end = match ends.split_first() {
            Some(first) => first,
            None => of.ready.pop_front()?.1,
        };
        self.ready -= 1;
        self.ready_bytes -= end.ready_bytes();
        Some(end)
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
