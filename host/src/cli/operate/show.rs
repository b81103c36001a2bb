//! Rows as JSON, as a table, or as lines. What a client chose cannot steer a terminal.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use polyport_abi::operate::{Command, Form, Shows};
use serde_json::Value;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// Rows that are looked at for the widths of a table's columns.
const LOOKED_AT: usize = 1_000;

const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second].[subsecond digits:3]");

/// Rows on their way out.
pub(super) struct Shown<'a> {
    command: &'a Command,
    json: bool,
    offset: UtcOffset,
    /// Rows that wait for the widths, until those are known.
    first: Vec<Vec<Cell>>,
    columns: Option<Vec<Width>>,
}

#[derive(Default)]
struct Cell {
    text: String,
    is_number: bool,
    /// The row has no such key.
    is_missing: bool,
}

#[derive(Clone, Copy)]
struct Width {
    characters: usize,
    right: bool,
    /// None of the rows that were looked at has it.
    hidden: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(command: &'a Command, json: bool) -> Self {
        Self {
            command,
            json,
            // Local time where the system tells how far that is from UTC.
            offset: UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC),
            first: Vec::new(),
            columns: None,
        }
    }

    /// Writes a row, or keeps it until the widths are known.
    pub(super) fn row(&mut self, out: &mut impl Write, row: Value) -> io::Result<()> {
        if self.json {
            writeln!(out, "{row}")?;
            return self.went(out);
        }
        let cells = self.cells(&row);
        if self.command.form == Form::Lines {
            let cells: Vec<&str> = cells.iter().map(|cell| &*cell.text).collect();
            writeln!(out, "{}", cells.join(" "))?;
            return self.went(out);
        }
        match &self.columns {
            Some(columns) => line(out, columns, &cells),
            None => {
                self.first.push(cells);
                if self.first.len() >= LOOKED_AT {
                    return self.flush(out);
                }
                Ok(())
            }
        }
    }

    /// A command that follows shows each row at once.
    fn went(&self, out: &mut impl Write) -> io::Result<()> {
        match self.command.follows {
            true => out.flush(),
            false => Ok(()),
        }
    }

    /// Writes what was kept, with the head of the table.
    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let is_table = !self.json && self.command.form != Form::Lines;
        if !is_table || self.columns.is_some() {
            return Ok(());
        }
        let titles = self.command.columns.iter().map(|column| Cell {
            text: column.title.clone(),
            ..Cell::default()
        });
        let titles: Vec<Cell> = titles.collect();
        let columns: Vec<Width> = titles
            .iter()
            .enumerate()
            .map(|(at, title)| {
                let cells = || self.first.iter().filter_map(move |row| row.get(at));
                let widest = cells().chain([title]).map(|cell| cell.text.chars().count());
                Width {
                    characters: widest.max().unwrap_or_default(),
                    right: cells().any(|cell| cell.is_number),
                    hidden: !self.first.is_empty() && cells().all(|cell| cell.is_missing),
                }
            })
            .collect();
        line(out, &columns, &titles)?;
        for row in std::mem::take(&mut self.first) {
            line(out, &columns, &row)?;
        }
        self.columns = Some(columns);
        Ok(())
    }

    fn cells(&self, row: &Value) -> Vec<Cell> {
        let columns = self.command.columns.iter();
        columns
            .map(|column| {
                let known = row.get(&column.key);
                let value = known.unwrap_or(&Value::Null);
                Cell {
                    text: self.text(value, column.shows),
                    is_number: value.is_number() && column.shows != Shows::Time,
                    is_missing: known.is_none(),
                }
            })
            .collect()
    }

    fn text(&self, value: &Value, shows: Shows) -> String {
        match (shows, value.as_u64()) {
            (Shows::Time, Some(at)) => self.time(at),
            (Shows::Span, Some(seconds)) => span(seconds),
            _ => plain(value),
        }
    }

    fn time(&self, at: u64) -> String {
        let format = match self.command.form {
            Form::Lines => TIME,
            Form::Table | Form::Unknown => DATE,
        };
        let utc = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let local = utc.to_offset(self.offset);
        local.format(format).unwrap_or_default()
    }
}

