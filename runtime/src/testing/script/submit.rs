//! What the application gives: tasks one by one and together, as calls and maps and to the queue, and keys of bests.

use std::time::Duration;

use rand::RngExt;
use ringmw_codec::batch::{TASK_ENTRY_BYTES, TaskBody, encode_task_body};
use ringmw_sched::{AlgorithmId, Group, Nanos, Owner, Scheduler, SlaveId, TaskId, TaskSpec};

use crate::master::submit::RawTask;
use crate::master::window::{Kept, Room};
use crate::proto::SECOND;
use crate::proto::bytes::SmallBytes;
use crate::proto::incumbents::Direction;
use crate::proto::series::Body;
use crate::testing::script::algorithms::{
    counts, draw, echo, fails, index_of, search, steps, yields,
};
use crate::testing::script::{Flow, Script};
use crate::typed::algorithm::Algorithm;
use crate::typed::best::Best;
use crate::typed::rng::{Rng, Stream, StreamKey, name_hash};
use crate::typed::task::Task;

/// Sets of labels of which each is needed by few tasks; who comes in calm has any of them.
const LATE_NEEDS: [&[&str]; 6] = [
    &["site"],
    &["gpu=2"],
    &["site=fermi"],
    &["gpu", "site"],
    &["gpu=2", "site"],
    &["gpu=2", "site=fermi"],
];

/// The kind of tasks that name shared data.
pub(super) const ZIPS: usize = 7;

/// What the tasks of a burst have in common.
#[derive(Copy, Clone)]
pub(super) struct Alike {
    to: Option<SlaveId>,
    retry: bool,
    anyway: bool,
    /// Each has a tag.
    tagged: bool,
    /// Their arguments differ in length, and their tags.
    varied: bool,
}

/// What a map may have out, and what it may by the observer's own sums.
pub(super) struct Window {
    room: Room,
    /// Tasks that no bound of bytes stops.
    least: usize,
    out: usize,
    /// Bytes that are left of its own, and of the queue.
    own: u64,
    queue: u64,
}

impl Window {
    /// Whether one more task of this size is submitted; it must be, or must not.
    fn take(&mut self, bytes: u64) -> bool {
        let takes = self.room.take(bytes);
        let with_record = bytes + Scheduler::<Body>::RECORD_BYTES;
        assert!(
            takes || self.out >= self.least,
            "an awaited map has {} of {} tasks out, and is stopped",
            self.out,
            self.least
        );
        assert!(
            !takes || self.out < self.least || (bytes <= self.own && with_record <= self.queue),
            "a map of {} tasks passes its bound by {bytes} bytes: {} and {} are left",
            self.out,
            self.own,
            self.queue
        );
        if takes {
            self.out += 1;
            self.own = self.own.saturating_sub(bytes);
            self.queue = self.queue.saturating_sub(with_record);
        }
        takes
    }
}

impl Script {
    pub(super) fn submit_some(&mut self, burst: u32) {
        self.alike = self.chance(self.habits.alike_percent).then(|| Alike {
            to: self
                .chance(self.habits.ordered_percent)
                .then(|| self.draw_slave()),
            retry: self.chance(70),
            anyway: self.chance(30),
            tagged: self.chance(30),
            varied: self.chance(50),
        });
        self.level = self.draw_level();
        self.needs = self.draw_needs();
        self.timeout_ms = self.draw_timeout();
        let kind = self.draw_kind();
        match self.rng.random_range(0..4) {
            // A map.
            0 => {
                let slot = self.new_flow();
                let number = self.state.new_map(AlgorithmId(index_of(kind)));
                self.streams[kind].0 += 1;
                assert_eq!(number, self.streams[kind].0);
                let streams = (0..u64::from(burst)).map(|index| Stream {
                    domain: number,
                    index,
                });
                self.fill_map(kind, slot, streams.collect());
                self.state.set_source(slot, self.habits.quick && !self.calm);
                self.flows.push(Flow {
                    slot,
                    map: Some((number, burst.into())),
                    algorithm: kind,
                });
            }
            // A call.
            1 => {
                let slot = self.new_flow();
                let stream = self.single(kind);
                self.submit(kind, Owner::Call(slot), stream);
                self.flows.push(Flow {
                    slot,
                    map: None,
                    algorithm: kind,
                });
            }
            _ if self.alike.is_some() => {
                let streams = (0..burst).map(|_| self.single(kind)).collect();
                self.submit_each(kind, Owner::Queue, streams);
            }
            _ => {
                for _ in 0..burst {
                    let kind = self.draw_kind();
                    let stream = self.single(kind);
                    self.submit(kind, Owner::Queue, stream);
                }
            }
        }
        self.state.close();
        if self.chance(self.habits.busiest_percent) {
            self.submit_to_busiest();
        }
        // A map is filled on.
        if let Some(at) = self.pick(self.flows.len())
            && let Flow {
                slot,
                map: Some((number, next)),
                algorithm,
            } = self.flows[at]
        {
            let stream = Stream {
                domain: number,
                index: next,
            };
            self.fill_map(algorithm, slot, vec![stream]);
            self.flows[at].map = Some((number, next + 1));
        }
        self.state.close();
    }

