//! `polyport mqtt ban|unban|bans` against the real host.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod programs;
mod wire;

use polyport_testkit::{Host, eventually};
use programs::mosquitto;
use serde_json::Value;
use wire::{Wire, connect, connect5};

const ACCOUNTS: &str = "\
[anonymous]
services = mqtt
rights = publish, subscribe

[user1]
name = alice
password = wonderland
rights.mqtt = publish, subscribe
";

fn broker() -> Host {
    Host::builder().service("mqtt").accounts(ACCOUNTS).start()
}

fn polyport(host: &Host, args: &[&str]) -> String {
    let args = [&["mqtt"], args].concat();
    host.command(&args).expect_success().stdout()
}

fn bans(host: &Host) -> Vec<Value> {
    let rows = polyport(host, &["bans", "--json"]);
    let rows = rows.lines().map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}

/// What a client is told.
fn refusal(host: &Host, packet: &[u8]) -> u8 {
    let mut wire = Wire::open(host);
    wire.send(packet);
    let (first, body) = wire.receive();
    assert_eq!(first, 0x20);
    body[1]
}

/// One message of mosquitto's publisher as alice; whether it was let in.
fn alice(host: &Host) -> bool {
    let alice = ["-u", "alice", "-P", "wonderland", "-t", "a", "-m", "x"];
    let publisher = mosquitto(host, "mosquitto_pub").args(["-V", "5"]);
    let done = publisher.args(alice).run();
    if done.code != Some(0) {
        assert!(done.stderr().contains("Banned"), "{done}");
    }
    done.code == Some(0)
}

#[test]
fn a_banned_client_stays_out_over_a_swap_and_a_kill_until_it_is_let_in_again() {
    let mut host = broker();
    let bad = Wire::connected5(&host, "bad", b"");
    let mut good = Wire::connected5(&host, "good", b"");
    polyport(&host, &["ban", "bad", "worse", "-r", "loops"]);
    let said = bad.end();
    assert_eq!((said[0], said[2]), (0xe0, 0x8a));
    good.ping();
    assert_eq!(refusal(&host, &connect("bad")), 5);

    host.change(|text| text.replace("[services.mqtt]", "[services.mqtt]\nthreads = 2"));
    assert_eq!(refusal(&host, &connect5("bad", b"")), 0x8a);
    good.ping();
    host.kill9();
    host.start();
    assert_eq!(refusal(&host, &connect5("worse", b"")), 0x8a);
    let all = bans(&host);
    let names: Vec<_> = all
        .iter()
        .map(|ban| ban["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bad", "worse"]);
    assert_eq!(
        (&all[0]["kind"], &all[0]["reason"]),
        (&"client".into(), &"loops".into())
    );
    assert!(all[0]["until"].is_null());
    let table = polyport(&host, &["bans"]);
    assert!(table.contains("KIND") && table.contains("loops"), "{table}");

    polyport(&host, &["unban", "bad"]);
    Wire::connected5(&host, "bad", b"").ping();
    let none = host.command(&["mqtt", "unban", "bad"]).expect_code(1);
    assert!(
        none.stderr()
            .contains("expected a banned client, got \"bad\""),
        "{none}"
    );
    assert_eq!(bans(&host).len(), 1);
}

#[test]
fn a_banned_account_is_closed_and_refused_for_as_long_as_was_said() {
    let host = broker();
    let mut other = Wire::connected5(&host, "other", b"");
    let reader = programs::subscriber(
        &host,
        &["-V", "5", "-u", "alice", "-P", "wonderland", "-t", "a"],
    );
    let told = polyport(&host, &["ban", "-u", "alice", "-t", "3600", "--json"]);
    let row: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&row["kind"], &row["closed"]), (&"user".into(), &1.into()));
    reader.wait_line("Received DISCONNECT (138)");
    assert!(!alice(&host));
    other.ping();
    let left =
        bans(&host)[0]["until"].as_u64().unwrap() - bans(&host)[0]["since"].as_u64().unwrap();
    assert_eq!(left, 3_600_000);

    // Anew, for a second.
    polyport(&host, &["ban", "-u", "alice", "-t", "1"]);
    eventually("it is let in", || alice(&host).then_some(()));
    assert_eq!(bans(&host), [Value::Null; 0]);
    for wrong in [
        &["mqtt", "ban"][..],
        &["mqtt", "ban", "x", "-t", "0"],
        &["mqtt", "ban", "x", "-t", "1h"],
        &["mqtt", "bans", "x"],
    ] {
        host.command(wrong).expect_code(2);
    }
}
