//! Sessions go from one instance to the next, whatever they are in the middle of, and their clients notice nothing.
//! (`transcripts.rs` plays every transcript over such changes; here is what a transcript cannot show.)

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use polyport_testkit::{Client, Host, PATIENCE, eventually};
use wire::{SUBPROTOCOL, upgrade};

const ACCOUNTS: &str = "[anonymous]\nservices = mqtt\n";

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ACCOUNTS).start()
}

/// Another instance with the same settings.
#[track_caller]
fn swap(host: &Host) {
    let mark = host.log_mark();
    let _ = host.command(&["restart", "mqtt"]).expect_success();
    host.wait_log(mark, "service mqtt: handed over");
}

/// Another instance with another line in this table of its service.
#[track_caller]
fn swap_to(host: &Host, table: &str, line: &str) {
    let mark = host.log_mark();
    host.change(|text| {
        let kept: Vec<_> = text
            .lines()
            .filter(|line| !line.ends_with("# swap"))
            .collect();
        let text = kept.join("\n");
        text.replace(table, &format!("{table}\n{line} # swap")) + "\n"
    });
    host.wait_log(mark, "service mqtt: handed over");
}

#[track_caller]
fn exchange(stream: &mut (impl Read + Write), send: &[u8], expect: &[u8]) {
    stream.write_all(send).unwrap();
    let mut got = vec![0; expect.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, expect);
}

/// CONNECT of 3.1.1 with a one-letter identifier.
fn connect(client_id: u8, clean: bool, keep_alive: u8) -> Vec<u8> {
    let mut packet = b"\x10\x0d\x00\x04MQTT\x04".to_vec();
    packet.extend([u8::from(clean) << 1, 0, keep_alive, 0, 1, client_id]);
    packet
}

fn connected(host: &Host, client_id: u8) -> TcpStream {
    let mut stream = host.connect("mqtt");
    exchange(
        &mut stream,
        &connect(client_id, true, 0),
        b"\x20\x02\x00\x00",
    );
    stream
}

/// Nothing came that nobody expected, and the connection is open.
#[track_caller]
fn expect_idle(stream: &mut (impl Read + Write)) {
    exchange(stream, b"\xc0\x00", b"\xd0\x00");
}

#[test]
fn a_message_of_qos_2_crosses_before_and_after_each_of_its_packets() {
    let host = Host::builder()
        .service("mqtt")
        .listen("mqtt", &["127.0.0.1:{port:mqtt}", "unix:{dir}/mqtt.sock"])
        .accounts(ACCOUNTS)
        .start();
    let socket = host.path().join("mqtt.sock");
    let mut unix = UnixStream::connect(&socket).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tcp = connected(&host, b't');
    exchange(&mut unix, &connect(b'u', false, 0), b"\x20\x02\x00\x00");
    exchange(
        &mut unix,
        b"\x82\x06\x00\x01\x00\x01t\x02",
        b"\x90\x03\x00\x01\x02",
    );
    for round in 1..=3u8 {
        swap(&host);
        // Half a PUBLISH, and the other half.
        tcp.write_all(b"\x34\x06\x00\x01t").unwrap();
        swap(&host);
        exchange(&mut tcp, &[0, round, b'x'], &[0x50, 2, 0, round]);
        swap(&host);
        // PUBREC again, for a PUBLISH again.
        exchange(
            &mut tcp,
            &[0x3c, 6, 0, 1, b't', 0, round, b'x'],
            &[0x50, 2, 0, round],
        );
        exchange(&mut tcp, &[0x62, 2, 0, round], &[0x70, 2, 0, round]);
        swap(&host);
        exchange(&mut unix, b"", &[0x34, 6, 0, 1, b't', 0, round, b'x']);
        swap(&host);
        exchange(&mut unix, &[0x50, 2, 0, round], &[0x62, 2, 0, round]);
        swap(&host);
        unix.write_all(&[0x70, 2, 0, round]).unwrap();
    }
    expect_idle(&mut tcp);
    expect_idle(&mut unix);
}

