//! Sums by interval of time, in bounded memory: where the intervals would be too many they are merged into longer ones.

use std::collections::VecDeque;

use super::times::Zone;

const MS_US: i64 = 1000;
const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Widths that read well; each is a multiple of the one before.
const LADDER_US: [i64; 18] = [
    MS_US,
    5 * MS_US,
    10 * MS_US,
    50 * MS_US,
    100 * MS_US,
    500 * MS_US,
    SECOND_US,
    5 * SECOND_US,
    10 * SECOND_US,
    30 * SECOND_US,
    60 * SECOND_US,
    300 * SECOND_US,
    600 * SECOND_US,
    1800 * SECOND_US,
    HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    24 * HOUR_US,
];
/// With a width that was asked for, so many intervals.
const ASKED_MAX: usize = 100_000;

/// What an interval holds.
pub(crate) trait Cell: Default {
    /// Takes in the interval that follows.
    fn absorb(&mut self, later: Self);
}

/// Where intervals begin: at multiples of their width on the clock on the wall.
///
/// From six hours on an interval is a part of a local day, or whole local days: on a day when the clocks change it is
/// an hour shorter or longer. Shorter ones all have one length; they are laid to the offset that the zone has at the
/// first time seen, and clocks change by whole hours.
#[derive(Debug, Clone)]
struct Grid {
    zone: Zone,
    /// Offset of short intervals, once it is known.
    offset_us: Option<i64>,
    /// The interval asked for last: number, start and end.
    last: (i64, i64, i64),
}

impl Grid {
    fn new(zone: Zone) -> Self {
        Self {
            zone,
            offset_us: None,
            last: (0, 0, 0),
        }
    }

    const fn is_of_days(width_us: i64) -> bool {
        width_us >= 6 * HOUR_US && (DAY_US % width_us == 0 || width_us % DAY_US == 0)
    }

    /// The number of the interval that holds a time.
    fn number(&mut self, us: i64, width_us: i64) -> i64 {
        if self.last.1 <= us && us < self.last.2 {
            return self.last.0;
        }
        let wall_us = match Self::is_of_days(width_us) {
            true => us.saturating_add(self.zone.offset_us(us)),
            false => {
                let zone = &self.zone;
                us.saturating_add(*self.offset_us.get_or_insert_with(|| zone.offset_us(us)))
            }
        };
        let number = wall_us.div_euclid(width_us);
        self.last = (
            number,
            self.start(number, width_us),
            self.start(number + 1, width_us),
        );
        number
    }

    /// When an interval begins.
    fn start(&self, number: i64, width_us: i64) -> i64 {
        let wall_us = number.saturating_mul(width_us);
        match Self::is_of_days(width_us) {
            true => self.zone.clone().of_wall(wall_us),
            false => wall_us.saturating_sub(self.offset_us.unwrap_or(0)),
        }
    }

    fn forget(&mut self) {
        self.last = (0, 0, 0);
    }
}

/// Intervals of one width, without a gap.
#[derive(Debug, Clone)]
pub(crate) struct Buckets<C> {
    width_us: i64,
    cells_max: usize,
    is_asked: bool,
    /// The number of the first interval.
    first: i64,
    cells: VecDeque<C>,
    grid: Grid,
}

impl<C: Cell> Buckets<C> {
    /// Intervals of the width asked for, or of the shortest that keeps them at most `cells_max`.
    pub(crate) fn new(asked_us: Option<i64>, cells_max: usize, zone: Zone) -> Self {
        Self {
            width_us: asked_us.unwrap_or(LADDER_US[0]).max(1),
            cells_max: if asked_us.is_some() {
                ASKED_MAX
            } else {
                cells_max
            },
            is_asked: asked_us.is_some(),
            first: 0,
            cells: VecDeque::new(),
            grid: Grid::new(zone),
        }
    }

    pub(crate) const fn width_us(&self) -> i64 {
        self.width_us
    }

    /// The interval that holds a time.
    pub(crate) fn at(&mut self, us: i64) -> &mut C {
        if self.cells.is_empty() {
            self.first = self.grid.number(us, self.width_us);
            self.cells.push_back(C::default());
        }
        loop {
            let index = self.grid.number(us, self.width_us) - self.first;
            if (0..self.cells.len() as i64).contains(&index) {
                return &mut self.cells[index as usize];
            }
            let needed = index.max(self.cells.len() as i64 - 1) - index.min(0) + 1;
            if needed > self.cells_max as i64 {
                self.widen();
                continue;
            }
            for _ in index..0 {
                self.cells.push_front(C::default());
                self.first -= 1;
            }
            let index = index.max(0) as usize;
            if index >= self.cells.len() {
                self.cells.resize_with(index + 1, C::default);
            }
        }
    }

    /// Hands every interval that a span of time meets its part of the span, which is from a time to a time.
    pub(crate) fn span(&mut self, from_us: i64, to_us: i64, mut add: impl FnMut(&mut C, i64, i64)) {
        if to_us <= from_us {
            return;
        }
        // Whatever must be merged is merged before the width is used.
        self.at(from_us);
        self.at(to_us - 1);
        let mut us = from_us;
        while us < to_us {
            self.at(us);
            let end_us = self.grid.last.2.min(to_us).max(us + 1);
            add(self.at(us), us, end_us);
            us = end_us;
        }
    }

