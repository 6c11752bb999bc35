//! The wire format page shows what the encoders write.

#[path = "support/golden.rs"]
mod golden;

use ringmw_codec::batch::{
    ARCHIVE_FORMAT, BATCH_OVERHEAD_BYTES, RESULT_ENTRY_BYTES, TASK_ENTRY_BYTES,
};
use ringmw_codec::frame::{FRAME_VERSION, put_frame};
use ringmw_codec::handshake::PROTOCOL_VERSION;
use ringmw_codec::kinds::{Kind, Limit};
use ringmw_codec::secret::SECRET_VERSION;

const PAGE: &str = include_str!("../wire-format.md");

/// The bytes of every block that begins with three backticks, `hex` and a name; what stands behind `#` is for people.
fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let mut examples = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```");
        let bytes = block
            .flat_map(|line| {
                line.split('#')
                    .next()
                    .unwrap_or_default()
                    .split_whitespace()
            })
            .map(|pair| {
                u8::from_str_radix(pair, 16)
                    .unwrap_or_else(|_| panic!("{name}: {pair:?} is no byte"))
            })
            .collect();
        examples.push((name, bytes));
    }
    examples
}

/// The name of every structure and its bytes: whole frames, a body, the payload of each kind that has one.
fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: Kind| {
        let mut frame = Vec::new();
        for (_, payload) in golden::payloads(kind) {
            put_frame(&mut frame, kind, &payload);
        }
        frame
    };
    let mut golden = vec![
        ("frame", frame(Kind::Starting)),
        ("heartbeat", frame(Kind::Heartbeat)),
        ("task-body", golden::task_body()),
    ];
    golden.extend(golden::secret());
    let with_payload = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Heartbeat);
    golden.extend(with_payload.flat_map(golden::payloads));
    golden
}

#[test]
fn every_example_is_what_the_encoder_writes() {
    let (shown, golden) = (examples(), golden());
    for (name, bytes) in &golden {
        let (_, shown) = shown
            .iter()
            .find(|(shown, _)| shown == name)
            .unwrap_or_else(|| panic!("the page has no example of {name}"));
        assert_eq!(shown, bytes, "{name}: the page shows other bytes");
    }
    assert_eq!(shown.len(), golden.len(), "one example each");
}

/// A number as the page writes it: 65,536.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn row(begin: &str) -> &'static str {
    let mut rows = PAGE.lines().filter(|line| line.starts_with(begin));
    let row = rows.next().unwrap_or_else(|| panic!("no row {begin}"));
    assert_eq!(rows.next(), None, "one row {begin}");
    row
}

#[test]
fn kinds_limits_and_versions_are_those_of_the_code() {
    let (_, table) = PAGE
        .split_once("\n| kind | name |")
        .expect("a table of kinds");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let shown: Vec<Vec<&str>> = rows
        .map(|row| row.split('|').skip(1).take(4).map(str::trim).collect())
        .collect();
    let rows = Kind::ALL.map(|kind| {
        let (sender, receiver) = kind.direction().sides();
        let direction = format!("{sender} to {receiver}");
        let limit = match kind.limit() {
            Limit::Bytes(bytes) => grouped(bytes),
            Limit::TaskPacket => "tasks limit".to_owned(),
            Limit::ResultPacket => "results limit".to_owned(),
        };
        let number = (kind as u8).to_string();
        [number, format!("{kind:?}"), direction, limit]
    });
    assert_eq!(shown, rows);
    row(&format!(
        "| 3 | 1 | kind | 1 to {}, see below |",
        *Kind::ALL.last().expect("there are kinds") as u8
    ));
    row(&format!("| secret | {SECRET_VERSION} |"));
    row(&format!("| frame | {FRAME_VERSION} |"));
    row(&format!("| protocol | {PROTOCOL_VERSION} |"));
    row(&format!("| archive | {ARCHIVE_FORMAT} |"));
    for entry_bytes in [TASK_ENTRY_BYTES, RESULT_ENTRY_BYTES] {
        let formula = format!("{BATCH_OVERHEAD_BYTES} + {entry_bytes} × entries");
        assert!(PAGE.contains(&formula), "{formula}");
    }
}
