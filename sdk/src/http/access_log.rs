//! One line for each request in the combined log format, through `tracing` with the target
//! `access`.

use std::fmt::Write;
use std::time::SystemTime;

use crate::net::Peer;

/// What a line tells.
pub(super) struct Line<'a> {
    pub(super) peer: Peer,
    pub(super) user: Option<&'a str>,
    pub(super) at: SystemTime,
    pub(super) request_line: &'a str,
    pub(super) status: u16,
    /// Bytes of the response's body that were handed to the network.
    pub(super) sent: u64,
    pub(super) referer: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
}

/// Whether anybody reads the lines.
pub(super) fn is_enabled() -> bool {
    tracing::event_enabled!(target: "access", tracing::Level::INFO)
}

pub(super) fn write(line: &Line<'_>) {
    let line = line.format();
    tracing::info!(target: "access", "{line}");
}

/// The line of what was no request, and was answered without being one.
pub(super) fn write_unread(peer: Peer, status: u16) {
    if is_enabled() {
        let at = SystemTime::now();
        write(&Line {
            peer,
            user: None,
            at,
            request_line: "-",
            status,
            sent: 0,
            referer: None,
            user_agent: None,
        });
    }
}

impl Line<'_> {
    fn format(&self) -> String {
        let mut out = String::with_capacity(160);
        match self.peer.ip() {
            Some(ip) => push(&mut out, format_args!("{ip}")),
            None => out.push_str("unix"),
        }
        out.push_str(" - ");
        match self.user {
            Some(user) => push_word(&mut out, user),
            None => out.push('-'),
        }
        push(&mut out, format_args!(" [{}] \"", ClfDate(self.at)));
        push_quoted(&mut out, self.request_line);
        push(&mut out, format_args!("\" {} {}", self.status, self.sent));
        for field in [self.referer, self.user_agent] {
            out.push_str(" \"");
            push_quoted(&mut out, field.unwrap_or("-"));
            out.push('"');
        }
        out
    }
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("a String takes every write");
}

/// A client's text between quotes: nothing in it ends the quotes or the line.
fn push_quoted(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => push(out, format_args!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// A client's text as one word.
fn push_word(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            c if c.is_control() || c.is_whitespace() || c == '"' => {
                push(out, format_args!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// `22/Nov/2026:12:02:00 +0000`
struct ClfDate(SystemTime);

impl std::fmt::Display for ClfDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An HTTP date has the same parts: "Sun, 22 Nov 2026 12:02:00 GMT".
        let date = httpdate::fmt_http_date(self.0);
        let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or("-");
        write!(
            f,
            "{}/{}/{}:{} +0000",
            part(5..7),
            part(8..11),
            part(12..16),
            part(17..25)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn line<'a>() -> Line<'a> {
        Line {
            peer: Peer::Ip("127.0.0.1:4000".parse().unwrap()),
            user: None,
            at: UNIX_EPOCH + Duration::from_secs(1_795_262_520),
            request_line: "GET /a HTTP/1.1",
            status: 200,
            sent: 32,
            referer: None,
            user_agent: Some("curl/8.5"),
        }
    }

    #[test]
    fn a_line_is_in_combined_format() {
        assert_eq!(
            line().format(),
            "127.0.0.1 - - [21/Nov/2026:12:02:00 +0000] \"GET /a HTTP/1.1\" 200 32 \"-\" \"curl/8.5\""
        );
    }

    #[test]
    fn a_client_cannot_forge_a_line_or_a_field() {
        let forged = Line {
            user: Some("a b\"\n"),
            request_line: "GET /\" 200 1\r\n HTTP/1.1",
            user_agent: Some("\\\"x"),
            ..line()
        };
        assert_eq!(
            forged.format(),
            "127.0.0.1 - a\\x20b\\x22\\x0a [21/Nov/2026:12:02:00 +0000] \
             \"GET /\\\" 200 1\\x0d\\x0a HTTP/1.1\" 200 32 \"-\" \"\\\\\\\"x\""
        );
    }
}
