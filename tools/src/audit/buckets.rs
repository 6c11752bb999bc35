//! Sums by interval of time, in bounded memory: where the intervals would be too many they are merged into longer ones.

use std::collections::VecDeque;

const MS_US: i64 = 1000;
const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;

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

/// Intervals of one width, without a gap.
#[derive(Debug, Clone)]
pub(crate) struct Buckets<C> {
    width_us: i64,
    cells_max: usize,
    is_asked: bool,
    /// The number of the first interval: its start over the width.
    first: i64,
    cells: VecDeque<C>,
}

impl<C: Cell> Buckets<C> {
    /// Intervals of the width asked for, or of the shortest that keeps them at most `cells_max`.
    pub(crate) fn new(asked_us: Option<i64>, cells_max: usize) -> Self {
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
        }
    }

    pub(crate) const fn width_us(&self) -> i64 {
        self.width_us
    }

    /// The interval that holds a time.
    pub(crate) fn at(&mut self, us: i64) -> &mut C {
        if self.cells.is_empty() {
            self.first = us.div_euclid(self.width_us);
            self.cells.push_back(C::default());
        }
        loop {
            let index = us.div_euclid(self.width_us) - self.first;
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
            return &mut self.cells[index];
        }
    }

    /// Spreads a span of time over its intervals: each is given its share.
    pub(crate) fn span(&mut self, from_us: i64, to_us: i64, mut add: impl FnMut(&mut C, i64)) {
        if to_us <= from_us {
            return;
        }
        // Whatever must be merged is merged before the width is used.
        self.at(from_us);
        self.at(to_us - 1);
        let mut us = from_us;
        while us < to_us {
            let end_us = (us.div_euclid(self.width_us) + 1)
                .saturating_mul(self.width_us)
                .min(to_us);
            add(self.at(us), end_us - us);
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
        let factor = match next {
            Some(next) if !self.is_asked => next / self.width_us,
            _ => 2,
        };
        let mut cells: VecDeque<C> = VecDeque::new();
        let first = self.first.div_euclid(factor);
        for (offset, cell) in std::mem::take(&mut self.cells).into_iter().enumerate() {
            let index = ((self.first + offset as i64).div_euclid(factor) - first) as usize;
            if index < cells.len() {
                cells[index].absorb(cell);
            } else {
                cells.push_back(cell);
            }
        }
        self.cells = cells;
        self.first = first;
        self.width_us = self.width_us.saturating_mul(factor);
    }

    /// The start of each interval, and what it holds.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &C)> + ExactSizeIterator {
        let (first, width_us) = (self.first, self.width_us);
        self.cells
            .iter()
            .enumerate()
            .map(move |(index, cell)| ((first + index as i64) * width_us, cell))
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

    #[test]
    fn nothing_is_lost_whatever_is_merged() {
        let mut buckets = Buckets::<i64>::new(None, 60);
        let mut us = 1_795_161_783_000_000;
        let (mut sum, mut spanned) = (0, 0);
        for step in 0..2000i64 {
            *buckets.at(us) += step;
            sum += step;
            let next = us + step * step * 31;
            buckets.span(us, next, |cell, share| *cell += share);
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
        let mut buckets = Buckets::<i64>::new(Some(7 * SECOND_US), 10);
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
