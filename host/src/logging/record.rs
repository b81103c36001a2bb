//! A log record and its two forms: a line to read, a JSON object.
//!
//! Text from the network ends up here, so neither form lets it forge a line or move a cursor.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::Level;

/// How much a record's values take in a line, and in one of a plugin its message with them, in bytes as written.
///
/// Clients choose names and topics of 64 KiB.
const MAX_TEXT: usize = 4 * 1024;

/// How much a message of the host's own takes. It may list all that is wrong with a configuration.
const MAX_MESSAGE: usize = 16 * 1024;

/// The most bytes that one byte of a text becomes when it is written.
const MAX_ESCAPE: usize = 6;

/// UTC, to the millisecond.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was made.
    pub time: SystemTime,
    /// How grave it is.
    pub level: Level,
    /// The service whose plugin wrote it; none for the host itself.
    pub service: Option<String>,
    /// The module that wrote it.
    pub target: String,
    /// What happened.
    pub message: String,
    /// With which keys and values.
    pub fields: Vec<(String, Value)>,
}

impl Record {
    /// The record with no more text than a line takes. Long texts share what short ones leave, and end in how much is
    /// missing.
    pub fn bounded(mut self) -> Self {
        let values = self.fields.iter_mut().filter_map(|(_, value)| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        let mut texts: Vec<&mut String> = values.collect();
        if self.service.is_some() {
            texts.push(&mut self.message);
        } else {
            fit(&mut [&mut self.message], MAX_MESSAGE);
        }
        fit(&mut texts, MAX_TEXT);
        self
    }

    /// `2026-01-02T03:04:05.678Z INFO  mqtt: message key=value`
    pub fn human(&self, colour: bool) -> String {
        let (start, end) = if colour {
            (colour_of(self.level), "\x1b[0m")
        } else {
            ("", "")
        };
        let source = self.service.as_deref().unwrap_or(&self.target);
        let mut line = format!(
            "{} {start}{:<5}{end} {source}: ",
            self.timestamp(),
            self.level.as_str()
        );
        line.push_str(&one_line(&self.message));
        for (key, value) in &self.fields {
            match value {
                Value::String(text) if is_plain(text) => _ = write!(line, " {key}={text}"),
                Value::String(text) => _ = write!(line, " {key}={text:?}"),
                other => _ = write!(line, " {key}={other}"),
            }
        }
        line
    }

    /// One JSON object, without line breaks.
    pub fn json(&self) -> String {
        let mut object = json!({
            "time": self.timestamp(),
            "level": self.level.as_str().to_ascii_lowercase(),
            "target": self.target,
            "message": self.message,
        });
        if let Some(service) = &self.service {
            object["service"] = Value::from(service.as_str());
        }
        if !self.fields.is_empty() {
            object["fields"] = Value::Object(self.fields.iter().cloned().collect());
        }
        let mut line = String::new();
        for c in object.to_string().chars() {
            // JSON leaves those beyond ASCII, and DEL, as they are.
            if is_hidden(c) {
                _ = write!(line, "\\u{:04x}", u32::from(c));
            } else {
                line.push(c);
            }
        }
        line
    }

    fn timestamp(&self) -> String {
        OffsetDateTime::from(self.time)
            .format(TIME)
            .unwrap_or_default()
    }
}

/// `text` with what [`is_hidden`] escaped: it cannot begin a line of its own.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|c: char| is_hidden(c) || c.is_whitespace() || c == '"' || c == '=')
}

/// Whether a terminal obeys it instead of showing it: control characters, separators of lines, and what turns the
/// direction of the text round it. All are below 0x10000.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts the longest of `texts` so that all together take `max` bytes when they are written, and the marks.
fn fit(texts: &mut [&mut String], max: usize) {
    let all: usize = texts.iter().map(|text| text.len()).sum();
    if all * MAX_ESCAPE <= max {
        return;
    }
    let mut sizes: Vec<usize> = texts.iter().map(|text| size(text, max)).collect();
    sizes.sort_unstable();
    let (mut left, mut share) = (max, max);
    for (done, size) in sizes.iter().enumerate() {
        share = left / (sizes.len() - done);
        left -= share.min(*size);
    }
    for text in texts {
        cut(text, share);
    }
}

