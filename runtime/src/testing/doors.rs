//! Slaves that listen: the master of the world dials them, and so do other masters and strangers.
//!
//! Who has a slave, and when it is dialled, say the cores that ship ([`Listening`], [`Dialling`]); here is what they are told,
//! and an observer that holds them to what they promise. The world's own connections are links like all others; of other
//! masters and of strangers only what such a slave sees is played.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::Nanos;

use crate::proto::SECOND;
use crate::proto::dialling::{Dialling, GOOD_AFTER};
use crate::proto::listening::{Door, Listening, PENDING_MAX, Peer, Welcomed};
use crate::proto::pauses::Pauses;

/// A host whose slave listens.
#[derive(Default)]
struct Host {
    /// Its process; none: nobody listens there until then.
    life: Option<Life>,
    up_at: Nanos,
    /// The world's master's connection, and how long it has had it; none: it dials again then.
    connected: Option<(usize, Nanos)>,
    dial_at: Nanos,
    /// The last pause between two dials, before what was drawn of it.
    pause: Option<Nanos>,
}

/// One life of a slave that listens.
struct Life {
    listening: Listening,
    next: Peer,
    /// What the observer knows: who is under way, who has it, and until when masters may come.
    pending: Vec<Peer>,
    serves: Option<Peer>,
    until: Option<Nanos>,
    /// The world's own slave, by its key, and its place here.
    own: Option<(usize, Peer)>,
}

/// What others do.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// One dials who knows the secret, or one who does not.
    Dials { is_master: bool },
    /// One's handshake is through: how long he stays.
    Proves(Peer, Nanos),
    /// One is gone.
    Goes(Peer),
}

pub(super) struct Doors {
    /// Apart from all other draws.
    rng: ChaCha8Rng,
    dialling: Dialling,
    first: Nanos,
    longest: Nanos,
    /// How long one that has lost its master waits for the next.
    wait: Nanos,
    hosts: Vec<Host>,
    /// At which host what happens when; of a life that is over nothing does.
    moves: Vec<(Nanos, usize, Move)>,
    /// Masters of the world and others that had a slave, and who was turned away.
    pub(super) served: (u64, u64),
    pub(super) turned_away: u64,
    calm: bool,
}

/// What the world has to do.
pub(super) enum Act {
    /// A slave joins, for the host at this place.
    Join(usize),
    /// This slave's connection is closed by its process.
    Kill(usize),
}

