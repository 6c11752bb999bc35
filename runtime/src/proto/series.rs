//! What the master keeps of a task: its encoded body, or of a series of tasks their elements side by side.

use std::rc::Rc;

use bytes::Bytes;
use ringmw_codec::batch::{
    TASK_END_BYTES, TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBody, TaskSeries, encode_task_body,
};
use ringmw_sched::{Opening, Scheduler, Series};

use crate::proto::bytes::SmallBytes;

/// The elements of a series take no more bytes than this: what one task that takes long keeps of those that have ended.
const SERIES_BYTES_MAX: usize = 64 << 10;

/// The body of a task, or of a series: tasks whose streams follow one another and which have tags of one type, or none,
/// and one time-out.
#[derive(Clone, Debug)]
pub struct Body(Repr);

#[derive(Clone, Debug)]
enum Repr {
    One(SmallBytes),
    /// A task whose arguments are sent from where they are.
    Long(Rc<Long>),
    Series {
        block: Rc<Block>,
        from: u32,
        tasks: u32,
    },
}

// A queued task has one, and its budget is 96 bytes.
const _: () = assert!(size_of::<Option<Body>>() == 40);

/// The body of one task with long arguments, which nobody copies.
#[derive(Debug)]
struct Long {
    domain: u64,
    stream: u64,
    tag_type: u64,
    timeout_ms: u64,
    tag: Box<[u8]>,
    args: Bytes,
}

impl Long {
    /// With other arguments: without any, what stands before them.
    fn with<'a>(&'a self, args: &'a [u8]) -> TaskBody<'a> {
        TaskBody {
            domain: self.domain,
            stream: self.stream,
            tag_type: self.tag_type,
            timeout_ms: self.timeout_ms,
            tag: &self.tag,
            args,
        }
    }

    fn body(&self) -> TaskBody<'_> {
        self.with(&self.args)
    }
}

/// What the parts of a series share: of each task an element, its tag and its arguments.
#[derive(Debug)]
struct Block {
    domain: u64,
    /// Of the first task there.
    stream: u64,
    tag_type: Option<u64>,
    timeout_ms: u64,
    /// Of the first task's element, and of every other while `ends` is empty.
    element_bytes: usize,
    elements: Vec<u8>,
    /// Where each element ends, as it travels; empty while they are equally long, which costs least.
    ends: Vec<[u8; TASK_END_BYTES]>,
}

/// A series that grows: nobody else knows of it.
#[derive(Debug)]
pub(crate) struct Growing {
    block: Block,
    tasks: u32,
    /// Tasks that it may have: while they are equally long as many as their bytes allow, else as many as at all.
    most: u32,
    opening: Opening,
    /// A task without tag and time-out goes on with it if its arguments have so many bytes, and nothing else of it is to
    /// be looked at; else more than there can be.
    alike_bytes: usize,
    /// What a task takes by itself beside its element, in a packet.
    beside_bytes: u64,
    /// While elements differ in length: what it takes in a packet, and what its tasks would take in the queue each by
    /// itself.
    packet_bytes: u64,
    queue_bytes: u64,
}

impl Growing {
    /// A series that begins with this task, and is what its opening allows.
    pub(crate) fn new(first: &TaskBody<'_>, mut opening: Opening) -> Self {
        // Streams do not begin anew.
        let streams = u32::try_from(u64::MAX - first.stream).unwrap_or(u32::MAX);
        opening.tasks_max = opening.tasks_max.min(streams.saturating_add(1));
        let block = Block::new(first);
        let element = block.element_bytes as u64;
        let alone = u64::from(packet_bytes(first));
        let in_queue = alone + Scheduler::<Body>::RECORD_BYTES;
        let packet = opening.bytes_max.saturating_sub(alone);
        let fitting = (opening.queue_max / in_queue)
            .min(
                packet
                    .checked_div(element)
                    .map_or(u64::MAX, |more| 1 + more),
            )
            .min(
                (SERIES_BYTES_MAX as u64)
                    .checked_div(element)
                    .unwrap_or(u64::MAX),
            );
        let most = u32::try_from(fitting).unwrap_or(u32::MAX);
        Growing {
            block,
            tasks: 1,
            most: most.min(opening.tasks_max),
            opening,
            alike_bytes: usize::MAX,
            beside_bytes: alone - element,
            packet_bytes: 0,
            queue_bytes: 0,
        }
    }