/// Cuts `text` between characters if it takes more than `max` bytes when it is written, and says how much is missing.
fn cut(text: &mut String, max: usize) {
    let (mut end, mut taken) = (0, 0);
    for (at, c) in text.char_indices() {
        taken += width(c);
        if taken > max {
            let missing = text.len() - end;
            text.truncate(end);
            // Records wait in a queue, and the rest is not to wait with them.
            text.shrink_to_fit();
            _ = write!(text, "… ({missing} bytes more)");
            return;
        }
        end = at + c.len_utf8();
    }
}

/// How many bytes a text takes when it is written; as soon as they are more than `max`, no more are counted.
fn size(text: &str, max: usize) -> usize {
    let mut size = 0;
    for c in text.chars() {
        size += width(c);
        if size > max {
            break;
        }
    }
    size
}

/// How many bytes a character takes at the most when it is written, in either form.
fn width(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        c if is_hidden(c) => MAX_ESCAPE.max(c.escape_default().len()),
        c => c.len_utf8().max(c.escape_debug().len()),
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(message: &str, value: &str) -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH,
            level: Level::WARN,
            service: Some("mqtt".to_owned()),
            target: "polyport_mqtt::serve".to_owned(),
            message: message.to_owned(),
            fields: vec![
                ("client".to_owned(), value.into()),
                ("count".to_owned(), 3.into()),
            ],
        }
    }

    #[test]
    fn both_forms_hold_everything() {
        let record = record("took over", "a b");
        assert_eq!(
            record.human(false),
            "1970-01-01T00:00:00.000Z WARN  mqtt: took over client=\"a b\" count=3"
        );
        assert_eq!(
            record.json(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"target\":\"polyport_mqtt::serve\",\
             \"message\":\"took over\",\"service\":\"mqtt\",\"fields\":{\"client\":\"a b\",\"count\":3}}"
        );
        assert!(record.human(true).contains("\x1b[33mWARN \x1b[0m"));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let record = record(&"ä".repeat(20_000), &"x".repeat(40_000)).bounded();
        let half = MAX_TEXT / 2;
        let message = format!("{}… ({} bytes more)", "ä".repeat(half / 2), 40_000 - half);
        assert_eq!(record.message, message);
        let value = format!("{}… ({} bytes more)", "x".repeat(half), 40_000 - half);
        assert_eq!(record.fields[0].1, Value::from(value));
        assert!(record.json().len() < MAX_TEXT + 300);
    }

    #[test]
    fn a_long_text_takes_what_short_ones_leave_and_cuts_none_of_them() {
        let cut = record("took over", &"x".repeat(MAX_TEXT)).bounded();
        assert_eq!(cut.message, "took over");
        let value = format!("{}… (9 bytes more)", "x".repeat(MAX_TEXT - 9));
        assert_eq!(cut.fields[0].1, Value::from(value));
        let whole = record("took over", &"x".repeat(MAX_TEXT - 9)).bounded();
        assert_eq!(whole.fields[0].1, Value::from("x".repeat(MAX_TEXT - 9)));
    }

    #[test]
    fn the_hosts_own_words_have_more_room_but_what_clients_call_themselves_has_not() {
        let mut own = record(&"x".repeat(3 * MAX_TEXT), &"y".repeat(3 * MAX_TEXT));
        own.service = None;
        let own = own.bounded();
        assert_eq!(own.message.len(), 3 * MAX_TEXT);
        assert!(own.fields[0].1.as_str().unwrap().len() < MAX_TEXT + 50);
    }

    /// Also what `any::<String>()` never has.
    fn text() -> impl Strategy<Value = String> {
        let hidden = prop::sample::select(vec![
            '\0', '\n', '\r', '\t', '\x1b', '\x7f', '\u{85}', '\u{9b}', '\u{2028}', '\u{202e}',
            '\u{2066}', '"', '\\', '=', ' ',
        ]);
        prop::collection::vec(prop_oneof![hidden, any::<char>()], 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn no_text_forges_a_line(message in text(), value in text()) {
            let record = record(&message, &value);
            for line in [record.human(false), record.json()] {
                prop_assert!(!line.chars().any(is_hidden), "{:?}", line);
            }
            let json: Value = serde_json::from_str(&record.json()).unwrap();
            prop_assert_eq!(&json["fields"]["client"], &Value::from(value));
            prop_assert_eq!(&json["message"], &Value::from(message));
        }

        #[test]
        fn a_line_is_bounded_as_it_is_written(message in text(), value in text(), times in 0..400_usize) {
            let record = record(&message.repeat(times), &value.repeat(times)).bounded();
            for line in [record.human(false), record.json()] {
                prop_assert!(line.len() < MAX_TEXT + 300, "{}", line.len());
            }
        }
    }
}
