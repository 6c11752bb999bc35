//! What the application takes: ends, the tasks that it takes back, and the slaves that it claims and frees.

use rand::RngExt;
use ringmw_sched::{AlgorithmId, Group, Owner, SlaveId, TaskId};

use crate::master::queue::Taken;
use crate::proto::end::End;
use crate::testing::script::Script;
use crate::typed::wire;

impl Script {
    pub(super) fn take(&mut self) {
        if self.calm || self.chance(50) {
            for result in self.state.queue.take_results() {
                self.told(Owner::Queue, &result);
            }
        } else {
            let algorithm = AlgorithmId(self.rng.random_range(0..self.algorithms()) as u16);
            while self.chance(80)
                && let Some(end) = self.state.queue.take_one(algorithm)
            {
                match end {
                    Taken::Ready(end) => self.told(Owner::Queue, &end),
                    Taken::Unrunnable(task) => self.law.on_told_unrunnable(task),
                }
            }
        }
        if self.calm || self.chance(50) {
            let (count, tasks) = self.state.queue.take_unrunnable();
            let mut told = 0;
            for task in tasks {
                self.law.on_told_unrunnable(task);
                told += 1;
            }
            assert_eq!(told, count, "unrunnable tasks");
            assert_eq!(self.state.queue.unrunnable_bytes(), 0);
        }
        for at in (0..self.flows.len()).rev() {
            let (slot, owner) = (self.flows[at].slot, self.flows[at].owner());
            self.take_flow(owner);
            // A map or call that is through is dropped.
            if self.state.flows[slot as usize].live == 0 && (self.calm || self.chance(20)) {
                self.flows.swap_remove(at);
                self.drop_flow(owner);
            }
        }
        let ready = self.law.ready_bytes();
        assert_eq!(
            self.state.queue.ready_bytes().0,
            ready,
            "bytes of ready results"
        );
    }

    pub(super) fn take_flow(&mut self, owner: Owner) {
        let slot = owner.flow().expect("a call or map");
        while let Some(end) = self.state.flows[slot as usize].ready.pop() {
            if matches!(end, End::Cancelled(_)) {
                // `cancel_and_tell` has told it twice on purpose: by its value and to the flow's waiter.
                continue;
            }
            self.told(owner, &end);
        }
    }

    /// Drops a call or map, as its handle does.
    fn drop_flow(&mut self, owner: Owner) {
        let flow = owner.flow().expect("a call or map");
        if let Owner::Map(_) = owner {
            self.state.drop_map(flow);
            return;
        }
        for id in self.state.live(|other, _, _| other == owner) {
            self.state.cancel(id);
        }
        self.state.flows.remove(flow as usize);
    }

    pub(super) fn told(&mut self, owner: Owner, end: &End) {
        self.law.on_told(owner, end);
        if let End::Done(results) = end
            && let Some(expected) = self.draws.remove(&end.id().seq())
        {
            let drawn: u64 = wire::decode(results.output()).expect("it was checked");
            assert_eq!(drawn, expected, "{} draws from another stream", end.id());
        }
    }

    pub(super) fn cancel_some(&mut self) {
        match self.rng.random_range(0..10) {
            0 => {
                let ids = self.state.live(|_, _, _| true);
                for &id in &ids {
                    let cancelled = self.state.cancel_and_tell(id);
                    self.on_cancelled(id, cancelled);
                }
            }
            1..4 if !self.flows.is_empty() => {
                // A call or map is dropped.
                let at = self.rng.random_range(0..self.flows.len());
                self.drop_at(at);
            }
            4..7 => {
                // The oldest are in the hands of slaves.
                let mut live = self.state.live(|_, _, _| true);
                live.sort_unstable_by_key(|id| id.seq());
                live.truncate(30);
                if let Some(at) = self.pick(live.len()) {
                    let end = self.state.cancel(live[at]);
                    self.on_cancelled(live[at], end.is_some());
                }
            }
            _ => {
                // Recent ones are more likely to be live.
                for _ in 0..self.rng.random_range(1..4) {
                    let recent = self.ids.len().min(30);
                    let Some(back) = self.pick(recent) else {
                        return;
                    };
                    let id = self.ids[self.ids.len() - 1 - back];
                    let before = self.law.is_live(id);
                    let end = self.state.cancel(id);
                    assert_eq!(end.is_some(), before, "cancelling {id}");
                    self.on_cancelled(id, end.is_some());
                }
            }
        }
        self.keep_ready();
    }

    /// A call or map is dropped, with what is live of it.
    pub(super) fn drop_at(&mut self, at: usize) {
        let flow = self.flows.swap_remove(at);
        // As the handle does before it acts.
        self.state.settle();
        self.law.follow(&self.state.core);
        self.take_flow(flow.owner());
        let ids = match flow.owner() {
            Owner::Map(map) => self
                .state
                .core
                .sched()
                .live_of_map(map)
                .flat_map(|(first, tasks)| (0..tasks).map(move |nth| first.after(nth)))
                .collect(),
            owner => self.state.live(|other, _, _| other == owner),
        };
        self.drop_flow(flow.owner());
        for id in ids {
            self.on_cancelled(id, true);
        }
    }

    /// Cancelling is being told.
    fn on_cancelled(&mut self, id: TaskId, cancelled: bool) {
        self.fleet.say(|| format!("  cancel {id}: {cancelled}"));
        self.law.on_cancel(id, cancelled);
        if cancelled {
            self.law.on_told_cancelled(id);
        }
    }

    pub(super) fn groups(&mut self) {
        let group = match self.chance(self.habits.intermingle_percent) {
            true => Group::Intermingle,
            false => Group::ALL[self.rng.random_range(0..3)],
        };
        let slaves = self.rng.random_range(1..3);
        match self.rng.random_range(0..6) {
            0..3 => {
                self.fleet.say(|| format!("  allocate {slaves} {group}"));
                self.state
                    .core
                    .with_sched(|sched| sched.allocate(group, slaves));
            }
            3 => {
                self.fleet.say(|| format!("  deallocate {slaves} {group}"));
                self.state
                    .core
                    .with_sched(|sched| sched.deallocate(group, slaves));
            }
            4 => self
                .state
                .core
                .with_sched(|sched| sched.free_slave_of(group)),
            _ => {
                let id = SlaveId(self.rng.random_range(0..self.law.slaves_ever() as u32 + 1));
                let freed = self.state.core.with_sched(|sched| sched.free_slave(id));
                self.fleet.say(|| format!("  free {id}: {freed}"));
                self.law.on_free(id, freed);
            }
        }
        self.keep_ready();
        if self.chance(30) {
            let target = self.rng.random_range(0..50);
            let takes_no_news = self.habits.takes_no_news;
            self.state.core.with_sched(|sched| {
                sched.set_target(Some(AlgorithmId(0)), target);
                assert_eq!(
                    sched.upto_target(Some(AlgorithmId(0))),
                    target.saturating_sub(sched.pending(Some(AlgorithmId(0))))
                );
                if !takes_no_news {
                    sched.take_connected();
                    sched.take_disconnected();
                }
            });
        }
    }
}
