//! An exclusive instance hands its store and its connections over to the next one, or goes on as if nothing had been.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod keeper;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use keeper::{Client, IMPATIENT, PATIENT};
use polyport_testkit::{Host, PASSWORD, USER, eventually};
use serde_json::Value;

fn host_with(handover: &str, accounts: Option<&str>) -> Host {
    let builder = keeper::builder(&format!("quiet_time = \"1m\"\n{handover}"));
    match accounts {
        Some(accounts) => builder.accounts(accounts).start(),
        None => builder.start(),
    }
}

fn host() -> Host {
    host_with(PATIENT, None)
}

fn set(host: &Host, from: &str, to: &str) {
    host.edit_config(|text| {
        assert!(text.contains(from), "{from}\n{text}");
        text.replace(from, to)
    });
}

fn swap(host: &Host, from: &str, to: &str) {
    set(host, &format!("word = {from:?}"), &format!("word = {to:?}"));
    reload(host);
}

fn reload(host: &Host) {
    host.command(&["reload", "--wait"]).expect_success();
}

fn refused(host: &Host) -> String {
    host.command(&["reload", "--wait"]).expect_code(1).stderr()
}

fn service(host: &Host, name: &str) -> Value {
    let status = host.status();
    let mut services = status["services"].as_array().unwrap().iter();
    services.find(|one| one["name"] == name).unwrap().clone()
}

#[test]
fn the_store_and_every_connection_go_over_whatever_was_half_said() {
    let host = host();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&host, "one")).collect();
    for client in &mut clients {
        client.ask("add 1");
    }
    let mut named = Client::connect(&host, "one");
    assert_eq!(named.ask(&format!("login {USER} {PASSWORD}")), "welcome");
    // Half a line, and more than the sockets take while nobody reads: Linux may let them grow to 32 MiB and more.
    clients[0].send("cou");
    let bytes = 64 << 20;
    clients[1].send(&format!("fill {bytes}\nget\n"));
    swap(&host, "first", "second");

    clients[0].send("nt\n");
    assert_eq!(clients[0].hear(), "2");
    let mut filled = vec![0; bytes + 1];
    clients[1].0.read_exact(&mut filled).unwrap();
    assert!(filled[..bytes].iter().all(|byte| *byte == b'x') && filled[bytes] == b'\n');
    assert_eq!(clients[1].hear(), "20 second");
    assert_eq!(named.ask("who"), USER);
    for client in &mut clients {
        assert!(client.ask("get").ends_with(" second"));
    }
    assert_eq!(clients[2].ask("add 5"), "25");
    assert_eq!(Client::connect(&host, "one").ask("get"), "25 second");

    let one = service(&host, "one");
    assert_eq!(one["handover_connections"], 21);
    let pause = one["handover_pause_ms"].as_f64().unwrap();
    assert!(pause > 0.0, "{pause}");
    host.wait_log(
        0,
        "service one: handed over: 21 connections passed after a pause of ",
    );
}

#[test]
fn an_instance_that_cannot_be_frozen_goes_on_and_the_error_says_so() {
    let host = host();
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    let mut before = "good";
    for (how, why) in [
        ("error", "the freeze fails as asked"),
        ("panic", "the freeze panics as asked"),
        ("never", "expected it to be frozen within 2s, got no answer"),
    ] {
        if how == "never" {
            set(&host, PATIENT, IMPATIENT);
        }
        set(
            &host,
            &format!("freeze = {before:?}"),
            &format!("freeze = {how:?}"),
        );
        reload(&host);
        set(&host, "word = \"first\"", "word = \"second\"");
        let error = refused(&host);
        assert!(
            error.contains("services.one: hand-over: ")
                && error.contains(why)
                && error.contains("the instance before goes on"),
            "{how}: {error}"
        );
        assert_eq!(client.ask("get"), "7 first", "{how}");
        set(&host, "word = \"second\"", "word = \"first\"");
        before = how;
    }
    set(&host, "freeze = \"never\"", "freeze = \"good\"");
    set(&host, IMPATIENT, PATIENT);
    reload(&host);
    swap(&host, "first", "second");
    assert_eq!(client.ask("get"), "7 second");
    assert_eq!(client.ask("count"), "6");
}

