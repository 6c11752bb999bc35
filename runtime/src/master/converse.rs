//! Conversations with running tasks: [`Master::converse`].
//!
//! A conversation is a call whose flow has a [`Chat`] beside it: what the task has said and nobody has taken, and who waits for
//! it to say or to hear. What is under way, the core counts ([`talks`](crate::proto::master::talks)).

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ringmw_codec::talk::counted_bytes;
use ringmw_sched::{AlgorithmId, SlaveId, TaskId};

use super::call::Call;
use super::error::TaskError;
use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::state::State;
use super::submit::RawTask;
use crate::proto::bytes::SmallBytes;
use crate::proto::master::talks::{News, Unsaid};
use crate::proto::reason::Raise;
use crate::typed::talk::Converses;
use crate::typed::task::Task;
use crate::typed::wire;

/// What is heard of a task that converses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<Up> {
    /// The task says this.
    Said(Up),
    /// Its slave was lost, and another one has begun it anew: it says everything anew, and knows nothing of what was said to it.
    Restarted {
        /// How often it has been begun, this time included: from 2 on.
        attempt: u32,
        /// The slave that has it now.
        slave: SlaveId,
    },
}

impl Master {
    /// Submits a task at once and converses with it while it runs; see [`Conversation`].
    ///
    /// Such a task has a slave to itself: it is the only one in its packet, its slave gets none behind it until it has ended, and it
    /// is never given to a second slave.
    pub fn converse<A: Converses>(&self, task: Task<A>) -> Conversation<A> {
        Conversation {
            call: Call::of_conversation(self, task),
            next_waiter: Cell::new(0),
        }
    }
}

/// The conversation with a running task, and the future of its typed result. Dropping it takes the task back.
///
/// [`next`](Conversation::next) and [`say`](Conversation::say) borrow it, so that they can be awaited beside each other. Awaited
/// itself it throws away what the task still says. Of what the master has said and the task has not heard at most 64 KiB are under
/// way, each message counting 24 bytes beside its own, and as much the other way; a larger message goes when nothing is under way.
/// So two that say and never hear wait for each other: the trail names them after 10 s, and `ringmw why` at once.
///
/// ```
/// use ringmw::prelude::*;
/// use ringmw::testing::World;
///
/// #[algorithm]
/// fn shout(talk: &mut Talk<String, String>) -> u64 {
///     let mut lines = 0;
///     while let Some(line) = talk.hear() {
///         lines += 1;
///         talk.say(&line.to_uppercase());
///         if line == "bye" {
///             break;
///         }
///     }
///     lines
/// }
///
/// async fn master(mw: Master, _args: Args) -> Result {
///     let talk = mw.converse(shout::task());
///     for line in ["hello", "bye"] {
///         talk.say(&line.to_owned()).await;
///         assert_eq!(talk.next().await, Some(Heard::Said(line.to_uppercase())));
///     }
///     assert_eq!(talk.next().await, None);
///     assert_eq!(talk.await?, 2);
///     Ok(())
/// }
///
/// let app = App::new().algorithm::<shout>().master(master);
/// assert_eq!(World::new(1).run(app).code, 0);
/// ```
#[must_use = "dropping a conversation takes its task back"]
pub struct Conversation<A: Converses> {
    call: Call<A>,
    /// The number of the next future of `next` or `say`.
    next_waiter: Cell<u64>,
}

impl<A: Converses> fmt::Debug for Conversation<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("task", &self.id())
            .finish_non_exhaustive()
    }
}

impl<A: Converses> Conversation<A> {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.call.id()
    }

    /// What the task says next, in order, or that it is begun anew; `None` once it has ended and all was heard. Of a task whose
    /// result an earlier life of the run recorded it is `None` at once.
    ///
    /// A task that is begun anew says everything anew: what its earlier attempt said and nobody has taken by then is dropped.
    ///
    /// # Panics
    /// If what comes cannot be read though it was found valid: that is the type's own deserialization.
    pub fn next(&self) -> impl Future<Output = Option<Heard<A::Up>>> + '_ {
        Next {
            waits: Waiting::new(self, true),
        }
    }

    /// Says something to the task; waits while 64 KiB of what was said are not heard. False if it reaches nobody: the task has
    /// ended or is cancelled, or is begun anew and [`next`](Conversation::next) has not said so yet.
    ///
    /// What is said before the task was begun waits for it.
    ///
    /// # Panics
    /// If the message's own serialization fails, or it is larger than `--mw-max-read-buffer-size` allows.
    pub fn say(&self, down: &A::Down) -> impl Future<Output = bool> + '_ {
        Say {
            message: self.encode(down),
            attempt: None,
            waits: Waiting::new(self, false),
        }
    }

    /// The same without waiting: false, too, if it would have to.
    ///
    /// # Panics
    /// As for [`say`](Conversation::say).
    pub fn try_say(&self, down: &A::Down) -> bool {
        let (message, flow) = (self.encode(down), self.call.flow());
        self.master().act(|state| {
            let attempt = state.chat(flow).attempt_taken;
            state.say(flow, attempt, &message) == Ok(())
        })
    }

    fn master(&self) -> &Master {
        self.call.master()
    }

    fn encode(&self, down: &A::Down) -> Vec<u8> {
        let mut archive = Vec::new();
        if let Err(error) = wire::encode(down, &mut archive) {
            panic!(
                "a message to a task of `{}` cannot be said: {error}",
                A::NAME
            );
        }
        let bytes_max = self.master().work(|state| state.core.message_bytes_max());
        assert!(
            archive.len() <= bytes_max,
            "a message of {} bytes to a task of `{}` is larger than its slave reads: at most {bytes_max} bytes; {}",
            archive.len(),
            A::NAME,
            Raise("--mw-max-read-buffer-size", archive.len() as u64)
        );
        archive
    }
}

