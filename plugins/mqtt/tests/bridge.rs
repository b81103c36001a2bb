//! Bridges on the real host: to a second polyport and to mosquitto, which bridges back in its turn.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use polyport_testkit::{Client, Host, PATIENCE, Running, eventually, free_port};
use wire::{ANONYMOUS, Wire, packet, publish, subscribe, text};

/// How long nothing must come for it to count as nothing.
const QUIET: Duration = Duration::from_millis(400);

/// A broker with these bridges, each a `NAME = { … }`.
fn broker(bridges: &[String]) -> Host {
    broker_with(bridges, "", ANONYMOUS)
}

fn broker_with(bridges: &[String], settings: &str, accounts: &str) -> Host {
    let bridges: String = bridges
        .iter()
        .map(|bridge| format!("bridges.{bridge}\n"))
        .collect();
    Host::builder()
        .service("mqtt")
        .settings("mqtt", &format!("{settings}{bridges}"))
        .accounts(accounts)
        .start()
}

/// A bridge to a port of this machine, quick to try again.
fn bridge(name: &str, port: u16, topics: &str, more: &str) -> String {
    format!(
        "{name} = {{ addresses = [\"127.0.0.1:{port}\"], restart_max = 1, topics = [{topics}]{more} }}"
    )
}

fn topic(filter: &str, direction: &str, qos: u8, prefixes: &str) -> String {
    format!("{{ filter = \"{filter}\", direction = \"{direction}\", qos = {qos}{prefixes} }}")
}

/// mosquitto with these lines, on a port of its own.
fn mosquitto(folder: &tempfile::TempDir, port: u16, lines: &str) -> Running {
    let file = folder.path().join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}\n");
    std::fs::write(&file, text).unwrap();
    let running = Client::new("/usr/sbin/mosquitto")
        .args(["-v", "-c", file.to_str().unwrap()])
        .limit(Duration::from_secs(120))
        .spawn();
    running.wait_line("running");
    running
}

fn metric(host: &Host, name: &str) -> u64 {
    host.status()["services"][0]["metrics"][name]
        .as_u64()
        .unwrap_or(0)
}

fn wait_metric(host: &Host, name: &str, value: u64) {
    host.wait_status(&format!("{name} is {value}"), |status| {
        status["services"][0]["metrics"][name] == value
    });
}

/// Waits until a bridge is connected and both have subscribed: what is sent from here on arrives.
fn wait_connected(host: &Host, name: &str) {
    wait_metric(host, &format!("bridge_{name}_connected"), 1);
}

/// A client of 3.1.1 at any port, with clean session.
fn client(port: u16, id: &str) -> Wire {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire { stream };
    wire.exchange(&wire::connect(id), 0x20, &[0, 0]);
    wire
}

fn subscriber(port: u16, id: &str, filter: &str) -> Wire {
    let mut wire = client(port, id);
    wire.exchange(&subscribe(filter, 2), 0x90, &[0, 1, 2]);
    wire
}

/// Publishes and goes through the handshake of its QoS.
fn publish_all(wire: &mut Wire, qos: u8, topic: &str, identifier: u16, payload: &str) {
    wire.send(&publish(qos << 1, topic, identifier, payload.as_bytes()));
    let id = identifier.to_be_bytes().to_vec();
    match qos {
        0 => wire.ping(),
        1 => assert_eq!(wire.receive(), (0x40, id)),
        _ => {
            assert_eq!(wire.receive(), (0x50, id.clone()));
            wire.exchange(&packet(0x62, &id), 0x70, &id);
        }
    }
}

/// What [`warm_up`] sends until one of them has come: others may still be on their way.
const WARM: &[u8] = b"warm";

/// The next message with its QoS, answered as that wants; `topic payload`.
fn next(wire: &mut Wire) -> (u8, String) {
    let (first, body) = loop {
        let (first, body) = wire.receive();
        match first >> 4 {
            3 if body.ends_with(WARM) => {}
            3 => break (first, body),
            6 => wire.send(&packet(0x70, &body)),
            _ => panic!("{first:#x}"),
        }
    };
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let qos = first >> 1 & 3;
    let mut rest = &body[2 + length..];
    if qos > 0 {
        let answer = if qos == 1 { 0x40 } else { 0x50 };
        wire.send(&packet(answer, &rest[..2]));
        rest = &rest[2..];
    }
    (qos, format!("{topic} {}", String::from_utf8_lossy(rest)))
}

