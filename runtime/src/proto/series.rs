//! What the master keeps of a task: its encoded body, or of a series of tasks their arguments side by side.

use std::rc::Rc;

use ringmw_codec::batch::{TASK_ENTRY_BYTES, TaskBatchBuilder, TaskBody, encode_task_body};
use ringmw_sched::Series;

use crate::proto::bytes::SmallBytes;

/// The arguments of a series take no more than this: what one task that takes long keeps of those that have ended.
const RUN_BYTES_MAX: usize = 64 << 10;

/// The body of a task, or of a series: tasks without tags whose streams follow one another and whose arguments are of one
/// length.
#[derive(Clone, Debug)]
pub struct Body(Repr);

#[derive(Clone, Debug)]
enum Repr {
    One(SmallBytes),
    Series {
        block: Rc<Block>,
        from: u32,
        tasks: u32,
    },
}

// A queued task has one, and its budget is 96 bytes.
const _: () = assert!(size_of::<Option<Body>>() == 40);

/// What the parts of a series share.
#[derive(Debug)]
struct Block {
    domain: u64,
    /// Of the first task there.
    stream: u64,
    /// Of one task.
    args_bytes: usize,
    args: Vec<u8>,
}

/// A series that grows: nobody else knows of it.
#[derive(Debug)]
pub(crate) struct Growing {
    block: Block,
    tasks: u32,
    most: u32,
    /// The next task's stream.
    next: u64,
}

impl Growing {
    /// A series that begins with this task, which has no tag, and has no more than `most`.
    pub(crate) fn new(first: &TaskBody<'_>, most: u32) -> Self {
        debug_assert!(!first.is_tagged());
        let fitting = RUN_BYTES_MAX.checked_div(first.args.len());
        let fitting = fitting.map_or(u32::MAX, |tasks| tasks as u32);
        let next = first.stream.checked_add(1);
        Growing {
            block: Block::new(first),
            tasks: 1,
            most: if next.is_none() { 1 } else { most.min(fitting) },
            next: next.unwrap_or(0),
        }
    }

    /// The next task, which has no tag. False: it is not of the series' kind, or there is no room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, domain: u64, stream: u64, args: &[u8]) -> bool {
        let block = &mut self.block;
        if self.tasks >= self.most
            || stream != self.next
            || domain != block.domain
            || args.len() != block.args_bytes
        {
            return false;
        }
        if self.tasks == 1 {
            block.make_room(self.most);
        }
        append(&mut block.args, args);
        self.tasks += 1;
        match stream.checked_add(1) {
            Some(next) => self.next = next,
            None => self.most = self.tasks,
        }
        true
    }

    /// How many tasks there are.
    #[inline]
    pub(crate) fn tasks(&self) -> u32 {
        self.tasks
    }

    /// No more tasks follow: it takes no more memory than it needs.
    pub(crate) fn close(mut self) -> Body {
        if self.tasks == 1 {
            return self.block.one(0).into();
        }
        let args = &mut self.block.args;
        if args.capacity() > 2 * args.len() {
            args.shrink_to_fit();
        }
        Body(Repr::Series {
            block: Rc::new(self.block),
            from: 0,
            tasks: self.tasks,
        })
    }
}

impl Body {
    /// The body of the first task by itself, encoded.
    pub(crate) fn one(self) -> SmallBytes {
        match self.0 {
            Repr::One(body) => body,
            Repr::Series { block, from, .. } => block.one(from),
        }
    }

    /// The first task's by itself: it keeps nothing of the others of its series.
    pub(crate) fn alone(self) -> Body {
        self.one().into()
    }

    /// Bytes of the first task's, encoded.
    pub(crate) fn alone_bytes(&self) -> usize {
        match &self.0 {
            Repr::One(body) => body.len(),
            Repr::Series { block, from, .. } => block.part(*from, 1).encoded_bytes(),
        }
    }

    /// The encoded body of a task that has a tag; those of a series have none.
    #[inline]
    pub(crate) fn tagged(self) -> Option<Box<SmallBytes>> {
        match self.0 {
            Repr::One(body) if TaskBody::has_tag(&body) => Some(Box::new(body)),
            _ => None,
        }
    }

