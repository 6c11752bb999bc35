//! Compute times by algorithm, as slaves reported them: the mean, and the median.

use crate::config::PACKET_COMPUTE;
use crate::ids::{AlgorithmId, Nanos};

/// The weight of a new compute time in the mean is one in so many.
const MEMORY: u64 = 16;

/// A median is known with at least so many results.
const RESULTS_MIN: u64 = 5;

/// Four classes an octave: a median within a fifth.
const CLASSES: usize = 4 * 64;

/// What is known of compute times.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// The mean by algorithm; `None` until a first result.
    means: Vec<Option<Nanos>>,
    /// All by algorithm, where stragglers are duplicated; else empty.
    histograms: Vec<Histogram>,
}

impl Times {
    pub(crate) fn new(algorithms: usize, with_medians: bool) -> Self {
        Times {
            means: vec![None; algorithms],
            histograms: vec![Histogram::NONE; if with_medians { algorithms } else { 0 }],
        }
    }

    pub(crate) fn learn(
        &mut self,
        algorithm: AlgorithmId,
        tasks: u32,
        together: Nanos,
        each: impl IntoIterator<Item = Nanos>,
    ) {
        if let Some(histogram) = self.histograms.get_mut(usize::from(algorithm.0)) {
            each.into_iter().for_each(|compute| histogram.add(compute));
        }
        let compute = together / u64::from(tasks.max(1));
        let mean = &mut self.means[usize::from(algorithm.0)];
        *mean = Some(mean.map_or(compute, |known| weigh(known, compute, tasks)));
    }

    /// What a task of this algorithm takes of a packet's compute; one whose time is not known fills it.
    pub(crate) fn cost(&self, algorithm: AlgorithmId) -> Nanos {
        self.known(algorithm).unwrap_or(PACKET_COMPUTE)
    }

    /// The mean compute time of this algorithm.
    pub(crate) fn known(&self, algorithm: AlgorithmId) -> Option<Nanos> {
        self.means[usize::from(algorithm.0)]
    }

    /// The median compute time of this algorithm.
    pub(crate) fn median(&self, algorithm: AlgorithmId) -> Option<Nanos> {
        self.histograms.get(usize::from(algorithm.0))?.median()
    }
}

/// What is known, with so many more that took so long each.
#[inline]
fn weigh(known: Nanos, compute: Nanos, tasks: u32) -> Nanos {
    let left = LEFT[(tasks as usize).min(LEFT.len() - 1)];
    let apart = |further: Nanos, near: Nanos| {
        let apart = u128::from(further - near) * u128::from(left);
        (apart >> LEFT_BITS) as Nanos
    };
    match known > compute {
        true => compute + apart(known, compute),
        false => compute - apart(compute, known),
    }
}

/// [`LEFT`] in binary places.
const LEFT_BITS: u32 = 32;

/// What is left of what was known after so many more. Of the last of these next to nothing.
const LEFT: [u64; 4 * MEMORY as usize + 1] = {
    let mut left = [1 << LEFT_BITS; 4 * MEMORY as usize + 1];
    let mut tasks = 1;
    while tasks < left.len() {
        left[tasks] = left[tasks - 1] - left[tasks - 1] / MEMORY;
        tasks += 1;
    }
    left
};

/// The compute times of one algorithm, by class.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    results: u64,
    classes: [u64; CLASSES],
}

impl Histogram {
    pub(crate) const NONE: Histogram = Histogram {
        results: 0,
        classes: [0; CLASSES],
    };

    pub(crate) fn add(&mut self, compute: Nanos) {
        self.results += 1;
        self.classes[class(compute)] += 1;
    }

    /// The upper edge of the median's class, once there are results enough.
    pub(crate) fn median(&self) -> Option<Nanos> {
        if self.results < RESULTS_MIN {
            return None;
        }
        let mut below = 0;
        let at = self.classes.iter().position(|&results| {
            below += results;
            2 * below >= self.results
        })?;
        Some(upper_edge(at))
    }
}

/// The two bits behind the leading one, and its place.
fn class(compute: Nanos) -> usize {
    let compute = compute.max(4);
    let octave = compute.ilog2();
    let quarter = (compute >> (octave - 2)) & 3;
    (octave as usize) * 4 + quarter as usize
}

fn upper_edge(class: usize) -> Nanos {
    let (octave, quarter) = (class / 4, class as u64 % 4);
    ((5 + quarter) << (octave - 2)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_below_its_edge() {
        for compute in (4..10_000).chain([u64::MAX / 2, u64::MAX]) {
            let class = class(compute);
            assert!(compute <= upper_edge(class), "{compute}");
            assert!(class == 8 || compute > upper_edge(class - 1), "{compute}");
        }
    }

    #[test]
    fn several_alike_weigh_as_much_as_one_after_another() {
        for (known, compute) in [
            (1_000_000, 3_000_000),
            (3_000_000, 1_000_000),
            (7, u64::MAX),
        ] {
            for tasks in [0, 1, 2, 10, 64, 65, 1_000] {
                let mut one_by_one = known;
                for _ in 0..tasks.min(64) {
                    one_by_one = weigh(one_by_one, compute, 1);
                }
                let together = weigh(known, compute, tasks);
                let far = known.abs_diff(compute);
                assert!(
                    together.abs_diff(one_by_one) <= 64 + far / 1_000_000,
                    "{tasks}"
                );
                assert!(together.abs_diff(compute) <= far);
            }
        }
        assert_eq!(weigh(5, 5, 3), 5);
        assert_eq!((0..100).fold(9, |known, _| weigh(known, 2, 1)), 2);
    }

    #[test]
    fn the_median_is_known_within_a_quarter() {
        let mut histogram = Histogram::NONE;
        for compute in 1..=4u64 {
            histogram.add(compute * 1_000_000);
            assert_eq!(histogram.median(), None);
        }
        (5..=9u64).for_each(|compute| histogram.add(compute * 1_000_000));
        let median = histogram.median().unwrap();
        assert!((5_000_000..6_250_000).contains(&median), "{median}");
    }
}
