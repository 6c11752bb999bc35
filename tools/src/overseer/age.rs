//! How old a resource file is. No two machines' clocks are compared, and no clock that somebody may set is read.

use ringmw_codec::Nanos;

/// How long a file has had the content that it has, as far as this process has seen.
#[derive(Debug, Default)]
pub(super) struct Age {
    /// The content, and when it was first seen.
    seen: Option<(Vec<u8>, Nanos)>,
}

impl Age {
    /// The age of this content at `now`, which counts by a clock that only goes forward.
    ///
    /// A master writes its file anew, with another time in it, at least once in its update interval.
    pub(super) fn of(&mut self, now: Nanos, content: &[u8]) -> Nanos {
        match &self.seen {
            Some((seen, since)) if seen == content => now.saturating_sub(*since),
            _ => {
                self.seen = Some((content.to_owned(), now));
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_old_as_it_has_been_unchanged() {
        let mut age = Age::default();
        let rows: [(Nanos, &[u8], Nanos); 6] = [
            (100, b"a", 0),
            (150, b"a", 50),
            (160, b"b", 0),
            (900, b"b", 740),
            // As an earlier one, which it is not.
            (901, b"a", 0),
            (910, b"a", 9),
        ];
        for (now, content, expected) in rows {
            assert_eq!(age.of(now, content), expected, "at {now}");
        }
    }
}