impl Doors {
    pub(super) fn new(seed: u64, wait: Nanos) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x00d0_0125);
        let many = rng.random_range(1..4);
        let first = rng.random_range(SECOND / 20..SECOND);
        let longest = first * rng.random_range(1..12);
        let pauses = Pauses::new(Duration::from_nanos(first), Duration::from_nanos(longest));
        let mut doors = Doors {
            dialling: Dialling::new(many, &pauses),
            first,
            longest,
            wait,
            hosts: Vec::new(),
            moves: Vec::new(),
            served: (0, 0),
            turned_away: 0,
            calm: false,
            rng,
        };
        for place in 0..many {
            let up_at = doors.rng.random_range(0..2 * SECOND);
            doors.hosts.push(Host {
                up_at,
                ..Host::default()
            });
            doors.somebody_comes(place, 0);
        }
        doors
    }

    /// Others dial no more.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
    }

    pub(super) fn due(&self) -> Nanos {
        let moves = self.moves.iter().map(|next| next.0);
        let hosts = self.hosts.iter().filter_map(|host| match &host.life {
            None => Some(host.up_at),
            Some(life) if !life.pending.is_empty() => None,
            Some(life) => life.listening.until(),
        });
        let due = moves.chain(hosts).chain(self.dialling.due()).min();
        due.unwrap_or(Nanos::MAX)
    }

    /// Somebody will dial this host, often others with him.
    fn somebody_comes(&mut self, place: usize, now: Nanos) {
        let at = now + self.rng.random_range(0..8 * SECOND);
        // Now and then so many at once that somebody has to give way.
        let many = match self.rng.random_range(0..8) {
            0 => PENDING_MAX + 2,
            1..3 => 2,
            _ => 1,
        };
        for _ in 0..many {
            let is_master = many < PENDING_MAX && self.rng.random_range(0..3) > 0;
            self.moves.push((at, place, Move::Dials { is_master }));
        }
    }

    /// All that is due. `has_welcome` and `is_gone` tell of the world's own slaves, `is_closed` of its master's connections.
    pub(super) fn step(
        &mut self,
        now: Nanos,
        is_gone: &dyn Fn(usize) -> bool,
        has_welcome: &dyn Fn(usize) -> bool,
        is_closed: &dyn Fn(usize) -> bool,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        for place in 0..self.hosts.len() {
            self.look_at_process(place, now, &mut acts);
            self.look_at_own(place, now, is_gone, has_welcome, &mut acts);
            if let Some((link, _)) = self.hosts[place].connected
                && is_closed(link)
            {
                self.ended(place, now);
            }
        }
        while let Some(at) = self.moves.iter().position(|next| next.0 <= now) {
            let (_, place, what) = self.moves.swap_remove(at);
            self.make(place, what, now, &mut acts);
        }
        while let Some(place) = self.dialling.next(now) {
            self.dial(place, now, &mut acts);
        }
        for (place, host) in self.hosts.iter().enumerate() {
            assert!(
                host.connected.is_some() || now <= host.dial_at,
                "the slave at place {place} was to be dialled {} ms ago",
                (now - host.dial_at) / 1_000_000
            );
        }
        acts
    }

    /// A process begins where there was none; one whose time is over ends.
    fn look_at_process(&mut self, place: usize, now: Nanos, acts: &mut Vec<Act>) {
        let host = &mut self.hosts[place];
        match &host.life {
            None if host.up_at <= now => host.life = Some(Life::new(None)),
            Some(life) if life.listening.is_over(now) => {
                let is_late = life.until.is_some_and(|until| now >= until);
                assert!(
                    is_late && life.serves.is_none() && life.pending.is_empty(),
                    "the slave at place {place} ends before its time is over"
                );
                self.end(place, now, acts);
            }
            _ => {}
        }
    }

    fn end(&mut self, place: usize, now: Nanos, acts: &mut Vec<Act>) {
        let life = self.hosts[place].life.take();
        // What was under way ends with its process.
        if let Some((slave, _)) = life.and_then(|life| life.own) {
            acts.push(Act::Kill(slave));
        }
        self.hosts[place].up_at = now + self.rng.random_range(1..5 * SECOND);
        // Whatever others had under way there is over.
        self.moves
            .retain(|(_, at, what)| *at != place || matches!(what, Move::Dials { .. }));
    }

    /// Its master is gone: another life begins in its place, or the process ends.
    fn next_life(&mut self, place: usize, now: Nanos, acts: &mut Vec<Act>) {
        self.end(place, now, acts);
        if self.rng.random_range(0..4) > 0 {
            let until = now + self.rng.random_range(1..=self.wait);
            self.hosts[place].life = Some(Life::new(Some(until)));
        }
    }

    /// What has become of the world's own slave at this host.
    fn look_at_own(
        &mut self,
        place: usize,
        now: Nanos,
        is_gone: &dyn Fn(usize) -> bool,
        has_welcome: &dyn Fn(usize) -> bool,
        acts: &mut Vec<Act>,
    ) {
        let Some(life) = &mut self.hosts[place].life else {
            return;
        };
        let Some((slave, peer)) = life.own else {
            return;
        };
        if is_gone(slave) {
            life.own = None;
            if life.serves == Some(peer) {
                self.next_life(place, now, acts);
            } else {
                life.is_gone(peer);
            }
        } else if life.serves != Some(peer) && has_welcome(slave) {
            match life.welcome(peer, now) {
                true => self.served.0 += 1,
                false => acts.push(Act::Kill(slave)),
            }
        }
    }

    /// The world's master dials.
    fn dial(&mut self, place: usize, now: Nanos, acts: &mut Vec<Act>) {
        let host = &mut self.hosts[place];
        assert!(
            host.connected.is_none(),
            "the slave at place {place} is dialled while it is connected"
        );
        assert!(
            now >= host.dial_at,
            "the slave at place {place} is dialled {} ms too early",
            (host.dial_at - now) / 1_000_000
        );
        let knocked = host.life.as_mut().and_then(|life| life.knock(now));
        let Some((door, peer, gives_way)) = knocked else {
            return self.ended(place, now);
        };
        self.displaced(place, gives_way, acts);
        self.dialling.on_connected(place, now);
        match door {
            Door::Open => {
                let life = self.hosts[place].life.as_mut().expect("it has opened");
                // The world makes the slave, and tells its key.
                life.own = Some((usize::MAX, peer));
                self.hosts[place].connected = Some((usize::MAX, now));
                acts.push(Act::Join(place));
            }
            Door::TurnAway(_) => {
                self.turned_away += 1;
                let life = self.hosts[place].life.as_mut().expect("it has opened");
                life.is_gone(peer);
                self.hosts[place].connected = Some((usize::MAX, now));
                self.ended(place, now);
            }
        }
    }

    /// The world has made the slave that [`Act::Join`] asked for.
    pub(super) fn on_joined(&mut self, place: usize, slave: usize, link: usize) {
        let host = &mut self.hosts[place];
        let own = host.life.as_mut().and_then(|life| life.own.as_mut());
        own.expect("it was asked for").0 = slave;
        host.connected.as_mut().expect("it is connected").0 = link;
    }

    /// Nobody has answered the world's master, or its connection is over: it pauses.
    fn ended(&mut self, place: usize, now: Nanos) {
        let draw = self.rng.random();
        let pause = self.dialling.on_ended(place, now, draw);
        let host = &mut self.hosts[place];
        let was_good = match host.connected.take() {
            Some((_, since)) => now - since >= GOOD_AFTER,
            None => false,
        };
        let whole = match host.pause.filter(|_| !was_good) {
            Some(last) => (2 * last).min(self.longest),
            None => self.first,
        };
        assert!(
            (whole / 2..=whole).contains(&pause),
            "the slave at place {place} is dialled after {pause} ns, which is not between the half and the whole of {whole}"
        );
        (host.pause, host.dial_at) = (Some(whole), now + pause);
    }

    fn displaced(&self, place: usize, gives_way: Option<Peer>, acts: &mut Vec<Act>) {
        let life = self.hosts[place].life.as_ref();
        let own = life.and_then(|life| life.own);
        if let Some((slave, peer)) = own
            && gives_way == Some(peer)
        {
            acts.push(Act::Kill(slave));
        }
    }

    /// What somebody else does.
    fn make(&mut self, place: usize, what: Move, now: Nanos, acts: &mut Vec<Act>) {
        if let Move::Dials { .. } = what
            && !self.calm
            && !self
                .moves
                .iter()
                .any(|next| next.1 == place && matches!(next.2, Move::Dials { .. }))
        {
            self.somebody_comes(place, now);
        }
        let Some(life) = &mut self.hosts[place].life else {
            return;
        };
        match what {
            Move::Dials { is_master } => {
                let Some((door, peer, gives_way)) = life.knock(now) else {
                    return;
                };
                let soon = now + self.rng.random_range(1..10 * SECOND);
                let next = match (door, is_master) {
                    (Door::Open, true) => {
                        let proves = now + self.rng.random_range(1..SECOND);
                        (proves, place, Move::Proves(peer, soon))
                    }
                    (Door::Open, false) => (soon, place, Move::Goes(peer)),
                    (Door::TurnAway(until), _) => {
                        self.turned_away += 1;
                        (until.min(soon), place, Move::Goes(peer))
                    }
                };
                self.moves.push(next);
                self.displaced(place, gives_way, acts);
            }
            Move::Proves(peer, until) => {
                if life.pending.contains(&peer) {
                    if life.welcome(peer, now) {
                        self.served.1 += 1;
                    }
                    self.moves
                        .push((until.max(now + 1), place, Move::Goes(peer)));
                }
            }
            Move::Goes(peer) if life.serves == Some(peer) => self.next_life(place, now, acts),
            Move::Goes(peer) => life.is_gone(peer),
        }
    }
}

