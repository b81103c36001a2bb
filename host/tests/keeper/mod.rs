//! The keeper, a plugin with an estate, as the service `one`, and its clients.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use polyport_testkit::{Builder, Host};

/// A time for hand-overs that a busy machine does not need, and one that a test waits for the end of.
pub const PATIENT: &str = "handover_timeout = \"30s\"";
pub const IMPATIENT: &str = "handover_timeout = \"2s\"";

/// A host with these lines in `[host]` whose keeper can be frozen and take over.
pub fn builder(host_keys: &str) -> Builder {
    Host::builder()
        .plugin("one", "keeper", "polyport-keeper")
        .settings(
            "one",
            "word = \"first\"\nfreeze = \"good\"\ntake = \"good\"",
        )
        .host_keys(&format!("{host_keys}\ndrain_timeout = \"10s\""))
}

/// A client of the keeper.
pub struct Client(pub BufReader<TcpStream>);

impl Client {
    pub fn connect(host: &Host, service: &str) -> Self {
        Self(BufReader::new(host.connect(service)))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line; empty once it is closed, in order or not.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.trim_end().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.hear()
    }
}
