//! The example does what its page says, in the real host.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader, Write};

use polyport_testkit::Host;

#[test]
fn it_greets_and_echoes_lines_of_any_split() {
    let host = Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .settings("echo", "greeting = \"good day\"")
        .keys("echo", "limits.max_line = 8")
        .start();
    let mut client = BufReader::new(host.connect("echo"));
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "good day\n");
    for part in ["a", "b", "\nsecond line longer than eight\n"] {
        client.get_mut().write_all(part.as_bytes()).unwrap();
    }
    for expected in ["ab\n", "second line longer than eight\n"] {
        line.clear();
        client.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
}

#[test]
fn a_setting_out_of_range_is_refused_with_its_line() {
    let mut host = Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .settings("echo", "greeting = \"\"\nmax_line = 0")
        .keys("echo", "limits.max_line = 0")
        .prepare();
    let log = host.try_start().unwrap_err();
    for expected in [
        "services.echo.settings.greeting: expected a text that is not empty, got \"\"",
        "services.echo.settings.max_line: expected max_line in the limits of the service, got a setting",
        "services.echo.limits.max_line: expected 1 to 1048576 bytes, got 0",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}