/// Nothing more comes.
fn quiet(wire: &mut Wire) {
    wire.stream.set_read_timeout(Some(QUIET)).unwrap();
    while let Ok((first, body)) = wire.try_receive() {
        if first >> 4 == 3 && body.ends_with(WARM) {
            continue;
        }
        assert_eq!(first >> 4, 6, "{:?}", String::from_utf8_lossy(&body));
        wire.send(&packet(0x70, &body));
    }
    wire.stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Tries until what is published on one side comes on the other: subscriptions have been made by then.
fn warm_up(from: u16, into: u16, there: &str, here: &str) {
    let mut receiver = subscriber(into, "warm-receiver", here);
    let mut sender = client(from, "warm-sender");
    receiver
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    eventually("a message goes over", || {
        publish_all(&mut sender, 0, there, 1, &String::from_utf8_lossy(WARM));
        receiver.try_receive().ok()
    });
}

fn all_ways(here: u16, there: u16) {
    warm_up(here, there, "out/warm", "far/out/warm");
    warm_up(there, here, "far/in/warm", "in/warm");
    warm_up(there, here, "both/warm", "both/warm");
    for qos in 0..=2 {
        let mut at_home = subscriber(here, &format!("home-{qos}"), "#");
        let mut abroad = subscriber(there, &format!("abroad-{qos}"), "#");
        let mut sender = client(here, &format!("sender-{qos}"));
        let mut stranger = client(there, &format!("stranger-{qos}"));
        publish_all(&mut sender, qos, "out/a", 1, "1");
        assert_eq!(next(&mut at_home), (qos, "out/a 1".into()));
        assert_eq!(next(&mut abroad), (qos, "far/out/a 1".into()));
        publish_all(&mut stranger, qos, "far/in/b", 1, "2");
        assert_eq!(next(&mut abroad), (qos, "far/in/b 2".into()));
        assert_eq!(next(&mut at_home), (qos, "in/b 2".into()));
        publish_all(&mut sender, qos, "both/c", 2, "3");
        assert_eq!(next(&mut at_home), (qos, "both/c 3".into()));
        assert_eq!(next(&mut abroad), (qos, "both/c 3".into()));
        publish_all(&mut stranger, qos, "both/c", 2, "4");
        assert_eq!(next(&mut abroad), (qos, "both/c 4".into()));
        assert_eq!(next(&mut at_home), (qos, "both/c 4".into()));
        publish_all(&mut sender, qos, "other", 3, "5");
        assert_eq!(next(&mut at_home), (qos, "other 5".into()));
        quiet(&mut abroad);
        quiet(&mut at_home);
    }
}

/// In, out and both, with prefixes.
fn three_topics() -> String {
    [
        topic("out/#", "out", 2, ", remote_prefix = \"far/\""),
        topic("in/#", "in", 2, ", remote_prefix = \"far/\""),
        topic("both/#", "both", 2, ""),
    ]
    .join(", ")
}

#[test]
fn every_direction_and_qos_to_another_polyport_in_both_versions() {
    for version in ["5", "3.1.1"] {
        let there = broker(&[]);
        let more = format!(", protocol_versions = [\"{version}\"]");
        let port = there.port("mqtt");
        let here = broker(&[bridge("b", port, &three_topics(), &more)]);
        wait_connected(&here, "b");
        all_ways(here.port("mqtt"), port);
    }
}

#[test]
fn every_direction_and_qos_to_mosquitto_in_every_version() {
    for version in ["5", "3.1.1", "3.1"] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let _mosquitto = mosquitto(&folder, port, "");
        let more = format!(", protocol_versions = [\"{version}\"], client_id = \"b\"");
        let here = broker(&[bridge("b", port, &three_topics(), &more)]);
        wait_connected(&here, "b");
        all_ways(here.port("mqtt"), port);
    }
}