    /// The next task, without tag and time-out, if it is like those before. False: [`push`](Self::push) says more.
    #[inline(always)]
    pub(crate) fn push_alike(&mut self, place: (u64, u64), args: &[u8]) -> bool {
        place == (self.block.domain, self.next()) && self.push_next(args)
    }

    /// The same of a task that is known to be of the next stream.
    #[inline(always)]
    pub(crate) fn push_next(&mut self, args: &[u8]) -> bool {
        let is_alike = args.len() == self.alike_bytes && self.tasks < self.most;
        if is_alike {
            append(&mut self.block.elements, args);
            self.tasks += 1;
        }
        is_alike
    }

    /// Whether its tasks differ in length.
    #[inline]
    pub(crate) fn is_varied(&self) -> bool {
        !self.block.ends.is_empty()
    }

    /// The next task of tasks that differ in length, without tag and time-out, that is known to be of the next stream. False:
    /// [`push`](Self::push) says more.
    #[inline]
    pub(crate) fn push_next_varied(&mut self, args: &[u8]) -> bool {
        let is_plain = self.block.tag_type.is_none() && self.block.timeout_ms == 0;
        let goes_on =
            is_plain && self.is_varied() && self.tasks < self.most && self.make_way(args.len());
        if goes_on {
            let block = &mut self.block;
            append(&mut block.elements, args);
            block.ends.push((block.elements.len() as u32).to_le_bytes());
            self.tasks += 1;
        }
        goes_on
    }

    /// The next task's stream.
    #[inline]
    fn next(&self) -> u64 {
        self.block.stream.wrapping_add(self.tasks.into())
    }

    /// The next task. False: it does not follow, or there is no room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, task: &TaskBody<'_>) -> bool {
        let next = self.next();
        let block = &mut self.block;
        if self.tasks >= self.most
            || task.stream != next
            || task.domain != block.domain
            || task.tag_type() != block.tag_type
            || task.timeout_ms != block.timeout_ms
        {
            return false;
        }
        let element_bytes = task.element_bytes();
        if element_bytes != block.element_bytes || !block.ends.is_empty() {
            if !self.make_way(element_bytes) {
                return false;
            }
        } else if self.tasks == 1 {
            block.make_room(self.most);
            if block.tag_type.is_none() && block.timeout_ms == 0 {
                self.alike_bytes = element_bytes;
            }
        }
        let block = &mut self.block;
        match task.is_tagged() {
            true => task.put_element(&mut block.elements),
            false => append(&mut block.elements, task.args),
        }
        if !block.ends.is_empty() {
            block.ends.push((block.elements.len() as u32).to_le_bytes());
        }
        self.tasks += 1;
        true
    }

    /// Whether an element of so many bytes, which are not all elements', has room: it is taken off then.
    #[inline]
    fn make_way(&mut self, element_bytes: usize) -> bool {
        let was_equal = self.block.ends.is_empty();
        if was_equal {
            self.differ();
        }
        let element = element_bytes as u64;
        let packet_bytes = self.packet_bytes + element + TASK_END_BYTES as u64;
        let record = Scheduler::<Body>::RECORD_BYTES;
        let queue_bytes = self.queue_bytes + self.beside_bytes + element + record;
        let fits = packet_bytes <= self.opening.bytes_max
            && queue_bytes <= self.opening.queue_max
            && self.block.elements.len() + element_bytes <= SERIES_BYTES_MAX;
        if fits {
            (self.packet_bytes, self.queue_bytes) = (packet_bytes, queue_bytes);
        } else {
            self.most = self.tasks;
            if was_equal {
                self.block.ends.clear();
            }
        }
        fits
    }

    /// From now on elements may differ in length.
    #[cold]
    #[inline(never)]
    fn differ(&mut self) {
        let (block, tasks_max) = (&mut self.block, self.opening.tasks_max);
        let (element, tasks) = (block.element_bytes as u64, u64::from(self.tasks));
        self.packet_bytes = self.beside_bytes + tasks * (element + TASK_END_BYTES as u64);
        let record = Scheduler::<Body>::RECORD_BYTES;
        self.queue_bytes = tasks * (self.beside_bytes + element + record);
        self.most = tasks_max;
        self.alike_bytes = usize::MAX;
        block.make_room(tasks_max);
        block
            .ends
            .reserve_exact((tasks_max as usize).min(SERIES_BYTES_MAX));
        let ends = (1..=self.tasks).map(|nth| nth * element as u32);
        block.ends.extend(ends.map(u32::to_le_bytes));
    }

    /// How many tasks there are.
    #[inline]
    pub(crate) fn tasks(&self) -> u32 {
        self.tasks
    }

    /// No more tasks follow: it takes no more memory than it needs.
    pub(crate) fn close(mut self) -> Body {
        let block = &mut self.block;
        if self.tasks == 1 {
            return encoded(&block.nth(0)).into();
        }
        shrink(&mut block.elements);
        shrink(&mut block.ends);
        Body(Repr::Series {
            block: Rc::new(self.block),
            from: 0,
            tasks: self.tasks,
        })
    }
}

