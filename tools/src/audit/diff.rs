//! Two runs side by side: what changed, and by how much.

use serde_json::{Value, json};

use super::output::{Document, Sheet, leaves};
use super::summary::Summary;

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit diff monday.audit tuesday.audit
  ringmw audit diff --changed 10 --format json before.audit after.audit

Every figure of `ringmw audit stats`, in both; `change` is B over A less one. Times and lines are left out. \
--changed PERCENT shows only what changed by at least so much.";

/// Leaves that say where and when, not how it went.
const NO_FIGURES: [&str; 13] = [
    "schema",
    "start",
    "end",
    "lines",
    "source",
    "role",
    "file",
    "version",
    "exit_reason",
    "exit_at",
    "window.since",
    "window.until",
    "clock_steps",
];

pub(crate) fn document(
    a: &Summary,
    b: &Summary,
    names: [&str; 2],
    changed_min: Option<f64>,
) -> Document {
    let of = |summary: &Summary| leaves(&serde_json::to_value(summary).unwrap_or_default());
    let (a, b) = (of(a), of(b));
    let mut sheet = Sheet::new(
        "figures",
        format!("A is {}, B is {}", names[0], names[1]),
        &["figure", "a", "b", "change"],
    );
    sheet.shown_max = 200;
    let find = |list: &[(String, Value)], name: &str| {
        list.iter()
            .find(|(other, _)| other == name)
            .map_or(Value::Null, |(_, value)| value.clone())
    };
    let only_in_b = b
        .iter()
        .filter(|(name, _)| !a.iter().any(|(other, _)| other == name));
    for (name, _) in a.iter().chain(only_in_b) {
        if NO_FIGURES.contains(&name.as_str()) {
            continue;
        }
        let (before, after) = (find(&a, name), find(&b, name));
        let is_nothing = |value: &Value| value.is_null() || value.as_f64() == Some(0.0);
        if is_nothing(&before) && is_nothing(&after) {
            continue;
        }
        // A count that one of the two lacks is none there.
        let number = |value: &Value, other: &Value| match (value.as_f64(), other.is_number()) {
            (None, true) if value.is_null() => Some(0.0),
            (number, _) => number,
        };
        let change = match (number(&before, &after), number(&after, &before)) {
            (Some(before), Some(after)) if before != 0.0 => Some(after / before - 1.0),
            _ => None,
        };
        let is_changed = changed_min
            .is_none_or(|min| change.map_or(before != after, |change| change.abs() * 100.0 >= min));
        if is_changed {
            sheet
                .rows
                .push(vec![name.as_str().into(), before, after, json!(change)]);
        }
    }
    let mut document = Document::default();
    document
        .head
        .insert("schema".into(), super::summary::SCHEMA.into());
    document.sheets = vec![sheet];
    document
}

/// For people: changes as percentages.
pub(crate) fn for_people(mut document: Document) -> Document {
    for sheet in &mut document.sheets {
        for row in &mut sheet.rows {
            if let Some(change) = row[3].as_f64() {
                let percent = change * 100.0;
                row[3] = if percent == 0.0 {
                    "=".into()
                } else {
                    format!("{percent:+.1} %").into()
                };
            } else if row[1] != row[2] {
                row[3] = "differs".into();
            } else {
                row[3] = "=".into();
            }
        }
    }
    document.head.clear();
    document
}
