//! Failures of other brokers that were published, each tried here: none of them is this broker's.
//!
//! Every test names the CVE, advisory or issue that it stands for. All run against the real host over real sockets.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use polyport_testkit::Host;
use wire::{
    ANONYMOUS, SUBPROTOCOL, Wire, connect, connect5, packet, publish, subscribe, text, upgrade,
    variable,
};

/// What a flood may cost beyond what the host had before it.
const LITTLE: u64 = 16 << 20;

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ANONYMOUS).start()
}

/// Bytes of peak memory that `work` added.
fn grown(host: &Host, work: impl FnOnce()) -> u64 {
    let before = host.peak_memory();
    work();
    host.peak_memory() - before
}

/// Mosquitto before 2.0.16, CVE-2023-0809: memory was taken as the length of a first packet asked that was no CONNECT.
/// Mosquitto 1.4.14, CVE-2017-7651: the same with the length of a CONNECT. hmq, issue 177: with that of a SUBSCRIBE.
#[test]
fn a_huge_first_packet_takes_no_memory() {
    let host = host();
    let grown = grown(&host, || {
        for first in [0x30, 0x82, 0x10] {
            for _ in 0..60 {
                let mut wire = Wire::open(&host);
                wire.send(&[first, 0xff, 0xff, 0xff, 0x7f]);
                // The broker may have closed already; what it took counts.
                let _ = wire.stream.write_all(&[0; 1 << 20]);
                assert_eq!(wire.end(), b"", "{first:02x} is closed unanswered");
            }
        }
    });
    assert!(grown < LITTLE, "{} KiB", grown / 1024);
    Wire::connected(&host, "after").ping();
}

/// Mosquitto before 2.0.16, CVE-2023-28366: memory leaked when a client sent QoS 2 messages with identifiers in use and
/// never went on with PUBREL.
#[test]
fn a_qos_2_identifier_in_use_is_not_stored_again() {
    let host = host();
    let mut subscriber = Wire::connected(&host, "s");
    subscriber.exchange(&subscribe("t", 2), 0x90, &[0, 1, 2]);
    let mut publisher = Wire::connected(&host, "p");
    let payload = [b'x'; 4096];
    publisher.exchange(&publish(0x04, "t", 7, &payload), 0x50, &[0, 7]);
    let grown = grown(&host, || {
        let again = publish(0x0c, "t", 7, &payload);
        for _ in 0..200 {
            publisher.send(&again.repeat(100));
            for _ in 0..100 {
                assert_eq!(publisher.receive(), (0x50, vec![0, 7]));
            }
        }
    });
    assert!(
        grown < LITTLE,
        "80 MB of repetitions took {} KiB",
        grown / 1024
    );
    publisher.exchange(b"\x62\x02\x00\x07", 0x70, &[0, 7]);
    // Delivered once.
    let (first, body) = subscriber.receive();
    assert_eq!((first, body.len()), (0x34, 3 + 2 + 4096));
    subscriber.ping();
}

/// Mosquitto before 2.0.16, CVE-2023-3592: memory leaked with each CONNECT of 5.0 whose will has properties that a will
/// cannot have. Mosquitto 1.6 to 2.0.10, CVE-2021-34431: with others that are refused.
#[test]
fn a_will_with_properties_of_other_packets_is_refused_and_forgotten() {
    let host = host();
    let will = |properties: &[u8], payload: &[u8]| {
        let mut body = b"\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x01w".to_vec();
        body.extend(variable(properties.len()));
        body.extend_from_slice(properties);
        body.extend(text("will"));
        body.extend((payload.len() as u16).to_be_bytes());
        body.extend_from_slice(payload);
        packet(0x10, &body)
    };
    let refused: [(&[u8], u8); 6] = [
        (b"\x21\x00\x05", 0x82),
        (b"\x13\x00\x05", 0x82),
        (b"\x23\x00\x01", 0x82),
        (b"\x11\x00\x00\x00\x05", 0x82),
        (b"\x18\x00\x00\x00\x01\x18\x00\x00\x00\x01", 0x82),
        (b"\x7f\x00", 0x81),
    ];
    let payload = vec![b'x'; 60_000];
    let grown = grown(&host, || {
        for _ in 0..100 {
            for (properties, code) in refused {
                let mut wire = Wire::open(&host);
                wire.send(&will(properties, &payload));
                let (first, body) = wire.receive();
                assert_eq!((first, body[1]), (0x20, code), "{properties:02x?}");
                assert_eq!(wire.end(), b"");
            }
        }
    });
    assert!(grown < LITTLE, "36 MB of wills took {} KiB", grown / 1024);
    // A good one is taken.
    let mut wire = Wire::open(&host);
    wire.send(&will(b"\x18\x00\x00\x00\x01", b"x"));
    assert_eq!(wire.receive().1[1], 0);
}