fn shrink<T>(of: &mut Vec<T>) {
    if of.capacity() > 2 * of.len() {
        of.shrink_to_fit();
    }
}

impl Body {
    /// The body of a task with these arguments, which are those of `parts`.
    pub(crate) fn long(parts: &TaskBody<'_>, args: Bytes) -> Self {
        debug_assert_eq!(parts.args.as_ptr(), args.as_ptr());
        Body(Repr::Long(Rc::new(Long {
            domain: parts.domain,
            stream: parts.stream,
            tag_type: parts.tag_type,
            timeout_ms: parts.timeout_ms,
            tag: parts.tag.into(),
            args,
        })))
    }

    /// The body of the first task by itself, encoded.
    pub(crate) fn one(self) -> SmallBytes {
        match self.0 {
            Repr::One(body) => body,
            Repr::Long(long) => encoded(&long.body()),
            Repr::Series { block, from, .. } => encoded(&block.nth(from)),
        }
    }

    /// The first task's by itself: it keeps nothing of the others of its series.
    pub(crate) fn alone(self) -> Body {
        match self.0 {
            Repr::Long(_) => self,
            _ => self.one().into(),
        }
    }

    /// The task at `nth`, read in place.
    ///
    /// # Panics
    /// When there is no such task.
    pub(crate) fn nth(&self, nth: u32) -> TaskBody<'_> {
        match &self.0 {
            Repr::One(body) if nth == 0 => {
                TaskBody::parse(body).expect("the master itself encoded it")
            }
            Repr::Long(long) if nth == 0 => long.body(),
            Repr::Series { block, from, tasks } if nth < *tasks => block.nth(from + nth),
            _ => unreachable!("task {nth} of {}", self.tasks()),
        }
    }

    /// Bytes of the first task's, encoded.
    pub(crate) fn alone_bytes(&self) -> usize {
        self.each_bytes(0, 1)
    }

    /// Bytes of `tasks` tasks from the `nth` on, each encoded by itself.
    pub(crate) fn each_bytes(&self, nth: u32, tasks: u32) -> usize {
        match &self.0 {
            Repr::One(body) => tasks as usize * body.len(),
            Repr::Long(long) => tasks as usize * long.body().encoded_bytes(),
            Repr::Series { block, from, .. } => {
                let first = block.part(from + nth, 1);
                let head = first.encoded_bytes() - first.elements.len();
                let elements = block.begin(from + nth + tasks) - block.begin(from + nth);
                tasks as usize * head + elements
            }
        }
    }

    /// Whether its tasks have tags.
    #[inline]
    pub(crate) fn is_tagged(&self) -> bool {
        match &self.0 {
            Repr::One(body) => TaskBody::has_tag(body),
            Repr::Long(long) => long.body().is_tagged(),
            Repr::Series { block, .. } => block.tag_type.is_some(),
        }
    }

    /// Gives each of its tasks in their order: which it is, of how many, family and stream of the first, its own
    /// arguments.
    #[inline]
    pub(crate) fn each_args(&self, mut each: impl FnMut(u32, u32, (u64, u64), &[u8])) {
        let (tasks, first) = (self.tasks(), self.nth(0));
        for index in 0..tasks {
            let args = self.nth(index).args;
            each(index, tasks, (first.domain, first.stream), args);
        }
    }

    /// Adds its tasks to a packet, from number `first` on; long arguments to `pieces`.
    #[inline]
    pub(crate) fn put(
        &self,
        packet: &mut TaskBatchBuilder,
        (first, algorithm, flags): (u64, u16, u16),
        pieces: &mut Vec<Bytes>,
    ) {
        match &self.0 {
            Repr::Long(long) => {
                let head = encoded(&long.with(&[]));
                packet.push_long(first, algorithm, flags, &head, long.args.len());
                pieces.push(long.args.clone());
            }
            Repr::One(body) => packet.push(first, algorithm, flags, body),
            Repr::Series { block, from, tasks } => {
                packet.push_series(first, algorithm, flags, &block.part(*from, *tasks));
            }
        }
    }
}

