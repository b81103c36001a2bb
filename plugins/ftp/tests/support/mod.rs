//! A host with the FTP service, and what tests need around it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part; tests may unwrap"
)]

pub mod session;
pub mod tls;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use polyport_testkit::{Builder, Client, Finished, Host};
use sha2::{Digest, Sha256};

/// The account of the tutorial, one that may only read, and clients without an account.
pub const ACCOUNTS: &str = "\
[user1]
name = xzz
password = 123456
home = files

[user2]
name = reader
password = readonly
home = files
rights.ftp = list, read

[anonymous]
services = ftp
rights = list, read
";

/// A host with the FTP service alone, not started yet.
pub fn builder() -> Builder {
    Host::builder().service("ftp").accounts(ACCOUNTS)
}

/// The folder the accounts see.
pub fn files(host: &Host) -> PathBuf {
    host.path().join("files")
}

/// Runs a client script of this folder with `host port folder` and more arguments.
pub fn script(host: &Host, name: &str, more: &[&str]) -> Finished {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name);
    let port = host.port("ftp").to_string();
    Client::new("python3")
        .arg("-u")
        .arg(script)
        .args(["127.0.0.1", &port])
        .arg(files(host))
        .args(more)
        .limit(std::time::Duration::from_secs(120))
        .run()
        .expect_success()
}

/// Writes `len` bytes that repeat nowhere near and hold every byte value.
pub fn write_noise(path: &Path, len: usize) -> String {
    let mut bytes = vec![0_u8; len];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    fs::write(path, &bytes).unwrap();
    sha256(path)
}

/// Length of a [`sparse`] file: far more than sockets take while nobody reads.
pub const SPARSE: u64 = 1 << 30;

/// Makes a file of zeros that takes no room.
pub fn sparse(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(SPARSE).unwrap();
}

/// The SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> String {
    let mut file =
        fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block).unwrap();
        if read == 0 {
            return hash
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
        }
        hash.update(&block[..read]);
    }
}

/// Empties a folder.
pub fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
}
