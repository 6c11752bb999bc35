//! What a running task asks of its slave, and offers: it goes over the slave's connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmw_sched::Nanos;

use crate::io::slave_link::Link;
use crate::proto::incumbents::OfferSink;
use crate::proto::slave::{SlaveCore, Talked};
use crate::typed::host::Host;

/// What a running task asks goes over its slave's connection.
pub(super) struct OnLink(pub(super) Arc<Link>);

impl Host for OnLink {
    fn asks_hungry(&self) {
        self.0.core().asks_hungry();
        if self.0.core().has_output() {
            self.0.flush();
        }
    }

    fn makes_checkpoints(&self) {
        self.0.core().makes_checkpoints(self.0.clock.now());
        self.0.publish_due();
        self.0.wakes_earlier();
    }

    fn checkpoint_is_due(&self) -> bool {
        self.0.checkpoint_due.load(Ordering::Relaxed)
    }

    fn checkpoint(&self, draws: u128, state_type: u64, state: &[u8]) {
        let now = self.0.clock.now();
        let made = self.0.core().checkpoint(draws, state_type, state, now);
        if let Err(reason) = made {
            panic!("{reason}");
        }
        self.0.publish_due();
        self.0.flush();
        if self.0.core().end().is_some() {
            // The slave was told to go, and that was what it waited for.
            self.0.wake_io();
        }
    }

    fn progress(&self, done: u64, total: u64) {
        let mut core = self.0.core();
        let waits = core.progress(done, total, self.0.clock.now());
        let has_output = core.has_output();
        drop(core);
        if waits {
            self.0.wakes_earlier();
        }
        if has_output {
            self.0.flush();
        }
    }

    fn is_open(&self) -> bool {
        self.0.core().is_open()
    }

    fn say(&self, message: Vec<u8>) -> Result<bool, String> {
        let said = self.talk(Nanos::MAX, |core| match core.say(&message) {
            Ok(Talked::Now(is_said)) => Talked::Now(Ok(is_said)),
            Ok(Talked::Wait) => Talked::Wait,
            Err(reason) => Talked::Now(Err(reason)),
        });
        said.unwrap_or(Ok(false))
    }

    fn hear(&self, timeout: Option<Duration>) -> Option<Vec<u8>> {
        let until = timeout.map_or(Nanos::MAX, |timeout| match timeout.is_zero() {
            true => 0,
            false => {
                let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                self.0.clock.now().saturating_add(timeout)
            }
        });
        let heard = self.talk(until, SlaveCore::hear)?;
        heard.map(|message| message.to_vec())
    }
}

impl OnLink {
    /// What the core gives, once it gives it; until this time the connection is served meanwhile.
    fn talk<T>(&self, until: Nanos, mut ask: impl FnMut(&mut SlaveCore) -> Talked<T>) -> Option<T> {
        let mut ask = |core: &mut SlaveCore| match ask(core) {
            Talked::Now(value) => Some(value),
            Talked::Wait => None,
        };
        let mut given = ask(&mut self.0.core());
        if given.is_none() && self.0.clock.now() < until {
            self.0.serve_until(until, |core, _| {
                given = ask(core);
                given.is_some()
            });
        }
        let has_output = self.0.core().has_output();
        if has_output {
            self.0.flush();
        }
        given
    }
}

pub(super) fn offers(link: &Arc<Link>) -> Arc<dyn OfferSink> {
    struct Offers(Arc<Link>);
    impl OfferSink for Offers {
        fn offer(&self, best: u32, image: u64, witness: &[u8]) {
            let offered = self.0.core().offer(best, image, witness);
            if let Err(reason) = offered {
                // Caught with the task's own panics: a failed result with this message.
                panic!("{reason}");
            }
            self.0.flush();
        }
    }
    Arc::new(Offers(Arc::clone(link)))
}