impl<A: Converses> Future for Conversation<A> {
    type Output = Result<A::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let flow = self.call.flow();
        if !self.call.is_done() {
            self.master().act_if(
                |state| !state.chat(flow).discards,
                |state| state.discard(flow),
            );
        }
        Pin::new(&mut self.call).poll(cx)
    }
}

/// One who waits for a conversation.
struct Waiting<'a, A: Converses> {
    of: &'a Conversation<A>,
    number: u64,
    /// For what is said, and not for room to say something.
    hears: bool,
    refused: Refused,
}

impl<'a, A: Converses> Waiting<'a, A> {
    fn new(of: &'a Conversation<A>, hears: bool) -> Self {
        let number = of.next_waiter.get();
        of.next_waiter.set(number + 1);
        Waiting {
            of,
            number,
            hears,
            refused: Refused::default(),
        }
    }

    /// Waits no more.
    fn forget(&self) -> Option<Waker> {
        let (flow, number) = (self.of.call.flow(), self.number);
        let master = self.of.master();
        master.work(|state| state.chat(flow).forget(number))
    }
}

impl<A: Converses> Waits for Waiting<'_, A> {
    fn master(&self) -> &Master {
        self.of.master()
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn has_answer(&self) -> bool {
        let flow = self.of.call.flow();
        !self.hears
            || self.master().work(|state| {
                let chat = state.chat(flow);
                chat.is_over || !chat.inbox.is_empty()
            })
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        let (flow, number) = (self.of.call.flow(), self.number);
        self.master().work(|state| {
            let chat = state.chat(flow);
            let before = chat.forget(number);
            chat.wakers.push((number, waker));
            before
        })
    }
}

struct Next<'a, A: Converses> {
    waits: Waiting<'a, A>,
}

impl<A: Converses> Future for Next<'_, A> {
    type Output = Option<Heard<A::Up>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        passes::poll(&mut self.waits, cx, |waits| {
            let flow = waits.of.call.flow();
            // The driver is told only of what changes something for the task.
            let master = waits.of.master();
            let item = master.act_if(
                |state| !state.chat(flow).inbox.is_empty(),
                |state| state.take_heard(flow),
            );
            match item.flatten() {
                Some(Item::Said(message)) => {
                    let up = wire::decode::<A::Up>(&message).unwrap_or_else(|error| {
                        panic!("what a task of `{}` said cannot be read: {error}", A::NAME)
                    });
                    Poll::Ready(Some(Heard::Said(up)))
                }
                Some(Item::Restarted { attempt, slave }) => {
                    Poll::Ready(Some(Heard::Restarted { attempt, slave }))
                }
                None if master.work(|state| state.chat(flow).is_over) => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
    }
}

impl<A: Converses> Drop for Next<'_, A> {
    fn drop(&mut self) {
        drop(self.waits.forget());
    }
}

struct Say<'a, A: Converses> {
    message: Vec<u8>,
    /// The attempt that it is said to: the one that was known when it was polled first.
    attempt: Option<u32>,
    waits: Waiting<'a, A>,
}

impl<A: Converses> Future for Say<'_, A> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Say {
            message,
            attempt,
            waits,
        } = &mut *self;
        passes::poll(waits, cx, |waits| {
            let flow = waits.of.call.flow();
            let number = waits.number;
            waits.of.master().act(|state| {
                let taken = state.chat(flow).attempt_taken;
                let attempt = *attempt.get_or_insert(taken);
                // What waited while the task began for the first time waits for that.
                let attempt = if attempt == 0 { taken.min(1) } else { attempt };
                let said = state.say(flow, attempt, message);
                state.waits_to_say(flow, number, said == Err(Unsaid::Full));
                match said {
                    Ok(()) => Poll::Ready(true),
                    Err(Unsaid::Nobody) => Poll::Ready(false),
                    Err(Unsaid::Full) => Poll::Pending,
                }
            })
        })
    }
}

