//! Golomb rulers: marks at whole numbers from 0, no two pairs of them the same distance apart.
//!
//! Knows nothing of slaves: whoever calls says what bound there is, and is told of every ruler that is shorter.

/// Marks of the longest rulers that this can look for: distances are bits of a `u128`.
pub(crate) const MARKS_MAX: usize = 14;

/// No ruler that is looked for is as long as this, nor as long as the square of its marks, which always can be beaten.
const LENGTH_MAX: u32 = u128::BITS;

/// A length that some ruler with so many marks is below.
pub(crate) fn start_bound(marks: usize) -> u32 {
    (marks as u32).pow(2).min(LENGTH_MAX)
}

/// All ways to add a mark to `ruler` such that a ruler with `marks` marks may come of it that is shorter than `bound`,
/// which is asked each time. Shortest first.
pub(crate) fn extensions(
    ruler: &[u32],
    marks: usize,
    bound: &impl Fn() -> u32,
) -> impl Iterator<Item = Vec<u32>> {
    let distances = distances(ruler);
    let last = ruler.last().copied().unwrap_or_default();
    // Each mark still missing after the new one adds a distance of its own: 1, 2, 3, ... at the least.
    let missing = marks.saturating_sub(ruler.len() + 1) as u32;
    let rest = missing * (missing + 1) / 2;
    let is_last = missing == 0 && ruler.len() > 1;
    (last + 1..)
        .take_while(move |mark| mark + rest < bound())
        .filter(move |mark| {
            let new = ruler.iter().fold(0, |new, old| new | 1 << (mark - old));
            // Every ruler has a mirror image; only the one that begins with the shorter distance is wanted.
            let is_mirrored = is_last && ruler[1] > mark - last;
            distances & new == 0 && !is_mirrored
        })
        .map(|mark| ruler.iter().copied().chain([mark]).collect())
}

/// Looks through everything that begins with `ruler`; `found` takes each ruler that is shorter than `bound`.
pub(crate) fn explore(
    ruler: &[u32],
    marks: usize,
    bound: &impl Fn() -> u32,
    found: &mut impl FnMut(Vec<u32>),
) {
    for longer in extensions(ruler, marks, bound) {
        if longer.len() == marks {
            found(longer);
            return; // those after it are longer
        }
        explore(&longer, marks, bound, found);
    }
}

/// The distances between all marks, as bits.
fn distances(ruler: &[u32]) -> u128 {
    let pairs = ruler
        .iter()
        .enumerate()
        .flat_map(|(at, high)| ruler[..at].iter().map(move |low| high - low));
    pairs.fold(0, |distances, distance| distances | 1 << distance)
}
