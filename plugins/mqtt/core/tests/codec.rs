//! Properties of the codec: nothing from the network panics, what is encoded is decoded, and a packet is the
//! same in any split of the stream.

use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::codec::ack::{self, Ack};
use polyport_mqtt_core::codec::connect::Connect;
use polyport_mqtt_core::codec::disconnect::Disconnect;
use polyport_mqtt_core::codec::primitives::Reader;
use polyport_mqtt_core::codec::property::{self, Property, read_properties};
use polyport_mqtt_core::codec::publish::{Head, Publish};
use polyport_mqtt_core::codec::subscribe::Subscribe;
use polyport_mqtt_core::codec::unsubscribe::Unsubscribe;
use polyport_mqtt_core::codec::{FixedHeader, PacketType, QoS, ReasonCode, Version, auth};
use polyport_mqtt_core::{AllowAll, Broker, Limits, Settings, Time};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

/// Bytes that are often nearly a packet.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c".to_vec()),
        Just(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c".to_vec()),
        Just(b"\x30\x05\x00\x01t\x00x".to_vec()),
        Just(b"\x32\x07\x00\x01t\x00\x07\x00x".to_vec()),
        Just(b"\x34\x07\x00\x01t\x00\x08\x00x".to_vec()),
        Just(b"\x62\x02\x00\x08".to_vec()),
        Just(b"\x50\x02\x00\x01".to_vec()),
        Just(b"\x40\x02\x00\x01".to_vec()),
        Just(b"\x82\x07\x00\x01\x00\x00\x01t\x02".to_vec()),
        Just(b"\x82\x06\x00\x01\x00\x01#\x02".to_vec()),
        Just(b"\xa2\x06\x00\x01\x00\x00\x01t".to_vec()),
        Just(b"\xc0\x00".to_vec()),
        Just(b"\xe0\x00".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let changed = (whole, any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let damaged = changed.prop_map(|(mut bytes, index, byte, often)| {
        if often == 0 && !bytes.is_empty() {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop::collection::vec(damaged, 1..12).prop_map(|packets| packets.concat())
}

/// Everything that a broker answers to these bytes, given in pieces of these lengths.
fn answers(bytes: &[u8], lengths: &[usize]) -> (Vec<u8>, bool) {
    let mut broker = Broker::new(Settings::default(), || 7, Time(0));
    let id = broker.open(Arc::new(Meter::default()), Limits::default(), Time(0));
    let mut unread = Vec::new();
    let mut answered = Vec::new();
    let mut closed = false;
    let mut rest = bytes;
    let mut lengths = lengths.iter().copied().cycle();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).clamp(1, rest.len());
        unread.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        loop {
            let received = broker.receive(id, &unread, None, Time(1));
            unread.drain(..received.consumed);
            match received.login {
                Some(_) => broker.login_answer(id, Ok(Arc::new(AllowAll)), Time(1)),
                None => break,
            }
        }
        while let Some(touched) = broker.next_touched() {
            if let Some(output) = broker.output(touched) {
                closed |= output.closes();
                answered.extend(output.pieces().into_iter().flatten());
            }
        }
        broker.journal().clear();
    }
    (answered, closed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic_a_decoder(version in version(), first in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = FixedHeader::read(&body);
        let _ = Connect::decode(&body);
        let _ = Publish::decode(version, first, &body);
        let _ = Subscribe::decode(version, &body);
        let _ = Unsubscribe::decode(version, &body);
        let _ = Disconnect::decode(version, &body);
        let _ = auth::Auth::decode(&body);
        for kind in [PacketType::Puback, PacketType::Pubrec, PacketType::Pubrel, PacketType::Pubcomp] {
            let _ = Ack::decode(version, kind, &body);
        }
    }

    #[test]
    fn the_broker_answers_the_same_in_any_split(bytes in packets(), lengths in prop::collection::vec(1usize..20, 1..8)) {
        prop_assert_eq!(answers(&bytes, &[bytes.len()]), answers(&bytes, &lengths));
    }

    #[test]
    fn publish_is_decoded_as_it_was_encoded(
        version in version(),
        qos in qos(),
        retain in any::<bool>(),
        dup in any::<bool>(),
        identifier in 1u16..,
        topic in "[a-z/$\u{20ac}]{1,200}",
        payload in prop::collection::vec(any::<u8>(), 0..300),
        alias in 0u16..,
        expiry in prop::option::of(any::<u32>()),
        identifiers in prop::collection::vec(1u32..268_435_455, 0..4),
        user in prop::collection::vec(("[a-z]{0,5}", "[a-z]{0,5}"), 0..4),
    ) {
        let mut properties = Vec::new();
        for (name, value) in &user {
            Property::UserProperty(name, value).write(&mut properties);
        }
        let dup = dup && qos > QoS::AtMostOnce;
        let head = Head {
            version, qos, retain, dup, topic: &topic, topic_alias: alias, message_expiry_interval: expiry,
            subscription_identifiers: &identifiers, properties: &properties, payload: payload.len(),
        };
        let mut bytes = Vec::new();
        let at = head.encode(&mut bytes);
        if qos > QoS::AtMostOnce {
            bytes[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
        }
        bytes.extend_from_slice(&payload);
        let header = FixedHeader::read(&bytes).unwrap().unwrap();
        prop_assert_eq!(header.frame(), bytes.len());
        let body = &bytes[header.length..];
        let publish = Publish::decode_with(version, header.first, body, property::PUBLISH_FROM_SERVER).unwrap();
        prop_assert_eq!((publish.qos, publish.retain, publish.dup), (qos, retain, dup));
        prop_assert_eq!((publish.topic, publish.payload), (&*topic, &*payload));
        prop_assert_eq!(publish.packet_identifier, if qos == QoS::AtMostOnce { 0 } else { identifier });
        if version.is_v5() {
            prop_assert_eq!(publish.properties.topic_alias, (alias > 0).then_some(alias));
            prop_assert_eq!(publish.properties.message_expiry_interval, expiry);
            let mut scratch = Vec::new();
            prop_assert_eq!(publish.properties.forwarded(&mut scratch), &*properties);
        }
    }

    #[test]
    fn user_properties_keep_order_and_repetition(user in prop::collection::vec(("[a-c]{0,2}", "[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{fdd0}-\u{fdef}\u{fffe}\u{ffff}]{0,4}"), 0..8)) {
        let mut encoded = Vec::new();
        for (name, value) in &user {
            Property::UserProperty(name, value).write(&mut encoded);
        }
        let mut framed = vec![encoded.len() as u8];
        prop_assume!(encoded.len() < 128);
        framed.extend_from_slice(&encoded);
        let mut seen = Vec::new();
        let read = read_properties(&mut Reader::new(&framed), property::UNSUBSCRIBE, |property| {
            if let Property::UserProperty(name, value) = property {
                seen.push((name.to_owned(), value.to_owned()));
            }
            Ok(())
        });
        // Planes beyond the first end with two non-characters each as well.
        prop_assume!(read.is_ok());
        prop_assert_eq!(seen, user);
    }

    #[test]
    fn acknowledgements_round_trip(version in version(), identifier in 1u16.., failed in any::<bool>()) {
        let reason = if failed { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
        let mut bytes = Vec::new();
        ack::encode(&mut bytes, version, PacketType::Puback, identifier, reason);
        let header = FixedHeader::read(&bytes).unwrap().unwrap();
        let ack = Ack::decode(version, PacketType::Puback, &bytes[header.length..]).unwrap();
        prop_assert_eq!(ack, Ack { packet_identifier: identifier, failed: failed && version.is_v5() });
    }
}