/// Mosquitto 1.5.0 to 1.6.5, CVE-2019-11779: a SUBSCRIBE to 65,400 levels overflowed the stack.
#[test]
fn a_topic_of_65_535_levels_overflows_no_stack() {
    let deep = "/".repeat(65_535);
    let limited = host();
    let mut wire = Wire::connected(&limited, "a");
    wire.exchange(&subscribe(&deep, 1), 0x90, &[0, 1, 0x80]);
    // 3.1.1 has no word for it.
    wire.exchange(&publish(2, &deep, 1, b"x"), 0x40, &[0, 1]);
    wire.ping();

    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "max_topic_levels = 65536\nmax_wildcards = 65536")
        .accounts(ANONYMOUS)
        .start();
    let mut wire = Wire::connected(&host, "a");
    wire.exchange(&subscribe(&deep, 1), 0x90, &[0, 1, 1]);
    let plus = format!("{}+", "+/".repeat(30_000));
    wire.exchange(&subscribe(&plus, 1), 0x90, &[0, 1, 1]);
    wire.send(&publish(0x01, &deep, 0, b"x"));
    let (first, body) = wire.receive();
    assert_eq!((first, body.len()), (0x30, 2 + 65_535 + 1));
    wire.exchange(
        &packet(0xa2, &[&[0, 2], &text(&deep)[..]].concat()),
        0xb0,
        &[0, 2],
    );
    wire.exchange(&subscribe("#", 0), 0x90, &[0, 1, 0]);
    assert_eq!(wire.receive().0, 0x31, "the retained one");
    wire.ping();
}

/// Mosquitto up to 2.0.7, CVE-2021-34432: a PUBLISH whose topic has no length ended the server.
#[test]
fn a_topic_of_no_length_is_an_error_of_its_sender() {
    let host = host();
    for flags in [0, 2, 4, 1] {
        let mut wire = Wire::connected(&host, "a");
        wire.send(&publish(flags, "", 1, b"x"));
        assert_eq!(wire.end(), b"", "3.1.1, {flags}");
        let mut wire = Wire::connected5(&host, "a", b"");
        let identifier: &[u8] = if flags & 6 == 0 { b"" } else { b"\x00\x01" };
        wire.send(&packet(
            0x30 | flags,
            &[b"\x00\x00", identifier, b"\x00x"].concat(),
        ));
        assert_eq!(wire.end()[..3], [0xe0, 1, 0x82], "5.0, {flags}");
    }
    // An alias that stands for nothing, and an empty filter.
    let mut wire = Wire::connected5(&host, "a", b"");
    wire.send(&packet(0x30, b"\x00\x00\x03\x23\x00\x01x"));
    assert_eq!(wire.end()[..3], [0xe0, 1, 0x82]);
    for client in [connect("a"), connect5("a", b"")] {
        let mut wire = Wire::open(&host);
        wire.send(&client);
        let five = client[8] == 5;
        wire.receive();
        let properties: &[u8] = if five { b"\x00" } else { b"" };
        wire.send(&packet(
            0x82,
            &[b"\x00\x01", properties, b"\x00\x00\x01"].concat(),
        ));
        let _ = wire.end();
    }
    Wire::connected(&host, "b").ping();
}

