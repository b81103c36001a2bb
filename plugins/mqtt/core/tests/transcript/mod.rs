//! Wire transcripts of MQTT, as text files: several clients to a case, lengths counted by the reader.
//!
//! | line | meaning |
//! |---|---|
//! | `let NAME = BYTES` | `$NAME` stands for these bytes from here on |
//! | `== NAME` | begins a case |
//! | `set KEY = VALUE` | a setting of the broker of this case |
//! | `engine only: REASON` | the case is not for the real host |
//! | `C: BYTES`, `C2: BYTES` | a client sends; its first line connects it |
//! | `S: BYTES`, `S2: BYTES` | exactly these bytes come next |
//! | `C: close` | the client drops its connection |
//! | `S: close` | the broker ends the connection and sends nothing more |
//! | `T: 1500ms`, `T: 90s` | time passes |
//! | `restart` | the broker is killed and started again; all connections are gone |
//!
//! Bytes are hexadecimal pairs; `??` is any one byte; `"text"` stands for itself; `'text'` has its two-byte
//! length before it; `{ … }` has its length before it as a variable byte integer; `( … )` as a two-byte
//! integer; `x*N` repeats the byte x. In text, `@@` is replaced by two letters of the case's own, so that
//! cases can share a broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What a transcript is played against.
pub trait Broker {
    /// A client connects, under a name.
    fn connect(&mut self, client: &str);
    /// A client sends.
    fn send(&mut self, client: &str, bytes: &[u8]);
    /// More bytes for a client; nothing when there are none, or not in time.
    fn receive(&mut self, client: &str) -> Vec<u8>;
    /// Whether the broker has ended the connection, after all its bytes were received.
    fn is_closed(&mut self, client: &str) -> bool;
    /// A client drops its connection.
    fn close(&mut self, client: &str);
    /// Time passes.
    fn pass(&mut self, time: Duration);
    /// The broker is killed and starts again with what its store kept.
    fn restart(&mut self);
}

#[derive(Debug, Clone)]
pub struct Case {
    pub file: String,
    pub name: String,
    /// `KEY = VALUE` lines.
    pub settings: String,
    /// Only the engine can be brought into the state that the case needs.
    pub engine_only: bool,
    pub steps: Vec<(usize, Step)>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Send(String, Vec<u8>),
    Expect(String, Vec<Option<u8>>),
    ClientClose(String),
    ServerClose(String),
    Pass(Duration),
    Restart,
}

impl Case {
    /// Seconds that the case takes in real time.
    pub fn duration(&self) -> Duration {
        let passing = self.steps.iter().map(|(_, step)| {
            if let Step::Pass(time) = step {
                *time
            } else {
                Duration::ZERO
            }
        });
        passing.sum()
    }
}

/// Reads every file of a folder.
pub fn load(folder: &Path) -> Vec<Case> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        parse(
            &path.file_name().unwrap().to_string_lossy(),
            &text,
            &mut cases,
        );
    }
    assert!(!cases.is_empty(), "{}: no transcripts", folder.display());
    cases
}

fn parse(file: &str, text: &str, cases: &mut Vec<Case>) {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let first = cases.len();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let fail = |why: &str| -> ! { panic!("{file}:{number}: {why}: {line}") };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("let ") {
            let (name, bytes) = rest
                .split_once('=')
                .unwrap_or_else(|| fail("expected NAME = BYTES"));
            names.insert(name.trim().to_owned(), bytes.trim().to_owned());
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                file: file.to_owned(),
                name: name.to_owned(),
                settings: String::new(),
                engine_only: false,
                steps: Vec::new(),
            });
            continue;
        }
        let tag = tag(cases.len());
        if cases.len() == first {
            fail("expected == NAME first");
        }
        let case = cases.last_mut().unwrap();
        if let Some(setting) = line.strip_prefix("set ") {
            case.settings.push_str(setting);
            case.settings.push('\n');
            continue;
        }
        if line.starts_with("engine only:") {
            case.engine_only = true;
            continue;
        }
        if line == "restart" {
            case.steps.push((number, Step::Restart));
            continue;
        }
        let (mark, rest) = line
            .split_once(':')
            .unwrap_or_else(|| fail("expected C:, S: or T:"));
        let rest = rest.trim();
        let client = format!("client{}", &mark[1..]);
        let bytes = || bytes(rest, &names, &tag).unwrap_or_else(|why| fail(&why));
        let step = match (&mark[..1], rest) {
            ("C", "close") => Step::ClientClose(client),
            ("S", "close") => Step::ServerClose(client),
            ("C", _) => {
                let plain = bytes()
                    .into_iter()
                    .map(|byte| byte.unwrap_or_else(|| fail("a client sends no ??")));
                Step::Send(client, plain.collect())
            }
            ("S", _) => Step::Expect(client, bytes()),
            ("T", _) => {
                Step::Pass(duration(rest).unwrap_or_else(|| fail("expected 1500ms or 90s")))
            }
            _ => fail("expected C:, S: or T:"),
        };
        case.steps.push((number, step));
    }
}

