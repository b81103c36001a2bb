//! Writes answers, byte for byte as Python's `json.dumps` writes them. Does no I/O.

use polyport_sdk::limits;

use crate::protocol::{Reader, Request};

/// The longest request that is awaited of a client for which there is no place.
const FIRST_REQUEST: u32 = 4096;

/// Length of every status in bytes; clients read exactly that many.
pub(crate) const STATUS_LEN: usize = 1024;

/// Outcomes that are told by a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Logged in.
    Passed,
    /// Not logged in, and needed; or the login failed.
    WrongUserOrPassword,
    /// No such file for this client.
    NoSuchFile,
    /// Not a request.
    BadRequest,
    /// The offset lies beyond the end of the file.
    BeyondEnd,
    /// There is no place for the client.
    Busy,
}

impl Status {
    fn code_and_message(self) -> (u16, &'static str) {
        match self {
            Self::Passed => (200, "passed"),
            Self::WrongUserOrPassword => (201, "wrong user or password"),
            Self::NoSuchFile => (300, "file does not exist"),
            Self::BadRequest => (400, "bad request"),
            Self::BeyondEnd => (416, "offset beyond the end of the file"),
            Self::Busy => (503, "too many connections"),
        }
    }
}

/// What a client reads for which there is no place: the answer to its first request.
pub(crate) fn busy(received: &[u8]) -> limits::Busy {
    let mut reader = Reader::new(FIRST_REQUEST);
    reader.feed(received);
    limits::Busy::Answer(match reader.next() {
        Ok(None) => return limits::Busy::Wait,
        Ok(Some(Request::Get { .. })) => status_instead_of_file(Status::Busy),
        Ok(Some(Request::Auth { .. })) | Err(_) => status(Status::Busy),
    })
}

/// A status of exactly [`STATUS_LEN`] bytes, filled up with zeros.
pub(crate) fn status(status: Status) -> Vec<u8> {
    let (code, message) = status.code_and_message();
    let head = format!(
        "{{\"status_code\": {code}, \"status_msg\": {}, \"fill\": \"",
        quoted(message)
    );
    let fill = STATUS_LEN - head.len() - 2;
    format!("{head}{}\"}}", "0".repeat(fill)).into_bytes()
}

/// A status in the place of a file's header: behind its length, for a client that has asked for a
/// file reads a length first.
pub(crate) fn status_instead_of_file(instead: Status) -> Vec<u8> {
    framed(&status(instead))
}

/// The header that a file follows. `offset` only where one was asked for.
pub(crate) fn file_header(name: &str, size: u64, offset: Option<u64>) -> Vec<u8> {
    let offset = offset
        .map(|offset| format!(", \"offset\": {offset}"))
        .unwrap_or_default();
    framed(
        format!(
            "{{\"filename\": {}, \"file_size\": {size}{offset}}}",
            quoted(name)
        )
        .as_bytes(),
    )
}

fn framed(text: &[u8]) -> Vec<u8> {
    // a header is its request's name and some digits: far below 4 GiB
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], text].concat()
}

/// ASCII only; everything else escaped as UTF-16.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            ' '..='~' => quoted.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t23_every_status_is_1024_bytes_of_json() {
        for (wanted, code) in [
            (Status::Passed, 200),
            (Status::WrongUserOrPassword, 201),
            (Status::NoSuchFile, 300),
            (Status::BadRequest, 400),
            (Status::BeyondEnd, 416),
        ] {
            let bytes = status(wanted);
            assert_eq!(bytes.len(), 1024);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["status_code"], code);
            assert!(
                value["fill"]
                    .as_str()
                    .unwrap()
                    .bytes()
                    .all(|byte| byte == b'0')
            );
        }
        let text = String::from_utf8(status(Status::Passed)).unwrap();
        assert!(text.starts_with(r#"{"status_code": 200, "status_msg": "passed", "fill": "000"#));
        assert!(text.ends_with("000\"}"));
    }

    #[test]
    fn t22_a_header_stands_behind_its_length() {
        let header = file_header("cyjl.rmvb", 268_453_476, None);
        let text = br#"{"filename": "cyjl.rmvb", "file_size": 268453476}"#;
        assert_eq!(header, [&[49, 0, 0, 0][..], text].concat());
        let resumed = file_header("a", 10, Some(4));
        assert_eq!(
            &resumed[4..],
            br#"{"filename": "a", "file_size": 10, "offset": 4}"#
        );
    }

    #[test]
    fn names_are_escaped_as_python_does() {
        assert_eq!(
            quoted("视频😀\"\\\n\u{7f}"),
            r#""\u89c6\u9891\ud83d\ude00\"\\\n\u007f""#
        );
        for text in ["视频😀", "a\"b\\c\r\n\t\u{1}\u{7f}é"] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
    }
}
