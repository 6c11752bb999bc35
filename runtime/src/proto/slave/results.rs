//! The compute side: the next task, its result, and the packets that results leave in.

use ringmw_codec::batch::{BATCH_OVERHEAD_BYTES, RESULT_ENTRY_BYTES, ResultStatus};
use ringmw_codec::control::{Offer, Starting};
use ringmw_codec::frame::{self, Kind};
use ringmw_sched::{AUTO, Nanos};

use super::leave::SlaveEnd;
use super::output::Output;
use super::packet::{Announcement, Assignment, Running};
use super::{BRIEF, RESULT_WAIT, SlaveCore};
use crate::proto::pieces::LONG_BYTES_MIN;
use crate::proto::reason::Raise;
use crate::proto::{SECOND, put};

/// With automatic grouping a finished result waits at most this long for others that finish, or as long as the tasks of a
/// packet take, if that is longer: where slaves are many a packet holds more, and its results are to make one too.
const AUTO_RESULT_WAIT: Nanos = SECOND / 200;

/// What the compute side does next.
#[derive(Debug)]
pub enum Next {
    /// Compute this, then [`SlaveCore::finish`].
    Run(Assignment),
    /// Nothing to do until something comes.
    Wait,
    /// It is over.
    Stop(SlaveEnd),
}

impl SlaveCore {
    /// What to do next; flushes results when there is nothing more to compute.
    pub fn next_task(&mut self, now: Nanos) -> Next {
        if let Some(end) = &self.end {
            return Next::Stop(end.clone());
        }
        assert!(self.running.is_none(), "one task at a time");
        if self.is_held_back() {
            return Next::Wait;
        }
        let Some(front) = self.tasks.front() else {
            return Next::Wait;
        };
        if !self.has_shared_of(front) {
            return Next::Wait;
        }
        let mentioned = self.mentions_of_next();
        let front = self.tasks.front_mut().expect("it was just there");
        let task = front.next();
        if front.marked && self.announcement != Announcement::Left(task) {
            if self.announcement == Announcement::None {
                self.flush_results();
                self.out
                    .put(Kind::Starting, |out| Starting { task }.encode(out));
                self.announcement = Announcement::Leaving(task);
            }
            return Next::Wait;
        }
        let former = front.former;
        let (is_last, own) = (front.left.len() == 1, front.timeout);
        let mut assignment = Assignment {
            task,
            algorithm: front.algorithm,
            packet: front.packet,
            life: front.life,
            converses: front.converses,
            was_announced: front.marked,
            series: match is_last {
                true => std::mem::take(&mut front.body),
                false => front.body.clone(),
            },
            count: front.count,
            index: front.left.start,
            shared: Vec::new(),
            resume: None,
        };
        front.left.start += 1;
        if is_last {
            self.tasks.pop_front();
        }
        self.queued -= 1;
        self.announcement = Announcement::None;
        let timeout = own.or_else(|| self.timeout_of(assignment.algorithm));
        self.running = Some(Running {
            task,
            algorithm: assignment.algorithm,
            since: now,
            timeout,
            told_at: None,
            key: self.key_of(&assignment),
            former,
            urgent: assignment.was_announced,
        });
        self.running_cancelled = false;
        if !mentioned.is_empty() {
            assignment.shared = self.take_shared_of(mentioned);
        }
        assignment.resume = self.begin_checkpoints(task).map(Box::new);
        self.end_talk();
        if assignment.converses {
            self.begin_talk(task);
        }
        Next::Run(assignment)
    }