/// SlowITe, CVE-2020-13849: connections that are held open without a CONNECT, or with half of one, kept others out.
#[test]
fn connections_without_a_connect_make_room_for_clients() {
    let host = Host::builder()
        .service("mqtt")
        .keys(
            "mqtt",
            "limits.max_connections = 60\nlimits.login_timeout = \"1s\"",
        )
        .accounts(ANONYMOUS)
        .start();
    let since = Instant::now();
    let mut held = Vec::new();
    for number in 0..60 {
        let mut wire = Wire::open(&host);
        if number % 2 == 0 {
            let half = connect("half");
            wire.send(&half[..9]);
        }
        held.push(wire);
    }
    polyport_testkit::eventually("a client gets in", || {
        let mut wire = Wire::open(&host);
        wire.stream.write_all(&connect("client")).ok()?;
        (wire.try_receive().ok()? == (0x20, vec![0, 0])).then_some(())
    });
    assert!(
        since.elapsed() < Duration::from_secs(25),
        "{:?}",
        since.elapsed()
    );
    for wire in held {
        assert_eq!(wire.end(), b"");
    }
}

/// Floods of CONNECT: clients that come without an end cost nothing that stays, and one that sends a second CONNECT is
/// ended by it (3.1.0-2).
#[test]
fn a_flood_of_connects_leaves_nothing() {
    let host = host();
    let round = |number: usize| {
        let mut wires: Vec<Wire> = (0..50).map(|_| Wire::open(&host)).collect();
        for (at, wire) in wires.iter_mut().enumerate() {
            let id = format!("flood-{number}-{at}");
            wire.send(&connect(&id).repeat(200));
        }
        for mut wire in wires {
            assert_eq!(wire.receive(), (0x20, vec![0, 0]));
            assert_eq!(wire.end(), b"");
        }
    };
    round(0);
    let grown = grown(&host, || (1..40).for_each(round));
    assert!(grown < LITTLE, "{} KiB", grown / 1024);
    let mut wire = Wire::connected(&host, "after");
    wire.ping();
    host.wait_status("the flood's sessions are gone", |status| {
        status["services"][0]["metrics"]["sessions"] == 1
    });
}

/// Mosquitto 1.6 to 2.0.11, CVE-2021-41039: a CONNECT of 5.0 with very many user properties took the processor for a
/// long time.
#[test]
fn a_connect_full_of_user_properties_takes_no_time() {
    let host = host();
    // As many as the longest CONNECT has room for.
    let properties = b"\x26\x00\x00\x00\x00".repeat(60_000);
    let since = Instant::now();
    for number in 0..20 {
        let mut wire = Wire::open(&host);
        wire.send(&connect5(&format!("c{number}"), &properties));
        let (first, body) = wire.receive();
        assert_eq!((first, body[1]), (0x20, 0));
    }
    // 1,200,000 properties.
    assert!(
        since.elapsed() < Duration::from_secs(25),
        "{:?}",
        since.elapsed()
    );
}

/// A client that logs in with the password `x`, and the answer to its CONNECT.
fn login(host: &Host, id: &str, user: &str) -> (Wire, (u8, Vec<u8>)) {
    let mut wire = Wire::open(host);
    let body = [
        b"\x00\x04MQTT\x04\xc2\x00\x00",
        &text(id)[..],
        &text(user),
        &text("x"),
    ]
    .concat();
    wire.send(&packet(0x10, &body));
    let answer = wire.receive();
    (wire, answer)
}

