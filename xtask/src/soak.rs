//! `cargo xtask soak`: tests whose length is set by an environment variable, in their full length.
//!
//! The same tests run shortly in `cargo xtask check`. A test gives figures by writing lines
//! `figure: NAME = VALUE`; they go to docs/benchmarks.md.

use crate::workspace::cargo;
use crate::{Outcome, bench, document, fuzz};

/// Each fuzz target's name comes after this, and it runs so many seconds.
const FUZZ: &str = "fuzz-";
const FUZZ_SECONDS: u64 = 600;

/// A test with a length.
struct Long {
    name: &'static str,
    package: &'static str,
    /// File name of the integration test, without its ending.
    file: &'static str,
    /// Its name; all of the file without one.
    test: &'static str,
    variable: &'static str,
    full: &'static str,
}

const TESTS: [Long; 12] = [
    Long {
        name: "mqtt-kills",
        package: "polyport-mqtt",
        file: "durability",
        test: "t7_kills_lose_nothing_acknowledged_and_repeat_no_qos_2_message",
        variable: "POLYPORT_KILLS",
        full: "500",
    },
    Long {
        name: "mqtt-gigabyte",
        package: "polyport-mqtt",
        file: "pause",
        test: "nobody_waits_for_a_large_store_that_is_written_anew",
        variable: "POLYPORT_STORE_MIB",
        full: "1024",
    },
    Long {
        name: "mqtt-sessions",
        package: "polyport-mqtt-core",
        file: "sessions",
        test: "every_acknowledged_message_arrives_whatever_happens",
        variable: "POLYPORT_SESSIONS",
        full: "100000",
    },
    Long {
        name: "mqtt-hostile",
        package: "polyport-mqtt",
        file: "hostile",
        test: "",
        variable: "POLYPORT_HOSTILE",
        full: "10",
    },
    Long {
        name: "json-kills",
        package: "polyport-json-api",
        file: "durability",
        test: "what_was_acknowledged_survives_kill_9",
        variable: "POLYPORT_KILLS",
        full: "200",
    },
    Long {
        name: "swaps",
        package: "polyport",
        file: "reload",
        test: "swaps_under_load_refuse_nobody",
        variable: "POLYPORT_SWAPS",
        full: "100",
    },
    Long {
        name: "reload-1000",
        package: "polyport",
        file: "many_reloads",
        test: "descriptors_threads_and_memory_stay_flat",
        variable: "POLYPORT_RELOADS",
        full: "1000",
    },
    Long {
        name: "reload-kills",
        package: "polyport",
        file: "generations",
        test: "kills::killed_at_any_time_it_starts_with_the_old_or_the_new_state",
        variable: "POLYPORT_RELOAD_KILLS",
        full: "500",
    },
    Long {
        name: "upgrades",
        package: "polyport",
        file: "upgrade",
        test: "crossing::one_upgrade_after_the_other_takes_the_same_connections_along",
        variable: "POLYPORT_UPGRADES",
        full: "100",
    },
    Long {
        name: "folder-links",
        package: "polyport",
        file: "path_attacks",
        test: "races::a_folder_swapped_for_a_link_leads_nowhere",
        variable: "POLYPORT_PATH_SWAPS",
        full: "10000",
    },
    Long {
        name: "file-links",
        package: "polyport",
        file: "path_attacks",
        test: "races::a_file_swapped_for_a_link_is_never_read_or_written_through_it",
        variable: "POLYPORT_PATH_SWAPS",
        full: "10000",
    },
    Long {
        name: "moved-folders",
        package: "polyport",
        file: "path_attacks",
        test: "races::a_folder_that_moves_while_its_links_are_followed_leads_nowhere",
        variable: "POLYPORT_PATH_SWAPS",
        full: "10000",
    },
];

