//! What a [`Master`](super::Master) and its driver share, and the one place where the end of a task is
//! dispatched: to its call or map, else to the queue.

use std::task::Waker;

use bytes::BytesMut;
use ringmw_codec::audit::Event;
use ringmw_sched::Owner;
use slab::Slab;

use super::known::Earlier;
use super::queue::Queue;
use super::ready::Flow;
use super::reserve::Reservations;
use super::submit::Open;
use super::window::MAP_BYTES_MAX;
use crate::proto::master::MasterCore;

pub(crate) struct State {
    pub(crate) core: MasterCore,
    pub(crate) flows: Slab<Flow>,
    pub(crate) queue: Queue,
    /// By algorithm: maps made, and calls and queue submissions made.
    pub(super) streams: Vec<(u64, u64)>,
    pub(super) chunk: BytesMut,
    pub(super) open: Option<Open>,
    /// What those who wait for the queue were woken for last.
    news: News,
    said_waiting: bool,
    pub(super) said_queue_full: bool,
    /// A map has no more bytes out.
    pub(crate) map_bytes_max: u64,
    /// What earlier lives of the run left.
    pub(super) earlier: Option<Box<Earlier>>,
    /// Somebody reads files that are shared.
    pub(super) reads_files: bool,
    /// Who does, while it has nothing to read.
    pub(super) reader: Option<Waker>,
    /// To be woken when nothing is borrowed any more: a waker may be anybody's code, and use the master.
    pub(super) woken: Vec<Waker>,
    /// Slaves that are the application's own.
    pub(super) reservations: Reservations,
}

/// What `events` and `results` wait for.
#[derive(Copy, Clone, Default)]
struct News {
    /// Ends that came to the queue, ever.
    ends: u64,
    /// Slaves that came or went and were not taken.
    slaves: usize,
    /// Nothing is queued, running or desired.
    idle: bool,
}

impl State {
    pub(crate) fn new(core: MasterCore, algorithms: usize, ready_bytes_max: u64) -> Self {
        State {
            core,
            flows: Slab::new(),
            queue: Queue::new(algorithms, ready_bytes_max),
            streams: vec![(0, 0); algorithms],
            chunk: BytesMut::new(),
            open: None,
            news: News::default(),
            said_waiting: false,
            said_queue_full: false,
            map_bytes_max: MAP_BYTES_MAX,
            earlier: None,
            reads_files: false,
            reader: None,
            woken: Vec::new(),
            reservations: Reservations::default(),
        }
    }

    /// How many calls' blocks, maps and conversations somebody still has.
    pub(crate) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Tells every end that has come to its owner.
    pub(crate) fn dispatch(&mut self) {
        if self.core.has_returned() {
            self.take_returned();
        }
        // What a task said was said before its end.
        while let Some((flow, task, news)) = self.core.poll_talk() {
            self.on_talk(flow, task, news);
        }
        while let Some(end) = self.core.poll_end() {
            match end.owner() {
                Owner::Queue => self.queue.ended(end, self.core.queue_room()),
                Owner::Call(flow) | Owner::Map(flow) => {
                    let flow = self
                        .flows
                        .get_mut(flow as usize)
                        .expect("a flow that ends takes its tasks back first");
                    flow.live -= end.count();
                    flow.tell(end, &mut self.woken);
                }
            }
        }
        self.tell_reservations();
        self.wake_reader();
        self.keep_ready_bounded();
        self.say_bare();
        let sched = self.core.sched();
        let news = News {
            ends: self.queue.arrivals(),
            slaves: sched.connected_news() + sched.disconnected_news(),
            idle: sched.idle(),
        };
        // News alone wakes: whoever waits has seen what was there, and if that woke it, it would never sleep.
        let before = std::mem::replace(&mut self.news, news);
        if news.ends > before.ends || news.slaves > before.slaves || (news.idle && !before.idle) {
            self.wake_queue();
        }
    }

    /// Who waits for the queue looks at it again.
    pub(super) fn wake_queue(&mut self) {
        self.woken.extend(self.queue.waiting());
    }

    /// Above the bound of ready results no task whose end goes to the queue is handed out.
    pub(crate) fn keep_ready_bounded(&mut self) {
        if let Some(hold) = self.queue.hold_changes() {
            self.core.with_sched(|sched| sched.hold_queue_tasks(hold));
            if hold && self.queue.says_full() {
                let (bytes, bytes_max) = self.queue.ready_bytes();
                self.core.note(Event::ReadyFull { bytes, bytes_max });
            }
        }
    }

    /// Says once that unrunnable tasks lose their arguments.
    fn say_bare(&mut self) {
        if self.queue.says_bare() {
            let (bytes, bytes_max) = self.queued_bytes();
            self.core.note(Event::UnrunnableFull { bytes, bytes_max });
        }
    }

    /// What queued tasks take, and unrunnable ends that nobody has taken; and how much they may.
    pub(crate) fn queued_bytes(&self) -> (u64, u64) {
        let (bytes, bytes_max) = self.core.queued_bytes();
        (bytes + self.queue.unrunnable_bytes(), bytes_max)
    }

    /// Says once that tasks wait which no group may run, whoever waits for them.
    pub(crate) fn say_waiting(&mut self) {
        if !self.said_waiting {
            let tasks = self.core.sched().waits_for_nobody();
            if tasks > 0 {
                self.said_waiting = true;
                self.core.note(Event::Waiting {
                    tasks,
                    needs: None,
                    since_s: None,
                });
            }
        }
    }

    /// Whether this flow submits as its tasks end, enough for all slaves.
    pub(crate) fn set_source(&mut self, flow: u32, is_source: bool) {
        let flow = &mut self.flows[flow as usize];
        match (std::mem::replace(&mut flow.is_source, is_source), is_source) {
            (false, true) => self.core.with_sched(|sched| sched.begin_source()),
            (true, false) => self.core.with_sched(|sched| sched.end_source()),
            _ => {}
        }
    }
}
