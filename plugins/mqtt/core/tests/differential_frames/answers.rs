//! What a server writes, read by mqtt-protocol-core.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Property as Foreign, Qos, v3_1_1, v5_0};
use polyport_mqtt_core::codec::auth::{self, AuthReason};
use polyport_mqtt_core::codec::property::Property;
use polyport_mqtt_core::codec::publish::Head;
use polyport_mqtt_core::codec::{FixedHeader, PacketType, QoS, ReasonCode, Version};
use polyport_mqtt_core::codec::{ack, connack, disconnect, suback, unsuback};
use proptest::prelude::*;

/// First byte and body of the one packet in `bytes`.
fn only(bytes: &[u8]) -> (u8, &[u8]) {
    let header = FixedHeader::read(bytes).unwrap().unwrap();
    assert_eq!(header.frame(), bytes.len());
    (header.first, &bytes[header.length..])
}

/// Properties as both codecs write them.
fn same(ours: &[Property<'_>], theirs: &[Foreign]) {
    let mut written = Vec::new();
    for property in ours {
        property.write(&mut written);
    }
    let theirs: Vec<u8> = theirs
        .iter()
        .flat_map(Foreign::to_continuous_buffer)
        .collect();
    assert_eq!(written, theirs);
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

/// Reason codes that these packets may have.
fn refusal() -> impl Strategy<Value = ReasonCode> {
    prop_oneof![
        Just(ReasonCode::Success),
        Just(ReasonCode::NotAuthorized),
        Just(ReasonCode::QuotaExceeded),
        Just(ReasonCode::UnspecifiedError),
    ]
}

proptest! {
    #[test]
    fn publish(
        version in version(),
        qos in 0u8..3,
        retain in any::<bool>(),
        dup in any::<bool>(),
        topic in "[a-z/\u{20ac}]{1,60}",
        payload in prop::collection::vec(any::<u8>(), 0..300),
        identifier in 1u16..,
        alias in 0u16..,
        expiry in prop::option::of(any::<u32>()),
        identifiers in prop::collection::vec(1u32..268_435_455, 0..4),
        user in prop::collection::vec(("[a-z]{0,5}", "[a-z]{0,5}"), 0..4),
    ) {
        let user: Vec<_> = user.iter().map(|(name, value)| Property::UserProperty(name, value)).collect();
        let mut forwarded = Vec::new();
        for property in &user {
            property.write(&mut forwarded);
        }
        let level = QoS::from_bits(qos).unwrap();
        let dup = dup && qos > 0;
        let head = Head {
            version, qos: level, retain, dup, topic: &topic, topic_alias: alias, message_expiry_interval: expiry,
            subscription_identifiers: &identifiers, properties: &forwarded, payload: payload.len(),
        };
        let mut bytes = Vec::new();
        let at = head.encode(&mut bytes);
        if qos > 0 {
            bytes[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
        }
        bytes.extend_from_slice(&payload);
        let (first, body) = only(&bytes);
        let wanted = (Qos::try_from(qos).unwrap(), dup, retain, (qos > 0).then_some(identifier));
        if version == Version::V311 {
            let (read, taken) = v3_1_1::Publish::parse(first & 15, Arc::from(body)).unwrap();
            prop_assert_eq!(taken, body.len());
            prop_assert_eq!((read.qos(), read.dup(), read.retain(), read.packet_id()), wanted);
            prop_assert_eq!((read.topic_name(), read.payload().as_slice()), (&*topic, &*payload));
        } else {
            let (read, taken) = v5_0::Publish::parse(first & 15, Arc::from(body)).unwrap();
            prop_assert_eq!(taken, body.len());
            prop_assert_eq!((read.qos(), read.dup(), read.retain(), read.packet_id()), wanted);
            prop_assert_eq!((read.topic_name(), read.payload().as_slice()), (&*topic, &*payload));
            let mut properties = Vec::new();
            properties.extend((alias > 0).then_some(Property::TopicAlias(alias)));
            properties.extend(expiry.map(Property::MessageExpiryInterval));
            properties.extend(user);
            properties.extend(identifiers.iter().map(|&id| Property::SubscriptionIdentifier(id)));
            same(&properties, read.props());
        }
    }

    #[test]
    fn connack(
        present in any::<bool>(),
        assigned in prop::option::of("[a-z0-9]{1,30}"),
        reason in "[a-z ]{0,30}",
        numbers in (1u16.., any::<u16>(), 1u32.., any::<u32>(), any::<u16>()),
        flags in any::<[bool; 4]>(),
    ) {
        let mut properties = vec![
            Property::SessionExpiryInterval(numbers.3),
            Property::ReceiveMaximum(numbers.0),
            Property::MaximumQos(1),
            Property::RetainAvailable(flags[0]),
            Property::MaximumPacketSize(numbers.2),
        ];
        properties.extend(assigned.as_deref().map(Property::AssignedClientIdentifier));
        properties.extend([
            Property::TopicAliasMaximum(numbers.1),
            Property::ReasonString(&reason),
            Property::UserProperty("a", "b"),
            Property::WildcardSubscriptionAvailable(flags[1]),
            Property::SubscriptionIdentifierAvailable(flags[2]),
            Property::SharedSubscriptionAvailable(flags[3]),
            Property::ServerKeepAlive(numbers.4),
            Property::ResponseInformation("r"),
            Property::ServerReference("elsewhere:1883"),
            Property::AuthenticationMethod("SCRAM-SHA-256"),
            Property::AuthenticationData(b"\0\xff"),
        ]);
        let mut bytes = Vec::new();
        assert!(connack::encode(&mut bytes, Version::V5, present, ReasonCode::Success, &properties));
        let (first, body) = only(&bytes);
        let (read, taken) = v5_0::Connack::parse(body).unwrap();
        prop_assert_eq!((first, taken), (0x20, body.len()));
        prop_assert_eq!((read.session_present(), read.reason_code() as u8), (present, 0));
        same(&properties, read.props());
        bytes.clear();
        assert!(connack::encode(&mut bytes, Version::V311, present, ReasonCode::Success, &properties));
        let (read, _) = v3_1_1::Connack::parse(only(&bytes).1).unwrap();
        prop_assert_eq!((read.session_present(), read.return_code() as u8), (present, 0));
    }

    #[test]
    fn acknowledgements(version in version(), identifier in 1u16.., reason in refusal(), codes in prop::collection::vec(0u8..3, 1..9)) {
        macro_rules! ack {
            ($kind:ident, $name:ident, $reason:expr) => {{
                let mut bytes = Vec::new();
                ack::encode(&mut bytes, version, PacketType::$kind, identifier, $reason);
                let (first, body) = only(&bytes);
                prop_assert_eq!(PacketType::from_first_byte(first), Some(PacketType::$kind));
                if version == Version::V5 {
                    let (read, taken) = v5_0::$name::parse(body).unwrap();
                    prop_assert_eq!((taken, read.packet_id()), (body.len(), identifier));
                    prop_assert_eq!(read.reason_code().map_or(0, |code| code as u8), $reason as u8);
                } else {
                    let (read, taken) = v3_1_1::$name::parse(body).unwrap();
                    prop_assert_eq!((taken, read.packet_id()), (body.len(), identifier));
                }
            }};
        }
        ack!(Puback, Puback, reason);
        ack!(Pubrec, Pubrec, reason);
        ack!(Pubrel, Pubrel, ReasonCode::Success);
        ack!(Pubcomp, Pubcomp, ReasonCode::PacketIdentifierNotFound);
        let reasons = vec![ReasonCode::NoSubscriptionExisted as u8; codes.len()];
        let (mut granted, mut gone) = (Vec::new(), Vec::new());
        suback::encode(&mut granted, version, identifier, &codes);
        unsuback::encode(&mut gone, version, identifier, &reasons);
        if version == Version::V5 {
            let (read, _) = v5_0::Suback::parse(only(&granted).1).unwrap();
            let read_codes: Vec<u8> = read.reason_codes().into_iter().map(|code| code as u8).collect();
            prop_assert_eq!((read.packet_id(), read_codes), (identifier, codes));
            let (read, _) = v5_0::Unsuback::parse(only(&gone).1).unwrap();
            let read_codes: Vec<u8> = read.reason_codes().into_iter().map(|code| code as u8).collect();
            prop_assert_eq!((read.packet_id(), read_codes), (identifier, reasons));
        } else {
            let (read, _) = v3_1_1::Suback::parse(only(&granted).1).unwrap();
            let read_codes: Vec<u8> = read.return_codes().into_iter().map(|code| code as u8).collect();
            prop_assert_eq!((read.packet_id(), read_codes), (identifier, codes));
            let (read, _) = v3_1_1::Unsuback::parse(only(&gone).1).unwrap();
            prop_assert_eq!(read.packet_id(), identifier);
        }
    }

    #[test]
    fn disconnect_and_auth(reason in refusal(), text in "[a-z:]{1,20}", data in prop::option::of(prop::collection::vec(any::<u8>(), 0..30))) {
        let property = Property::ServerReference(&text);
        let mut bytes = Vec::new();
        disconnect::encode(&mut bytes, reason, Some(property));
        let (read, taken) = v5_0::Disconnect::parse(only(&bytes).1).unwrap();
        prop_assert_eq!((taken, read.reason_code().unwrap() as u8), (only(&bytes).1.len(), reason as u8));
        same(&[property], read.props().as_ref().unwrap());
        bytes.clear();
        auth::encode(&mut bytes, AuthReason::ContinueAuthentication, &text, data.as_deref());
        let (read, taken) = v5_0::Auth::parse(only(&bytes).1).unwrap();
        prop_assert_eq!((taken, read.reason_code().unwrap() as u8), (only(&bytes).1.len(), 0x18));
        let mut properties = vec![Property::AuthenticationMethod(&text)];
        properties.extend(data.as_deref().map(Property::AuthenticationData));
        same(&properties, read.props().as_ref().unwrap());
    }
}