/// What a task of this body adds to a packet by itself.
#[inline]
pub(crate) fn packet_bytes(body: &TaskBody<'_>) -> u32 {
    u32::try_from(body.encoded_bytes() + TASK_ENTRY_BYTES).unwrap_or(u32::MAX)
}

/// A body by itself, which shares nothing with any other.
pub(crate) fn encoded(parts: &TaskBody<'_>) -> SmallBytes {
    if parts.encoded_bytes() <= SmallBytes::INLINE_MAX {
        return SmallBytes::inline(|buffer| parts.encode_into(buffer));
    }
    let mut bytes = Vec::new();
    encode_task_body(&mut bytes, parts);
    bytes.as_slice().into()
}

/// Most arguments are a word.
#[inline(always)]
fn append(args: &mut Vec<u8>, next: &[u8]) {
    match <[u8; 8]>::try_from(next) {
        Ok(word) => args.extend_from_slice(&word),
        Err(_) => append_any(args, next),
    }
}

/// Many of the others are a few words.
#[inline(never)]
fn append_any(args: &mut Vec<u8>, next: &[u8]) {
    let (words, rest) = next.as_chunks::<8>();
    if words.len() <= 4 {
        words.iter().for_each(|word| args.extend_from_slice(word));
        args.extend(rest);
    } else {
        args.extend_from_slice(next);
    }
}

impl From<SmallBytes> for Body {
    #[inline]
    fn from(body: SmallBytes) -> Self {
        Body(Repr::One(body))
    }
}

impl Series for Body {
    #[inline]
    fn tasks(&self) -> u32 {
        match &self.0 {
            Repr::One(_) | Repr::Long(_) => 1,
            Repr::Series { tasks, .. } => *tasks,
        }
    }

    #[inline]
    fn more_bytes(&self, tasks: u32) -> u64 {
        match &self.0 {
            Repr::Series { block, from, .. } if tasks > 1 => {
                let elements = block.begin(from + tasks) - block.begin(from + 1);
                let table = match block.ends.is_empty() {
                    true => 0,
                    false => TASK_END_BYTES * tasks as usize,
                };
                (elements + table) as u64
            }
            _ => 0,
        }
    }

    #[inline]
    fn own_bytes(&self) -> u32 {
        match &self.0 {
            Repr::One(_) | Repr::Long(_) => 0,
            Repr::Series { block, from, .. } => (block.begin(from + 1) - block.begin(*from)) as u32,
        }
    }

    fn split_front(&mut self, split: u32) -> Self {
        let Repr::Series { block, from, tasks } = &mut self.0 else {
            unreachable!("one task is not split");
        };
        let front = Repr::Series {
            block: Rc::clone(block),
            from: *from,
            tasks: split,
        };
        *from += split;
        *tasks -= split;
        Body(front)
    }
}

impl Block {
    /// Of a series that begins with this task.
    fn new(first: &TaskBody<'_>) -> Block {
        let mut elements = Vec::with_capacity(first.element_bytes());
        first.put_element(&mut elements);
        Block {
            domain: first.domain,
            stream: first.stream,
            tag_type: first.tag_type(),
            timeout_ms: first.timeout_ms,
            element_bytes: elements.len(),
            elements,
            ends: Vec::new(),
        }
    }

