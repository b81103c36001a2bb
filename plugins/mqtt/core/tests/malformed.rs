//! What is malformed and what is a protocol error, in tables: every packet cut at every byte, every property in
//! every packet, every flag, every string. The answer is the standard's: CONNACK or DISCONNECT with the exact
//! reason code in 5.0, a closed connection in 3.x (4.13, 3.1.1 4.8).

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Authorizer, Broker, Limits, LoginRefusal, Settings, Time};

const MALFORMED: End = End::Told(0x81);
const PROTOCOL: End = End::Told(0x82);

/// How the broker takes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection goes on.
    Open,
    /// It is closed without a word.
    Silent,
    /// It is closed after this reason code, in CONNACK or DISCONNECT.
    Told(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    fn connect(self) -> &'static [u8] {
        match self {
            Version::V31 => b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c",
            Version::V311 => b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c",
            Version::V5 => b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c",
        }
    }

    /// What a client of this version is told of an error with this code.
    fn end(self, told: End) -> End {
        match (self, told) {
            (Version::V5, told) | (_, told @ End::Open) => told,
            _ => End::Silent,
        }
    }
}

/// Sends `bytes`, after a CONNECT of this version if there is one.
fn send(connected: Option<Version>, bytes: &[u8]) -> End {
    let mut broker = Broker::new(Settings::default(), || 7, Time(0));
    let id = broker.open(Arc::new(Meter::default()), Limits::default(), Time(0));
    let mut closed = false;
    let mut give = |bytes: &[u8]| {
        let mut answer = Vec::new();
        let received = broker.receive(id, bytes, None, Time(1));
        if let Some(login) = received.login {
            let answer: Result<Arc<dyn Authorizer>, _> = match login.authentication {
                Some(_) => Err(LoginRefusal::BadAuthenticationMethod),
                None => Ok(Arc::new(AllowAll)),
            };
            broker.login_answer(id, answer, Time(1));
        }
        while let Some(touched) = broker.next_touched() {
            if let Some(output) = broker.output(touched) {
                closed |= output.closes();
                answer.extend(output.pieces().into_iter().flatten());
            }
        }
        broker.journal().clear();
        (answer, closed)
    };
    if let Some(version) = connected {
        let (answer, closed) = give(version.connect());
        assert!(
            answer[0] == 0x20 && answer[3] == 0 && !closed,
            "{answer:02x?}"
        );
    }
    match give(bytes) {
        (_, false) => End::Open,
        (answer, true) => match answer[..] {
            [] => End::Silent,
            [0x20, 2, 0, code] | [0x20, 3, 0, code, 0] | [0xe0, 1, code] => End::Told(code),
            // What was right before what was wrong is answered.
            [.., 0xe0, 1, code] => End::Told(code),
            _ => panic!("{bytes:02x?} is answered {answer:02x?}"),
        },
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

/// A body with a property list in it.
fn with(before: &[u8], properties: &[u8], after: &[u8]) -> Vec<u8> {
    [before, &[properties.len() as u8], properties, after].concat()
}

/// Every packet of a client, with every optional field: first byte, body, and the lengths at which it may end as
/// well.
fn packets(version: Version) -> Vec<(&'static str, u8, Vec<u8>, Vec<usize>)> {
    let five = version == Version::V5;
    let list = |properties: &[u8]| {
        if five {
            [&[properties.len() as u8], properties].concat()
        } else {
            Vec::new()
        }
    };
    let user = b"\x26\x00\x01k\x00\x01v";
    let publish = [
        b"\x00\x01t\x00\x05",
        &list(b"\x01\x01\x02\x00\x00\x00\x09\x09\x00\x01d")[..],
    ]
    .concat();
    let payload = publish.len()..publish.len() + 3;
    let subscribe = [
        b"\x00\x05",
        &list(b"\x0b\x07")[..],
        b"\x00\x01a\x01\x00\x01b\x00",
    ]
    .concat();
    let unsubscribe = [b"\x00\x05", &list(user)[..], b"\x00\x01a\x00\x01b"].concat();
    let mut all = vec![
        (
            "PUBLISH",
            0x32,
            [&publish[..], b"xyz"].concat(),
            payload.collect(),
        ),
        (
            "SUBSCRIBE",
            0x82,
            subscribe.clone(),
            vec![subscribe.len() - 4],
        ),
        (
            "UNSUBSCRIBE",
            0xa2,
            unsubscribe.clone(),
            vec![unsubscribe.len() - 3],
        ),
    ];
    for (name, first) in [
        ("PUBACK", 0x40),
        ("PUBREC", 0x50),
        ("PUBREL", 0x62),
        ("PUBCOMP", 0x70),
    ] {
        all.push(if five {
            (name, first, with(b"\x00\x05\x00", user, b""), vec![2, 3])
        } else {
            (name, first, b"\x00\x05".to_vec(), vec![])
        });
    }
    if five {
        let body = with(b"\x04", b"\x1f\x00\x01r", b"");
        all.push(("DISCONNECT", 0xe0, body, vec![]));
    }
    all
}

#[test]
fn a_packet_cut_at_any_byte_is_malformed() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for (name, first, body, whole) in packets(version) {
            for length in 0..body.len() {
                let expected = match name {
                    // What ends in order ends the connection without a word, in order.
                    "DISCONNECT" if length < 2 => End::Silent,
                    _ if whole.contains(&length) => End::Open,
                    // 3.8.3, 3.10.3: the packet is whole, and lacks a topic filter.
                    "SUBSCRIBE" | "UNSUBSCRIBE" if is_without_filter(version, &body, length) => {
                        version.end(PROTOCOL)
                    }
                    _ => version.end(MALFORMED),
                };
                let got = send(Some(version), &packet(first, &body[..length]));
                assert_eq!(got, expected, "{version:?} {name} of {length} bytes");
            }
            let whole = send(Some(version), &packet(first, &body));
            let expected = if name == "DISCONNECT" {
                End::Silent
            } else {
                End::Open
            };
            assert_eq!(whole, expected, "{version:?} {name}");
            if name != "PUBLISH" {
                let longer = [&body[..], b"\x00"].concat();
                assert_eq!(
                    send(Some(version), &packet(first, &longer)),
                    version.end(MALFORMED),
                    "{version:?} {name} with a byte too many"
                );
            }
        }
    }
}