#[test]
fn a_successor_that_does_not_come_about_leaves_the_old_instance_as_it_was() {
    let host = host_with(IMPATIENT, None);
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    let mut before = "good";
    for (sum, how, why) in [
        ("8", "error", "the take-over fails as asked"),
        ("9", "panic", "the take-over panics as asked"),
        ("10", "never", "expected it to be ready within"),
    ] {
        set(
            &host,
            &format!("take = {before:?}"),
            &format!("take = {how:?}"),
        );
        let error = refused(&host);
        assert!(
            error.contains(why) && error.contains("the instance before goes on"),
            "{how}: {error}"
        );
        assert_eq!(client.ask("add 1"), sum, "{how}");
        assert_eq!(host.status()["generation"], 1, "{how}");
        before = how;
    }
    let listed = host.command(&["generations", "--json"]).expect_success();
    let listed = listed.json();
    assert_eq!(listed["generations"].as_array().unwrap().len(), 1);
    set(&host, "take = \"never\"", "take = \"good\"");
    set(&host, IMPATIENT, PATIENT);
    swap(&host, "first", "second");
    assert!(client.ask("get").ends_with(" second"));
}

/// Puts another library in the place of the one that runs.
fn library(host: &Host, name: &str, bytes: Vec<u8>) {
    let fresh = host.path().join("fresh.so");
    std::fs::write(&fresh, bytes).unwrap();
    std::fs::rename(&fresh, host.path().join("plugins").join(name)).unwrap();
}

fn built(host: &Host, name: &str) -> Vec<u8> {
    std::fs::read(host.path().join("plugins").join(name)).unwrap()
}

#[test]
fn a_version_that_takes_nothing_of_the_old_one_is_started_in_its_place() {
    let host = Host::builder()
        .plugin("one", "keeper", "polyport-keeper")
        .settings("one", "word = \"first\"")
        .library("polyport-keeper-next")
        .host_keys("quiet_time = \"1m\"\ndrain_timeout = \"2s\"")
        .start();
    let next = Path::new("libpolyport_keeper_next.so");
    assert_eq!(service(&host, "one")["version"], "0.2.0", "the newest");
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    std::fs::remove_file(host.path().join("plugins").join(next)).unwrap();
    reload(&host);
    let one = service(&host, "one");
    assert_eq!(one["version"], "0.1.0");
    assert_eq!(one["handover_pause_ms"], Value::Null);
    assert_eq!(client.hear(), "", "its connections end");
    let mut client = Client::connect(&host, "one");
    assert_eq!(client.ask("get"), "7 first", "what it stored does not");
    // Another library of the same version.
    let mut other = built(&host, "libpolyport_keeper.so");
    other.push(0);
    library(&host, "libpolyport_keeper.so", other);
    reload(&host);
    assert_eq!(client.ask("count"), "2");
    assert_eq!(service(&host, "one")["handover_connections"], 1);
}

#[test]
fn of_two_that_hand_over_in_one_change_both_go_on_if_one_fails() {
    let host = Host::builder()
        .plugin("one", "keeper", "polyport-keeper")
        .plugin("two", "keeper", "polyport-keeper")
        .settings("one", "word = \"first\"\ntake = \"good\"")
        .settings("two", "word = \"first\"\ntake = \"good\"")
        .host_keys(&format!("quiet_time = \"1m\"\n{PATIENT}"))
        .start();
    let mut clients = ["one", "two"].map(|name| Client::connect(&host, name));
    for client in &mut clients {
        client.ask("add 3");
    }
    set(&host, "word = \"first\"", "word = \"second\"");
    host.edit_config(|text| {
        let (one, two) = text.split_once("[services.two").unwrap();
        let two = two.replace("take = \"good\"", "take = \"error\"");
        format!("{one}[services.two{two}")
    });
    let error = refused(&host);
    assert!(error.contains("services.two: hand-over: "), "{error}");
    for client in &mut clients {
        assert_eq!(client.ask("get"), "3 first");
    }
    set(&host, "take = \"error\"", "take = \"good\"");
    reload(&host);
    for client in &mut clients {
        assert_eq!(client.ask("get"), "3 second");
        assert_eq!(client.ask("count"), "4");
    }
}

