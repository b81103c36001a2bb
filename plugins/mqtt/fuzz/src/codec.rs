//! Decoders of single packets. The first byte of the input chooses what the packet's context decides: version, flags.

use polyport_mqtt_core::codec::ack::{self, Ack};
use polyport_mqtt_core::codec::auth::{self, Auth};
use polyport_mqtt_core::codec::connect::Connect;
use polyport_mqtt_core::codec::disconnect::Disconnect;
use polyport_mqtt_core::codec::primitives::{Reader, put_variable};
use polyport_mqtt_core::codec::property::{self, Property, PropertySet, read_properties};
use polyport_mqtt_core::codec::publish::{Head, Publish};
use polyport_mqtt_core::codec::subscribe::{Subscribe, SubscriptionOptions};
use polyport_mqtt_core::codec::unsubscribe::Unsubscribe;
use polyport_mqtt_core::codec::{FixedHeader, PacketType, QoS, ReasonCode, Version};
use polyport_mqtt_core::topic;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

pub(crate) fn version(byte: u8) -> Version {
    VERSIONS[usize::from(byte) % VERSIONS.len()]
}

/// A fixed header says the same however much follows it, and nothing before it is whole.
pub fn frame(data: &[u8]) {
    let Ok(Some(header)) = FixedHeader::read(data) else {
        return;
    };
    assert!((2..=5).contains(&header.length) && header.remaining <= 268_435_455);
    assert_eq!(
        FixedHeader::read(&data[..header.length]),
        Ok(Some(header)),
        "what follows is part of it"
    );
    for end in 0..header.length {
        assert_eq!(FixedHeader::read(&data[..end]), Ok(None), "cut at {end}");
    }
    let mut again = vec![header.first];
    put_variable(&mut again, header.remaining as u32);
    assert_eq!(again, data[..header.length], "another form of it");
}

/// Cut anywhere, a CONNECT is not one any more; but in 3.1 user name and password may be left out in spite of their flags.
pub fn connect(data: &[u8]) {
    let Ok(connect) = Connect::decode(data) else {
        return;
    };
    assert!(connect.client_id.len() <= usize::from(u16::MAX));
    if let Some(will) = &connect.will {
        assert!(topic::is_name(will.topic));
    }
    let whole = if connect.version == Version::V31 {
        0
    } else {
        data.len()
    };
    for end in 0..whole {
        assert!(Connect::decode(&data[..end]).is_err(), "cut at {end}");
    }
    let longer = [data, b"\0"].concat();
    assert!(Connect::decode(&longer).is_err(), "a byte too much");
}

/// A PUBLISH that was read is written and read again as the same, but for what the server does not forward.
pub fn publish(data: &[u8]) {
    let [choice, first, body @ ..] = data else {
        return;
    };
    let (version, first) = (version(*choice), 0x30 | first & 0x0f);
    let allowed = [property::PUBLISH_FROM_CLIENT, property::PUBLISH_FROM_SERVER];
    let allowed = allowed[usize::from(choice >> 7)];
    let Ok(publish) = Publish::decode_with(version, first, body, allowed) else {
        return;
    };
    assert!(publish.topic.is_empty() || topic::is_name(publish.topic));
    // The broker refuses it.
    if publish.properties.topic_alias == Some(0) {
        return;
    }
    assert_eq!(
        publish.packet_identifier == 0,
        publish.qos == QoS::AtMostOnce
    );
    let mut scratch = Vec::new();
    let head = Head {
        version,
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        topic: publish.topic,
        topic_alias: publish.properties.topic_alias.unwrap_or(0),
        message_expiry_interval: publish.properties.message_expiry_interval,
        subscription_identifiers: &[],
        properties: publish.properties.forwarded(&mut scratch),
        payload: publish.payload.len(),
    };
    let mut out = Vec::new();
    let at = head.encode(&mut out);
    if publish.packet_identifier > 0 {
        out[at..at + 2].copy_from_slice(&publish.packet_identifier.to_be_bytes());
    }
    out.extend_from_slice(publish.payload);
    let Ok(Some(header)) = FixedHeader::read(&out) else {
        panic!("what was written has no fixed header");
    };
    assert_eq!((header.frame(), header.first), (out.len(), first));
    let body = &out[header.length..];
    let again = Publish::decode_with(version, header.first, body, allowed);
    let Ok(again) = again else {
        panic!("what was written cannot be read: {again:?}");
    };
    let fields = |publish: &Publish<'_>| {
        (
            publish.qos,
            publish.retain,
            publish.dup,
            publish.packet_identifier,
        )
    };
    assert_eq!(fields(&again), fields(&publish));
    assert_eq!(
        (again.topic, again.payload),
        (publish.topic, publish.payload)
    );
    assert_eq!(again.properties.topic_alias, publish.properties.topic_alias);
    assert_eq!(
        again.properties.message_expiry_interval,
        publish.properties.message_expiry_interval
    );
    let mut first_time = Vec::new();
    assert_eq!(
        again.properties.forwarded(&mut Vec::new()),
        publish.properties.forwarded(&mut first_time)
    );
}

