//! Data that is shared with slaves: made known here, and where it stands in a file, read as slaves ask for it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::task::Poll;

use bytes::Bytes;

use super::handle::Master;
use super::state::State;
use crate::io::files::blob::SharedFile;
use crate::proto::blob::{Blob, Source, read_pieces};
use crate::proto::master::Load;
use crate::typed::shared::{Share, Shared};

impl Master {
    /// Shares a value with the slaves whose tasks name it: see [`Shared`].
    ///
    /// It is archived and kept once, and hashed on this thread: a second for some gigabytes. Of the same content there is
    /// one, however often it is shared.
    ///
    /// # Panics
    /// If the value's own serialization fails.
    pub fn share<T: Share + ?Sized>(&self, value: &T) -> Shared<T> {
        let blob = Shared::blob_of(value);
        Shared::in_master(self.act(|state| state.core.share(blob)))
    }

    /// Shares the bytes of a file with the slaves whose tasks name it: see [`Shared`].
    ///
    /// The master keeps none of it: it is read once here, on a thread of its own, for its name, and again as slaves are
    /// sent it. It is to stay as it is: the tasks that name one that changes are unrunnable, with
    /// [`Reason::SharedGone`](crate::Reason::SharedGone). To look at it in the master reads all of it into memory.
    ///
    /// # Errors
    /// When it cannot be read, is no plain file, or changes meanwhile; the error names it.
    pub async fn share_file(&self, path: impl AsRef<Path>) -> io::Result<Shared<[u8]>> {
        let path = path.as_ref().to_owned();
        let (of, file) = self.blocking(move || SharedFile::open(&path)).await?;
        let source = Source::File(Box::new(file));
        let blob = self.act(|state| state.core.share(Blob { of, source }));
        self.begin_reading();
        Ok(Shared::in_master(blob))
    }

    /// One light thread reads what slaves are to be sent of files.
    fn begin_reading(&self) {
        if self.act(|state| std::mem::replace(&mut state.reads_files, true)) {
            return;
        }
        let mw = self.clone();
        drop(self.spawn(async move {
            loop {
                let loads = std::future::poll_fn(|cx| {
                    mw.act(|state| {
                        let loads = std::iter::from_fn(|| state.core.poll_load());
                        let loads: Vec<Load> = loads.take(LOADS_MAX).collect();
                        if loads.is_empty() {
                            state.reader = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                        Poll::Ready(loads)
                    })
                })
                .await;
                let read = mw.blocking(move || loads.into_iter().map(read).collect());
                let read: Vec<(Load, Pieces)> = read.await;
                mw.act(|state| {
                    for (load, pieces) in read {
                        state.core.loaded(load, pieces);
                    }
                });
            }
        }));
    }
}

/// Parts of files that are read in one go.
const LOADS_MAX: usize = 4;

type Pieces = Result<VecDeque<Bytes>, String>;

fn read(load: Load) -> (Load, Pieces) {
    let pieces = match &load.blob.source {
        Source::File(file) => read_pieces(&**file, load.from, load.bytes),
        Source::Memory(_) => Err("it is no file".to_owned()),
    };
    (load, pieces)
}

impl State {
    /// Something is to be read from a file: whoever reads is woken.
    pub(super) fn wake_reader(&mut self) {
        if self.core.has_loads() {
            self.woken.extend(self.reader.take());
        }
    }
}