    /// Merges until an interval is at least so long, unless its length was asked for.
    pub(crate) fn widen_to(&mut self, width_us: i64) {
        while self.width_us < width_us && !self.is_asked {
            self.widen();
        }
    }

    fn widen(&mut self) {
        let next = LADDER_US
            .iter()
            .copied()
            .find(|&width_us| width_us > self.width_us);
        let width_us = match next {
            Some(next) if !self.is_asked => next,
            _ => self.width_us.saturating_mul(2),
        };
        // An interval may be one of another kind than before: it goes where its own start lies.
        let starts: Vec<i64> = self.iter().map(|(us, _)| us).collect();
        let mut cells: VecDeque<C> = VecDeque::new();
        let mut first = None;
        self.grid.forget();
        for (us, cell) in starts.into_iter().zip(std::mem::take(&mut self.cells)) {
            let number = self.grid.number(us, width_us);
            let index = (number - *first.get_or_insert(number)).max(0) as usize;
            while index >= cells.len() {
                cells.push_back(C::default());
            }
            cells[index].absorb(cell);
        }
        self.cells = cells;
        self.first = first.unwrap_or(0);
        self.width_us = width_us;
        self.grid.forget();
    }

    /// The start of each interval, and what it holds.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &C)> + ExactSizeIterator {
        self.cells
            .iter()
            .enumerate()
            .map(|(index, cell)| (self.start(index), cell))
    }

    fn start(&self, index: usize) -> i64 {
        self.grid.start(self.first + index as i64, self.width_us)
    }

    /// When the last interval ends.
    pub(crate) fn end_us(&self) -> i64 {
        self.start(self.cells.len())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.cells.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cell for i64 {
        fn absorb(&mut self, later: Self) {
            *self += later;
        }
    }

    fn utc() -> Zone {
        Zone::parse("UTC").expect("a zone")
    }

    /// In Berlin, 2026-03-29 has 23 hours and 2026-10-25 has 25; in Kolkata hours begin half an hour beside UTC's.
    #[test]
    fn days_are_local_and_as_long_as_they_are() {
        for (zone, first, hours) in [
            ("Europe/Berlin", "2026-03-28T00:00:00+01:00", [24, 23, 24]),
            ("Europe/Berlin", "2026-10-24T00:00:00+02:00", [24, 25, 24]),
            ("Asia/Kolkata", "2026-03-28T00:00:00+05:30", [24, 24, 24]),
        ] {
            let zone = Zone::parse(zone).expect("zone files are here");
            let start = first
                .parse::<jiff::Timestamp>()
                .expect("a time")
                .as_microsecond();
            let mut buckets = Buckets::<i64>::new(Some(DAY_US), 10, zone.clone());
            let whole: i64 = hours.iter().sum();
            buckets.span(start, start + whole * HOUR_US, |cell, from, to| {
                *cell += to - from
            });
            let found: Vec<i64> = buckets.iter().map(|(_, us)| us / HOUR_US).collect();
            assert_eq!(found, hours, "{first}");
            assert_eq!(
                buckets.iter().next().map(|(us, _)| us),
                Some(start),
                "{first}"
            );
            // An hour's interval begins at the full hour, and has an hour on every day.
            let mut buckets = Buckets::<i64>::new(Some(HOUR_US), 10, zone.clone());
            buckets.span(start + 1, start + whole * HOUR_US, |cell, from, to| {
                *cell += to - from
            });
            assert_eq!(buckets.iter().len() as i64, whole, "{first}");
            assert_eq!(
                buckets.iter().next().map(|(us, _)| us),
                Some(start),
                "{first}"
            );
            assert!(
                buckets.iter().skip(1).all(|(_, &us)| us == HOUR_US),
                "{first}"
            );
            // Merged on the way, and still local.
            let mut buckets = Buckets::<i64>::new(None, 4, zone);
            for hour in 0..whole {
                *buckets.at(start + hour * HOUR_US) += 1;
            }
            let found: Vec<i64> = buckets.iter().map(|(_, &count)| count).collect();
            assert_eq!(found, hours, "{first}");
        }
    }

    #[test]
    fn nothing_is_lost_whatever_is_merged() {
        let mut buckets = Buckets::<i64>::new(None, 60, utc());
        let mut us = 1_795_161_783_000_000;
        let (mut sum, mut spanned) = (0, 0);
        for step in 0..2000i64 {
            *buckets.at(us) += step;
            sum += step;
            let next = us + step * step * 31;
            buckets.span(us, next, |cell, from, to| *cell += to - from);
            spanned += next - us;
            us = next;
        }
        // And backwards, as with several files.
        *buckets.at(us - 40 * 24 * HOUR_US) += 5;
        assert_eq!(
            buckets.iter().map(|(_, cell)| cell).sum::<i64>(),
            sum + spanned + 5
        );
        assert!(buckets.iter().len() <= 60);
        assert_eq!(buckets.width_us(), 24 * HOUR_US);
    }

    #[test]
    fn a_width_that_was_asked_for_is_kept() {
        let mut buckets = Buckets::<i64>::new(Some(7 * SECOND_US), 10, utc());
        for second in 0..700 {
            *buckets.at(second * SECOND_US) += 1;
        }
        assert_eq!(
            (buckets.width_us(), buckets.iter().len()),
            (7 * SECOND_US, 100)
        );
        assert!(buckets.iter().all(|(_, &count)| count == 7));
        *buckets.at(i64::MAX / 2) += 1;
        assert!(buckets.iter().len() <= ASKED_MAX);
    }
}
