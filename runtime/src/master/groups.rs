//! Slaves: how many are desired in which group, and what is known of one.

use std::net::SocketAddr;
use std::time::Duration;

use ringmw_sched::{Group, Nanos, SlaveId};

use super::handle::Master;
use crate::proto::master::MasterCore;

/// A slave that is connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlaveView {
    /// Its identity.
    pub id: SlaveId,
    /// Its host's name, as it says.
    pub host: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Its batch job, or empty.
    pub job: String,
    /// Its labels, `key=value` or `key`, as its `--mw-slave-label` flags give them: at most 16, each of at most 64 bytes.
    pub labels: Vec<String>,
    /// Its group.
    pub group: Group,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// How far the task is that it runs, if that says so by [`Cx::progress`](crate::Cx::progress).
    pub progress: Option<Progress>,
}

/// How far a running task is, as it said last; see [`Cx::progress`](crate::Cx::progress).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The task's number, the `920` of `TASK-920`.
    pub task: u64,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do; 0 if that is not known.
    pub total: u64,
}

impl SlaveView {
    fn of(core: &MasterCore, id: SlaveId, now: Nanos) -> Option<Self> {
        let (info, group) = core.slave(id)?;
        Some(SlaveView {
            id,
            host: info.host.clone(),
            address: info.address,
            job: info.job.to_string(),
            labels: info.about.labels.clone(),
            group,
            connected_for: Duration::from_nanos(now.saturating_sub(info.since)),
            progress: core.progress_of(id).map(|told| Progress {
                task: told.task,
                done: told.done,
                total: told.total,
            }),
        })
    }
}

impl Master {
    /// Desires `slaves` more in this group.
    pub fn allocate(&self, group: Group, slaves: u32) {
        self.act(|state| state.core.with_sched(|sched| sched.allocate(group, slaves)));
    }

    /// Desires `slaves` fewer in this group, at least none.
    pub fn deallocate(&self, group: Group, slaves: u32) {
        self.act(|state| {
            state
                .core
                .with_sched(|sched| sched.deallocate(group, slaves))
        });
    }

    /// Desires one fewer in the slave's group and moves it to unordered once its hands are empty;
    /// false if it is not here or unordered already.
    pub fn free_slave(&self, slave: SlaveId) -> bool {
        self.act(|state| state.core.with_sched(|sched| sched.free_slave(slave)))
    }

    /// Desires one fewer in this group.
    pub fn free_slave_of(&self, group: Group) {
        self.act(|state| state.core.with_sched(|sched| sched.free_slave_of(group)));
    }

    /// What is known of a connected slave.
    pub fn slave(&self, id: SlaveId) -> Option<SlaveView> {
        let now = self.inner.clock.now();
        self.read(|state| SlaveView::of(&state.core, id, now))
    }

    /// What is known of every connected slave, in the order in which they came.
    pub fn slaves(&self) -> Vec<SlaveView> {
        let now = self.inner.clock.now();
        self.read(|state| {
            let ids = state.core.slave_ids().into_iter();
            ids.filter_map(|id| SlaveView::of(&state.core, id, now))
                .collect()
        })
    }

    /// How many slaves are connected.
    pub fn connected(&self) -> usize {
        self.read(|state| state.core.slaves())
    }

    /// For benchmarks: packets and bytes so far.
    #[doc(hidden)]
    pub fn traffic(&self) -> crate::proto::master::Traffic {
        self.read(|state| state.core.traffic())
    }
}
