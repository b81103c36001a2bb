//! The codec against mqtt-protocol-core: every packet of a client that the transcripts send, whole, cut and damaged,
//! is taken by both or refused by both and says the same, but for what [`KNOWN`] lists; and what a server writes here
//! is read there.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mqtt_protocol_core::mqtt::result_code::MqttError;
use polyport_mqtt_core::codec::{FixedHeader, PacketType, Version, auth};

mod answers;
mod meaning;
#[path = "../transcript/mod.rs"]
#[allow(dead_code, reason = "only what reads the files is used")]
mod transcript;

/// Whose codec refuses what the other takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refused {
    Here,
    There,
}

use PacketType::{Auth, Connect, Publish, Subscribe, Unsubscribe};
use Refused::{Here, There};

/// What the two do not agree on: who refuses, which packet, the error, and who is right.
///
/// Where it is refused there alone, the broker takes it, with the clause that says so, or refuses it behind the codec:
/// topic filters and what depends on a connection are looked at there.
const KNOWN: [(Refused, Option<PacketType>, &str, &str); 20] = [
    (
        Here,
        None,
        "malformed packet: string with a control or non-character",
        "right: MQTT-1.5.4-2, 1.5.4 (U+0001 on: may be refused)",
    ),
    (
        Here,
        None,
        "protocol error: packet identifier is zero",
        "right: MQTT-2.2.1-3 (3.1.1: MQTT-2.3.1-1); there it is looked at behind the codec",
    ),
    (
        Here,
        Some(Connect),
        "malformed packet: reserved connect flag is set",
        "right: MQTT-3.1.2-3",
    ),
    (
        Here,
        Some(Connect),
        "malformed packet: will QoS 3",
        "right: MQTT-3.1.2-12",
    ),
    (
        Here,
        Some(Connect),
        "malformed packet: will QoS or will retain without will flag",
        "right: MQTT-3.1.2-11, MQTT-3.1.2-13",
    ),
    (
        Here,
        Some(Connect),
        "malformed packet: will topic is empty or has wildcards",
        "right: MQTT-3.3.2-2 by 3.1.3.3, MQTT-4.7.3-1",
    ),
    (
        Here,
        Some(Publish),
        "malformed packet: PUBLISH with DUP and QoS 0",
        "right: MQTT-3.3.1-2",
    ),
    (
        Here,
        Some(Publish),
        "malformed packet: packet ends inside a field",
        "right: 3.3.2.3.1, the property length is not left out",
    ),
    (
        Here,
        Some(Publish),
        "malformed packet: topic name with wildcards",
        "right: MQTT-3.3.2-2",
    ),
    (
        Here,
        Some(Publish),
        "malformed packet: empty topic name",
        "right: MQTT-4.7.3-1",
    ),
    (
        Here,
        Some(Publish),
        "protocol error: empty topic name without topic alias",
        "right: 3.3.2.1",
    ),
    (
        Here,
        Some(Publish),
        "protocol error: property not allowed in this packet",
        "right: MQTT-3.3.4-6, subscription identifiers come from servers",
    ),
    (
        Here,
        Some(Publish),
        "protocol error: response topic is empty or has wildcards",
        "right: MQTT-3.3.2-14, MQTT-4.7.3-1",
    ),
    (
        Here,
        Some(Subscribe),
        "malformed packet: reserved bits of the subscription options are set",
        "right: 3.1.1 MQTT-3.8.3-4",
    ),
    (
        There,
        Some(Connect),
        "3.1",
        "3.1 is not among its versions, nor are the levels that bridges give themselves",
    ),
    (
        There,
        Some(Connect),
        "password without user name",
        "taken here: 5.0 3.1.2.9, unlike 3.1.1 MQTT-3.1.2-22",
    ),
    (
        There,
        Some(Publish),
        "topic alias zero",
        "refused behind the codec with 0x94: MQTT-3.3.2-8",
    ),
    (
        There,
        Some(Subscribe),
        "share name",
        "refused behind the codec as malformed: MQTT-4.8.2-2",
    ),
    (
        There,
        Some(Unsubscribe),
        "share name",
        "refused behind the codec as malformed: MQTT-4.8.2-2",
    ),
    (
        There,
        Some(Auth),
        "no method",
        "refused behind the codec with 0x82: 3.15.2.2.2",
    ),
];

/// A packet of a client, with the version of its connection.
type Frame = (Version, u8, Vec<u8>);