#[test]
fn mosquitto_bridges_to_polyport() {
    for version in ["mqttv50", "mqttv311", "mqttv31"] {
        let there = broker(&[]);
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let lines = format!(
            "connection m\naddress 127.0.0.1:{}\nbridge_protocol_version {version}\n\
             notifications false\nrestart_timeout 1\n\
             topic out/# out 2 \"\" far/\ntopic in/# in 2 \"\" far/\ntopic both/# both 2",
            there.port("mqtt")
        );
        let _mosquitto = mosquitto(&folder, port, &lines);
        all_ways(port, there.port("mqtt"));
    }
}

/// Two brokers, each with a bridge `b` of all topics to the other; their ports.
fn mutual(direction: &str) -> ([Host; 2], [u16; 2]) {
    let all = topic("#", direction, 2, "");
    let second = broker(&[]);
    let first = broker(&[bridge("b", second.port("mqtt"), &all, "")]);
    let back = bridge("b", first.port("mqtt"), &all, "");
    second.change(|text| {
        text.replace(
            "[services.mqtt.settings]",
            &format!("[services.mqtt.settings]\nbridges.{back}"),
        )
    });
    let ports = [&first, &second].map(|host| host.port("mqtt"));
    wait_connected(&first, "b");
    wait_connected(&second, "b");
    warm_up(ports[0], ports[1], "warm", "warm");
    warm_up(ports[1], ports[0], "warm", "warm");
    ([first, second], ports)
}

#[test]
fn bridges_to_each_other_bring_no_message_home() {
    // By "both" there are two ways, and a message takes either.
    for (direction, copies) in [("out", 1), ("in", 1), ("both", 2)] {
        let (_hosts, ports) = mutual(direction);
        for qos in 0..=2 {
            for (from, to) in [(ports[0], ports[1]), (ports[1], ports[0])] {
                let mut home = subscriber(from, "home", "t");
                let mut abroad = subscriber(to, "abroad", "t");
                let mut sender = client(from, "sender");
                publish_all(&mut sender, qos, "t", 1, "a");
                assert_eq!(next(&mut home), (qos, "t a".into()));
                for _ in 0..copies {
                    assert_eq!(next(&mut abroad), (qos, "t a".into()), "{direction}");
                }
                quiet(&mut home);
                quiet(&mut abroad);
            }
        }
    }
}

/// A broker that is started anew at the same port.
fn fixed(port: u16, settings: &str) -> Host {
    Host::builder()
        .service("mqtt")
        .listen("mqtt", &[&format!("127.0.0.1:{port}")])
        .settings("mqtt", settings)
        .accounts(ANONYMOUS)
        .start()
}

/// A client of 3.1.1 that comes back to its session.
fn keeper(port: u16, id: &str, present: u8) -> Wire {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire { stream };
    let body = [b"\x00\x04MQTT\x04\x00\x00\x00", &text(id)[..]].concat();
    wire.exchange(&packet(0x10, &body), 0x20, &[present, 0]);
    wire
}

#[test]
fn messages_wait_for_a_broker_that_is_not_there() {
    let port = free_port();
    let mut there = fixed(port, "");
    let mut first = keeper(port, "keeper", 0);
    first.exchange(&subscribe("#", 2), 0x90, &[0, 1, 2]);
    there.kill9();
    let mut here = broker(&[bridge("b", port, &topic("#", "out", 2, ""), "")]);
    here.wait_log(0, "Connection refused");
    let mut sender = client(here.port("mqtt"), "sender");
    publish_all(&mut sender, 0, "t", 1, "lost");
    publish_all(&mut sender, 1, "t", 1, "one");
    publish_all(&mut sender, 2, "t", 2, "two");
    wait_metric(&here, "bridge_b_queued", 2);
    here.kill9();
    here.start();
    wait_metric(&here, "bridge_b_queued", 2);
    there.start();
    wait_metric(&here, "bridge_b_queued", 0);
    let mut keeper = keeper(port, "keeper", 1);
    assert_eq!(next(&mut keeper), (1, "t one".into()));
    assert_eq!(next(&mut keeper), (2, "t two".into()));
    quiet(&mut keeper);
}

