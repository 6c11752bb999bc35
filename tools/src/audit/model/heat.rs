//! The heat map: rows of slaves or hosts over time, in bounded memory.

use super::SlaveTime;
use crate::audit::buckets::{Buckets, Cell};
use crate::audit::times::Zone;

/// Rows of a picture.
pub(crate) const HEAT_ROWS_MAX: usize = 400;
/// Hosts that have a row of their own here, so that a picture can put them in order before some share one of its rows;
/// beyond, neighbours share one. With all columns it is 14 MB.
pub(super) const HEAT_HOSTS_MAX: usize = 4000;
const HEAT_COLUMNS_MAX: usize = 300;

/// A part of the heat map: slave time computing, busy and there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Warmth {
    pub(crate) compute_us: f32,
    pub(crate) busy_us: f32,
    pub(crate) present_us: f32,
}

impl Warmth {
    pub(crate) fn add(&mut self, other: Warmth) {
        self.compute_us += other.compute_us;
        self.busy_us += other.busy_us;
        self.present_us += other.present_us;
    }
}

/// A column of the heat map, row by row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column(pub(crate) Vec<Warmth>);

impl Cell for Column {
    fn absorb(&mut self, later: Self) {
        for (row, warmth) in later.0.into_iter().enumerate() {
            self.add(row, warmth);
        }
    }
}

impl Column {
    fn add(&mut self, row: usize, warmth: Warmth) {
        if row >= self.0.len() {
            self.0.resize(row + 1, Warmth::default());
        }
        self.0[row].add(warmth);
    }
}

/// Rows over time.
pub(crate) struct Heat {
    pub(crate) columns: Buckets<Column>,
    /// How many share a row.
    pub(crate) stride: usize,
    rows_max: usize,
}

impl Heat {
    pub(super) fn new(zone: &Zone, rows_max: usize) -> Self {
        Self {
            columns: Buckets::new(None, HEAT_COLUMNS_MAX, zone.clone()),
            stride: 1,
            rows_max,
        }
    }

    pub(super) fn warm(
        &mut self,
        index: usize,
        from_us: i64,
        to_us: i64,
        states: impl Fn(i64, i64) -> SlaveTime,
    ) {
        while index / self.stride >= self.rows_max {
            self.stride *= 2;
            for column in self.columns.iter_mut() {
                let halved = column.0.chunks(2).map(|pair| {
                    let mut sum = Warmth::default();
                    pair.iter().for_each(|&row| sum.add(row));
                    sum
                });
                column.0 = halved.collect();
            }
        }
        let row = index / self.stride;
        self.columns.span(from_us, to_us, |column, from, to| {
            let time = states(from, to);
            let warmth = Warmth {
                compute_us: time.compute_us as f32,
                busy_us: time.busy_us as f32,
                present_us: time.present_us as f32,
            };
            column.add(row, warmth);
        });
    }
}
