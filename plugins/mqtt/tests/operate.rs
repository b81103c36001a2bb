//! `polyport mqtt clients|sessions|kick|retained|tail` against the real host, with mosquitto's programs as clients.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use polyport_testkit::{Host, PATIENCE, Running, eventually};
use programs::mosquitto;
use serde_json::Value;

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
    broker_with("")
}

fn broker_with(settings: &str) -> Host {
    Host::builder()
        .service("mqtt")
        .accounts(ACCOUNTS)
        .settings("mqtt", &format!("sys_interval = 0\n{settings}"))
        .start()
}

fn publish(host: &Host, args: &[&str]) {
    mosquitto(host, "mosquitto_pub")
        .args(args)
        .run()
        .expect_success();
}

/// A subscriber of mosquitto's, once it has so many subscriptions.
fn subscriber(host: &Host, subscriptions: u64, args: &[&str]) -> Running {
    let running = mosquitto(host, "mosquitto_sub")
        .args(["-d"])
        .args(args)
        .spawn();
    eventually("it is subscribed", || {
        let clients = rows(host, &["clients"]);
        let one = clients
            .iter()
            .find(|row| row["subscriptions"] == subscriptions);
        one.map(drop)
    });
    running
}

/// The rows of a command as JSON.
fn rows(host: &Host, args: &[&str]) -> Vec<Value> {
    let args = [&["mqtt"], args, &["--json"]].concat();
    let shown = host.command(&args).expect_success().stdout();
    shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn table(host: &Host, args: &[&str]) -> String {
    let args = [&["mqtt"], args].concat();
    host.command(&args).expect_success().stdout()
}

/// Adds a 3.1.1 client with a clean session of its own.
fn connect(host: &Host, client_id: &str) -> TcpStream {
    let mut stream = host.connect("mqtt");
    let mut packet = b"\x10\x00\x00\x04MQTT\x04\x02\x00\x00\x00".to_vec();
    packet[1] = (11 + client_id.len()) as u8 + 1;
    packet.push(client_id.len() as u8);
    packet.extend_from_slice(client_id.as_bytes());
    packet[1] = (packet.len() - 2) as u8;
    stream.write_all(&packet).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream
}

#[test]
fn clients_and_sessions_tell_who_is_there_and_what_waits() {
    let host = broker();
    let _reader = subscriber(
        &host,
        2,
        &[
            "-i",
            "reader",
            "-V",
            "5",
            "-u",
            "alice",
            "-P",
            "wonderland",
            "-t",
            "a/#",
            "-t",
            "b",
            "-q",
            "1",
            "-k",
            "33",
        ],
    );
    // One that was here and is not any more, with a message that waits.
    let away = ["-i", "away", "-c", "-q", "1", "-t", "c", "-E"];
    mosquitto(&host, "mosquitto_sub")
        .args(away)
        .run()
        .expect_success();
    publish(&host, &["-t", "c", "-m", "hello", "-q", "1"]);
    let clients = eventually("those who left are gone", || {
        Some(rows(&host, &["clients", "-s"])).filter(|clients| clients.len() == 1)
    });
    let reader = &clients[0];
    for (key, expected) in [
        ("client", Value::from("reader")),
        ("user", "alice".into()),
        ("version", "5.0".into()),
        (
            "listener",
            format!("tcp://127.0.0.1:{}", host.port("mqtt")).into(),
        ),
        ("keep_alive", 33.into()),
        ("in_flight", 0.into()),
        ("queued", 0.into()),
        ("subscriptions", 2.into()),
        ("filters", serde_json::json!(["a/#", "b"])),
        ("connected", true.into()),
    ] {
        assert_eq!(reader[key], expected, "{key}: {reader}");
    }
    assert!(reader["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let sessions = rows(&host, &["sessions"]);
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let away = rows(&host, &["sessions", "--disconnected"]);
    assert_eq!(away.len(), 1);
    for (key, expected) in [
        ("client", Value::from("away")),
        ("connected", false.into()),
        ("queued", 1.into()),
        ("bytes", 6.into()),
        ("expiry", "never".into()),
        ("stored", true.into()),
        ("peer", Value::Null),
    ] {
        assert_eq!(away[0][key], expected, "{key}: {}", away[0]);
    }
    // Filters narrow, tables have heads.
    for (args, count) in [
        (&["clients", "-u", "alice"][..], 1),
        (&["clients", "-u", "bob"], 0),
        (&["clients", "-p", "127.0.0.1"], 1),
        (&["clients", "-p", "10.0.0.1"], 0),
        (&["clients", "read*"], 1),
        (&["sessions", "*a*"], 2),
        (&["sessions", "-n", "1"], 1),
    ] {
        assert_eq!(rows(&host, args).len(), count, "{args:?}");
        assert_eq!(table(&host, args).lines().count(), count + 1, "{args:?}");
    }
    let shown = table(&host, &["clients"]);
    let mut lines = shown.lines();
    assert!(
        lines.next().unwrap().starts_with("CLIENT  USER   PEER"),
        "{shown}"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("reader  alice  127.0.0.1:"),
        "{shown}"
    );
}

#[test]
fn a_kick_closes_connections_and_two_at_once_close_one() {
    let host = broker();
    let one = subscriber(&host, 1, &["-i", "one", "-V", "5", "-t", "a"]);
    let _old = connect(&host, "old");
    let said = host.command(&["mqtt", "kick", "one", "old", "nobody"]);
    let said = said.expect_code(1);
    assert_eq!(said.stdout().lines().count(), 3, "{said}");
    assert!(
        said.stderr()
            .contains("expected a connection of \"nobody\", got none"),
        "{said}"
    );
    one.wait_line("Received DISCONNECT (152)");
    drop(one);
    // mosquitto_sub came back or did not: it is not there now.
    eventually("it is gone", || {
        rows(&host, &["clients"]).is_empty().then_some(())
    });
    let client = connect(&host, "two");
    let kicks: Vec<Running> = (0..2)
        .map(|_| host.beside(&["mqtt", "kick", "two"]).spawn())
        .collect();
    let mut codes: Vec<_> = kicks.into_iter().map(|mut kick| kick.wait_exit()).collect();
    codes.sort();
    assert_eq!(codes, [Some(0), Some(1)]);
    let mut client = client;
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed");
    // A session ends with its queue.
    let away = ["-i", "away", "-c", "-q", "1", "-t", "c", "-E"];
    mosquitto(&host, "mosquitto_sub")
        .args(away)
        .run()
        .expect_success();
    host.command(&["mqtt", "kick", "away"]).expect_code(1);
    let ended = rows(&host, &["kick", "--session", "away"]);
    assert_eq!(
        ended,
        [serde_json::json!({"client": "away", "closed": false, "session_ended": true})]
    );
    assert!(rows(&host, &["sessions"]).is_empty());
    host.command(&["mqtt", "kick"]).expect_code(2);
}

#[test]
fn retained_messages_are_listed_and_removed_for_good() {
    let mut host = broker();
    for (topic, message) in [("a/1", "one"), ("a/2", "two"), ("b", "{\"x\": 1}")] {
        publish(&host, &["-t", topic, "-m", message, "-r", "-q", "1"]);
    }
    let expiring = ["-V", "5", "-D", "publish", "message-expiry-interval", "100"];
    publish(
        &host,
        &[&expiring[..], &["-t", "c", "-m", "later", "-r"]].concat(),
    );
    let all = eventually("the one without an acknowledgement", || {
        Some(rows(&host, &["retained"])).filter(|all| all.len() == 4)
    });
    let topics: Vec<&str> = all
        .iter()
        .map(|row| row["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["a/1", "a/2", "b", "c"]);
    assert_eq!((&all[0]["bytes"], &all[0]["qos"]), (&3.into(), &1.into()));
    assert_eq!(all[2]["message"], "{\"x\": 1}");
    assert!(all[0]["age"].as_u64().unwrap() < 60 && all[0]["expires"].is_null());
    let left = all[3]["expires"].as_u64().unwrap();
    assert!((50..=100).contains(&left), "{left}");
    assert_eq!(rows(&host, &["retained", "a/+"]).len(), 2);
    assert_eq!(rows(&host, &["retained", "-n", "3"]).len(), 3);
    for wrong in [&["retained", "a/#/b"][..], &["retained", "--delete"]] {
        host.command(&[&["mqtt"], wrong].concat()).expect_code(2);
    }
    let removed = host
        .command(&["mqtt", "retained", "--delete", "a/#"])
        .expect_success();
    assert!(removed.stderr().contains("(2 removed)"), "{removed}");
    host.restart();
    let rest = rows(&host, &["retained"]);
    let topics: Vec<&str> = rest
        .iter()
        .map(|row| row["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["b", "c"], "and not with the next start either");
    assert!(
        rest[0]["age"].as_u64().unwrap() < 60,
        "the store knows its age"
    );
    assert_eq!(rest[0]["publisher"], "anonymous");
}

#[test]
fn a_tail_shows_what_passes_with_its_client_and_nothing_steers_the_terminal() {
    let host = broker();
    let tail = host.beside(&["mqtt", "tail", "a/#"]).spawn();
    let json = host
        .beside(&["mqtt", "tail", "a/#", "--json", "-n", "2"])
        .spawn();
    let ready = |tail: &Running, topic: &str| {
        eventually("the tail", || {
            publish(&host, &["-t", topic, "-m", "ready"]);
            tail.lines()
                .iter()
                .any(|line| line.contains("ready"))
                .then_some(())
        });
    };
    ready(&tail, "a/ready");
    drop(json);
    publish(
        &host,
        &["-i", "sensor", "-t", "a/b", "-m", "open", "-q", "2"],
    );
    let line = tail.wait_line("a/b open");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[1..], ["sensor", "2", "a/b", "open"], "{line}");
    assert_eq!(words[0].len(), "12:00:00.000".len(), "{line}");
    publish(&host, &["-t", "other", "-m", "not this"]);
    publish(
        &host,
        &["-i", "evil", "-t", "a/evil", "-m", "\u{1b}[2J\u{202e}x"],
    );
    let line = tail.wait_line("a/evil");
    assert!(line.ends_with("a/evil \\u{1b}[2J\\u{202e}x"), "{line}");
    assert!(!tail.lines().iter().any(|line| line.contains("not this")));
    // The identifier of a client may hold what turns the direction of writing.
    let _odd = connect(&host, "odd\u{202e}id");
    let shown = table(&host, &["clients"]);
    assert!(
        shown.contains("odd\\u{202e}id") && !shown.contains('\u{202e}'),
        "{shown}"
    );
    let odd = |row: &Value| row["client"] == "odd\u{202e}id";
    assert!(rows(&host, &["clients"]).iter().any(odd));
    host.command(&["mqtt", "kick", "odd\u{202e}id"])
        .expect_success();
}

#[test]
fn a_tail_ends_after_so_many_and_shows_bytes_that_are_no_text() {
    let host = broker();
    let mut tail = host
        .beside(&["mqtt", "tail", "#", "-n", "2", "-c", "me", "--json"])
        .spawn();
    eventually("both", || {
        publish(&host, &["-t", "x", "-m", "another's"]);
        mosquitto(&host, "mosquitto_pub")
            .args(["-i", "me", "-t", "x", "-s"])
            .stdin(b"a\xff")
            .run()
            .expect_success();
        (!tail.is_running()).then_some(())
    });
    assert_eq!(tail.wait_exit(), Some(0));
    let lines = tail.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let row: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(row["message"], serde_json::json!({"base64": "Yf8="}));
    assert_eq!((&row["bytes"], &row["client"]), (&2.into(), &"me".into()));
}

#[test]
fn a_tail_that_is_not_read_holds_up_nobody_and_tells_what_it_lost() {
    // All of them, should the reader be slow.
    let host = broker_with("max_queued_messages = 4000");
    let mut stuck = UnixStream::connect(host.path().join("control.sock")).unwrap();
    stuck.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = r##"{"command":"operate","plugin":"mqtt","service":null,"request":{"command":"tail","arguments":["#"]}}"##;
    writeln!(stuck, "{ask}").unwrap();
    let mut stuck = BufReader::new(stuck);
    let mut line = String::new();
    stuck.read_line(&mut line).unwrap();
    assert!(line.contains("\"done\""), "{line}");
    let reader = subscriber(&host, 1, &["-t", "a", "-C", "4000", "-F", "%l", "-q", "1"]);
    let lines = format!("{}\n", "x".repeat(3_000)).repeat(4_000);
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "a", "-l", "-q", "1"])
        .stdin(lines)
        .run()
        .expect_success();
    let mut reader = reader;
    assert_eq!(reader.wait_exit(), Some(0), "whoever reads got them all");
    let told = stuck
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains("\"note\""))
        .unwrap();
    assert!(told.contains("messages were left out"), "{told}");
}

#[test]
fn a_tail_goes_on_over_a_swap() {
    let host = broker();
    let tail = host.beside(&["mqtt", "tail", "#"]).spawn();
    let seen = |text: &str| {
        eventually("the message", || {
            publish(&host, &["-t", "a", "-m", text]);
            tail.lines()
                .iter()
                .any(|line| line.ends_with(text))
                .then_some(())
        });
    };
    seen("before");
    let client = connect(&host, "stays");
    let changes =
        host.change(|text| text.replace("[services.mqtt]", "[services.mqtt]\nthreads = 2"));
    assert!(
        changes.iter().any(|line| line.contains("swap")),
        "{changes:?}"
    );
    tail.wait_line("service \"mqtt\" was replaced; what passed in between is not shown");
    seen("after");
    let clients = eventually("the publishers are gone", || {
        Some(rows(&host, &["clients"])).filter(|clients| clients.len() == 1)
    });
    assert_eq!(clients[0]["client"], "stays");
    drop(client);
}

#[test]
fn thousands_of_clients_come_in_pages() {
    let host = broker();
    let clients: Vec<TcpStream> = (0..1_500)
        .map(|number| connect(&host, &format!("c{number:04}")))
        .collect();
    let mut seen: Vec<String> = rows(&host, &["clients"])
        .iter()
        .map(|row| row["client"].as_str().unwrap().to_owned())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), clients.len());
    let all = table(&host, &["clients"]);
    assert_eq!(all.lines().count(), clients.len() + 1);
    assert_eq!(rows(&host, &["clients", "-n", "7"]).len(), 7);
}