fn is_without_filter(version: Version, body: &[u8], length: usize) -> bool {
    match version {
        Version::V5 => length == 3 + usize::from(body[2]),
        _ => length == 2,
    }
}

#[test]
fn a_connect_cut_at_any_byte_is_malformed_and_answered_once_its_version_is_known() {
    let properties = b"\x11\x00\x00\x00\x09\x21\x00\x05";
    let will = with(b"", b"\x18\x00\x00\x00\x09", b"\x00\x01w\x00\x01x");
    let body = [
        with(b"\x00\x04MQTT\x05\xee\x00\x3c", properties, b"\x00\x01c"),
        will,
        b"\x00\x01u\x00\x01p".to_vec(),
    ]
    .concat();
    for length in 0..body.len() {
        // Up to its level nobody can tell in which version to answer.
        let expected = if length < 7 { End::Silent } else { MALFORMED };
        assert_eq!(
            send(None, &packet(0x10, &body[..length])),
            expected,
            "{length} bytes"
        );
    }
    assert_eq!(send(None, &packet(0x10, &body)), End::Open);
    let old = b"\x00\x04MQTT\x04\xc6\x00\x3c\x00\x01c\x00\x01w\x00\x01x\x00\x01u\x00\x01p";
    for length in 0..old.len() {
        assert_eq!(
            send(None, &packet(0x10, &old[..length])),
            End::Silent,
            "{length} bytes"
        );
    }
    assert_eq!(send(None, &packet(0x10, old)), End::Open);
}

type Sample = (u8, &'static [u8], Option<&'static [u8]>);

