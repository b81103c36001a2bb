//! Finds requests in the stream. Does no I/O.
//!
//! A request is a JSON object, either bare, or behind its length as a little-endian 32-bit
//! number. The two are told apart by the fourth byte: a length has zero there, because none
//! reaches 16 MiB, and JSON has no zero byte.

use serde::Deserialize;

/// No request is as long as 16 MiB.
pub(crate) const LONGEST: u32 = (1 << 24) - 1;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `{"cmd":"get","file":NAME}`, with `"offset":N` to leave out what the client has.
    Get { file: String, offset: Option<u64> },
    /// `{"action_type":"auth","username":NAME,"password":WORD}`
    Auth { username: String, password: String },
}

/// Why the stream cannot be read on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// More bytes than a request may have.
    TooLong,
    /// Neither a length nor a JSON object.
    NotJson,
    /// An object, but none of the requests.
    Unknown,
}

/// Collects bytes until a request is complete; any cut of the stream gives the same requests.
#[derive(Debug)]
pub(crate) struct Reader {
    limit: usize,
    buffer: Vec<u8>,
    object: Object,
}

/// How far a bare object was looked through.
#[derive(Debug, Default)]
struct Object {
    looked_at: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

#[derive(Deserialize)]
struct Fields {
    cmd: Option<String>,
    file: Option<String>,
    offset: Option<u64>,
    action_type: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Reader {
    /// Takes requests of at most `limit` bytes.
    pub(crate) fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit.min(LONGEST)).unwrap_or(usize::MAX);
        Self {
            limit,
            buffer: Vec::new(),
            object: Object::default(),
        }
    }

    /// Adds bytes from the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a request has begun that is not complete.
    pub(crate) fn is_within_a_request(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The bytes of a request that is not complete.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// The next complete request; none when more bytes are needed.
    ///
    /// # Errors
    /// [`BadRequest`]; after one of them only [`BadRequest::Unknown`] leaves a stream that can be
    /// read on.
    pub(crate) fn next(&mut self) -> Result<Option<Request>, BadRequest> {
        loop {
            let Some(&head) = self.buffer.first_chunk::<4>() else {
                return Ok(None);
            };
            if head[3] == 0 {
                return self.next_framed(u32::from_le_bytes(head));
            }
            // a line end after a bare object
            if !head[0].is_ascii_whitespace() {
                return self.next_bare();
            }
            self.buffer.remove(0);
        }
    }

    fn next_framed(&mut self, length: u32) -> Result<Option<Request>, BadRequest> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(BadRequest::TooLong);
        }
        let Some(text) = self.buffer.get(4..4 + length) else {
            return Ok(None);
        };
        let request = parse(text);
        self.buffer.drain(..4 + length);
        request.map(Some)
    }

    fn next_bare(&mut self) -> Result<Option<Request>, BadRequest> {
        if self.buffer.first() != Some(&b'{') {
            return Err(BadRequest::NotJson);
        }
        match self.object.end(&self.buffer) {
            Some(end) if end <= self.limit => {
                let request = parse(&self.buffer[..end]);
                self.buffer.drain(..end);
                self.object = Object::default();
                request.map(Some)
            }
            None if self.buffer.len() <= self.limit => Ok(None),
            _ => Err(BadRequest::TooLong),
        }
    }
}

