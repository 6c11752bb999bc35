//! CL-MW's loop: what there is to take, and the taking.

use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_sched::{Group, SlaveId};

use super::handle::Master;
use super::queue::Events;
use super::result::{TaskResult, UnrunnableTask};
use super::state::State;

impl Master {
    /// Waits until there is something to take (CL-MW's mw-master-loop).
    ///
    /// Each call is a pass of I/O, or ends in one, also where there is something at once: what nobody takes starves
    /// nothing. With nothing queued, running or desired it returns all zeroes rather than wait for ever.
    pub async fn events(&self) -> Events {
        let mut wait = Wait::new(self, true);
        std::future::poll_fn(|cx| wait.poll(cx)).await
    }

    /// As [`events`](Master::events), for at most this long, also with nothing queued, running or desired; all zeroes
    /// when nothing came.
    pub async fn events_timeout(&self, timeout: Duration) -> Events {
        let mut wait = Wait::new(self, false);
        let mut time = pin!(tokio::time::sleep(timeout));
        let mut is_over = false;
        std::future::poll_fn(|cx| {
            let events = wait.poll(cx);
            is_over |= events.is_pending() && time.as_mut().poll(cx).is_ready();
            match is_over && events.is_pending() {
                true => wait.pass(cx).map(|()| self.counts()),
                false => events,
            }
        })
        .await
    }

    /// Lets a single pass of I/O happen and returns what there is to take (CL-MW's iterate).
    pub async fn poll_events(&self) -> Events {
        let wait = Wait::new(self, false);
        std::future::poll_fn(|cx| wait.pass(cx)).await;
        self.counts()
    }

    /// Says once that there is nothing to wait for.
    fn say_nothing(&self) {
        self.act(|state| {
            if !std::mem::replace(&mut state.queue.said_nothing, true) {
                state.core.note(Event::Nothing);
            }
        });
    }

    fn counts(&self) -> Events {
        self.read(|state| {
            let (unrunnable, results) = state.queue.counts();
            let sched = state.core.sched();
            Events {
                unrunnable,
                results,
                connected: sched.connected_news(),
                disconnected: sched.disconnected_news(),
            }
        })
    }

    /// All ready results, failed ones among them, in the order in which they came.
    ///
    /// A result is a share of its packet and stays with the master's thread; its [output](TaskResult::output) may go
    /// anywhere.
    pub fn take_results(&self) -> Vec<TaskResult> {
        let results = self.act(|state| state.queue.take_results());
        results.into_iter().map(TaskResult::new).collect()
    }

    /// All tasks that turned out unrunnable.
    ///
    /// Those not taken count against `--mw-max-queued-bytes`, together with the queued tasks. One past it is kept
    /// without its arguments, and the trail says so once.
    pub fn take_unrunnable(&self) -> Vec<UnrunnableTask> {
        self.act(|state| {
            let State { core, queue, .. } = state;
            let (count, tasks) = queue.take_unrunnable();
            let mut all = Vec::with_capacity(count);
            all.extend(tasks.map(|task| {
                let info = *core.info(task.algorithm);
                UnrunnableTask::new(task, info)
            }));
            all
        })
    }

    /// The slaves that came into the ordered and intermingle groups.
    pub fn take_connected(&self) -> Vec<(SlaveId, Group)> {
        self.act(|state| state.core.with_sched(|sched| sched.take_connected()))
    }

    /// The slaves that were lost from the ordered and intermingle groups.
    pub fn take_disconnected(&self) -> Vec<(SlaveId, Group)> {
        self.act(|state| state.core.with_sched(|sched| sched.take_disconnected()))
    }

    /// Tasks that are queued or run.
    pub fn runnable(&self) -> u64 {
        self.read(|state| state.core.sched().runnable())
    }

    /// Unrunnable tasks that wait to be taken.
    pub fn unrunnable(&self) -> usize {
        self.read(|state| state.queue.counts().0)
    }
}

/// A call of `events` or one of its kin.
struct Wait<'m> {
    mw: &'m Master,
    /// It ends once so many passes have been made.
    passes: u64,
    /// It ends where there is nothing to wait for.
    may_be_idle: bool,
}

impl<'m> Wait<'m> {
    fn new(mw: &'m Master, may_be_idle: bool) -> Self {
        Wait {
            mw,
            passes: mw.passes() + 1,
            may_be_idle,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Events> {
        let mut found = self.find();
        if found.is_none() {
            let waker = cx.waker().clone();
            // Cloning it may have used the master.
            found = self.find();
            if found.is_none() {
                // What comes, comes with a pass.
                drop(self.mw.act(|state| state.queue.wait(waker)));
            }
        }
        let Some(events) = found else {
            return Poll::Pending;
        };
        ready!(self.pass(cx));
        if events.is_empty() {
            self.mw.say_nothing();
        }
        Poll::Ready(events)
    }

    /// What there is to take, or nothing where nothing can come.
    fn find(&self) -> Option<Events> {
        let events = self.mw.counts();
        let idle = || self.may_be_idle && self.mw.read(|state| state.core.sched().idle());
        (!events.is_empty() || idle()).then_some(events)
    }

    /// The pass of this call has been made.
    fn pass(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.mw.passes() >= self.passes {
            return Poll::Ready(());
        }
        self.mw.ask_for_pass(cx.waker());
        Poll::Pending
    }
}
