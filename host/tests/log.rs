//! What clients choose goes into the log without forging lines of it, moving a terminal's cursor or filling it.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod wire;

use polyport_testkit::Host;
use wire::ftp::Ftp;
use wire::mqtt::{Level, Mqtt};

/// More than a line of the log with all that is around the text.
const LINE: usize = 5_000;
/// Nearly as long as MQTT lets a name be.
const LONG: usize = 60_000;

/// Erases the line in the two ways of terminals, and turns the text round.
const EVIL: &str = "\u{1b}[2K\u{9b}2K\u{202e}evil";

#[test]
fn what_clients_choose_neither_forges_lines_nor_fills_the_log() {
    let host = Host::builder()
        .all_services()
        .accounts("[a]\npassword = x\ndeny.secret = publish secret/#\n")
        .start();
    for (format, escaped) in [
        ("human", r"\u{1b}[2K\u{9b}2K\u{202e}evil"),
        ("json", r"\u001b[2K\u009b2K\u202eevil"),
    ] {
        if format == "json" {
            host.change(|text| format!("{text}\n[host.log]\nformat = \"json\"\n"));
        }
        let mark = host.log_mark();
        let mut ftp = Ftp::connect(host.addr("ftp"));
        ftp.command(format!("USER {EVIL}"));
        assert_eq!(ftp.command("PASS x").code, 530);
        let refused = host.wait_log(mark, "login refused");
        assert!(refused.contains(escaped), "{format}: {refused}");

        let mark = host.log_mark();
        let mqtt = host.addr("mqtt");
        let long = "x".repeat(LONG);
        let (_, code) = Mqtt::try_login(mqtt, Level::V311, "c", &long, "x").unwrap();
        assert_ne!(code, 0);
        bounded(&host.wait_log(mark, "login refused"));

        let mark = host.log_mark();
        let mut client = Mqtt::login(mqtt, Level::V5, &long, "a", "x");
        client.publish(&format!("secret/{long}"), "x").unwrap();
        bounded(&host.wait_log(mark, "PUBLISH refused"));
    }
}

/// A line that says how much of a long text it left out.
fn bounded(line: &str) {
    assert!(line.len() < LINE, "{} bytes", line.len());
    assert!(line.contains(" bytes more)"), "{line}");
}
