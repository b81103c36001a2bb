//! A plain FTP client for tests: one command, one reply.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use polyport_testkit::{Host, PATIENCE};
use rustls::ClientConfig;

use super::tls::Wire;

/// A control connection whose greeting was read.
pub struct Session {
    control: BufReader<Wire>,
    pub greeting: String,
}

impl Session {
    pub fn connect(host: &Host, port: &str) -> Self {
        Self::over(host.connect(port))
    }

    pub fn over(control: TcpStream) -> Self {
        Self::over_wire(Wire::Clear(control))
    }

    pub fn over_wire(control: Wire) -> Self {
        let mut session = Self {
            control: BufReader::new(control),
            greeting: String::new(),
        };
        session.greeting = session.reply();
        session
    }

    /// AUTH TLS and the handshake.
    pub fn secure(mut self, client: &Arc<ClientConfig>) -> Self {
        let reply = self.command("AUTH TLS");
        assert!(reply.starts_with("234 "), "{reply}");
        assert!(self.control.buffer().is_empty(), "more than the reply");
        self.control = BufReader::new(self.control.into_inner().secure(client));
        self
    }

    /// Logs in over TLS, data connections with it as well.
    pub fn login_secure(host: &Host, client: &Arc<ClientConfig>) -> Self {
        let mut session = Self::connect(host, "ftp").secure(client);
        for (command, reply) in [
            ("USER xzz", "331 "),
            ("PASS 123456", "230 "),
            ("PBSZ 0", "200 "),
            ("PROT P", "200 "),
            ("TYPE I", "200 "),
        ] {
            let got = session.command(command);
            assert!(got.starts_with(reply), "{command}: {got}");
        }
        session
    }

    /// A passive data connection with TLS.
    pub fn secure_data(&mut self, client: &Arc<ClientConfig>) -> Wire {
        Wire::Clear(self.data()).secure(client)
    }

    /// Logs in and panics unless it is let in.
    pub fn login(host: &Host, user: &str, password: &str) -> Self {
        let mut session = Self::connect(host, "ftp");
        let reply = session.try_login(user, password);
        assert!(reply.starts_with("230 "), "{user}: {reply}");
        session
    }

    pub fn try_login(&mut self, user: &str, password: &str) -> String {
        self.command(&format!("USER {user}"));
        self.command(&format!("PASS {password}"))
    }

    /// The last line of the reply to a command, without its end.
    pub fn command(&mut self, command: &str) -> String {
        self.send(command);
        self.reply()
    }

    pub fn send(&mut self, command: &str) {
        self.send_bytes(format!("{command}\r\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.control
            .get_mut()
            .write_all(bytes)
            .and_then(|()| self.control.get_mut().flush())
            .unwrap();
    }

    /// The last line of the next reply; empty when the connection was closed.
    pub fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.control.read_line(&mut line).unwrap();
            if line.is_empty() || line.as_bytes().get(3) == Some(&b' ') && !line.starts_with(' ') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Where PASV listens.
    pub fn passive(&mut self) -> SocketAddr {
        let reply = self.command("PASV");
        assert!(reply.starts_with("227 Entering Passive Mode ("), "{reply}");
        let numbers: Vec<u16> = reply[27..]
            .trim_end_matches(").")
            .split(',')
            .map(|n| n.parse().unwrap())
            .collect();
        let address = numbers[..4]
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(".");
        SocketAddr::new(address.parse().unwrap(), numbers[4] * 256 + numbers[5])
    }

    /// A passive data connection.
    pub fn data(&mut self) -> TcpStream {
        let stream = TcpStream::connect(self.passive()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// RETR, LIST and the like: all that comes, and the reply at the end.
    pub fn fetch(&mut self, command: &str) -> Result<Vec<u8>, String> {
        let mut data = self.data();
        let begins = self.command(command);
        if !begins.starts_with("150 ") {
            return Err(begins);
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        let ends = self.reply();
        if ends.starts_with("226 ") {
            Ok(bytes)
        } else {
            Err(ends)
        }
    }

    /// STOR and the like: the reply at the end.
    pub fn store(&mut self, command: &str, bytes: &[u8]) -> String {
        let mut data = self.data();
        let begins = self.command(command);
        if !begins.starts_with("150 ") {
            return begins;
        }
        data.write_all(bytes).unwrap();
        data.shutdown(Shutdown::Write).unwrap();
        self.reply()
    }

    /// Closes the control connection without QUIT.
    pub fn vanish(self) {}
}