/// Mosquitto before 1.4.12, CVE-2017-7650: a client with the identifier or user name `#` or `+` passed rules with a
/// pattern.
#[test]
fn a_wildcard_as_client_identifier_or_user_name_widens_no_rule() {
    let host = Host::builder()
        .service("mqtt")
        .accounts("[own]\npassword = x\nallow.1 = publish,subscribe dev/%c/#\n[\"#\"]\npassword = x\nallow.1 = publish,subscribe user/%u/#\n")
        .prepare();
    // Such a name is no name of an account at all.
    let checked = host.command(&["check"]);
    assert_ne!(checked.code, Some(0), "{}", checked.stdout());
    drop(host);

    let host = Host::builder()
        .service("mqtt")
        .accounts(
            "[own]\npassword = x\nallow.1 = publish,subscribe dev/%c/#\n[other]\npassword = x\n",
        )
        .start();
    let login = |id: &str, user: &str| login(&host, id, user);
    let (mut other, answer) = login("other", "other");
    assert_eq!(answer, (0x20, vec![0, 0]));
    for id in ["#", "+", "+/#", "c/#", "/"] {
        let (mut wire, answer) = login(id, "own");
        assert_eq!(answer, (0x20, vec![0, 0]));
        for filter in ["dev/#", "dev/+/x", "dev/#/#", "dev/victim/#", "#"] {
            wire.send(&subscribe(filter, 0));
            match wire.try_receive() {
                Ok((first, body)) => {
                    assert_eq!((first, &body[2..]), (0x90, &[0x80][..]), "{id} {filter}")
                }
                // A filter that is none ends the connection.
                Err(_) => (wire, _) = login(id, "own"),
            }
        }
        other.send(&publish(0, "dev/victim/x", 0, b"secret"));
        other.ping();
        wire.ping();
    }
    for user in ["#", "+"] {
        let (wire, answer) = login("c", user);
        assert_eq!(answer, (0x20, vec![0, 4]), "{user}");
        assert_eq!(wire.end(), b"");
    }
}

/// Mosquitto before 1.5.5, CVE-2018-12546: a retained message was delivered after its publisher's right to the topic was
/// withdrawn.
#[test]
fn a_retained_message_is_not_delivered_once_its_publisher_may_not_publish_it() {
    let mut host = Host::builder()
        .service("mqtt")
        .accounts("[p]\npassword = x\nallow.1 = publish a/#\n[s]\npassword = x\n")
        .start();
    let (mut wire, _) = login(&host, "p", "p");
    wire.exchange(&publish(0x03, "a/x", 7, b"m"), 0x40, &[0, 7]);
    wire.leave();
    let delivered = |host: &Host| {
        let (mut wire, answer) = login(host, "s", "s");
        assert_eq!(answer, (0x20, vec![0, 0]));
        wire.exchange(&subscribe("a/#", 0), 0x90, &[0, 1, 0]);
        wire.send(b"\xc0\x00");
        match wire.receive() {
            (0x31, body) => {
                assert_eq!(body, b"\x00\x03a/xm");
                assert_eq!(wire.receive(), (0xd0, vec![]));
                true
            }
            answer => {
                assert_eq!(answer, (0xd0, vec![]));
                false
            }
        }
    };
    let change = |host: &Host, from: &str, to: &str| {
        host.edit_accounts(|text| text.replace(from, to));
        host.command(&["reload", "--wait"]).expect_success();
    };
    assert!(delivered(&host));
    change(&host, "publish a/#", "publish b/#");
    assert!(!delivered(&host), "the right is withdrawn");
    host.restart();
    assert!(!delivered(&host), "and stays so");
    let shown = host.command(&["mqtt", "retained", "a/#", "--json"]);
    let shown = shown.expect_success().stdout();
    assert!(shown.contains("\"publisher\":\"p\""), "{shown}");
    change(&host, "publish b/#", "publish a/#");
    assert!(delivered(&host), "the right came back");
    change(&host, "[p]", "[q]");
    assert!(!delivered(&host), "the account is gone");
}

