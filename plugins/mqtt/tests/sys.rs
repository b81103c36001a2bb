//! The `$SYS` tree on the real host, side by side with mosquitto's.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};

use polyport_testkit::{Client, Host, eventually, free_port};

const ACCOUNTS: &str = "\
[anonymous]
services = mqtt
rights = publish, subscribe

[user1]
name = narrow
password = n
allow.some = subscribe $SYS/broker/uptime
";

fn broker(interval: u64) -> Host {
    Host::builder()
        .service("mqtt")
        .accounts(ACCOUNTS)
        .settings("mqtt", &format!("sys_interval = {interval}"))
        .start()
}

/// What is retained, or comes within a moment, for a filter: the last value of each topic.
fn read(port: u16, filter: &str, more: &[&str]) -> BTreeMap<String, String> {
    let seen = Client::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-W",
            "2",
            "-t",
            filter,
        ])
        .args(["-F", "%t=%p"])
        .args(more)
        .run();
    seen.stdout()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(topic, value)| (topic.to_owned(), value.to_owned()))
        .collect()
}

/// Debian's mosquitto, ended when it is dropped.
struct Mosquitto {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mosquitto(port: u16) -> Mosquitto {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n");
    std::fs::write(&config, text).unwrap();
    let found = ["/usr/sbin/mosquitto", "mosquitto"];
    let child = found.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg("-c").arg(&config);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    });
    let child = child.expect("mosquitto is installed");
    let mosquitto = Mosquitto { child, _dir: dir };
    eventually("mosquitto", || {
        std::net::TcpStream::connect(("127.0.0.1", port))
            .ok()
            .map(drop)
    });
    mosquitto
}

#[test]
fn the_same_topics_exist_as_in_mosquitto() {
    let host = broker(1);
    let port = free_port();
    let _theirs = mosquitto(port);
    let topics = |port| {
        let all = read(port, "$SYS/#", &[]);
        all.into_keys().collect::<BTreeSet<_>>()
    };
    // Each has published the whole of its tree some time after its start.
    eventually("the same topics", || {
        let (theirs, ours) = (topics(port), topics(host.port("mqtt")));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let more: Vec<_> = ours.difference(&theirs).collect();
        println!(
            "{} of theirs, missing {missing:?}, more {more:?}",
            theirs.len()
        );
        // mosquitto(8) names it; mosquitto 2.0 publishes it no more.
        let same = missing.is_empty() && more == ["$SYS/broker/messages/inflight"];
        (theirs.len() > 40 && same).then_some(())
    });
}

#[test]
fn values_are_of_the_same_shape_and_true() {
    let host = broker(1);
    let port = host.port("mqtt");
    for _ in 0..3 {
        Client::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-t", "kept", "-m", "hello", "-r", "-q", "1"])
            .run()
            .expect_success();
    }
    let tree = eventually("the numbers", || {
        let tree = read(port, "$SYS/#", &[]);
        let is = |name: &str, wanted: &str| {
            let value = tree.get(&format!("$SYS/broker/{name}"));
            value.is_some_and(|value| value == wanted)
        };
        // The last two are whoever reads.
        let all = is("publish/messages/received", "3")
            && is("clients/maximum", "1")
            && is("subscriptions/count", "1");
        all.then_some(tree)
    });
    let value = |name: &str| tree[&format!("$SYS/broker/{name}")].clone();
    assert!(value("version").starts_with("polyport version "));
    assert!(value("uptime").ends_with(" seconds"));
    assert_eq!(value("publish/bytes/received"), "15");
    for (topic, value) in &tree {
        let fine = match topic.as_str() {
            "$SYS/broker/version" | "$SYS/broker/uptime" => true,
            load if load.contains("/load/") => {
                value
                    .split_once('.')
                    .is_some_and(|(_, cents)| cents.len() == 2)
                    && value.parse::<f64>().is_ok()
            }
            _ => value.parse::<u64>().is_ok(),
        };
        assert!(fine, "{topic} {value}");
    }
}

#[test]
fn it_is_apart_from_other_topics_and_subject_to_rights() {
    let host = broker(1);
    let port = host.port("mqtt");
    eventually("the tree", || {
        (read(port, "$SYS/broker/version", &[]).len() == 1).then_some(())
    });
    assert!(read(port, "#", &[]).is_empty());
    let some = eventually("what one may read", || {
        let some = read(port, "$SYS/#", &["-u", "narrow", "-P", "n"]);
        Some(some).filter(|some| !some.is_empty())
    });
    let some: Vec<&String> = some.keys().collect();
    assert_eq!(some, ["$SYS/broker/uptime"]);
    // Nobody's to publish to: acknowledged and dropped, as 3.1.1 says.
    Client::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-t", "$SYS/broker/version", "-m", "mine", "-r", "-q", "1"])
        .run()
        .expect_success();
    let version = eventually("the version", || {
        read(port, "$SYS/broker/version", &[]).into_values().next()
    });
    assert!(version.starts_with("polyport version "), "{version}");
}

#[test]
fn it_comes_and_goes_without_a_swap_and_is_not_stored() {
    let mut host = broker(0);
    let port = host.port("mqtt");
    let there = |wanted: bool| {
        eventually("the tree", || {
            (read(port, "$SYS/#", &[]).is_empty() != wanted).then_some(())
        });
    };
    there(false);
    let changes = host.change(|text| text.replacen("sys_interval = 0", "sys_interval = 1", 1));
    assert!(
        changes.iter().any(|line| line.contains("live")),
        "{changes:?}"
    );
    there(true);
    host.change(|text| text.replacen("sys_interval = 1", "sys_interval = 0", 1));
    there(false);
    host.change(|text| text.replacen("sys_interval = 0", "sys_interval = 86400", 1));
    there(true);
    host.edit_config(|text| text.replacen("sys_interval = 86400", "sys_interval = 0", 1));
    host.restart();
    there(false);
}

#[test]
fn it_goes_on_over_a_swap() {
    let host = broker(1);
    let port = host.port("mqtt");
    for number in 0..5 {
        Client::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-t", "a", "-m", &number.to_string()])
            .run()
            .expect_success();
    }
    let received = || {
        let tree = read(port, "$SYS/broker/publish/messages/received", &[]);
        tree.into_values().next().unwrap_or_default()
    };
    eventually("they are counted", || (received() == "5").then_some(()));
    host.command(&["restart", "mqtt"]).expect_success();
    eventually("they still are", || (received() == "5").then_some(()));
}