/// Every property (table 2-4), once valid and once with a value out of its range, if there is such a value.
const PROPERTIES: [Sample; 27] = [
    (0x01, b"\x01", Some(b"\x02")),
    (0x02, b"\x00\x00\x00\x09", None),
    (0x03, b"\x00\x01t", None),
    (0x08, b"\x00\x01t", Some(b"\x00\x01#")),
    (0x09, b"\x00\x01d", None),
    (0x0b, b"\x07", Some(b"\x00")),
    (0x11, b"\x00\x00\x00\x09", None),
    (0x12, b"\x00\x01c", None),
    (0x13, b"\x00\x09", None),
    (0x15, b"\x00\x01m", None),
    (0x16, b"\x00\x01d", None),
    (0x17, b"\x01", Some(b"\x02")),
    (0x18, b"\x00\x00\x00\x09", None),
    (0x19, b"\x01", Some(b"\x02")),
    (0x1a, b"\x00\x01i", None),
    (0x1c, b"\x00\x01s", None),
    (0x1f, b"\x00\x01r", None),
    (0x21, b"\x00\x09", Some(b"\x00\x00")),
    (0x22, b"\x00\x09", None),
    (0x23, b"\x00\x09", None),
    (0x24, b"\x01", Some(b"\x02")),
    (0x25, b"\x01", Some(b"\x02")),
    (0x26, b"\x00\x01k\x00\x01v", None),
    (0x27, b"\x00\x00\x00\x80", Some(b"\x00\x00\x00\x00")),
    (0x28, b"\x01", Some(b"\x02")),
    (0x29, b"\x01", Some(b"\x02")),
    (0x2a, b"\x01", Some(b"\x02")),
];

/// Where properties stand: the packet's name, first byte, what is before them and after them, which are allowed.
type Place = (
    &'static str,
    u8,
    &'static [u8],
    &'static [u8],
    &'static [u8],
);

const PLACES: [Place; 11] = [
    (
        "CONNECT",
        0x10,
        b"\x00\x04MQTT\x05\x02\x00\x3c",
        b"\x00\x01d",
        &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
    ),
    (
        "will of CONNECT",
        0x10,
        b"\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01d",
        b"\x00\x01w\x00\x01x",
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
    ),
    // A subscription identifier is the server's (MQTT-3.3.4-6).
    (
        "PUBLISH",
        0x30,
        b"\x00\x01t",
        b"x",
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26],
    ),
    ("PUBACK", 0x40, b"\x00\x05\x00", b"", &[0x1f, 0x26]),
    ("PUBREC", 0x50, b"\x00\x05\x00", b"", &[0x1f, 0x26]),
    ("PUBREL", 0x62, b"\x00\x05\x00", b"", &[0x1f, 0x26]),
    ("PUBCOMP", 0x70, b"\x00\x05\x00", b"", &[0x1f, 0x26]),
    (
        "SUBSCRIBE",
        0x82,
        b"\x00\x05",
        b"\x00\x01f\x00",
        &[0x0b, 0x26],
    ),
    ("UNSUBSCRIBE", 0xa2, b"\x00\x05", b"\x00\x01f", &[0x26]),
    // A server reference is the server's (3.14.2.2.5).
    ("DISCONNECT", 0xe0, b"\x00", b"", &[0x11, 0x1f, 0x26]),
    ("AUTH", 0xf0, b"\x19", b"", &[0x15, 0x16, 0x1f, 0x26]),
];

/// What a packet with good properties comes to.
fn good(name: &str, identifier: u8) -> End {
    match (name, identifier) {
        ("DISCONNECT", 0x11) => PROTOCOL, // raised from zero (3.14.2.2.2)
        ("DISCONNECT", _) => End::Silent,
        ("CONNECT", 0x15) => End::Told(0x8c), // no such method (4.12)
        ("CONNECT", 0x16) | ("AUTH", _) => PROTOCOL, // without a method (3.1.2.11.10, 4.12)
        _ => End::Open,
    }
}

