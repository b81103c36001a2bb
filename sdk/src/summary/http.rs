//! HTTP/1.1 read along: request lines, status lines, and how much body follows (RFC 9112 section 6).

use std::collections::VecDeque;

use super::{Data, Direction, Line, Summary, hex, line, masked, shown};

/// The longest header that is waited for.
const HEAD_MAX: usize = 64 * 1024;
/// Requests whose responses are awaited, at most.
const PIPELINED: usize = 1024;

/// Shows each request and each response as a line, and the pieces of bodies by their length.
#[derive(Default)]
pub struct Http {
    sides: [Side; 2],
    /// For each request without a response, whether that has no body.
    awaited: VecDeque<bool>,
    /// The connection speaks another protocol by now.
    upgraded: bool,
    /// What reads that.
    next: Option<Box<dyn Summary>>,
}

#[derive(Debug, Default)]
struct Side {
    head: Vec<u8>,
    body: Body,
}

#[derive(Debug, Default, PartialEq)]
enum Body {
    #[default]
    None,
    Length(u64),
    Chunked(Chunk),
    UntilEnd,
}

#[derive(Debug, PartialEq)]
enum Chunk {
    /// Within the line that gives the size; the digits so far, and whether they are over.
    Size(u64, bool),
    /// Within the chunk, its end of line counted in.
    Data(u64),
    /// Within the lines that follow the last chunk; the length of the current one.
    Trailer(u64),
}

impl Summary for Http {
    fn feed(&mut self, direction: Direction, mut bytes: &[u8], lines: &mut Vec<Line>) {
        while !bytes.is_empty() {
            if self.upgraded {
                return match &mut self.next {
                    Some(next) => next.feed(direction, bytes, lines),
                    None => Data.feed(direction, bytes, lines),
                };
            }
            let side = &mut self.sides[direction.index()];
            if side.body == Body::None {
                bytes = self.head(direction, bytes, lines);
                continue;
            }
            let used = side.body.take(bytes);
            lines.push(line(used, format!("body, {used} bytes")));
            bytes = &bytes[used..];
        }
    }
}

impl Http {
    /// With a reader for what follows a switch of protocols (101).
    #[must_use]
    pub fn upgrading_to(next: Box<dyn Summary>) -> Self {
        Self {
            next: Some(next),
            ..Self::default()
        }
    }

    /// Goes on with a header; gives what follows it.
    fn head<'a>(
        &mut self,
        direction: Direction,
        bytes: &'a [u8],
        lines: &mut Vec<Line>,
    ) -> &'a [u8] {
        let side = &mut self.sides[direction.index()];
        let before = side.head.len();
        side.head.extend_from_slice(bytes);
        let Some(length) = end_of_head(&side.head) else {
            if side.head.len() > HEAD_MAX || !may_begin(direction, &side.head) {
                let head = std::mem::take(&mut side.head);
                lines.push(line(head.len(), hex(&head)));
            }
            return &[];
        };
        let head: Vec<u8> = std::mem::take(&mut side.head).drain(..length).collect();
        let text = String::from_utf8_lossy(&head);
        let text = text.trim_start_matches(['\r', '\n']);
        let shown = match direction {
            Direction::Received => self.request(text),
            Direction::Sent => self.response(text),
        };
        lines.push(line(length, shown));
        &bytes[length - before..]
    }

    fn request(&mut self, head: &str) -> String {
        let first = head.lines().next().unwrap_or_default();
        if self.awaited.len() < PIPELINED {
            self.awaited.push_back(first.starts_with("HEAD "));
        }
        self.sides[Direction::Received.index()].body = body(head).unwrap_or_default();
        shown(&masked(first))
    }

    fn response(&mut self, head: &str) -> String {
        let first = head.lines().next().unwrap_or_default();
        let status = first.split(' ').nth(1).unwrap_or_default();
        let interim = status.starts_with('1');
        let bodiless = match interim {
            true => true,
            false => self.awaited.pop_front().unwrap_or(false) || matches!(status, "204" | "304"),
        };
        self.upgraded = status == "101";
        self.sides[Direction::Sent.index()].body = match bodiless {
            true => Body::None,
            false => body(head).unwrap_or(Body::UntilEnd),
        };
        let about: Vec<String> = ["Content-Type", "Content-Length"]
            .iter()
            .filter_map(|name| field(head, name).map(|value| (*name, value)))
            .map(|(name, value)| match name {
                "Content-Length" => format!("{value} bytes"),
                _ => value.to_owned(),
            })
            .collect();
        let about = match about.is_empty() {
            true => String::new(),
            false => format!(" ({})", about.join(", ")),
        };
        shown(&format!("{first}{about}"))
    }
}

impl Body {
    /// How many of the bytes are the body's; at its end it becomes none.
    fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::None => 0,
            Self::UntilEnd => bytes.len(),
            Self::Length(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    *self = Self::None;
                }
                used
            }
            Self::Chunked(chunk) => {
                let mut used = 0;
                while used < bytes.len() {
                    let (taken, over) = chunk.take(&bytes[used..]);
                    used += taken;
                    if over {
                        *self = Self::None;
                        break;
                    }
                }
                used
            }
        }
    }
}

