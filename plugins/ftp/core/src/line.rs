//! Splits the control connection's bytes into command lines.
//!
//! Owns the TELNET layer of RFC 959 section 3 as far as FTP uses it: sequences that begin with
//! IAC are taken out (a client sends IAC IP, IAC DM before ABOR), lines end in LF with or
//! without CR before it. Must not know any command.

/// Longest command line in bytes, without its line end, unless the operator says otherwise.
///
/// A path of 4096 bytes (PATH_MAX) and its verb fit.
pub const MAX_LINE: usize = 4096 + 64;

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
/// WILL, WONT, DO and DONT carry one option byte (RFC 854).
const NEGOTIATIONS: std::ops::RangeInclusive<u8> = WILL..=254;
const WILL: u8 = 251;

/// One item found in the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A complete line without its end.
    Command(Vec<u8>),
    /// A line over the limit; its bytes were thrown away.
    TooLong,
}

#[derive(Debug, Default)]
enum Telnet {
    #[default]
    Data,
    Iac,
    Option,
    Subnegotiation,
    SubnegotiationIac,
}

/// Incremental splitter; any cut of the stream gives the same lines.
#[derive(Debug)]
pub struct LineReader {
    max_line: usize,
    telnet: Telnet,
    line: Vec<u8>,
    too_long: bool,
}

impl LineReader {
    /// A reader of lines up to this length in bytes, without their line end.
    pub fn new(max_line: usize) -> Self {
        Self {
            max_line,
            telnet: Telnet::default(),
            line: Vec::new(),
            too_long: false,
        }
    }

    /// Takes the next bytes and appends the lines they complete.
    pub fn feed(&mut self, bytes: &[u8], lines: &mut impl Extend<Line>) {
        for &byte in bytes {
            if let Some(byte) = self.telnet(byte) {
                lines.extend(self.data(byte));
            }
        }
    }

    /// Whether nothing was fed since the end of the last line.
    pub fn is_at_line_start(&self) -> bool {
        matches!(self.telnet, Telnet::Data) && self.line.is_empty() && !self.too_long
    }

    /// Bytes that bring a new reader to where this one is in its line, and whether that line is too long already
    /// ([`Self::skip_line`]).
    pub fn begun(&self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::with_capacity(self.line.len());
        for &byte in &self.line {
            // as data, it came twice
            bytes.extend(std::iter::repeat_n(byte, if byte == IAC { 2 } else { 1 }));
        }
        bytes.extend_from_slice(match self.telnet {
            Telnet::Data => &[],
            Telnet::Iac => &[IAC],
            Telnet::Option => &[IAC, WILL],
            Telnet::Subnegotiation => &[IAC, SB],
            Telnet::SubnegotiationIac => &[IAC, SB, IAC],
        });
        (bytes, self.too_long)
    }

    /// Takes the line that comes next for the end of one that is too long.
    pub fn skip_line(&mut self) {
        self.too_long = true;
    }

    fn telnet(&mut self, byte: u8) -> Option<u8> {
        let (next, data) = match (&self.telnet, byte) {
            (Telnet::Data, IAC) => (Telnet::Iac, None),
            (Telnet::Data, byte) => (Telnet::Data, Some(byte)),
            // IAC IAC is the data byte 255
            (Telnet::Iac, IAC) => (Telnet::Data, Some(IAC)),
            (Telnet::Iac, SB) => (Telnet::Subnegotiation, None),
            (Telnet::Iac, byte) if NEGOTIATIONS.contains(&byte) => (Telnet::Option, None),
            (Telnet::Iac | Telnet::Option, _) => (Telnet::Data, None),
            (Telnet::Subnegotiation, IAC) => (Telnet::SubnegotiationIac, None),
            (Telnet::Subnegotiation, _) => (Telnet::Subnegotiation, None),
            (Telnet::SubnegotiationIac, SE) => (Telnet::Data, None),
            (Telnet::SubnegotiationIac, _) => (Telnet::Subnegotiation, None),
        };
        self.telnet = next;
        data
    }

