//! Target numbers: how many tasks the master algorithm would like to keep queued.

use ringmw_sched::AlgorithmId;

use super::handle::Master;
use crate::typed::algorithm::Algorithm;

impl Master {
    /// The target number of one algorithm.
    pub fn of<A: Algorithm>(&self) -> Target {
        Target {
            mw: self.clone(),
            algorithm: Some(self.id_of::<A>()),
        }
    }

    /// How many tasks of any kind the master algorithm would like to keep queued; advisory.
    pub fn set_target(&self, tasks: u64) {
        self.all().set_target(tasks);
    }

    /// The general target number, at first 0.
    pub fn target(&self) -> u64 {
        self.all().target()
    }

    /// Tasks of any kind that are queued and not on any slave.
    pub fn pending(&self) -> u64 {
        self.all().pending()
    }

    /// Tasks that are missing to the general target number.
    pub fn upto_target(&self) -> u64 {
        self.all().upto_target()
    }

    fn all(&self) -> Target {
        Target {
            mw: self.clone(),
            algorithm: None,
        }
    }
}

/// The target number of one algorithm or of all: a thermostat for how many tasks are queued.
pub struct Target {
    mw: Master,
    algorithm: Option<AlgorithmId>,
}

impl Target {
    /// How many tasks the master algorithm would like to keep queued; advisory.
    pub fn set_target(&self, tasks: u64) {
        let algorithm = self.algorithm;
        self.mw.act(|state| {
            state
                .core
                .with_sched(|sched| sched.set_target(algorithm, tasks))
        });
    }

    /// The target number, at first 0.
    pub fn target(&self) -> u64 {
        self.mw
            .work(|state| state.core.sched().target(self.algorithm))
    }

    /// Tasks that are queued and not on any slave.
    pub fn pending(&self) -> u64 {
        // The open series counts and stays open: a loop that submits up to the target asks before each task.
        self.mw.work(|state| {
            let queued = state.core.sched().pending(self.algorithm);
            queued + u64::from(state.open_tasks(self.algorithm))
        })
    }

    /// Tasks that are missing to the target number.
    pub fn upto_target(&self) -> u64 {
        self.target().saturating_sub(self.pending())
    }
}
