//! Protocols of text lines, and what can be said of any other.

use super::{Direction, Line, Summary, hex, line, masked, secrets, shown};

/// A line that is not over at this length is shown all the same.
const LONGEST: usize = 8 * 1024;

/// Shows each line as text with its secrets masked, and pieces that are no text as the beginning of their bytes.
#[derive(Debug, Default)]
pub struct Text {
    whole_lines: bool,
    sides: [Vec<u8>; 2],
}

impl Text {
    /// For protocols where nothing comes without the end of its line: a part of one waits for the rest.
    #[must_use]
    pub fn of_whole_lines() -> Self {
        Self {
            whole_lines: true,
            ..Self::default()
        }
    }
}

impl Summary for Text {
    fn feed(&mut self, direction: Direction, bytes: &[u8], lines: &mut Vec<Line>) {
        let mut pending = std::mem::take(&mut self.sides[direction.index()]);
        pending.extend_from_slice(bytes);
        if !is_text(&pending) && !holds_secret(&pending) {
            lines.push(line(pending.len(), hex(&pending)));
            return;
        }
        for piece in pending.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(piece);
            let over = text.ends_with('\n') || piece.len() > LONGEST;
            if !over && (self.whole_lines || secrets::undecided(&text)) {
                self.sides[direction.index()] = piece.to_vec();
                return;
            }
            let text = text.trim_end_matches(['\r', '\n']);
            lines.push(line(piece.len(), shown(&masked(text))));
        }
    }
}

/// Whether a line among the first has to be masked, in whatever encoding its secret is.
fn holds_secret(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    text.lines().any(|line| masked(line) != line)
}

/// UTF-8, perhaps cut off at the end, without control characters that text does not hold.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid
        && bytes
            .iter()
            .all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\r' | b'\n' | 0x1b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(mut reader: Text, pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in pieces {
            reader.feed(Direction::Received, piece, &mut lines);
        }
        lines
            .into_iter()
            .map(|line| format!("{} {}", line.length, line.text))
            .collect()
    }

    #[test]
    fn t35_lines_are_shown_one_by_one() {
        let shown = texts(Text::default(), &[b"USER xzz\r\nPASS 123456\r\nPWD\r\n"]);
        assert_eq!(shown, ["10 USER xzz", "13 PASS ***", "5 PWD"]);
    }

    #[test]
    fn t35_a_password_is_masked_in_any_cut() {
        let bytes = b"PASS secret\r\nPWD\r\n";
        for cut in 0..bytes.len() {
            let (head, rest) = bytes.split_at(cut);
            for reader in [Text::default(), Text::of_whole_lines()] {
                let shown = texts(reader, &[head, rest]).join("\n");
                assert!(shown.contains("PASS ***"), "{cut}: {shown}");
                assert!(!shown.contains("sec") && !shown.contains("ret"), "{cut}");
            }
        }
    }

    #[test]
    fn t35_a_password_that_is_no_utf_8_is_masked() {
        for password in [&b"PASS \xe9t\xe9\r\n"[..], b"PASS a\0b\r\n"] {
            let shown = texts(Text::default(), &[password]);
            assert_eq!(shown, [format!("{} PASS ***", password.len())]);
        }
        let framed = b"\x10\0\0\0{\"password\":\"a\"}";
        let shown = texts(Text::default(), &[framed]);
        assert_eq!(shown, ["20 ····{\"password\":***}"]);
    }

    #[test]
    fn t35_text_without_an_end_of_line_is_shown_at_once() {
        let shown = texts(
            Text::default(),
            &[br#"{"cmd":"get","file":"a"}"#, b"hel", b"lo\n"],
        );
        assert_eq!(shown, [r#"24 {"cmd":"get","file":"a"}"#, "3 hel", "3 lo"]);
    }

    #[test]
    fn t35_other_bytes_are_shown_in_hexadecimal() {
        let shown = texts(Text::default(), &[b"\x00\x01\xffabc", &[0x10; 40]]);
        assert_eq!(shown[0], "6 00 01 ff 61 62 63");
        assert!(shown[1].starts_with("40 10 10 ") && shown[1].ends_with('…'));
    }
}