    /// A map of tasks that name shared data, which may be gone, is dropped while its series is open.
    pub(super) fn submit_and_drop(&mut self) {
        self.alike = Some(Alike {
            to: None,
            retry: true,
            anyway: false,
            tagged: false,
            varied: false,
        });
        (self.level, self.needs, self.timeout_ms) = ((0, Nanos::MAX), &[], 0);
        let kind = ZIPS;
        let slot = self.new_flow();
        let number = self.state.new_map(AlgorithmId(index_of(kind)));
        self.streams[kind].0 += 1;
        let tasks = self.rng.random_range(1..5);
        let streams = (0..tasks).map(|index| Stream {
            domain: number,
            index,
        });
        self.fill_map(kind, slot, streams.collect());
        self.flows.push(Flow {
            slot,
            map: Some((number, tasks)),
            algorithm: kind,
        });
        self.drop_at(self.flows.len() - 1);
        self.keep_ready();
    }

    /// Some tasks for the intermingle slave that holds most: the next packet begins with them, behind tasks that may be
    /// asked back.
    fn submit_to_busiest(&mut self) {
        let sched = self.state.core.sched();
        let slaves = (0..self.law.slaves_ever() as u32).map(SlaveId);
        let busiest = slaves
            .filter(|id| sched.group_of(*id) == Some(Group::Intermingle))
            .max_by_key(|id| sched.held_by(*id));
        self.alike = None;
        self.addressee = busiest;
        for _ in 0..self.rng.random_range(1..4) {
            let kind = self.draw_kind();
            let stream = self.single(kind);
            self.submit(kind, Owner::Queue, stream);
        }
        self.addressee = None;
    }

    fn draw_kind(&mut self) -> usize {
        let mut draw = self
            .rng
            .random_range(0..self.habits.kinds.iter().sum::<u32>());
        let mut kind = 0;
        while draw >= self.habits.kinds[kind] {
            draw -= self.habits.kinds[kind];
            kind += 1;
        }
        // Searches need a best; the first kinds none.
        if kind == 3 && self.bests.is_empty() {
            0
        } else {
            kind
        }
    }

    fn new_flow(&mut self) -> u32 {
        u32::try_from(self.state.flows.insert(Default::default())).expect("few")
    }

    fn single(&mut self, kind: usize) -> Stream {
        let stream = self.state.next_single(AlgorithmId(index_of(kind)));
        let expected = self.streams[kind].1;
        self.streams[kind].1 += 1;
        assert_eq!((stream.domain, stream.index), (0, expected));
        stream
    }

    fn submit_each(&mut self, kind: usize, owner: Owner, streams: Vec<Stream>) {
        for stream in streams {
            self.submit(kind, owner, stream);
        }
    }

    /// Submits tasks of a map that is awaited, as far as its window has room.
    fn fill_map(&mut self, kind: usize, map: u32, streams: Vec<Stream>) {
        self.state.close();
        let algorithm = AlgorithmId(index_of(kind));
        let flow = &self.state.flows[map as usize];
        let out = flow.live + flow.ready.len();
        let out_bytes = self.state.core.sched().map_bytes(map) + flow.ready.bytes();
        let (queued, queued_max) = self.state.queued_bytes();
        self.window = Some(Window {
            room: self.state.map_room(map, algorithm, None, Kept::default()),
            least: (2 * self.state.core.slaves()).max(1),
            out,
            own: self.state.map_bytes_max.saturating_sub(out_bytes),
            queue: queued_max.saturating_sub(queued),
        });
        self.submit_each(kind, Owner::Map(map), streams);
        self.window = None;
    }

