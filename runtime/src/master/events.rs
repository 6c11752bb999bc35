//! CL-MW's loop: what there is to take, and the taking.

use std::task::Poll;
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
    /// With nothing queued, running or desired it returns all zeroes rather than wait for ever.
    pub async fn events(&self) -> Events {
        std::future::poll_fn(|cx| {
            let events = self.counts();
            if !events.is_empty() {
                return Poll::Ready(events);
            }
            self.with(|state| {
                if state.core.sched().idle() {
                    if !std::mem::replace(&mut state.queue.said_nothing, true) {
                        state.core.note(Event::Nothing);
                    }
                    return Poll::Ready(events);
                }
                state.queue.wait(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    /// As [`events`](Master::events), for at most this long; all zeroes when nothing came.
    pub async fn events_timeout(&self, timeout: Duration) -> Events {
        tokio::time::timeout(timeout, self.events())
            .await
            .unwrap_or_default()
    }

    /// Lets a single pass of I/O happen and returns what there is to take (CL-MW's iterate).
    pub async fn poll_events(&self) -> Events {
        let after = self.inner.turns.get() + 1;
        std::future::poll_fn(|cx| {
            if self.inner.turns.get() >= after {
                return Poll::Ready(());
            }
            self.inner.turn_wakers.borrow_mut().push(cx.waker().clone());
            if let Some(waker) = &*self.inner.driver.borrow() {
                waker.wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        self.counts()
    }

    fn counts(&self) -> Events {
        self.look(|state| {
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
        let results = self.with(|state| state.queue.take_results());
        results.into_iter().map(TaskResult::new).collect()
    }

    /// All tasks that turned out unrunnable.
    pub fn take_unrunnable(&self) -> Vec<UnrunnableTask> {
        self.with(|state| {
            let State { core, queue, .. } = state;
            let tasks = queue.take_unrunnable();
            tasks
                .map(|task| UnrunnableTask::new(&task, *core.info(task.algorithm)))
                .collect()
        })
    }

    /// The slaves that came into the ordered and intermingle groups.
    pub fn take_connected(&self) -> Vec<(SlaveId, Group)> {
        self.with(|state| state.core.with_sched(|sched| sched.take_connected()))
    }

    /// The slaves that were lost from the ordered and intermingle groups.
    pub fn take_disconnected(&self) -> Vec<(SlaveId, Group)> {
        self.with(|state| state.core.with_sched(|sched| sched.take_disconnected()))
    }

    /// Tasks that are queued or run.
    pub fn runnable(&self) -> u64 {
        self.look(|state| state.core.sched().runnable())
    }

    /// Unrunnable tasks that wait to be taken.
    pub fn unrunnable(&self) -> usize {
        self.look(|state| state.queue.counts().0)
    }
}