    fn data(&mut self, byte: u8) -> Option<Line> {
        if byte != b'\n' {
            // one more than a line may have: the CR before its LF
            if self.line.len() > self.max_line {
                self.too_long = true;
                self.line.clear();
            }
            if !self.too_long {
                self.line.push(byte);
            }
            return None;
        }
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Some(Line::TooLong);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(if line.len() > self.max_line {
            Line::TooLong
        } else {
            Line::Command(line)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Line> {
        let mut reader = LineReader::new(MAX_LINE);
        let mut found = Vec::new();
        for chunk in chunks {
            reader.feed(chunk, &mut found);
        }
        found
    }

    fn command(text: &str) -> Line {
        Line::Command(text.as_bytes().to_vec())
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_lines() {
        let stream = b"USER a\r\n\xff\xf4\xff\xf2ABOR\r\nNOOP\n\r\n\xff\xfb\x01PWD\r\n";
        let whole = lines(&[stream]);
        assert_eq!(
            whole,
            [
                command("USER a"),
                command("ABOR"),
                command("NOOP"),
                command(""),
                command("PWD")
            ]
        );
        for cut in 0..stream.len() {
            assert_eq!(
                lines(&[&stream[..cut], &stream[cut..]]),
                whole,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn another_reader_goes_on_anywhere() {
        let long = [b'x'; MAX_LINE + 2];
        let stream = [
            &b"NO\xff\xff\xffOP\xff\xfa\xff\xf0\r\n\xff\xfb\x01PWD\r\n"[..],
            &long,
            b"\xff\xf4\r\nNOOP\r\n",
        ]
        .concat();
        let whole = lines(&[&stream]);
        assert_eq!(whole.len(), 4);
        for cut in 0..stream.len() {
            let (mut first, mut second) = (LineReader::new(MAX_LINE), LineReader::new(MAX_LINE));
            let mut found = Vec::new();
            first.feed(&stream[..cut], &mut found);
            let (begun, too_long) = first.begun();
            if too_long {
                second.skip_line();
            }
            second.feed(&begun, &mut found);
            assert_eq!(second.is_at_line_start(), first.is_at_line_start());
            second.feed(&stream[cut..], &mut found);
            assert_eq!(found, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_beginning_of_a_line_is_told_from_its_middle() {
        for (bytes, at_start) in [
            (&b""[..], true),
            (b"NOOP\r\n", true),
            (b"\xff\xf4", true),
            (b"\xff", false),
            (b"NOOP\r\nU", false),
            (&[b'x'; MAX_LINE + 2], false),
        ] {
            let mut reader = LineReader::new(MAX_LINE);
            reader.feed(bytes, &mut Vec::new());
            assert_eq!(reader.is_at_line_start(), at_start, "{bytes:?}");
        }
    }

    #[test]
    fn escaped_iac_is_data_and_subnegotiation_is_not() {
        assert_eq!(
            lines(&[b"A\xff\xffB\xff\xfa\x18\x00x\xff\xf0C\n"]),
            [Line::Command(b"A\xffBC".to_vec())]
        );
    }

    #[test]
    fn overlong_line_is_bounded_and_the_next_one_is_read() {
        let mut reader = LineReader::new(MAX_LINE);
        let mut found = Vec::new();
        for _ in 0..100 {
            reader.feed(&[b'x'; 1000], &mut found);
            assert!(reader.line.capacity() <= 3 * MAX_LINE);
        }
        reader.feed(b"\r\nNOOP\r\n", &mut found);
        assert_eq!(found, [Line::TooLong, command("NOOP")]);
        let longest = "x".repeat(MAX_LINE);
        assert_eq!(lines(&[longest.as_bytes(), b"\r\n"]), [command(&longest)]);
        assert_eq!(lines(&[longest.as_bytes(), b"x\r\n"]), [Line::TooLong]);
    }
}
