//! A simulated slave that has lost its master comes back to its run: what the thread that looks for the next life does, with
//! the very cores.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::control::{Bests, Offer};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::Hello;
use ringmw_codec::secret::{Key, Secret};
use ringmw_sched::Nanos;

use super::io::{Heard, hear};
use super::{Life, SimSlave};
use crate::proto::SECOND;
use crate::proto::config::SlaveConfig;
use crate::proto::incumbents::{Keys, improve};
use crate::proto::slave::{SlaveCore, SlaveEnd};
use crate::testing::net::{Link, Quality};

/// Pauses between two tries are up to this long.
const PAUSE_MAX: Nanos = 3 * SECOND;

/// As long as a real one waits for the answer to its handshake.
const ANSWER_WAIT: Nanos = 60 * SECOND;

/// How a slave comes back.
pub(super) struct Back {
    hello: Hello,
    secret: Option<Secret>,
    /// Since when it has no master.
    since: Option<Nanos>,
    /// When it tries again.
    look_at: Nanos,
    tries: Option<Try>,
    /// The best key that it has offered for each place and that no life has told.
    untold: Keys,
    /// The best key of each place that lives have told: what it has kept may have come of it.
    told: Keys,
    /// And that this life has told.
    told_here: Keys,
    /// It has come back, and has not forgotten yet what former lives told.
    pub(super) must_forget: bool,
}

/// A connection that may become the next master's.
struct Try {
    core: Box<SlaveCore>,
    link: usize,
    out: Vec<u8>,
    written: usize,
    until: Nanos,
    /// Reads what it hears.
    ear: FrameReader,
    heard: Heard,
}

/// What came of a try.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) enum Tried {
    /// It goes on.
    On,
    /// Its connection is of no more use.
    Failed,
    /// The slave is that master's; the link that it had before is of no more use.
    Back(usize),
}

impl SimSlave {
    /// Should it lose its master, it looks for the run's next life.
    pub(in crate::testing) fn comes_back(&mut self, hello: Hello, secret: Option<Secret>) {
        self.core.may_come_back(self.registry.hashes(), None);
        self.back = Some(Box::new(Back {
            hello,
            secret,
            since: None,
            look_at: 0,
            tries: None,
            untold: Keys::new(),
            told: Keys::new(),
            told_here: Keys::new(),
            must_forget: false,
        }));
    }

    /// Its task has offered a key, which it is to say until a life has told it or a better one: this one may have before.
    pub(super) fn owe(&mut self, best: u32, key: u64) {
        if let Some(back) = self.back.as_mut().filter(|_| self.core.end().is_none())
            && back.told_here.get(&best).is_none_or(|told| *told > key)
        {
            improve(&mut back.untold, [(best, key)]);
        }
    }

    /// A life tells these keys.
    pub(super) fn forget_told(&mut self, told: &[(u32, u64)]) {
        if let Some(back) = &mut self.back {
            improve(&mut back.told, told.iter().copied());
            improve(&mut back.told_here, told.iter().copied());
            for (best, key) in told {
                back.untold
                    .retain(|untold, offered| untold != best || *offered < *key);
            }
        }
    }

    /// It has no master, and looks for one.
    pub(in crate::testing) fn is_apart(&self) -> bool {
        self.back.is_some() && self.core.is_apart()
    }

    /// The link on which it tries to come back.
    pub(in crate::testing) fn tries(&self) -> Option<usize> {
        let tries = self.back.as_ref()?.tries.as_ref()?;
        Some(tries.link)
    }

    /// The link that matters to it.
    pub(in crate::testing) fn latest_link(&self) -> usize {
        self.tries().unwrap_or(self.link)
    }

    /// When it looks for its run, or hears of it; `link` is that on which it tries.
    pub(in crate::testing) fn look_due(&self, link: Option<&Link>) -> Nanos {
        let Some(back) = self.back.as_ref().filter(|_| self.is_apart()) else {
            return Nanos::MAX;
        };
        match (&back.tries, link) {
            _ if self.life != Life::Up => Nanos::MAX,
            (Some(tries), Some(link)) => {
                let is_unsaid = tries.core.has_output() || tries.written < tries.out.len();
                let due = match is_unsaid {
                    true => 0,
                    false => tries.until.min(tries.core.next_deadline()),
                };
                due.min(link.down.due().unwrap_or(Nanos::MAX))
                    .max(link.connect_at)
            }
            _ => back.look_at,
        }
    }

    /// What its I/O thread does when its core has just lost the master.
    pub(super) fn part(&mut self, now: Nanos, rng: &mut ChaCha8Rng) {
        let Some(back) = self.back.as_mut().filter(|back| back.since.is_none()) else {
            return;
        };
        back.since = Some(now);
        back.look_at = now + rng.random_range(0..SECOND / 20);
        self.out.clear();
        self.written = 0;
        self.sealed.clear();
        self.unsent.clear();
        self.recalls_open = 0;
    }

