use polyport_mqtt_core::codec::FixedHeader;
use polyport_mqtt_core::codec::property::Property;

use super::*;
use crate::config::bridges::Direction;
use crate::config::bridges::tests::bridge;

fn relay(version: Version, connack: &Connack) -> Relay {
    let topics = bridge(&[("#", Direction::Both, 2, "l/", "r/")]).topics;
    let retain = Retain {
        outgoing: true,
        incoming: true,
    };
    let terms = Terms::new(version, connack);
    Relay::new(Topics::new(&topics), retain, "here", terms)
}

/// A PUBLISH: first byte and what follows its header.
fn publish(version: Version, qos: QoS, topic: &str, properties: &[u8]) -> (u8, Vec<u8>) {
    let head = Head {
        version,
        qos,
        retain: true,
        dup: false,
        topic,
        topic_alias: 0,
        message_expiry_interval: version.is_v5().then_some(9),
        subscription_identifiers: &[],
        properties,
        payload: 1,
    };
    let mut out = Vec::new();
    put(&mut out, &head, 7, b"x");
    (out[0], out[2..].to_vec())
}

fn ack(id: u16, reason: u8) -> Vec<u8> {
    let mut body = Vec::from(id.to_be_bytes());
    body.extend((reason > 0).then_some(reason));
    body
}

/// The only packet in `bytes`.
fn only(bytes: &[u8]) -> (u8, &[u8]) {
    let header = FixedHeader::read(bytes).unwrap().unwrap();
    assert_eq!(bytes.len(), header.frame());
    (header.first, &bytes[header.length..])
}

fn local(relay: &mut Relay, (first, body): &(u8, Vec<u8>)) -> Packets {
    let mut to = Packets::default();
    assert_eq!(relay.take_local(*first, body, &mut to), Ok(None));
    to
}

fn remote(relay: &mut Relay, (first, body): &(u8, Vec<u8>)) -> Packets {
    let mut to = Packets::default();
    relay.take_remote(*first, body, &mut to).unwrap();
    to
}

#[test]
fn a_message_goes_over_with_its_identifier_properties_and_new_name() {
    let mut properties = Vec::new();
    Property::UserProperty("a", "b").write(&mut properties);
    for version in [Version::V311, Version::V5] {
        let mut relay = relay(version, &Connack::default());
        let sent = publish(Version::V5, QoS::ExactlyOnce, "l/t", &properties);
        let to = local(&mut relay, &sent);
        assert!(to.local.is_empty());
        let (first, body) = only(&to.remote);
        let out = Publish::decode(version, first, body).unwrap();
        assert_eq!(
            (out.topic, out.packet_identifier, out.retain),
            ("r/t", 7, true)
        );
        assert_eq!((out.qos, out.payload), (QoS::ExactlyOnce, &b"x"[..]));
        if version.is_v5() {
            assert_eq!(out.properties.message_expiry_interval, Some(9));
            assert!(via::has_passed(out.properties.raw, "here"));
            let kept = Property::UserProperty("a", "b");
            let mut expected = Vec::new();
            kept.write(&mut expected);
            assert!(
                out.properties
                    .raw
                    .windows(expected.len())
                    .any(|part| part == expected)
            );
        }
    }
}

#[test]
fn a_handshake_is_that_of_both_sides() {
    let mut relay = relay(Version::V311, &Connack::default());
    let to = remote(
        &mut relay,
        &publish(Version::V311, QoS::ExactlyOnce, "r/t", &[]),
    );
    let (first, body) = only(&to.local);
    let taken = Publish::decode(Version::V5, first, body).unwrap();
    assert_eq!((taken.topic, taken.packet_identifier), ("l/t", 7));
    for (kind, from_local, reason) in [
        (0x50, true, 0x87),
        (0x62, false, 0),
        (0x70, true, NOT_FOUND),
    ] {
        let packet = (kind, ack(7, reason));
        let there = match from_local {
            true => local(&mut relay, &packet).remote,
            false => remote(&mut relay, &packet).local,
        };
        assert_eq!(only(&there), (kind, &[0, 7][..]), "3.1.1 has no reasons");
    }
}

