//! What comes out: tables for people, JSON and CSV for programs, from the same rows.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::{Map, Value};

use super::terminal::{Ink, Terminal};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
    /// One sheet.
    Csv,
}

/// What the table puts beside a cell.
const CELL_PADDING: usize = 2;
/// A text is not cut to less.
const TEXT_CHARS_MIN: usize = 12;

/// A text of so many characters at most; its end is the telling part of a host's name or a path.
fn shorten(text: &str, chars_max: usize) -> String {
    let length = text.chars().count();
    if length <= chars_max {
        return text.to_owned();
    }
    let rest = text.chars().skip(length + 1 - chars_max.max(1));
    std::iter::once('…').chain(rest).collect()
}

/// The day and the offset of a time, `2026-11-20` and `+01:00`, and what stands between: the time of day.
fn split_time(cell: &str) -> Option<(&str, &str, &str)> {
    let is_day = |day: &str| {
        day.len() == 10
            && day.bytes().enumerate().all(|(index, byte)| match index {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    let (day, rest) = cell.split_once('T').filter(|&(day, _)| is_day(day))?;
    let end = rest.find(['Z', '+', '-'])?;
    Some((day, &rest[..end], &rest[end..]))
}

/// Where all times of a table are of one day and one offset, they are cut to the time of day, and those two returned.
fn take_day(rows: &mut [Vec<String>]) -> Option<String> {
    let times = || rows.iter().flatten().filter_map(|cell| split_time(cell));
    let (day, _, offset) = times().next()?;
    if times().any(|(other, _, apart)| (other, apart) != (day, offset)) {
        return None;
    }
    let found = match offset {
        "Z" => format!("{day}, UTC"),
        _ => format!("{day}, {offset}"),
    };
    for cell in rows.iter_mut().flatten() {
        let short = split_time(cell).map(|(_, time, _)| {
            let milliseconds = "08:03:03.123".len();
            time[..time.len().min(milliseconds)].to_owned()
        });
        if let Some(short) = short {
            *cell = short;
        }
    }
    Some(found)
}

/// Rows of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    /// Its key in JSON, and what `--sheet` calls it.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// A table shows so many rows; JSON and CSV have them all.
    pub(crate) shown_max: usize,
    /// Columns of a table, in its order, the telling ones first; all as they are where it is empty.
    pub(crate) shown: &'static [&'static str],
}

impl Sheet {
    pub(crate) fn new(
        name: &'static str,
        title: impl Into<String>,
        columns: &[&'static str],
    ) -> Self {
        Self {
            name,
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            shown_max: 40,
            shown: &[],
        }
    }

    fn table(&self, terminal: Terminal) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .remove_style(TableComponent::HorizontalLines)
            .remove_style(TableComponent::MiddleIntersections)
            .set_content_arrangement(ContentArrangement::Disabled);
        // Where there are too many, the end is as telling as the start.
        let (head, tail) = match self.rows.len() > self.shown_max {
            true => (self.shown_max - self.shown_max / 4, self.shown_max / 4),
            false => (self.rows.len(), 0),
        };
        let left_out = self.rows.len() - head - tail;
        let mut rows: Vec<Vec<String>> = self.rows[..head]
            .iter()
            .chain(&self.rows[self.rows.len() - tail..])
            .map(|row| row.iter().map(show).collect())
            .collect();
        let mut title = self.title.clone();
        if terminal.size.is_some()
            && let Some(day) = take_day(&mut rows)
        {
            title = format!("{title}, {day}");
        }
        let (shown, unseen) = self.fitting(&rows, terminal.size.map(|size| size.0));
        table.set_header(
            shown
                .iter()
                .map(|&(index, width)| shorten(&self.columns[index].replace('_', " "), width)),
        );
        for (number, row) in rows.iter().enumerate() {
            if number == head {
                table.add_row([format!("… {left_out} more")]);
            }
            table.add_row(
                shown
                    .iter()
                    .map(|&(index, width)| shorten(&row[index], width)),
            );
        }
        if left_out > 0 && tail == 0 {
            table.add_row([format!("… {left_out} more")]);
        }
        for (column, &(index, _)) in shown.iter().enumerate() {
            let is_number = self
                .rows
                .iter()
                .all(|row| row[index].is_number() || row[index].is_null());
            if let (true, Some(column)) = (is_number, table.column_mut(column)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let title = terminal.paint(Ink::Bold, &harmless(&title));
        let unseen = match unseen.is_empty() {
            true => String::new(),
            false => format!("  (this window is too narrow for: {})\n", unseen.join(", ")),
        };
        format!("{title}\n{table}\n{unseen}")
    }

    /// The columns that people see, in their order.
    pub(crate) fn order(&self) -> Vec<usize> {
        let named = |name: &&str| self.columns.iter().position(|column| column == name);
        match self.shown {
            [] => (0..self.columns.len()).collect(),
            shown => shown.iter().filter_map(named).collect(),
        }
    }

    /// The columns that a width has room for, and how much each may take: long texts are shortened first, then the
    /// last columns are left out; those are named.
    fn fitting(
        &self,
        rows: &[Vec<String>],
        width: Option<usize>,
    ) -> (Vec<(usize, usize)>, Vec<&'static str>) {
        let length = |index: usize| {
            let cells = rows.iter().map(|row| row[index].chars().count());
            cells
                .chain([self.columns[index].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let mut shown: Vec<(usize, usize)> = self
            .order()
            .into_iter()
            .map(|index| (index, length(index)))
            .collect();
        let mut unseen = Vec::new();
        let Some(width) = width else {
            return (shown, unseen);
        };
        let taken = |shown: &[(usize, usize)]| -> usize {
            let cells: usize = shown.iter().map(|(_, width)| width + CELL_PADDING).sum();
            // And a space between two.
            cells + shown.len() - 1
        };
        while taken(&shown) > width {
            let over = taken(&shown) - width;
            let is_text = |index: usize| self.rows.iter().any(|row| row[index].is_string());
            let longest = shown
                .iter_mut()
                .filter(|column| column.1 > TEXT_CHARS_MIN && is_text(column.0))
                .max_by_key(|column| column.1);
            if let Some(column) = longest {
                column.1 = column.1.saturating_sub(over).max(TEXT_CHARS_MIN);
            } else if shown.len() > 1 {
                unseen.extend(shown.pop().map(|(index, _)| self.columns[index]));
            } else {
                break;
            }
        }
        unseen.reverse();
        (shown, unseen)
    }

    fn objects(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let pairs = self
                .columns
                .iter()
                .map(|&column| column.to_owned())
                .zip(row.iter().cloned());
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    fn csv(&self) -> String {
        let mut text = self.columns.join(",");
        text.push('\n');
        for row in &self.rows {
            text.push_str(&csv_row(row));
        }
        text
    }
}

/// A row of CSV and its line feed.
pub(crate) fn csv_row(row: &[Value]) -> String {
    let cells: Vec<String> = row
        .iter()
        .map(|cell| {
            let mut text = plain(cell);
            // A spreadsheet would take it for a formula.
            if cell.is_string() && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                text.insert(0, '\'');
            }
            match text.contains([',', '"', '\n', '\r']) {
                true => format!("\"{}\"", text.replace('"', "\"\"")),
                false => text,
            }
        })
        .collect();
    cells.join(",") + "\n"
}

/// A value without quotes; nothing for none.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text without anything that a terminal would obey: control characters, also those of C1, and marks that turn the
/// direction of writing, are written as escapes.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmful = |char: char| {
        (char.is_control() && char != '\n' && char != '\t')
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_harmful(char) {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

/// A value for people: figures with few digits, `-` for none.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Number(number) if number.is_f64() => figure(number.as_f64().unwrap_or(f64::NAN)),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), count),
        Value::String(text) if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            text.clone()
        }
        other => harmless(&plain(other)).replace(['\n', '\t'], " "),
    }
}

/// Three digits that count, never fewer than the whole ones.
pub(crate) fn figure(number: f64) -> String {
    let size = number.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if size >= 1e4 => count(number.round() as u64),
        _ if size >= 100.0 => format!("{number:.0}"),
        _ if size >= 10.0 => format!("{number:.1}"),
        _ if size >= 0.01 => format!("{number:.2}"),
        _ if size >= 1e-6 => format!("{number:.6}").trim_end_matches('0').to_owned(),
        _ => format!("{number:.1e}"),
    }
}

/// 1048576 as `1,048,576`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 slave`, `2 slaves`.
pub(crate) fn plural(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", count(number)),
    }
}

/// Heads of a document that programs want: the version of its keys, and sums that its states say better.
const NOT_FOR_PEOPLE: [&str; 3] = ["schema", "busy_s", "utilisation"];

/// Everything that a command has to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    /// Figures that stand for themselves.
    pub(crate) head: Map<String, Value>,
    pub(crate) sheets: Vec<Sheet>,
}

impl Document {
    /// In the form asked for; CSV is the sheet of this name, or the first.
    pub(crate) fn show(&self, format: Format, sheet: Option<&str>) -> Result<String, String> {
        let wanted = |sheets: &[Sheet]| match sheet {
            None => Ok(sheets.to_vec()),
            Some(name) => match sheets.iter().find(|sheet| sheet.name == name) {
                Some(sheet) => Ok(vec![sheet.clone()]),
                None => {
                    let names: Vec<_> = sheets.iter().map(|sheet| sheet.name).collect();
                    Err(format!(
                        "--sheet: there is no {name:?}, only {}",
                        names.join(", ")
                    ))
                }
            },
        };
        let sheets = wanted(&self.sheets)?;
        match format {
            Format::Table => {
                let mut text = String::new();
                if sheet.is_none() {
                    let head = || {
                        self.head
                            .iter()
                            .filter(|(key, _)| !NOT_FOR_PEOPLE.contains(&key.as_str()))
                    };
                    let width = head().map(|(key, _)| key.len()).max().unwrap_or(0);
                    for (key, value) in head() {
                        text += &format!("{:<width$}  {}\n", key.replace('_', " "), show(value));
                    }
                }
                let tables = sheets
                    .iter()
                    .filter(|sheet| !sheet.rows.is_empty())
                    .map(|sheet| sheet.table(Terminal::of_stdout()));
                let parts: Vec<String> = Some(text)
                    .filter(|text| !text.is_empty())
                    .into_iter()
                    .chain(tables)
                    .collect();
                Ok(parts.join("\n"))
            }
            Format::Json => {
                let mut object = self.head.clone();
                object.extend(
                    sheets
                        .iter()
                        .map(|sheet| (sheet.name.to_owned(), sheet.objects())),
                );
                Ok(json(&Value::Object(object)))
            }
            Format::Csv => Ok(sheets.first().map(Sheet::csv).unwrap_or_default()),
        }
    }
}

pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The leaves of nested objects, by their dotted names; arrays are left out.
pub(crate) fn leaves(value: &Value) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    gather(String::new(), value, &mut leaves);
    leaves
}

