//! Wire exchanges kept as text files, replayed against a socket or a pure protocol core.
//!
//! ```text
//! # Anything after a hash at the start of a line is a remark.
//! eol crlf
//!
//! == greets and names the user it wants a password for (RFC 959 5.4)
//! S: 220 ...
//! C: USER {user}
//! S: 331 ...
//!
//! == a packet of unknown type closes the connection (MQTT 5.0 4.13)
//! C-hex: 00 00
//! S-hex: e0 02 .. 00
//! S-close
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `== NAME` | begins a case; each case gets a connection of its own |
//! | `C: TEXT` | the client sends these bytes |
//! | `S: TEXT` | exactly these bytes must come next; `...` stands for any bytes, also none, up to what follows it |
//! | `C-hex:` `S-hex:` | the same in hexadecimal, spaces ignored; `..` is any one byte, `...` as above |
//! | `C-close` | the client ends its sending side |
//! | `S-close` | the server must end the connection without sending more |
//! | `T: 1500ms` | time passes; only a pure core can do that, in `ms` or `s` |
//! | `eol crlf` | from here on `C:` and `S:` lines end with CR LF; `eol none` undoes it |
//!
//! In text, `\r \n \t \0 \\` and `\xNN` are escapes, and `{NAME}` is replaced by a variable that was
//! given to [`Transcript::var`]; any other `{` stands for itself. A text keeps the spaces after the
//! one that follows the colon.

mod parse;
mod pattern;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pattern::{Found, Pattern};
pub use wire::{Answer, Event, Pure, Wire};

/// A parsed file of cases.
pub struct Transcript {
    origin: String,
    cases: Vec<Case>,
    vars: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Case {
    name: String,
    steps: Vec<(usize, Step)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Send(Text),
    Expect(Text),
    ClientClose,
    ServerClose,
    Pass(Duration),
}

/// What stands on a `C` or `S` line, still with its variables.
#[derive(Clone, Debug, PartialEq)]
enum Text {
    Plain { text: String, crlf: bool },
    Hex(String),
}

impl Transcript {
    /// Reads a file; panics with file and line when it is no transcript.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(&path.display().to_string(), &text)
    }

    /// Every `.txt` file of a folder, in the order of their names; panics when there is none.
    #[track_caller]
    pub fn load_dir(dir: impl AsRef<Path>) -> Vec<Self> {
        let dir = dir.as_ref();
        let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}: no transcripts", dir.display());
        paths.iter().map(Self::load).collect()
    }

    /// Parses text; `origin` is what failures name as the file.
    #[track_caller]
    pub fn parse(origin: &str, text: &str) -> Self {
        match parse::parse(text) {
            Ok(cases) => Self {
                origin: origin.into(),
                cases,
                vars: BTreeMap::new(),
            },
            Err((line, why)) => panic!("{origin}:{line}: {why}"),
        }
    }

    /// Sets what `{name}` is replaced by.
    pub fn var(mut self, name: &str, value: impl ToString) -> Self {
        self.vars.insert(name.into(), value.to_string());
        self
    }

    /// The names of the cases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().map(|case| case.name.as_str())
    }

    /// Replays each case on a connection that `connect` opens for it, handed the case's name.
    ///
    /// Panics after the last case with all that failed: file, line, what was expected and what came.
    #[track_caller]
    pub fn replay<W: Wire>(&self, mut connect: impl FnMut(&str) -> W) {
        let failures: Vec<String> = self
            .cases
            .iter()
            .filter_map(|case| {
                let mut play = Play {
                    wire: connect(&case.name),
                    vars: &self.vars,
                    pending: Vec::new(),
                };
                let failed = play.run(case).err();
                failed.map(|(line, why)| format!("{}:{line}: == {}\n{why}", self.origin, case.name))
            })
            .collect();
        let (failed, all) = (failures.len(), self.cases.len());
        assert!(
            failures.is_empty(),
            "{failed} of {all} cases failed\n{}",
            failures.join("\n")
        );
    }
}

struct Play<'a, W> {
    wire: W,
    vars: &'a BTreeMap<String, String>,
    /// Received and not yet expected.
    pending: Vec<u8>,
}

impl<W: Wire> Play<'_, W> {
    fn run(&mut self, case: &Case) -> Result<(), (usize, String)> {
        let mut last = 0;
        for (line, step) in &case.steps {
            self.step(step).map_err(|why| (*line, why))?;
            last = *line;
        }
        // A core has said all it had to say; a socket may always have more on its way.
        if self.wire.is_prompt() {
            self.receive().map_err(|why| (last, why))?;
            if !self.pending.is_empty() {
                return Err((
                    last,
                    format!("  more came than expected: {}", shown(&self.pending)),
                ));
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(text) => {
                let bytes = parse::bytes(text, self.vars)?;
                self.wire
                    .send(&bytes)
                    .map_err(|e| format!("  cannot send: {e}"))
            }
            Step::Expect(text) => self.expect(&parse::pattern(text, self.vars)?),
            Step::ClientClose => self
                .wire
                .close()
                .map_err(|e| format!("  cannot close: {e}")),
            Step::ServerClose => {
                while self.receive()? {}
                let closed = self.wire.is_closed();
                if closed && self.pending.is_empty() {
                    return Ok(());
                }
                let end = if closed { "" } else { " and no end" };
                let got = shown(&self.pending);
                Err(format!("  expected: the end\n       got: {got}{end}"))
            }
            Step::Pass(time) => self
                .wire
                .pass(*time)
                .map_err(|e| format!("  cannot let time pass: {e}")),
        }
    }

    fn expect(&mut self, pattern: &Pattern) -> Result<(), String> {
        loop {
            let trouble = match pattern.find(&self.pending) {
                Found::Yes(length) => {
                    self.pending.drain(..length);
                    return Ok(());
                }
                Found::No => String::new(),
                Found::More => match self.receive() {
                    Ok(true) => continue,
                    Ok(false) if pattern.find_at_end(&self.pending) => {
                        self.pending.clear();
                        return Ok(());
                    }
                    Ok(false) => " and then the end".into(),
                    Err(why) => format!(" and then:{why}"),
                },
            };
            return Err(format!(
                "  expected: {pattern}\n       got: {}{trouble}",
                shown(&self.pending)
            ));
        }
    }

    /// `false` at the end of the connection, or when a core has no more to say.
    fn receive(&mut self) -> Result<bool, String> {
        let bytes = self
            .wire
            .receive()
            .map_err(|e| format!("  cannot receive: {e}"))?;
        self.pending.extend_from_slice(&bytes);
        Ok(!bytes.is_empty())
    }
}

/// Bytes as text where they are text, else in hexadecimal.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    let (head, more) = match bytes.get(..MOST) {
        Some(head) => (head, format!(" and {} more bytes", bytes.len() - MOST)),
        None => (bytes, String::new()),
    };
    let is_text = head
        .iter()
        .all(|byte| byte.is_ascii_graphic() || b" \r\n\t".contains(byte));
    match is_text {
        true => format!("\"{}\"{more}", head.escape_ascii()),
        false => format!("hex {}{more}", pattern::hex(head)),
    }
}

#[cfg(test)]
mod tests;
