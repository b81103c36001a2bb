//! Wire transcripts: text files named after a verb, replayed against anything that speaks FTP.
//!
//! A file holds cases, each on a connection and a folder of its own:
//!
//! ```text
//! case: what must hold (clause)
//! given dir /sub
//! given file /a.txt "one\ntwo\n"
//! given implicit              connect anew, with TLS from the first byte
//! given certificate           show a client certificate in the next handshake
//! login                       greeting, USER, PASS as the account of the test
//! C: SIZE a.txt               a line the client sends
//! C! "ABOR"                   bytes the client sends, escaped as in Rust
//! C: (TLS)                    hold the handshake on the control connection
//! S: 213 8                    the line that must come back; * and ? as in a shell
//! D: open                     connect to the port of the last 227 or 229
//! D: open tls                 the same, with TLS
//! D> "text"                   send on the data connection
//! D> end                      close it
//! D< one                      a line that must arrive on it
//! D< end                      nothing more may arrive
//! then file /a.txt "..."      what must be on the disk at last
//! then none /b.txt            what must not
//! ```

use std::fs;
use std::path::Path;

use polyport_ftp_core::listing::matches;

/// One end of a connection under test, together with the folder it serves.
pub trait Wire {
    /// Makes a directory in the served folder.
    fn make_directory(&mut self, path: &str);
    /// Makes a file in the served folder.
    fn make_file(&mut self, path: &str, content: &[u8]);
    /// The content of a file in the served folder.
    fn file(&mut self, path: &str) -> Option<Vec<u8>>;
    /// Sends bytes on the control connection.
    fn send(&mut self, bytes: &[u8]);
    /// The next line of the control connection without its end; none when it is closed.
    fn receive(&mut self) -> Option<String>;
    /// Shows a certificate of the account in the next handshake.
    fn show_certificate(&mut self);
    /// Connects anew where TLS begins with the first byte.
    fn connect_implicitly(&mut self);
    /// Holds the handshake after AUTH.
    fn begin_tls(&mut self);
    /// Connects to a passive port, in clear or with TLS.
    fn open_data(&mut self, port: u16, tls: bool);
    /// Sends on the data connection.
    fn send_data(&mut self, bytes: &[u8]);
    /// Closes the data connection.
    fn close_data(&mut self);
    /// All that arrives on the data connection until its end.
    fn receive_data(&mut self) -> Vec<u8>;
}

/// Replays every case of every file in `folder`, each against a new wire.
pub fn replay_all<W: Wire>(folder: &Path, mut connect: impl FnMut() -> W) -> usize {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut cases = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut replay: Option<Replay<W>> = None;
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}: {line}", number + 1);
            if line.starts_with("case: ") {
                if let Some(done) = replay.take() {
                    done.finish(&at);
                }
                replay = Some(Replay {
                    wire: connect(),
                    port: None,
                    data: None,
                });
                cases += 1;
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                replay
                    .as_mut()
                    .unwrap_or_else(|| panic!("{at}: before the first case"))
                    .step(line, &at);
            }
        }
        if let Some(done) = replay {
            done.finish(&name);
        }
    }
    cases
}

struct Replay<W> {
    wire: W,
    port: Option<u16>,
    /// What arrived on the data connection and was not looked at yet.
    data: Option<Vec<u8>>,
}

