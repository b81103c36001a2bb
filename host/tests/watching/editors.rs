//! The programs that people change a configuration with.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use polyport_testkit::{Client, Host};

use super::*;

fn vim(host: &Host, old: &str, new: &str, how: &str) {
    let vim = Client::new("vim.tiny").args(["-Nu", "NONE", "-i", "NONE", "-es"]);
    let vim = vim.args(["-c", how, "-c", &format!("%s/{old}/{new}/"), "-c", "wq"]);
    vim.arg(host.config()).run().expect_success();
}

#[test]
fn vim_that_writes_a_new_file_and_vim_that_writes_in_place() {
    let host = started();
    vim(
        &host,
        "greeting = .*",
        "greeting = \"renamed\"",
        "set backupcopy=no",
    );
    await_greeting_by_event(&host, "renamed");
    vim(
        &host,
        "greeting = .*",
        "greeting = \"in place\"",
        "set backupcopy=yes",
    );
    await_greeting_by_event(&host, "in place");
    await_generation(&host, 3);
}

#[test]
fn nano() {
    let host = started();
    let text = fs::read_to_string(host.config()).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("greeting"))
        .unwrap();
    // It wants a terminal.
    let mut typed = Command::new("script")
        .args([
            "-qefc",
            &format!("nano -I +{line} polyport.toml"),
            "/dev/null",
        ])
        .current_dir(host.path())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = typed.stdin.take().unwrap();
    let mut screen = typed.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut await_shown = |what: &str| {
        let mut some = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains(what) {
            let length = screen.read(&mut some).unwrap();
            assert_ne!(length, 0, "it ended: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&some[..length]);
        }
        shown.clear();
    };
    await_shown("Exit");
    // Cut the line, write another, write out, leave.
    keys.write_all(b"\x0bgreeting = \"nano\"\r\x0f").unwrap();
    await_shown("Write");
    keys.write_all(b"\r").unwrap();
    await_shown("Wrote");
    keys.write_all(b"\x18").unwrap();
    assert!(typed.wait().unwrap().success());
    await_greeting_by_event(&host, "nano");
    await_generation(&host, 2);
}

#[test]
fn sed_in_place() {
    let host = started();
    shell(
        &host,
        "sed -i 's/greeting = .*/greeting = \"sed\"/' polyport.toml",
    );
    await_greeting_by_event(&host, "sed");
    await_generation(&host, 2);
}

#[test]
fn cp_in_place() {
    let host = started();
    draft(&host, "copied");
    shell(&host, "cp draft polyport.toml");
    await_greeting_by_event(&host, "copied");
    await_generation(&host, 2);
}

#[test]
fn mv_over_it_again_and_again() {
    let host = started();
    for round in 0..3 {
        let wanted = format!("moved {round}");
        draft(&host, &wanted);
        shell(&host, "mv draft polyport.toml");
        await_greeting_by_event(&host, &wanted);
    }
    await_generation(&host, 4);
}