#[test]
fn a_long_message_and_a_reader_that_is_behind_lose_no_byte() {
    let host = host();
    let mut reader = connected(&host, b'r');
    exchange(
        &mut reader,
        b"\x82\x06\x00\x01\x00\x01t\x00",
        b"\x90\x03\x00\x01\x00",
    );
    let mut writer = connected(&host, b'w');
    // 1 MB in QoS 0, eight times, and nobody reads: socket buffers are full, the rest waits in the broker.
    let length: usize = 1_000_000;
    let remaining = length + 3;
    let mut head = vec![0x30];
    head.extend([
        remaining as u8 & 0x7f | 0x80,
        (remaining >> 7) as u8 & 0x7f | 0x80,
        (remaining >> 14) as u8,
    ]);
    head.extend(b"\x00\x01t");
    let packet = |round: u8| {
        let payload = (0..length).map(|at| (at as u8).wrapping_mul(31) ^ round);
        head.iter().copied().chain(payload).collect::<Vec<u8>>()
    };
    for round in 0..8 {
        let packet = packet(round);
        let (before, after) = packet.split_at(length * usize::from(round + 1) / 10);
        writer.write_all(before).unwrap();
        swap(&host);
        writer.write_all(after).unwrap();
        expect_idle(&mut writer);
    }
    for round in 0..8 {
        let expected = packet(round);
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).unwrap();
        assert!(got == expected, "message {round}");
        swap(&host);
    }
    expect_idle(&mut reader);
}

#[test]
fn keep_alive_holds_and_wills_are_published_after_the_crossing() {
    let host = host();
    let mut watcher = connected(&host, b'w');
    exchange(
        &mut watcher,
        b"\x82\x08\x00\x01\x00\x03w/+\x00",
        b"\x90\x03\x00\x01\x00",
    );
    let with_will = |client_id: u8, keep_alive: u8| {
        let mut stream = host.connect("mqtt");
        let mut packet = b"\x10\x15\x00\x04MQTT\x04\x06\x00".to_vec();
        packet.extend([
            keep_alive, 0, 1, client_id, 0, 3, b'w', b'/', client_id, 0, 1, b'x',
        ]);
        exchange(&mut stream, &packet, b"\x20\x02\x00\x00");
        stream
    };
    // The broker's clock begins before this thread goes on.
    let begun = Instant::now();
    let silent = with_will(b's', 1);
    let dies = with_will(b'd', 0);
    let reset = with_will(b'r', 0);
    swap(&host);
    drop(dies);
    exchange(&mut watcher, b"", b"\x30\x06\x00\x03w/dx");
    // One that goes while nobody looks.
    reset.shutdown(Shutdown::Both).unwrap();
    swap(&host);
    exchange(&mut watcher, b"", b"\x30\x06\x00\x03w/rx");
    exchange(&mut watcher, b"", b"\x30\x06\x00\x03w/sx");
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    assert_eq!(
        (&silent).read(&mut [0]).unwrap(),
        0,
        "the silent one was closed"
    );
}

#[test]
fn logins_cross_before_their_answer() {
    let host = Host::builder()
        .service("mqtt")
        .accounts("[bob]\npassword = x\n")
        .start();
    host.add_account("alice", "wonderland", &[]);
    let _ = host.command(&["reload", "--wait"]).expect_success();
    let login = |client_id: u8, password: &str| {
        let mut packet = b"\x10\x00\x00\x04MQTT\x04\xc2\x00\x00\x00\x01".to_vec();
        packet.push(client_id);
        packet.extend(b"\x00\x05alice");
        packet.extend([0, password.len() as u8]);
        packet.extend(password.as_bytes());
        packet[1] = packet.len() as u8 - 2;
        packet
    };
    for round in 0..4 {
        let mut streams: Vec<_> = (0..6).map(|_| host.connect("mqtt")).collect();
        for (at, stream) in streams.iter_mut().enumerate() {
            let password = ["wonderland", "wrong"][at % 2];
            // Behind it a packet that waits for the answer.
            let packet = [login(b'a' + at as u8, password), b"\xc0\x00".to_vec()].concat();
            stream.write_all(&packet).unwrap();
        }
        swap(&host);
        for (at, stream) in streams.iter_mut().enumerate() {
            if at % 2 == 0 {
                exchange(stream, b"", b"\x20\x02\x00\x00\xd0\x00");
                expect_idle(stream);
            } else {
                exchange(stream, b"", b"\x20\x02\x00\x04");
                assert_eq!(stream.read(&mut [0]).unwrap(), 0, "round {round}");
            }
        }
        // What the account may is asked as before, and its end is noticed.
        if round == 3 {
            host.edit_accounts(|text| text.replace("[alice]", "[alice]\nexpire = 2020-01-01"));
            let left = &mut streams[0];
            assert_eq!(left.read(&mut [0]).unwrap(), 0, "an account that has ended");
        }
    }
}

