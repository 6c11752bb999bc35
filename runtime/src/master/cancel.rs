//! Tasks are taken back: by the application, and with the call or map that waited for them.

use ringmw_sched::{Owner, Series, TaskId};

use super::handle::Master;
use super::ready::Flow;
use super::state::State;
use crate::proto::end::End;
use crate::proto::series::Body;
use crate::typed::wire::{self, Wire};

impl Master {
    /// Takes a task back: true if its end had not come, and this is it. A running one is no longer
    /// waited for and its slave is told.
    pub fn cancel(&self, id: TaskId) -> bool {
        self.act(|state| state.cancel_and_tell(id))
    }

    /// Takes back every task with this tag; how many. Costs a look at every live task.
    pub fn cancel_tagged<T: Wire>(&self, tag: &T) -> usize {
        let mut archive = Vec::new();
        wire::encode(tag, &mut archive).expect("a tag that was given can be archived");
        self.act(|state| {
            let ids = state.live(|_, body, nth| {
                body.is_tagged() && {
                    let task = body.nth(nth);
                    (task.tag_type, task.tag) == (T::TYPE_HASH, &*archive)
                }
            });
            state.cancel_all(ids)
        })
    }

    /// Takes back every task; how many.
    pub fn cancel_all(&self) -> usize {
        self.act(|state| {
            let ids = state.live(|_, _, _| true);
            state.cancel_all(ids)
        })
    }
}

impl State {
    /// Takes a live task back; `None` if its end has come already.
    pub(crate) fn cancel(&mut self, id: TaskId) -> Option<End> {
        let end = self.core.cancel(id)?;
        match end.owner() {
            Owner::Queue => {
                self.queue.cancelled(end.algorithm());
                // A `results` stream may wait for just this.
                self.wake_queue();
            }
            Owner::Call(flow) | Owner::Map(flow) => self.flows[flow as usize].live -= 1,
        }
        Some(end)
    }

    /// Takes a task back for the application: returning true is how the end is told, so a call or map
    /// that still waits for it is told too.
    pub(crate) fn cancel_and_tell(&mut self, id: TaskId) -> bool {
        let Some(end) = self.cancel(id) else {
            return false;
        };
        if let Some(flow) = end.owner().flow() {
            self.flows[flow as usize].tell(end, &mut self.woken);
        }
        true
    }

    pub(crate) fn cancel_all(&mut self, ids: Vec<TaskId>) -> usize {
        ids.into_iter()
            .filter(|&id| self.cancel_and_tell(id))
            .count()
    }

    /// Takes every live task of a map back and forgets the map; what is left of it is dropped where nothing is
    /// borrowed: it may hold a waker. It costs what the map has out, whatever else is queued.
    pub(crate) fn drop_map(&mut self, flow: u32) -> Flow {
        let live: Vec<(TaskId, u32)> = self.core.sched().live_of_map(flow).collect();
        for (first, tasks) in live {
            for nth in 0..tasks {
                self.cancel(first.after(nth));
            }
        }
        self.set_source(flow, false);
        self.flows.remove(flow as usize)
    }

    /// The live tasks that `wanted` picks by owner, and by body and place in it. Costs a look at every live task.
    pub(crate) fn live(&self, mut wanted: impl FnMut(Owner, &Body, u32) -> bool) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for (id, _, owner, body) in self.core.sched().live() {
            let picked = (0..body.tasks()).filter(|&nth| wanted(owner, body, nth));
            ids.extend(picked.map(|nth| id.after(nth)));
        }
        ids
    }
}
