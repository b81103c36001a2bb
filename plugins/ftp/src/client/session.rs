//! A client's control connection, and the data connections it opens: commands out, replies in (RFC 959).

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use polyport_ftp_core::address::parse_host_port;
use polyport_sdk::client::{Failure, Link, Transport, connect};

use super::Target;

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest reply in bytes, all its lines together.
const MAX_REPLY: u64 = 64 * 1024;

/// A reply: its code and the text of its last line.
#[derive(Debug, Clone)]
pub struct Reply {
    pub code: u16,
    pub text: String,
}

impl Reply {
    /// Why this is not the reply that was wanted. 4yz may be tried again, 5yz not (RFC 959 section 4.2).
    pub fn refusal(&self, what: &str) -> Failure {
        let text = format!("{what}: {} {}", self.code, self.text);
        match self.code {
            400..500 => Failure::Broken(text),
            _ => Failure::Failed(text),
        }
    }
}

/// A session that is logged in.
pub struct Session {
    control: BufReader<Link>,
    /// Data connections go where the control connection goes, whatever the server says.
    host: String,
    /// The name that its certificate has to have.
    name: String,
    transport: Transport,
    extended: bool,
}

impl Session {
    /// Connects, goes over to TLS where it is wanted, and logs in.
    pub fn open(target: &Target) -> Result<Self, Failure> {
        let Target {
            address,
            transport,
            user,
            password,
            ..
        } = target;
        let clear = Transport::default();
        let first = if target.implicit { transport } else { &clear };
        let stream = first.connect(&address.host, address.port, SILENCE)?;
        let peer = stream.socket().peer_addr();
        let mut session = Self {
            host: peer.map_err(Failure::broken("server"))?.ip().to_string(),
            control: BufReader::new(stream),
            name: address.host.clone(),
            transport: transport.clone(),
            extended: true,
        };
        let name = address.authority();
        let greeting = session.reply()?;
        if greeting.code != 220 {
            return Err(greeting.refusal(&name));
        }
        if transport.is_tls() {
            if !target.implicit {
                session = session.upgrade()?;
            }
            // RFC 4217, 8 and 9.
            session.expect("PBSZ 0", 200)?;
            session.expect("PROT P", 200)?;
        }
        let mut reply = session.command(&format!("USER {user}"))?;
        if reply.code == 331 {
            reply = session.command(&format!("PASS {password}"))?;
        }
        if reply.code != 230 {
            return Err(reply.refusal(&format!("{name}: login of {user:?}")));
        }
        Ok(session)
    }

    /// Goes over to TLS (RFC 4217, 4).
    fn upgrade(mut self) -> Result<Self, Failure> {
        self.expect("AUTH TLS", 234)?;
        // What came in clear after the reply is nobody's: an attacker may have put it there.
        if !self.control.buffer().is_empty() {
            return Err(Failure::failed("server: expected TLS, got more in clear"));
        }
        let socket = self.control.into_inner().into_socket();
        let socket = socket.map_err(|_| Failure::failed("server: TLS twice"))?;
        Ok(Self {
            control: BufReader::new(self.transport.secure(socket, &self.name)?),
            ..self
        })
    }

    /// Sends a command and reads its reply.
    pub fn command(&mut self, command: &str) -> Result<Reply, Failure> {
        // A line end would begin another command.
        if command.contains(['\r', '\n', '\0']) {
            return Err(Failure::usage("expected a name and a password of one line"));
        }
        self.control
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .map_err(Failure::broken("server"))?;
        self.reply()
    }

    /// Sends a command that must be answered with `code`.
    pub fn expect(&mut self, command: &str, code: u16) -> Result<Reply, Failure> {
        let reply = self.command(command)?;
        if reply.code == code {
            Ok(reply)
        } else {
            Err(reply.refusal(command))
        }
    }

    /// The next reply: one line, or several up to the one with its code and a space (section 4.2).
    pub fn reply(&mut self) -> Result<Reply, Failure> {
        let mut left = MAX_REPLY;
        let mut first = None;
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.control).take(left).read_until(b'\n', &mut bytes);
            left -= read.map_err(Failure::broken("server"))? as u64;
            if bytes.last() != Some(&b'\n') {
                return Err(Failure::Broken("server: it closed the connection".into()));
            }
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim_end_matches(['\r', '\n']);
            let code = line.get(..3).and_then(|code| code.parse().ok());
            match (first, code, line.get(3..4)) {
                (None, Some(code), Some("-")) => first = Some(code),
                (None, Some(code), Some(" ") | None) => {
                    return Ok(reply(code, line));
                }
                (Some(first), Some(code), Some(" ") | None) if code == first => {
                    return Ok(reply(code, line));
                }
                (None, ..) => {
                    return Err(Failure::Failed(format!(
                        "server: expected a reply, got {line:?}"
                    )));
                }
                (Some(_), ..) => {}
            }
        }
    }

    /// Opens a data connection: EPSV (RFC 2428), else PASV.
    fn data(&mut self) -> Result<std::net::TcpStream, Failure> {
        let port = if self.extended {
            let reply = self.command("EPSV")?;
            if reply.code == 229 {
                extended_port(&reply.text)
            } else {
                self.extended = false;
                self.passive_port()?
            }
        } else {
            self.passive_port()?
        };
        let port = port.ok_or_else(|| Failure::failed("server: a passive reply without a port"))?;
        connect(&self.host, port, SILENCE)
    }

    fn passive_port(&mut self) -> Result<Option<u16>, Failure> {
        let text = self.expect("PASV", 227)?.text;
        let numbers = text
            .find(|c: char| c.is_ascii_digit())
            .map_or("", |at| &text[at..]);
        let end = numbers
            .find(|c: char| !c.is_ascii_digit() && c != ',')
            .unwrap_or(numbers.len());
        Ok(parse_host_port(&numbers[..end]).map(|address| address.port()))
    }

    /// Opens a data connection and begins a transfer.
    pub fn transfer(&mut self, command: &str) -> Result<Link, Failure> {
        let data = self.data()?;
        let reply = self.command(command)?;
        match reply.code {
            125 | 150 => self.transport.secure(data, &self.name),
            _ => Err(reply.refusal(command)),
        }
    }

    /// Reads the reply that ends a transfer.
    pub fn transferred(&mut self, command: &str) -> Result<(), Failure> {
        let reply = self.reply()?;
        match reply.code {
            226 | 250 => Ok(()),
            _ => Err(reply.refusal(command)),
        }
    }

    /// Says goodbye. Nothing is lost when that fails.
    pub fn quit(mut self) {
        let _ = self.command("QUIT");
    }
}

fn reply(code: u16, line: &str) -> Reply {
    // What a server says must not steer the terminal.
    let text = line.get(4..).unwrap_or_default();
    Reply {
        code,
        text: text
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect(),
    }
}

/// The port in `… (|||PORT|)`.
fn extended_port(text: &str) -> Option<u16> {
    let (_, inside) = text.split_once('(')?;
    let (inside, _) = inside.split_once(')')?;
    let delimiter = inside.chars().next()?;
    inside.split(delimiter).nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_extended_replies() {
        assert_eq!(
            extended_port("Entering Extended Passive Mode (|||6446|)"),
            Some(6446)
        );
        assert_eq!(extended_port("ok (!!!1!)."), Some(1));
        for bad in ["", "()", "(|||)", "(|||99999|)", "6446"] {
            assert_eq!(extended_port(bad), None, "{bad:?}");
        }
    }
}
