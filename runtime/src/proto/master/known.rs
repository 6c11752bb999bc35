//! Tasks whose result an earlier life of the run recorded: they end at once with it, and nobody is handed them.

use ringmw_codec::batch::Elements;
use ringmw_sched::{Accepted, Nanos, Reason, SlaveId, TaskId, TaskSpec};

use super::MasterCore;
use crate::proto::bytes::SmallBytes;
use crate::proto::end::{End, Failed, ResultPacket, ResultSeries, Results};
use crate::proto::series::Body;

/// Who made a result that was recorded: a slave of an earlier life, whose number may be another's now. No slave has this
/// one.
pub(crate) const EARLIER: SlaveId = SlaveId(u32::MAX);

/// A result that was recorded.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) output: SmallBytes,
    pub(crate) failed: bool,
    pub(crate) compute: Nanos,
}

/// A result by itself fills its body.
fn alone(output: &[u8]) -> Elements {
    Elements::new(1, false, output.len()).expect("one result fills its body")
}

impl MasterCore {
    /// Says which life of its run it leads.
    pub(crate) fn set_life(&mut self, life: u32) {
        self.life = life;
    }

    /// Whether an output is one of the task's algorithm: what comes from a disk is believed no more than what comes from a
    /// slave.
    pub(crate) fn is_output(&self, spec: &TaskSpec, recorded: &Recorded) -> bool {
        match recorded.failed {
            true => std::str::from_utf8(&recorded.output).is_ok(),
            false => {
                let check = self.config.info(spec.algorithm).check_outputs;
                check(&recorded.output, alone(&recorded.output), 0..1).is_ok()
            }
        }
    }

    /// Submits a task whose result is known: it ends at once with that. The result is one of its algorithm's.
    pub(crate) fn submit_known(
        &mut self,
        spec: TaskSpec,
        body: Body,
        recorded: Recorded,
    ) -> TaskId {
        let id = self.sched.pass_over();
        self.tell_known(id, &spec, body, recorded);
        id
    }

    /// The task of this number ends with a result that is known.
    pub(super) fn tell_known(
        &mut self,
        id: TaskId,
        spec: &TaskSpec,
        body: Body,
        recorded: Recorded,
    ) {
        let info = *self.config.info(spec.algorithm);
        self.trail.on_known(id);
        if recorded.failed {
            let message = String::from_utf8_lossy(&recorded.output).into_owned();
            let task = Accepted {
                id,
                algorithm: spec.algorithm,
                owner: spec.owner,
                policy: spec.policy,
                payload: body,
                slave: EARLIER,
                submitted: self.now,
                handed_out: self.now,
            };
            self.ends.push_back(End::Failed(Box::new(Failed {
                task,
                info,
                message,
                compute: recorded.compute,
                travel: 0,
            })));
            return;
        }
        let series = ResultSeries {
            id,
            tasks: 1,
            at: 0,
            first: 0,
            elements: alone(&recorded.output),
            compute: recorded.compute,
            wait: 0,
            on_the_way: recorded.compute,
            tagged: body.is_tagged().then(|| Box::new(body)),
        };
        let of = (spec.owner, spec.algorithm);
        let packet = ResultPacket::new(of, info, EARLIER, recorded.output, series);
        self.ends.push_back(End::Done(Results::new(packet)));
    }

    /// A result that came to this life in another way than from a slave that was handed its task is recorded as any other.
    pub(crate) fn record_known(&mut self, spec: &TaskSpec, body: &Body, recorded: &Recorded) {
        let hash = self.config.info(spec.algorithm).hash_args;
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let (bests, algorithm, compute) = (&self.bests, spec.algorithm, recorded.compute);
        match recorded.failed {
            true => {
                let text = String::from_utf8_lossy(&recorded.output);
                recorder.put_failure(bests, algorithm, hash, body, compute, &text);
            }
            false => {
                let one = std::iter::once((compute, &*recorded.output));
                recorder.put_results(bests, algorithm, hash, body, one);
            }
        }
    }

    /// Submits a task that is begun at most once and was, by an earlier life: its slave may come back with the result.
    pub(crate) fn submit_away(&mut self, spec: TaskSpec, body: Body) -> TaskId {
        self.account.of(spec.algorithm).submitted += 1;
        let id = self.sched.submit_away(spec, body, self.now);
        self.collect_unrunnable();
        id
    }

    /// No slave of an earlier life comes back any more: of these tasks those that wait yet are unrunnable.
    pub(crate) fn give_up_away(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        for id in tasks {
            self.sched.give_up_away(id, Reason::BegunBefore);
        }
        self.collect_unrunnable();
    }

    /// Submits a task that is begun at most once and was, by an earlier life, whose slaves do not come back any more.
    pub(crate) fn submit_begun_before(&mut self, spec: TaskSpec, body: Body) -> TaskId {
        self.account.of(spec.algorithm).submitted += 1;
        let id = self.sched.refuse(spec, body, Reason::BegunBefore);
        self.collect_unrunnable();
        id
    }
}
