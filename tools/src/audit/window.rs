//! The part of the time that is looked at, and what of a span or a sum falls into a part of it.

/// From a time on, to before another; microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) since_us: i64,
    pub(crate) until_us: i64,
}

impl Window {
    /// All times.
    pub(crate) const ALL: Window = Window {
        since_us: i64::MIN,
        until_us: i64::MAX,
    };

    pub(crate) const fn contains(self, us: i64) -> bool {
        self.since_us <= us && us < self.until_us
    }

    /// Whether nothing can lie in it.
    pub(crate) const fn is_empty(self) -> bool {
        self.since_us >= self.until_us
    }

    /// The part of a span that lies inside; an empty one where none does.
    pub(crate) fn clip(self, from_us: i64, to_us: i64) -> (i64, i64) {
        let from_us = from_us.max(self.since_us);
        (from_us, to_us.min(self.until_us).max(from_us))
    }

    /// How long the part inside is.
    pub(crate) fn length(self, from_us: i64, to_us: i64) -> i64 {
        let (from_us, to_us) = self.clip(from_us, to_us);
        to_us - from_us
    }

    /// Whether a span, or the instant that an empty one is, has a part inside.
    pub(crate) const fn meets(self, from_us: i64, to_us: i64) -> bool {
        self.contains(from_us) || (from_us < self.until_us && to_us > self.since_us)
    }
}

/// A number that is spread evenly over a span of time, in whole pieces: however the span is cut, the pieces add up.
///
/// ```text
/// before(x) = floor(amount * (x - from) / (to - from))        a cut from a to b has before(b) - before(a)
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) amount: u64,
}

impl Spread {
    /// What lies before a time.
    fn before(self, us: i64) -> u64 {
        if us >= self.to_us {
            return self.amount;
        }
        if us <= self.from_us {
            return 0;
        }
        let (passed, whole) = (us.abs_diff(self.from_us), self.to_us.abs_diff(self.from_us));
        match self.amount.checked_mul(passed) {
            Some(product) => product / whole,
            None => (u128::from(self.amount) * u128::from(passed) / u128::from(whole)) as u64,
        }
    }

    /// What lies between two times.
    pub(crate) fn between(self, from_us: i64, to_us: i64) -> u64 {
        self.before(to_us) - self.before(from_us.min(to_us))
    }

    /// What lies in a window; all or nothing of what has no length.
    pub(crate) fn within(self, window: Window) -> u64 {
        if self.from_us >= self.to_us {
            return if window.contains(self.to_us) {
                self.amount
            } else {
                0
            };
        }
        let (from_us, to_us) = window.clip(self.from_us, self.to_us);
        self.between(from_us, to_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_however_a_span_is_cut() {
        for amount in [0, 1, 7, 1000, u64::MAX / 3] {
            let spread = Spread {
                from_us: -50,
                to_us: 913,
                amount,
            };
            for step in [1, 3, 100, 5000] {
                let cuts: Vec<i64> = (-200..2000).step_by(step).collect();
                let sum: u64 = cuts
                    .windows(2)
                    .map(|cut| {
                        spread.within(Window {
                            since_us: cut[0],
                            until_us: cut[1],
                        })
                    })
                    .sum();
                assert_eq!(
                    sum,
                    if step == 5000 { 0 } else { amount },
                    "{amount} {step}"
                );
            }
        }
        let instant = Spread {
            from_us: 5,
            to_us: 5,
            amount: 9,
        };
        assert_eq!(
            instant.within(Window {
                since_us: 5,
                until_us: 6
            }),
            9
        );
        assert_eq!(
            instant.within(Window {
                since_us: 4,
                until_us: 5
            }),
            0
        );
    }

    #[test]
    fn spans_are_clipped() {
        let window = Window {
            since_us: 10,
            until_us: 20,
        };
        for (from, to, length, meets) in [
            (0, 5, 0, false),
            (0, 10, 0, false),
            (0, 11, 1, true),
            (12, 15, 3, true),
            (19, 99, 1, true),
            (20, 99, 0, false),
            (10, 10, 0, true),
            (20, 20, 0, false),
            (0, 99, 10, true),
        ] {
            assert_eq!(window.length(from, to), length, "{from} {to}");
            assert_eq!(window.meets(from, to), meets, "{from} {to}");
        }
        assert!(
            Window {
                since_us: 3,
                until_us: 3
            }
            .is_empty()
        );
        assert!(!Window::ALL.is_empty());
    }
}