    /// It dials on a link.
    pub(in crate::testing) fn dial(&mut self, link: usize, key: Key, now: Nanos) {
        let (run, _, _) = self.core.run().expect("it was welcome once");
        let back = self.back.as_mut().expect("it comes back");
        let mut hello = back.hello.clone();
        hello.about.comes_back_to = run;
        let config = SlaveConfig { hello };
        let mut core = SlaveCore::new(&config, now);
        if let Some(secret) = &back.secret {
            core.set_secret(secret, &config.hello.member_id, key);
        }
        core.set_mentions(self.registry.mentions());
        core.set_timeouts(self.registry.timeouts());
        core.may_come_back(self.registry.hashes(), None);
        back.tries = Some(Try {
            core: Box::new(core),
            link,
            out: Vec::new(),
            written: 0,
            until: now + ANSWER_WAIT,
            ear: FrameReader::new(),
            heard: Heard::default(),
        });
    }

    /// Nobody listens, or what was tried came to nothing: it looks again later, unless its patience is over.
    pub(in crate::testing) fn look_later(&mut self, now: Nanos, rng: &mut ChaCha8Rng) {
        let patience = self.core.patience();
        let back = self.back.as_mut().expect("it comes back");
        back.tries = None;
        back.look_at = now + rng.random_range(SECOND / 20..PAUSE_MAX);
        if back.since.is_some_and(|since| now >= since + patience) {
            self.core.give_up_return(None);
            self.io_at = now;
        }
    }

    /// One round of the thread that looks, while it has a connection.
    pub(in crate::testing) fn try_on(
        &mut self,
        link: &mut Link,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) -> Tried {
        let back = self.back.as_mut().expect("it comes back");
        let tries = back.tries.as_mut().expect("it has dialled");
        while tries.core.welcome().is_none()
            && tries.core.end().is_none()
            && let Some(chunk) = link.down.read(now)
        {
            let (ear, heard) = (&mut tries.ear, &mut tries.heard);
            (tries.core).on_received(&chunk, now, &mut |frames| hear(ear, heard, frames));
        }
        let is_gone = link.down.ended(now).is_some();
        tries.core.on_time(now, 0);
        tries.core.take_output(&mut tries.out, now);
        let offered = &tries.out[tries.written..];
        let taken = link.up.write(offered, now, quality, rng);
        tries.core.on_written(taken, now);
        tries.written += taken;
        if tries.core.welcome().is_some() && tries.written == tries.out.len() {
            let ended = tries.core.end().cloned();
            if ended.is_none() && !tries.core.is_apart() {
                return Tried::Back(self.adopt(now));
            }
            // Told to go with its welcome.
            self.core.give_up_return(ended);
            self.io_at = now;
            return Tried::Failed;
        }
        if let Some(end @ SlaveEnd::Refused(_)) = tries.core.end()
            && !tries.core.may_try_again()
        {
            let end = end.clone();
            self.core.give_up_return(Some(end));
            self.io_at = now;
            return Tried::Failed;
        }
        match tries.core.end().is_some() || is_gone || now >= tries.until {
            true => Tried::Failed,
            false => Tried::On,
        }
    }

    /// It is the next master's; the link that it had.
    fn adopt(&mut self, now: Nanos) -> usize {
        let back = self.back.as_mut().expect("it comes back");
        let mut tries = back.tries.take().expect("it was welcomed");
        back.since = None;
        let former = self.core.run().map(|run| (run.1, run.2.to_vec()));
        let next = tries.core.run().map(|run| (run.1, run.2.to_vec()));
        assert_eq!(
            former, next,
            "a run has its seed and arguments in each life"
        );
        tries.core.go_on(&mut self.core, now);
        self.core = *tries.core;
        self.check_untold();
        self.check_came_of();
        if let Some(back) = &mut self.back {
            back.told_here.clear();
            back.must_forget = true;
        }
        self.forget_told(&tries.heard.told);
        (self.tap, self.ear, self.mouth) = (FrameReader::new(), tries.ear, FrameReader::new());
        self.announced.clear();
        (self.io_at, self.compute_at) = (now, now);
        self.looked = now;
        std::mem::replace(&mut self.link, tries.link)
    }

    /// A life that has told a key has recorded its witness. Of any other nobody else may know.
    fn check_untold(&self) {
        let said = self.unsaid(Kind::Offer);
        let said: Vec<_> = said
            .iter()
            .map(|offer| Offer::decode(offer).expect("a core's own"))
            .collect();
        for (best, key) in self.back.iter().flat_map(|back| &back.untold) {
            let is_said = |offer: &Offer<'_>| offer.best == *best && offer.key <= *key;
            assert!(
                self.lied || said.iter().any(is_said),
                "a slave comes back, and its offer {key} for place {best} is lost"
            );
        }
    }

    /// The next life hears which keys what it has kept may have come of.
    fn check_came_of(&self) {
        let said = self.unsaid(Kind::CameOf);
        let said = said
            .iter()
            .map(|keys| Bests::decode(keys).expect("a core's own"));
        let said: Vec<(u32, u64)> = said.flat_map(|keys| keys.entries).collect();
        for (best, key) in self.back.iter().flat_map(|back| &back.told) {
            assert!(
                self.lied || said.iter().any(|(of, told)| of == best && told <= key),
                "a slave comes back, and does not say that it was told {key} for place {best}"
            );
        }
    }

    /// Says these frames once it is welcome: what it brings of another run.
    pub(in crate::testing) fn brings(&mut self, frames: Vec<u8>) {
        self.brings = frames;
    }

    /// It is welcome, and says what it brings.
    pub(super) fn say_brought(&mut self, now: Nanos) {
        if !self.brings.is_empty() && self.core.welcome().is_some() {
            let frames = std::mem::take(&mut self.brings);
            self.lie(&frames, now);
        }
    }
}
