//! A queue of tasks and runs of them: two lists, of the tasks whose end goes to the queue of results and of the others, merged by age.
//! Two, so that back-pressure can pass over the first without searching.

use crate::list::{Links, List};
use crate::payload::Payload;
use crate::tasks::Tasks;

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) queue: List,
    pub(crate) flows: List,
    queue_tasks: u64,
    flow_tasks: u64,
}

impl Lane {
    pub(crate) const EMPTY: Lane = Lane {
        queue: List::EMPTY,
        flows: List::EMPTY,
        queue_tasks: 0,
        flow_tasks: 0,
    };

    /// How many tasks are in it.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.queue_tasks + self.flow_tasks
    }

    /// Whether something may be handed out.
    #[inline]
    pub(crate) fn has_work(&self, hold_queue: bool) -> bool {
        !self.flows.is_empty() || (!hold_queue && !self.queue.is_empty())
    }

    /// How many may be handed out.
    pub(crate) fn work(&self, hold_queue: bool) -> u64 {
        self.flow_tasks + if hold_queue { 0 } else { self.queue_tasks }
    }

    /// The oldest that may be handed out.
    #[inline]
    pub(crate) fn front<P: Payload>(&self, tasks: &Tasks<P>, hold_queue: bool) -> Option<u32> {
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
    pub(crate) fn push_back<P: Payload>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        let of_queue = self.count(tasks, task);
        self.list(of_queue).push_back(tasks, task);
    }

    #[inline]
    pub(crate) fn push_front<P: Payload>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        let of_queue = self.count(tasks, task);
        self.list(of_queue).push_front(tasks, task);
    }

    /// What stands before a record now was split off it.
    pub(crate) fn on_split<P: Payload>(&mut self, tasks: &mut Tasks<P>, task: u32, front: u32) {
        let of_queue = tasks.get(task).of_queue();
        self.list(of_queue).insert_before(tasks, task, front);
    }

    /// The run that a record stands for has one task more.
    #[inline]
    pub(crate) fn on_grown(&mut self, of_queue: bool) {
        *self.tasks_mut(of_queue) += 1;
    }

    #[inline]
    pub(crate) fn remove<P: Payload>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        let record = tasks.get(task);
        let (of_queue, gone) = (record.of_queue(), record.tasks());
        *self.tasks_mut(of_queue) -= u64::from(gone);
        self.list(of_queue).remove(tasks, task);
    }

    /// Tasks of the front of one of the lists have gone into a slave's hands: all of them, and these were its links, or
    /// some.
    #[inline]
    pub(crate) fn on_front_gone(&mut self, of_queue: bool, tasks: u32, all: Option<Links>) {
        *self.tasks_mut(of_queue) -= u64::from(tasks);
        if let Some(links) = all {
            self.list(of_queue).on_front_gone(links);
        }
    }

    /// Counts the tasks of a record, and says to which list it belongs.
    #[inline]
    fn count<P: Payload>(&mut self, tasks: &Tasks<P>, task: u32) -> bool {
        let record = tasks.get(task);
        let of_queue = record.of_queue();
        *self.tasks_mut(of_queue) += u64::from(record.tasks());
        of_queue
    }

    #[inline]
    fn list(&mut self, of_queue: bool) -> &mut List {
        if of_queue {
            &mut self.queue
        } else {
            &mut self.flows
        }
    }

    #[inline]
    fn tasks_mut(&mut self, of_queue: bool) -> &mut u64 {
        if of_queue {
            &mut self.queue_tasks
        } else {
            &mut self.flow_tasks
        }
    }

    /// For `sanity_check`: tasks of the two lists.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.queue_tasks, self.flow_tasks)
    }
}