    /// The running task ended with an output's archive or a failure's text.
    pub fn finish(
        &mut self,
        algorithm: u16,
        outcome: Result<&mut Output, &str>,
        compute: Nanos,
        now: Nanos,
    ) {
        if self.is_abandoned {
            // It has been answered for.
            return;
        }
        if self.is_evicted() {
            // It may have ended because it was told so: that is no result.
            self.leave_if_evicted();
            self.running = None;
            return;
        }
        let running = self.running.take().expect("a task is running");
        let task = running.task;
        self.release_shared();
        self.end_talk();
        self.completed += 1;
        self.busy_at = now;
        let is_brief = compute < BRIEF && !running.urgent;
        self.brief = is_brief.then_some(algorithm);
        self.mean_compute = match self.completed {
            1 => compute,
            _ => self.mean_compute - self.mean_compute / 8 + compute / 8,
        };
        let (Some(welcome), None) = (&self.welcome, &self.end) else {
            return;
        };
        let bytes_max = welcome.result_packet_bytes_max as usize;
        let group = welcome.result_group;
        let room = bytes_max - BATCH_OVERHEAD_BYTES - RESULT_ENTRY_BYTES;
        let too_large;
        let outcome = match outcome {
            Ok(output) if output.archive().len() <= room => Ok(output),
            Ok(output) => {
                let bytes = output.archive().len();
                too_large = format!(
                    "the result of {bytes} bytes is larger than the master reads: at most {room} bytes; on the master {}",
                    Raise("--mw-max-read-buffer-size", bytes as u64)
                );
                Err(&too_large[..])
            }
            Err(text) => Err(cut(text, room)),
        };
        let result = match &outcome {
            Ok(output) => Ok(output.archive()),
            Err(text) => Err(*text),
        };
        if running.former {
            // Its arguments brought keys of a former life along.
            self.forget_former_keys();
        }
        if running.former || self.is_apart() {
            self.keep(&running, result, compute, now);
            return self.check_bounds(now);
        }
        let goes_alone = group == AUTO || group == 1;
        let is_long = |archive: &[u8]| archive.len() >= LONG_BYTES_MIN;
        if goes_alone && result.is_ok_and(is_long) {
            self.flush_results();
            self.keep(&running, result, compute, now);
            if let Ok(output) = outcome {
                self.flush_long(task, algorithm, compute, output);
            }
            return self.check_bounds(now);
        }
        let (status, body) = match result {
            Ok(archive) => (ResultStatus::Done, archive),
            Err(text) => (ResultStatus::Failed, text.as_bytes()),
        };
        let results = &self.results;
        if results.bytes_with(task, algorithm, status, compute, body.len()) > bytes_max {
            self.flush_results();
        }
        self.results.push(task, algorithm, status, compute, body);
        self.keep(&running, result, compute, now);
        let oldest = *self.oldest_result.get_or_insert(now);
        let full = match group {
            AUTO => now >= oldest + self.auto_wait(),
            number => self.results.tasks() >= number as usize,
        };
        if full || self.tasks.is_empty() {
            self.flush_results();
        }
        // The time limit may have waited for this task.
        self.check_bounds(now);
    }

    /// The running task offers an incumbent: what is finished goes first, then the offer, then its own result. While
    /// the master takes nothing the best offer of each place waits, and the others are not said.
    pub fn offer(&mut self, best: u32, key: u64, witness: &[u8]) -> Result<(), String> {
        let (Some(welcome), None) = (&self.welcome, &self.end) else {
            return Ok(());
        };
        let bytes_max = welcome.result_packet_bytes_max as usize;
        let bytes = witness.len() + Offer::HEADER_BYTES;
        if bytes > bytes_max {
            return Err(format!(
                "the witness of {} bytes is larger than the master reads: at most {} bytes; on the master {}",
                witness.len(),
                bytes_max - Offer::HEADER_BYTES,
                Raise("--mw-max-read-buffer-size", witness.len() as u64)
            ));
        }
        self.flush_results();
        if let Some(running) = &mut self.running {
            running.urgent = true;
        }
        if self.keep_offer(best, key, witness) {
            return Ok(());
        }
        self.out.offer(best, key, witness);
        Ok(())
    }

    /// How long a finished result waits for others, with automatic grouping.
    fn auto_wait(&self) -> Nanos {
        let packet = self.mean_compute.saturating_mul(self.packet_tasks);
        packet.clamp(AUTO_RESULT_WAIT, RESULT_WAIT)
    }

    pub(super) fn flush_results(&mut self) {
        self.oldest_result = None;
        if self.results.is_empty() {
            return;
        }
        let results = self.results.tasks() as u64;
        let out = self.out.begin();
        let before = out.len();
        put(out, Kind::Results, |out| self.results.encode(out));
        let bytes = out.len() - before;
        self.results.clear();
        self.on_packet_put(bytes, results);
    }

    /// A long output goes at once, behind what was finished before. It stands first in its payload, so that what the task
    /// archived becomes the frame, and nothing is copied.
    fn flush_long(&mut self, task: u64, algorithm: u16, compute: Nanos, output: &mut Output) {
        let bytes = output.archive().len();
        self.results.push_long(task, algorithm, compute, bytes);
        assert_eq!(self.results.gaps()[0].at, 0, "it stands first");
        let mut frame = output.take();
        frame.reserve_exact(self.results.bytes() - bytes);
        self.results.encode(&mut frame);
        self.results.clear();
        frame::frame_in_place(&mut frame, Kind::Results);
        let bytes = frame.len();
        output.go_on_in(self.out.put_frame(frame));
        self.on_packet_put(bytes, 1);
    }

    fn on_packet_put(&mut self, bytes: usize, results: u64) {
        self.mark_said();
        let end = self.said_bytes();
        self.unsent.push_back((end, results as usize));
        let line = (self.meter).on_results(self.last_sent, results, bytes as u64);
        self.audit.extend(line);
    }
}

