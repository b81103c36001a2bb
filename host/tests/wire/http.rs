//! HTTP/1.1 whose targets and fields are sent as they are.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::connect;

/// A client that keeps its connection where the server lets it.
pub struct Http {
    addr: SocketAddr,
    authorization: Option<String>,
    stream: Option<BufReader<TcpStream>>,
}

/// A response; the head holds the status line and the fields.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// `USER:PASSWORD` as a field's value.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

impl Http {
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            authorization: None,
            stream: None,
        }
    }

    /// With an account's credentials in every request.
    pub fn login(addr: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            authorization: Some(basic(user, password)),
            ..Self::new(addr)
        }
    }

    /// With a token in every request.
    pub fn bearer(addr: SocketAddr, token: &str) -> Self {
        Self {
            authorization: Some(format!("Bearer {token}")),
            ..Self::new(addr)
        }
    }

    /// The head of a request, without the empty line.
    fn head(&self, method: &str, target: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
        let mut head = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nhost: x\r\n"].concat();
        let login = self.authorization.as_deref();
        let login = login.map(|value| ("authorization", value));
        for (name, value) in login.iter().chain(fields) {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head
    }

    /// One exchange, on a new connection if the old one has ended.
    pub fn request(
        &mut self,
        method: &str,
        target: impl AsRef<[u8]>,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut bytes = self.head(method, target.as_ref(), fields);
        if !body.is_empty() || matches!(method, "PUT" | "POST" | "PATCH") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        let is_fresh = self.stream.is_none();
        match self.exchange(method, &bytes) {
            // The server may have closed between two requests.
            Err(_) if !is_fresh => self.exchange(method, &bytes),
            other => other,
        }
    }

    fn exchange(&mut self, method: &str, bytes: &[u8]) -> io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(self.addr)),
        };
        // An answer may come before all is sent.
        let sent = stream.get_mut().write_all(bytes);
        let (response, keep) =
            read(&mut stream, method).map_err(|error| sent.err().unwrap_or(error))?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }

    /// Sends the head of a request and leaves what follows to the test.
    pub fn begin(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> TcpStream {
        let mut stream = connect(self.addr);
        let head = [&self.head(method, target.as_bytes(), fields)[..], b"\r\n"].concat();
        stream.write_all(&head).unwrap();
        stream
    }
}

/// Reads a response; whether the connection can be used again.
pub fn read(stream: &mut BufReader<TcpStream>, method: &str) -> io::Result<(Response, bool)> {
    let head = read_head(stream)?;
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned())
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("status line of {head:?}")))?;
    let mut body = Vec::new();
    let mut keep = field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    if method == "HEAD" || matches!(status, 204 | 304) {
    } else if field("transfer-encoding").is_some() {
        read_chunks(stream, &mut body)?;
    } else if let Some(len) = field("content-length") {
        let len = len.parse().map_err(io::Error::other)?;
        stream.take(len).read_to_end(&mut body)?;
        if (body.len() as u64) < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else {
        stream.read_to_end(&mut body)?;
        keep = false;
    }
    Ok((Response { status, head, body }, keep))
}

/// Reads to the empty line, over interim responses.
pub fn read_head(stream: &mut impl BufRead) -> io::Result<String> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !head.starts_with(b"HTTP/1.1 1") {
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
    }
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let len = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        stream.by_ref().take(len).read_to_end(body)?;
        stream.read_line(&mut line)?;
        if len == 0 {
            return Ok(());
        }
    }
}
