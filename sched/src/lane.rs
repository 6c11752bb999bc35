//! A queue of tasks: two lists, of the tasks whose end goes to the queue of results and of the others, merged by age.
//! Two, so that back-pressure can pass over the first without searching.

use crate::list::{Links, List};
use crate::tasks::Tasks;

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) queue: List,
    pub(crate) flows: List,
}

impl Lane {
    pub(crate) const EMPTY: Lane = Lane {
        queue: List::EMPTY,
        flows: List::EMPTY,
    };

    #[inline]
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.queue.len()) + u64::from(self.flows.len())
    }

    /// Whether something may be handed out.
    #[inline]
    pub(crate) fn has_work(&self, hold_queue: bool) -> bool {
        !self.flows.is_empty() || (!hold_queue && !self.queue.is_empty())
    }

    /// How many may be handed out.
    pub(crate) fn work(&self, hold_queue: bool) -> u64 {
        u64::from(self.flows.len())
            + if hold_queue {
                0
            } else {
                u64::from(self.queue.len())
            }
    }

    /// The oldest that may be handed out.
    #[inline]
    pub(crate) fn front<P>(&self, tasks: &Tasks<P>, hold_queue: bool) -> Option<u32> {
        let of_queue = if hold_queue { None } else { self.queue.front() };
        match (of_queue, self.flows.front()) {
            (Some(a), Some(b)) => Some(if tasks.get(a).place < tasks.get(b).place {
                a
            } else {
                b
            }),
            (a, b) => a.or(b),
        }
    }

    #[inline]
    pub(crate) fn push_back<P>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        self.list_of(tasks, task).push_back(tasks, task);
    }

    #[inline]
    pub(crate) fn push_front<P>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        self.list_of(tasks, task).push_front(tasks, task);
    }

    #[inline]
    pub(crate) fn remove<P>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        self.list_of(tasks, task).remove(tasks, task);
    }

    /// The front of one of the lists has gone into a slave's hands, and these were its links.
    #[inline]
    pub(crate) fn on_front_gone(&mut self, of_queue: bool, links: Links) {
        let list = if of_queue {
            &mut self.queue
        } else {
            &mut self.flows
        };
        list.on_front_gone(links);
    }

    #[inline]
    fn list_of<P>(&mut self, tasks: &Tasks<P>, task: u32) -> &mut List {
        if tasks.get(task).of_queue() {
            &mut self.queue
        } else {
            &mut self.flows
        }
    }
}