fn gather(name: String, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                gather(name, value, leaves);
            }
        }
        Value::Array(_) => {}
        leaf => leaves.push((name, leaf.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(
            "x",
            "A title",
            &["host", "slaves", "mean_stay_s", "results"],
        );
        for number in 0..100 {
            sheet.rows.push(vec![
                format!("a-host-with-a-long-name-{number}.example.org").into(),
                (number * 1000).into(),
                (f64::from(number) / 3.0).into(),
                number.into(),
            ]);
        }
        sheet
    }

    #[test]
    fn tables_fit_whatever_the_width() {
        for width in 20..120 {
            let terminal = Terminal {
                size: Some((width, 24)),
                has_colour: false,
            };
            let text = sheet().table(terminal);
            for line in text.lines().filter(|line| !line.contains("too narrow")) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(text.contains("more"), "rows that are left out are told");
            assert!(
                text.contains("results"),
                "a column is shown, or it is told that it is not: {width}\n{text}"
            );
        }
        let wide = sheet().table(Terminal::default());
        assert!(
            wide.contains("a-host-with-a-long-name-0.example.org"),
            "{wide}"
        );
    }

    #[test]
    fn times_of_one_day_are_times_of_day() {
        let rows = |cells: [&str; 3]| vec![cells.map(str::to_owned).to_vec()];
        let mut same = rows([
            "2026-11-20T08:03:03.123456+01:00",
            "2026-11-20T08:03:04+01:00",
            "T",
        ]);
        assert_eq!(take_day(&mut same).as_deref(), Some("2026-11-20, +01:00"));
        assert_eq!(same, rows(["08:03:03.123", "08:03:04", "T"]));
        for other in [
            rows(["2026-11-20T08:03:03Z", "2026-11-21T08:03:03Z", ""]),
            rows(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", ""]),
            rows(["a-job-T-Z", "x", "12"]),
        ] {
            let mut cells = other.clone();
            assert_eq!(take_day(&mut cells), None);
            assert_eq!(cells, other);
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_and_no_formula_comes_out() {
        for (text, shown) in [
            ("plain", "plain"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\rb\u{7f}", "a\\rb\\u{7f}"),
        ] {
            assert_eq!(harmless(text), shown);
            assert_eq!(show(&Value::from(text)), shown);
        }
        for (cell, text) in [
            (Value::from("=1+1"), "'=1+1\n"),
            (Value::from("@x"), "'@x\n"),
            (Value::from("-x"), "'-x\n"),
            (Value::from("+x,y"), "\"'+x,y\"\n"),
            (Value::from(-1.5), "-1.5\n"),
            (Value::from("node7"), "node7\n"),
        ] {
            assert_eq!(csv_row(&[cell]), text);
        }
        assert_eq!(
            (plural(1, "peer"), plural(2000, "peer")),
            ("1 peer".into(), "2,000 peers".into())
        );
    }
}
