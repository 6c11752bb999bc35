//! What a master algorithm saves of itself, and has again in its next life.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ringmw_codec::audit::Event;
use ringmw_codec::journal::{Identity, Numbering, SavedBest, StateFile};

use super::handle::Master;
use super::passes::Refused;
use crate::io::files::state::{Answer, StateStore};
use crate::proto::known::KnownBest;
use crate::typed::wire::{self, Wire, type_text};

/// Where the state is kept, and whose it is.
pub(crate) struct Keeper {
    pub(crate) store: Rc<dyn StateStore>,
    pub(crate) identity: Identity,
    pub(crate) any_build: bool,
    pub(crate) any_args: bool,
}

/// Why a state is not saved or restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be written or read.
    #[error("the state: {0}")]
    File(String),
    /// It is another run's.
    #[error(
        "the state is not this run's: {0}; give another --mw-state, or remove it to begin anew"
    )]
    Other(String),
    /// It was saved as another type.
    #[error("the state was saved as {saved}, and is restored as {expected}")]
    OtherType {
        /// The type asked for.
        expected: String,
        /// The type it was saved as.
        saved: String,
    },
    /// It cannot be archived, or what was archived is none of its type.
    #[error("the state: {0}")]
    Archive(#[from] wire::WireError),
}

impl Master {
    /// Saves the state of the master algorithm for its next life; with it go the incumbents, and how many maps, calls and
    /// submissions there were. It is taken at the call; awaiting says that it is on disk.
    ///
    /// Without `--mw-state` it does nothing. The file of the time before is kept beside it, and takes its place should it
    /// be damaged. While one is being written the newest of those that follow is written next.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let (mut sum, at) = mw.restore::<(u64, Position)>().await?.unwrap_or_default();
    ///     let mut squares = mw.map((at.index()..100).map(square::task)).in_order().resume_at(at);
    ///     while let Some(square) = squares.try_next().await? {
    ///         sum += square;
    ///         if squares.position().index() % 10 == 0 {
    ///             mw.save(&(sum, squares.position())).await?;
    ///         }
    ///     }
    ///     assert_eq!(sum, 328_350);
    ///     Ok(())
    /// }
    ///
    /// assert_eq!(App::new().algorithm::<square>().master(master).embedded(2).run(), 0);
    /// ```
    pub fn save<T: Wire>(
        &self,
        state: &T,
    ) -> impl Future<Output = Result<(), StateError>> + 'static + use<T> {
        let written = self.begin_save(state);
        Saving {
            mw: self.clone(),
            refused: Refused::default(),
            written,
        }
    }

    fn begin_save<T: Wire>(&self, state: &T) -> Result<Option<Answer<()>>, StateError> {
        let keeper = self.inner.keeper.borrow();
        let Some(keeper) = &*keeper else {
            return Ok(None);
        };
        let mut value = Vec::new();
        wire::encode(state, &mut value)?;
        let numbering = self.read(|state| state.numbering());
        let names = self.inner.registry.entries().iter();
        let numbering = names
            .zip(numbering)
            .map(|(entry, (maps, singles))| Numbering {
                algorithm: entry.name.to_owned(),
                maps,
                singles,
            });
        let bests = self.inner.bests.witnessed().into_iter();
        let file = StateFile {
            identity: keeper.identity.clone(),
            type_hash: T::TYPE_HASH,
            type_text: type_text::<T>(),
            numbering: numbering.collect(),
            bests: bests
                .map(|best| SavedBest {
                    best: best.best,
                    types: best.types,
                    image: best.image,
                    witness: best.witness.into(),
                })
                .collect(),
            value,
        };
        Ok(Some(keeper.store.write(file.encode())))
    }

    /// What was saved last, in an earlier life or in this one; incumbents and the numbering of maps, calls and submissions
    /// go on from there. `None` where nothing was saved, and without `--mw-state`. The place for it is the beginning,
    /// before the first task.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, and the one before it too; when it is of another build, seed, other
    /// arguments, another version of the application; when it was saved as another type.
    pub async fn restore<T: Wire>(&self) -> Result<Option<T>, StateError> {
        let read = self
            .inner
            .keeper
            .borrow()
            .as_ref()
            .map(|keeper| keeper.store.read());
        let Some(read) = read else {
            return Ok(None);
        };
        let found = self.answered(read).await?;
        let Some((file, wrong)) = found else {
            return Ok(None);
        };
        if let Some(wrong) = wrong {
            let text =
                format!("the newest state is passed over: {wrong}; the one before it is restored");
            self.act(|state| state.core.note(Event::Note { text }));
        }
        let difference = self.inner.keeper.borrow().as_ref().and_then(|keeper| {
            file.identity
                .difference(&keeper.identity, keeper.any_build, keeper.any_args)
        });
        if let Some(difference) = difference {
            return Err(StateError::Other(difference.to_string()));
        }
        if file.type_hash != T::TYPE_HASH {
            return Err(StateError::OtherType {
                expected: type_text::<T>(),
                saved: file.type_text,
            });
        }
        let value = wire::decode::<T>(&file.value)?;
        let bests = file.bests.into_iter().map(|best| {
            let known = KnownBest {
                types: best.types,
                image: best.image,
                witness: best.witness,
            };
            (best.best, known)
        });
        self.inner.bests.restore(bests);
        let entries = self.inner.registry.entries();
        let counts = file.numbering.into_iter().filter_map(|counts| {
            let at = entries
                .iter()
                .position(|entry| entry.name == counts.algorithm)?;
            Some((at, (counts.maps, counts.singles)))
        });
        let counts: Vec<_> = counts.collect();
        self.act(|state| state.go_on_counting(counts));
        Ok(Some(value))
    }

    async fn answered<T>(&self, answer: Answer<T>) -> Result<T, StateError> {
        let refused = Refused::default();
        let mut answer = pin!(answer);
        let answer = std::future::poll_fn(|cx| {
            ready!(self.poll_pass(cx, &refused));
            answer.as_mut().poll(cx)
        });
        read_answer(answer.await)
    }

    /// Where the state is kept from here on.
    pub(crate) fn keep_state(&self, keeper: Keeper) {
        *self.inner.keeper.borrow_mut() = Some(keeper);
    }
}

fn read_answer<T>(
    answer: Result<Result<T, String>, tokio::sync::oneshot::error::RecvError>,
) -> Result<T, StateError> {
    let gone = |_| Err("its thread is gone".to_owned());
    answer.unwrap_or_else(gone).map_err(StateError::File)
}

/// A state on its way to the disk.
struct Saving {
    mw: Master,
    refused: Refused,
    written: Result<Option<Answer<()>>, StateError>,
}

impl Future for Saving {
    type Output = Result<(), StateError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.mw.poll_pass(cx, &this.refused));
        match &mut this.written {
            Err(error) => Poll::Ready(Err(error.clone())),
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some(answer)) => Pin::new(answer).poll(cx).map(read_answer),
        }
    }
}
