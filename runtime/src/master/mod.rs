//! The master algorithm's handle, [`Master`], and the driver that serves the slaves whenever the master
//! algorithm awaits anything.
//!
//! | what a master algorithm does | stands in |
//! |---|---|
//! | gives tasks whose ends come back there: `call`, `map`, its `reduce` | [`call`], [`map`], [`reduce`] |
//! | gives a task and converses with it: `converse` | [`converse`] |
//! | gives tasks to the queue: `submit`, `submit_all` | [`submit`] |
//! | takes ends of the queue: `results`; `events` and the `take_`s | [`results`]; [`events`] |
//! | reads an end | [`result`], [`error`] |
//! | takes tasks back: `cancel`, `cancel_tagged`, `cancel_all` | [`cancel`] |
//! | desires slaves and looks at them: `allocate`, `free_slave`, `slaves` | [`groups`] |
//! | has slaves of its own: `reserve`, `try_reserve` | [`reserve`] |
//! | keeps a number of tasks queued: `set_target`, `upto_target` | [`target`] |
//! | saves itself for its next life: `save`, `restore` | [`save`] |
//! | shares data with slaves: `share`, `share_file` | [`share`] |
//! | runs something beside on its thread: `spawn` | [`light`] |
//! | shares an incumbent, runs a heavy sum elsewhere: `minimum`, `blocking` | [`handle`] |
//!
//! Below them [`state`] is what all of these work on, with [`ready`] and [`queue`] for ends that nobody has taken
//! ([`known`]: tasks that an earlier life of the run has the results of; [`unrunnable`]: the queue's unrunnable ones, whose memory is bounded);
//! [`turn`] is the order of one turn, [`driver`] the loop that performs it. [`passes`] is how every future and stream is
//! polled: none starves the run.

mod call;
mod cancel;
mod converse;
pub(crate) mod driver;
mod error;
mod events;
mod groups;
mod handle;
pub(crate) mod known;
mod light;
mod map;
mod passes;
pub(crate) mod publish;
pub(crate) mod queue;
mod ready;
mod reduce;
mod reserve;
mod result;
mod results;
pub(crate) mod save;
mod share;
pub(crate) mod state;
pub(crate) mod submit;
mod target;
pub(crate) mod turn;
mod unrunnable;
pub(crate) mod window;

pub use call::Call;
pub use converse::{Conversation, Heard};
pub use error::{Origin, TaskError, TaskErrorKind};
pub use groups::{Progress, SlaveView};
pub use handle::Master;
pub use light::Light;
pub use map::{Map, Position};
#[cfg(feature = "testing")]
pub(crate) use passes::ANSWERS_UNREAD_MAX;
pub use queue::Events;
pub use reduce::{Reduce, Reduced};
pub use reserve::{Reservation, Reserve};
pub use result::{TaskResult, UnrunnableTask};
pub use results::{Done, Results};
pub use save::StateError;
pub use target::Target;
