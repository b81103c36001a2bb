//! Runs a program to its end, with a time limit.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program that has ended left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to its standard error.
    pub stderr: Vec<u8>,
    pub(crate) what: String,
}

impl Finished {
    /// Standard output as text, invalid UTF-8 replaced.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, invalid UTF-8 replaced.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON; panics when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{self}\nno JSON: {e}"))
    }

    /// Panics with both outputs unless the program exited with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Panics with both outputs unless the program exited with 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "`{}` exited with {code}", self.what)?,
            None => writeln!(f, "`{}` was ended by a signal", self.what)?,
        }
        write!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout(),
            self.stderr()
        )
    }
}

/// Runs `command` to its end; panics and kills it when `limit` passes first.
pub(crate) fn finish(mut command: Command, stdin: &[u8], limit: Duration) -> Finished {
    let what = describe(&command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run `{what}`: {e}"));
    let mut input = child.stdin.take().expect("stdin was asked for");
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may well end before it read everything.
        let _ = input.write_all(&stdin);
    });
    let stdout = collect(child.stdout.take().expect("stdout was asked for"));
    let stderr = collect(child.stderr.take().expect("stderr was asked for"));
    let status = wait_limited(&mut child, limit);
    let timed_out = status.is_none();
    if timed_out {
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = writer.join();
    let finished = Finished {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
        what,
    };
    assert!(!timed_out, "still running after {limit:?}: {finished}");
    finished
}

/// Waits for the end of `child`, no longer than `limit`.
pub(crate) fn wait_limited(
    child: &mut std::process::Child,
    limit: Duration,
) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return None,
            Err(e) => panic!("cannot wait for a child process: {e}"),
        }
    }
}

/// The command line as a person would type it, without quoting.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // A broken pipe ends the output, it does not make what came before wrong.
        let _ = from.read_to_end(&mut all);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_code_are_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo oops >&2; exit 3"]);
        let finished = finish(command, b"in", crate::PATIENCE).expect_code(3);
        assert_eq!(
            (finished.stdout().as_str(), finished.stderr().as_str()),
            ("in", "oops\n")
        );
    }

    #[test]
    #[should_panic(expected = "still running after")]
    fn a_program_that_hangs_is_killed() {
        let mut command = Command::new("sleep");
        command.arg("60");
        finish(command, b"", Duration::from_millis(50));
    }
}
