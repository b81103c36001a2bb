//! Rules of the operator about topics and subscriptions, with mosquitto's clients, while they are changed and the host
//! is killed.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod programs;
mod wire;

use polyport_testkit::{Host, Running};
use programs::mosquitto;
use wire::{ANONYMOUS, Wire};

const SETTINGS: &str = r#"
auto_subscribe = [{ filter = "old/%c", qos = 1 }]
rewrite = [{ filter = "old/#", to = "new/$1" }]
"#;

fn host(settings: &str) -> Host {
    let accounts = format!("{ANONYMOUS}deny.secret = publish,subscribe secret/#\n");
    Host::builder()
        .service("mqtt")
        .settings("mqtt", settings)
        .accounts(&accounts)
        .start()
}

fn publish(host: &Host, topic: &str, payload: &str) {
    mosquitto(host, "mosquitto_pub")
        .args(["-V", "5", "-q", "1", "-t", topic, "-m", payload])
        .run()
        .expect_success();
}

/// By QoS 1, and with the topic of each message.
fn subscriber(host: &Host, arguments: &[&str]) -> Running {
    programs::subscriber(host, &[&["-v", "-q", "1"], arguments].concat())
}

#[test]
fn topics_are_rewritten_and_delayed_for_clients_that_know_nothing_of_it() {
    let host = host(SETTINGS);
    let client = subscriber(&host, &["-i", "c", "-t", "old/x"]);
    publish(&host, "$delayed/1/old/x", "later");
    publish(&host, "old/x", "at once");
    publish(&host, "old/c", "without asking");
    client.wait_line("new/x at once");
    client.wait_line("new/c without asking");
    client.wait_line("new/x later");
}

#[test]
fn a_rule_holds_for_connected_clients_from_its_reload_on() {
    let host = host("");
    let client = subscriber(&host, &["-i", "c", "-t", "#"]);
    publish(&host, "a/1", "as it is");
    client.wait_line("a/1 as it is");
    let changes = host.change(|text| {
        let settings = "[services.mqtt.settings]\n";
        let rule = "rewrite = [{ filter = \"a/+\", to = \"b/$1\" }]\ndelayed_publish = false\n";
        text.replace(settings, &format!("{settings}{rule}"))
    });
    assert!(
        changes.iter().any(|line| line.contains("live")),
        "{changes:?}"
    );
    publish(&host, "a/2", "rewritten");
    client.wait_line("b/2 rewritten");
    let dollar = subscriber(&host, &["-i", "d", "-t", "$delayed/#"]);
    publish(&host, "$delayed/0/a/3", "plain");
    dollar.wait_line("$delayed/0/a/3 plain");
}

#[test]
fn a_delayed_message_outlives_a_kill_and_a_swap() {
    let mut host = host("");
    // The session is there before: the messages come in their time, however long the rest takes.
    let session = ["-i", "c", "-c", "-t", "t"];
    drop(subscriber(&host, &session));
    publish(&host, "$delayed/3/t", "killed");
    publish(&host, "$delayed/3/t", "twice");
    host.kill9();
    host.start();
    host.command(&["restart", "mqtt"]).expect_success();
    let client = subscriber(&host, &session);
    client.wait_line("t killed");
    client.wait_line("t twice");
}

#[test]
fn limits_are_for_the_clients_of_a_listener_from_a_reload_on_and_over_a_swap() {
    let host = host(r#"overrides = [{ listeners = ["ws://*"], max_wildcards = 0 }]"#);
    let refused = || {
        let all = ["-V", "5", "-t", "#", "-W", "1"];
        let done = mosquitto(&host, "mosquitto_sub").args(all).run();
        done.stderr()
            .contains("All subscription requests were denied")
    };
    assert!(!refused());
    let mut client = Wire::connected5(&host, "c", b"");
    let changes = host.change(|text| text.replace("ws://*", "tcp://*"));
    assert!(
        changes.iter().any(|line| line.contains("live")),
        "{changes:?}"
    );
    assert!(refused());
    host.command(&["restart", "mqtt"]).expect_success();
    // Of one that came before both.
    client.send(b"\x82\x07\x00\x01\x00\x00\x01#\x00");
    assert_eq!(client.receive(), (0x90, vec![0, 1, 0, 0x8f]));
    assert!(refused());
}

#[test]
fn what_an_account_has_retained_is_counted_from_a_reload_on_over_swaps_and_kills() {
    let mut host = host("");
    let retain = |host: &Host, topic: &str, payload: &str| {
        let publisher = mosquitto(host, "mosquitto_pub").args(["-V", "5", "-q", "1", "-r"]);
        let done = publisher.args(["-t", topic, "-m", payload]).run();
        !done.stderr().contains("Quota exceeded")
    };
    assert!(retain(&host, "r/1", "1") && retain(&host, "r/2", "2"));
    let changes = host.change(|text| {
        let settings = "[services.mqtt.settings]\n";
        let limit =
            "overrides = [{ users = [\"anonymous\"], max_retained_messages_per_user = 2 }]\n";
        text.replace(settings, &format!("{settings}{limit}"))
    });
    assert!(
        changes.iter().any(|line| line.contains("live")),
        "{changes:?}"
    );
    assert!(!retain(&host, "r/3", "3") && retain(&host, "r/2", "anew"));
    host.command(&["restart", "mqtt"]).expect_success();
    assert!(!retain(&host, "r/3", "3"));
    host.kill9();
    host.start();
    assert!(!retain(&host, "r/3", "3"));
    host.command(&["mqtt", "retained", "-d", "r/1"])
        .expect_success();
    assert!(retain(&host, "r/3", "3"));
    let client = subscriber(&host, &["-t", "r/#", "-C", "2"]);
    client.wait_line("r/2 anew");
    client.wait_line("r/3 3");
}

#[test]
fn what_is_refused_is_logged_with_its_topic() {
    let host = host("");
    let mark = host.log_mark();
    let _ = mosquitto(&host, "mosquitto_pub")
        .args(["-V", "5", "-q", "1", "-t", "secret/x", "-m", "m"])
        .run();
    let line = host.wait_log(mark, "PUBLISH refused");
    assert!(
        line.contains("secret/x") && line.contains("NotAuthorized"),
        "{line}"
    );
    let _ = mosquitto(&host, "mosquitto_sub")
        .args(["-t", "secret/#", "-W", "1"])
        .run();
    let line = host.wait_log(mark, "SUBSCRIBE refused");
    assert!(line.contains("secret/#"), "{line}");
}