fn line(out: &mut impl Write, columns: &[Width], cells: &[Cell]) -> io::Result<()> {
    let mut text = String::new();
    for (column, cell) in columns.iter().zip(cells) {
        let Width {
            characters,
            right,
            hidden,
        } = *column;
        if hidden {
            continue;
        }
        if !text.is_empty() {
            text.push_str("  ");
        }
        match right {
            true => text.push_str(&format!("{:>characters$}", cell.text)),
            false => text.push_str(&format!("{:<characters$}", cell.text)),
        }
    }
    writeln!(out, "{}", text.trim_end())
}

/// `45s`, `12m`, `3h05m`, `2d04h`.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => escaped(text),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(plain).collect();
            all.join(",")
        }
        Value::Object(object) => {
            let bytes = object.get("base64").filter(|_| object.len() == 1);
            let bytes = bytes.and_then(Value::as_str);
            match bytes.map(|bytes| BASE64_STANDARD.decode(bytes)) {
                Some(Ok(bytes)) => escaped_bytes(&bytes),
                _ => escaped(&value.to_string()),
            }
        }
    }
}

/// A text without anything that a terminal obeys: control characters, and those that turn the direction of writing
/// or cannot be seen.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}');
        if c.is_control() || hidden {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Bytes that are no text: what is text of them, the others as `\xNN`.
fn escaped_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use polyport_abi::operate::Column;
    use serde_json::json;

    use super::*;

    fn command(form: Form) -> Command {
        let column = |key: &str, shows| Column {
            key: key.into(),
            title: key.to_uppercase(),
            shows,
        };
        Command {
            columns: vec![
                column("who", Shows::Plain),
                column("count", Shows::Plain),
                column("since", Shows::Time),
                column("left", Shows::Span),
            ],
            form,
            ..Command::default()
        }
    }

    fn show(command: &Command, json: bool, rows: &[Value]) -> String {
        let mut shown = Shown::new(command, json);
        shown.offset = UtcOffset::UTC;
        let mut out = Vec::new();
        for row in rows {
            shown.row(&mut out, row.clone()).unwrap();
        }
        shown.flush(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_a_head_and_its_columns_beneath_each_other() {
        let rows = [
            json!({"who": "a", "count": 5, "since": 1_000, "left": 90_061}),
            json!({"who": "longer", "count": 1234, "since": null, "left": "never"}),
        ];
        let expected = "\
WHO     COUNT  SINCE                 LEFT
a           5  1970-01-01 00:00:01  1d01h
longer   1234  -                    never
";
        assert_eq!(show(&command(Form::Table), false, &rows), expected);
        assert_eq!(show(&command(Form::Unknown), false, &rows), expected);
        assert_eq!(
            show(&command(Form::Table), false, &[]),
            "WHO  COUNT  SINCE  LEFT\n"
        );
        // A column that no row has is left out.
        assert_eq!(
            show(
                &command(Form::Table),
                false,
                &[json!({"who": "a", "left": null})]
            ),
            "WHO  LEFT\na    -\n"
        );
    }

    #[test]
    fn lines_have_no_head_and_json_is_as_it_came() {
        let row = json!({"who": "a b", "count": 5, "since": 1_005, "left": 61});
        assert_eq!(
            show(&command(Form::Lines), false, std::slice::from_ref(&row)),
            "a b 5 00:00:01.005 1m01s\n"
        );
        assert_eq!(
            show(&command(Form::Table), true, std::slice::from_ref(&row)),
            format!("{row}\n")
        );
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let bytes = BASE64_STANDARD.encode(b"a\xff\x1b[2Jb");
        for (value, expected) in [
            (json!("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n"),
            (json!("\u{202e}gpj.exe"), "\\u{202e}gpj.exe"),
            (json!("Grüße 日本 \\n"), "Grüße 日本 \\n"),
            (json!({ "base64": bytes }), "a\\xff\\u{1b}[2Jb"),
            (json!(["x\t", 1]), "x\\t,1"),
            (json!({"a": "\u{7}"}), "{\"a\":\"\\u0007\"}"),
        ] {
            assert_eq!(plain(&value), expected);
        }
    }
}
