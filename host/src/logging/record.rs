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

/// The longest message or value that is kept, in bytes.
const MAX_TEXT: usize = 16 * 1024;

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
    /// The record with no text longer than the log keeps.
    pub fn bounded(mut self) -> Self {
        truncate(&mut self.message);
        for (_, value) in &mut self.fields {
            if let Value::String(text) = value {
                truncate(text);
            }
        }
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
        object.to_string()
    }

    fn timestamp(&self) -> String {
        OffsetDateTime::from(self.time)
            .format(TIME)
            .unwrap_or_default()
    }
}

/// `text` with its control characters escaped: it cannot begin a line of its own.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"' || c == '=')
}

fn truncate(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
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
        assert!(record.message.len() <= MAX_TEXT + '…'.len_utf8());
        assert!(record.json().len() < 3 * MAX_TEXT);
    }

    proptest! {
        #[test]
        fn no_text_forges_a_line(message in any::<String>(), value in any::<String>()) {
            let record = record(&message, &value);
            for line in [record.human(false), record.json()] {
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            }
            let json: Value = serde_json::from_str(&record.json()).unwrap();
            prop_assert_eq!(&json["fields"]["client"], &Value::from(value));
        }
    }
}
