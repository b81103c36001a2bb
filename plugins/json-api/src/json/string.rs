//! JSON strings to text and back.

use std::borrow::Cow;

/// The text of a validated JSON string, given with its quotes.
pub fn decode(spelling: &str) -> Cow<'_, str> {
    let inner = spelling
        .get(1..spelling.len().saturating_sub(1))
        .unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // Validation left no escape that serde_json refuses, so the fallback is never taken.
    Cow::Owned(serde_json::from_str(spelling).unwrap_or_else(|_| inner.to_owned()))
}

/// `text` as a JSON string with its quotes.
pub fn encode(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