/// Mosquitto up to 1.4.12, CVE-2017-9868: the file with all messages could be read by every user of the machine.
#[test]
fn the_store_is_nobody_elses_to_read_whatever_the_umask() {
    let mut host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "store_compact_bytes = 65536")
        .accounts(ANONYMOUS)
        .under(&["sh", "-c", "umask 0; exec \"$0\" \"$@\""])
        .start();
    let check = |host: &Host, when: &str| {
        let store = find(&host.path().join("state"), "store");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store), 0o700, "{when}: {}", store.display());
        let mut files = 0;
        for entry in std::fs::read_dir(&store).unwrap() {
            let path = entry.unwrap().path();
            // A file that was compacted away meanwhile is nobody's.
            if path.exists() {
                assert_eq!(mode(&path), 0o600, "{when}: {}", path.display());
                files += 1;
            }
        }
        assert!(files >= 2, "{when}: {}", store.display());
    };
    check(&host, "at the start");
    let mut wire = Wire::connected(&host, "p");
    for number in 0..200u16 {
        let topic = format!("t/{}", number % 10);
        wire.exchange(
            &publish(0x03, &topic, number + 1, &[b'x'; 1000]),
            0x40,
            &(number + 1).to_be_bytes(),
        );
    }
    check(&host, "after a compaction");
    host.kill9();
    host.start();
    check(&host, "after a kill");
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    let here = folders.iter().find(|path| path.ends_with(name)).cloned();
    here.unwrap_or_else(|| find(folders.first().unwrap_or_else(|| panic!("no {name}")), name))
}

/// mqtt-packet, CVE-2016-10523, and NanoMQ, issue 2270: a PUBLISH that ends after its topic, without the packet
/// identifier, was read beyond its end. mqtt-packet, CVE-2019-5432, and NanoMQ, issue 2268: a SUBSCRIBE that ends
/// before its options. NanoMQ, issue 203: a CONNECT longer than it says.
#[test]
fn truncated_packets_are_malformed_and_end_their_sender_only() {
    let host = host();
    let mut witness = Wire::connected(&host, "witness");
    // Remaining lengths of 1024, where the buffer of one broker ended exactly.
    let topic = "t".repeat(1022);
    let cut_publish = text(&topic);
    let cut_subscribe = [&[0, 1], &text(&topic[..1020])[..]].concat();
    let cut_unsubscribe = [
        &[0, 1][..],
        &1021u16.to_be_bytes(),
        &topic.as_bytes()[..1020],
    ]
    .concat();
    assert_eq!(
        (
            cut_publish.len(),
            cut_subscribe.len(),
            cut_unsubscribe.len()
        ),
        (1024, 1024, 1024)
    );
    let cut = [
        packet(0x32, &cut_publish),
        packet(0x34, &cut_publish),
        packet(0x32, &[&cut_publish[..], b"\x00"].concat()),
        packet(0x82, &cut_subscribe),
        packet(0xa2, &cut_unsubscribe),
        packet(0x30, b"\x00"),
        packet(0x30, b"\x00\x05abc"),
        packet(0x82, b"\x00"),
        packet(0x82, b"\x00\x01"),
        packet(0x40, b"\x00"),
    ];
    for packet in &cut {
        let mut wire = Wire::connected(&host, "a");
        wire.send(packet);
        assert_eq!(wire.end(), b"", "3.1.1: {:02x?}", &packet[..4]);
        let mut wire = Wire::connected5(&host, "a", b"");
        wire.send(packet);
        let end = wire.end();
        assert!(
            end.len() >= 3 && end[0] == 0xe0 && matches!(end[2], 0x81 | 0x82),
            "5.0: {end:02x?}"
        );
    }
    // Property lengths beyond the packet.
    for packet in [
        packet(0x30, b"\x00\x01t\x7fx"),
        packet(0x82, b"\x00\x01\x7f\x00\x01t\x00"),
    ] {
        let mut wire = Wire::connected5(&host, "a", b"");
        wire.send(&packet);
        assert_eq!(wire.end()[..3], [0xe0, 1, 0x81]);
    }
    // The rest of a CONNECT that says it is shorter is no packet.
    let mut connect = connect("test-python");
    connect[1] = 7;
    let mut wire = Wire::open(&host);
    wire.send(&connect);
    assert_eq!(wire.end(), b"");
    witness.ping();
}

