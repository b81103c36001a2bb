//! What an operator relies on: reload, bounded memory, strangers at the door.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use polyport_testkit::{Client, Host, PATIENCE};
use wire::{SUBPROTOCOL, upgrade};

const ACCOUNTS: &str = "[anonymous]\nservices = mqtt\n";

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ACCOUNTS).start()
}

fn exchange(stream: &mut TcpStream, send: &[u8], expect: &[u8]) {
    stream.write_all(send).unwrap();
    let mut got = vec![0; expect.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, expect);
}

/// A 3.1.1 connection with clean session 1.
fn connected(host: &Host, client_id: &[u8; 1]) -> TcpStream {
    let mut stream = host.connect("mqtt");
    let connect = [
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01",
        &client_id[..],
    ]
    .concat();
    exchange(&mut stream, &connect, b"\x20\x02\x00\x00");
    stream
}

#[test]
fn t6_a_swap_without_hand_over_tells_clients_to_come_back_and_keeps_their_sessions() {
    let host = Host::builder()
        .service("mqtt")
        .host_keys("handover_timeout = \"0s\"")
        .accounts(ACCOUNTS)
        .start();
    let mut client = host.connect("mqtt");
    // 5.0, session expiry 3600 s.
    let connect = b"\x10\x13\x00\x04MQTT\x05\x00\x00\x00\x05\x11\x00\x00\x0e\x10\x00\x01k";
    let connack = b"\x20\x0e\x00\x00\x0b\x22\x00\x0a\x27\x00\x1e\x84\x80\x21\x00\x14";
    exchange(&mut client, connect, connack);
    exchange(
        &mut client,
        b"\x82\x07\x00\x01\x00\x00\x01t\x01",
        b"\x90\x04\x00\x01\x00\x01",
    );

    host.edit_config(|text| text.replace("[services.mqtt]", "[services.mqtt]\nthreads = 2"));
    let mut last = Vec::new();
    client.read_to_end(&mut last).unwrap();
    assert_eq!(
        last[..3],
        [0xe0, last.len() as u8 - 2, 0x8b],
        "DISCONNECT, server shutting down: {last:02x?}"
    );

    let mut publisher = polyport_testkit::eventually("the new instance", || {
        let mut stream = TcpStream::connect(host.addr("mqtt")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream
            .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p")
            .ok()?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).ok()?;
        (connack == [0x20, 2, 0, 0]).then_some(stream)
    });
    exchange(
        &mut publisher,
        b"\x32\x06\x00\x01t\x00\x09x",
        b"\x40\x02\x00\x09",
    );
    let mut client = host.connect("mqtt");
    let resumed = b"\x20\x0e\x01\x00\x0b\x22\x00\x0a\x27\x00\x1e\x84\x80\x21\x00\x14";
    exchange(&mut client, connect, resumed);
    exchange(&mut client, b"", b"\x32\x07\x00\x01t\x00\x01\x00x");
}

