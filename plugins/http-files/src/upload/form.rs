//! `multipart/form-data` as it comes in (RFC 7578, RFC 2046, 5.1), without I/O: bytes in, events out.

use polyport_sdk::http::Bytes;

/// The header of a part may have this many bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// What a form holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Begin {
        /// The field's name.
        name: String,
        /// The name of the file, without folders; none for a plain field, empty where a browser's
        /// user chose no file.
        file_name: Option<String>,
    },
    /// More of the part's content.
    Data(Bytes),
    /// The part is complete.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary.
    Boundary,
    Head,
    Content,
    /// Behind the last boundary: what follows does not count.
    Complete,
}

/// A form under way.
#[derive(Debug)]
pub struct Form {
    /// CR LF, two dashes, the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
}

/// The boundary a `Content-Type` field names; none for other types.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let fit = !boundary.is_empty() && boundary.len() <= MAX_BOUNDARY && boundary.is_ascii();
    fit.then_some(boundary)
}

impl Form {
    /// A form with this boundary.
    pub fn new(boundary: &str) -> Self {
        // The first boundary need not have a line end before it.
        Self {
            delimiter: format!("\r\n--{boundary}").into(),
            buffer: b"\r\n".into(),
            state: State::Preamble,
        }
    }

    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Complete {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether the last boundary came.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The next event; none until more bytes come.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn next_event(&mut self) -> Result<Option<Event>, &'static str> {
        loop {
            match self.state {
                State::Preamble => match memchr::memmem::find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        self.consume(at + self.delimiter.len());
                        self.state = State::Boundary;
                    }
                    None => {
                        let keep = self.buffer.len().min(self.delimiter.len());
                        self.consume(self.buffer.len() - keep);
                        return Ok(None);
                    }
                },
                State::Boundary => {
                    if self.buffer.starts_with(b"--") {
                        self.state = State::Complete;
                        self.buffer = Vec::new();
                        return Ok(None);
                    }
                    // Blanks may stand between a boundary and its line end.
                    let blanks = self
                        .buffer
                        .iter()
                        .take_while(|byte| matches!(byte, b' ' | b'\t'))
                        .count();
                    match self.buffer.get(blanks..) {
                        Some([b'\r', b'\n', ..]) => {
                            // The line end may begin the empty line that ends a header of no fields.
                            self.consume(blanks);
                            self.state = State::Head;
                        }
                        Some([] | [b'\r'] | [b'-']) if blanks < MAX_HEAD => return Ok(None),
                        _ => return Err("expected a line end after a boundary"),
                    }
                }
                State::Head => {
                    let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else {
                        if self.buffer.len() > MAX_HEAD {
                            return Err("expected at most 16384 bytes of header in a part");
                        }
                        return Ok(None);
                    };
                    let head = self.buffer.get(..end).unwrap_or_default();
                    let begin = begin(&String::from_utf8_lossy(head))?;
                    self.consume(end + 4);
                    self.state = State::Content;
                    return Ok(Some(begin));
                }
                State::Content => return Ok(self.content()),
                State::Complete => return Ok(None),
            }
        }
    }

    fn content(&mut self) -> Option<Event> {
        let known = match memchr::memmem::find(&self.buffer, &self.delimiter) {
            Some(0) => {
                self.consume(self.delimiter.len());
                self.state = State::Boundary;
                return Some(Event::End);
            }
            Some(at) => at,
            // The last bytes may begin a delimiter.
            None => self.buffer.len().saturating_sub(self.delimiter.len() - 1),
        };
        if known == 0 {
            return None;
        }
        let rest = self.buffer.split_off(known);
        Some(Event::Data(
            std::mem::replace(&mut self.buffer, rest).into(),
        ))
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
    }
}

/// Reads a part's header.
fn begin(head: &str) -> Result<Event, &'static str> {
    for line in head.lines() {
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        if !field.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err("expected a part of form-data");
        }
        let name = parameter(parameters, "name").ok_or("expected the name of a form field")?;
        let file_name =
            parameter(parameters, "filename").map(|name| last_component(&name).to_owned());
        return Ok(Event::Begin { name, file_name });
    }
    Err("expected Content-Disposition in a part")
}