#[test]
fn every_property_is_taken_in_its_packets_once_and_within_its_range() {
    for (name, first, before, after, allowed) in PLACES {
        let connected = (first != 0x10).then_some(Version::V5);
        let sent =
            |properties: &[u8]| send(connected, &packet(first, &with(before, properties, after)));
        for (identifier, value, out_of_range) in PROPERTIES {
            let one = [&[identifier], value].concat();
            let is_allowed = allowed.contains(&identifier);
            let expected = if is_allowed {
                good(name, identifier)
            } else {
                PROTOCOL
            };
            assert_eq!(sent(&one), expected, "{name} with {identifier:#04x}");
            let twice = if is_allowed && identifier == 0x26 {
                good(name, identifier)
            } else {
                PROTOCOL
            };
            assert_eq!(
                sent(&one.repeat(2)),
                twice,
                "{name} with {identifier:#04x} twice"
            );
            if let Some(value) = out_of_range {
                let wrong = [&[identifier], value].concat();
                assert_eq!(
                    sent(&wrong),
                    PROTOCOL,
                    "{name} with {identifier:#04x} out of its range"
                );
            }
            for cut in 1..one.len() {
                let got = sent(&one[..cut]);
                assert_eq!(
                    got, MALFORMED,
                    "{name} with {cut} bytes of {identifier:#04x}"
                );
            }
        }
        let known = PROPERTIES.map(|(identifier, ..)| identifier);
        for identifier in (0..=0x7f).filter(|identifier| !known.contains(identifier)) {
            assert_eq!(
                sent(&[identifier, 1]),
                MALFORMED,
                "{name} with {identifier:#04x}"
            );
        }
        for identifier in [
            &b"\x80\x01"[..],
            b"\x81\x00",
            b"\xff\xff\xff\x7f",
            b"\x80\x80\x80\x80\x01",
        ] {
            let got = sent(&[identifier, b"\x01"].concat());
            assert_eq!(got, MALFORMED, "{name} with {identifier:02x?}");
        }
        // A property length that is longer than the packet, or not in its shortest form (MQTT-1.5.5-1).
        for length in [&b"\x7f"[..], b"\x80\x00", b"\xff\xff\xff\xff\x01"] {
            let got = send(connected, &packet(first, &[before, length, after].concat()));
            assert_eq!(got, MALFORMED, "{name} with property length {length:02x?}");
        }
    }
}

#[test]
fn flags_other_than_the_standards_are_malformed() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for kind in 0..=15u8 {
            for flags in 0..=15u8 {
                let required = match kind {
                    3 => continue,
                    6 | 8 | 10 => 2,
                    _ => 0,
                };
                if kind > 0 && flags == required {
                    continue;
                }
                let got = send(Some(version), &packet(kind << 4 | flags, b""));
                assert_eq!(
                    got,
                    version.end(MALFORMED),
                    "{version:?} {kind} {flags:#06b}"
                );
            }
        }
        // QoS 3, and DUP with QoS 0 (MQTT-3.3.1-2, -4).
        for flags in [6, 7, 8, 9, 14, 15] {
            let body: &[u8] = if version == Version::V5 {
                b"\x00\x01t\x00"
            } else {
                b"\x00\x01t"
            };
            let got = send(Some(version), &packet(0x30 | flags, body));
            assert_eq!(
                got,
                version.end(MALFORMED),
                "{version:?} PUBLISH {flags:#06b}"
            );
        }
    }
}

#[test]
fn packets_that_only_a_server_sends_are_protocol_errors() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for (first, body) in [
            (0x20, &b"\x00\x00"[..]),
            (0x20, b"\x00\x00\x00"),
            (0x90, b"\x00\x01\x00"),
            (0xb0, b"\x00\x01"),
            (0xd0, b""),
        ] {
            let got = send(Some(version), &packet(first, body));
            assert_eq!(got, version.end(PROTOCOL), "{version:?} {first:02x}");
        }
    }
    // AUTH is no packet of 3.x, and in 5.0 it needs a method that CONNECT named (MQTT-4.12.0-7).
    assert_eq!(send(Some(Version::V311), &packet(0xf0, b"")), End::Silent);
    assert_eq!(send(Some(Version::V5), &packet(0xf0, b"")), PROTOCOL);
}

#[test]
fn a_first_packet_that_is_not_connect_is_closed_without_a_word() {
    for kind in (0..=15u8).filter(|kind| *kind != 1) {
        for flags in [0, 2] {
            let got = send(None, &packet(kind << 4 | flags, b"\x00\x01t\x00"));
            assert_eq!(got, End::Silent, "{kind} {flags}");
        }
    }
}

