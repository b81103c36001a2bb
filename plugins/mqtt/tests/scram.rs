//! Enhanced authentication against the real host, by a SCRAM of other people (paho-mqtt and scramp).

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::io::{Read, Write};
use std::path::PathBuf;

use polyport_testkit::{Client, Host, Running};

/// A name with what SCRAM escapes, of each kind of password.
const ACCOUNTS: &str = "\
[v]
name = v,e=r
password = SCRAM-SHA-256$5000:{salt}

[plain]
password = pl=ai,n
max_sessions = 1

[hashed]
password = {argon2}
";

fn printed(host: &Host, arguments: &[&str], password: &str) -> String {
    let hash = host.command_with_input(arguments, password.as_bytes());
    hash.expect_success().stdout().trim().to_owned()
}

/// A host with accounts of all kinds; the password of `v,e=r` and `hashed` is "secret".
fn host(keys: &str) -> Host {
    let host = Host::builder()
        .service("mqtt")
        .keys("mqtt", keys)
        .host_keys("quiet_time = \"20ms\"")
        .accounts("[nobody]\n")
        .start();
    let verifier = printed(&host, &["user", "hash", "--scram=5000"], "secret");
    let argon2 = printed(&host, &["user", "hash"], "secret");
    let accounts = ACCOUNTS
        .replace("SCRAM-SHA-256$5000:{salt}", &verifier)
        .replace("{argon2}", &argon2);
    host.edit_accounts(|_| accounts);
    host.command(&["reload", "--wait"]).expect_success();
    host
}

fn scram(host: &Host, user: &str, password: &str, options: &[&str]) -> Client {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/scram.py");
    Client::python(script)
        .arg(host.port("mqtt").to_string())
        .args([user, password])
        .args(options)
}

/// A client that waits for the file before it proves anything.
fn paused(host: &Host, user: &str, password: &str, options: &[&str]) -> (Running, PathBuf) {
    let file = host.path().join("go-on");
    let pause = format!("pause={}", file.display());
    let running = scram(
        host,
        user,
        password,
        &[&[pause.as_str()][..], options].concat(),
    )
    .spawn();
    running.wait_line("challenged");
    (running, file)
}

#[test]
fn a_client_proves_its_password_and_the_server_its_verifier() {
    let host = host("");
    for (user, password, rounds) in [("v,e=r", "secret", "5000"), ("plain", "pl=ai,n", "5000")] {
        for begins in ["begins=client", "begins=server"] {
            let client = scram(&host, user, password, &[begins]);
            let lines = client.run().expect_success().stdout();
            assert!(lines.contains(&format!("challenged {rounds}\n")), "{lines}");
            assert!(lines.contains("connect 0\necho first\n"), "{lines}");
        }
    }
    // What can be proved can be sent as well.
    let sent = [
        "-h",
        "127.0.0.1",
        "-u",
        "v,e=r",
        "-P",
        "secret",
        "-t",
        "x",
        "-m",
        "x",
    ];
    let port = host.port("mqtt").to_string();
    let publish = Client::new("mosquitto_pub").args(["-p", &port]).args(sent);
    publish.run().expect_success();
}

#[test]
fn a_proof_that_is_wrong_and_a_name_that_cannot_prove_anything_get_the_same() {
    let host = host("");
    for (user, reason) in [
        ("plain", "the proof is wrong"),
        ("v,e=r", "the proof is wrong"),
        ("hashed", "polyport user passwd --scram"),
        ("nobody", "there is no such account"),
    ] {
        let mark = host.log_mark();
        let refused = scram(&host, user, "Secret", &[]).run();
        assert_eq!(refused.code, Some(0x86), "{user}");
        let lines = refused.stdout();
        assert!(
            lines.starts_with("challenged 5000\nconnect 134\n"),
            "{lines}"
        );
        host.wait_log(mark, reason);
    }
    let right = scram(&host, "hashed", "secret", &[]).run();
    assert_eq!(right.code, Some(0x86));
}

#[test]
fn messages_go_on_while_a_client_authenticates_again_and_its_session_counts_once() {
    let host = host("");
    let client = scram(&host, "plain", "pl=ai,n", &["again=pl=ai,n"]);
    let lines = client.run().expect_success().stdout();
    assert!(
        lines.contains("echo first\nchallenged again 5000\nagain\necho second\n"),
        "{lines}"
    );
    let client = scram(&host, "plain", "pl=ai,n", &["again=wrong"]);
    let refused = client.run();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stdout().contains("disconnect 135\n"),
        "{}",
        refused.stdout()
    );
}

