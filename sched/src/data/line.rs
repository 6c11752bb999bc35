//! The tasks addressed to one slave, in the order submitted: two halves, of those whose end goes to the queue of results
//! and of the others, merged by number. Two, so that back-pressure can pass over the first without searching.

use crate::data::list::{Links, List};
use crate::data::tasks::Tasks;
use crate::series::Series;

/// Records in the order of their age, and how many tasks they stand for.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) list: List,
    pub(crate) tasks: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) queue: Half,
    pub(crate) flows: Half,
}

impl Half {
    const EMPTY: Half = Half {
        list: List::EMPTY,
        tasks: 0,
    };

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Line {
    pub(crate) const EMPTY: Line = Line {
        queue: Half::EMPTY,
        flows: Half::EMPTY,
    };

    /// How many tasks are in it.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.queue.tasks + self.flows.tasks
    }

    /// How many may be handed out.
    #[inline]
    pub(crate) fn work(&self, hold_queue: bool) -> u64 {
        self.flows.tasks + if hold_queue { 0 } else { self.queue.tasks }
    }

    /// The oldest that may be handed out.
    #[inline]
    pub(crate) fn front<P: Series>(&self, tasks: &Tasks<P>, hold_queue: bool) -> Option<u32> {
        let of_queue = self.queue.list.front().filter(|_| !hold_queue);
        match (of_queue, self.flows.list.front()) {
            (Some(a), Some(b)) => Some(if tasks.get(a).seq < tasks.get(b).seq {
                a
            } else {
                b
            }),
            (a, b) => a.or(b),
        }
    }

    #[inline]
    pub(crate) fn push_back<P: Series>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        self.entered(tasks, task).push_back(tasks, task);
    }

    #[inline]
    pub(crate) fn remove<P: Series>(&mut self, tasks: &mut Tasks<P>, task: u32) {
        let record = tasks.get(task);
        let half = self.half(record.of_queue());
        half.tasks -= u64::from(record.tasks());
        half.list.remove(tasks, task);
    }

    /// The series that a record stands for was split: this is its front.
    pub(crate) fn on_split<P: Series>(&mut self, tasks: &mut Tasks<P>, task: u32, front: u32) {
        let half = self.half(tasks.get(task).of_queue());
        half.list.insert_before(tasks, task, front);
    }

    /// Tasks of the front of one of the halves have gone into a slave's hands: all of them, and these were its links, or
    /// some.
    #[inline]
    pub(crate) fn on_front_gone(&mut self, of_queue: bool, tasks: u32, all: Option<Links>) {
        let half = self.half(of_queue);
        half.tasks -= u64::from(tasks);
        if let Some(links) = all {
            half.list.on_front_gone(links);
        }
    }

    /// Counts the tasks of a record that comes; the list that it belongs in.
    #[inline]
    fn entered<P: Series>(&mut self, tasks: &Tasks<P>, task: u32) -> &mut List {
        let record = tasks.get(task);
        let half = self.half(record.of_queue());
        half.tasks += u64::from(record.tasks());
        &mut half.list
    }

    #[inline]
    fn half(&mut self, of_queue: bool) -> &mut Half {
        if of_queue {
            &mut self.queue
        } else {
            &mut self.flows
        }
    }
}