/// As many filters as were read lie in the bytes, each with options that have one form.
pub fn subscribe(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let version = version(*choice);
    let Ok(subscribe) = Subscribe::decode(version, body) else {
        return;
    };
    assert!(subscribe.packet_identifier > 0 && !subscribe.filters.rest().is_empty());
    for (filter, options) in subscribe.filters.clone() {
        assert!(filter.len() < body.len());
        assert_eq!(
            SubscriptionOptions::decode(Version::V5, options.encode()),
            Ok(options)
        );
    }
    let filters = subscribe.filters.map(|(filter, _)| filter.len() + 3);
    assert!(2 + filters.sum::<usize>() <= body.len());
}

/// As [`subscribe`].
pub fn unsubscribe(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let Ok(unsubscribe) = Unsubscribe::decode(version(*choice), body) else {
        return;
    };
    assert!(unsubscribe.packet_identifier > 0 && !unsubscribe.filters.rest().is_empty());
    let filters = unsubscribe.filters.map(|filter| filter.len() + 2);
    assert!(2 + filters.sum::<usize>() <= body.len());
}

/// All four acknowledgements; what the server writes it reads.
pub fn acknowledgement(data: &[u8]) {
    const KINDS: [PacketType; 4] = [
        PacketType::Puback,
        PacketType::Pubrec,
        PacketType::Pubrel,
        PacketType::Pubcomp,
    ];
    let [choice, body @ ..] = data else {
        return;
    };
    let kind = KINDS[usize::from(choice >> 2 & 3)];
    let version = version(choice & 3);
    let Ok(ack) = Ack::decode(version, kind, body) else {
        return;
    };
    assert!(ack.packet_identifier > 0);
    assert!(!ack.failed || version.is_v5());
    let mut out = Vec::new();
    ack::encode(
        &mut out,
        version,
        kind,
        ack.packet_identifier,
        ReasonCode::Success,
    );
    let again = Ack::decode(version, kind, &out[2..]);
    assert!(
        again.is_ok_and(|again| again.packet_identifier == ack.packet_identifier && !again.failed)
    );
}

/// DISCONNECT; 3.x has no body.
pub fn disconnect(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let version = version(*choice);
    if Disconnect::decode(version, body).is_ok() {
        assert!(version.is_v5() || body.is_empty());
    }
}

/// AUTH: with a method it is written and read again as the same, and cut anywhere behind its reason code it is none.
pub fn auth(data: &[u8]) {
    let Ok(auth) = Auth::decode(data) else {
        return;
    };
    for end in 2..data.len() {
        assert!(Auth::decode(&data[..end]).is_err(), "cut at {end}");
    }
    if data.len() > 1 {
        let longer = [data, b"\0"].concat();
        assert!(Auth::decode(&longer).is_err(), "a byte too much");
    }
    let Some(method) = auth.method else {
        return;
    };
    let mut out = Vec::new();
    auth::encode(&mut out, auth.reason, method, auth.data);
    let Ok(Some(header)) = FixedHeader::read(&out) else {
        panic!("what was written has no fixed header");
    };
    assert_eq!((header.frame(), header.first), (out.len(), 0xf0));
    assert_eq!(Auth::decode(&out[header.length..]), Ok(auth));
}

/// Properties of every packet: what was read is written in the same bytes.
pub fn properties(data: &[u8]) {
    const SETS: [PropertySet; 9] = [
        property::CONNECT,
        property::WILL,
        property::PUBLISH_FROM_CLIENT,
        property::PUBLISH_FROM_SERVER,
        property::ACK,
        property::SUBSCRIBE,
        property::UNSUBSCRIBE,
        property::DISCONNECT_FROM_CLIENT,
        property::AUTH,
    ];
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let allowed = SETS[usize::from(*choice) % SETS.len()];
    let mut reader = Reader::new(rest);
    let mut written = Vec::new();
    let raw = read_properties(&mut reader, allowed, |property: Property<'_>| {
        property.write(&mut written);
        Ok(())
    });
    if let Ok(raw) = raw {
        assert_eq!(raw, written);
    }
}