/// Some browsers send the whole path of the user's file.
fn last_component(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// The value of a parameter in `; name=value; name="value"`. In quotes, a backslash stands before
/// a quote or another backslash, and `%22` is a quote as browsers write it.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';', '\r', '\n']);
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let value;
        (value, rest) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value.replace("%22", "\""), quoted.get(at + 1..)?)),
            '\\' => match chars.peek() {
                // Only these two: older browsers send C:\a.txt as it is.
                Some(&(_, escaped @ ('"' | '\\'))) => {
                    value.push(escaped);
                    chars.next();
                }
                _ => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The events of a form that comes in pieces, data joined.
    fn events(form: &[u8], piece: usize) -> Result<Vec<Event>, &'static str> {
        let mut parser = Form::new("B");
        let mut events: Vec<Event> = Vec::new();
        for bytes in form.chunks(piece.max(1)) {
            parser.feed(bytes);
            while let Some(event) = parser.next_event()? {
                match (events.last_mut(), event) {
                    (Some(Event::Data(all)), Event::Data(more)) => {
                        *all = [all.as_ref(), &more].concat().into()
                    }
                    (_, event) => events.push(event),
                }
            }
        }
        if parser.is_complete() {
            Ok(events)
        } else {
            Err("incomplete")
        }
    }

    fn file(name: &str, content: &[u8]) -> Vec<Event> {
        let mut events = vec![Event::Begin {
            name: "path".into(),
            file_name: Some(name.into()),
        }];
        if !content.is_empty() {
            events.push(Event::Data(content.to_vec().into()));
        }
        events.push(Event::End);
        events
    }

    fn form(name: &str, content: &[u8]) -> Vec<u8> {
        let head = format!(
            "--B\r\nContent-Disposition: form-data; name=\"path\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\n"
        );
        [head.as_bytes(), content, b"\r\n--B--\r\n"].concat()
    }

    #[test]
    fn a_form_is_read_in_any_split() {
        let form = [
            b"preamble\r\n--B\r\nContent-Disposition: form-data; name=note\r\n\r\nhi\r\n".as_slice(),
            b"--B  \r\ncontent-disposition: form-data; name=\"path\"; filename=\"a.txt\"\r\n\r\none\r\n-two",
            b"\r\n--B\r\nContent-Disposition: form-data; name=\"path\"; filename=\"\"\r\n\r\n\r\n--B--",
            b"epilogue",
        ]
        .concat();
        let mut expected = vec![
            Event::Begin {
                name: "note".into(),
                file_name: None,
            },
            Event::Data(Bytes::from_static(b"hi")),
            Event::End,
        ];
        expected.extend(file("a.txt", b"one\r\n-two"));
        expected.extend(file("", b""));
        for piece in 1..=form.len() {
            assert_eq!(events(&form, piece).as_ref(), Ok(&expected), "{piece}");
        }
    }

    #[test]
    fn names_of_files_are_what_the_user_sees() {
        let name = |sent: &str| match events(&form(sent, b"x"), 1000).unwrap().swap_remove(0) {
            Event::Begin { file_name, .. } => file_name.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(name("a b.txt"), "a b.txt");
        assert_eq!(name("C:\\Users\\x\\a.txt"), "a.txt");
        assert_eq!(name("/etc/passwd"), "passwd");
        assert_eq!(name("a%22b\\\"c.txt"), "a\"b\"c.txt");
        assert_eq!(name("\u{20ac}.txt"), "\u{20ac}.txt");
        assert_eq!(name(".."), "..");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (form, wrong) in [
            (
                "--B\r\nX: y\r\n\r\nz\r\n--B--",
                "expected Content-Disposition in a part",
            ),
            (
                "--B\r\n\r\nz\r\n--B--",
                "expected Content-Disposition in a part",
            ),
            (
                "--B\r\nContent-Disposition: form-data\r\n\r\nz",
                "expected the name of a form field",
            ),
            (
                "--B\r\nContent-Disposition: attachment; name=a\r\n\r\nz",
                "expected a part of form-data",
            ),
            ("--Bx\r\n", "expected a line end after a boundary"),
            ("--C\r\n", "incomplete"),
            ("", "incomplete"),
        ] {
            assert_eq!(events(form.as_bytes(), 7), Err(wrong), "{form:?}");
        }
        let endless = format!("--B\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(
            events(endless.as_bytes(), 100),
            Err("expected at most 16384 bytes of header in a part")
        );
    }

    #[test]
    fn the_boundary_comes_from_the_content_type() {
        assert_eq!(
            boundary("multipart/form-data; boundary=abc"),
            Some("abc".into())
        );
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; Boundary=\"a b\""),
            Some("a b".into())
        );
        for wrong in [
            "multipart/form-data",
            "multipart/mixed; boundary=a",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary(wrong), None, "{wrong}");
        }
        assert_eq!(
            boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
            None
        );
    }

    proptest! {
        #[test]
        fn any_content_comes_through(content in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            // A boundary that the content cannot hold.
            prop_assume!(memchr::memmem::find(&content, b"\r\n--B").is_none());
            prop_assert_eq!(events(&form("f", &content), piece).unwrap(), file("f", &content));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "(--B|\r\n|:|;|=|\"|[a-z]| |-){0,60}", piece in 1usize..9) {
            let _ = events(bytes.as_bytes(), piece);
        }
    }
}
