//! An event as lines for the terminal.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::trace::wire::{Kind, Seen};

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second].[subsecond digits:6]");

/// One line for each thing that an event completes: time, connection, direction, length, what it is.
pub fn lines(seen: &Seen) -> Vec<String> {
    let head = format!("{} #{} {}", time(seen.at), seen.connection, seen.peer);
    let arrow = match seen.event {
        Kind::Opened => {
            return vec![format!(
                "{head} -- opened to {} ({})",
                seen.local, seen.scheme
            )];
        }
        Kind::Closed => return vec![format!("{head} -- closed")],
        Kind::Received => "->",
        Kind::Sent => "<-",
    };
    if seen.lines.is_empty() {
        return vec![format!("{head} {arrow} {:>6}  …", seen.length)];
    }
    seen.lines
        .iter()
        .map(|line| format!("{head} {arrow} {:>6}  {}", line.length, line.text))
        .collect()
}

/// The bytes, sixteen a line, with their place, in hexadecimal and as text.
pub fn dump(bytes: &[u8]) -> Vec<String> {
    bytes
        .chunks(16)
        .enumerate()
        .map(|(row, chunk)| {
            let mut hex = String::new();
            for (at, byte) in chunk.iter().enumerate() {
                if at == 8 {
                    hex.push(' ');
                }
                hex.push_str(&format!(" {byte:02x}"));
            }
            let text: String = chunk
                .iter()
                .map(|byte| match byte {
                    b' '..=b'~' => char::from(*byte),
                    _ => '.',
                })
                .collect();
            format!("    {:06x} {hex:<49}  {text}", row * 16)
        })
        .collect()
}

/// Time of day, local where the system tells how far that is from UTC.
fn time(at: u64) -> String {
    let utc = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    utc.to_offset(offset).format(TIME).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use polyport_abi::summary::SummaryLine;

    use super::*;

    fn seen(event: Kind, lines: &[(u64, &str)]) -> Seen {
        Seen {
            at: 0,
            connection: 3,
            peer: "127.0.0.1:2".into(),
            local: "127.0.0.1:1".into(),
            scheme: "tcp".into(),
            event,
            offset: 0,
            length: 9,
            lines: lines
                .iter()
                .map(|(length, text)| SummaryLine {
                    length: *length,
                    text: (*text).into(),
                })
                .collect(),
            bytes: String::new(),
            dropped: 0,
        }
    }

    fn without_time(seen: &Seen) -> Vec<String> {
        let lines = lines(seen);
        lines.iter().map(|line| line[16..].to_owned()).collect()
    }

    #[test]
    fn t35_one_line_for_each_thing() {
        let two = seen(Kind::Received, &[(4, "PWD"), (5, "QUIT")]);
        let expected = [
            "#3 127.0.0.1:2 ->      4  PWD",
            "#3 127.0.0.1:2 ->      5  QUIT",
        ];
        assert_eq!(without_time(&two), expected);
        let part = seen(Kind::Sent, &[]);
        assert_eq!(without_time(&part), ["#3 127.0.0.1:2 <-      9  …"]);
        let opened = seen(Kind::Opened, &[]);
        let expected = ["#3 127.0.0.1:2 -- opened to 127.0.0.1:1 (tcp)"];
        assert_eq!(without_time(&opened), expected);
    }

    #[test]
    fn t35_bytes_are_shown_in_hexadecimal_and_as_text() {
        let rows = dump(b"0123456789abcdef\r\n");
        let expected = [
            "    000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef",
            "    000010  0d 0a                                             ..",
        ];
        assert_eq!(rows, expected);
    }
}
