//! A store that the disk has damaged: the host starts, says what it found, and serves what is whole.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod programs;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use polyport_testkit::{Host, eventually};
use programs::{mosquitto, subscriber};

fn retain(host: &Host, topic: &str, payload: &str) {
    let publisher = mosquitto(host, "mosquitto_pub").args(["-q", "1", "-r", "-t", topic]);
    publisher.args(["-m", payload]).run().expect_success();
}

/// The only log of the store.
fn log(host: &Host) -> PathBuf {
    let folder = host.path().join("state/services/mqtt/store");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut logs: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|kind| kind == "log"))
        .collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

#[test]
fn a_damaged_store_is_reported_and_what_is_whole_is_served() {
    let mut host = Host::builder()
        .service("mqtt")
        .accounts("[anonymous]\nservices = mqtt\n")
        .start();
    for number in 0..20 {
        retain(&host, &format!("kept/{number}"), "whole");
    }
    retain(&host, "victim", "this-is-hit");
    retain(&host, "kept/last", "whole");
    host.kill9();

    let damaged = log(&host);
    let bytes = fs::read(&damaged).unwrap();
    let at = bytes.windows(11).position(|bytes| bytes == b"this-is-hit");
    let at = at.unwrap() as u64;
    let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    file.write_all_at(b"T", at).unwrap();
    drop(file);

    let mark = host.log_mark();
    host.start();
    let line = host.wait_log(mark, "unreadable from byte");
    assert!(
        line.contains("WARN") && line.contains(damaged.file_name().unwrap().to_str().unwrap()),
        "{line}"
    );
    let status = host.wait_status("degraded", |status| {
        status["services"][0]["state"] == "degraded"
    });
    let reason = status["services"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("store was damaged") && reason.contains("unreadable from byte"),
        "{reason}"
    );
    let copy = damaged.with_extension("log.damaged");
    let kept = fs::read(&copy).unwrap();
    assert!(kept.len() == bytes.len() && kept != bytes);
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Before the damage and behind it.
    let client = subscriber(&host, &["-v", "-t", "#", "-W", "3"]);
    for topic in ["kept/0", "kept/19", "kept/last"] {
        client.wait_line(&format!("{topic} whole"));
    }
    assert!(!client.lines().iter().any(|line| line.starts_with("victim")));
    retain(&host, "victim", "anew");

    // All is written anew, and nothing is damaged any more.
    eventually("the damaged log gone", || (!damaged.exists()).then_some(()));
    host.restart();
    let client = subscriber(&host, &["-v", "-t", "#", "-W", "3"]);
    client.wait_line("victim anew");
    client.wait_line("kept/last whole");
    host.wait_status("as good as new", |status| {
        status["services"][0]["state"] == "ready"
    });
}
