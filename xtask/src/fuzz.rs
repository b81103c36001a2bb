//! `cargo xtask fuzz`: the fuzz targets of the MQTT broker with libFuzzer, on the stable compiler.
//!
//! The instrumentation is a pass of LLVM that stable rustc runs when told to; only address checking would need a
//! nightly one, and these crates have no unsafe code. What is found stays in `target/fuzz`; an input that fails is kept
//! for good by copying it to the target's folder in `plugins/mqtt/fuzz/corpus`, which the tests replay.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::workspace::{self, cargo, root};

const PACKAGE: &str = "polyport-mqtt-fuzz";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const SECONDS: u64 = 60;

/// Counters at each edge, comparisons told to the fuzzer, and checks that a release build leaves out.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// What to run.
#[derive(Debug, PartialEq)]
struct Choice {
    targets: Vec<String>,
    seconds: u64,
}

/// `[TARGET]... [--seconds N]`: those targets, or all, for so long each.
pub fn fuzz(args: &[String]) -> Outcome {
    let known = targets()?;
    let choice = choice(args, &known)?;
    let program = build()?;
    for target in &choice.targets {
        let found = run(&program, target, choice.seconds)?;
        println!("{target}: {found}");
    }
    Ok(())
}

/// The targets have their folders.
pub fn targets() -> Outcome<Vec<String>> {
    let corpus = corpus();
    let entries = std::fs::read_dir(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: std::io::Result<Vec<String>> = names.collect();
    let mut names = names.map_err(|e| format!("{}: {e}", corpus.display()))?;
    names.sort();
    Ok(names)
}

fn choice(args: &[String], known: &[String]) -> Outcome<Choice> {
    let mut choice = Choice {
        targets: Vec::new(),
        seconds: SECONDS,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let number = args.next().and_then(|number| number.parse().ok());
            choice.seconds = number.ok_or("expected a number after --seconds")?;
        } else if known.contains(arg) {
            choice.targets.push(arg.clone());
        } else {
            return Err(format!("expected {}, got {arg:?}", known.join(", ")));
        }
    }
    if choice.targets.is_empty() {
        choice.targets = known.to_vec();
    }
    Ok(choice)
}

fn corpus() -> PathBuf {
    root().join("plugins/mqtt/fuzz/corpus")
}

/// A command of cargo on the program that libFuzzer drives.
fn on_program(command: &str) -> Outcome<Command> {
    let mut command = cargo(&[command, "--quiet", "--package", PACKAGE])?;
    command.args(["--features", "libfuzzer", "--bin", "mqtt-fuzz"]);
    Ok(command)
}

/// Builds the targets beneath libFuzzer, in a target folder of their own: everything is compiled with other flags.
pub fn build() -> Outcome<PathBuf> {
    let folder = workspace::target()?.join("fuzz");
    let mut command = on_program("build")?;
    command
        .args(["--release", "--target", TRIPLE])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    workspace::run(&mut command)?;
    Ok(folder.join(TRIPLE).join("release/mqtt-fuzz"))
}

/// Checks that the program beneath libFuzzer fits the targets; libFuzzer itself is not built for that.
pub fn check() -> Outcome<Command> {
    let mut command = on_program("check")?;
    command.env("CUSTOM_LIBFUZZER_PATH", "/nowhere/libfuzzer.a");
    Ok(command)
}

/// Runs one target and says what came of it; the error has the input that failed.
pub fn run(program: &Path, target: &str, seconds: u64) -> Outcome<String> {
    let folder = workspace::target()?.join("fuzz");
    let (found, failed) = (folder.join("corpus").join(target), folder.join("failed"));
    for folder in [&found, &failed] {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command
        .env("POLYPORT_FUZZ_TARGET", target)
        .arg(&found)
        .arg(corpus().join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", failed.display()))
        .args([
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-max_len=4096",
            "-print_final_stats=1",
        ]);
    let output = command
        .output()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let from = said.len().saturating_sub(4000);
        let end = said.get(from..).unwrap_or(&said);
        return Err(format!(
            "{target}: an input failed, see {}:\n{end}",
            failed.display()
        ));
    }
    summary(&said).ok_or_else(|| format!("{target}: libFuzzer gave no figures:\n{said}"))
}

/// Inputs run and edges covered, from what libFuzzer prints.
fn summary(said: &str) -> Option<String> {
    let runs = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    let runs: u64 = runs.trim().parse().ok()?;
    let last = said.lines().rev().find(|line| line.contains(" cov: "))?;
    let covered = last.split(" cov: ").nth(1)?.split_whitespace().next()?;
    Some(format!("{runs} inputs, {covered} edges, none failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_time_are_chosen() {
        let known = ["frame".to_owned(), "topics".to_owned()];
        let chosen = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            choice(&args, &known)
        };
        assert_eq!(chosen(&[]).unwrap().targets, known);
        let both = chosen(&["topics", "--seconds", "5"]).unwrap();
        assert_eq!((both.targets, both.seconds), (vec!["topics".to_owned()], 5));
        assert!(chosen(&["topic"]).is_err() && chosen(&["--seconds"]).is_err());
    }

    #[test]
    fn figures_are_picked_from_what_libfuzzer_prints() {
        let said = "#4096\tpulse  cov: 80 ft: 90 corp: 5/9b\n#9000\tDONE   cov: 93 ft: 120 corp: 9/30b\n\
            stat::number_of_executed_units: 9000\n";
        assert_eq!(summary(said).unwrap(), "9000 inputs, 93 edges, none failed");
        assert_eq!(summary("nothing"), None);
    }
}
