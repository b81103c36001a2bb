//! Where and why a text is not JSON.

use std::fmt;

/// The first place at which a text stops being acceptable JSON, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Offset in bytes from the start of the text, from 0.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    expected: String,
    got: String,
}

impl SyntaxError {
    /// An error at `offset` of `text`; what was got is read from the text itself.
    pub(super) fn at(text: &str, offset: usize, expected: impl Into<String>) -> Self {
        let got = match text.get(offset..).and_then(|rest| rest.chars().next()) {
            None => "the end of the text".to_owned(),
            Some('\u{feff}') => "a byte order mark".to_owned(),
            Some(other) => format!("{other:?}"),
        };
        Self::with(text, offset, expected, got)
    }

    /// An error at `offset` of `text` whose offending value is named by the caller.
    pub(super) fn with(
        text: &str,
        offset: usize,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            expected: expected.into(),
            got: got.into(),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {} (byte {}): expected {}, got {}",
            self.line, self.column, self.offset, self.expected, self.got
        )
    }
}

impl std::error::Error for SyntaxError {}