impl Object {
    /// Looks on for the brace that ends the object, from where the last look ended.
    fn end(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(&byte) = buffer.get(self.looked_at) {
            self.looked_at += 1;
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(self.looked_at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn parse(text: &[u8]) -> Result<Request, BadRequest> {
    let fields: Fields = serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            BadRequest::Unknown
        } else {
            BadRequest::NotJson
        }
    })?;
    match fields {
        Fields {
            cmd: Some(cmd),
            file: Some(file),
            offset,
            ..
        } if cmd == "get" => Ok(Request::Get { file, offset }),
        Fields {
            action_type: Some(action),
            username: Some(username),
            password: Some(password),
            ..
        } if action == "auth" => Ok(Request::Auth { username, password }),
        _ => Err(BadRequest::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = r#"{"cmd": "get", "file": "a}\"{.rmvb"}"#;
    const AUTH: &str = r#"{"action_type": "auth", "username": "xzz", "password": "123456"}"#;

    fn framed(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn get(file: &str) -> Request {
        Request::Get {
            file: file.into(),
            offset: None,
        }
    }

    fn read(pieces: &[&[u8]]) -> Vec<Result<Request, BadRequest>> {
        let mut reader = Reader::new(1000);
        let mut found = Vec::new();
        for piece in pieces {
            reader.feed(piece);
            while let Some(result) = reader.next().transpose() {
                let stop = result.is_err();
                found.push(result);
                if stop {
                    return found;
                }
            }
        }
        found
    }

    #[test]
    fn t21_any_split_of_the_stream_gives_the_same_requests() {
        let stream = [
            GET.as_bytes(),
            &framed(AUTH),
            b"\r\n",
            AUTH.as_bytes(),
            &framed(GET),
        ]
        .concat();
        let whole = read(&[&stream]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[0], Ok(get("a}\"{.rmvb")));
        assert_eq!(
            whole[1],
            Ok(Request::Auth {
                username: "xzz".into(),
                password: "123456".into()
            })
        );
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(read(&pieces), whole, "cut at {first} and {second}");
            }
        }
    }

    /// 123 is the code of the brace, 10 that of the line end.
    #[test]
    fn t21_a_length_is_not_taken_for_text() {
        for length in [10, 34, 123, 125, 0x227B] {
            let name = "x".repeat(length.max(40) - 25);
            let text = format!(r#"{{"cmd":"get","file":"{name}"}}"#);
            let text = format!("{text:<length$}");
            let mut reader = Reader::new(LONGEST);
            reader.feed(&framed(&text));
            assert_eq!(reader.next(), Ok(Some(get(&name))), "{length}");
            assert!(!reader.is_within_a_request());
        }
    }

    #[test]
    fn t21_what_is_too_long_is_refused_before_it_is_collected() {
        let mut reader = Reader::new(1000);
        reader.feed(&1001_u32.to_le_bytes());
        assert_eq!(reader.next(), Err(BadRequest::TooLong));
        let mut reader = Reader::new(1000);
        reader.feed(format!("{{\"file\": \"{}", "x".repeat(1000)).as_bytes());
        assert_eq!(reader.next(), Err(BadRequest::TooLong));
        // a length over 16 MiB is no length
        assert_eq!(read(&[&[0, 0, 0, 1]]), [Err(BadRequest::NotJson)]);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (text, expected) in [
            ("GET / HTTP/1.1", BadRequest::NotJson),
            ("{]  ", BadRequest::NotJson),
            ("{\"cmd\": get}", BadRequest::NotJson),
            ("{\"cmd\": \"put\", \"file\": \"x\"}", BadRequest::Unknown),
            ("{\"cmd\": \"get\"}", BadRequest::Unknown),
            ("{\"cmd\": \"get\", \"file\": 7}", BadRequest::Unknown),
            (
                "{\"cmd\": \"get\", \"file\": \"x\", \"offset\": -1}",
                BadRequest::Unknown,
            ),
            (
                "{\"action_type\": \"auth\", \"username\": \"x\"}",
                BadRequest::Unknown,
            ),
        ] {
            assert_eq!(read(&[text.as_bytes()]), [Err(expected)], "{text}");
        }
        let offset = r#"{"cmd":"get","file":"x","offset":9007199254740993}"#;
        let expected = Request::Get {
            file: "x".into(),
            offset: Some(9_007_199_254_740_993),
        };
        assert_eq!(read(&[offset.as_bytes()]), [Ok(expected)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 0..2000_usize) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(read(&[&bytes]), read(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