impl Chunk {
    /// Takes at least one byte; whether the body is over with it.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let first = bytes.first().copied().unwrap_or_default();
        match self {
            Self::Data(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    *self = Self::Size(0, false);
                }
                (used, false)
            }
            Self::Size(0, _) if first == b'\n' => {
                *self = Self::Trailer(0);
                (1, false)
            }
            Self::Size(size, _) if first == b'\n' => {
                *self = Self::Data(size.saturating_add(2));
                (1, false)
            }
            Self::Size(size, over) => {
                match char::from(first).to_digit(16).filter(|_| !*over) {
                    Some(digit) => *size = size.saturating_mul(16).saturating_add(digit.into()),
                    None => *over = true,
                }
                (1, false)
            }
            Self::Trailer(0) if first == b'\n' => (1, true),
            Self::Trailer(length) => {
                match first {
                    b'\n' => *length = 0,
                    b'\r' => {}
                    _ => *length += 1,
                }
                (1, false)
            }
        }
    }
}

/// The body that a header announces.
fn body(head: &str) -> Option<Body> {
    if field(head, "Transfer-Encoding").is_some() {
        return Some(Body::Chunked(Chunk::Size(0, false)));
    }
    match field(head, "Content-Length")?.parse().ok()? {
        0 => Some(Body::None),
        length => Some(Body::Length(length)),
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    // Empty lines before a request are skipped (RFC 9112 section 2.2).
    let skipped = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let rest = &bytes[skipped..];
    let end = rest.iter().enumerate().find_map(|(at, byte)| {
        let empty = match (byte, rest.get(at + 1), rest.get(at + 2)) {
            (b'\n', Some(b'\n'), _) => 1,
            (b'\n', Some(b'\r'), Some(b'\n')) => 2,
            _ => return None,
        };
        Some(at + 1 + empty)
    })?;
    Some(skipped + end)
}

/// Whether the bytes can be the beginning of a header; after a gap they may be from within a body.
fn may_begin(direction: Direction, bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(16)];
    match direction {
        Direction::Sent => b"HTTP/1."
            .iter()
            .zip(start)
            .all(|(expected, byte)| expected == byte),
        Direction::Received => start
            .iter()
            .skip_while(|byte| matches!(byte, b'\r' | b'\n'))
            .take_while(|byte| **byte != b' ')
            .all(|byte| byte.is_ascii_uppercase() || *byte == b'-'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};

    fn told(pieces: &[(Direction, &str)]) -> Vec<String> {
        let mut reader = Http::default();
        let mut lines = Vec::new();
        for (direction, piece) in pieces {
            reader.feed(*direction, piece.as_bytes(), &mut lines);
        }
        lines
            .into_iter()
            .map(|line| format!("{} {}", line.length, line.text))
            .collect()
    }

    const GET: &str = "GET /a.txt?token=x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eA==\r\n\r\n";

    #[test]
    fn t35_a_request_and_its_response_are_a_line_each() {
        let lines = told(&[
            (Received, GET),
            (
                Sent,
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-type: text/plain\r\n\r\nabc",
            ),
            (Received, "HEAD / HTTP/1.1\r\n\r\n"),
            (Sent, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
            (Received, "GET / HTTP/1.1\r\n\r\n"),
            (Sent, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ]);
        let expected = [
            "67 GET /a.txt?token=*** HTTP/1.1",
            "64 HTTP/1.1 200 OK (text/plain, 3 bytes)",
            "3 body, 3 bytes",
            "19 HEAD / HTTP/1.1",
            "38 HTTP/1.1 200 OK (3 bytes)",
            "18 GET / HTTP/1.1",
            "29 HTTP/1.1 304 Not Modified",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn t35_the_end_of_a_chunked_body_is_found_in_any_cut() {
        let sent = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    4;x=1\r\nWiki\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n\
                    HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        for cut in 0..sent.len() {
            let (head, rest) = sent.split_at(cut);
            let lines = told(&[(Received, GET), (Received, GET), (Sent, head), (Sent, rest)]);
            let last = lines.last().unwrap();
            assert!(
                last.ends_with("HTTP/1.1 404 Not Found (0 bytes)"),
                "{cut}: {lines:?}"
            );
        }
    }

    #[test]
    fn t35_a_reader_that_begins_within_a_body_finds_the_next_request() {
        let lines = told(&[(Received, "the rest of an upload\r\n\r\n"), (Received, GET)]);
        assert!(lines.last().unwrap().contains("GET /a.txt"), "{lines:?}");
        let lines = told(&[(Sent, "rest"), (Sent, "HTTP/1.1 204 No Content\r\n\r\n")]);
        assert_eq!(lines, ["4 72 65 73 74", "27 HTTP/1.1 204 No Content"]);
    }

    #[test]
    fn t35_after_an_upgrade_the_bytes_are_data() {
        let lines = told(&[
            (Received, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            (Sent, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x02"),
            (Received, "\x01"),
        ]);
        assert_eq!(lines[2..], ["2 data, 2 bytes", "1 data, 1 bytes"]);
    }
}