#[test]
fn a_client_takes_over_its_own_connection_where_its_account_may_have_no_more() {
    let host = host("");
    let first = scram(&host, "plain", "pl=ai,n", &["wait=disconnect"]).spawn();
    first.wait_line("echo first");
    let second = scram(&host, "plain", "pl=ai,n", &[]);
    second.run().expect_success();
    // paho reads the reason of a DISCONNECT only where properties follow it.
    first.wait_line("disconnect");
    host.wait_log(0, "session taken over");
    let other = scram(&host, "plain", "pl=ai,n", &["wait=disconnect"]).spawn();
    other.wait_line("echo first");
    let refused = scram(&host, "plain", "pl=ai,n", &["client_id=other"]).run();
    assert_eq!(refused.code, Some(0x97));
}

#[test]
fn an_exchange_goes_over_to_another_instance_between_its_packets() {
    let host = host("");
    for options in [&[][..], &["again=secret"]] {
        let (mut client, go_on) = paused(&host, "v,e=r", "secret", options);
        host.command(&["restart", "mqtt"]).expect_success();
        std::fs::write(&go_on, "").unwrap();
        client.wait_line("echo first");
        if !options.is_empty() {
            client.wait_line("challenged again");
            host.command(&["restart", "mqtt"]).expect_success();
            std::fs::write(&go_on, "").unwrap();
            client.wait_line("echo second");
        }
        assert_eq!(client.wait_exit(), Some(0), "{:?}", client.lines());
    }
}

#[test]
fn an_exchange_goes_over_to_another_process() {
    /// The process that was started last ends with the test.
    struct Stopped(Host);
    impl Drop for Stopped {
        fn drop(&mut self) {
            self.0.command(&["stop"]);
        }
    }
    let Stopped(host) = &Stopped(host(""));
    let (mut client, go_on) = paused(host, "plain", "pl=ai,n", &[]);
    host.command(&["upgrade", "--wait"]).expect_success();
    std::fs::write(&go_on, "").unwrap();
    client.wait_line("echo first");
    assert_eq!(client.wait_exit(), Some(0), "{:?}", client.lines());
}

#[test]
fn a_change_of_the_account_ends_its_exchange_and_its_connection() {
    let host = host("");
    let connected = scram(
        &host,
        "v,e=r",
        "secret",
        &["wait=disconnect", "client_id=there"],
    )
    .spawn();
    connected.wait_line("echo first");
    let (mut client, go_on) = paused(&host, "v,e=r", "secret", &[]);
    let verifier = printed(&host, &["user", "hash", "--scram=5000"], "secret");
    host.edit_accounts(|text| {
        let lines = text
            .lines()
            .map(|line| match line.starts_with("password = SCRAM") {
                true => format!("password = {verifier}\n"),
                false => format!("{line}\n"),
            });
        lines.collect()
    });
    connected.wait_line("disconnect 135");
    std::fs::write(&go_on, "").unwrap();
    client.wait_line("connect 134");
    assert_eq!(client.wait_exit(), Some(0x86));
    scram(&host, "v,e=r", "secret", &[]).run().expect_success();
}

#[test]
fn a_service_that_takes_passwords_over_tls_only_takes_no_proofs_in_clear() {
    let host = host("require_tls = true");
    let refused = scram(&host, "v,e=r", "secret", &[]).run();
    assert_eq!(refused.code, Some(0x87));
    let lines = refused.stdout();
    assert!(lines.starts_with("connect 135\n"), "{lines}");
}

/// What no library would send.
#[test]
fn what_is_no_scram_message_is_refused() {
    let host = host("");
    let field = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    for (method, data, code) in [
        ("SCRAM-SHA-1", "n,,n=plain,r=abc", 0x8c),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=plain,r=abc", 0x8c),
        ("SCRAM-SHA-256", "p=tls-exporter,,n=plain,r=abc", 0x86),
        ("SCRAM-SHA-256", "n,a=hashed,n=plain,r=abc", 0x86),
        ("SCRAM-SHA-256", "plain", 0x86),
        ("SCRAM-SHA-256", "", 0x86),
    ] {
        let mut properties = [&[0x15], &field(method)[..], &[0x16], &field(data)].concat();
        properties.insert(0, properties.len() as u8);
        let body = [&field("MQTT")[..], &[5, 2, 0, 60], &properties, &field("c")].concat();
        let packet = [&[0x10, body.len() as u8], &body[..]].concat();
        let mut stream = host.connect("mqtt");
        stream.write_all(&packet).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 3, 0, code, 0], "{method} {data}");
    }
}