impl<W: Wire> Replay<W> {
    fn step(&mut self, line: &str, at: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest) {
            ("login", _) => {
                self.expect("220 *", at);
                self.wire.send(b"USER xzz\r\n");
                self.expect("331 Please specify the password.", at);
                self.wire.send(b"PASS 123456\r\n");
                self.expect("230 Login successful.", at);
            }
            ("C:", "(TLS)") => self.wire.begin_tls(),
            ("C:", command) => self.wire.send(format!("{command}\r\n").as_bytes()),
            ("C!", bytes) => self.wire.send(&unescape(bytes, at)),
            ("S:", "end") => assert_eq!(self.wire.receive(), None, "{at}"),
            ("S:", reply) => self.expect(reply, at),
            ("D:", "open" | "open tls") => {
                let port = self
                    .port
                    .unwrap_or_else(|| panic!("{at}: no 227 or 229 before"));
                self.wire.open_data(port, rest == "open tls");
            }
            ("D>", "end") => self.wire.close_data(),
            ("D>", bytes) => self.wire.send_data(&unescape(bytes, at)),
            ("D<", "end") => {
                let rest = self.received();
                assert!(
                    rest.is_empty(),
                    "{at}: got {:?}",
                    String::from_utf8_lossy(rest)
                );
                self.data = None;
            }
            ("D<", expected) => {
                let rest = self.received();
                let end = rest.windows(2).position(|pair| pair == b"\r\n");
                let end =
                    end.unwrap_or_else(|| panic!("{at}: got {:?}", String::from_utf8_lossy(rest)));
                let line: Vec<u8> = rest.drain(..end + 2).collect();
                assert!(
                    matches(expected.as_bytes(), &line[..end]),
                    "{at}: got {:?}",
                    String::from_utf8_lossy(&line)
                );
            }
            ("D<!", expected) => {
                let expected = unescape(expected, at);
                assert_eq!(self.received().as_slice(), expected, "{at}");
                self.data = None;
            }
            ("given", "implicit") => self.wire.connect_implicitly(),
            ("given", "certificate") => self.wire.show_certificate(),
            ("given", rest) => match rest.split_once(' ') {
                Some(("dir", path)) => self.wire.make_directory(path),
                Some(("file", rest)) => {
                    let (path, content) = path_and_content(rest, at);
                    self.wire.make_file(path, &content);
                }
                _ => panic!("{at}: not understood"),
            },
            ("then", rest) => match rest.split_once(' ') {
                Some(("none", path)) => assert_eq!(self.wire.file(path), None, "{at}"),
                Some(("file", rest)) => {
                    let (path, content) = path_and_content(rest, at);
                    let found = self
                        .wire
                        .file(path)
                        .unwrap_or_else(|| panic!("{at}: there is none"));
                    assert_eq!(
                        String::from_utf8_lossy(&found),
                        String::from_utf8_lossy(&content),
                        "{at}"
                    );
                }
                _ => panic!("{at}: not understood"),
            },
            _ => panic!("{at}: not understood"),
        }
    }

    fn received(&mut self) -> &mut Vec<u8> {
        if self.data.is_none() {
            self.data = Some(self.wire.receive_data());
        }
        self.data.as_mut().unwrap()
    }

    fn expect(&mut self, pattern: &str, at: &str) {
        let line = self
            .wire
            .receive()
            .unwrap_or_else(|| panic!("{at}: the connection was closed"));
        assert!(
            matches(pattern.as_bytes(), line.as_bytes()),
            "{at}: got {line:?}"
        );
        let numbers = |text: &str| -> Vec<u16> {
            text.split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect()
        };
        if line.starts_with("227 ") {
            let numbers = numbers(&line[26..]);
            self.port = Some(numbers[4] * 256 + numbers[5]);
        } else if let Some(text) = line.strip_prefix("229 ") {
            self.port = numbers(text).first().copied();
        }
    }

    /// What the client leaves must not disturb: QUIT is answered unless the case ended it.
    fn finish(mut self, at: &str) {
        self.wire.send(b"QUIT\r\n");
        while let Some(line) = self.wire.receive() {
            assert!(
                line.starts_with("221"),
                "after the case before {at}: got {line:?}"
            );
        }
    }
}

fn path_and_content<'a>(text: &'a str, at: &str) -> (&'a str, Vec<u8>) {
    let split = text
        .find(" \"")
        .unwrap_or_else(|| panic!("{at}: expected a path and quotes"));
    (&text[..split], unescape(&text[split + 1..], at))
}

/// `"a\r\n\xff"`
fn unescape(text: &str, at: &str) -> Vec<u8> {
    let inner = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("{at}: expected quotes"));
    let mut bytes = Vec::new();
    let mut rest = inner.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(
            match (byte, if byte == b'\\' { rest.next() } else { None }) {
                (b'\\', Some(b'n')) => b'\n',
                (b'\\', Some(b'r')) => b'\r',
                (b'\\', Some(b'0')) => 0,
                (b'\\', Some(b'x')) => {
                    let digits = [rest.next().unwrap_or(b'?'), rest.next().unwrap_or(b'?')];
                    u8::from_str_radix(&String::from_utf8_lossy(&digits), 16)
                        .unwrap_or_else(|_| panic!("{at}"))
                }
                (b'\\', Some(other)) => other,
                (byte, _) => byte,
            },
        );
    }
    bytes
}
