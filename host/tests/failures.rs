//! What can be wrong with a library, an instance or an address is one clear line, and the other services run.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use polyport_testkit::{Host, library};

/// A host with a service `good` that works and one called `bad` that the test breaks.
fn host(plugin: &str, package: &str) -> Host {
    Host::builder()
        .plugin("good", "echo", "polyport-echo")
        .plugin("bad", plugin, package)
        .host_keys("ready_timeout = \"10s\"")
        .prepare()
}

/// The other service answers, and `bad` is shown as failed for a reason that holds `expected`.
fn assert_good_runs_and_bad_says(host: &mut Host, expected: &[&str]) {
    host.start();
    let mut line = String::new();
    BufReader::new(host.connect("good"))
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "hello\n");
    let status = host.status();
    let services = status["services"].as_array().unwrap();
    assert_eq!(services[0]["state"], "ready", "{status:#}");
    assert_eq!(services[1]["state"], "failed", "{status:#}");
    let reason = services[1]["reason"].as_str().unwrap();
    for part in expected {
        assert!(reason.contains(part), "{part:?} is not in {reason:?}");
    }
    assert_eq!(reason.lines().count(), 1, "{reason}");
    assert!(
        status["last_error"]
            .as_str()
            .unwrap()
            .contains("service bad: "),
        "{status:#}"
    );
    assert_eq!(host.sigterm(), Some(0));
}

fn library_of_bad(host: &Host) -> PathBuf {
    host.path().join("plugins/libpolyport_misbehaving.so")
}

/// Replaces bytes of the library by as many others, as a build with another contract would have them.
fn patch(host: &Host, from: &str, to: &str) {
    let path = library_of_bad(host);
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{from:?} is not in the library");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn address_in_use() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    let _taken = TcpListener::bind(host.addr("bad")).unwrap();
    assert_good_runs_and_bad_says(&mut host, &["listen", "in use by another process"]);
}

#[test]
fn missing_library() {
    let mut host = host("nowhere", "polyport-misbehaving");
    assert_good_runs_and_bad_says(
        &mut host,
        &["libpolyport_nowhere.so", "got echo, misbehaving"],
    );
}

#[test]
fn foreign_libraries() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    std::fs::write(library_of_bad(&host), "#!/bin/sh\nexit 0\n").unwrap();
    assert_good_runs_and_bad_says(
        &mut host,
        &[
            "libpolyport_misbehaving.so",
            "expected an ELF shared library",
        ],
    );
    std::fs::copy(polyport_testkit::program(), library_of_bad(&host)).unwrap();
    assert_good_runs_and_bad_says(&mut host, &["without a .polyport section"]);
}

#[test]
fn truncated_library() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    let whole = std::fs::read(library("polyport-misbehaving")).unwrap();
    for part in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(library_of_bad(&host), &whole[..part]).unwrap();
        assert_good_runs_and_bad_says(&mut host, &["libpolyport_misbehaving.so: expected", "got"]);
    }
}

#[test]
fn library_of_another_abi_generation() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    patch(&host, "\"abi_generation\":1", "\"abi_generation\":7");
    assert_good_runs_and_bad_says(
        &mut host,
        &["expected ABI generation 1", "got 7", "build it with an SDK"],
    );
}

#[test]
fn library_whose_panics_would_abort() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    patch(&host, "\"panic\":\"unwind\"", "\"panic\":\"abort\" ");
    assert_good_runs_and_bad_says(&mut host, &["panic = \"unwind\"", "got \"abort\""]);
}

#[test]
fn library_that_needs_what_this_host_has_not() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    patch(
        &host,
        "\"needs\":[\"control/1\"]",
        "\"needs\":[\"control/9\"]",
    );
    assert_good_runs_and_bad_says(&mut host, &["it needs control/9"]);
}

#[test]
fn library_without_the_entry_that_it_names() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    patch(
        &host,
        "\"entry\":\"polyport_entry_",
        "\"entry\":\"polyport_ghost_",
    );
    assert_good_runs_and_bad_says(
        &mut host,
        &["expected the entry symbol polyport_ghost_polyport_misbehaving"],
    );
}

#[test]
fn instances_that_do_not_start() {
    for (mode, expected) in [
        ("panic-at-start", "panicked at start: start panics as asked"),
        ("fail-at-start", "start fails as asked"),
        ("never-ready", "expected it to be ready within 4s"),
    ] {
        let mut host = host("misbehaving", "polyport-misbehaving");
        host.edit_config(|text| {
            let text = text.replace("ready_timeout = \"10s\"", "ready_timeout = \"4s\"");
            format!("{text}mode = {mode:?}\n")
        });
        assert_good_runs_and_bad_says(&mut host, &[expected]);
    }
}

#[test]
fn a_panic_in_the_check_of_settings_refuses_the_configuration() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    host.edit_config(|text| format!("{text}mode = \"panic-at-check\"\n"));
    let log = host.try_start().unwrap_err();
    assert!(
        log.contains("polyport.toml:") && log.contains("a panic of the plugin"),
        "{log}"
    );
}

#[test]
fn a_panic_in_a_connection_ends_that_connection_alone() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    host.start();
    let mut other = BufReader::new(host.connect("bad"));
    let mut doomed = host.connect("bad");
    doomed.write_all(b"panic\n").unwrap();
    let mut line = String::new();
    assert_eq!(BufReader::new(doomed).read_line(&mut line).unwrap(), 0);
    let status = host.wait_status("the instance degraded", |status| {
        status["services"][1]["state"] == "degraded"
    });
    assert!(
        status["services"][1]["reason"]
            .as_str()
            .unwrap()
            .contains("a connection panics as asked")
    );
    other.get_mut().write_all(b"word\n").unwrap();
    other.read_line(&mut line).unwrap();
    assert_eq!(line, "\n");
}

#[test]
fn settings_errors_name_file_line_and_key_all_at_once() {
    let mut host = host("misbehaving", "polyport-misbehaving");
    host.edit_config(|text| format!("{text}mode = \"explode\"\ncolour = 1\nword = 5\n"));
    let first = std::fs::read_to_string(host.config())
        .unwrap()
        .lines()
        .count()
        - 2;
    let log = host.try_start().unwrap_err();
    for (line, text) in [
        (
            first,
            "services.bad.settings.mode: expected one of \"behave\"",
        ),
        (
            first + 1,
            "services.bad.settings.colour: expected a known key",
        ),
        (
            first + 2,
            "services.bad.settings.word: expected a string, got 5",
        ),
    ] {
        let wanted = format!("polyport.toml:{line}:");
        assert!(
            log.lines().any(|l| l.contains(&wanted) && l.contains(text)),
            "{wanted} {text}: {log}"
        );
    }
}