/// NanoMQ, issue 203, over WebSocket: a frame and the packet in it that disagree about their lengths.
#[test]
fn lengths_of_websocket_frames_and_of_packets_are_not_confused() {
    let host = host();
    let mut witness = Wire::connected(&host, "witness");
    let grown = grown(&host, || {
        // The packet is longer than its frame: the rest comes in the next ones, however long it takes.
        let mut socket = websocket(&host);
        let publish = publish(0x02, "t", 9, &[b'x'; 500]);
        for part in publish.chunks(7) {
            socket.write_all(&frame(part.len() as u64, part)).unwrap();
        }
        let mut answer = [0; 6];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"\x82\x04\x40\x02\x00\x09");
        // The frame is longer than its packet: what follows is the next packet.
        let two = [&publish[..], b"\xc0\x00"].concat();
        socket.write_all(&frame(two.len() as u64, &two)).unwrap();
        let mut answers = Vec::new();
        while !answers.ends_with(b"\xd0\x00") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answers.push(byte[0]);
        }
        // A frame says more than it has, and its sender goes.
        let mut cut = websocket(&host);
        cut.write_all(&frame(100, b"\x30\x62\x00\x01t")).unwrap();
        drop(cut);
        // Frames of impossible lengths end their connection.
        for length in [u64::MAX, 1 << 63, 1 << 40, 5_000_000] {
            let mut huge = websocket(&host);
            huge.write_all(&frame(length, b"\x30\x7f\x00\x01t"))
                .unwrap();
            let mut rest = Vec::new();
            let _ = huge.read_to_end(&mut rest);
            assert!(
                !rest.windows(2).any(|window| window == b"\xd0\x00"),
                "{length}"
            );
        }
        // A frame without a mask, and a length of 16 bits that would have fitted into 7.
        let mut bare = websocket(&host);
        bare.write_all(b"\x82\x02\xc0\x00").unwrap();
        let _ = bare.read_to_end(&mut Vec::new());
    });
    assert!(grown < LITTLE, "{} KiB", grown / 1024);
    witness.ping();
}

/// A masked binary frame that says this length.
fn frame(length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match length {
        0..126 => frame.push(0x80 | length as u8),
        126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    // A mask of zeros leaves the payload as it is.
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A WebSocket with a client of 3.1.1 on it.
fn websocket(host: &Host) -> std::net::TcpStream {
    let (mut stream, _) = upgrade(host, "/mqtt", SUBPROTOCOL);
    let connect = connect("w");
    stream
        .write_all(&frame(connect.len() as u64, &connect))
        .unwrap();
    let mut connack = [0; 6];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, *b"\x82\x04\x20\x02\x00\x00");
    stream
}

/// Aedes, GHSA-5jvp-3p2v-5qgf: QoS 2 messages of a client that never sends PUBREL were kept without a bound.
#[test]
fn a_flood_of_qos_2_without_pubrel_is_bounded() {
    let host = host();
    // 5.0 was told the receive maximum: one more is 0x93.
    let mut wire = Wire::connected5(&host, "a", b"");
    for identifier in 1..=21u16 {
        let body = [b"\x00\x01t", &identifier.to_be_bytes()[..], b"\x00x"].concat();
        wire.send(&packet(0x34, &body));
    }
    let end = wire.end();
    assert!(end.ends_with(&[0xe0, 1, 0x93]), "{end:02x?}");
    // 3.1.1 has no such word: all 65,535 identifiers may be in use, and their messages are handed on, not kept.
    let mut wire = Wire::connected(&host, "b");
    let grown = grown(&host, || {
        let payload = [b'x'; 2048];
        for round in 0..65u16 {
            let identifiers = (0..1000).map(|at| round * 1000 + at + 1);
            let flood: Vec<u8> = identifiers
                .clone()
                .flat_map(|id| publish(0x04, "t", id, &payload))
                .collect();
            wire.send(&flood);
            for id in identifiers {
                assert_eq!(wire.receive(), (0x50, id.to_be_bytes().to_vec()));
            }
        }
    });
    assert!(
        grown < LITTLE,
        "133 MB in 65,000 identifiers took {} KiB",
        grown / 1024
    );
    wire.ping();
}
