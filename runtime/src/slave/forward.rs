//! Tracing events of a slave on their way to its master (`--mw-forward-log`).
//!
//! A process of the slave's own has one slave, whose every event it is; where slaves are threads of one process, an event is
//! that of the thread's slave.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringmw_codec::log::LogLevel;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_core::span::Current;

use crate::io::slave_link::Link;

thread_local! {
    static HERE: RefCell<Weak<Link>> = const { RefCell::new(Weak::new()) };
}

/// The slave that this process is.
static PROCESS: Mutex<Weak<Link>> = Mutex::new(Weak::new());
/// The finest level that any master of this process has asked for.
static FINEST: AtomicU8 = AtomicU8::new(0);
/// A [`ForwardLog`] hears what this process says.
static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// A tracing subscriber that passes a slave's events on to its master, where `--mw-forward-log` asks for them, and gives
/// all that it hears to another subscriber.
///
/// A program without a subscriber of its own needs none of this: a slave whose master asks for logs has one. A program with
/// one wraps it, and sets it before [`App::run`](crate::App::run):
///
/// ```
/// # fn fmt() -> impl tracing::Subscriber + Send + Sync { tracing::subscriber::NoSubscriber::default() }
/// // With tracing-subscriber: tracing_subscriber::fmt().finish()
/// let subscriber = ringmw::ForwardLog::over(fmt());
/// tracing::subscriber::set_global_default(subscriber).unwrap();
/// ```
///
/// The master shows each event as a line of its standard error, which names slave, host and task. A slave says at most
/// 16 KiB of lines a second, behind all else that it has to say; what it leaves out is counted, and told. An event of the
/// master's own process goes to the other subscriber alone.
#[derive(Debug)]
pub struct ForwardLog<S> {
    inner: S,
}

impl<S: Subscriber> ForwardLog<S> {
    /// Passes events on, and gives all that it hears to this subscriber.
    pub fn over(inner: S) -> Self {
        ForwardLog { inner }
    }
}

/// Events go on to this slave's master from here on, if that asks for them. `is_process`: the process is this slave.
pub(super) fn forward(link: &Arc<Link>, is_process: bool) {
    let Some(level) = link.core().log_level() else {
        return;
    };
    if is_process {
        *PROCESS.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(link);
    }
    HERE.with_borrow_mut(|here| *here = Arc::downgrade(link));
    let finer = FINEST.fetch_max(level as u8, Ordering::Relaxed) < level as u8;
    // Nobody else may have one: then this is it. Several slaves of one process may come here at once.
    let _ = tracing::subscriber::set_global_default(ForwardLog::over(NoSubscriber::default()));
    if finer {
        tracing::callsite::rebuild_interest_cache();
    }
    if !IS_HEARD.load(Ordering::Relaxed) {
        let text = "this program has a tracing subscriber of its own: its events come here once it is wrapped, \
                    ringmw::ForwardLog::over(subscriber)";
        say(link, LogLevel::Error, text);
    }
}

fn say(link: &Link, level: LogLevel, text: &str) {
    let mut core = link.core();
    let is_due = core.log(level, text, link.clock.now());
    let has_output = core.has_output();
    drop(core);
    if has_output {
        link.flush();
    }
    if is_due {
        link.looks_again();
    }
}

fn log_level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && log_level(*metadata.level()) as u8 <= FINEST.load(Ordering::Relaxed)
}

/// `target: message key=value ..`
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn pass_on(event: &Event<'_>) {
    let here = HERE.with_borrow(Weak::upgrade);
    let of_process = || {
        let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        process.upgrade()
    };
    let Some(link) = here.or_else(of_process) else {
        return;
    };
    let mut text = Text {
        message: String::new(),
        fields: String::new(),
    };
    event.record(&mut text);
    let metadata = event.metadata();
    let line = format!("{}: {}{}", metadata.target(), text.message, text.fields);
    say(&link, log_level(*metadata.level()), &line);
}

impl<S: Subscriber> Subscriber for ForwardLog<S> {
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        IS_HEARD.store(true, Ordering::Relaxed);
        self.inner.on_register_dispatch(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.inner.register_callsite(metadata);
        match interest.is_never() && metadata.is_event() {
            // Whether somebody asks for it may change.
            true => Interest::sometimes(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata) || self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let finest = match FINEST.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        self.inner.max_level_hint().map(|inner| inner.max(finest))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.inner.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        if is_wanted(event.metadata()) {
            pass_on(event);
        }
        if self.inner.enabled(event.metadata()) && self.inner.event_enabled(event) {
            self.inner.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.inner.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }

    fn current_span(&self) -> Current {
        self.inner.current_span()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it hears from info on.
    struct Counts(Arc<AtomicU8>);

    impl Subscriber for Counts {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::INFO
        }

        fn new_span(&self, _span: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _span: &Id, _values: &Record<'_>) {}

        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

        fn event(&self, _event: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _span: &Id) {}

        fn exit(&self, _span: &Id) {}
    }

    /// The subscriber that is wrapped hears what it would hear alone, and no more.
    #[test]
    fn who_is_wrapped_hears_what_it_always_did() {
        let heard = Arc::default();
        let subscriber = ForwardLog::over(Counts(Arc::clone(&heard)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("news");
            tracing::debug!("a detail");
            tracing::error!(n = 7, "lost");
        });
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
