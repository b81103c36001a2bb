//! Files change in all the ways that editors, tools and orchestrators change them, and the host shows the new
//! behaviour: by an event where the system gives one, and by looking every few seconds where it does not.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod editors;
mod folders;
mod latency;
mod links;
mod silence;
mod writes;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use polyport_testkit::{Host, PATIENCE, eventually};

/// What the log says of a change that no event told of.
const SILENT: &str = "something changed without an event";

/// Two services, one that greets everybody with its setting, and one that says its word when it is asked; the default
/// quiet time. Not started yet.
fn prepared() -> Host {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("one", "greeting = \"first\"")
        .settings("two", "word = \"first\"")
        .host_keys("log = { level = \"info,polyport::watch=debug\" }")
        .prepare()
}

fn started() -> Host {
    start(prepared())
}

fn start(mut host: Host) -> Host {
    host.start();
    calm();
    host
}

fn greeting(host: &Host) -> Option<String> {
    let stream = TcpStream::connect(host.addr("one")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

fn await_greeting(host: &Host, wanted: &str) {
    eventually(&format!("the greeting {wanted:?}"), || {
        (greeting(host)? == wanted).then_some(())
    });
}

/// The new behaviour is there, and an event told of the change; then waits until it is calm.
fn await_greeting_by_event(host: &Host, wanted: &str) {
    await_greeting(host, wanted);
    let log = host.log();
    let silent = log.iter().find(|line| line.contains(SILENT));
    assert_eq!(silent, None, "found by looking again only");
    calm();
}

/// Waits until the host has looked at its files after a start or a change: what happens then is seen by an event.
fn calm() {
    sleep(Duration::from_millis(300));
}

/// The configuration with another greeting, as a text.
fn greeting_with(host: &Host, wanted: &str) -> String {
    let text = fs::read_to_string(host.config()).unwrap();
    let old = text.lines().find(|line| line.starts_with("greeting"));
    text.replace(old.unwrap(), &format!("greeting = {wanted:?}"))
}

/// The configuration with another greeting, in a file beside it.
fn draft(host: &Host, wanted: &str) -> PathBuf {
    let draft = host.path().join("draft");
    fs::write(&draft, greeting_with(host, wanted)).unwrap();
    draft
}

/// Runs a line of shell in the folder of the configuration.
#[track_caller]
fn shell(host: &Host, line: &str) {
    let mut command = Command::new("sh");
    let done = command
        .args(["-euc", line])
        .current_dir(host.path())
        .status();
    assert!(done.unwrap().success(), "{line}");
}

/// A connection to `two` that stays open.
struct Open(BufReader<TcpStream>);

impl Open {
    fn to(host: &Host) -> Self {
        let mut open = Self(BufReader::new(host.connect("two")));
        assert_eq!(open.word(), "first");
        open
    }

    fn word(&mut self) -> String {
        self.0.get_mut().write_all(b"word\n").unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

#[track_caller]
fn await_generation(host: &Host, wanted: u64) {
    host.wait_status("the generation", |status| status["generation"] == wanted);
}
