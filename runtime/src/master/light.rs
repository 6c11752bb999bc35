//! Light threads: futures that run on the master's thread beside the master algorithm.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::handle::Master;
use super::passes::{self, Refused, Waits};

/// A light thread, as the driver runs it.
pub(super) type Spawned = Pin<Box<dyn Future<Output = ()>>>;

impl Master {
    /// A light thread on the master, and the future of its value (dpfw's promise of a local procedure).
    ///
    /// It runs whenever the master algorithm awaits, whether its value is awaited or not, until it returns or the master
    /// algorithm has. Its panic ends the master.
    ///
    /// ```
    /// # use ringmw::prelude::*;
    /// # #[algorithm]
    /// # fn square(n: u64) -> u64 {
    /// #     n * n
    /// # }
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let handle = mw.clone();
    ///     let sum = mw.spawn(async move {
    ///         Ok::<_, TaskError>(handle.call(square::task(3)).await? + handle.call(square::task(4)).await?)
    ///     });
    ///     assert_eq!(mw.call(square::task(5)).await?, sum.await?);
    ///     Ok(())
    /// }
    /// # assert_eq!(App::new().algorithm::<square>().master(master).embedded(1).run(), 0);
    /// ```
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Light<T> {
        let shared = Rc::new(Shared {
            value: Cell::new(None),
            waker: RefCell::new(None),
        });
        let light = Light {
            mw: self.clone(),
            refused: Refused::default(),
            shared: Rc::clone(&shared),
        };
        self.inner.spawned.borrow_mut().push(Box::pin(async move {
            shared.value.set(Some(future.await));
            let waker = shared.waker.take();
            waker.into_iter().for_each(Waker::wake);
        }));
        self.notify();
        light
    }
}

/// The future of a light thread's value: see [`Master::spawn`]. Dropping it ends nothing: the light thread goes on.
#[must_use = "await the value of a light thread; where only what it does is wanted, drop it"]
pub struct Light<T> {
    mw: Master,
    refused: Refused,
    shared: Rc<Shared<T>>,
}

struct Shared<T> {
    value: Cell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Waits for Light<T> {
    fn master(&self) -> &Master {
        &self.mw
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn has_answer(&self) -> bool {
        let value = self.shared.value.take();
        let has_answer = value.is_some();
        self.shared.value.set(value);
        has_answer
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        self.shared.waker.replace(Some(waker))
    }
}

impl<T> Future for Light<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        passes::poll(&mut *self, cx, |light| match light.shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        })
    }
}
