//! Findings as text, JSON and CSV.

use serde_json::{Map, Value, json};

use super::super::output::{Document, Sheet, show};
use super::super::terminal::{Ink, Terminal};
use super::super::times::Zone;
use super::{Finding, Weight, Work};

/// A line each, with what to do about those that are bad.
pub(crate) fn text(findings: &[Finding]) -> String {
    let terminal = Terminal::of_stdout();
    let mut text = String::new();
    for finding in findings {
        let ink = match finding.weight {
            Weight::Bad => Ink::Red,
            Weight::Note => Ink::Yellow,
            Weight::Good => Ink::Green,
        };
        let word = terminal.paint(ink, &format!("{:<5}", finding.weight.word()));
        text += &format!(
            "{word} {} [{}]\n",
            show(&finding.text.as_str().into()),
            finding.id
        );
        if finding.weight != Weight::Bad {
            continue;
        }
        if !finding.advice.is_empty() {
            text += &format!("      {}\n", finding.advice);
        }
        text += &format!("      More: {}\n", finding.command);
    }
    text
}

/// The findings, and where slave time went.
pub(crate) fn document(findings: &[Finding], work: &Work, bucket_s: f64, zone: &Zone) -> Document {
    let columns = [
        "weight", "finding", "id", "at", "until", "culprits", "lost_s", "numbers", "advice",
        "command",
    ];
    let mut sheet = Sheet::new("findings", "Findings", &columns);
    let time = |us: Option<i64>| us.map_or(Value::Null, |us| zone.show(us).into());
    sheet.rows = findings
        .iter()
        .map(|finding| {
            let culprits: Vec<Value> = finding
                .culprits
                .iter()
                .map(|culprit| json!({"kind": culprit.kind, "name": culprit.name}))
                .collect();
            let numbers: Map<String, Value> = finding
                .numbers
                .iter()
                .map(|&(name, number)| (name.to_owned(), json!(number)))
                .collect();
            vec![
                finding.weight.word().into(),
                finding.text.as_str().into(),
                finding.id.into(),
                time(finding.at_us),
                time(finding.until_us),
                culprits.into(),
                json!(finding.lost_s),
                numbers.into(),
                finding.advice.into(),
                finding.command.as_str().into(),
            ]
        })
        .collect();
    let mut document = Document::default();
    document
        .head
        .insert("schema".into(), super::super::summary::SCHEMA.into());
    document.head.insert("bucket_s".into(), json!(bucket_s));
    document
        .head
        .insert("goodput".into(), json!(work.goodput()));
    document.sheets = vec![sheet, work.causes(), work.by_host()];
    document
}