#[test]
fn kills_of_either_side_lose_nothing_and_double_no_qos_2() {
    const EACH: u16 = 40;
    let queues = "max_queued_messages = 100000\n";
    let port = free_port();
    let mut there = fixed(port, queues);
    let topics = [topic("out/#", "out", 2, ""), topic("in/#", "in", 2, "")].join(", ");
    let bridges = [bridge("b", port, &topics, "")];
    let mut here = broker_with(&bridges, queues, ANONYMOUS);
    let home = here.port("mqtt");
    let mut keepers = [(home, "in/#"), (port, "out/#")].map(|(port, filter)| {
        let mut wire = keeper(port, "keeper", 0);
        wire.exchange(&subscribe(filter, 2), 0x90, &[0, 1, 2]);
        drop(wire);
        (port, filter.trim_end_matches('#'))
    });
    wait_connected(&here, "b");
    let rounds = polyport_testkit::repeats("POLYPORT_KILLS", 8) as u16;
    let mut random = 7u64;
    for round in 0..rounds {
        for (port, way) in [(home, "out"), (port, "in")] {
            let mut sender = client(port, "sender");
            for at in 0..EACH {
                let number = round * EACH + at;
                for qos in 1..=2 {
                    let topic = format!("{way}/{qos}");
                    publish_all(
                        &mut sender,
                        qos,
                        &topic,
                        number % 100 + 1,
                        &number.to_string(),
                    );
                }
            }
        }
        // Some moment of the exchange, another each time.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round.into());
        std::thread::sleep(Duration::from_millis(random >> 33 & 0x3f));
        let killed = if random >> 40 & 1 == 0 {
            &mut here
        } else {
            &mut there
        };
        killed.kill9();
        killed.start();
    }
    wait_connected(&here, "b");
    wait_metric(&here, "bridge_b_queued", 0);
    for (port, way) in &mut keepers {
        let expected = u32::from(rounds * EACH);
        let mut wire = keeper(*port, "keeper", 1);
        let mut once = Vec::new();
        let mut least = std::collections::BTreeSet::new();
        while once.len() < expected as usize || least.len() < expected as usize {
            let (qos, message) = next(&mut wire);
            let (topic, number) = message.split_once(' ').unwrap();
            let number: u32 = number.parse().unwrap();
            assert_eq!(topic, format!("{way}{qos}"));
            match qos {
                2 => once.push(number),
                _ => drop(least.insert(number)),
            }
        }
        let in_order: Vec<u32> = (0..expected).collect();
        assert_eq!(once, in_order, "{way}: once each, in order");
        // Repetitions of QoS 1 may still come, others not.
        wire.stream.set_read_timeout(Some(QUIET)).unwrap();
        while let Ok((first, _)) = wire.try_receive() {
            assert_ne!(first >> 1 & 7 | first >> 4 << 4, 0x32, "{way}");
        }
    }
}

#[test]
fn a_broker_that_begins_anew_gets_new_messages_under_old_identifiers() {
    let port = free_port();
    // It keeps nothing: after each kill its packet identifiers start at 1.
    let mut there = fixed(port, "persistence = false\n");
    let here = broker(&[bridge("b", port, &topic("#", "in", 2, ""), "")]);
    let mut home = subscriber(here.port("mqtt"), "home", "#");
    for round in 0..3 {
        wait_connected(&here, "b");
        eventually("the bridge has subscribed", || {
            (metric(&there, "subscriptions") == 1).then_some(())
        });
        let mut stranger = client(port, "stranger");
        for at in 0..3 {
            publish_all(&mut stranger, 2, "t", at + 1, &format!("{round}-{at}"));
            assert_eq!(next(&mut home), (2, format!("t {round}-{at}")));
        }
        there.kill9();
        wait_metric(&here, "bridge_b_connected", 0);
        there.start();
    }
}

