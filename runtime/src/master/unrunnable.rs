//! Unrunnable ends of one algorithm that nobody has taken: whole while there is room for them, bare from then on.
//!
//! ```text
//!   0 ──────── queued tasks ────────┬─ unrunnable ends, whole ─── queued_bytes_max
//!                                   └ past it: bare, and those that follow one another are one range
//! ```

use std::collections::VecDeque;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::Unrunnable;

use super::error::{Origin, tag_in};
use crate::proto::end::CannotRun;
use crate::proto::series::Body;
use crate::typed::rng::Stream;
use crate::typed::tag::Tag;

/// Most bytes of a tag that a bare end keeps.
const TAG_BYTES_MAX: usize = 64;

/// Unrunnable ends, each with the number of its arrival.
#[derive(Default)]
pub(super) struct UnrunnableEnds(VecDeque<(u64, Entry)>);

/// One end, or several that are alike.
pub(super) enum Entry {
    /// With all that it was submitted with.
    Whole(Box<CannotRun>),
    Bare(Box<Bare>),
}

/// Ends without their arguments: of tasks whose ids and streams follow one another, for one reason and with one policy.
pub(super) struct Bare {
    /// The first, with its stream.
    first: Unrunnable<Stream>,
    tasks: u32,
    /// A task that keeps its tag is alone.
    tag: Option<Tag>,
}

/// What an entry takes in its queue.
const ENTRY_BYTES: usize = size_of::<(u64, Entry)>();

/// What an end takes that is kept whole.
fn whole_bytes(task: &CannotRun) -> u64 {
    (ENTRY_BYTES + size_of::<CannotRun>() + task.payload.alone_bytes()) as u64
}

impl UnrunnableEnds {
    /// Adds an end, whole if that takes no more than `room` bytes. How many it takes, and whether it is whole.
    pub(super) fn push(&mut self, arrival: u64, task: Box<CannotRun>, room: u64) -> (u64, bool) {
        let bytes = whole_bytes(&task);
        if bytes <= room {
            self.0.push_back((arrival, Entry::Whole(task)));
            return (bytes, true);
        }
        let bare = Bare::new(task.task);
        // An end of another kind may have come in between: the range is told where its first task is.
        if let Some((_, Entry::Bare(last))) = self.0.back_mut()
            && last.takes(&bare)
        {
            return (0, false);
        }
        let bare = Entry::Bare(Box::new(bare));
        let bytes = bare.bytes();
        self.0.push_back((arrival, bare));
        (bytes, false)
    }

    /// When the oldest came.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.front().map(|(arrival, _)| *arrival)
    }

    /// Takes the oldest, with the bytes that this frees.
    pub(super) fn pop(&mut self) -> Option<(Unrunnable<Origin>, u64)> {
        let (arrival, entry) = self.0.front_mut()?;
        if let Entry::Bare(bare) = entry
            && bare.tasks > 1
        {
            *arrival += 1;
            return Some((bare.split_first(), 0));
        }
        let (_, entry) = self.0.pop_front()?;
        let bytes = entry.bytes();
        entry.each().next().map(|task| (task, bytes))
    }

    pub(super) fn entries(&mut self) -> &mut VecDeque<(u64, Entry)> {
        &mut self.0
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        match self {
            Entry::Whole(task) => whole_bytes(task),
            Entry::Bare(bare) => {
                let tag = bare.tag.as_ref().map_or(0, |tag| tag.archive.len());
                (ENTRY_BYTES + size_of::<Bare>() + tag) as u64
            }
        }
    }

    /// Each end by itself.
    pub(super) fn each(self) -> impl Iterator<Item = Unrunnable<Origin>> {
        let (whole, bare) = match self {
            Entry::Whole(task) => (Some(*task), None),
            Entry::Bare(bare) => (None, Some(*bare)),
        };
        let whole = whole.map(|task| {
            let origin = Origin::of(&task);
            with(task.task, origin)
        });
        let bare = bare.into_iter().flat_map(|mut bare| {
            let tasks = bare.tasks;
            (0..tasks).map(move |_| bare.split_first())
        });
        whole.into_iter().chain(bare)
    }
}

impl Bare {
    fn new(task: Unrunnable<Body>) -> Self {
        let body = task.payload.clone().one();
        let parts = TaskBody::parse(&body).expect("the master itself encoded it");
        let stream = Stream {
            domain: parts.domain,
            index: parts.stream,
        };
        Bare {
            first: with(task, stream),
            tasks: 1,
            tag: tag_in(&parts).filter(|tag| tag.archive.len() <= TAG_BYTES_MAX),
        }
    }

    /// Whether `next` goes on with this, and was added to it.
    fn takes(&mut self, next: &Bare) -> bool {
        let (first, after) = (&self.first, &next.first);
        let tasks = u64::from(self.tasks);
        let stream = first.payload.index.checked_add(tasks);
        let follows = self.tasks < u32::MAX
            && (&self.tag, &next.tag) == (&None, &None)
            && first.id.seq() + tasks == after.id.seq()
            && (first.payload.domain, stream) == (after.payload.domain, Some(after.payload.index))
            && (first.reason, first.policy) == (after.reason, after.policy);
        self.tasks += u32::from(follows);
        follows
    }

    /// Takes the first off; of a single one it may be taken once.
    fn split_first(&mut self) -> Unrunnable<Origin> {
        let first = self.first.clone();
        self.tasks -= 1;
        self.first.id = first.id.after(1);
        self.first.payload.index = first.payload.index.wrapping_add(1);
        let origin = Origin::bare(first.payload, self.tag.as_ref(), first.policy);
        with(first, origin)
    }
}

/// The end with something else in place of what was submitted with it.
fn with<P, Q>(task: Unrunnable<P>, payload: Q) -> Unrunnable<Q> {
    Unrunnable {
        id: task.id,
        algorithm: task.algorithm,
        owner: task.owner,
        policy: task.policy,
        payload,
        reason: task.reason,
    }
}