#[test]
fn settings_of_the_store_change_under_open_sessions_and_nothing_acknowledged_is_lost() {
    let mut host = host();
    let mut publisher = connected(&host, b'p');
    let mut offline = host.connect("mqtt");
    exchange(&mut offline, &connect(b'o', false, 0), b"\x20\x02\x00\x00");
    exchange(
        &mut offline,
        b"\x82\x06\x00\x01\x00\x01t\x01",
        b"\x90\x03\x00\x01\x01",
    );
    exchange(&mut offline, b"\xe0\x00", b"");
    assert_eq!(offline.read(&mut [0]).unwrap(), 0);
    let lines = [
        "persistence = false",
        "durability = \"never\"",
        "persistence = false",
        "durability = \"interval\"",
        "persistence = false",
        "durability = \"always\"",
    ];
    for (round, line) in (1..).zip(lines) {
        swap_to(&host, "[services.mqtt.settings]", line);
        exchange(
            &mut publisher,
            &[0x32, 6, 0, 1, b't', 0, round, b'0' + round],
            &[0x40, 2, 0, round],
        );
    }
    // The store is the one before, and has all that was taken while there was none.
    host.kill9();
    host.start();
    let mut offline = host.connect("mqtt");
    exchange(&mut offline, &connect(b'o', false, 0), b"\x20\x02\x01\x00");
    for round in 1..=6 {
        exchange(
            &mut offline,
            b"",
            &[0x32, 6, 0, 1, b't', 0, round, b'0' + round],
        );
    }
    expect_idle(&mut offline);
}

/// A frame of a client, masked with zeros.
fn frame(packet: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | packet.len() as u8, 0, 0, 0, 0], packet].concat()
}

#[test]
fn a_websocket_crosses_in_the_middle_of_a_frame_again_and_again_and_ends_as_it_ought_to() {
    let host = host();
    let (mut stream, _) = upgrade(&host, "/mqtt", SUBPROTOCOL);
    exchange(
        &mut stream,
        &frame(&connect(b'w', true, 0)),
        b"\x82\x04\x20\x02\x00\x00",
    );
    exchange(
        &mut stream,
        &frame(b"\x82\x06\x00\x01\x00\x01t\x00"),
        b"\x82\x05\x90\x03\x00\x01\x00",
    );
    for round in 0..3 {
        let publish = [b"\x30\x04\x00\x01t", &[round][..]].concat();
        let framed = frame(&publish);
        // Its header, its mask and a part of the packet.
        let cut = [1, 4, 9][usize::from(round)];
        stream.write_all(&framed[..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        swap(&host);
        exchange(
            &mut stream,
            &framed[cut..],
            &[&[0x82, 6][..], &publish].concat(),
        );
        // A ping of the WebSocket.
        exchange(&mut stream, b"\x89\x82\x00\x00\x00\x00hi", b"\x8a\x02hi");
    }
    let status = host.status();
    let connections = |status: &serde_json::Value| status["services"][0]["connections"].clone();
    assert_eq!(connections(&status), 1, "{status}");
    // The broker ends it: a frame says so, and then the stream ends.
    host.command(&["mqtt", "kick", "w"]).expect_success();
    let mut last = Vec::new();
    stream.read_to_end(&mut last).unwrap();
    assert_eq!(last[0], 0x88, "{last:02x?}");
    host.wait_status("nobody is left", |status| connections(status) == 0);
}

#[test]
fn a_connection_that_cannot_cross_is_told_to_go() {
    let host = host();
    let mut tcp = connected(&host, b't');
    // Nobody knows whose it is.
    let (mut stream, _) = upgrade(&host, "/mqtt", SUBPROTOCOL);
    swap(&host);
    let mut last = Vec::new();
    stream.read_to_end(&mut last).unwrap();
    assert_eq!(last.first(), Some(&0x88), "{last:02x?}");
    expect_idle(&mut tcp);
}

#[test]
fn a_hand_over_that_fails_changes_nothing_for_anybody() {
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "persistence = false")
        .accounts(ACCOUNTS)
        .start();
    let mut subscriber = connected(&host, b's');
    exchange(
        &mut subscriber,
        b"\x82\x06\x00\x01\x00\x01t\x02",
        b"\x90\x03\x00\x01\x02",
    );
    let mut publisher = connected(&host, b'p');
    // The next instance is to open a store, and where its folder would be there is a file.
    let state = host.path().join("state/services/mqtt");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("store"), "").unwrap();
    host.edit_config(|text| text.replace("persistence = false", "persistence = true"));
    for published in 1..=5 {
        let reload = host.command(&["reload", "--wait"]);
        let why = reload.stderr();
        assert!(why.contains("the instance before goes on"), "{why}");
        let publish = [0x34, 6, 0, 1, b't', 0, published, b'x'];
        exchange(&mut publisher, &publish, &[0x50, 2, 0, published]);
        exchange(
            &mut publisher,
            &[0x62, 2, 0, published],
            &[0x70, 2, 0, published],
        );
        exchange(&mut subscriber, b"", &publish);
        exchange(
            &mut subscriber,
            &[0x50, 2, 0, published],
            &[0x62, 2, 0, published],
        );
        subscriber.write_all(&[0x70, 2, 0, published]).unwrap();
    }
    expect_idle(&mut subscriber);
    expect_idle(&mut publisher);
}