#[test]
fn a_reload_touches_the_bridge_that_changed_and_no_other() {
    let there = broker(&[]);
    let port = there.port("mqtt");
    let stays = bridge("stays", port, &topic("stays/#", "out", 1, ""), "");
    let changes = |filter: &str| bridge("changes", port, &topic(filter, "both", 1, ""), "");
    let goes = bridge("goes", port, &topic("goes/#", "in", 1, ""), "");
    let here = broker(&[stays, changes("old/#"), goes]);
    for name in ["stays", "changes", "goes"] {
        wait_connected(&here, name);
    }
    // changes and goes have one subscription each there.
    wait_metric(&there, "subscriptions", 2);
    let mark = here.log_mark();
    let home = here.port("mqtt");
    let mut states = subscriber(home, "states", "$SYS/broker/connection/+/state");
    let mut seen: Vec<String> = (0..3).map(|_| next(&mut states).1).collect();
    seen.sort();
    let state = |name: &str, state: &str| format!("$SYS/broker/connection/{name}/state {state}");
    assert_eq!(
        seen,
        ["changes", "goes", "stays"].map(|name| state(name, "1"))
    );
    let new = changes("new/#");
    here.change(|text| {
        let kept = text
            .lines()
            .filter(|line| !line.starts_with("bridges.goes"));
        let lines = kept.map(|line| match line.starts_with("bridges.changes") {
            true => format!("bridges.{new}\n"),
            false => format!("{line}\n"),
        });
        lines.collect()
    });
    let said = here.wait_log(mark, "removed");
    assert!(said.contains("goes"), "{said}");
    wait_connected(&here, "changes");
    wait_metric(&there, "subscriptions", 1);
    eventually("what there was of the removed one is gone", || {
        let sessions = metric(&here, "sessions");
        (sessions == 3).then_some(())
    });
    warm_up(home, port, "new/a", "new/a");
    warm_up(port, home, "new/a", "new/a");
    warm_up(home, port, "stays/a", "stays/a");
    let mut abroad = subscriber(port, "abroad", "#");
    let mut sender = client(home, "sender");
    publish_all(&mut sender, 1, "old/a", 1, "x");
    publish_all(&mut sender, 1, "goes/a", 2, "x");
    quiet(&mut abroad);
    let lines = here.log();
    let again = lines[mark..].iter().filter(|line| line.contains("stays"));
    assert_eq!(again.count(), 0, "{lines:#?}");
}

/// A broker of 5.0 that the test speaks for: takes the bridge in, and gives its next packets up to SUBSCRIBE.
fn take_in(listener: &TcpListener, present: u8) -> (Wire, Vec<(u8, Vec<u8>)>) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire { stream };
    assert_eq!(wire.receive().0, 0x10);
    wire.send(&[0x20, 3, present, 0, 0]);
    let mut asked = Vec::new();
    loop {
        let (first, body) = wire.receive();
        if first == 0x82 {
            wire.send(&[0x90, 4, body[0], body[1], 0, 1]);
            return (wire, asked);
        }
        asked.push((first, body));
    }
}

#[test]
fn what_another_broker_does_not_let_go_of_is_unsubscribed_from_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let from = |filter: &str| bridge("b", port, &topic(filter, "in", 1, ""), "");
    let here = broker(&[from("old/#")]);
    let (wire, asked) = take_in(&listener, 0);
    assert_eq!(asked, []);
    wait_connected(&here, "b");
    here.change(|text| text.replace("old/#", "new/#"));
    wire.end();
    for code in [0x87, 0x11] {
        let (mut wire, asked) = take_in(&listener, 1);
        let (first, body) = &asked[0];
        assert_eq!(
            (asked.len(), *first, &body[2..]),
            (1, 0xa2, &b"\0\0\x05old/#"[..])
        );
        let mark = here.log_mark();
        wire.send(&[0xb0, 4, body[0], body[1], 0, code]);
        if code == 0x87 {
            let said = here.wait_log(mark, "could not be given up there");
            assert!(
                said.contains("\"old/#\"") && said.contains("not authorized (0x87)"),
                "{said}"
            );
        }
        // What comes behind an answer is taken after it was kept.
        wire.send(&packet(0x32, b"\0\x05new/a\0\x01\0"));
        assert_eq!(wire.receive().0, 0x40);
    }
    let (_, asked) = take_in(&listener, 1);
    assert_eq!(asked, []);
}

