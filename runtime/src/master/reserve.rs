//! Slaves that are the master algorithm's own: reservations. A thin layer over the ordered group, which the scheduler
//! keeps; here is who waits for one, and who waits for its loss.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use ringmw_codec::audit::Event;
use ringmw_sched::{LABEL_BYTES_MAX, NEEDS_MAX, Needs, Reservation as Number, SlaveId};

use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::state::State;

/// A slave that is the master algorithm's own, until this is dropped or the slave is lost.
///
/// It is in the ordered group, so it runs the tasks that are addressed to it and no others; it counts as one slave more that
/// is desired there. Its arrival is not told by [`take_connected`](Master::take_connected), nor is its loss by
/// [`take_disconnected`](Master::take_disconnected). Dropping it frees the slave, as [`free_slave`](Master::free_slave)
/// does: tasks still queued for it follow their [`do_it_anyway`](crate::Task::do_it_anyway). One that is lost is not
/// replaced.
///
/// ```no_run
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// async fn master(mw: Master, _args: Args) -> Result {
///     let mine = mw.reserve().await;
///     let nine = mw.call(square::task(3).slave(&mine)).await?;
///     println!("{nine} by {}", mine.id());
///     Ok(())
/// }
/// # fn main() { let _ = App::new().algorithm::<square>().master(master); }
/// ```
#[must_use = "dropping it frees the slave"]
pub struct Reservation {
    mw: Master,
    number: Number,
    slave: SlaveId,
}

/// The future of [`Master::reserve`]. It asks for the slave when it is awaited first; dropping it takes the wish back.
#[must_use = "a slave is reserved when this is awaited"]
pub struct Reserve {
    mw: Master,
    needs: Vec<String>,
    number: Option<Number>,
    refused: Refused,
}

/// Who waits for a reservation, and what has become of it.
#[derive(Default)]
struct Waiting {
    slave: Option<SlaveId>,
    is_lost: bool,
    wakers: Vec<Waker>,
}

/// The reservations that somebody has, or waits for.
#[derive(Default)]
pub(super) struct Reservations(BTreeMap<Number, Waiting>);

impl Master {
    /// A slave that is this master algorithm's own, as soon as there is one: the oldest reservation is served first.
    ///
    /// One more slave is desired in the ordered group meanwhile. See [`Reservation`].
    pub fn reserve(&self) -> Reserve {
        Reserve {
            mw: self.clone(),
            needs: Vec::new(),
            number: None,
            refused: Refused::default(),
        }
    }

    /// The same if a slave is idle now and no other reservation waits for it; else nothing is desired.
    pub fn try_reserve(&self) -> Option<Reservation> {
        let (number, slave) = self.act(|state| {
            let got = state
                .core
                .with_sched(|sched| sched.try_reserve(Needs::NONE));
            if let Some((number, slave)) = got {
                state.on_reserved(number, slave);
            }
            got
        })?;
        Some(Reservation {
            mw: self.clone(),
            number,
            slave,
        })
    }
}