fn tag(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    format!("{}{}", letter(number / 26), letter(number))
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => text
            .strip_suffix('s')?
            .parse()
            .ok()
            .map(Duration::from_secs),
    }
}

type Bytes = Vec<Option<u8>>;

fn bytes(text: &str, names: &BTreeMap<String, String>, tag: &str) -> Result<Bytes, String> {
    let mut stack: Vec<(char, Bytes)> = vec![(' ', Vec::new())];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut used = 1;
        let out = &mut stack.last_mut().unwrap().1;
        match first {
            '{' | '(' => stack.push((first, Vec::new())),
            '}' | ')' => {
                let (open, inner) = stack.pop().unwrap();
                let outer = &mut stack.last_mut().ok_or("unbalanced brackets")?.1;
                let mut length = inner.len();
                match (open, first) {
                    ('{', '}') => loop {
                        let byte = (length & 0x7f) as u8;
                        length >>= 7;
                        outer.push(Some(if length > 0 { byte | 0x80 } else { byte }));
                        if length == 0 {
                            break;
                        }
                    },
                    ('(', ')') => outer.extend((length as u16).to_be_bytes().map(Some)),
                    _ => return Err("unbalanced brackets".into()),
                }
                outer.extend(inner);
            }
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or("text without its end")?;
                let content = rest[1..=end].replace("@@", tag);
                if first == '\'' {
                    out.extend((content.len() as u16).to_be_bytes().map(Some));
                }
                out.extend(content.bytes().map(Some));
                used = end + 2;
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || "{}()\"'".contains(c))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                used = end;
                if let Some(name) = word.strip_prefix('$') {
                    out.extend(bytes(
                        names.get(name).ok_or(format!("unknown name {name}"))?,
                        names,
                        tag,
                    )?);
                } else if let Some((byte, count)) = word.split_once('*') {
                    let byte = byte.as_bytes()[0];
                    out.extend(vec![Some(byte); count.parse().map_err(|_| "expected x*N")?]);
                } else {
                    for pair in word.as_bytes().chunks(2) {
                        let pair = std::str::from_utf8(pair).unwrap();
                        out.push(if pair == "??" {
                            None
                        } else if pair.len() == 2 {
                            Some(
                                u8::from_str_radix(pair, 16)
                                    .map_err(|_| format!("no hexadecimal byte: {pair}"))?,
                            )
                        } else {
                            return Err(format!("half a byte: {pair}"));
                        });
                    }
                }
            }
        }
        rest = rest[used..].trim_start();
    }
    match (stack.pop(), stack.is_empty()) {
        (Some((' ', all)), true) => Ok(all),
        _ => Err("unbalanced brackets".into()),
    }
}

/// Plays a case; the error names file, line and both sides.
pub fn play(case: &Case, broker: &mut dyn Broker) -> Result<(), String> {
    let mut pending: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (line, step) in &case.steps {
        let at = |why: String| format!("{}:{line}: == {}\n{why}", case.file, case.name);
        match step {
            Step::Send(client, bytes) => {
                if !pending.contains_key(client) {
                    broker.connect(client);
                    pending.insert(client.clone(), Vec::new());
                }
                broker.send(client, bytes);
            }
            Step::Expect(client, wanted) => {
                let got = pending
                    .get_mut(client)
                    .ok_or_else(|| at("client is not connected".into()))?;
                loop {
                    let length = got.len().min(wanted.len());
                    let fits = got
                        .iter()
                        .zip(wanted)
                        .all(|(got, wanted)| wanted.is_none_or(|wanted| wanted == *got));
                    if !fits {
                        return Err(at(format!(
                            "  expected: {}\n       got: {}",
                            show(wanted),
                            hex(got)
                        )));
                    }
                    if length == wanted.len() {
                        got.drain(..length);
                        break;
                    }
                    let more = broker.receive(client);
                    if more.is_empty() {
                        return Err(at(format!(
                            "  expected: {}\n       got: {} and no more",
                            show(wanted),
                            hex(got)
                        )));
                    }
                    got.extend(more);
                }
            }
            Step::ClientClose(client) => {
                broker.close(client);
                pending.remove(client);
            }
            Step::ServerClose(client) => {
                let mut got = pending
                    .remove(client)
                    .ok_or_else(|| at("client is not connected".into()))?;
                loop {
                    let more = broker.receive(client);
                    if more.is_empty() {
                        break;
                    }
                    got.extend(more);
                }
                if !got.is_empty() || !broker.is_closed(client) {
                    return Err(at(format!(
                        "  expected: the end\n       got: {}",
                        hex(&got)
                    )));
                }
                broker.close(client);
            }
            Step::Pass(time) => broker.pass(*time),
            Step::Restart => {
                broker.restart();
                pending.clear();
            }
        }
    }
    let clients: Vec<String> = pending.keys().cloned().collect();
    for client in clients {
        broker.close(&client);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let hex: Vec<_> = bytes
        .iter()
        .take(200)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{} {:?}",
        hex.join(" "),
        String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
    )
}

fn show(bytes: &[Option<u8>]) -> String {
    let plain: Vec<u8> = bytes.iter().map(|byte| byte.unwrap_or(b'?')).collect();
    hex(&plain)
}