    fn submit(&mut self, kind: usize, owner: Owner, stream: Stream) {
        let n = self.rng.random_range(0..1_000);
        match kind {
            0 => {
                let times = self.rng.random_range(0..self.habits.echo_max);
                let beside = match self.alike {
                    Some(alike) if alike.varied => self.rng.random_range(0..9),
                    Some(_) => 3,
                    None => 0,
                };
                let task = echo::task(n, times, &[7; 9][..beside]);
                self.submit_task(kind, task, owner, stream);
            }
            1 => self.submit_task(kind, draw::task(), owner, stream),
            2 => self.submit_task(kind, fails::task(n), owner, stream),
            3 => {
                let at = self.rng.random_range(0..self.bests.len());
                // Where slaves go, what they have to say is much.
                let odd = u64::from(self.fleet.leavers.is_some());
                let task = search::task(n * 1_000 + odd, &self.bests[at]);
                self.submit_task(kind, task, owner, stream);
            }
            4 => self.submit_task(kind, counts::task(n), owner, stream),
            6 => {
                let task = yields::task((n % 300) as u32);
                self.submit_task(kind, task, owner, stream);
            }
            ZIPS => self.submit_zips(owner, stream),
            _ => {
                self.walk = (n % 40) as u32;
                let task = steps::task(self.walk);
                self.submit_task(kind, task, owner, stream);
            }
        }
    }

    /// A priority, one that is none now and then, and a time in which it is to be handed out.
    fn draw_level(&mut self) -> (i8, Nanos) {
        let plain = (0, Nanos::MAX);
        let Some(rng) = &mut self.levels else {
            return plain;
        };
        if rng.random_range(0..3) == 0 {
            return plain;
        }
        let priority = match rng.random_range(0..60) {
            0 => -5,
            1 => 4,
            _ => rng.random_range(-4..=3),
        };
        let within = match rng.random_range(0..5) {
            0 => rng.random_range(0..SECOND / 10),
            1 => rng.random_range(0..5 * SECOND),
            _ => Nanos::MAX,
        };
        (priority, within)
    }

    /// Another time to be handed out in, where the burst has one.
    fn draw_within(&mut self) {
        if let Some(rng) = &mut self.levels
            && self.level.1 != Nanos::MAX
        {
            self.level.1 = rng.random_range(0..5 * SECOND);
        }
    }