    /// The encoded body of a task that is none of a series.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::One(body) => Some(body),
            Repr::Series { .. } => None,
        }
    }

    /// Adds its tasks to a packet, from number `first` on.
    #[inline]
    pub(crate) fn put(
        &self,
        packet: &mut TaskBatchBuilder,
        first: u64,
        algorithm: u16,
        flags: u16,
    ) {
        match &self.0 {
            Repr::One(body) => packet.push(first, algorithm, flags, body),
            Repr::Series { block, from, tasks } => {
                let series = block.part(*from, *tasks);
                packet.push_series(first, *tasks, algorithm, flags, &series);
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

/// Most arguments are a few words.
#[inline]
fn append(args: &mut Vec<u8>, next: &[u8]) {
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
            Repr::One(_) => 1,
            Repr::Series { tasks, .. } => *tasks,
        }
    }

    #[inline]
    fn more_bytes(&self) -> u32 {
        match &self.0 {
            Repr::One(_) => 0,
            Repr::Series { block, .. } => block.args_bytes as u32,
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
        Block {
            domain: first.domain,
            stream: first.stream,
            args_bytes: first.args.len(),
            args: first.args.to_vec(),
        }
    }

    /// The body of one of its tasks by itself, encoded.
    fn one(&self, from: u32) -> SmallBytes {
        encoded(&self.part(from, 1))
    }

    /// Room for the arguments of so many tasks. What of it is not needed is given back by [`Growing::close`].
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, tasks: u32) {
        let bytes = self.args_bytes.saturating_mul(tasks as usize);
        let bytes = bytes.min(RUN_BYTES_MAX).saturating_sub(self.args.len());
        self.args.reserve_exact(bytes);
    }

    /// What some of its tasks carry.
    #[inline]
    fn part(&self, from: u32, tasks: u32) -> TaskBody<'_> {
        let begin = from as usize * self.args_bytes;
        TaskBody {
            domain: self.domain,
            stream: self.stream + u64::from(from),
            tag_type: 0,
            tag: &[],
            args: &self.args[begin..][..tasks as usize * self.args_bytes],
        }
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::batch::TaskBody;
    use ringmw_sched::Series;

    use super::{Growing, RUN_BYTES_MAX, Repr};
    use crate::proto::bytes::SmallBytes;

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
            tag,
            args,
        }
    }

    fn growing(first: &TaskBody<'_>) -> Growing {
        Growing::new(first, 100)
    }

    #[test]
    fn a_run_is_its_tasks_one_after_another() {
        let mut series = growing(&body(5, &[], b"aa"));
        assert!(series.push(7, 6, b"bb"));
        assert!(series.push(7, 7, b"cc"));
        assert_eq!(series.tasks(), 3);
        let mut series = series.close();
        assert_eq!((series.tasks(), series.more_bytes()), (3, 2));
        let mut front = series.split_front(2);
        assert_eq!(front.clone().one(), encoded(5, &[], b"aa"));
        assert_eq!(series.clone().one(), encoded(7, &[], b"cc"));
        assert_eq!(front.split_front(1).one(), encoded(5, &[], b"aa"));
        assert_eq!(front.one(), encoded(6, &[], b"bb"));
        assert!(series.tagged().is_none());
        assert_eq!(
            growing(&body(5, &[], b"aa")).close().one(),
            encoded(5, &[], b"aa")
        );
    }

    #[test]
    fn what_is_not_alike_is_no_series() {
        for (domain, stream, args) in [
            (7, 7, b"bb".as_slice()),
            (7, 5, b"bb"),
            (7, 6, b"bbb"),
            (8, 6, b"bb"),
        ] {
            let mut one = growing(&body(5, &[], b"aa"));
            assert!(
                !one.push(domain, stream, args),
                "{domain} {stream} {args:?}"
            );
            let mut series = growing(&body(4, &[], b"aa"));
            assert!(series.push(7, 5, b"aa"));
            assert!(
                !series.push(domain, stream, args),
                "in a series: {domain} {stream} {args:?}"
            );
        }
        let mut last = growing(&body(u64::MAX - 1, &[], b"aa"));
        assert!(last.push(7, u64::MAX, b"bb"));
        assert!(!last.push(7, 0, b"cc"), "streams do not begin anew");
        assert_eq!(last.close().tasks(), 2);
        let mut last = growing(&body(u64::MAX, &[], b"aa"));
        assert!(!last.push(7, 0, b"bb"), "nor behind the first");
    }

    /// What was reserved for a packet's worth of tasks would else stay with one.
    #[test]
    fn a_closed_run_takes_what_it_needs() {
        for tasks in [1, 2, 3, 90] {
            let mut series = Growing::new(&body(0, &[], &[7; 100]), 1_000);
            (1..tasks).for_each(|stream| assert!(series.push(7, stream, &[7; 100])));
            let capacity = match series.close().0 {
                Repr::One(body) => body.len(),
                Repr::Series { block, .. } => block.args.capacity(),
            };
            assert!(
                capacity <= 2 * 100 * tasks as usize,
                "{capacity} for {tasks}"
            );
        }
    }

    /// Else a task that takes long would keep the arguments of all that have long ended.
    #[test]
    fn a_run_is_bounded() {
        let args = vec![0; RUN_BYTES_MAX / 4];
        let mut series = Growing::new(&body(0, &[], &args), 100);
        let fitting = (1..).take_while(|&stream| series.push(7, stream, &args));
        assert_eq!(fitting.count(), 3);
        let mut series = Growing::new(&body(0, &[], b"a"), 5);
        let fitting = (1..).take_while(|&stream| series.push(7, stream, b"b"));
        assert_eq!(fitting.count(), 4, "no more than a packet");
    }
}
