//! Holds docs/mqtt-conformance.md to the standards' numbers and to the tests that it names.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

#[path = "../core/tests/transcript/mod.rs"]
#[allow(dead_code, reason = "nothing is played here")]
mod transcript;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many statements each section has in appendix B of 5.0: 251 in all.
const FIVE: [(&str, usize); 56] = [
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 5),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2.0", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];

struct Row {
    statement: String,
    proofs: Vec<String>,
}

fn plugin() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the section with this heading whose first cell begins so.
fn rows(text: &str, heading: &str, first: &str) -> Vec<Row> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_prefix(first));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        Row {
            statement: cells[0].to_owned(),
            proofs: cells[2].split("<br>").map(str::to_owned).collect(),
        }
    };
    lines.map(row).collect()
}

/// Names of cases, with and without the parenthesis at their end, by transcript.
fn cases() -> BTreeMap<String, BTreeSet<String>> {
    let mut cases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in transcript::load(&plugin().join("core/tests/transcripts")) {
        let stem = case.file.trim_end_matches(".txt").to_owned();
        let names = cases.entry(stem).or_default();
        let short = match case.name.rsplit_once(" (") {
            Some((short, rest)) if rest.ends_with(')') => short,
            _ => &case.name,
        };
        assert!(
            names.insert(short.to_owned()),
            "{}: {short} twice",
            case.file
        );
        names.insert(case.name);
    }
    cases
}

/// Why there is nothing to prove of some statements. Each is looked at when it is added here.
const NOTHING_TO_PROVE: [&str; 4] = [
    "the broker sends no user properties of its own",
    "acknowledgements have no reason string",
    "the broker's AUTH has none",
    "there are none: what cannot be stored yet is acknowledged later",
];

fn is_proved(proof: &str, cases: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let (file, name) = match proof.split_once(": ") {
        Some((file, name)) => (file, Some(name)),
        None => (proof, None),
    };
    if file == "client" {
        return true;
    }
    if file == "none" {
        return name.is_some_and(|name| NOTHING_TO_PROVE.contains(&name));
    }
    let file = file.trim_matches('`');
    if file.ends_with(".rs") {
        let code = std::fs::read_to_string(plugin().join(file)).unwrap_or_default();
        let name = name.unwrap_or_default().trim_matches('`');
        return code.lines().any(|line| {
            let line = line.trim_start();
            line.strip_prefix("fn ")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('('))
        });
    }
    match (cases.get(file), name) {
        (Some(names), Some(name)) => names.contains(name),
        (found, None) => found.is_some(),
        (None, _) => false,
    }
}

#[test]
fn every_statement_is_listed_once_with_a_proof_that_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqtt-conformance.md");
    let text = std::fs::read_to_string(page).unwrap();
    let cases = cases();
    for (heading, first, count) in [
        ("MQTT 5.0", "MQTT-", 251),
        ("MQTT 3.1.1", "MQTT-", 141),
        ("Eclipse's interoperability tests", "Paho ", 37),
    ] {
        let rows = rows(&text, heading, first);
        let mut seen = BTreeSet::new();
        for row in &rows {
            assert!(
                seen.insert(&row.statement),
                "{heading}: {} twice",
                row.statement
            );
            for proof in &row.proofs {
                let statement = &row.statement;
                assert!(
                    is_proved(proof, &cases),
                    "{heading}: {statement}: no such test: {proof}"
                );
            }
        }
        assert_eq!(rows.len(), count, "{heading}");
    }
    let mut sections: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(&text, "MQTT 5.0", "MQTT-") {
        let (section, _) = row.statement.rsplit_once('-').unwrap();
        *sections.entry(section.to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> = FIVE
        .iter()
        .map(|(section, count)| ((*section).to_owned(), *count))
        .collect();
    assert_eq!(sections, expected);
}

#[test]
fn a_proof_that_does_not_exist_is_found() {
    let cases = cases();
    assert!(is_proved("`will`: DISCONNECT forgets the will", &cases));
    assert!(is_proved("client", &cases) && is_proved("`login`", &cases));
    for wrong in [
        "`will`: DISCONNECT forgets",
        "`wills`",
        "none",
        "none: too difficult",
        "`core/tests/malformed.rs`: `a_packet`",
        "`core/tests/nothing.rs`: `a_packet`",
    ] {
        assert!(!is_proved(wrong, &cases), "{wrong}");
    }
}