    /// Room for the elements of so many tasks. What of it is not needed is given back by [`Growing::close`].
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, tasks: u32) {
        let bytes = self.element_bytes.saturating_mul(tasks as usize);
        let bytes = bytes
            .min(SERIES_BYTES_MAX)
            .saturating_sub(self.elements.len());
        self.elements.reserve_exact(bytes);
    }

    /// Where a task's element begins.
    #[inline]
    fn begin(&self, nth: u32) -> usize {
        if self.ends.is_empty() {
            return nth as usize * self.element_bytes;
        }
        match nth.checked_sub(1) {
            None => 0,
            Some(before) => u32::from_le_bytes(self.ends[before as usize]) as usize,
        }
    }

    fn nth(&self, nth: u32) -> TaskBody<'_> {
        let one = self.part(nth, 1).nth(0);
        one.expect("the master itself wrote it")
    }

    /// What some of its tasks carry.
    #[inline]
    fn part(&self, from: u32, tasks: u32) -> TaskSeries<'_> {
        let begin = self.begin(from);
        let (first, count) = (from as usize, tasks as usize);
        TaskSeries {
            count: tasks,
            domain: self.domain,
            stream: self.stream + u64::from(from),
            tag_type: self.tag_type,
            timeout_ms: self.timeout_ms,
            elements: &self.elements[begin..self.begin(from + tasks)],
            // One by itself needs no table.
            ends: match tasks > 1 && !self.ends.is_empty() {
                true => &self.ends[first..first + count],
                false => &[],
            },
            base: begin as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::{TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBody};
    use ringmw_sched::{AlgorithmId, Config, Opening, Owner, Scheduler, Series, TaskSpec};

    use bytes::Bytes;
    use ringmw_codec::frame::{Kind, begin_frame, finish_frame, put_frame};

    use super::{Body, Growing, Repr, SERIES_BYTES_MAX, packet_bytes};
    use crate::proto::bytes::SmallBytes;
    use crate::proto::conn::{ConnId, Effect};
    use crate::proto::pieces::Pieces;

    fn encoded(stream: u64, tag: &[u8], args: &[u8]) -> SmallBytes {
        let mut bytes = Vec::new();
        ringmw_codec::batch::encode_task_body(&mut bytes, &body(stream, tag, args));
        bytes.as_slice().into()
    }

    fn body<'a>(stream: u64, tag: &'a [u8], args: &'a [u8]) -> TaskBody<'a> {
        TaskBody {
            domain: 7,
            stream,
            tag_type: 0,
            timeout_ms: 0,
            tag,
            args,
        }
    }

    fn opening(tasks_max: u32) -> Opening {
        let sched = Scheduler::<Body>::new(Config::for_test(), 1);
        let spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, 1);
        Opening {
            tasks_max,
            bytes_max: 1 << 20,
            queue_max: 1 << 30,
            ..sched.opening(&spec)
        }
    }

    fn growing(first: &TaskBody<'_>) -> Growing {
        Growing::new(first, opening(100))
    }

    /// The series of tasks with these tags and arguments, and each of them by itself.
    fn series(tasks: &[(&[u8], &[u8])]) -> (Body, Vec<SmallBytes>) {
        let mut all = (5..).zip(tasks);
        let (stream, (tag, args)) = all.next().unwrap();
        let mut series = growing(&body(stream, tag, args));
        for (stream, (tag, args)) in all {
            assert!(series.push(&body(stream, tag, args)), "{stream}");
        }
        let alone = (5..).zip(tasks);
        let alone = alone.map(|(stream, (tag, args))| encoded(stream, tag, args));
        (series.close(), alone.collect())
    }

    #[test]
    fn a_series_is_its_tasks_one_after_another() {
        let many: [&[(&[u8], &[u8])]; 5] = [
            &[(b"", b"aa"), (b"", b"bb"), (b"", b"cc"), (b"", b"dd")],
            &[
                (b"", b"aa"),
                (b"", b"bb"),
                (b"", b"c"),
                (b"", b""),
                (b"", b"e"),
            ],
            &[(b"", b""), (b"", b""), (b"", b"")],
            &[(b"t", b"aa"), (b"u", b"bb"), (b"v", b"cc")],
            &[
                (b"t", b"aa"),
                (b"tt", b"b"),
                (b"v", b""),
                (b"longer", b"aa"),
            ],
        ];
        for tasks in many {
            let (whole, alone) = series(tasks);
            let count = whole.tasks();
            assert_eq!(count as usize, tasks.len());
            assert_eq!(whole.is_tagged(), !tasks[0].0.is_empty());
            // Wherever it is cut, and what it takes is what it adds to a packet.
            for cut in 0..=count {
                let mut rest = whole.clone();
                let mut parts = Vec::new();
                if cut > 0 && cut < count {
                    parts.push(rest.split_front(cut));
                }
                parts.push(rest);
                let mut nth = 0;
                for part in parts {
                    let first = &alone[nth as usize];
                    assert_eq!(part.alone_bytes(), first.len());
                    let each = alone[nth as usize..][..part.tasks() as usize].iter();
                    let bytes = each.map(|one| one.len()).sum::<usize>();
                    assert_eq!(part.each_bytes(0, part.tasks()), bytes);
                    for tasks in 1..=part.tasks() {
                        let front = match tasks == part.tasks() {
                            true => part.clone(),
                            false => part.clone().split_front(tasks),
                        };
                        let mut packet = TaskBatchBuilder::new();
                        let empty = packet.bytes();
                        front.put(&mut packet, (0, 0, 0), &mut Vec::new());
                        let expected = first.len() + TASK_ENTRY_BYTES;
                        let expected = expected + part.more_bytes(tasks) as usize;
                        assert_eq!(packet.bytes() - empty, expected, "{tasks} of {part:?}");
                    }
                    for at in 0..part.tasks() {
                        let alone = &alone[(nth + at) as usize];
                        assert_eq!(part.nth(at), TaskBody::parse(alone).unwrap());
                    }
                    assert_eq!(part.clone().one(), *first);
                    nth += part.tasks();
                }
            }
        }
        assert_eq!(
            growing(&body(5, &[], b"aa")).close().one(),
            encoded(5, &[], b"aa")
        );
    }

    #[test]
    fn the_first_of_what_is_left_has_its_own_bytes() {
        let (mut whole, alone) = series(&[(b"", b"a"), (b"", b"bbb"), (b"", b"")]);
        let own = |body: &Body| body.own_bytes() as usize;
        let beside = alone[0].len() - own(&whole);
        for one in &alone[..2] {
            assert_eq!(own(&whole) + beside, one.len());
            whole.split_front(1);
        }
        assert_eq!(own(&whole) + beside, alone[2].len());
    }

    #[test]
    fn what_does_not_follow_is_not_of_the_series() {
        for (domain, stream, tag) in [
            (7, 7, b"".as_slice()),
            (7, 5, b""),
            (8, 6, b""),
            (7, 6, b"tag"),
        ] {
            let next = TaskBody {
                domain,
                ..body(stream, tag, b"bb")
            };
            let mut one = growing(&body(5, &[], b"aa"));
            assert!(!one.push(&next), "{domain} {stream} {tag:?}");
            let mut series = growing(&body(4, &[], b"aa"));
            assert!(series.push(&body(5, &[], b"aa")));
            assert!(
                !series.push(&next),
                "in a series: {domain} {stream} {tag:?}"
            );
        }
        let of_type = |tag_type, stream| TaskBody {
            tag_type,
            ..body(stream, b"t", b"")
        };
        assert!(growing(&of_type(1, 5)).push(&of_type(1, 6)));
        assert!(!growing(&of_type(1, 5)).push(&of_type(2, 6)));
        let mut last = growing(&body(u64::MAX - 1, &[], b"aa"));
        assert!(last.push(&body(u64::MAX, &[], b"bb")));
        assert!(
            !last.push(&body(0, &[], b"cc")),
            "streams do not begin anew"
        );
        assert_eq!(last.close().tasks(), 2);
        let mut last = growing(&body(u64::MAX, &[], b"aa"));
        assert!(!last.push(&body(0, &[], b"bb")), "nor behind the first");
    }

    /// What was reserved for a packet's worth of tasks would else stay with one.
    #[test]
    fn a_closed_series_takes_what_it_needs() {
        for (tasks, other) in [(1, 100), (2, 100), (3, 100), (90, 100), (2, 7), (90, 99)] {
            let mut series = Growing::new(&body(0, &[], &[7; 100]), opening(1_000));
            (1..tasks)
                .for_each(|stream| assert!(series.push(&body(stream, &[], &[7; 100][..other]))));
            let capacity = match series.close().0 {
                Repr::One(body) => body.len(),
                Repr::Long(_) => unreachable!("a series does not begin with it"),
                Repr::Series { block, .. } => block.elements.capacity() + 4 * block.ends.capacity(),
            };
            assert!(
                capacity <= 2 * 104 * tasks as usize,
                "{capacity} for {tasks}"
            );
        }
    }

    /// Else a task that takes long would keep the arguments of all that have long ended.
    #[test]
    fn a_series_is_bounded() {
        let args = vec![0; SERIES_BYTES_MAX / 4];
        for less in [0, 1] {
            let mut series = Growing::new(&body(0, &[], &args), opening(100));
            let next = &args[less..];
            let fitting = (1..).take_while(|&stream| series.push(&body(stream, &[], next)));
            assert_eq!(fitting.count(), 3);
        }
        for next in [b"b".as_slice(), b"bb"] {
            let mut series = Growing::new(&body(0, &[], b"a"), opening(5));
            let fitting = (1..).take_while(|&stream| series.push(&body(stream, &[], next)));
            assert_eq!(fitting.count(), 4, "no more than a packet");
        }
    }

    /// What is sent from where it is makes the same packet as what is copied.
    #[test]
    fn long_arguments_are_the_same_in_a_packet() {
        for tag in [&[][..], &[7, 8, 9]] {
            let args = Bytes::from(vec![3; 100_000]);
            let short = [1, 2];
            let parts = [
                TaskBody {
                    tag_type: u64::from(!tag.is_empty()),
                    ..body(5, tag, &args)
                },
                body(6, &[], &short),
                body(7, &[], &args),
            ];
            let (mut copied, mut lent) = (TaskBatchBuilder::new(), TaskBatchBuilder::new());
            let mut pieces = Vec::new();
            for (number, parts) in (0..).zip(&parts) {
                let one = Body::from(super::encoded(parts));
                one.put(&mut copied, (number, 2, 0), &mut pieces);
                let long = match parts.args.len() {
                    2 => one,
                    _ => Body::long(parts, args.clone()),
                };
                assert_eq!(long.nth(0), *parts);
                assert_eq!(long.alone_bytes(), parts.encoded_bytes());
                assert_eq!(long.is_tagged(), parts.is_tagged());
                assert_eq!(*long.clone().one(), *super::encoded(parts));
                long.put(&mut lent, (number, 2, 0), &mut pieces);
            }
            assert_eq!((pieces.len(), copied.gaps().len()), (2, 0));
            let (mut expected, mut around) = (Vec::new(), Vec::new());
            put_frame(&mut expected, Kind::Heartbeat, b"");
            let mark = begin_frame(&mut expected, Kind::Tasks);
            copied.encode(&mut expected);
            finish_frame(&mut expected, mark);
            put_frame(&mut around, Kind::Heartbeat, b"");
            let mark = begin_frame(&mut around, Kind::Tasks);
            let at = around.len();
            lent.encode(&mut around);
            assert_eq!(lent.bytes(), copied.bytes());
            let mut placed = Pieces::default();
            placed.finish_frame(&mut around, mark, at, lent.gaps(), &mut pieces);
            assert_eq!(around.len() + placed.bytes(), expected.len());
            assert_eq!(placed.bytes_before(at), 0);
            let conn = ConnId::new(3, 4);
            let sent: Vec<u8> = placed
                .effects(conn, around)
                .flat_map(|effect| match effect {
                    Effect::Send(to, bytes) if to == conn => bytes,
                    Effect::SendShared(to, bytes) if to == conn => bytes.to_vec(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(sent == expected);
        }
    }

    /// What fits by its bytes is the same for tasks of one length and of several.
    #[test]
    fn bytes_bound_a_series() {
        let first = body(0, &[], &[1; 10]);
        let alone = u64::from(packet_bytes(&first));
        let record = Scheduler::<Body>::RECORD_BYTES;
        for (next, packet, queue) in [(10, 10, 0), (12, 16, 2)] {
            let next = vec![1; next];
            let fitting = |bytes_max, queue_max| {
                let opening = Opening {
                    bytes_max,
                    queue_max,
                    ..opening(100)
                };
                let mut series = Growing::new(&first, opening);
                let pushed = (1..).take_while(|&stream| series.push(&body(stream, &[], &next)));
                let pushed = pushed.count() as u64;
                assert_eq!(u64::from(series.close().tasks()), 1 + pushed);
                pushed
            };
            // The table has an end of the first one too.
            let table = if packet == 10 { 0 } else { 4 };
            for tasks in 1..5 {
                let bytes = alone + table + tasks * packet;
                assert_eq!(fitting(bytes, 1 << 30), tasks);
                assert_eq!(fitting(bytes - 1, 1 << 30), tasks - 1);
                let each = alone + record + queue;
                let bytes = alone + record + tasks * each;
                assert_eq!(fitting(1 << 30, bytes), tasks);
                assert_eq!(fitting(1 << 30, bytes - 1), tasks - 1);
            }
        }
    }
}
