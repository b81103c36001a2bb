//! Foreign programs as loads: run again and again, or scripts that count for themselves.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::tally::{Kind, Tally};
use crate::{Outcome, clients};

/// The longest that one run of a program may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that ended: its exit code, what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// None: a signal, or the time limit.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// What it wrote, for a message.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

/// A program by name, at a lower priority than the server: what is measured is the server, not the
/// queue for a processor.
pub fn command(program: &str) -> Outcome<Command> {
    let path = clients::find(program)
        .ok_or_else(|| format!("no {program}: run `cargo xtask clients` as root"))?;
    Ok(nice(path.as_ref()))
}

/// A script in the environment of Python that `cargo xtask clients` makes.
pub fn python(script: &Path) -> Command {
    let python = polyport_testkit::clients_venv().join("bin/python");
    let mut command = nice(python.as_ref());
    command.arg("-u").arg(script);
    command
}

fn nice(program: &Path) -> Command {
    let mut command = Command::new("nice");
    command
        .args(["-n", "5"])
        .arg(program)
        .env("LC_ALL", "C.UTF-8");
    for proxy in ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    command
}

/// Runs a program to its end, no longer than [`LIMIT`].
pub fn run(mut command: Command) -> Outcome<Ended> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot run: {e}"))?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let code = wait(&mut child, LIMIT);
    let taken = |thread: Option<thread::JoinHandle<Vec<u8>>>| {
        thread
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    };
    Ok(Ended {
        code,
        stdout: taken(stdout),
        stderr: String::from_utf8_lossy(&taken(stderr)).into_owned(),
    })
}

/// The exit code; a program that takes longer than `limit` is killed and has none.
pub fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code(),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => {
                // It fails only if it ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        // A broken pipe ends the output, it does not make what came before wrong.
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Runs a script until the tally is over, then asks it to end by SIGTERM. It writes `done N` for each N
/// operations, `fail KIND TEXT`, and exits with 0.
pub fn script(tally: &Tally, load: &'static str, mut command: Command) -> Outcome {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{load}: {e}"))?;
    let stdout = child.stdout.take().ok_or("no output")?;
    let stderr = child.stderr.take().map(collect);
    thread::scope(|scope| {
        scope.spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                read(tally, load, &line);
            }
        });
        while !tally.is_over() && matches!(child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(50));
        }
        if tally.is_over() {
            terminate(&child);
        }
        let code = wait(&mut child, LIMIT);
        if code != Some(0) {
            let said = stderr
                .and_then(|thread| thread.join().ok())
                .unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            tally.fail(load, Kind::Other, &format!("ended with {code:?}: {said}"));
        }
    });
    Ok(())
}

/// Asks a program to end.
pub fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It fails only if it ended by itself, which its exit code tells.
    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
}

fn read(tally: &Tally, load: &'static str, line: &str) {
    match line.split_once(' ') {
        Some(("done", number)) => tally.done(load, number.parse().unwrap_or(0)),
        Some(("fail", failure)) => {
            let (word, what) = failure.split_once(' ').unwrap_or((failure, ""));
            tally.fail(load, Kind::of_word(word).unwrap_or(Kind::Other), what);
        }
        _ => tally.fail(load, Kind::Other, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_tell_what_they_did_and_what_failed() {
        let tally = Tally::new();
        let mut shell = command("sh").unwrap();
        shell.args(["-c", "echo done 3; echo fail lost number 7; exit 2"]);
        script(&tally, "shell", shell).unwrap();
        let mut expected = super::super::tally::Counts::default();
        expected[Kind::Lost as usize] = 1;
        expected[Kind::Other as usize] = 1; // its exit code
        assert_eq!(tally.failures(), expected);
        assert_eq!(tally.loads(), [("shell", 3, 2)]);
    }
}
