//! What the tests of this plugin have in common.

// Each test program uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use polyport_testkit::{Builder, Client, Host};
use sha2::{Digest, Sha256};

/// The accounts, each named after what it may do.
pub const PASSWORDS: [(&str, &str); 4] = [
    ("alice", "wonderland"),
    ("reader", "r"),
    ("creator", "c"),
    ("nobody", "n"),
];

const ACCOUNTS: &str = "\
[anonymous]
[alice]
name = alice
password = wonderland
[reader]
name = reader
password = r
rights = list, read
[creator]
name = creator
password = c
rights = list, read, create
[nobody]
name = nobody
password = n
rights = none
";

/// A host that serves nothing but files.
pub fn files_host() -> Builder {
    Host::builder().service("files").accounts(ACCOUNTS)
}

/// Content of `hello.txt`.
pub const HELLO: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// The time that [`set_modified`] sets.
pub const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

pub fn set_modified(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(784_111_777))
        .unwrap();
}

/// The tag a file has by what it is made of.
pub fn etag(path: &Path) -> String {
    let of = std::fs::metadata(path).unwrap();
    let nanos = i128::from(of.mtime()) * 1_000_000_000 + i128::from(of.mtime_nsec());
    format!("\"{:x}-{:x}-{nanos:x}\"", of.ino(), of.len())
}

pub fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(three.get(at).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let shown = digit <= three.len();
            let at = (bits >> (18 - 6 * digit) & 63) as usize;
            out.push(if shown { char::from(DIGITS[at]) } else { '=' });
        }
    }
    out
}

/// A response as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends one request on a stream and reads its response, whose length must be told.
pub fn ask(stream: &mut BufReader<TcpStream>, method: &str, path: &str, fields: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    answer(stream, method)
}

/// Reads the response to a request of this method.
pub fn answer(stream: &mut BufReader<TcpStream>, method: &str) -> Answer {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            stream.read_line(&mut head).unwrap(),
            0,
            "closed after {head:?}"
        );
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    if method != "HEAD" {
        let len = answer
            .field("content-length")
            .map_or(0, |len| len.parse().unwrap());
        answer.body = vec![0; len];
        stream.read_exact(&mut answer.body).unwrap();
    }
    answer
}

/// `curl`, silent, with the address of a path.
pub fn curl(host: &Host, path: &str) -> Client {
    let address = format!("http://{}{path}", host.addr("files"));
    Client::new("curl").args([
        "--silent",
        "--show-error",
        "--path-as-is",
        "--url",
        &address,
    ])
}

/// Bytes that no two places have in common, made without a source of chance.
pub fn fill(path: &Path, len: u64) -> String {
    let mut file = std::io::BufWriter::new(File::create(path).unwrap());
    let (mut state, mut sha) = (0x9e37_79b9_7f4a_7c15u64, Sha256::new());
    let mut block = Vec::with_capacity(1 << 16);
    for _ in 0..len.div_ceil(1 << 16) {
        block.clear();
        while block.len() < 1 << 16 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        sha.update(&block);
        file.write_all(&block).unwrap();
    }
    file.flush().unwrap();
    hex(&sha.finalize())
}

pub fn digest(path: &Path) -> String {
    let (mut file, mut sha) = (File::open(path).unwrap(), Sha256::new());
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block).unwrap();
        if read == 0 {
            return hex(&sha.finalize());
        }
        sha.update(&block[..read]);
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
