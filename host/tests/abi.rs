//! A plugin made with more than this host has loads, and what does not fit fails alone.
//! (The other direction, an old plugin in a newer host, is in `sdk/abi/tests`.)

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader};

use polyport_testkit::Host;

#[test]
fn a_newer_plugin_loads_and_each_interface_stands_for_itself() {
    let host = Host::builder()
        .plugin("newer", "newer", "polyport-newer")
        .start();
    let lines: Vec<String> = BufReader::new(host.connect("newer"))
        .lines()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lines[0], "interface log/1: found");
    assert_eq!(
        lines[1],
        "interface extra/1: expected it to be offered, got none"
    );
    assert!(
        lines[2].starts_with("interface metrics/1: layouts differ: "),
        "{}",
        lines[2]
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    let status = host.status();
    assert_eq!(status["services"][0]["state"], "degraded");
    assert_eq!(status["services"][0]["version"], "9.0.0");
    assert_eq!(status["services"][0]["reason"], lines[2].as_str());
}

#[test]
fn list_and_inspect_read_manifests() {
    let host = Host::builder()
        .plugin("newer", "newer", "polyport-newer")
        .plugin("echo", "echo", "polyport-echo")
        .prepare();
    std::fs::write(host.path().join("plugins/libforeign.so"), "no library").unwrap();
    let list = host.command(&["plugin", "list"]).expect_success().stdout();
    assert!(
        list.lines()
            .any(|line| line.starts_with("newer") && line.contains("9.0.0")),
        "{list}"
    );
    assert!(
        list.lines()
            .any(|line| line.contains("libforeign.so: expected an ELF")),
        "{list}"
    );
    let echo = host
        .command(&["plugin", "inspect", "echo"])
        .expect_success()
        .json();
    assert_eq!(echo["manifest"]["name"], "echo");
    assert_eq!(echo["description"]["limits"]["max_line"]["default"], 4096);
    let missing = host
        .command(&["plugin", "inspect", "ghost"])
        .expect_code(1)
        .stderr();
    assert!(missing.contains("libpolyport_ghost.so"), "{missing}");
}