/// The longest prefix of `text` within `bytes_max` bytes that ends at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ringmw_codec::batch::{MARKED, ResultBatchView};
    use ringmw_codec::frame::{FrameReader, Kind};
    use ringmw_codec::handshake::Welcome;
    use ringmw_sched::Nanos;

    use crate::proto::pieces::LONG_BYTES_MIN;
    use crate::proto::slave::for_tests::{self, run_for, said, tasks_of};
    use crate::proto::slave::{
        BRIEF, BRIEF_WAIT, Next, Output, SlaveCore, UNSENT_BYTES, UNSENT_PACKETS,
        UNSENT_PACKETS_MAX,
    };

    /// A slave that has written its hello at time 0, a result being a packet, with tasks of these algorithms and flags.
    fn welcomed(tasks: &[(u16, u16)]) -> SlaveCore {
        let mut core = for_tests::welcomed(&Welcome {
            // All of them come in one.
            task_packet_bytes_max: 8_192,
            ..Welcome::for_test()
        });
        let numbered = (0..).zip(tasks);
        let numbered = numbered.map(|(task, &(algorithm, flags))| (task, algorithm, flags));
        tasks_of(&mut core, numbered);
        core
    }

    /// Computes a task that takes so long and gives so many bytes, if one can begin.
    fn run(core: &mut SlaveCore, compute: Nanos, bytes: usize, now: Nanos) -> bool {
        run_for(core, compute, &vec![0; bytes], now).is_some()
    }

    /// What the first of these tasks gave, having taken so long, may wait for the second.
    fn waits(tasks: &[(u16, u16)], compute: Nanos, now: Nanos) -> bool {
        let mut core = welcomed(tasks);
        assert!(run(&mut core, compute, 8, now));
        core.has_output() && core.output_may_wait(now)
    }

    #[test]
    fn what_brief_tasks_give_is_written_together() {
        assert!(waits(&[(0, 0), (0, 0)], BRIEF - 1, 10));
        // Of one that took longer, nobody knows that the next will not.
        assert!(!waits(&[(0, 0), (0, 0)], BRIEF, 10));
        assert!(!waits(&[(0, 0), (1, 0)], 1, 10));
        // There is nothing more to compute.
        assert!(!waits(&[(0, 0)], 1, 10));
        // Something was written just now.
        assert!(waits(&[(0, 0), (0, 0)], 1, BRIEF_WAIT - 1));
        assert!(!waits(&[(0, 0), (0, 0)], 1, BRIEF_WAIT));
    }

    #[test]
    fn nobody_waits_for_what_is_announced() {
        assert!(!waits(&[(0, 0), (0, MARKED)], 1, 10));
        let mut core = welcomed(&[(0, MARKED), (0, 0)]);
        assert!(
            !run(&mut core, 1, 8, 1),
            "its announcement is to leave first"
        );
        said(&mut core, 1);
        assert!(run(&mut core, 1, 8, 2));
        assert!(!core.output_may_wait(2));
    }

    #[test]
    fn a_long_output_is_a_packet_of_its_own_and_the_next_task_begins_with_none() {
        let mut core = for_tests::welcomed(&Welcome {
            task_packet_bytes_max: 8_192,
            result_packet_bytes_max: 1 << 20,
            ..Welcome::for_test()
        });
        tasks_of(&mut core, (0..4).map(|task| (task, 0, 0)));
        let lengths = [100, LONG_BYTES_MIN, LONG_BYTES_MIN + 5, 3];
        let mut output = Output::new();
        let (mut wire, mut got) = (Vec::new(), Vec::new());
        for (task, bytes) in (0..).zip(lengths) {
            let Next::Run(assignment) = core.next_task(1) else {
                panic!("there is another")
            };
            output.clear();
            output
                .buffer()
                .extend((0..bytes).map(|at| (at + task) as u8));
            core.finish(assignment.algorithm, Ok(&mut output), 1, 1);
            assert_eq!(output.archive().is_empty(), bytes >= LONG_BYTES_MIN);
            while core.take_output(&mut wire, 1) {}
        }
        let read = FrameReader::new().feed(&wire, &|_| 1 << 20, &mut |kind, payload| {
            assert_eq!(kind, Kind::Results);
            let batch = ResultBatchView::decode(payload).expect("it holds together");
            got.extend(
                batch
                    .iter()
                    .map(|(entry, body)| (entry.task, body.to_vec())),
            );
            ControlFlow::<()>::Continue(())
        });
        assert!(read.is_ok());
        let all = (0..).zip(lengths);
        let expected: Vec<(u64, Vec<u8>)> = all
            .map(|(task, bytes)| {
                (
                    task as u64,
                    (0..bytes).map(|at| (at + task) as u8).collect(),
                )
            })
            .collect();
        assert!(got == expected);
    }

    /// The largest number of packets that wait when nothing is written, of so many bytes each.
    fn unwritten(bytes: usize) -> usize {
        let mut core = welcomed(&[(0, 0); 100]);
        let mut packets = 0;
        while run(&mut core, 1, bytes, 1) {
            packets += 1;
        }
        packets
    }

    #[test]
    fn more_packets_wait_where_they_are_small() {
        assert_eq!(unwritten(0), UNSENT_PACKETS_MAX);
        assert_eq!(
            unwritten(UNSENT_BYTES as usize / UNSENT_PACKETS),
            UNSENT_PACKETS
        );
        let between = unwritten(256);
        assert!(between > UNSENT_PACKETS && between * 256 <= UNSENT_BYTES as usize + 256);
    }
}