#[test]
fn what_has_no_place_there_is_answered_here() {
    let mut relay = relay(Version::V5, &Connack::default());
    let to = local(
        &mut relay,
        &publish(Version::V5, QoS::AtLeastOnce, "other", &[]),
    );
    assert_eq!((only(&to.local), to.remote.len()), ((0x40, &[0, 7][..]), 0));
    let to = local(
        &mut relay,
        &publish(Version::V5, QoS::ExactlyOnce, "other", &[]),
    );
    assert_eq!((only(&to.local), to.remote.len()), ((0x50, &[0, 7][..]), 0));
    let to = local(&mut relay, &(0x62, ack(7, 0)));
    assert_eq!((only(&to.local), to.remote.len()), ((0x70, &[0, 7][..]), 0));
    let to = remote(
        &mut relay,
        &publish(Version::V5, QoS::ExactlyOnce, "other", &[]),
    );
    assert_eq!((to.local.len(), only(&to.remote)), (0, (0x50, &[0, 7][..])));
    assert_eq!(relay.counts.dropped, 3);
}

#[test]
fn a_broker_without_qos_2_and_retain_gets_what_it_takes() {
    let connack = Connack {
        maximum_qos: Some(1),
        no_retain: true,
        ..Connack::default()
    };
    let mut relay = relay(Version::V5, &connack);
    let to = local(
        &mut relay,
        &publish(Version::V5, QoS::ExactlyOnce, "l/t", &[]),
    );
    assert_eq!(only(&to.remote).0, 0x32);
    let to = remote(&mut relay, &(0x40, ack(7, 0x10)));
    assert_eq!(only(&to.local), (0x50, &[0, 7][..]));
    let to = local(&mut relay, &(0x62, ack(7, 0)));
    assert_eq!((only(&to.local), to.remote.len()), ((0x70, &[0, 7][..]), 0));
}

#[test]
fn a_message_too_large_there_is_not_sent() {
    let connack = Connack {
        maximum_packet_size: Some(20),
        ..Connack::default()
    };
    let mut relay = relay(Version::V5, &connack);
    let to = local(
        &mut relay,
        &publish(Version::V5, QoS::AtLeastOnce, "l/t", &[]),
    );
    assert_eq!((only(&to.local), to.remote.len()), ((0x40, &[0, 7][..]), 0));
}

#[test]
fn what_passed_a_broker_does_not_go_there_again() {
    let connack = Connack {
        via: Some("there".into()),
        ..Connack::default()
    };
    let mut relay = relay(Version::V5, &connack);
    let passed = |name| {
        let mut properties = Vec::new();
        via::note_passed(&mut properties, name);
        properties
    };
    let from_there = publish(Version::V5, QoS::AtMostOnce, "l/t", &passed("there"));
    assert!(local(&mut relay, &from_there).remote.is_empty());
    let from_here = publish(Version::V5, QoS::AtMostOnce, "r/t", &passed("here"));
    assert!(remote(&mut relay, &from_here).local.is_empty());
    let from_elsewhere = publish(Version::V5, QoS::AtMostOnce, "r/t", &passed("elsewhere"));
    let to = remote(&mut relay, &from_elsewhere);
    let (first, body) = only(&to.local);
    let taken = Publish::decode(Version::V5, first, body).unwrap();
    assert!(via::has_passed(taken.properties.raw, "there"));
}

#[test]
fn a_packet_too_large_to_take_is_answered_once_its_identifier_is_there() {
    let mut relay = relay(Version::V311, &Connack::default());
    let (first, body) = publish(Version::V311, QoS::AtLeastOnce, "r/t", &[]);
    let mut to = Packets::default();
    for end in 0..7 {
        assert!(!relay.pass_over(first, &body[..end], &mut to), "{end}");
    }
    assert!(relay.pass_over(first, &body[..7], &mut to));
    assert_eq!(only(&to.remote), (0x40, &[0, 7][..]));
}

#[test]
fn a_refusal_is_told_and_ends_the_message() {
    let mut relay = relay(Version::V5, &Connack::default());
    let mut to = Packets::default();
    let said = relay.take_remote(0x40, &ack(7, 0x87), &mut to);
    assert_eq!(said, Ok(Some(Said::Refused(0x87))));
    assert_eq!(only(&to.local), (0x40, &[0, 7, 0x87][..]));
}

#[test]
fn packets_of_the_wrong_side_are_errors() {
    let mut relay = relay(Version::V311, &Connack::default());
    let mut to = Packets::default();
    assert!(relay.take_remote(0x82, &[0, 1], &mut to).is_err());
    assert!(
        relay.take_remote(0xe0, &[], &mut to).is_err(),
        "3.1.1 has none"
    );
    assert!(relay.take_remote(0x00, &[], &mut to).is_err());
    assert!(relay.take_local(0xc0, &[], &mut to).is_err());
}
