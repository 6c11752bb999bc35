//! Does the simulated world bite? Deliberate bugs, each put into a copy of the sources, each to be found by
//! `tests/sim.rs` within [`SEEDS`] seeds. The shipping code knows nothing of them.
//!
//! `cargo test -p ringmw --test mutants -- --ignored --nocapture` takes a build for each (a quarter of a minute on two cores) and
//! prints the table in `runtime/src/testing/mod.rs` anew. A snippet that is not found exactly once is a failure: whoever
//! changes such a line sees to its mutant. That is checked by every run of the tests.
//!
//! `RINGMW_MUTANT=talk` runs those with this in their names; with `RINGMW_MUTANTS_WORK=FOLDER` the copy and its build are
//! there, and several runs can go on at once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Every mutant is found within so many seeds.
const SEEDS: u64 = 500;

struct Mutant {
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "double delivery: a cancelled task is told to its owner too",
        file: "runtime/src/proto/master/submit.rs",
        old: "        self.trail.on_task_ended(&end);",
        new: "        if let End::Cancelled(task) = &end {
            self.ends.push_back(End::Cancelled(task.clone()));
        }",
    },
    Mutant {
        name: "lost recycle: the last of several tasks is not queued again",
        file: "sched/src/events/lose.rs",
        old: "in recycled.iter().rev() {",
        new: "in recycled.iter().rev().skip(usize::from(recycled.len() > 1)) {",
    },
    Mutant {
        name: "wrong order after a free: rerouted tasks go to the front",
        file: "sched/src/events/groups.rs",
        old: "self.enqueue_back(slot);",
        new: "self.enqueue_front(slot);",
    },
    Mutant {
        name: "off by one: a packet of one task too many",
        file: "sched/src/events/packet_size.rs",
        old: "tasks: number, compute: None,",
        new: "tasks: number + 1, compute: None,",
    },
    Mutant {
        name: "off by one: the queue takes one task past its bound",
        file: "sched/src/events/submit.rs",
        old: "self.bounded_bytes() + more <= self.config.queued_bytes_max",
        new: "self.bounded_bytes() + more - u64::from(bytes) - Self::RECORD_BYTES <= self.config.queued_bytes_max",
    },
    Mutant {
        name: "a bound: unrunnable ends that nobody takes count for nothing where a task is admitted",
        file: "sched/src/events/keep.rs",
        old: "        self.counts.queued_bytes + self.counts.away_bytes + self.kept_bytes + self.untaken_bytes",
        new: "        self.counts.queued_bytes + self.counts.away_bytes + self.kept_bytes",
    },
    Mutant {
        name: "a forgotten counter: running tasks, at a cancel",
        file: "sched/src/events/cancel.rs",
        old: "self.withdraw(Place { slave, position });
                self.counts.running -= 1;",
        new: "self.withdraw(Place { slave, position });",
    },
    Mutant {
        name: "a stale slot: an old id finds the task that has its slot now",
        file: "sched/src/data/tasks.rs",
        old: ".look_up(id.slot)
            .is_some_and(|record| record.holds(id.seq))",
        new: ".look_up(id.slot)
            .is_some_and(|record| record.holds(id.seq) || record.tasks() == 1)",
    },
    Mutant {
        name: "a bound is told before its witness is kept",
        file: "runtime/src/proto/incumbents.rs",
        old: "incumbent.witness = Some(witness.into());",
        new: "",
    },
    Mutant {
        name: "the random stream is taken from the TaskId",
        file: "runtime/src/typed/cx.rs",
        old: "            domain,
            stream,
            ..self.key",
        new: "            domain,
            stream: task.wrapping_add(stream - stream),
            ..self.key",
    },
    Mutant {
        name: "a result is accepted after a cancel",
        file: "sched/src/data/hands.rs",
        old: "entry.hold = Hold::Withdrawn;
        self.withdrawn.insert(entry.seq, position);",
        new: "",
    },
    Mutant {
        name: "what a slave says does not count as a sign of life",
        file: "runtime/src/proto/master/connections.rs",
        old: "if came.has_bytes() {",
        new: "if came.has_bytes() && false {",
    },
    Mutant {
        name: "a slave is judged by the master's own pause",
        file: "runtime/src/proto/master/mod.rs",
        old: "self.awake += gap.min(STALL);",
        new: "self.awake += gap;",
    },
    Mutant {
        name: "a long turn counts as no silence at all",
        file: "runtime/src/proto/master/mod.rs",
        old: "self.awake += gap.min(STALL);",
        new: "self.awake += if gap > STALL { 0 } else { gap };",
    },
    Mutant {
        name: "a slave is judged before all that came was taken",
        file: "runtime/src/proto/master/silence.rs",
        old: "        if caught_up {
            self.check_silence();",
        new: "        if caught_up || self.stopping.is_none() {
            self.check_silence();",
    },
    Mutant {
        name: "a goodbye is charged",
        file: "runtime/src/proto/master/conn.rs",
        old: "            Cause::Goodbye { begun, .. } => Departure::Goodbye {
                begun: *begun == Begun::Oldest,
            },",
        new: "            Cause::Goodbye { .. } => Departure::Crashed,",
    },
    Mutant {
        name: "a loss at shutdown is charged",
        file: "runtime/src/proto/master/lost.rs",
        old: "        let departure = if leaving {
            Departure::Excused
        } else {
            cause.departure()
        };",
        new: "        let departure = cause.departure();",
    },
    Mutant {
        name: "the announcement of a marked task is skipped",
        file: "runtime/src/proto/slave/results.rs",
        old: "if front.marked && self.announcement",
        new: "if front.marked && self.completed == u64::MAX && self.announcement",
    },
    Mutant {
        name: "a marked task begins before its announcement has left",
        file: "runtime/src/proto/slave/results.rs",
        old: "self.announcement = Announcement::Leaving(task);",
        new: "self.announcement = Announcement::Left(task);",
    },
    Mutant {
        name: "a recycled task is not marked",
        file: "sched/src/events/lose.rs",
        old: "            record.mark();
",
        new: "",
    },
    Mutant {
        name: "a slave is not told of a cancel",
        file: "runtime/src/proto/master/submit.rs",
        old: "                state.withdraw.push(task);
",
        new: "",
    },
    Mutant {
        name: "results are sent twice",
        file: "runtime/src/proto/slave/results.rs",
        old: "        self.results.clear();
        self.on_packet_put(bytes, results);",
        new: "        if self.completed % 64 != 0 {
            self.results.clear();
        }
        self.on_packet_put(bytes, results);",
    },
    Mutant {
        name: "off by one: ready results are held one end too late",
        file: "runtime/src/master/queue.rs",
        old: "let hold = self.ready_bytes > self.ready_bytes_max;",
        new: "let hold = self.ready_bytes > self.ready_bytes_max + crate::proto::end::RESULT_BYTES as u64;",
    },
    Mutant {
        name: "no-retry tasks are retried",
        file: "sched/src/events/lose.rs",
        old: "    if !may_run {
        Some(Reason::NotRetried(slave))
    } else if charged",
        new: "    if charged",
    },
    Mutant {
        name: "an idle slave waits for a task that is there",
        file: "runtime/src/proto/slave/results.rs",
        old: "if full || self.tasks.is_empty() {",
        new: "self.oldest_result = None;
        if full {",
    },
    Mutant {
        name: "after a lack of descriptors nobody is accepted any more",
        file: "runtime/src/proto/master/silence.rs",
        old: "let may = self.accept_again.is_none_or(|again| self.now >= again);",
        new: "let may = self.accept_again.is_none();",
    },
    Mutant {
        name: "a slave gives back what is for it alone",
        file: "runtime/src/proto/slave/from_master.rs",
        old: "if !last.bound && !last.former {",
        new: "if !last.bound || asked > 0 {",
    },
    Mutant {
        name: "a slave gives back the task that it has announced",
        file: "runtime/src/proto/slave/from_master.rs",
        old: "let stays = usize::from(is_announced && self.tasks.is_empty());",
        new: "let stays = usize::from(is_announced && asked == 0);",
    },
    Mutant {
        name: "a task that was given back is lost",
        file: "sched/src/events/recall.rs",
        old: "self.enqueue_front(slot);
                    self.on_not_begun(slot);",
        new: "self.on_not_begun(slot);",
    },
    Mutant {
        name: "of two that run a straggler one is lost, and it is run a third time",
        file: "sched/src/events/duplicate.rs",
        old: "            self.tasks.get_mut(slot).state = State::Held { slave, position };
        }
        false",
        new: "            self.tasks.get_mut(slot).state = State::Held { slave, position };
        }
        true",
    },
    Mutant {
        name: "a slave whose straggler another has answered is not told",
        file: "sched/src/events/duplicate.rs",
        old: "            _ => twin,
        };
        self.withdraw(other);",
        new: "            _ => twin,
        };
        let _ = other;",
    },
    Mutant {
        name: "the turn of owners is forgotten",
        file: "sched/src/data/owners/queued.rs",
        old: "if may_turn && ring.len() > 1 {",
        new: "if may_turn && ring.len() > 1_000 {",
    },
    Mutant {
        name: "what the close of a series ends is told after what is done next",
        file: "runtime/src/master/submit.rs",
        old: "self.close();
        self.tell_ends();",
        new: "self.close();",
    },
    Mutant {
        name: "a map's run goes on in whatever series is open",
        file: "runtime/src/master/submit.rs",
        old: "filter(|open| open.first == run.first)",
        new: "filter(|_| run.first.seq() < u64::MAX)",
    },
    Mutant {
        name: "a map's window ignores bytes",
        file: "runtime/src/master/window.rs",
        old: "bytes: self.map_bytes_max.saturating_sub(out_bytes).min(queue),",
        new: "bytes: self.map_bytes_max.max(out_bytes + queue),",
    },
    Mutant {
        name: "a bound of bytes stops a map that is awaited",
        file: "runtime/src/master/window.rs",
        old: "free: least.saturating_sub(out).min(tasks),",
        new: "free: least.saturating_sub(least.max(out)),",
    },
    Mutant {
        name: "a packet goes ahead of time to a slave that has two",
        file: "sched/src/data/hands.rs",
        old: "        self.ahead == 0 && !self.alone",
        new: "        self.ahead < 2 && !self.alone",
    },
    Mutant {
        name: "what is split off a series is found by its first task alone",
        file: "sched/src/data/tasks.rs",
        old: "let last = front.last();",
        new: "let last = front.seq;",
    },
    Mutant {
        name: "a series that is split in the hands makes no place before the next packet",
        file: "sched/src/data/hands.rs",
        old: "        self.ahead += u32::from(index < self.ahead as usize);
",
        new: "",
    },
    Mutant {
        name: "a crash is charged to the whole series of the announced task",
        file: "sched/src/events/lose.rs",
        old: "let is_apart = entry.tasks > 1 && (is_announced || (is_begun && !retry));",
        new: "let is_apart = entry.tasks > 1 && is_begun && !retry;",
    },
    Mutant {
        name: "all of a series that is begun at most once count as begun with its first",
        file: "sched/src/events/lose.rs",
        old: "let is_apart = entry.tasks > 1 && (is_announced || (is_begun && !retry));",
        new: "let is_apart = entry.tasks > 1 && is_announced;",
    },
    Mutant {
        name: "a part of a series of several lengths has the table of the whole",
        file: "runtime/src/proto/series.rs",
        old: "base: begin as u32,",
        new: "base: 0,",
    },
    Mutant {
        name: "what is left of a series of several lengths counts the first one's bytes",
        file: "sched/src/data/record.rs",
        old: "self.bytes = self.bytes - own_bytes + payload.own_bytes();",
        new: "let _ = (own_bytes, payload);",
    },
    Mutant {
        name: "of a series the first tasks are taken back for the last ones",
        file: "sched/src/events/recall.rs",
        old: "let first = last + 1 - taken as u64;",
        new: "let first = entry.seq;",
    },
    Mutant {
        name: "a slave takes the task behind the cancelled one out of a series",
        file: "runtime/src/proto/slave/packet.rs",
        old: "self.left.contains(&index).then_some(index)",
        new: "self.left.contains(&index).then_some(index + u32::from(index + 1 < self.left.end))",
    },
    Mutant {
        name: "what is left of a split series begins with the arguments of its first task",
        file: "runtime/src/proto/series.rs",
        old: "*from += split;",
        new: "",
    },
    Mutant {
        name: "who does not read gets work without end",
        file: "runtime/src/proto/master/unsent.rs",
        old: "unsent.crowded || unsent.bytes >= config.unsent_bytes_max;",
        new: "unsent.crowded || (unsent.bytes >= config.unsent_bytes_max && config.unsent_bytes_max == 0);",
    },
    Mutant {
        name: "what has been put into a buffer and not been handed over is not counted as unsent",
        file: "runtime/src/proto/master/unsent.rs",
        old: "(out_bytes - before) as u64",
        new: "(out_bytes - before) as u64 * u64::from(before == 0)",
    },
    Mutant {
        name: "a half frame is kept though its connection is gone",
        file: "runtime/src/proto/master/lost.rs",
        old: "self.conns[conn.slot()] = None;",
        new: "if begun == 0 {
            self.conns[conn.slot()] = None;
        }",
    },
    Mutant {
        name: "the results of a part of a series are read from the series' first on",
        file: "runtime/src/proto/master/results.rs",
        old: "first: nth,",
        new: "first: 0,",
    },
    Mutant {
        name: "starved: answers are given without a pass",
        file: "runtime/src/master/passes.rs",
        old: "let answers = unread > 0 && who.by.get() == 0;",
        new: "let answers = who.by.get() == 0;",
    },
    Mutant {
        name: "starved: a pass does not wake those who were refused",
        file: "runtime/src/master/passes.rs",
        old: "waiting.into_iter().for_each(Waker::wake);",
        new: "drop(waiting);",
    },
    Mutant {
        name: "starved: who was refused is owed nothing",
        file: "runtime/src/master/passes.rs",
        old: "(by > 0 && by <= self.made(), self.is_early(clock, by))",
        new: "(false, self.is_early(clock, 0))",
    },
    Mutant {
        name: "starved: events() makes no pass where there is something at once",
        file: "runtime/src/master/events.rs",
        old: "if self.mw.passes() >= self.passes {",
        new: "if self.mw.passes() + 1 >= self.passes {",
    },
    Mutant {
        name: "levels: the lowest level goes first",
        file: "sched/src/data/owners/queued.rs",
        old: "(level as u64).saturating_add(higher).min(LEVELS as u64 - 1)",
        new: "(LEVELS as u64 - 1 - level as u64).saturating_add(higher).min(LEVELS as u64 - 1)",
    },
    Mutant {
        name: "levels: no level ever competes higher",
        file: "sched/src/data/owners/queued.rs",
        old: "let higher = waited.checked_div(aging).unwrap_or(0);",
        new: "let higher = waited.checked_div(aging).unwrap_or(0).min(0);",
    },
    Mutant {
        name: "deadlines: what comes back too late is queued again",
        file: "sched/src/events/expire.rs",
        old: "record.is_late().then(|| Reason::NotBegunInTime {",
        new: "(record.is_late() && record.marked()).then(|| Reason::NotBegunInTime {",
    },
    Mutant {
        name: "deadlines: all tasks of a series have the first one's",
        file: "sched/src/events/expire.rs",
        old: "let at = |within: Nanos| submitted.saturating_add(within);",
        new: "let at = |_: Nanos| submitted.saturating_add(within[0]);",
    },
    Mutant {
        name: "deadlines: what has waited too long is handed out",
        file: "sched/src/data/deadlines.rs",
        old: "self.next().filter(|&at| at <= now)?;",
        new: "self.next().filter(|&at| at + 1_000_000 <= now)?;",
    },
    Mutant {
        name: "reduce: results that came early are combined before their turn",
        file: "runtime/src/master/reduce.rs",
        old: "self.place_of(id) == self.next",
        new: "self.place_of(id) <= self.next + 1",
    },
    Mutant {
        name: "reduce: a block is combined the wrong way round",
        file: "runtime/src/typed/reduce.rs",
        old: "right = merge(left, right);",
        new: "right = merge(right, left);",
    },
    Mutant {
        name: "reduce: tasks of others count as places",
        file: "runtime/src/master/reduce.rs",
        old: "if span.first.seq() + span.tasks == id.seq() => span.tasks += 1,",
        new: "=> span.tasks = id.seq() + 1 - span.first.seq(),",
    },
    Mutant {
        name: "reduce: the first failed place that comes is the error",
        file: "runtime/src/master/reduce.rs",
        old: "match self.places().is_next(other.id()) {",
        new: "match self.places().is_next(other.id()) || self.holes.is_none() {",
    },
    Mutant {
        name: "reduce: results that do not follow one another are kept as one",
        file: "runtime/src/proto/end.rs",
        old: "if left > 0 && self.series().id != after {",
        new: "if false && self.series().id != after {",
    },
    Mutant {
        name: "a waker is called while the state is borrowed",
        file: "runtime/src/master/passes.rs",
        old: "drop(state);
        woken",
        new: "woken",
    },
    Mutant {
        name: "passes: whoever has no answer is refused it, and asks again after each",
        file: "runtime/src/master/passes.rs",
        old: "if !waits.has_answer() {",
        new: "if false && !waits.has_answer() {",
    },
    Mutant {
        name: "leaving: goodbye without the results that wait for others",
        file: "runtime/src/proto/slave/leave.rs",
        old: "            self.flush_results();
            if code == GoodbyeCode::StateInit {
                // It is the task that says so, which has not begun.
                self.running = None;
            }
            let begun = match self.running {",
        new: "            if code == GoodbyeCode::StateInit {
                self.running = None;
            }
            let begun = match self.running {",
    },
    Mutant {
        name: "leaving: the goodbye waits for results that do not fit into the second of SIGTERM",
        file: "runtime/src/proto/slave/leave.rs",
        old: "        if !self.out.can_leave_out() {",
        new: "        if true {",
    },
    Mutant {
        name: "offers: one that waits is not replaced by a better one",
        file: "runtime/src/proto/slave/results.rs",
        old: "        self.out.offer(best, key, witness);",
        new: "        self.out.put(Kind::Offer, |out| Offer { best, key, witness }.encode(out));",
    },
    Mutant {
        name: "dials: pauses between those that are refused do not grow",
        file: "runtime/src/proto/pauses.rs",
        old: "        self.next = (2 * pause).min(self.longest);",
        new: "",
    },
    Mutant {
        name: "dials: who is refused gives up at once",
        file: "runtime/src/proto/pauses.rs",
        old: ".filter(|left| *left > 0)?",
        new: ".filter(|left| *left > 60_000_000_000)?",
    },
    Mutant {
        name: "listening: the last master that has finished its handshake has the slave",
        file: "runtime/src/proto/listening.rs",
        old: "        if self.serves.is_some() {\n            return Welcomed::Second;\n        }\n",
        new: "",
    },
    Mutant {
        name: "listening: who dials when the time is over is let in",
        file: "runtime/src/proto/listening.rs",
        old: "self.until.is_none_or(|until| now < until)",
        new: "self.until.is_none_or(|until| now < until || !self.pending.is_empty())",
    },
    Mutant {
        name: "listening: the newest gives way where too many have dialled",
        file: "runtime/src/proto/listening.rs",
        old: "true => self.pending.pop_front(),",
        new: "true => self.pending.pop_back(),",
    },
    Mutant {
        name: "dialling: a slave whose connection has ended is dialled at once",
        file: "runtime/src/proto/dialling.rs",
        old: "slave.stands = Stands::Waits(now + pause);",
        new: "slave.stands = Stands::Waits(now);",
    },
    Mutant {
        name: "dialling: pauses begin anew with every connection, good or not",
        file: "runtime/src/proto/dialling.rs",
        old: "            && now.saturating_sub(since) >= GOOD_AFTER\n",
        new: "            && now >= since\n",
    },
    Mutant {
        name: "leaving: a time limit drops unsent results",
        file: "runtime/src/proto/slave/leave.rs",
        old: "let reason = format!(\"its time limit of {} s\", limit as f64 / SECOND as f64);",
        new: "let reason = format!(\"its time limit of {} s\", limit as f64 / SECOND as f64);
            self.results.clear();
            self.out.clear();",
    },
    Mutant {
        name: "leaving: gone as soon as it is over",
        file: "runtime/src/proto/slave/leave.rs",
        old: "Some(leaving) => leaving.gone,",
        new: "Some(_) => true,",
    },
    Mutant {
        name: "a bound of ready results, once met, is left only when nothing is ready",
        file: "runtime/src/master/queue.rs",
        old: "let hold = self.ready_bytes > self.ready_bytes_max;",
        new: "let hold = self.ready_bytes > self.ready_bytes_max || self.held && self.ready > 0;",
    },
    Mutant {
        name: "hearing: a slave whose words wait to be written has no deadline",
        file: "runtime/src/proto/slave/mod.rs",
        old: "Some(_) if self.is_apart() => Nanos::MAX,",
        new: "Some(_) if self.is_apart() || !self.out.is_empty() => Nanos::MAX,",
    },
    Mutant {
        name: "back-pressure: a slave goes on beginning tasks whose results nobody takes",
        file: "runtime/src/proto/slave/mod.rs",
        old: "packets >= UNSENT_PACKETS && self.unsent_bytes() >= UNSENT_BYTES;",
        new: "packets > UNSENT_PACKETS && self.unsent_bytes() >= UNSENT_BYTES;",
    },
    Mutant {
        name: "back-pressure: small packets of results pile up at a slave whose socket takes nothing",
        file: "runtime/src/proto/slave/mod.rs",
        old: "has_many || packets >= UNSENT_PACKETS_MAX || self.has_kept_all()",
        new: "has_many || self.has_kept_all()",
    },
    Mutant {
        name: "brief: what a long task gave waits for the next one",
        file: "runtime/src/proto/slave/results.rs",
        old: "let is_brief = compute < BRIEF && !running.urgent;",
        new: "let is_brief = !running.urgent;",
    },
    Mutant {
        name: "brief: what was announced or offered waits for the next task",
        file: "runtime/src/proto/slave/results.rs",
        old: "let is_brief = compute < BRIEF && !running.urgent;",
        new: "let is_brief = compute < BRIEF;",
    },
    Mutant {
        name: "brief: results wait for as long as tasks are brief",
        file: "runtime/src/proto/slave/mod.rs",
        old: "            && now < self.last_sent + BRIEF_WAIT\n",
        new: "",
    },
    Mutant {
        name: "what is told of a run: failed results are not counted",
        file: "runtime/src/proto/master/account.rs",
        old: "            true => tally.failed += u64::from(tasks),",
        new: "            true => {}",
    },
    Mutant {
        name: "hearing: a recall is heard only at the end of a packet",
        file: "runtime/src/proto/slave/from_master.rs",
        old: "FromMaster::Recall(recall) => self.on_recall(recall),",
        new: "FromMaster::Recall(recall) if self.running.is_none() || self.tasks.is_empty() => self.on_recall(recall),
            FromMaster::Recall(_) => {}",
    },
    Mutant {
        name: "checkpoint: the position of the random stream is forgotten",
        file: "runtime/src/typed/cx.rs",
        old: "self.rng().go_on_behind(kept.draws);",
        new: "let _ = kept.draws;",
    },
    Mutant {
        name: "checkpoint: a task keeps its first one",
        file: "runtime/src/proto/master/checkpoints.rs",
        old: "self.checkpoints.of.insert(task, kept);",
        new: "self.checkpoints.of.entry(task).or_insert(kept);",
    },
    Mutant {
        name: "checkpoint: one of a task that has ended is kept",
        file: "runtime/src/proto/master/checkpoints.rs",
        old: "let is_live = self.sched.keep_for(slave, task).map_err(offence)?.is_some();",
        new: "let is_live = self.sched.keep_for(slave, task).map_err(offence)?.is_some() || slave.0 > 0;",
    },
    Mutant {
        name: "checkpoint: a task that has one gets a twin",
        file: "sched/src/events/duplicate.rs",
        old: "if record.travels_alone() {",
        new: "if record.is_alone() {",
    },
    Mutant {
        name: "checkpoint: said before what the slave has finished",
        file: "runtime/src/proto/slave/checkpoint.rs",
        old: "self.flush_results();
        self.out.put(Kind::Checkpoint",
        new: "self.out.put(Kind::Checkpoint",
    },
    Mutant {
        name: "logs: a line is said though something else waits",
        file: "runtime/src/proto/slave/mod.rs",
        old: "        if self.out.is_empty() {
            self.put_log();
        }",
        new: "        self.put_log();",
    },
    Mutant {
        name: "logs: a slave says as much as there is room for",
        file: "runtime/src/proto/slave/log.rs",
        old: "logs.spent + bytes > LOG_BYTES_MAX || logs.waiting",
        new: "logs.waiting",
    },
    Mutant {
        name: "logs: of what is left out the last line alone is counted",
        file: "runtime/src/proto/slave/log.rs",
        old: "*lines = lines.saturating_add(1);",
        new: "*lines = 1;",
    },
    Mutant {
        name: "logs: the master shows a line as another slave's",
        file: "runtime/src/proto/master/logs.rs",
        old: "            self.logs.told.push(Told::Line {
                slave,",
        new: "            self.logs.told.push(Told::Line {
                slave: SlaveId(slave.0 ^ 1),",
    },
    Mutant {
        name: "hungry: all are told at once",
        file: "sched/src/events/hungry.rs",
        old: "TOLD_FOR_EACH * self.slaves.idle_takers() as usize",
        new: "usize::MAX * usize::from(self.slaves.idle_takers() > 0)",
    },
    Mutant {
        name: "hungry: those that have run shortest first",
        file: "sched/src/events/hungry.rs",
        old: "seen.sort_by_key(|&(since, first)| Reverse((since, first.slave)));",
        new: "seen.sort_by_key(|&(since, first)| (since, first.slave));",
    },
    Mutant {
        name: "hungry: what is queued calls nobody off",
        file: "sched/src/events/hungry.rs",
        old: "let is_so = !self.stopped && self.owners.len() == 0;",
        new: "let is_so = !self.stopped;",
    },
    Mutant {
        name: "reservations: the loss of the slave is not told",
        file: "sched/src/data/reserved.rs",
        old: "self.ended.push_back(reservation);",
        new: "",
    },
    Mutant {
        name: "reservations: one that waits and is given up is kept",
        file: "sched/src/events/reserve.rs",
        old: "if let Some(needs) = self.reserved.stop_waiting(reservation) {",
        new: "if self.reserved.slave_of(reservation).is_none() {
        } else if let Some(needs) = self.reserved.stop_waiting(reservation) {",
    },
    Mutant {
        name: "the secret is skipped where the end is told",
        file: "runtime/src/proto/secured.rs",
        old: "                seal(channel, frames, out, record_bytes);
            }
            _ =>",
        new: "                match frames.len() {
                    17 => out.extend_from_slice(frames),
                    _ => seal(channel, frames, out, record_bytes),
                }
            }
            _ =>",
    },
    Mutant {
        name: "a nonce is used again: a record that is repeated opens",
        file: "codec/src/secret/records.rs",
        old: "        let opened = self.noise.read_message(sealed, &mut plain[at..]);",
        new: "        let nonce = self.noise.receiving_nonce();
        let mut opened = self.noise.read_message(sealed, &mut plain[at..]);
        if opened.is_err() && nonce > 0 {
            self.noise.set_receiving_nonce(nonce - 1);
            opened = self.noise.read_message(sealed, &mut plain[at..]);
        }",
    },
    Mutant {
        name: "records may be left out",
        file: "codec/src/secret/records.rs",
        old: "        let opened = self.noise.read_message(sealed, &mut plain[at..]);",
        new: "        let nonce = self.noise.receiving_nonce();
        let mut opened = self.noise.read_message(sealed, &mut plain[at..]);
        if opened.is_err() {
            self.noise.set_receiving_nonce(nonce + 1);
            opened = self.noise.read_message(sealed, &mut plain[at..]);
        }",
    },
    Mutant {
        name: "the secret is mixed in after the first Diffie-Hellman",
        file: "codec/src/secret/proof.rs",
        old: "const PSK_AT: u8 = 0;",
        new: "const PSK_AT: u8 = 2;",
    },
    Mutant {
        name: "an id is given before the first record has been opened",
        file: "runtime/src/proto/master/secured.rs",
        old: "                Ok(true) => self.unanswered.push_back(conn),",
        new: "                Ok(true) => {
                    self.unanswered.push_back(conn);
                    let hello = ringmw_codec::handshake::Hello {
                        protocol: PROTOCOL_VERSION,
                        member_id: Vec::new(),
                        host: String::new(),
                        job: String::new(),
                        pid: 0,
                        about: ringmw_codec::handshake::About::default(),
                        fingerprint: self.config.fingerprint.clone(),
                    };
                    self.on_slave(conn, hello);
                }",
    },
    Mutant {
        name: "needs: a slave with one of the labels does for all of them",
        file: "sched/src/data/labels.rs",
        old: "needs.iter().all(is_met)",
        new: "needs.iter().any(is_met)",
    },
    Mutant {
        name: "needs: any slave may run what needs labels",
        file: "runtime/src/master/submit.rs",
        old: "let needs = self.number_of(task.needs());",
        new: "let needs = match task.needs().len() {
            1 => Needs::NONE,
            _ => self.number_of(task.needs()),
        };",
    },
    Mutant {
        name: "needs: who was idle before a set was first needed is found in another's place",
        file: "sched/src/data/slaves.rs",
        old: "let all = (0u32..).zip(&self.table.0);
            for (at, slave) in all.filter_map(|(at, slave)| Some((at, slave.as_ref()?))) {",
        new: "for (at, slave) in (0u32..).zip(self.table.0.iter().flatten()) {",
    },
    Mutant {
        name: "needs: what a slave has for its labels is asked back for another one",
        file: "sched/src/events/hand_out.rs",
        old: "record.bound_to().is_some() || self.owners.is_needy(record);",
        new: "record.bound_to().is_some();",
    },
    Mutant {
        name: "needs: tasks that need different labels travel as one series",
        file: "runtime/src/master/submit.rs",
        old: "task.needs() == open.needs && open.is_policy(policy)",
        new: "open.is_policy(policy)",
    },
    Mutant {
        name: "needs: who is lost is still counted as having its labels",
        file: "sched/src/data/slaves.rs",
        old: "self.labels.give_back(slave.labels);",
        new: "",
    },
    Mutant {
        name: "long: what a record has behind a long frame is lost",
        file: "runtime/src/proto/secured.rs",
        old: "if !next.is_empty() && frames.go_on() {",
        new: "if next.len() > 65_535 && frames.go_on() {",
    },
    Mutant {
        name: "long: a record that came in part is forgotten",
        file: "codec/src/secret/records.rs",
        old: "self.tail = rest.to_vec();",
        new: "self.tail = rest[rest.len()..].to_vec();",
    },
    Mutant {
        name: "shared: what a task in hand names is dropped",
        file: "runtime/src/proto/slave/shared.rs",
        old: ".filter(|(name, _)| !pinned.contains(name));",
        new: ".filter(|(name, _)| !pinned.contains(name) || shelf.bytes > most);",
    },
    Mutant {
        name: "shared: half of it counts as had",
        file: "runtime/src/proto/slave/shared.rs",
        old: "blob.bytes == 0 || self.whole.contains_key(&blob.name)",
        new: "let coming = self.coming.as_ref().filter(|coming| coming.of.name == blob.name);
        blob.bytes == 0
            || self.whole.contains_key(&blob.name)
            || coming.is_some_and(|coming| 2 * coming.data.len() as u64 > blob.bytes)",
    },
    Mutant {
        name: "shared: another content under its name",
        file: "runtime/src/proto/slave/shared.rs",
        old: "self.shelf.whole.insert(of.name, whole);",
        new: "let other = self.shelf.whole.values().find(|other| other.data.len() as u64 == of.bytes);
        let data = other.map_or(whole.data, |other| Arc::clone(&other.data));
        self.shelf.whole.insert(of.name, Whole { data, ..whole });",
    },
    Mutant {
        name: "shared: a block of a file is sent from its beginning again",
        file: "runtime/src/proto/master/shared.rs",
        old: "let piece = first.split_to(bytes.min(first.len()));",
        new: "let piece = first.slice(..bytes.min(first.len()));
                if piece.len() == first.len() {
                    first.clear();
                }",
    },
    Mutant {
        name: "shared: a part of a file is taken for the one before it",
        file: "runtime/src/proto/master/shared.rs",
        old: "blocks.find(|block| matches!(block, Block::Asked(at, _) if *at == from))",
        new: "blocks.find(|block| matches!(block, Block::Asked(at, _) if *at <= from))",
    },
    Mutant {
        name: "shared: pieces stand before packets",
        file: "runtime/src/proto/master/hand_out.rs",
        old: "self.remember_bests();
        let mut sent = Vec::new();",
        new: "self.remember_bests();
        self.send_pieces();
        let mut sent = Vec::new();",
    },
    Mutant {
        name: "shared: it is forgotten while a task names it",
        file: "runtime/src/proto/master/shared.rs",
        old: ".take_while(|&nth| !self.sched.is_live(held.first.after(nth)))",
        new: "",
    },
    Mutant {
        name: "time-outs: the run's goes before a task's own",
        file: "runtime/src/proto/slave/results.rs",
        old: "own.or_else(|| self.timeout_of(assignment.algorithm));",
        new: "self.timeout_of(assignment.algorithm).or(own);",
    },
    Mutant {
        name: "time-outs: tasks with other ones join a series",
        file: "runtime/src/proto/series.rs",
        old: "|| task.timeout_ms != block.timeout_ms",
        new: "",
    },
    Mutant {
        name: "time-outs: what is left of a series has none",
        file: "codec/src/batch/body.rs",
        old: "timeout_ms: self.timeout_ms,
            tag,",
        new: "timeout_ms: if self.count > 1 { 0 } else { self.timeout_ms },
            tag,",
    },
    Mutant {
        name: "talk: more is said than may be under way",
        file: "runtime/src/proto/master/talks.rs",
        old: "if !may_go(talk.under_way, counted) {",
        new: "if talk.under_way > 8 * UNDER_WAY_BYTES_MAX {",
    },
    Mutant {
        name: "talk: of what was said before a task listened the first message is lost",
        file: "runtime/src/proto/master/talks.rs",
        old: "for message in early {",
        new: "for message in early.into_iter().skip(1) {",
    },
    Mutant {
        name: "talk: what is heard and not taken is lost with the end",
        file: "runtime/src/master/converse.rs",
        old: "|state| !state.chat(flow).inbox.is_empty(),",
        new: "|state| !state.chat(flow).inbox.is_empty() && !state.chat(flow).is_over,",
    },
    Mutant {
        name: "talk: a task that converses has company",
        file: "runtime/src/master/submit.rs",
        old: "spec.alone = true;",
        new: "spec.alone = false;",
    },
    Mutant {
        name: "talk: nobody is told that a task is begun anew",
        file: "runtime/src/master/converse.rs",
        old: "chat.inbox.push_back(Item::Restarted { attempt, slave });",
        new: "chat.attempt_taken = attempt;",
    },
    Mutant {
        name: "talk: a slave hears the newest message first",
        file: "runtime/src/proto/slave/talk.rs",
        old: "talk.inbox.pop_front()",
        new: "talk.inbox.pop_back()",
    },
    Mutant {
        name: "quarantine: who is in it is served as any other",
        file: "sched/src/events/quarantine.rs",
        old: "!self.closed.contains(&algorithm) || self.needs.contains(&needs)",
        new: "algorithm != algorithm || needs == needs",
    },
    Mutant {
        name: "quarantine: tasks are tried without end",
        file: "sched/src/events/quarantine.rs",
        old: "entry.probe = Some(at);",
        new: "entry.probe = entry.probe.filter(|&probe| probe == at);",
    },
    Mutant {
        name: "quarantine: all slaves may be in it",
        file: "sched/src/events/quarantine.rs",
        old: "self.slaves.takers() as usize / 2",
        new: "self.slaves.takers() as usize",
    },
    Mutant {
        name: "quarantine: pauses do not grow",
        file: "sched/src/data/quarantined.rs",
        old: "entry.strikes += 1;",
        new: "",
    },
    Mutant {
        name: "quarantine: failures one after another count each",
        file: "sched/src/data/health.rs",
        old: "alike.ended_by.is_some_and(|done| done < last)",
        new: "alike.ended_by.is_none_or(|done| done < last)",
    },
    Mutant {
        name: "quarantine: a failure with a lower number lets its run count again",
        file: "sched/src/data/health.rs",
        old: "if counts > 0 && last >= alike.anchor {",
        new: "if counts > 0 {",
    },
    Mutant {
        name: "lives: the hand-out of what is begun at most once does not wait for its record",
        file: "runtime/src/proto/master/journal.rs",
        old: "state.barred = Some((self.barrier, held_from));",
        new: "let _ = held_from;",
    },
    Mutant {
        name: "lives: a barrier is passed before what stands before it is safe",
        file: "runtime/src/proto/recording.rs",
        old: "if is_asked || is_due || closing {",
        new: "if is_due || closing {",
    },
    Mutant {
        name: "lives: a life that has only begun something counts as one that came further",
        file: "runtime/src/proto/recording.rs",
        old: "results_of(&one[4..]) > 0",
        new: "one.len() > 4",
    },
    Mutant {
        name: "lives: no later life is looked for before a hand-out leaves",
        file: "runtime/src/proto/recording.rs",
        old: "true => self.later_life(disk, now),",
        new: "true => Ok(None),",
    },
    Mutant {
        name: "lives: what an earlier life wrote meanwhile is not read",
        file: "runtime/src/proto/lives.rs",
        old: "match is_whole(disk) {",
        new: "match is_whole(disk) || self.before > 0 {",
    },
    Mutant {
        name: "lives: an output that has changed since it was read is believed",
        file: "runtime/src/proto/known.rs",
        old: "self.read(place, out) && output_sum(&out[begin..]) == place.sum;",
        new: "self.read(place, out);",
    },
    Mutant {
        name: "lives: results count without the offers that they came of",
        file: "runtime/src/proto/known.rs",
        old: "if results.offers > self.offers {",
        new: "if results.offers > self.offers && self.failures {",
    },
    Mutant {
        name: "lives: the incumbent of an earlier life is forgotten",
        file: "runtime/src/proto/incumbents.rs",
        old: "listed.take_earlier(id, &self.news);",
        new: "",
    },
    Mutant {
        name: "lives: a slave of another run is welcome",
        file: "runtime/src/proto/master/handshake.rs",
        old: "if former != 0 && former != self.config.run {",
        new: "if former != 0 && self.config.run == 0 {",
    },
    Mutant {
        name: "lives: what a slave has kept is believed unseen",
        file: "runtime/src/proto/master/kept.rs",
        old: "self.check_kept(result).map_err(offence)?;",
        new: "let _ = self.check_kept(result);",
    },
    Mutant {
        name: "lives: a slave tells a former life's numbers to the next",
        file: "runtime/src/proto/slave/kept.rs",
        old: ".for_each(|queued| queued.former = true);",
        new: ".for_each(|queued| queued.former = false);",
    },
    Mutant {
        name: "lives: what a slave offers without a master is lost",
        file: "runtime/src/proto/slave/kept.rs",
        old: "if self.patience() > 0 {
            self.keeper.forget_worse(best, key);",
        new: "if self.patience() > 0 && !self.is_apart() {
            self.keeper.forget_worse(best, key);",
    },
    Mutant {
        name: "lives: what is known joins a series and is handed out",
        file: "runtime/src/master/known.rs",
        old: "earlier.known.find(key).is_some()
                || earlier.known.was_begun(key)",
        new: "earlier.known.was_begun(key)",
    },
    Mutant {
        name: "lives: what was begun by an earlier life is given up before its slave may be",
        file: "runtime/src/master/known.rs",
        old: "if earlier.returns.until == 0 {",
        new: "if earlier.returns.until < Nanos::MAX {",
    },
    Mutant {
        name: "lives: what a slave brings of a task that waits for it is laid aside",
        file: "runtime/src/master/known.rs",
        old: "returns.away.remove(&key).into_iter().flatten()",
        new: "returns.away.get(&key).into_iter().flatten().copied().skip(1)",
    },
    Mutant {
        name: "lives: what was begun joins a series and is handed out",
        file: "runtime/src/master/known.rs",
        old: "|| earlier.known.was_begun(key)
                ||",
        new: "||",
    },
    Mutant {
        name: "lives: what is given back unbegun is not recorded as that",
        file: "runtime/src/proto/master/journal.rs",
        old: "put_begun(&mut self.out, true, &entries);",
        new: "let _ = entries;",
    },
    Mutant {
        name: "lives: a torn state takes the place of the one before it",
        file: "runtime/src/io/files/state.rs",
        old: "StateFile::decode(file).is_ok()",
        new: "!file.is_empty()",
    },
    Mutant {
        name: "lives: behind damage nothing is read",
        file: "codec/src/journal/records.rs",
        old: "if self.record(from).is_some() {",
        new: "if self.record(from).is_some() && from == 0 {",
    },
    Mutant {
        name: "lives: a slave takes for known what a former life told it",
        file: "runtime/src/proto/slave/kept.rs",
        old: "self.forget_former_keys();
        self.say_came_of();",
        new: "self.say_came_of();",
    },
    Mutant {
        name: "lives: a slave does not say what came of which keys",
        file: "runtime/src/proto/slave/kept.rs",
        old: "        self.say_came_of();",
        new: "        let _ = Self::say_came_of;",
    },
    Mutant {
        name: "lives: a key is told to slaves before the record of its offer is on disk",
        file: "runtime/src/proto/incumbents.rs",
        old: "match &mut self.improved {
                None => incumbent.tell(image, news),",
        new: "incumbent.tell(image, news);
            match &mut self.improved {
                None => {}",
    },
    Mutant {
        name: "told: slaves are missing for ever once some were",
        file: "runtime/src/proto/master/demand.rs",
        old: "            0 => None,
            _ => self.missing_since",
        new: "            0 => self.missing_since,
            _ => self.missing_since",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// The source with the mutant in it.
fn mutate(mutant: &Mutant) -> String {
    let source = std::fs::read_to_string(root().join(mutant.file)).expect(mutant.file);
    let found: Vec<(usize, usize)> = (0..source.len())
        .filter(|&at| source.is_char_boundary(at))
        .filter_map(|at| Some((at, at + length_of(mutant.old, &source[at..])?)))
        .collect();
    let &[(begin, end)] = found.as_slice() else {
        panic!(
            "{}: its snippet is in {} {} times",
            mutant.name,
            mutant.file,
            found.len()
        );
    };
    format!("{}{}{}", &source[..begin], mutant.new, &source[end..])
}

/// How long the snippet is where `source` begins with it, however it is broken into lines.
fn length_of(snippet: &str, source: &str) -> Option<usize> {
    let mut rest = source;
    for word in snippet.split_whitespace() {
        if rest.len() < source.len() {
            rest = rest.trim_start();
        }
        rest = rest.strip_prefix(word)?;
    }
    Some(source.len() - rest.len())
}

#[test]
fn every_mutant_has_its_place() {
    for mutant in MUTANTS {
        mutate(mutant);
    }
    let told = std::fs::read_to_string(root().join("runtime/src/testing/mod.rs")).unwrap();
    let number = format!("puts {} deliberate bugs", MUTANTS.len());
    assert!(told.contains(&number), "it {number} into the copies");
}

/// Makes `to` what `from` is: what an earlier run left there, and is not in `from`, goes.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(to).unwrap() {
            let old = entry.unwrap();
            if !from.join(old.file_name()).exists() {
                match old.file_type().unwrap().is_dir() {
                    true => std::fs::remove_dir_all(old.path()).unwrap(),
                    false => std::fs::remove_file(old.path()).unwrap(),
                }
            }
        }
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if std::fs::read(from).ok() != std::fs::read(to).ok() {
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
#[ignore = "builds once for each mutant"]
fn every_mutant_is_found() {
    let work = std::env::var_os("RINGMW_MUTANTS_WORK");
    let work = work.map_or_else(|| root().join("target/mutants"), PathBuf::from);
    let tree = work.join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    for part in [
        "Cargo.toml",
        "Cargo.lock",
        "codec",
        "sched",
        "runtime",
        "examples",
        "benches",
        "tools",
    ] {
        copy(&root().join(part), &tree.join(part));
    }
    let only = std::env::var("RINGMW_MUTANT").unwrap_or_default();
    let mut survivors = Vec::new();
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(&only)) {
        let file = tree.join(mutant.file);
        std::fs::write(&file, mutate(mutant)).unwrap();
        let found = find(&tree, &work.join("build"));
        std::fs::copy(root().join(mutant.file), &file).unwrap();
        match found {
            Some((seed, how)) => println!("| {} | {seed} | {} |", mutant.name, short(&how)),
            None => {
                println!("| {} | not found | |", mutant.name);
                survivors.push(mutant.name);
            }
        }
    }
    assert!(
        survivors.is_empty(),
        "not found within {SEEDS} seeds: {survivors:?}"
    );
}

/// What a row of the table has of how it failed; brackets are no links there.
fn short(how: &str) -> String {
    let short = match how.char_indices().nth(160) {
        Some((end, _)) => format!("{} ..", how[..end].trim_end()),
        None => how.to_owned(),
    };
    short.replace('[', "\\[")
}

/// The first seed that fails, counted from 1, and how. One that panics once more while it is cleaned up ends the process,
/// and nobody knows its number.
fn find(tree: &Path, build: &Path) -> Option<(String, String)> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "test",
            "-q",
            "-p",
            "ringmw",
            "--test",
            "sim",
            "the_cores",
            "--",
            "--nocapture",
        ])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", build)
        // One differs from the one before by two lines.
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // What ships has neither of these checks; the world has to do without them, too.
        .env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false")
        .env("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false")
        .env("RINGMW_SEEDS", SEEDS.to_string())
        .env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains(" seeds in ") {
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut lines = errors.lines();
        let panic = lines.find(|line| line.contains(") panicked at "));
        let how = panic.and_then(|_| lines.next());
        let how = how.unwrap_or_else(|| panic!("it did not run: {errors}"));
        return Some(("one".to_owned(), format!("{how} (it aborts)")));
    }
    let line = text.lines().find(|line| line.starts_with("seed "))?;
    let (seed, how) = line.strip_prefix("seed ")?.split_once(": ")?;
    let seed: u64 = seed.parse().ok()?;
    Some(((seed + 1).to_string(), how.to_owned()))
}
