//! Generations: numbered over restarts, kept on the disk whole or not at all, fallen back to at a start with broken
//! files, rolled back to, and taken back when a changed instance gets into trouble.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod fallback;
mod kills;
mod numbers;
mod probation;
mod rollback;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use polyport_testkit::{Host, Signal, USER, eventually};
use serde_json::Value;

/// Services `one` (echo) and `two` (misbehaving), quick to notice changes.
fn builder(host_keys: &str) -> polyport_testkit::Builder {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("one", "greeting = \"first\"")
        .settings("two", "word = \"first\"")
        .host_keys(&format!("drain_timeout = \"5s\"\n{host_keys}"))
}

fn host() -> Host {
    builder("quiet_time = \"50ms\"\n").start()
}

fn greeting(host: &Host) -> String {
    let mut line = String::new();
    BufReader::new(host.connect("one"))
        .read_line(&mut line)
        .unwrap();
    line.trim_end().to_owned()
}

fn word(stream: &mut BufReader<TcpStream>) -> String {
    stream.get_mut().write_all(b"word\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn greet(host: &Host, from: &str, to: &str) {
    let line = |word: &str| format!("greeting = {word:?}");
    host.edit_config(|text| text.replace(&line(from), &line(to)));
}

fn generation(host: &Host) -> u64 {
    host.status()["generation"].as_u64().unwrap()
}

fn await_generation(host: &Host, number: u64) -> Value {
    host.wait_status("the next generation", |status| {
        status["generation"] == number
    })
}

fn reload(host: &Host) -> String {
    host.command(&["reload", "--wait"])
        .expect_success()
        .stdout()
}

fn generations(host: &Host) -> Vec<Value> {
    let answer = host
        .command(&["generations", "--json"])
        .expect_success()
        .json();
    answer["generations"].as_array().unwrap().clone()
}

fn hash_of(status: &Value, service: &str) -> String {
    let mut services = status["services"].as_array().unwrap().iter();
    let service = services.find(|one| one["name"] == service).unwrap();
    service["hash"].as_str().unwrap().to_owned()
}

fn library(host: &Host, name: &str) -> PathBuf {
    host.path().join(format!("plugins/libpolyport_{name}.so"))
}

/// Another library of the same code.
fn rebuild(host: &Host, name: &str) {
    let mut whole = std::fs::read(library(host, name)).unwrap();
    whole.push(0);
    let fresh = host.path().join("fresh.so");
    std::fs::write(&fresh, &whole).unwrap();
    std::fs::rename(&fresh, library(host, name)).unwrap();
}

/// Has a connection of `two` panic, which degrades the instance.
fn panic_two(host: &Host) {
    let mut doomed = host.connect("two");
    doomed.write_all(b"panic\n").unwrap();
    let mut line = String::new();
    // Closed, in order or not.
    let _ = BufReader::new(doomed).read_line(&mut line);
}
