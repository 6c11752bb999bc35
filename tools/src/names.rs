//! Names in the order that people count in.

use std::cmp::Ordering;

/// The key that a name is sorted by: `node10` stands behind `node9`, as digits count as one number.
pub(crate) fn counted(name: &str) -> Vec<(&str, Option<u64>)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(rest.len());
        let digits = rest[word..]
            .find(|char: char| !char.is_ascii_digit())
            .map_or(rest.len(), |digits| word + digits);
        // Nothing stands before any number; one of more digits than fit is the last.
        let number = match &rest[word..digits] {
            "" => None,
            number => Some(number.parse().unwrap_or(u64::MAX)),
        };
        parts.push((&rest[..word], number));
        rest = &rest[digits..];
    }
    parts
}

/// Which of two names people count first.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    counted(a).cmp(&counted(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn names_are_in_the_order_that_people_count_in() {
        let mut names = ["node10", "node9", "a", "node9b", "node09-2", "node"];
        names.sort_by_key(|name| counted(name));
        assert_eq!(
            names,
            ["a", "node", "node9", "node09-2", "node9b", "node10"]
        );
    }
}
