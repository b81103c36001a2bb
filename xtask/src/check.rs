//! `cargo xtask check`: all that must hold before a change goes in. Continuous integration runs
//! the same.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{cargo, run, target};
use crate::{Outcome, clients, fuzz};

/// How many tests a step ran.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs every step, also after one failed, so that one run shows all there is to mend.
///
/// Ends with the line `N passed, N failed`: tests, and one for each step that is none.
pub fn check() -> Outcome {
    let mut report = Report::default();
    report.step("format", || once(cargo(&["fmt", "--all", "--check"])?));
    report.step("clippy", || {
        once(cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])?)
    });
    report.step("documentation", || {
        let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"])?;
        doc.env("RUSTDOCFLAGS", "-D warnings");
        once(doc)
    });
    if clients::find("cargo-deny").is_some() {
        report.step("licences and sources", || {
            once(cargo(&[
                "deny",
                "--offline",
                "--log-level",
                "error",
                "check",
                "bans",
                "licenses",
                "sources",
            ])?)
        });
    }
    report.step("client programs", || {
        clients::clients().map(|()| Count {
            passed: 1,
            failed: 0,
        })
    });
    report.step("build", || {
        once(cargo(&[
            "build",
            "--quiet",
            "--workspace",
            "--all-targets",
        ])?)
    });
    report.step("fuzz targets", || once(fuzz::check()?));
    report.step("tests", tests);
    report.step("documentation tests", || {
        counted(cargo(&["test", "--quiet", "--workspace", "--doc"])?)
    });
    report.finish()
}

/// All unit and integration tests, by nextest where it is installed.
fn tests() -> Outcome<Count> {
    let nextest = clients::find("cargo-nextest").is_some();
    let mut tests = match nextest {
        true => cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--status-level",
            "slow",
        ])?,
        false => cargo(&[
            "test",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
        ])?,
    };
    tests.env("POLYPORT_BIN_DIR", target()?.join("debug"));
    counted(tests)
}

/// A step that counts as one.
fn once(mut command: Command) -> Outcome<Count> {
    run(&mut command)?;
    Ok(Count {
        passed: 1,
        failed: 0,
    })
}

/// Runs tests, shows their output as it comes and adds up what they report.
fn counted(mut command: Command) -> Outcome<Count> {
    // nextest writes its summary to standard error, the test harness its own to standard output.
    let (read, write) = std::io::pipe().map_err(|e| format!("cannot make a pipe: {e}"))?;
    let both = write
        .try_clone()
        .map_err(|e| format!("cannot make a pipe: {e}"))?;
    command.stdin(Stdio::null()).stdout(write).stderr(both);
    let mut child = command
        .spawn()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    // The command holds the pipe open; the end of the output is seen only without it.
    drop(command);
    let mut count = Count::default();
    for line in BufReader::new(read).split(b'\n') {
        let line = line.map_err(|e| format!("cannot read the tests' output: {e}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = summary(&line) {
            count.passed += more.passed;
            count.failed += more.failed;
        }
    }
    let status = child
        .wait()
        .map_err(|e| format!("cannot wait for cargo: {e}"))?;
    match (status.success(), count) {
        (true, _) | (false, Count { failed: 1.., .. }) => Ok(count),
        (false, _) => Err(format!("cargo failed: {status}")),
    }
}

/// The counts in a summary line of nextest or of the built-in harness.
///
/// nextest shows what a failed test wrote, the harness's own summary of it among that, indented.
fn summary(line: &str) -> Option<Count> {
    let is_nextest = line.starts_with("     Summary [") && line.contains(" run: ");
    if !is_nextest && !line.starts_with("test result:") {
        return None;
    }
    let words: Vec<&str> = line
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let before = |names: &[&str]| -> u64 {
        let numbers = words
            .windows(2)
            .filter(|pair| matches!(pair, [_, name] if names.contains(name)));
        numbers
            .filter_map(|pair| pair.first()?.parse::<u64>().ok())
            .sum()
    };
    // nextest counts a test that ran out of time apart.
    Some(Count {
        passed: before(&["passed"]),
        failed: before(&["failed", "timed"]),
    })
}

#[derive(Default)]
struct Report {
    total: Count,
    lines: Vec<String>,
    time: Duration,
}

impl Report {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome<Count>) {
        println!("== {name}");
        // Cargo's own output must not overtake the line.
        let _ = std::io::stdout().flush();
        let start = Instant::now();
        let outcome = work();
        let time = start.elapsed();
        self.time += time;
        let (count, remark) = match outcome {
            Ok(count) if count.failed == 0 => (count, "ok".to_string()),
            Ok(count) => (count, format!("{} FAILED", count.failed)),
            Err(error) => (
                Count {
                    passed: 0,
                    failed: 1,
                },
                format!("FAILED: {error}"),
            ),
        };
        self.total.passed += count.passed;
        self.total.failed += count.failed;
        self.lines
            .push(format!("{:>7.1} s  {name}: {remark}", time.as_secs_f64()));
    }

    fn finish(self) -> Outcome {
        println!("== summary");
        for line in &self.lines {
            println!("{line}");
        }
        println!("{:>7.1} s  in all", self.time.as_secs_f64());
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        match self.total.failed {
            0 => Ok(()),
            _ => Err("the check failed".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_read() {
        let count = |passed, failed| Some(Count { passed, failed });
        let harness =
            "test result: FAILED. 14 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(summary(harness), count(14, 2));
        let nextest = "     Summary [   0.103s] 14 tests run: 11 passed (1 slow), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(summary(nextest), count(11, 3));
        assert_eq!(
            summary("     Summary [   0.103s] 1 test run: 1 passed, 0 skipped"),
            count(1, 0)
        );
        assert_eq!(summary("14 passed"), None);
        assert_eq!(summary(&format!("    {harness}")), None);
    }
}