#[test]
fn sessions_and_connections_are_counted_right_after_many_swaps() {
    let accounts = format!("[{USER}]\npassword = {PASSWORD}\nmax_sessions = 3\n");
    let host = host_with(PATIENT, Some(&accounts));
    host.edit_config(|text| {
        text.replace(
            "[services.one.settings]",
            "[services.one.limits]\nmax_connections = 5\n\n[services.one.settings]",
        )
    });
    reload(&host);
    let login = format!("login {USER} {PASSWORD}");
    let enter = |host: &Host| {
        let mut client = Client::connect(host, "one");
        let answer = client.ask(&login);
        (client, answer)
    };
    let mut held: Vec<Client> = (0..2).map(|_| enter(&host).0).collect();
    let mut word = "first".to_owned();
    for number in 0..20 {
        let next = format!("word {number}");
        swap(&host, &word, &next);
        word = next;
    }
    // Two sessions of three, two connections of five.
    let (third, welcome) = enter(&host);
    assert_eq!(welcome, "welcome");
    let (fourth, answer) = enter(&host);
    assert_eq!(answer, "too many sessions");
    let mut fifth = Client::connect(&host, "one");
    assert_eq!(fifth.ask("who"), "nobody");
    let mut sixth = host.connect("one");
    let _ = sixth.write_all(b"who\n");
    // Closed, in order or not.
    assert_eq!(
        sixth.read(&mut [0]).unwrap_or(0),
        0,
        "a sixth is one too many"
    );
    for client in &mut held {
        assert_eq!(client.ask("who"), USER);
    }
    drop((held, third, fourth, fifth));
    // All of it is given back.
    let full = eventually("three sessions fit", || {
        let full: Vec<_> = (0..3).map(|_| enter(&host)).collect();
        full.iter()
            .all(|(_, answer)| answer == "welcome")
            .then_some(full)
    });
    assert_eq!(enter(&host).1, "too many sessions");
    drop(full);
}

#[test]
fn whoever_is_removed_by_the_change_that_swaps_is_told_by_the_new_instance() {
    let accounts = "[a]\npassword = x\n[b]\npassword = x\n";
    let host = host_with(PATIENT, Some(accounts));
    let (mut gone, mut stays) = (Client::connect(&host, "one"), Client::connect(&host, "one"));
    assert_eq!(gone.ask("login a x"), "welcome");
    assert_eq!(stays.ask("login b x"), "welcome");
    host.edit_accounts(|text| text.replace("[a]\npassword = x\n", ""));
    swap(&host, "first", "second");
    assert_eq!(gone.hear(), "revoked");
    assert_eq!(gone.hear(), "");
    assert_eq!(stays.ask("who"), "b");
    assert_eq!(stays.ask("get"), "0 second");
}

#[test]
fn a_busy_connection_passes_later_and_to_the_newest_instance() {
    let host = host();
    let mut client = Client::connect(&host, "one");
    client.send("busy 1500\n");
    // It has been read once another is answered behind it.
    Client::connect(&host, "one").ask("get");
    swap(&host, "first", "second");
    swap(&host, "second", "third");
    assert_eq!(client.hear(), "done");
    assert_eq!(client.ask("get"), "0 third");
    assert_eq!(client.ask("count"), "3");
}

#[test]
fn a_connection_stays_when_its_listener_goes() {
    let host = Host::builder()
        .plugin("one", "keeper", "polyport-keeper")
        .listen("one", &["127.0.0.1:{port:first}", "127.0.0.1:{port:other}"])
        .settings("one", "word = \"first\"")
        .host_keys("quiet_time = \"1m\"")
        .start();
    let (mut client, mut other) = (
        Client::connect(&host, "first"),
        Client::connect(&host, "other"),
    );
    client.ask("add 1");
    other.ask("add 1");
    let port = host.port("first");
    set(&host, &format!("\"127.0.0.1:{port}\", "), "");
    swap(&host, "first", "second");
    assert_eq!(client.ask("get"), "2 second");
    assert_eq!(other.ask("get"), "2 second");
    assert!(TcpStream::connect(host.addr("first")).is_err());
}

#[test]
fn a_restart_ends_what_cannot_be_frozen() {
    let host = host();
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    host.command(&["restart", "one"]).expect_success();
    assert_eq!(
        client.ask("get"),
        "7 first",
        "a restart is a hand-over as well"
    );
    set(&host, "freeze = \"good\"", "freeze = \"never\"");
    set(&host, PATIENT, IMPATIENT);
    reload(&host);
    host.command(&["restart", "one"]).expect_success();
    assert_eq!(client.hear(), "");
    assert_eq!(Client::connect(&host, "one").ask("get"), "7 first");
}

#[test]
fn swapping_back_in_the_probation_is_a_hand_over_too() {
    let host = host();
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    swap(&host, "first", "second");
    assert_eq!(client.ask("get"), "7 second");
    let mut doomed = Client::connect(&host, "one");
    doomed.send("panic\n");
    host.wait_status("the swap back", |status| status["generation"] == 3);
    assert_eq!(client.ask("get"), "7 first");
    assert_eq!(client.ask("count"), "4");
    assert_eq!(service(&host, "one")["state"], "ready");
}

#[test]
fn without_time_to_hand_over_the_old_instance_ends_first() {
    let host = host_with("handover_timeout = \"0s\"", None);
    let mut client = Client::connect(&host, "one");
    client.ask("add 7");
    swap(&host, "first", "second");
    assert_eq!(client.hear(), "");
    assert_eq!(Client::connect(&host, "one").ask("get"), "7 second");
}
