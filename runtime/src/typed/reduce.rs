//! The one tree in which results are combined, whatever their order of arrival.
//!
//! ```text
//!   place    0   1   2   3   4   5   6        blocks of a power of two, left before right; what is left at the
//!            └─┬─┘   └─┬─┘   └─┬─┘   │        end is combined from the right
//!              └───┬───┘       │     │
//!                  │           └──┬──┘
//!                  └───────┬──────┘
//! ```
//!
//! Which values meet depends on how many there are, and on nothing else: so a floating-point sum has the same bits
//! wherever its terms were computed. It holds one value for each bit of the number of values so far.

/// A binary counter of combined blocks: those of 2^level values, the largest first.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    blocks: Vec<T>,
    values: u64,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Tree {
            blocks: Vec::new(),
            values: 0,
        }
    }
}

impl<T> Tree<T> {
    /// Takes the next value, in order of places.
    #[inline]
    pub(crate) fn push(&mut self, value: T, merge: &mut impl FnMut(T, T) -> T) {
        let mut value = value;
        // Each block that is full up to here is as large as what stands right of it.
        for _ in 0..self.values.trailing_ones() {
            let left = self.blocks.pop();
            value = merge(left.expect("a bit of the count is a block"), value);
        }
        self.blocks.push(value);
        self.values += 1;
    }

    /// All of them combined; `None` of no value.
    pub(crate) fn finish(&mut self, merge: &mut impl FnMut(T, T) -> T) -> Option<T> {
        self.values = 0;
        let mut right = self.blocks.pop()?;
        while let Some(left) = self.blocks.pop() {
            right = merge(left, right);
        }
        Some(right)
    }
}

/// Combines values in the tree that [`Map::reduce`](crate::Map::reduce) uses: the same bits, without slaves.
///
/// For a floating-point sum that is to be checked on one machine, and for results that were kept. `None` of no value. At
/// most one value for each bit of their number is held; a value takes part in at most as many merges.
///
/// ```
/// let terms = (1..=1000).map(|n| 1.0 / f64::from(n));
/// let sum = ringmw::reduce(terms, |a, b| a + b).unwrap();
/// assert!((sum - 7.485_470_860_550_345).abs() < 1e-14);
/// assert_eq!(ringmw::reduce([1, 2, 3, 4, 5], |a, b| a - b), Some(-5));
/// assert_eq!(ringmw::reduce([], |a: u8, _| a), None);
/// ```
pub fn reduce<T>(
    values: impl IntoIterator<Item = T>,
    mut merge: impl FnMut(T, T) -> T,
) -> Option<T> {
    let mut tree = Tree::default();
    for value in values {
        tree.push(value, &mut merge);
    }
    tree.finish(&mut merge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(values: u32) -> String {
        let leaves = (0..values).map(|n| n.to_string());
        reduce(leaves, |a, b| format!("({a} {b})")).unwrap_or_default()
    }

    /// These are a promise to everyone who has published a floating-point sum.
    #[test]
    fn golden_shapes() {
        for (values, expected) in [
            (0, ""),
            (1, "0"),
            (2, "(0 1)"),
            (3, "((0 1) 2)"),
            (4, "((0 1) (2 3))"),
            (5, "(((0 1) (2 3)) 4)"),
            (6, "(((0 1) (2 3)) (4 5))"),
            (7, "(((0 1) (2 3)) ((4 5) 6))"),
        ] {
            assert_eq!(shape(values), expected);
        }
    }

    #[test]
    fn it_holds_a_logarithm() {
        let mut tree = Tree::default();
        for n in 0..1_000_000u64 {
            tree.push(n, &mut |a, b| a + b);
            assert_eq!(tree.blocks.len(), (n + 1).count_ones() as usize);
        }
        assert_eq!(tree.finish(&mut |a, b| a + b), Some(499_999_500_000));
    }
}
