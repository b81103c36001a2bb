//! The codec against a foreign one (mqttbytes): what that encodes is decoded here as it was meant, and the other
//! way round.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use bytes::{Bytes, BytesMut};
use mqttbytes::{QoS as ForeignQoS, v4, v5};
use polyport_mqtt_core::codec::connect::Connect;
use polyport_mqtt_core::codec::property::Property;
use polyport_mqtt_core::codec::publish::{Head, Publish};
use polyport_mqtt_core::codec::subscribe::{RetainHandling, Subscribe};
use polyport_mqtt_core::codec::{FixedHeader, QoS, Version};
use proptest::prelude::*;

fn qos() -> impl Strategy<Value = (QoS, ForeignQoS)> {
    prop_oneof![
        Just((QoS::AtMostOnce, ForeignQoS::AtMostOnce)),
        Just((QoS::AtLeastOnce, ForeignQoS::AtLeastOnce)),
        Just((QoS::ExactlyOnce, ForeignQoS::ExactlyOnce)),
    ]
}

fn body(packet: &BytesMut) -> (u8, &[u8]) {
    let header = FixedHeader::read(packet).unwrap().unwrap();
    assert_eq!(header.frame(), packet.len());
    (header.first, &packet[header.length..])
}

proptest! {
    #[test]
    fn publish_of_5_0_is_read_as_the_foreign_codec_wrote_it(
        qos in qos(),
        retain in any::<bool>(),
        identifier in 1u16..,
        topic in "[a-z/]{1,40}",
        payload in prop::collection::vec(any::<u8>(), 0..200),
        alias in prop::option::of(1u16..),
        expiry in prop::option::of(any::<u32>()),
        content_type in prop::option::of("[a-z/]{0,10}"),
        response_topic in prop::option::of("[a-z/]{1,10}"),
        correlation_data in prop::option::of(prop::collection::vec(any::<u8>(), 0..10)),
        user in prop::collection::vec(("[a-z]{0,5}", "[a-z]{0,5}"), 0..4),
    ) {
        let mut foreign = v5::Publish::new(topic.clone(), qos.1, payload.clone());
        foreign.retain = retain;
        foreign.pkid = if qos.0 == QoS::AtMostOnce { 0 } else { identifier };
        foreign.properties = Some(v5::PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: expiry,
            topic_alias: alias,
            response_topic: response_topic.clone(),
            correlation_data: correlation_data.clone().map(Bytes::from),
            user_properties: user.clone(),
            subscription_identifiers: Vec::new(),
            content_type: content_type.clone(),
        });
        let mut packet = BytesMut::new();
        foreign.write(&mut packet).unwrap();
        let (first, body) = body(&packet);
        let ours = Publish::decode(Version::V5, first, body).unwrap();
        prop_assert_eq!((ours.topic, ours.payload, ours.qos, ours.retain), (&*topic, &*payload, qos.0, retain));
        prop_assert_eq!(ours.packet_identifier, foreign.pkid);
        prop_assert_eq!(ours.properties.topic_alias, alias);
        prop_assert_eq!(ours.properties.message_expiry_interval, expiry);

        // Forwarded, the foreign codec reads the same message again.
        let mut scratch = Vec::new();
        let mut out = Vec::new();
        let head = Head {
            version: Version::V5, qos: ours.qos, retain, dup: false, topic: ours.topic, topic_alias: 0,
            message_expiry_interval: expiry, subscription_identifiers: &[7, 300],
            properties: ours.properties.forwarded(&mut scratch), payload: payload.len(),
        };
        let at = head.encode(&mut out);
        if qos.0 > QoS::AtMostOnce {
            out[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
        }
        out.extend_from_slice(&payload);
        let v5::Packet::Publish(again) = v5::read(&mut BytesMut::from(&out[..]), 1 << 20).unwrap() else {
            return Err(TestCaseError::fail("not a PUBLISH"));
        };
        let properties = again.properties.clone().unwrap();
        prop_assert_eq!((again.topic, &again.payload[..], again.pkid), (topic, &*payload, foreign.pkid));
        prop_assert_eq!(properties.message_expiry_interval, expiry);
        prop_assert_eq!((properties.content_type, properties.response_topic), (content_type, response_topic));
        prop_assert_eq!(properties.correlation_data.map(|data| data.to_vec()), correlation_data);
        prop_assert_eq!((properties.user_properties, properties.topic_alias), (user, None));
        prop_assert_eq!(properties.subscription_identifiers, [7, 300]);
    }

    #[test]
    fn connect_is_read_as_the_foreign_codec_wrote_it(
        version5 in any::<bool>(),
        client_id in "[a-z0-9]{0,30}",
        clean in any::<bool>(),
        keep_alive in any::<u16>(),
        login in prop::option::of(("[a-z]{1,9}", "[a-z]{1,9}")),
        will in prop::option::of(("[a-z/]{1,9}", prop::collection::vec(any::<u8>(), 0..9), qos(), any::<bool>(), any::<u32>())),
        expiry in prop::option::of(any::<u32>()),
        receive_maximum in prop::option::of(1u16..),
        alias_maximum in prop::option::of(any::<u16>()),
        packet_maximum in prop::option::of(1u32..),
    ) {
        let mut packet = BytesMut::new();
        if version5 {
            let mut foreign = v5::Connect::new(client_id.clone());
            foreign.clean_session = clean;
            foreign.keep_alive = keep_alive;
            foreign.login = login.clone().map(|(user, password)| v5::Login::new(user, password));
            foreign.last_will = will.clone().map(|(topic, payload, qos, retain, delay)| {
                let mut will = v5::LastWill::new(topic, payload, qos.1, retain);
                will.properties = Some(v5::WillProperties {
                    delay_interval: Some(delay),
                    payload_format_indicator: None,
                    message_expiry_interval: Some(9),
                    content_type: None,
                    response_topic: None,
                    correlation_data: None,
                    user_properties: vec![("a".into(), "b".into())],
                });
                will
            });
            foreign.properties = Some(v5::ConnectProperties {
                session_expiry_interval: expiry,
                receive_maximum,
                max_packet_size: packet_maximum,
                topic_alias_max: alias_maximum,
                request_response_info: Some(0),
                request_problem_info: Some(0),
                user_properties: vec![("u".into(), "v".into())],
                authentication_method: None,
                authentication_data: None,
            });
            foreign.write(&mut packet).unwrap();
        } else {
            let mut foreign = v4::Connect::new(client_id.clone());
            foreign.clean_session = clean;
            foreign.keep_alive = keep_alive;
            foreign.login = login.clone().map(|(user, password)| v4::Login::new(user, password));
            foreign.last_will = will.clone().map(|(topic, payload, qos, retain, _)| v4::LastWill::new(topic, payload, qos.1, retain));
            foreign.write(&mut packet).unwrap();
        }
        let (_, body) = body(&packet);
        let ours = Connect::decode(body).unwrap();
        prop_assert_eq!(ours.version.is_v5(), version5);
        prop_assert_eq!((ours.client_id, ours.clean_start, ours.keep_alive), (&*client_id, clean, keep_alive));
        let credentials = ours.username.zip(ours.password);
        prop_assert_eq!(credentials, login.as_ref().map(|(user, password)| (user.as_str(), password.as_bytes())));
        prop_assert_eq!(ours.will.is_some(), will.is_some());
        if let (Some(ours), Some((topic, payload, qos, retain, delay))) = (ours.will, will) {
            prop_assert_eq!((ours.topic, ours.payload, ours.qos, ours.retain), (&*topic, &*payload, qos.0, retain));
            if version5 {
                let mut properties = Vec::new();
                Property::UserProperty("a", "b").write(&mut properties);
                prop_assert_eq!((ours.delay, ours.message_expiry_interval, ours.properties), (delay, Some(9), properties));
            }
        }
        if version5 {
            prop_assert_eq!(ours.properties.session_expiry_interval, expiry.unwrap_or(0));
            prop_assert_eq!(ours.properties.receive_maximum, receive_maximum.unwrap_or(u16::MAX));
            prop_assert_eq!(ours.properties.topic_alias_maximum, alias_maximum.unwrap_or(0));
            prop_assert_eq!(ours.properties.maximum_packet_size, packet_maximum);
            prop_assert!(!ours.properties.request_problem_information);
        }
    }

    #[test]
    fn subscribe_of_5_0_is_read_as_the_foreign_codec_wrote_it(
        identifier in 1u16..,
        subscription in prop::option::of(1usize..268_435_455),
        filters in prop::collection::vec(("[a-z/+]{1,12}", qos(), any::<bool>(), any::<bool>(), 0..3u8), 1..5),
    ) {
        let mut foreign = v5::Subscribe::empty_subscribe();
        foreign.pkid = identifier;
        foreign.properties = Some(v5::SubscribeProperties { id: subscription, user_properties: Vec::new() });
        for (path, qos, no_local, as_published, handling) in &filters {
            let mut filter = v5::SubscribeFilter::new(path.clone(), qos.1);
            filter.set_nolocal(*no_local).set_preserve_retain(*as_published);
            filter.set_retain_forward_rule(match handling {
                0 => v5::RetainForwardRule::OnEverySubscribe,
                1 => v5::RetainForwardRule::OnNewSubscribe,
                _ => v5::RetainForwardRule::Never,
            });
            foreign.filters.push(filter);
        }
        let mut packet = BytesMut::new();
        foreign.write(&mut packet).unwrap();
        let (_, body) = body(&packet);
        let ours = Subscribe::decode(Version::V5, body).unwrap();
        prop_assert_eq!(ours.packet_identifier, identifier);
        prop_assert_eq!(ours.subscription_identifier.map(|id| id as usize), subscription);
        prop_assert_eq!(ours.filters.clone().count(), filters.len());
        for ((text, options), (path, qos, no_local, as_published, handling)) in ours.filters.zip(&filters) {
            prop_assert_eq!((text, options.qos, options.no_local), (path.as_str(), qos.0, *no_local));
            let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend][usize::from(*handling)];
            prop_assert_eq!((options.retain_as_published, options.retain_handling), (*as_published, handling));
        }
    }
}