#[test]
fn a_swap_hands_the_bridge_over() {
    let there = broker(&[]);
    let port = there.port("mqtt");
    let topics = [topic("out/#", "out", 2, ""), topic("in/#", "in", 2, "")].join(", ");
    let here = broker(&[bridge("b", port, &topics, "")]);
    let home = here.port("mqtt");
    wait_connected(&here, "b");
    warm_up(home, port, "out/w", "out/w");
    warm_up(port, home, "in/w", "in/w");
    let mut at_home = subscriber(home, "home", "in/t");
    let mut abroad = subscriber(port, "abroad", "out/t");
    let mut sender = client(home, "sender");
    let mut stranger = client(port, "stranger");
    for round in 0..3u16 {
        for number in 0..20 {
            let payload = format!("{round}-{number}");
            publish_all(&mut sender, 2, "out/t", number + 1, &payload);
            publish_all(&mut stranger, 2, "in/t", number + 1, &payload);
        }
        here.command(&["restart", "mqtt"]).expect_success();
        for number in 0..20 {
            let payload = format!("{round}-{number}");
            assert_eq!(next(&mut abroad), (2, format!("out/t {payload}")));
            assert_eq!(next(&mut at_home), (2, format!("in/t {payload}")));
        }
    }
}

#[test]
fn retained_messages_and_the_state_go_along() {
    let there = broker(&[]);
    let port = there.port("mqtt");
    let more = ", remote_notification_topic = \"bridges/b\"";
    let topics = [topic("a/#", "both", 1, ""), topic("b/#", "both", 1, "")].join(", ");
    let plain = Host::builder().service("mqtt").accounts(ANONYMOUS).start();
    let home = plain.port("mqtt");
    let mut sender = client(home, "sender");
    sender.exchange(&publish(3, "a/here", 1, b"1"), 0x40, &[0, 1]);
    let mut stranger = client(port, "stranger");
    stranger.exchange(&publish(3, "a/there", 1, b"2"), 0x40, &[0, 1]);
    let line = bridge("b", port, &topics, more);
    plain.change(|text| {
        text.replace(
            "[services.mqtt.settings]",
            &format!("[services.mqtt.settings]\nbridges.{line}"),
        )
    });
    wait_connected(&plain, "b");
    eventually("both have both", || {
        let both = [&plain, &there].map(|host| metric(host, "retained_messages"));
        // The state of the bridge is another one there.
        (both[0] >= 2 && both[1] >= 3).then_some(())
    });
    let mut late = client(port, "late");
    late.exchange(&subscribe("a/here", 1), 0x90, &[0, 1, 1]);
    assert_eq!(late.receive().0, 0x33, "it is retained there");
    let mut late = client(home, "late");
    late.exchange(&subscribe("a/there", 1), 0x90, &[0, 1, 1]);
    assert_eq!(late.receive().0, 0x33, "it is retained here");
    let mut state = subscriber(port, "state", "bridges/b");
    assert_eq!(next(&mut state), (0, "bridges/b 1".into()));
    drop(plain);
    assert_eq!(next(&mut state).1, "bridges/b 0");
}

