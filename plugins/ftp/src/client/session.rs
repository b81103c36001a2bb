//! A client's control connection, and the data connections it opens: commands out, replies in (RFC 959).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use polyport_ftp_core::address::parse_host_port;
use polyport_sdk::client::{Address, Failure, connect};

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
    control: BufReader<TcpStream>,
    /// Data connections go where the control connection goes, whatever the server says.
    host: String,
    extended: bool,
}

impl Session {
    /// Connects and logs in.
    pub fn open(address: &Address, user: &str, password: &str) -> Result<Self, Failure> {
        let stream = connect(&address.host, address.port, SILENCE)?;
        let peer = stream.peer_addr().map_err(Failure::broken("server"))?;
        let mut session = Self {
            control: BufReader::new(stream),
            host: peer.ip().to_string(),
            extended: true,
        };
        let name = address.authority();
        let greeting = session.reply()?;
        if greeting.code != 220 {
            return Err(greeting.refusal(&name));
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
    pub fn data(&mut self) -> Result<TcpStream, Failure> {
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
    pub fn transfer(&mut self, command: &str) -> Result<TcpStream, Failure> {
        let data = self.data()?;
        let reply = self.command(command)?;
        match reply.code {
            125 | 150 => Ok(data),
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
