//! FTP beside vsftpd, as an anonymous reader.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::{Moved, Row, Server, Unit, compare};
use super::ours;
use super::peers::{Place, vsftpd};
use super::transfer::{LARGE, LARGE_NAME, discard, write_files};
use crate::Outcome;

/// Downloads in one round, on one control connection.
const DOWNLOADS: u64 = 8;
/// Sessions at once.
const SESSIONS: usize = 8;
/// No further download or session begins after this time.
const TIME: Duration = Duration::from_secs(3);

pub fn bench() -> Outcome<Vec<Row>> {
    let download = between("RETR 256 MiB", Unit::Bytes, |server| download(server.port))?;
    let sessions = between("login, LIST, QUIT, 8 at once", Unit::Sessions, |server| {
        sessions(server.port)
    })?;
    Ok(vec![download, super::ftps::bench()?, sessions])
}

fn between(case: &str, unit: Unit, load: impl FnMut(&Server) -> Outcome<Moved>) -> Outcome<Row> {
    let place = Place::new()?;
    write_files(&place.folder("www")?)?;
    let host = ours("ftp");
    write_files(&host.path().join("files"))?;
    let polyport = Server::ours("ftp", host)?;
    let peer = Server::peer(|| vsftpd(place))?;
    compare(case, unit, &polyport, &peer, load)
}

fn download(port: u16) -> Outcome<Moved> {
    let mut control = Control::login(port)?;
    control.ask("TYPE I", "200")?;
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..DOWNLOADS {
        let length = control.transfer(&format!("RETR {LARGE_NAME}"))?;
        if length != LARGE {
            return Err(format!("expected {LARGE} bytes, got {length}"));
        }
        bytes += length;
        if start.elapsed() > TIME {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    control.ask("QUIT", "221")?;
    Ok(Moved {
        amount: bytes as f64,
        seconds,
    })
}

/// Sessions one after the other on several connections at once: vsftpd waits for delayed
/// acknowledgements in each, and what counts here is work, not waiting.
fn sessions(port: u16) -> Outcome<Moved> {
    let start = Instant::now();
    let one_by_one = || {
        let mut count = 0u32;
        while start.elapsed() < TIME {
            let mut control = Control::login(port)?;
            if control.transfer("LIST")? == 0 {
                return Err("the listing is empty".to_string());
            }
            control.ask("QUIT", "221")?;
            count += 1;
        }
        Ok(count)
    };
    let counts: Outcome<Vec<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(one_by_one)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended
            .map(|count| count.unwrap_or_else(|_| Err("a session panicked".into())))
            .collect()
    });
    Ok(Moved {
        amount: f64::from(counts?.iter().sum::<u32>()),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A control connection.
pub struct Control<S = TcpStream> {
    reader: BufReader<S>,
}

impl Control {
    pub fn login(port: u16) -> Outcome<Self> {
        let mut control = Self::over(connect(port)?);
        control.reply("220")?;
        control.ask("USER anonymous", "331 230")?;
        control.ask("PASS bench@", "230 202")?;
        Ok(control)
    }

    /// Transfers by a passive data connection and gives the number of bytes.
    pub fn transfer(&mut self, command: &str) -> Outcome<u64> {
        let data = self.passive()?;
        self.ask(command, "150 125")?;
        let length = discard(&data, None)?;
        self.reply("226")?;
        Ok(length)
    }
}

impl<S: Read + Write> Control<S> {
    pub fn over(stream: S) -> Self {
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub fn into_inner(self) -> S {
        self.reader.into_inner()
    }

    /// A passive data connection.
    pub fn passive(&mut self) -> Outcome<TcpStream> {
        let reply = self.ask("PASV", "227")?;
        connect(passive_port(&reply).ok_or_else(|| format!("expected an address, got {reply:?}"))?)
    }

    /// Sends a command, whose reply must begin with one of the codes.
    pub fn ask(&mut self, command: &str, codes: &str) -> Outcome<String> {
        let line = format!("{command}\r\n");
        self.reader
            .get_mut()
            .write_all(line.as_bytes())
            .and_then(|()| self.reader.get_mut().flush())
            .map_err(|e| format!("cannot send: {e}"))?;
        self.reply(codes).map_err(|e| format!("{command}: {e}"))
    }

    /// Reads a reply to its last line (RFC 959 4.2); one of the codes must begin it.
    pub fn reply(&mut self, codes: &str) -> Outcome<String> {
        let mut line = String::new();
        loop {
            line.clear();
            self.reader
                .read_line(&mut line)
                .map_err(|e| format!("no reply: {e}"))?;
            // `CODE text` ends a reply; `CODE-text` and indented lines go before.
            let is_last = line.get(3..4) == Some(" ") && !line.starts_with(' ');
            if is_last && codes.split(' ').any(|code| line.starts_with(code)) {
                return Ok(line);
            }
            if is_last || line.is_empty() {
                return Err(format!("expected {codes}, got {line:?}"));
            }
        }
    }
}

pub fn connect(port: u16) -> Outcome<TcpStream> {
    let stream =
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("cannot connect: {e}"))?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|e| format!("no time limit: {e}"))?;
    stream
        .set_nodelay(true)
        .map_err(|e| format!("no TCP_NODELAY: {e}"))?;
    Ok(stream)
}

/// The port of `227 Entering Passive Mode (h,h,h,h,p,p)`.
fn passive_port(reply: &str) -> Option<u16> {
    let (_, numbers) = reply.split_once('(')?;
    let (numbers, _) = numbers.split_once(')')?;
    let numbers: Vec<u8> = numbers
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    match numbers.as_slice() {
        [_, _, _, _, high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passive_port_is_read() {
        assert_eq!(
            passive_port("227 Entering Passive Mode (127,0,0,1,156,64).\r\n"),
            Some(40000)
        );
        assert_eq!(passive_port("227 nothing"), None);
    }
}