#[test]
fn by_tls_with_a_password_from_a_file_and_the_rights_of_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let there = Host::builder()
        .service("mqtt")
        .accounts("[far]\nname = far\npassword = secret-word\nservices = mqtt\n\n[anonymous]\nservices = mqtt\n")
        .prepare();
    let out = there.path().to_str().unwrap();
    there
        .command(&["tls", "self-signed", "localhost", "127.0.0.1", "--out", out])
        .expect_success();
    let pair = |suffix: &str| {
        let mut files = std::fs::read_dir(there.path()).unwrap();
        let found = files.find_map(|file| {
            let path = file.unwrap().path();
            path.to_str().unwrap().ends_with(suffix).then_some(path)
        });
        found.unwrap_or_else(|| panic!("no {suffix}"))
    };
    let (cert, key) = (pair(".cert.pem"), pair(".key.pem"));
    let mut there = there;
    there.edit_config(|text| {
        let text = text.replacen("\"127.0.0.1:", "\"mqtts://127.0.0.1:", 1);
        let tls = format!("[services.mqtt]\ntls = {{ cert = {cert:?}, key = {key:?} }}");
        text.replacen("[services.mqtt]", &tls, 1)
    });
    there.start();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret-word\n").unwrap();
    let open = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o644);
    let more = |ca: &str| {
        format!(
            ", username = \"far\", password_file = {password:?}, account = \"bridge\", tls = {{ {ca} }}"
        )
    };
    let port = there.port("mqtt");
    let good = format!("ca = {:?}, server_name = \"localhost\"", cert);
    let topics = [topic("out/#", "out", 1, ""), topic("in/#", "in", 1, "")].join(", ");
    let line = |ca: &str| bridge("b", port, &topics, &more(ca));
    let accounts = "[anonymous]\nservices = mqtt\n\n[bridge]\nname = bridge\npassword = x\nservices = mqtt\n\
        allow.1 = publish in/yes\nallow.2 = subscribe out/#\n";
    let here = broker_with(&[line(&good)], "", accounts);
    let said = here.wait_log(0, "expected mode 0600");
    assert!(
        said.contains("0644") && !said.contains("secret-word"),
        "{said}"
    );
    open(0o600);
    wait_connected(&here, "b");
    let home = here.port("mqtt");
    let mut at_home = subscriber(home, "home", "#");
    let pub_there = |topic: &str, message: &str| {
        Client::new("mosquitto_pub")
            .args([
                "-h",
                "localhost",
                "-p",
                &port.to_string(),
                "-q",
                "1",
                "-t",
                topic,
                "-m",
                message,
            ])
            .args(["--cafile", cert.to_str().unwrap()])
            .run()
            .expect_success();
    };
    eventually("the bridge has subscribed there", || {
        (metric(&there, "subscriptions") == 1).then_some(())
    });
    pub_there("in/no", "1");
    pub_there("in/yes", "2");
    assert_eq!(next(&mut at_home), (1, "in/yes 2".into()));
    let mark = here.log_mark();
    // Another server than the one that is trusted.
    let bad = line("ca = \"/etc/ssl/certs/ca-certificates.crt\"");
    here.change(|text| {
        let lines = text
            .lines()
            .map(|line| match line.starts_with("bridges.b") {
                true => format!("bridges.{bad}\n"),
                false => format!("{line}\n"),
            });
        lines.collect()
    });
    let said = here.wait_log(mark, "certificate");
    assert!(said.contains("127.0.0.1"), "{said}");
    let all = here.log().join("\n");
    assert!(!all.contains("secret-word"), "{all}");
}

#[test]
fn what_the_other_broker_says_is_in_the_log_once() {
    let there = Host::builder().service("mqtt").accounts("").start();
    let port = there.port("mqtt");
    let here = broker(&[bridge(
        "b",
        port,
        &topic("#", "out", 0, ""),
        ", restart_min = 1",
    )]);
    here.wait_log(0, "not authorized (0x87)");
    eventually("it was tried three times", || {
        let refused = there.log().into_iter();
        (refused
            .filter(|line| line.contains("client refused"))
            .count()
            >= 3)
            .then_some(())
    });
    let said = here.log().into_iter();
    let said: Vec<_> = said
        .filter(|line| line.contains("not authorized"))
        .collect();
    assert_eq!(said.len(), 1, "{said:#?}");
}

#[test]
fn wrong_settings_are_named() {
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "bridges.b = { addresses = [\"a:b\"], topics = [{ filter = \"a#\", direction = \"out\" }] }\n")
        .accounts(ANONYMOUS)
        .prepare();
    let said = host.command(&["check"]);
    let said = format!("{}{}", said.stdout(), said.stderr());
    for wanted in [
        "services.mqtt.settings.bridges.b.addresses[0]: expected HOST, HOST:PORT or [IPV6]:PORT, got \"a:b\"",
        "services.mqtt.settings.bridges.b.topics[0].filter",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    let unknown = host.command(&[
        "check",
        "--set",
        "services.mqtt.settings.bridges.b.adress=1",
    ]);
    assert!(format!("{}{}", unknown.stdout(), unknown.stderr()).contains("adress"));
}
