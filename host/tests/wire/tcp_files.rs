//! The field's way to fetch files: JSON requests, answers behind their length.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::connect;

/// Bytes of the answer to a login.
const LOGIN_ANSWER: usize = 1024;

/// A connection.
pub struct TcpFiles {
    pub stream: TcpStream,
}

impl TcpFiles {
    pub fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: connect(addr),
        }
    }

    /// Logs in; the answer as it came.
    pub fn login(addr: SocketAddr, user: &str, password: &str) -> Self {
        let mut client = Self::connect(addr);
        let login = json!({ "action_type": "auth", "username": user, "password": password });
        client
            .stream
            .write_all(login.to_string().as_bytes())
            .unwrap();
        let mut answer = [0; LOGIN_ANSWER];
        client.stream.read_exact(&mut answer).unwrap();
        client
    }

    /// Asks for a file: what comes before its bytes.
    pub fn begin(&mut self, name: &str) -> io::Result<Value> {
        let request = json!({ "cmd": "get", "file": name });
        self.stream.write_all(request.to_string().as_bytes())?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut header = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut header)?;
        serde_json::from_slice(&header).map_err(io::Error::other)
    }

    /// Fetches a file whole; no bytes where there is none.
    pub fn get(&mut self, name: &str) -> io::Result<(Value, Vec<u8>)> {
        let header = self.begin(name)?;
        let size = header.get("file_size").and_then(Value::as_u64);
        let mut bytes = Vec::new();
        let stream = &mut self.stream;
        stream.take(size.unwrap_or(0)).read_to_end(&mut bytes)?;
        Ok((header, bytes))
    }
}