/// Why only mqtt-protocol-core refuses what this codec takes.
fn why_there((version, first, body): &Frame) -> &'static str {
    let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    match PacketType::from_first_byte(*first).unwrap() {
        Connect if body[..7] != *b"\0\x04MQTT\x05" && body[..7] != *b"\0\x04MQTT\x04" => "3.1",
        Connect if version.is_v5() && body[7] & 0xc0 == 0x40 => "password without user name",
        Publish if version.is_v5() && has(b"\x23\0\0") => "topic alias zero",
        Subscribe | Unsubscribe if version.is_v5() && has(b"$share/") => "share name",
        Auth if auth::Auth::decode(body).is_ok_and(|auth| auth.method.is_none()) => "no method",
        _ => "?",
    }
}

/// What the two do not agree on, if anything; both agree to the bytes of one packet only.
fn difference(frame: &Frame) -> Option<(Refused, PacketType, String)> {
    let (version, first, body) = frame;
    let ours = meaning::ours(*version, *first, body)?;
    let theirs = meaning::theirs(*version, *first, body).and_then(|(meaning, taken)| {
        let whole = taken == body.len();
        whole.then_some(meaning).ok_or(MqttError::MalformedPacket)
    });
    let kind = PacketType::from_first_byte(*first).unwrap();
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "{kind:?} {body:02x?}");
            None
        }
        (Err(_), Err(_)) => None,
        (Err(error), Ok(_)) => Some((Here, kind, error.to_string())),
        (Ok(_), Err(_)) => Some((There, kind, why_there(frame).to_owned())),
    }
}

/// Every packet that a client sends in a transcript, once.
fn frames() -> Vec<Frame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut streams = Vec::new();
    for case in transcript::load(&folder) {
        let mut clients: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (_, step) in case.steps {
            match step {
                transcript::Step::Send(client, bytes) => {
                    clients.entry(client).or_default().extend(bytes);
                }
                transcript::Step::ClientClose(client) | transcript::Step::ServerClose(client) => {
                    streams.extend(clients.remove(&client));
                }
                _ => {}
            }
        }
        streams.extend(clients.into_values());
    }
    let mut seen = BTreeSet::new();
    let mut frames = Vec::new();
    for stream in streams {
        let mut rest = &stream[..];
        let mut version = Version::V311;
        while let Ok(Some(header)) = FixedHeader::read(rest) {
            let Some(body) = rest.get(header.length..header.frame()) else {
                break;
            };
            if header.first == 0x10 {
                version = match body.get(6) {
                    Some(5) => Version::V5,
                    _ => Version::V311,
                };
            }
            if seen.insert((version as u8, header.first, body.to_vec())) {
                frames.push((version, header.first, body.to_vec()));
            }
            rest = &rest[header.frame()..];
        }
    }
    frames
}

#[test]
fn packets_of_clients_are_taken_or_refused_by_both_and_say_the_same() {
    let frames = frames();
    assert!(frames.len() > 500, "{} packets", frames.len());
    let mut unknown = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut compare = |frame: Frame| {
        let Some((refused, kind, error)) = difference(&frame) else {
            return;
        };
        let row = KNOWN.iter().position(|(by, packet, text, _)| {
            (*by, *text) == (refused, &*error) && packet.is_none_or(|packet| packet == kind)
        });
        match row {
            Some(row) => {
                known.insert(row);
            }
            None => {
                unknown.entry((refused, kind as u8, error)).or_insert(frame);
            }
        }
    };
    // What a byte of a packet may be the beginning of: lengths, property identifiers, flags, text that means something.
    const BYTES: [u8; 16] = [
        0, 1, 2, 3, 8, 0x0b, 0x11, 0x15, 0x23, 0x26, 0x2a, b'#', 0x7f, 0x80, 0xc2, 0xff,
    ];
    for (version, first, body) in frames {
        // Long ones repeat themselves.
        for at in 0..body.len() * usize::from(body.len() < 200) {
            compare((version, first, body[..at].to_vec()));
            for byte in BYTES {
                let mut damaged = body.clone();
                damaged[at] = byte;
                compare((version, first, damaged));
            }
        }
        if first >> 4 == 3 {
            for flags in 0..16 {
                compare((version, 0x30 | flags, body.clone()));
            }
        }
        compare((version, first, body));
    }
    for ((refused, kind, error), frame) in &unknown {
        println!(
            "refused {refused:?} alone, {kind}: {error}: {:02x} {:02x?}",
            frame.1, frame.2
        );
    }
    let unseen: Vec<_> = (0..KNOWN.len())
        .filter(|row| !known.contains(row))
        .map(|row| KNOWN[row])
        .collect();
    assert!(
        unknown.is_empty() && unseen.is_empty(),
        "differs, listed in vain: {unseen:#?}"
    );
}