#[test]
fn remaining_lengths_are_one_to_four_bytes_in_their_shortest_form() {
    for bytes in [
        &b"\xc0\x80\x00"[..],
        b"\xc0\x80\x80\x00",
        b"\xc0\x80\x80\x80\x00",
        b"\xc0\x80\x80\x80\x80",
        b"\xc0\xff\xff\xff\xff\x01",
        b"\x30\x83\x00\x00\x01t",
    ] {
        assert_eq!(send(Some(Version::V5), bytes), MALFORMED, "{bytes:02x?}");
        assert_eq!(
            send(Some(Version::V311), bytes),
            End::Silent,
            "{bytes:02x?}"
        );
    }
    for payload in [123usize, 124, 16_378, 16_379, 1_999_990] {
        let mut bytes = vec![0x30];
        let mut remaining = payload + 3;
        while remaining > 0x7f {
            bytes.push(remaining as u8 | 0x80);
            remaining >>= 7;
        }
        bytes.push(remaining as u8);
        bytes.extend_from_slice(b"\x00\x01t");
        bytes.resize(bytes.len() + payload, b'x');
        assert_eq!(send(Some(Version::V311), &bytes), End::Open, "{payload}");
    }
}

/// Strings that no packet may have, with what is wrong with each.
const BAD_STRINGS: [(&str, &[u8]); 12] = [
    ("U+0000", b"a\0b"),
    ("a surrogate", b"a\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbf"),
    ("an overlong slash", b"\xc0\xaf"),
    ("an overlong U+0000", b"\xc0\x80"),
    ("a code point beyond U+10FFFF", b"\xf4\x90\x80\x80"),
    ("a lone continuation byte", b"a\x80"),
    ("a sequence cut short", b"a\xe2\x82"),
    ("a byte of no encoding", b"\xff"),
    ("U+0001", b"\x01"),
    ("U+009F", b"\xc2\x9f"),
    ("U+FFFF", b"\xef\xbf\xbf"),
];

/// Strings that are unusual and legal: U+FEFF at any place (MQTT-1.5.4-3), a character beyond the first plane,
/// spaces.
const GOOD_STRINGS: [&str; 5] = ["\u{feff}", "a\u{feff}b", "A\u{2a6d4}", " ", "a b"];

#[test]
fn strings_are_utf8_wherever_they_stand() {
    let string = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let sent = |place: &str, bytes: &[u8]| {
        let text = string(bytes);
        let connect = |flags: u8, properties: &[u8], rest: &[u8]| {
            let before = [b"\x00\x04MQTT\x05", &[flags][..], b"\x00\x3c"].concat();
            send(None, &packet(0x10, &with(&before, properties, rest)))
        };
        let after = |first: u8, body: &[u8]| send(Some(Version::V5), &packet(first, body));
        let property = |identifier: u8| [&[identifier], &text[..]].concat();
        match place {
            "client identifier" => connect(2, b"", &text),
            "will topic" => connect(6, b"", &[b"\x00\x01c\x00", &text[..], b"\x00\x00"].concat()),
            "will content type" => {
                let will = with(b"\x00\x01c", &property(0x03), b"\x00\x01w\x00\x00");
                connect(6, b"", &will)
            }
            "user name" => connect(0x82, b"", &[b"\x00\x01c", &text[..]].concat()),
            "user property of CONNECT" => {
                let pair = [&property(0x26)[..], b"\x00\x01v"].concat();
                connect(2, &pair, b"\x00\x01c")
            }
            "topic name" => after(0x30, &[&text[..], b"\x00"].concat()),
            "name of a user property" => {
                let pair = [&property(0x26)[..], b"\x00\x01v"].concat();
                after(0x30, &with(b"\x00\x01t", &pair, b""))
            }
            "value of a user property" => {
                let pair = [b"\x26\x00\x01k", &text[..]].concat();
                after(0x30, &with(b"\x00\x01t", &pair, b""))
            }
            "response topic" => after(0x30, &with(b"\x00\x01t", &property(0x08), b"")),
            "content type" => after(0x30, &with(b"\x00\x01t", &property(0x03), b"")),
            "reason string" => after(0x40, &with(b"\x00\x01\x00", &property(0x1f), b"")),
            "topic filter" => after(0x82, &[b"\x00\x01\x00", &text[..], b"\x00"].concat()),
            _ => after(0xa2, &[b"\x00\x01\x00", &text[..]].concat()),
        }
    };
    for place in [
        "client identifier",
        "will topic",
        "will content type",
        "user name",
        "user property of CONNECT",
        "topic name",
        "name of a user property",
        "value of a user property",
        "response topic",
        "content type",
        "reason string",
        "topic filter",
        "topic filter of UNSUBSCRIBE",
    ] {
        for (what, bytes) in BAD_STRINGS {
            assert_eq!(sent(place, bytes), MALFORMED, "{place} with {what}");
        }
        for text in GOOD_STRINGS {
            assert_eq!(sent(place, text.as_bytes()), End::Open, "{place} {text:?}");
        }
    }
}

