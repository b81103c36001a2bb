//! What survives what: every cell of the table in docs/reload.md, against the real host and the shipped plugins.
//!
//! For each change a host is started, a connection of each kind is brought into its state, the change is made, and each
//! connection is asked what became of it.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod changes;
mod connections;
mod document;

use std::time::Duration;

use polyport_testkit::{Builder, Host, STANDARD};

use changes::{CHANGES, Change};
use connections::{CONNECTIONS, Kind};

/// How long a replaced instance goes on with what did not go over: enough for what is under way, on a busy machine.
const DRAIN: Duration = Duration::from_secs(6);
/// Enough that a client's and the server's buffers together do not hold it.
pub const LARGE: usize = 32 * 1024 * 1024;

fn builder() -> Builder {
    let mut builder = Host::builder()
        .all_services()
        .listen(
            "mqtt",
            &[
                "127.0.0.1:{port:mqtt}",
                "ws://127.0.0.1:{port:ws}",
                "mqtts://127.0.0.1:{port:mqtts}",
            ],
        )
        .listen(
            "files",
            &["127.0.0.1:{port:files}", "https://127.0.0.1:{port:https}"],
        )
        .host_keys(&format!(
            "quiet_time = \"1m\"\ndrain_timeout = \"{}s\"\nlog.access = \"off\"",
            DRAIN.as_secs()
        ))
        .accounts("[alice]\npassword = wonderland\nhome = files\n\n[bob]\npassword = builder\n")
        .file("files/small.txt", "hello")
        .file("files/large.bin", vec![7; LARGE]);
    for service in ["mqtt", "files", "ftp"] {
        builder = builder.keys(
            service,
            "tls = { cert = \"localhost.cert.pem\", key = \"localhost.key.pem\" }",
        );
    }
    for standard in STANDARD {
        builder = builder.keys(standard.name, "threads = 1");
    }
    builder
}

fn certificate(host: &Host) {
    let out = host.path().display().to_string();
    host.command(&["tls", "self-signed", "localhost", "--out", &out])
        .expect_success();
}

/// What became of each connection, in the order of [`CONNECTIONS`].
fn outcomes(change: &Change) -> Vec<&'static str> {
    let mut host = builder().prepare();
    certificate(&host);
    host.start();
    (change.before)(&host);
    let mut open: Vec<Box<dyn connections::Connection>> =
        CONNECTIONS.iter().map(|kind| (kind.open)(&host)).collect();
    let mut host = (change.make)(host);
    let whole: Vec<bool> = open
        .iter_mut()
        .map(|connection| connection.finish().is_ok())
        .collect();
    // There is no event for the end of what is left of an old instance: it is when its time is up.
    std::thread::sleep(DRAIN + Duration::from_secs(2));
    let alive: Vec<bool> = open
        .iter_mut()
        .map(|connection| connection.ask().is_ok())
        .collect();
    changes::end(&mut host);
    CONNECTIONS
        .iter()
        .zip(whole.into_iter().zip(alive))
        .map(|(kind, (whole, alive))| word(kind, change, whole, alive))
        .collect()
}

fn word(kind: &Kind, change: &Change, whole: bool, alive: bool) -> &'static str {
    match (kind.busy, whole, alive, change.replaces) {
        (true, false, ..) => "cut off",
        (_, _, true, false) => "stays",
        (false, _, true, true) => "crosses",
        (true, true, true, true) => "finishes, then crosses",
        (false, _, false, _) => "closed",
        (true, true, false, _) => "finishes, then closed",
    }
}

#[test]
fn the_table_tells_what_survives_what() {
    let told = document::table();
    let names: Vec<&str> = CHANGES.iter().map(|change| change.name).collect();
    assert_eq!(told.columns, names, "the changes in the head of the table");
    let kinds: Vec<&str> = CONNECTIONS.iter().map(|kind| kind.name).collect();
    let rows: Vec<&str> = told.rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(rows, kinds, "the connections in the table's first column");
    // Each change with a host of its own; most of the time is the wait for drains.
    let found: Vec<Vec<&str>> = std::thread::scope(|scope| {
        let halves: Vec<_> = CHANGES
            .chunks(3)
            .map(|changes| scope.spawn(|| changes.iter().map(outcomes).collect::<Vec<_>>()))
            .collect();
        halves
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .collect()
    });
    let mut wrong = Vec::new();
    let mut right = format!("| | {} |\n", names.join(" | "));
    for (row, (name, cells)) in told.rows.iter().enumerate() {
        let is: Vec<&str> = found.iter().map(|column| column[row]).collect();
        right.push_str(&format!("| {name} | {} |\n", is.join(" | ")));
        for ((change, told), is) in names.iter().zip(cells).zip(is) {
            if told != is {
                wrong.push(format!("{name}, {change}: told {told:?}, found {is:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nThe table as it is:\n{right}",
        wrong.join("\n")
    );
}
