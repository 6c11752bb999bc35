//! What comes out: tables for people, JSON and CSV for programs, from the same rows.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::{Map, Value};

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
    /// Columns that a table leaves out.
    pub(crate) hidden: &'static [&'static str],
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
            hidden: &[],
        }
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .remove_style(TableComponent::HorizontalLines)
            .remove_style(TableComponent::MiddleIntersections)
            .set_content_arrangement(ContentArrangement::Disabled);
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&index| !self.hidden.contains(&self.columns[index]))
            .collect();
        let cells = |row: &[Value]| -> Vec<String> {
            shown.iter().map(|&index| show(&row[index])).collect()
        };
        table.set_header(
            shown
                .iter()
                .map(|&index| self.columns[index].replace('_', " ")),
        );
        // Where there are too many, the end is as telling as the start.
        let (head, tail) = match self.rows.len() > self.shown_max {
            true => (self.shown_max - self.shown_max / 4, self.shown_max / 4),
            false => (self.rows.len(), 0),
        };
        let left_out = self.rows.len() - head - tail;
        for row in &self.rows[..head] {
            table.add_row(cells(row));
        }
        if left_out > 0 {
            table.add_row([format!("… {left_out} more")]);
        }
        for row in &self.rows[self.rows.len() - tail..] {
            table.add_row(cells(row));
        }
        for (column, &index) in shown.iter().enumerate() {
            let is_number = self
                .rows
                .iter()
                .all(|row| row[index].is_number() || row[index].is_null());
            if let (true, Some(column)) = (is_number, table.column_mut(column)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n{table}\n", self.title)
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
                    let width = self.head.keys().map(String::len).max().unwrap_or(0);
                    for (key, value) in &self.head {
                        text += &format!("{:<width$}  {}\n", key.replace('_', " "), show(value));
                    }
                }
                let tables = sheets
                    .iter()
                    .filter(|sheet| !sheet.rows.is_empty())
                    .map(Sheet::table);
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