#[test]
fn topic_names_and_filters_are_held_to_their_grammar() {
    let name = |version: Version, topic: &[u8]| {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(topic);
        if version == Version::V5 {
            body.push(0);
        }
        send(Some(version), &packet(0x30, &body))
    };
    let filter = |version: Version, filter: &[u8]| {
        let mut body = b"\x00\x01".to_vec();
        if version == Version::V5 {
            body.push(0);
        }
        body.extend((filter.len() as u16).to_be_bytes());
        body.extend_from_slice(filter);
        let unsubscribed = send(Some(version), &packet(0xa2, &body));
        body.push(0);
        let subscribed = send(Some(version), &packet(0x82, &body));
        assert_eq!(subscribed, unsubscribed, "{version:?} {filter:02x?}");
        subscribed
    };
    for version in [Version::V31, Version::V311, Version::V5] {
        for topic in [&b"#"[..], b"+", b"a/#", b"a/+/b", b"a+", b"#a"] {
            assert_eq!(name(version, topic), version.end(MALFORMED), "{topic:02x?}");
        }
        for topic in [&b"/"[..], b"//", b" ", b"$", b"$x/y", b"a//b"] {
            assert_eq!(name(version, topic), End::Open, "{topic:02x?}");
            assert_eq!(filter(version, topic), End::Open, "{topic:02x?}");
        }
        for bad in [
            &b""[..],
            b"a#",
            b"a/#/b",
            b"#/",
            b"##",
            b"a+",
            b"+a",
            b"a/b+/c",
            b"++",
            b"$share",
            b"$share/",
            b"$share/g",
            b"$share/g/",
            b"$share//a",
            b"$share/+/a",
            b"$share/#/a",
            b"$share/g+/a",
        ] {
            assert_eq!(filter(version, bad), version.end(MALFORMED), "{bad:02x?}");
        }
        for good in [
            &b"#"[..],
            b"+",
            b"/#",
            b"+/#",
            b"+/+",
            b"/+/",
            b"$SYS/#",
            b"$share/g/#",
            b"$share/g//",
        ] {
            assert_eq!(filter(version, good), End::Open, "{good:02x?}");
        }
    }
    // No alias stands for it (3.3.2.1).
    assert_eq!(name(Version::V5, b""), PROTOCOL);
    assert_eq!(name(Version::V311, b""), End::Silent);
}

#[test]
fn reason_codes_of_a_client_are_those_of_its_packet() {
    for code in 0..=255u8 {
        let ack = matches!(
            code,
            0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
        );
        let release = matches!(code, 0x00 | 0x92);
        let leave = matches!(code, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99);
        for (first, good, end) in [
            (0x40, ack, End::Open),
            (0x50, ack, End::Open),
            (0x62, release, End::Open),
            (0x70, release, End::Open),
        ] {
            let got = send(Some(Version::V5), &packet(first, &[0, 9, code]));
            assert_eq!(
                got,
                if good { end } else { PROTOCOL },
                "{first:02x} with {code:02x}"
            );
        }
        let got = send(Some(Version::V5), &packet(0xe0, &[code]));
        assert_eq!(
            got,
            if leave { End::Silent } else { PROTOCOL },
            "DISCONNECT with {code:02x}"
        );
    }
}