    /// Labels that a task needs; more than it may, now and then.
    fn draw_needs(&mut self) -> &'static [&'static str] {
        let Some(rng) = &mut self.needy else {
            return &[];
        };
        match rng.random_range(0..40) {
            0 => &["a", "b", "c", "d", "e"],
            1 => &["=fermi"],
            2..10 => &["gpu"],
            10..15 => &["gpu", "site=fermi"],
            15..18 => &["site=cern"],
            // These are first needed when slaves have come and gone.
            18..20 if self.needs_late => LATE_NEEDS[rng.random_range(0..LATE_NEEDS.len())],
            _ => &[],
        }
    }

    /// A time-out of its own, for every other task or burst.
    fn draw_timeout(&mut self) -> u64 {
        let Some(rng) = &mut self.timers else {
            return 0;
        };
        match rng.random_range(0..2) {
            0 => rng.random_range(50..5_000),
            _ => 0,
        }
    }

    /// To whom an ordered task goes: mostly one that is here or was; now and then one that never was.
    fn draw_slave(&mut self) -> SlaveId {
        let ever = self.law.slaves_ever() as u32;
        let sched = self.state.core.sched();
        let takes = |id: &SlaveId| sched.group_of(*id).is_some_and(Group::takes_ordered);
        let here: Vec<SlaveId> = (0..ever).map(SlaveId).filter(takes).collect();
        match self.pick(here.len()) {
            Some(at) if self.chance(self.habits.known_percent) => here[at],
            _ => SlaveId(self.rng.random_range(0..ever + 2)),
        }
    }

    pub(super) fn submit_task<A: Algorithm>(
        &mut self,
        kind: usize,
        mut task: Task<A>,
        owner: Owner,
        stream: Stream,
    ) {
        let (mut domain, mut index) = (stream.domain, stream.index);
        let mut to = None;
        if let Some(alike) = self.alike {
            to = alike.to;
        } else if self.addressee.is_some() || self.chance(self.habits.ordered_percent) {
            to = Some(self.addressee.unwrap_or_else(|| self.draw_slave()));
        }
        if let Some(id) = to {
            task = task.slave(id);
        }
        let (retry, anyway) = match self.alike {
            Some(alike) => (alike.retry, alike.anyway),
            None => (self.chance(70), self.chance(50)),
        };
        task = task.retry(retry).do_it_anyway(anyway);
        match self.alike {
            None => {
                self.level = self.draw_level();
                self.needs = self.draw_needs();
                self.timeout_ms = self.draw_timeout();
            }
            Some(alike) if alike.varied => self.draw_within(),
            Some(_) => {}
        }
        if self.timeout_ms > 0 {
            task = task.timeout(Duration::from_millis(self.timeout_ms));
        }
        for need in self.needs {
            task = task.needs(*need);
        }
        let (priority, start_within) = self.level;
        if priority != 0 {
            task = task.priority(priority);
        }
        if start_within != Nanos::MAX {
            task = task.start_within(Duration::from_nanos(start_within));
        }
        let words = match self.alike {
            Some(alike) if !alike.tagged => None,
            Some(alike) if alike.varied => Some(self.rng.random_range(0..6)),
            Some(_) => Some(2),
            // The size of the tag sees to tasks that are too large.
            None => self.chance(10).then(|| self.rng.random_range(0..60)),
        };
        if let Some(words) = words {
            task = task.tag(&vec![7u64; words]);
        }
        if self.alike.is_none() && self.chance(10) {
            (domain, index) = (u64::MAX, self.rng.random_range(0..9));
            task = task.stream(index);
        }
        let (tag_type, tag) = task
            .policy()
            .and_then(|policy| policy.tag.as_ref())
            .map_or((0, Vec::new()), |tag| (tag.type_hash, tag.archive.to_vec()));
        let mut body = Vec::new();
        encode_task_body(
            &mut body,
            &TaskBody {
                domain,
                stream: index,
                tag_type,
                timeout_ms: self.timeout_ms,
                tag: &tag,
                args: &task.args,
            },
        );
        let algorithm = AlgorithmId(index_of(kind));
        let spec = TaskSpec {
            algorithm,
            owner,
            bytes: (body.len() + TASK_ENTRY_BYTES) as u32,
            alone: false,
            policy: ringmw_sched::Policy {
                to,
                do_it_anyway: anyway,
                retry,
                priority,
                needs: ringmw_sched::Needs::NONE,
                start_within,
            },
        };
        let bytes = spec.bytes.into();
        if let Some(window) = &mut self.window
            && !window.take(bytes)
        {
            return;
        }
        let id = self
            .state
            .push(algorithm, RawTask::new(&task), owner, stream);
        // What the task itself has ended is told afterwards.
        let untaken = self.state.queue.unrunnable_bytes();
        let open = self.state.open_tasks(None) as usize;
        // It is taken or refused as if each of the open series were queued by itself.
        let record = u64::from(spec.bytes) + Scheduler::<Body>::RECORD_BYTES;
        let joined = self.records.len().min(open.saturating_sub(1));
        self.records.drain(..self.records.len() - joined);
        let sched = self.state.core.sched();
        let others = match open {
            0 if sched.is_live(id) => sched.queued_bytes() - record,
            0 => sched.queued_bytes(),
            _ => sched.queued_bytes() + self.records.iter().sum::<u64>(),
        };
        if open > 1 {
            self.in_series += 1;
            let is_other = |other: &u64| *other != record;
            self.in_varied += u64::from(self.records.iter().any(is_other));
            self.in_tagged += u64::from(!tag.is_empty());
        }
        self.records.push(record);
        self.fleet
            .say(|| format!("  submit {id} to {to:?}, retry {retry}, anyway {anyway}, {owner:?}"));
        let others = others + self.state.core.checkpoint_bytes() + untaken;
        self.on_submit(kind, Stream { domain, index }, id, spec, &body, others);
    }

    fn on_submit(
        &mut self,
        kind: usize,
        stream: Stream,
        id: TaskId,
        spec: TaskSpec,
        body: &[u8],
        queued_bytes: u64,
    ) {
        let body = SmallBytes::copy_from_slice(body);
        self.law.on_needs(id, self.needs);
        self.law.on_submit(id, spec, body, queued_bytes);
        self.keep_ready();
        let drawn = [(1, "draw", 1), (5, "steps", self.walk)];
        if let Some((_, name, draws)) = drawn.into_iter().find(|drawn| drawn.0 == kind) {
            use rand::Rng as _;
            let key = StreamKey {
                seed: self.seed,
                algorithm: name_hash(name),
                domain: stream.domain,
                stream: stream.index,
            };
            let mut rng = Rng::new(key);
            let sum = (0..draws).fold(0u64, |sum, _| sum.wrapping_add(rng.next_u64()));
            self.draws.insert(id.seq(), sum);
        }
        self.ids.push(id);
    }

    pub(super) fn offer(&mut self) {
        if self.bests.len() < self.habits.bests_max && self.chance(50) {
            let start = self.rng.random_range(500_000..2_000_000);
            let bests = self.state.core.bests();
            let best = Best::add(&bests, Direction::Minimum, start).expect("few");
            self.law.on_best(start);
            self.bests.push(best);
        } else if !self.bests.is_empty() {
            let at = self.rng.random_range(0..self.bests.len());
            let key = self.rng.random_range(0..1_000_000);
            if self.bests[at].offer(key, &vec![key]) {
                self.law.on_own_offer(at as u32, key);
            }
        }
    }
}
