//! The bytes of a connection as lines for a person: what `polyport trace` shows.
//!
//! Pure: bytes in, lines out. A reader sees all that passes from the moment somebody looks, which may be in
//! the middle of a connection; after a gap a fresh one takes over. Lines never hold passwords.

mod http;
mod secrets;
mod text;

pub use http::Http;
pub use polyport_abi::summary::SummaryLine as Line;
pub use secrets::masked;
pub use text::Text;

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Received,
    /// The service.
    Sent,
}

impl Direction {
    fn index(self) -> usize {
        usize::from(self == Self::Sent)
    }
}

/// Reads along with one connection.
pub trait Summary: Send {
    /// Takes the next bytes of one direction and adds a line for each thing they complete.
    fn feed(&mut self, direction: Direction, bytes: &[u8], lines: &mut Vec<Line>);
}

/// Reads content that is not looked into: one line for each piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct Data;

impl Summary for Data {
    fn feed(&mut self, _: Direction, bytes: &[u8], lines: &mut Vec<Line>) {
        lines.push(line(bytes.len(), format!("data, {} bytes", bytes.len())));
    }
}

/// A line about so many bytes.
#[must_use]
pub fn line(length: usize, text: impl Into<String>) -> Line {
    Line {
        length: length as u64,
        text: text.into(),
    }
}

/// The beginning of bytes that are no text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 16;
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN) {
        text.push_str(&format!("{byte:02x} "));
    }
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text.trim_end().to_owned()
}

/// Text that may be long or hold control characters, fit for one line.
#[must_use]
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut line: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}