#[test]
fn t6_a_stop_does_not_wait_for_clients_that_hold_on() {
    let mut host = host();
    let mut client = connected(&host, b"h");
    let begun = host.connect("mqtt");
    let since = Instant::now();
    assert_eq!(host.sigterm(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(15),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(begun);
}

#[test]
fn a_subscriber_that_never_reads_costs_bounded_memory_and_hinders_nobody() {
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "max_outbound_bytes = 1048576")
        .accounts(ACCOUNTS)
        .start();
    let mut lazy = connected(&host, b"l");
    exchange(
        &mut lazy,
        b"\x82\x06\x00\x01\x00\x01t\x00",
        b"\x90\x03\x00\x01\x00",
    );
    let mut publisher = connected(&host, b"p");
    let before = host.peak_memory();
    let mut packet = b"\x30\x83\x40\x00\x01t".to_vec();
    packet.resize(packet.len() + 0x2000, b'x');
    for _ in 0..16_000 {
        publisher.write_all(&packet).unwrap();
    }
    exchange(&mut publisher, b"\xc0\x00", b"\xd0\x00");
    let grown = host.peak_memory() - before;
    assert!(
        grown < 16 << 20,
        "131 MB to a reader that does not read took {} KiB",
        grown / 1024
    );
    let mut other = connected(&host, b"o");
    exchange(&mut other, b"\xc0\x00", b"\xd0\x00");
}

#[test]
fn a_client_that_takes_no_answers_is_not_read_from() {
    let host = host();
    let mut client = connected(&host, b"c");
    client.set_nonblocking(true).unwrap();
    let before = host.peak_memory();
    // Each PINGREQ has an answer; the broker must stop reading before it has queued them all.
    let pings = b"\xc0\x00".repeat(32 * 1024);
    let mut sent = 0;
    let mut quiet = 0;
    while sent < 256 << 20 && quiet < 50 {
        // Where the last write ended inside a packet, this one goes on there.
        match client.write(&pings[sent % 2..]) {
            Ok(written) => {
                sent += written;
                quiet = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                quiet += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    assert!(quiet > 0 && sent < 256 << 20, "{sent} bytes were taken");
    let grown = host.peak_memory() - before;
    assert!(grown < 16 << 20, "{} KiB", grown / 1024);
}

#[test]
fn half_open_connections_and_announced_giants_cost_next_to_nothing() {
    let host = host();
    let before = host.peak_memory();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut giant = host.connect("mqtt");
        // CONNECT of 268,435,455 bytes: refused before its body.
        giant.write_all(b"\x10\xff\xff\xff\x7f").unwrap();
        held.push(giant);
        let mut half = host.connect("mqtt");
        half.write_all(b"\x10\xf0\x01\x00\x04MQ").unwrap();
        held.push(half);
    }
    let mut giant = &held[0];
    assert_eq!(giant.read(&mut [0]).unwrap(), 0, "the giant is closed");
    let mut client = connected(&host, b"c");
    exchange(&mut client, b"\xc0\x00", b"\xd0\x00");
    let grown = host.peak_memory() - before;
    assert!(grown < 16 << 20, "{} KiB", grown / 1024);
}

/// A masked frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.extend(
        payload
            .iter()
            .zip([1, 2, 3, 4].into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

#[test]
fn t3_websocket_handshake_and_packets_in_any_framing() {
    let host = host();
    let (_, head) = upgrade(&host, "/elsewhere", SUBPROTOCOL);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (_, head) = upgrade(&host, "/mqtt", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let (_, head) = upgrade(&host, "/mqtt", "Sec-WebSocket-Protocol: mqttv3.1\r\n");
    assert!(
        head.to_lowercase()
            .contains("sec-websocket-protocol: mqttv3.1\r\n"),
        "{head}"
    );

    let (mut stream, head) = upgrade(&host, "/mqtt", "Sec-WebSocket-Protocol: chat, mqtt\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.to_lowercase()
            .contains("sec-websocket-protocol: mqtt\r\n"),
        "{head}"
    );
    // CONNECT in a fragmented message, two PINGREQ in one message, a WebSocket ping between.
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01w";
    stream.write_all(&frame(0x02, &connect[..5])).unwrap();
    stream.write_all(&frame(0x80, &connect[5..])).unwrap();
    exchange(&mut stream, b"", b"\x82\x04\x20\x02\x00\x00");
    exchange(&mut stream, &frame(0x89, b"hi"), b"\x8a\x02hi");
    exchange(
        &mut stream,
        &frame(0x82, b"\xc0\x00\xc0\x00"),
        b"\x82\x04\xd0\x00\xd0\x00",
    );
    // MQTT-6.0.0-1: a text frame ends the connection.
    stream.write_all(&frame(0x81, b"\xc0\x00")).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn pages_of_other_origins_cannot_connect_by_websocket() {
    let head = |host: &Host, origin: &str| {
        let headers = format!("{SUBPROTOCOL}{origin}");
        let (_, head) = upgrade(host, "/mqtt", &headers);
        head.lines().next().unwrap_or_default().to_owned()
    };
    let host = host();
    let app = "Origin: https://app.example:8443\r\n";
    assert!(head(&host, app).contains(" 101 "));
    let changes = host.change(|text| {
        let origins = "websocket_origins = [\"https://app.example:8443\"]";
        text.replace(
            "[services.mqtt.settings]\n",
            &format!("[services.mqtt.settings]\n{origins}\n"),
        )
    });
    assert!(
        changes.iter().any(|line| line.contains("live")),
        "{changes:?}"
    );
    for (origin, answer) in [
        (app, " 101 "),
        ("Origin: HTTPS://App.Example:8443\r\n", " 101 "),
        // No browser.
        ("", " 101 "),
        ("Origin: https://app.example\r\n", " 403 "),
        ("Origin: https://app.example:8443.evil.example\r\n", " 403 "),
        ("Origin: null\r\n", " 403 "),
    ] {
        let head = head(&host, origin);
        assert!(head.contains(answer), "{origin}: {head}");
    }
    let twice = format!("{app}Origin: https://evil.example\r\n");
    assert!(head(&host, &twice).contains(" 403 "));
}

#[test]
fn a_websocket_message_may_be_as_long_as_a_packet() {
    let host = host();
    let (mut stream, _) = upgrade(&host, "/mqtt", SUBPROTOCOL);
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01w";
    exchange(
        &mut stream,
        &frame(0x82, connect),
        b"\x82\x04\x20\x02\x00\x00",
    );
    // 2,000,000 bytes with the fixed header, the most that a packet may have.
    let mut publish = b"\x32\xfc\x88\x7a\x00\x01t\x00\x07".to_vec();
    publish.resize(2_000_000, b'x');
    exchange(
        &mut stream,
        &frame(0x82, &publish),
        b"\x82\x04\x40\x02\x00\x07",
    );
}

#[test]
fn settings_out_of_bounds_are_refused_with_their_lines() {
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "max_qos = 3\ndurability = \"often\"")
        .prepare();
    let checked = host.command(&["check"]);
    assert_ne!(checked.code, Some(0));
    let said = format!("{}{}", checked.stdout(), checked.stderr());
    for wanted in ["services.mqtt.settings.durability", "\"often\""] {
        assert!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "max_qos = 3\nreceive_maximum = 0")
        .prepare();
    let checked = host.command(&["check"]);
    let said = format!("{}{}", checked.stdout(), checked.stderr());
    for wanted in [
        "services.mqtt.settings.max_qos",
        "0 to 2",
        "services.mqtt.settings.receive_maximum",
        "1 to 65535",
    ] {
        assert!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
}

#[test]
fn without_persistence_nothing_is_kept_and_nothing_written() {
    let mut host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "persistence = false")
        .accounts(ACCOUNTS)
        .start();
    let port = host.port("mqtt").to_string();
    let publish = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "t",
        "-m",
        "x",
        "-r",
        "-q",
        "1",
    ];
    Client::new("mosquitto_pub")
        .args(publish)
        .run()
        .expect_success();
    host.restart();
    let subscribe = ["-h", "127.0.0.1", "-p", &port, "-t", "t", "-W", "1"];
    assert_eq!(
        Client::new("mosquitto_sub").args(subscribe).run().stdout(),
        ""
    );
}

#[test]
fn settings_change_under_open_sessions() {
    let host = host();
    let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01s";
    let connack = |receive_maximum: u8| {
        let mut connack = b"\x20\x0e\x00\x00\x0b\x22\x00\x0a\x27\x00\x1e\x84\x80\x21\x00".to_vec();
        connack.push(receive_maximum);
        connack
    };
    let mut subscriber = host.connect("mqtt");
    exchange(&mut subscriber, connect, &connack(20));
    exchange(
        &mut subscriber,
        b"\x82\x07\x00\x01\x00\x00\x01t\x01",
        b"\x90\x04\x00\x01\x00\x01",
    );
    let mut publisher = connected(&host, b"p");
    let before = host.started("mqtt");
    let changes = host.change(|text| {
        let keys = "receive_maximum = 30\nmax_queued_messages = 1\nmax_retained_messages = 1\nwebsocket_paths = [\"/other\"]\ndurability = \"interval\"\ndurability_interval_ms = 5\nmax_subscriptions = 1";
        text.replace("[services.mqtt.settings]", &format!("[services.mqtt.settings]\n{keys}"))
    });
    assert_eq!(changes[0], "mqtt: live (settings)", "{changes:#?}");
    // What was told at CONNECT holds; a new connection is told anew.
    let mut other = host.connect("mqtt");
    let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01o";
    exchange(&mut other, connect, &connack(30));
    exchange(
        &mut publisher,
        b"\x32\x06\x00\x01t\x00\x09x",
        b"\x40\x02\x00\x09",
    );
    exchange(&mut subscriber, b"", b"\x32\x07\x00\x01t\x00\x01\x00x");
    // One subscription is all that a session may have from now on: 0x97, quota exceeded.
    exchange(
        &mut subscriber,
        b"\x82\x07\x00\x02\x00\x00\x01u\x01",
        b"\x90\x04\x00\x02\x00\x97",
    );
    assert_eq!(host.started("mqtt"), before);
}

#[test]
fn a_will_is_published_when_its_delay_is_over_and_not_when_its_client_is_back() {
    let host = host();
    let mut watcher = connected(&host, b"w");
    exchange(
        &mut watcher,
        b"\x82\x09\x00\x01\x00\x04will\x00",
        b"\x90\x03\x00\x01\x00",
    );
    // 5.0, clean start or not, session expiry 60 s, a will after 2 s.
    let connect = |clean: u8| {
        let head = [&b"\x10\x29\x00\x04MQTT\x05"[..], &[4 | clean << 1, 0, 0]].concat();
        let session = b"\x05\x11\x00\x00\x00\x3c\x00\x05doomd";
        let will = b"\x05\x18\x00\x00\x00\x02\x00\x04will\x00\x04gone";
        [&head[..], session, will].concat()
    };
    let open = |clean: u8| {
        let mut stream = host.connect("mqtt");
        stream.write_all(&connect(clean)).unwrap();
        let mut connack = [0; 16];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        stream
    };
    drop(open(1));
    std::thread::sleep(Duration::from_millis(1_000));
    // It is back before its time: there is no will, also not when that would have been.
    let back = open(0);
    watcher
        .set_read_timeout(Some(Duration::from_millis(2_000)))
        .unwrap();
    let nothing = watcher.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    watcher.set_read_timeout(Some(PATIENCE)).unwrap();
    let since = Instant::now();
    drop(back);
    let mut will = [0; 12];
    watcher.read_exact(&mut will).unwrap();
    let took = since.elapsed();
    assert_eq!(&will, b"\x30\x0a\x00\x04willgone");
    assert!(
        took >= Duration::from_millis(2_000) && took < Duration::from_millis(3_000),
        "{took:?}"
    );
}
