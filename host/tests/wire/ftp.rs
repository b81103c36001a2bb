//! An FTP control connection, and data connections by EPSV.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::connect;

/// A session; commands are bytes, replies are told as they came.
pub struct Ftp {
    control: BufReader<TcpStream>,
    addr: SocketAddr,
}

/// A reply of one or more lines.
#[derive(Clone, Debug)]
pub struct Reply {
    pub code: u16,
    pub text: Vec<u8>,
}

impl Ftp {
    /// Connects and reads the greeting.
    pub fn connect(addr: SocketAddr) -> Self {
        let mut ftp = Self {
            control: BufReader::new(connect(addr)),
            addr,
        };
        let greeting = ftp.reply().unwrap();
        assert_eq!(greeting.code, 220, "{greeting:?}");
        ftp
    }

    /// A session of a user.
    pub fn login(addr: SocketAddr, user: &str, password: &str) -> Self {
        let mut ftp = Self::connect(addr);
        ftp.command(format!("USER {user}"));
        let reply = ftp.command(format!("PASS {password}"));
        assert_eq!(reply.code, 230, "{user}: {reply:?}");
        assert_eq!(ftp.command("TYPE I").code, 200);
        ftp
    }

    /// Sends a command and reads its reply.
    pub fn command(&mut self, line: impl AsRef<[u8]>) -> Reply {
        self.try_command(line.as_ref())
            .unwrap_or_else(|error| panic!("{:?}: {error}", shown(line.as_ref())))
    }

    /// The same where the session may have ended.
    pub fn try_command(&mut self, line: impl AsRef<[u8]>) -> io::Result<Reply> {
        self.send(line.as_ref())?;
        self.reply()
    }

    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.control.get_mut().write_all(&[line, b"\r\n"].concat())
    }

    /// The next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut text = Vec::new();
        loop {
            let begin = text.len();
            if self.control.read_until(b'\n', &mut text)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = &text[begin..];
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            if let (Some(code), Some(b' ')) = (code, line.get(3)) {
                return Ok(Reply { code, text });
            }
        }
    }

    /// Opens a data connection for the next command.
    pub fn passive(&mut self) -> io::Result<TcpStream> {
        let reply = self.try_command("EPSV")?;
        let text = String::from_utf8_lossy(&reply.text).into_owned();
        let port = text.split('|').nth(3).and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| io::Error::other(format!("EPSV: {text}")))?;
        Ok(connect(SocketAddr::new(self.addr.ip(), port)))
    }

    /// RETR, LIST and their like: all replies, and what came over the data connection.
    pub fn download(&mut self, line: impl AsRef<[u8]>) -> io::Result<(Vec<Reply>, Vec<u8>)> {
        let mut data = self.passive()?;
        let mut replies = vec![self.try_command(line)?];
        let mut bytes = Vec::new();
        if replies[0].code < 200 {
            data.read_to_end(&mut bytes)?;
            replies.push(self.reply()?);
        }
        Ok((replies, bytes))
    }

    /// STOR, APPE and STOU: all replies.
    pub fn upload(&mut self, line: impl AsRef<[u8]>, bytes: &[u8]) -> io::Result<Vec<Reply>> {
        let mut data = self.passive()?;
        let mut replies = vec![self.try_command(line)?];
        if replies[0].code < 200 {
            // A transfer that the server ends early is told by its reply.
            let _ = data.write_all(bytes);
            drop(data);
            replies.push(self.reply()?);
        }
        Ok(replies)
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