/// Runs the tests named, or all, in release and writes their figures.
pub fn soak(args: &[String]) -> Outcome {
    let targets = fuzz::targets()?;
    let fuzzed: Vec<String> = targets
        .iter()
        .map(|target| format!("{FUZZ}{target}"))
        .collect();
    let known: Vec<&str> = TESTS
        .iter()
        .map(|test| test.name)
        .chain(fuzzed.iter().map(String::as_str))
        .collect();
    if let Some(unknown) = args.iter().find(|arg| !known.contains(&arg.as_str())) {
        return Err(format!("expected {}, got {unknown:?}", known.join(", ")));
    }
    let last = document::read("soak")?;
    let chosen = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let rows = TESTS.iter().map(|test| match chosen(test.name) {
        true => run(test),
        // What was not run keeps its figures.
        false => Ok(row_of(&last, test.name)),
    });
    let mut rows: Vec<String> = rows.collect::<Outcome<_>>()?;
    let program = match known
        .iter()
        .any(|name| name.starts_with(FUZZ) && chosen(name))
    {
        true => Some(fuzz::build()?),
        false => None,
    };
    for (target, name) in targets.iter().zip(&fuzzed) {
        rows.push(match &program {
            Some(program) if chosen(name) => {
                println!("== {name}");
                let found = fuzz::run(program, target, FUZZ_SECONDS)?;
                println!("{found}");
                let (date, _) = circumstances()?;
                format!("| {name} | {date} | | {FUZZ_SECONDS} s | {found} |\n")
            }
            _ => row_of(&last, name),
        });
    }
    let (_, machine) = circumstances()?;
    let body = format!(
        "{machine}.\n\n| test | date | length | time | figures |\n|---|---|---|---|---|\n{}",
        rows.concat()
    );
    document::write("soak", &body)
}

/// The date, and what the tests run on.
fn circumstances() -> Outcome<(String, String)> {
    let both = bench::circumstances()?;
    let (date, machine) = both.split_once(", ").ok_or("no date")?;
    Ok((date.to_owned(), machine.to_owned()))
}

/// The row of a test in an earlier table; nothing if it has none.
fn row_of(table: &str, name: &str) -> String {
    let begin = format!("| {name} |");
    let row = table.lines().find(|line| line.starts_with(&begin));
    row.map_or_else(String::new, |row| format!("{row}\n"))
}

/// Runs one test and gives its row of the table.
fn run(test: &Long) -> Outcome<String> {
    let Long {
        name,
        package,
        file,
        test: filter,
        variable,
        full,
    } = test;
    println!("== {name}: {variable}={full}");
    let mut command = cargo(&[
        "test",
        "--release",
        "--quiet",
        "--package",
        package,
        "--test",
        file,
    ])?;
    match filter.is_empty() {
        true => command.args(["--", "--nocapture", "--test-threads=1"]),
        false => command.args([filter, "--", "--exact", "--nocapture"]),
    };
    // The test kit builds the libraries it needs, also those that exist for tests alone.
    command.env(variable, full);
    let output = command
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} failed:\n{text}"));
    }
    let seconds = seconds(&text).ok_or_else(|| format!("{name} did not run:\n{text}"))?;
    let figures = match figures(&text) {
        none if none.is_empty() => "passed".to_string(),
        figures => figures.join("; "),
    };
    println!("{seconds:.0} s: {figures}");
    let (date, _) = circumstances()?;
    Ok(format!(
        "| {name} | {date} | {variable}={full} | {seconds:.0} s | {figures} |\n"
    ))
}

fn figures(text: &str) -> Vec<&str> {
    text.lines()
        // A dot for each test that passed before may stand in front.
        .filter_map(|line| line.trim().trim_start_matches('.').strip_prefix("figure: "))
        .collect()
}

/// How long the test itself ran, without its building; `None` when none ran.
fn seconds(text: &str) -> Option<f64> {
    let result = text
        .lines()
        .find(|line| line.contains("test result: ok. ") && !line.contains(" 0 passed;"))?;
    let (_, time) = result.rsplit_once("finished in ")?;
    time.trim_end().strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_picked_from_the_output() {
        let text = "running 2 tests\nfigure: kills = 500\n.figure: lost = 0\n.\n";
        assert_eq!(figures(text), ["kills = 500", "lost = 0"]);
        assert_eq!(seconds(text), None, "no test ran");
        let none = "test result: ok. 0 passed; 0 failed; 2 filtered out; finished in 0.00s";
        assert_eq!(seconds(none), None);
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; finished in 12.50s";
        assert_eq!(seconds(result), Some(12.5));
    }
}