/// What only grows from 1 and has no gap and nothing twice.
#[track_caller]
fn expect_sequence(got: &[u64], what: &str) {
    let wrong = got.iter().zip(1..).find(|(got, wanted)| **got != *wanted);
    assert_eq!(
        wrong, None,
        "{what}: a number and what was expected in its place"
    );
}

#[test]
fn foreign_clients_notice_nothing_of_twenty_swaps_under_load() {
    let mut host = Host::builder()
        .service("mqtt")
        .listen(
            "mqtt",
            &[
                "127.0.0.1:{port:mqtt}",
                "mqtts://127.0.0.1:{port:mqtts}",
                "ws://127.0.0.1:{port:mqtt-ws}",
            ],
        )
        .keys(
            "mqtt",
            "tls = { cert = \"localhost.cert.pem\", key = \"localhost.key.pem\" }",
        )
        .settings("mqtt", "max_queued_messages = 1000000")
        .accounts(ACCOUNTS)
        .prepare();
    let folder = host.path().display().to_string();
    host.command(&[
        "tls",
        "self-signed",
        "localhost",
        "127.0.0.1",
        "--out",
        &folder,
    ])
    .expect_success();
    host.start();
    let certificate = format!("{folder}/localhost.cert.pem");
    let port = host.port("mqtt").to_string();
    let stop = host.path().join("stop");
    let stop_text = stop.display().to_string();
    let mut pairs = Vec::new();
    for (version, qos) in [("mqttv311", "2"), ("mqttv5", "2"), ("mqttv5", "1")] {
        let topic = format!("load/{version}/{qos}");
        let arguments = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            version,
            "-q",
            qos,
            "-t",
            &topic,
            "-d",
        ];
        let subscriber = Client::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args(arguments);
        let subscriber = subscriber.limit(Duration::from_secs(120)).spawn();
        subscriber.wait_line("Subscribed (mid: 1)");
        let script = format!(
            "i=0; while [ ! -e '{stop_text}' ]; do i=$((i+1)); echo $i; sleep 0.001; done | stdbuf -oL mosquitto_pub -l {}",
            arguments.join(" ")
        );
        let publisher = Client::new("sh").args(["-c", &script]);
        pairs.push((
            topic,
            subscriber,
            publisher.limit(Duration::from_secs(120)).spawn(),
        ));
    }
    let sequences = [
        ("mqtt", "311", "2", "tcp"),
        ("mqtt", "5", "2", "tcp"),
        ("mqtt", "5", "1", "tcp"),
        ("mqtts", "5", "2", &certificate),
        ("mqtts", "311", "1", &certificate),
        ("mqtt-ws", "5", "2", "websockets"),
        ("mqtt-ws", "311", "1", "websockets"),
    ];
    let sequences: Vec<_> = sequences
        .into_iter()
        .map(|(port, version, qos, transport)| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/sequence.py");
            let port = host.port(port).to_string();
            let client = Client::python(script).args([&port, version, qos, &stop_text, transport]);
            let client = client.limit(Duration::from_secs(120)).spawn();
            client.wait_line("ready");
            client
        })
        .collect();
    for round in 0..20 {
        if round % 2 == 0 {
            swap(&host);
        } else {
            let threads = round / 2 % 2 + 1;
            swap_to(&host, "[services.mqtt]", &format!("threads = {threads}"));
        }
    }
    std::fs::write(&stop, "").unwrap();
    for (topic, subscriber, mut publisher) in pairs {
        assert_eq!(publisher.wait_exit(), Some(0), "{topic}");
        let published = publisher.lines();
        let last = published
            .iter()
            .filter(|line| line.contains("sending PUBLISH"))
            .count() as u64;
        let numbers = || -> Vec<u64> {
            let lines = subscriber.lines();
            lines.iter().filter_map(|line| line.parse().ok()).collect()
        };
        let got = eventually(&topic, || {
            let got = numbers();
            (got.last() >= Some(&last)).then_some(got)
        });
        assert!(last > 200, "{topic}: only {last} messages");
        expect_sequence(&got, &topic);
        for lines in [published, subscriber.lines()] {
            let connects = lines
                .iter()
                .filter(|line| line.contains("received CONNACK"))
                .count();
            assert_eq!(connects, 1, "{topic}");
        }
    }
    for mut sequence in sequences {
        assert_eq!(sequence.wait_exit(), Some(0));
        let lines = sequence.lines();
        let last = lines.last().unwrap();
        assert!(
            last.ends_with("repeated 0 disconnects 0") && lines.len() == 2,
            "{lines:?}"
        );
    }
}
