//! One HTTP/1.1 request and its response, from the client's side (RFC 9112).

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use polyport_sdk::client::{Address, Failure, Link};

use super::Server;

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How long to wait for `100 Continue` (RFC 9110 section 10.1.1 leaves it to the client).
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);

/// Longest header and longest line of chunked coding.
const MAX_HEAD: u64 = 64 * 1024;

/// A response whose body has not been read yet.
pub struct Response {
    pub status: u16,
    reason: String,
    fields: Vec<(String, String)>,
    stream: BufReader<Link>,
    body: Framing,
}

/// Where the body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of the chunk are left; its line end and the next size follow.
    Chunk(u64),
    /// No chunk was read yet.
    FirstChunk,
    /// The connection's end.
    Close,
}

/// Sends a request without a body on a connection of its own.
pub fn request(
    method: &str,
    server: &Server,
    target: &str,
    fields: &str,
) -> Result<Response, Failure> {
    let Server { address, transport } = server;
    let mut stream = transport.connect(&address.host, address.port, SILENCE)?;
    send(&mut stream, &head(method, address, target, fields))?;
    Response::read(BufReader::new(stream), method == "HEAD")
}

/// Sends a request with a body of `length` bytes; `next` gives them block by block.
pub fn upload(
    server: &Server,
    fields: &str,
    length: u64,
    mut next: impl FnMut(&mut [u8]) -> Result<usize, Failure>,
) -> Result<Response, Failure> {
    let Server { address, transport } = server;
    let mut stream = transport.connect(&address.host, address.port, SILENCE)?;
    let fields = format!("{fields}Content-Length: {length}\r\nExpect: 100-continue\r\n");
    send(&mut stream, &head("PUT", address, &address.path, &fields))?;
    let mut stream = BufReader::new(stream);
    let wait = |stream: &BufReader<Link>, limit| {
        let set = stream.get_ref().socket().set_read_timeout(Some(limit));
        set.map_err(Failure::broken("server"))
    };
    wait(&stream, CONTINUE_LIMIT)?;
    // An answer that begins now is 100, or a refusal that makes the body needless.
    let answers = stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
    wait(&stream, SILENCE)?;
    if answers {
        let response = Response::read_one(&mut stream)?;
        if response.0 != 100 {
            return Response::finish(stream, response, false);
        }
    }
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = next(&mut block)?;
        if read == 0 {
            break;
        }
        if let Err(error) = stream.get_mut().write_all(&block[..read]) {
            // A server that closes early has usually said why.
            return Response::read(stream, false).map_err(|_| Failure::broken("server")(error));
        }
    }
    Response::read(stream, false)
}

fn head(method: &str, address: &Address, target: &str, fields: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: polyport/{}\r\nConnection: close\r\n{fields}\r\n",
        address.authority(),
        env!("CARGO_PKG_VERSION")
    )
}

fn send(stream: &mut Link, head: &str) -> Result<(), Failure> {
    stream
        .write_all(head.as_bytes())
        .map_err(Failure::broken("server"))
}

type Head = (u16, String, Vec<(String, String)>);

impl Response {
    fn read(mut stream: BufReader<Link>, without_body: bool) -> Result<Self, Failure> {
        loop {
            let head = Self::read_one(&mut stream)?;
            // Interim responses (RFC 9110 section 15.2) are followed by the one that counts.
            if !(100..200).contains(&head.0) {
                return Self::finish(stream, head, without_body);
            }
        }
    }

    fn read_one(stream: &mut BufReader<Link>) -> Result<Head, Failure> {
        let mut lines = Vec::new();
        let mut limited = stream.take(MAX_HEAD);
        loop {
            let line = line(&mut limited)?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let first = lines.first().map_or("", String::as_str);
        let wrong = || Failure::Failed(format!("server: expected an HTTP response, got {first:?}"));
        let mut parts = first.splitn(3, ' ');
        if !parts
            .next()
            .is_some_and(|version| version.starts_with("HTTP/1."))
        {
            return Err(wrong());
        }
        let status = parts
            .next()
            .and_then(|code| code.parse().ok())
            .ok_or_else(wrong)?;
        let reason = parts.next().unwrap_or_default().to_owned();
        let fields = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok((status, reason, fields))
    }

    fn finish(
        stream: BufReader<Link>,
        (status, reason, fields): Head,
        without_body: bool,
    ) -> Result<Self, Failure> {
        let mut this = Self {
            status,
            reason,
            fields,
            stream,
            body: Framing::Close,
        };
        this.body = if without_body || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else if this
            .field("transfer-encoding")
            .is_some_and(|codings| codings.ends_with("chunked"))
        {
            Framing::FirstChunk
        } else {
            this.length()?.map_or(Framing::Close, Framing::Length)
        };
        Ok(this)
    }

    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// `Content-Length`.
    pub fn length(&self) -> Result<Option<u64>, Failure> {
        let Some(text) = self.field("content-length") else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Failure::Failed(format!("server: expected a Content-Length, got {text:?}"))
        })
    }

    /// Why a status is a failure; a server that is busy may be asked again.
    pub fn refusal(&self, what: &str) -> Failure {
        let text = format!("{what}: {} {}", self.status, self.reason);
        match self.status {
            300..400 => match self.field("location") {
                Some(location) => Failure::Failed(format!("{text}: it is at {location}")),
                None => Failure::Failed(text),
            },
            503 | 408 | 429 => Failure::Broken(text),
            _ => Failure::Failed(text),
        }
    }

    /// The next bytes of the body; 0 at its end.
    pub fn body(&mut self, block: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.body {
                Framing::Length(0) => return Ok(0),
                Framing::Close => return self.some(block, u64::MAX),
                Framing::Length(left) => {
                    let read = self.some(block, left)?;
                    self.body = Framing::Length(left - read as u64);
                    return if read == 0 {
                        Err(cut_short())
                    } else {
                        Ok(read)
                    };
                }
                Framing::Chunk(left @ 1..) => {
                    let read = self.some(block, left)?;
                    self.body = Framing::Chunk(left - read as u64);
                    return if read == 0 {
                        Err(cut_short())
                    } else {
                        Ok(read)
                    };
                }
                Framing::FirstChunk | Framing::Chunk(0) => self.next_chunk()?,
            }
        }
    }

    fn next_chunk(&mut self) -> Result<(), Failure> {
        let mut limited = (&mut self.stream).take(MAX_HEAD);
        if self.body == Framing::Chunk(0) {
            line(&mut limited)?;
        }
        let size = line(&mut limited)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| {
            Failure::Failed(format!("server: expected a chunk's size, got {size:?}"))
        })?;
        self.body = Framing::Chunk(size);
        if size == 0 {
            // Trailer fields, and the empty line.
            while !line(&mut limited)?.is_empty() {}
            self.body = Framing::Length(0);
        }
        Ok(())
    }

    fn some(&mut self, block: &mut [u8], at_most: u64) -> Result<usize, Failure> {
        let most = usize::try_from(at_most)
            .unwrap_or(usize::MAX)
            .min(block.len());
        self.stream
            .read(&mut block[..most])
            .map_err(Failure::broken("server"))
    }
}

fn cut_short() -> Failure {
    Failure::Broken("server: it closed the connection in the middle of a file".into())
}

fn line(stream: &mut impl BufRead) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = stream.read_until(b'\n', &mut bytes);
    read.map_err(Failure::broken("server"))?;
    if bytes.pop() != Some(b'\n') {
        return Err(Failure::Broken(
            "server: it closed the connection within a header".into(),
        ));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