impl Reserve {
    /// The slave must have this label: a key, whatever its value, or a key and a value as `site=fermi`. Of several each.
    ///
    /// # Panics
    /// If the label is empty, longer than 64 bytes or begins with `=`, and with more than 4 labels: no slave could ever
    /// have them.
    pub fn needs(mut self, label: impl Into<String>) -> Self {
        let label = label.into();
        let is_label = (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('=');
        assert!(
            is_label,
            "`{label}` is no label: give a key, or a key and a value as `site=fermi`, of at most {LABEL_BYTES_MAX} bytes"
        );
        assert!(
            self.needs.len() < NEEDS_MAX,
            "a reservation needs at most {NEEDS_MAX} labels: `{label}` is one too many"
        );
        self.needs.push(label);
        self
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

impl Future for Reserve {
    type Output = Reservation;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reservation> {
        if self.number.is_none() {
            let needs = self.needs.clone();
            let number = self.mw.act(|state| state.reserve(needs));
            self.number = Some(number);
        }
        passes::poll(&mut *self, cx, |reserve| {
            let number = reserve.number.expect("it was asked for");
            let slave = reserve.mw.work(|state| state.reservation(number).slave);
            let Some(slave) = slave else {
                return Poll::Pending;
            };
            reserve.number = None;
            Poll::Ready(Reservation {
                mw: reserve.mw.clone(),
                number,
                slave,
            })
        })
    }
}

impl Waits for Reserve {
    fn master(&self) -> &Master {
        &self.mw
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn has_answer(&self) -> bool {
        let number = self.number.expect("it was asked for");
        self.mw.work(|state| state.look_at(number).0.is_some())
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        let number = self.number.expect("it was asked for");
        self.mw.work(|state| state.keep(number, waker))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            drop(self.mw.act(|state| state.unreserve(number)));
        }
    }
}

impl Reservation {
    /// The slave: what [`Task::slave`](crate::Task::slave) takes, as it takes the reservation itself.
    pub fn id(&self) -> SlaveId {
        self.slave
    }

    /// Ends when the slave is gone, or was freed by its number.
    pub async fn lost(&self) {
        let mut lost = pin!(Lost {
            reservation: self,
            refused: Refused::default(),
        });
        std::future::poll_fn(|cx| {
            passes::poll(&mut *lost, cx, |lost| {
                let Reservation { mw, number, .. } = lost.reservation;
                match mw.work(|state| state.reservation(*number).is_lost) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
        })
        .await;
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reservation").field(&self.slave).finish()
    }
}

impl From<&Reservation> for SlaveId {
    fn from(reservation: &Reservation) -> SlaveId {
        reservation.slave
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        drop(self.mw.act(|state| state.unreserve(self.number)));
    }
}

struct Lost<'r> {
    reservation: &'r Reservation,
    refused: Refused,
}

impl Waits for Lost<'_> {
    fn master(&self) -> &Master {
        &self.reservation.mw
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn has_answer(&self) -> bool {
        let Reservation { mw, number, .. } = self.reservation;
        mw.work(|state| state.look_at(*number).1)
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        let Reservation { mw, number, .. } = self.reservation;
        mw.work(|state| state.keep(*number, waker))
    }
}

impl State {
    pub(crate) fn reserve(&mut self, needs: Vec<String>) -> Number {
        let number = self.core.with_sched(|sched| {
            let needs = match needs.is_empty() {
                true => Needs::NONE,
                false => sched.needs(needs),
            };
            sched.reserve(needs)
        });
        self.reservations.0.insert(number, Waiting::default());
        number
    }

    /// Gives a reservation up; who waited for its loss is dropped where nothing is borrowed.
    pub(crate) fn unreserve(&mut self, number: Number) -> Vec<Waker> {
        self.core.with_sched(|sched| sched.unreserve(number));
        let waiting = self.reservations.0.remove(&number);
        waiting.map(|waiting| waiting.wakers).unwrap_or_default()
    }

    fn reservation(&mut self, number: Number) -> &mut Waiting {
        let waiting = self.reservations.0.get_mut(&number);
        waiting.expect("who asks has it, or waits for it")
    }

    /// The slave of a reservation, and whether it is lost.
    pub(crate) fn look_at(&mut self, number: Number) -> (Option<SlaveId>, bool) {
        let waiting = self.reservation(number);
        (waiting.slave, waiting.is_lost)
    }

    /// How many reservations somebody has or waits for.
    pub(crate) fn reservations(&self) -> usize {
        self.reservations.0.len()
    }

    fn keep(&mut self, number: Number, waker: Waker) -> Option<Waker> {
        let wakers = &mut self.reservation(number).wakers;
        match wakers.iter_mut().find(|known| known.will_wake(&waker)) {
            Some(known) => Some(std::mem::replace(known, waker)),
            None => {
                wakers.push(waker);
                None
            }
        }
    }

    fn on_reserved(&mut self, number: Number, slave: SlaveId) {
        let waiting = self.reservations.0.entry(number).or_default();
        waiting.slave = Some(slave);
        self.core.note(Event::Reserved { slave: slave.0 });
    }

    /// Tells those who wait for a slave, or for its loss.
    #[inline]
    pub(crate) fn tell_reservations(&mut self) {
        if self.core.sched().has_reservation_news() {
            self.tell_news_of_reservations();
        }
    }

    fn tell_news_of_reservations(&mut self) {
        while let Some((number, slave)) = self.core.with_sched(|sched| sched.poll_granted()) {
            // One that was given up has been forgotten.
            if self.reservations.0.contains_key(&number) {
                self.on_reserved(number, slave);
                let wakers = std::mem::take(&mut self.reservation(number).wakers);
                self.woken.extend(wakers);
            }
        }
        while let Some(number) = self.core.with_sched(|sched| sched.poll_ended()) {
            if let Some(waiting) = self.reservations.0.get_mut(&number) {
                waiting.is_lost = true;
                self.woken.append(&mut waiting.wakers);
            }
        }
    }
}