impl Life {
    fn new(until: Option<Nanos>) -> Self {
        Life {
            listening: Listening::new(until),
            next: 0,
            pending: Vec::new(),
            serves: None,
            until,
            own: None,
        }
    }

    /// Somebody dials: what is done with him, his number and who gives way; none where the door is shut.
    fn knock(&mut self, now: Nanos) -> Option<(Door, Peer, Option<Peer>)> {
        let is_late = self.serves.is_none() && self.until.is_some_and(|until| now >= until);
        let takes = self.listening.takes_dials(now);
        assert_eq!(takes, !is_late, "dials are taken until the time is over");
        if !takes {
            return None;
        }
        self.next += 1;
        let peer = self.next;
        let (door, gives_way) = self.listening.on_dialled(peer, now);
        let oldest = (self.pending.len() >= PENDING_MAX).then(|| self.pending.remove(0));
        assert_eq!(gives_way, oldest, "the oldest gives way");
        assert_eq!(
            door == Door::Open,
            self.serves.is_none(),
            "a handshake begins with a slave that is free"
        );
        self.pending.push(peer);
        self.agree();
        Some((door, peer, gives_way))
    }

    /// Somebody's handshake is through: whether he has the slave.
    fn welcome(&mut self, peer: Peer, now: Nanos) -> bool {
        let has_it = matches!(self.listening.on_welcomed(peer, now), Welcomed::Serves(_));
        assert_eq!(
            has_it,
            self.serves.is_none(),
            "of several masters one has the slave"
        );
        self.pending.retain(|other| *other != peer);
        if has_it {
            self.serves = Some(peer);
        }
        self.agree();
        has_it
    }

    fn is_gone(&mut self, peer: Peer) {
        self.listening.on_gone(peer);
        self.pending.retain(|other| *other != peer);
        self.agree();
    }

    /// Those whom the slave would tell that it is another's are those who are there.
    fn agree(&self) {
        let pending: Vec<Peer> = self.listening.pending().collect();
        assert_eq!(pending, self.pending, "who is under way with the slave");
    }
}
