//! Panics of tasks, in words.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::proto::trace;
use crate::typed::tag::RunError;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    static TRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where a task panicked, for its failed result; what the default hook prints stays.
pub(crate) fn remember_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info
                .location()
                .map(|place| format!("{}:{}", place.file(), place.line()));
            PLACE.with_borrow_mut(|slot| *slot = place);
            // Captured only where RUST_BACKTRACE asks for it: it takes milliseconds.
            let trace = Backtrace::capture();
            let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
            TRACE.with_borrow_mut(|slot| *slot = trace);
            before(info);
        }));
    });
}

/// What a task's panic comes to: a failed result, or, where the slave could not print, the end of the slave.
pub(super) fn describe_panic(panic: Box<dyn Any + Send>) -> RunError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned());
    // A value that panics when it is dropped ends nobody; what that panics with is not looked at.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    let place = PLACE.with_borrow_mut(Option::take);
    // What std's print macros panic with. Another slave, whose disk is not full, has no such trouble with this task.
    if message.starts_with("failed printing to std") {
        return RunError::Surroundings(message);
    }
    let message = match place {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    };
    RunError::Failed(match TRACE.with_borrow_mut(Option::take) {
        Some(trace) => trace::with_trace(&message, &trace),
        None => message,
    })
}