impl<A: Converses> Drop for Say<'_, A> {
    fn drop(&mut self) {
        let (flow, number) = (self.waits.of.call.flow(), self.waits.number);
        let master = self.waits.of.master();
        master.work(|state| state.waits_to_say(flow, number, false));
        drop(self.waits.forget());
    }
}

/// What a conversation's flow has beside its end.
pub(super) struct Chat {
    task: u64,
    inbox: VecDeque<Item>,
    /// How often the task was begun, and which of them the application knows.
    attempt: u32,
    attempt_taken: u32,
    /// Nobody hears it any more.
    discards: bool,
    /// The task has ended.
    pub(super) is_over: bool,
    /// Futures that wait, by their numbers, and of them those that wait to say something.
    wakers: Vec<(u64, Waker)>,
    sayers: Vec<u64>,
}

enum Item {
    Said(SmallBytes),
    Restarted { attempt: u32, slave: SlaveId },
}

impl Chat {
    fn new(id: TaskId) -> Self {
        Chat {
            task: id.seq(),
            inbox: VecDeque::new(),
            attempt: 0,
            attempt_taken: 0,
            discards: false,
            is_over: false,
            wakers: Vec::new(),
            sayers: Vec::new(),
        }
    }

    fn forget(&mut self, number: u64) -> Option<Waker> {
        let at = self.wakers.iter().position(|(of, _)| *of == number)?;
        Some(self.wakers.swap_remove(at).1)
    }

    /// All who wait look again.
    pub(super) fn wake(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.wakers.drain(..).map(|(_, waker)| waker));
    }
}

impl State {
    fn chat(&mut self, flow: u32) -> &mut Chat {
        let chat = self.flows[flow as usize].chat.as_mut();
        chat.expect("a conversation's flow has one")
    }

    /// Submits a task to converse with; its flow and its id.
    pub(super) fn push_conversation(
        &mut self,
        flow: u32,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
    ) -> TaskId {
        let stream = self.next_single(algorithm);
        let id = self.push_to_converse(algorithm, task, flow, stream);
        self.flows[flow as usize].chat = Some(Box::new(Chat::new(id)));
        self.core.open_talk(id, algorithm, flow);
        id
    }

    /// There are news of a conversation.
    pub(super) fn on_talk(&mut self, flow: u32, task: u64, news: News) {
        let Some(flow_state) = self.flows.get_mut(flow as usize) else {
            return;
        };
        let Some(chat) = &mut flow_state.chat else {
            return;
        };
        if chat.task != task {
            // Of one that was dropped.
            return;
        }
        match news {
            News::Begun { attempt, slave } => {
                chat.attempt = attempt;
                if attempt > 1 {
                    // It says everything anew: what an earlier attempt said is kept no longer.
                    chat.inbox.clear();
                    chat.inbox.push_back(Item::Restarted { attempt, slave });
                }
                if attempt == 1 || chat.discards {
                    chat.inbox.clear();
                    chat.attempt_taken = attempt;
                }
            }
            News::Said(message) if chat.discards => {
                let (attempt, counted) = (chat.attempt, counted_bytes(message.len()));
                self.core.take_said(task, attempt, counted);
                return;
            }
            News::Said(message) => chat.inbox.push_back(Item::Said(message)),
            News::Room | News::Lost => {}
        }
        chat.wake(&mut self.woken);
    }

    /// Takes what is heard next.
    fn take_heard(&mut self, flow: u32) -> Option<Item> {
        let chat = self.chat(flow);
        let item = chat.inbox.pop_front()?;
        let (task, attempt) = (chat.task, chat.attempt);
        match &item {
            Item::Restarted { attempt, .. } => chat.attempt_taken = *attempt,
            Item::Said(message) => {
                let counted = counted_bytes(message.len());
                self.core.take_said(task, attempt, counted);
            }
        }
        Some(item)
    }

    /// From now on nobody hears what the task says.
    fn discard(&mut self, flow: u32) {
        while self.take_heard(flow).is_some() {}
        self.chat(flow).discards = true;
    }

    fn say(&mut self, flow: u32, attempt: u32, message: &[u8]) -> Result<(), Unsaid> {
        let chat = self.chat(flow);
        let task = chat.task;
        if chat.is_over || attempt != chat.attempt_taken {
            return Err(Unsaid::Nobody);
        }
        self.core.say(task, attempt, message)
    }

    /// A future of `say` waits for room, or does no more.
    fn waits_to_say(&mut self, flow: u32, number: u64, waits: bool) {
        let chat = self.chat(flow);
        let (task, before) = (chat.task, chat.sayers.len());
        chat.sayers.retain(|of| *of != number);
        if waits {
            chat.sayers.push(number);
        }
        let is_any = !chat.sayers.is_empty();
        if waits || before > 0 {
            self.core.waits_for_room(task, is_any);
        }
    }
}
