//! Slaves that the played application reserves, and gives up; what it knows of them is what there is.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_sched::{Reservation, SlaveId};

use crate::testing::script::Script;

/// What the application has reserved, or waits for.
pub(super) struct Reserving {
    rng: ChaCha8Rng,
    all: Vec<(Reservation, Option<SlaveId>)>,
}

impl Reserving {
    pub(super) fn new(rng: ChaCha8Rng) -> Self {
        let all = Vec::new();
        Reserving { rng, all }
    }
}

impl Script {
    /// Reserves some, and gives some up.
    pub(super) fn reserve(&mut self) {
        let Some(mut reserving) = self.reserving.take() else {
            return;
        };
        let (rng, all) = (&mut reserving.rng, &mut reserving.all);
        if self.calm {
            all.drain(..).for_each(|(number, _)| self.unreserve(number));
        } else {
            match rng.random_range(0..6) {
                0 if all.len() < 6 => all.push((self.state.reserve(Vec::new()), None)),
                // Many that are not waited for.
                1 => {
                    let many = (0..rng.random_range(1..40)).map(|_| self.state.reserve(Vec::new()));
                    let many: Vec<_> = many.collect();
                    self.keep_ready();
                    many.into_iter().for_each(|number| self.unreserve(number));
                }
                2 | 3 if !all.is_empty() => {
                    let at = rng.random_range(0..all.len());
                    self.unreserve(all.swap_remove(at).0);
                }
                _ => {}
            }
        }
        self.reserving = Some(reserving);
        self.keep_ready();
    }

    fn unreserve(&mut self, number: Reservation) {
        self.state.tell_reservations();
        self.law.follow(&self.state.core);
        if let (Some(slave), false) = self.state.look_at(number) {
            self.law.on_free(slave, true);
        }
        drop(self.state.unreserve(number));
        self.law.follow(&self.state.core);
    }

    /// What it knows after a turn.
    pub(super) fn check_reserved(&mut self) {
        let Some(reserving) = &mut self.reserving else {
            return;
        };
        let mut looks = Vec::new();
        for (number, slave) in &mut reserving.all {
            let (now, is_lost) = self.state.look_at(*number);
            assert!(
                slave.is_none() || *slave == now,
                "a reservation has another slave"
            );
            *slave = now;
            looks.push((now, is_lost));
        }
        assert_eq!(
            self.state.reservations(),
            looks.len(),
            "reservations that somebody has"
        );
        self.law.check_reserved(&looks, &self.state.core);
    }
}
