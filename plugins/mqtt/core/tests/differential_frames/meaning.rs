//! What a packet says, in the same words by both codecs: a text of every field that the broker acts on.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Properties, Property as Foreign, Qos};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::prelude::PropertyValueAccess;
use mqtt_protocol_core::mqtt::result_code::MqttError;
use polyport_mqtt_core::codec::ack::Ack;
use polyport_mqtt_core::codec::auth::Auth;
use polyport_mqtt_core::codec::connect::Connect;
use polyport_mqtt_core::codec::disconnect::Disconnect;
use polyport_mqtt_core::codec::publish::Publish;
use polyport_mqtt_core::codec::subscribe::Subscribe;
use polyport_mqtt_core::codec::unsubscribe::Unsubscribe;
use polyport_mqtt_core::codec::{Error, PacketType, Version};

/// A will: topic, payload, QoS, retain, delay, expiry, what is forwarded with it.
type Will = (String, Vec<u8>, u8, bool, u32, Option<u32>, Vec<u8>);

/// Read by the codec of this crate. `None`: a packet that only a server sends.
pub fn ours(version: Version, first: u8, body: &[u8]) -> Option<Result<String, Error>> {
    let kind = PacketType::from_first_byte(first)?;
    Some(match kind {
        PacketType::Connect => Connect::decode(body)
            .map_err(|error| error.error)
            .map(|connect| {
                let will = connect.will.map(|will| -> Will {
                    (
                        will.topic.into(),
                        will.payload.into(),
                        will.qos as u8,
                        will.retain,
                        will.delay,
                        will.message_expiry_interval,
                        will.properties,
                    )
                });
                let of = connect.properties;
                let properties = (
                    of.session_expiry_interval,
                    of.receive_maximum,
                    of.maximum_packet_size,
                    of.topic_alias_maximum,
                    of.request_problem_information,
                    of.authentication_method,
                    of.authentication_data,
                );
                let login = (connect.username, connect.password);
                let rest = (connect.clean_start, connect.keep_alive, connect.client_id);
                format!("{rest:?} {login:?} {will:?} {properties:?}")
            }),
        PacketType::Publish => Publish::decode(version, first, body).map(|publish| {
            let properties = (
                publish.properties.topic_alias,
                publish.properties.message_expiry_interval,
            );
            let flags = (
                publish.dup,
                publish.qos as u8,
                publish.retain,
                publish.packet_identifier,
            );
            format!(
                "{flags:?} {:?} {properties:?} {:?} {:?}",
                publish.topic, publish.properties.raw, publish.payload
            )
        }),
        PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
            Ack::decode(version, kind, body)
                .map(|ack| format!("{:?}", (ack.packet_identifier, ack.failed)))
        }
        PacketType::Subscribe => Subscribe::decode(version, body).map(|subscribe| {
            let filters: Vec<_> = subscribe
                .filters
                .map(|(filter, options)| (filter, options.encode()))
                .collect();
            format!(
                "{} {:?} {filters:?}",
                subscribe.packet_identifier, subscribe.subscription_identifier
            )
        }),
        PacketType::Unsubscribe => Unsubscribe::decode(version, body).map(|unsubscribe| {
            let filters: Vec<_> = unsubscribe.filters.collect();
            format!("{} {filters:?}", unsubscribe.packet_identifier)
        }),
        PacketType::Disconnect => Disconnect::decode(version, body).map(|disconnect| {
            format!(
                "{} {:?}",
                disconnect.with_will, disconnect.session_expiry_interval
            )
        }),
        PacketType::Auth if version.is_v5() => Auth::decode(body)
            .map(|auth| format!("{} {:?} {:?}", auth.reason as u8, auth.method, auth.data)),
        _ => return None,
    })
}

fn bytes(properties: &[Foreign]) -> Vec<u8> {
    properties
        .iter()
        .flat_map(Foreign::to_continuous_buffer)
        .collect()
}

fn number(properties: &Properties, wanted: fn(&Foreign) -> bool) -> Option<u32> {
    let found = properties.iter().find(|property| wanted(property))?;
    let short = || {
        found
            .as_u16()
            .map(u32::from)
            .or(found.as_u8().map(u32::from))
    };
    found.as_u32().or_else(short)
}

fn expiry(property: &Foreign) -> bool {
    matches!(property, Foreign::MessageExpiryInterval(_))
}

fn session_expiry(property: &Foreign) -> bool {
    matches!(property, Foreign::SessionExpiryInterval(_))
}

fn authentication(properties: &Properties) -> (Option<&str>, Option<&[u8]>) {
    let method = properties
        .iter()
        .find(|property| matches!(property, Foreign::AuthenticationMethod(_)));
    let data = properties
        .iter()
        .find(|property| matches!(property, Foreign::AuthenticationData(_)));
    (
        method.and_then(PropertyValueAccess::as_str),
        data.and_then(PropertyValueAccess::as_bytes),
    )
}

/// Accessors of the same names in both versions.
macro_rules! connect {
    ($connect:expr, $properties:expr, $will_properties:expr) => {{
        let (connect, of, will_of): (_, &Properties, &Properties) =
            (&$connect, $properties, $will_properties);
        let will = connect.will_flag().then(|| -> Will {
            let hop = |property: &&Foreign| {
                !expiry(property) && !matches!(property, Foreign::WillDelayInterval(_))
            };
            let forwarded: Vec<_> = will_of.iter().filter(hop).cloned().collect();
            (
                connect.will_topic().unwrap().into(),
                connect.will_payload().unwrap().into(),
                connect.will_qos() as u8,
                connect.will_retain(),
                number(will_of, |property| {
                    matches!(property, Foreign::WillDelayInterval(_))
                })
                .unwrap_or(0),
                number(will_of, expiry),
                bytes(&forwarded),
            )
        });
        let problem = number(of, |property| {
            matches!(property, Foreign::RequestProblemInformation(_))
        });
        let (method, data) = authentication(of);
        let properties = (
            number(of, session_expiry).unwrap_or(0),
            number(of, |property| {
                matches!(property, Foreign::ReceiveMaximum(_))
            })
            .unwrap_or(65_535),
            number(of, |property| {
                matches!(property, Foreign::MaximumPacketSize(_))
            }),
            number(of, |property| {
                matches!(property, Foreign::TopicAliasMaximum(_))
            })
            .unwrap_or(0),
            problem.unwrap_or(1) == 1,
            method,
            data,
        );
        let login = (connect.user_name(), connect.password());
        let rest = (
            connect.clean_start(),
            connect.keep_alive(),
            connect.client_id(),
        );
        format!("{rest:?} {login:?} {will:?} {properties:?}")
    }};
}

macro_rules! publish {
    ($publish:expr, $properties:expr) => {{
        let (publish, of): (_, &Properties) = (&$publish, $properties);
        let alias = number(of, |property| matches!(property, Foreign::TopicAlias(_)));
        let properties = (alias, number(of, expiry));
        let qos = publish.qos();
        let identifier = publish
            .packet_id()
            .filter(|_| qos != Qos::AtMostOnce)
            .unwrap_or(0);
        let flags = (publish.dup(), qos as u8, publish.retain(), identifier);
        let (topic, payload) = (publish.topic_name(), publish.payload().as_slice());
        format!(
            "{flags:?} {topic:?} {properties:?} {:?} {payload:?}",
            bytes(of)
        )
    }};
}

macro_rules! subscribe {
    ($subscribe:expr, $properties:expr) => {{
        let of: &Properties = $properties;
        let entries = $subscribe.entries().iter();
        let filters: Vec<_> = entries
            .map(|entry| (entry.topic_filter(), entry.sub_opts().to_buffer()[0]))
            .collect();
        let identifier = number(of, |property| {
            matches!(property, Foreign::SubscriptionIdentifier(_))
        });
        format!("{} {identifier:?} {filters:?}", $subscribe.packet_id())
    }};
}

macro_rules! unsubscribe {
    ($unsubscribe:expr) => {{
        let filters: Vec<_> = $unsubscribe
            .entries()
            .iter()
            .map(|entry| entry.as_str())
            .collect();
        format!("{} {filters:?}", $unsubscribe.packet_id())
    }};
}

macro_rules! ack {
    ($packet:ty, $body:expr) => {
        <$packet>::parse($body).map(|(ack, taken)| {
            let failed = ack.reason_code().is_some_and(|code| code as u8 >= 0x80);
            (format!("{:?}", (ack.packet_id(), failed)), taken)
        })
    };
}

macro_rules! ack3 {
    ($packet:ty, $body:expr) => {
        <$packet>::parse($body)
            .map(|(ack, taken)| (format!("{:?}", (ack.packet_id(), false)), taken))
    };
}

/// Read by mqtt-protocol-core, with the number of bytes that it took. It has no 3.1.
pub fn theirs(version: Version, first: u8, body: &[u8]) -> Result<(String, usize), MqttError> {
    let none = Properties::new();
    let kind = PacketType::from_first_byte(first).ok_or(MqttError::MalformedPacket)?;
    if version == Version::V5 {
        return match kind {
            PacketType::Connect => v5_0::Connect::parse(body).map(|(connect, taken)| {
                (
                    connect!(connect, connect.props(), connect.will_props()),
                    taken,
                )
            }),
            PacketType::Publish => v5_0::Publish::parse(first & 15, Arc::from(body))
                .map(|(publish, taken)| (publish!(publish, publish.props()), taken)),
            PacketType::Puback => ack!(v5_0::Puback, body),
            PacketType::Pubrec => ack!(v5_0::Pubrec, body),
            PacketType::Pubrel => ack!(v5_0::Pubrel, body),
            PacketType::Pubcomp => ack!(v5_0::Pubcomp, body),
            PacketType::Subscribe => v5_0::Subscribe::parse(body)
                .map(|(subscribe, taken)| (subscribe!(subscribe, subscribe.props()), taken)),
            PacketType::Unsubscribe => v5_0::Unsubscribe::parse(body)
                .map(|(unsubscribe, taken)| (unsubscribe!(unsubscribe), taken)),
            PacketType::Disconnect => v5_0::Disconnect::parse(body).map(|(disconnect, taken)| {
                let with_will = disconnect.reason_code().is_some_and(|code| code as u8 != 0);
                let interval = disconnect
                    .props()
                    .as_ref()
                    .and_then(|of| number(of, session_expiry));
                (format!("{with_will} {interval:?}"), taken)
            }),
            PacketType::Auth => v5_0::Auth::parse(body).map(|(auth, taken)| {
                let reason = auth.reason_code().map_or(0, |code| code as u8);
                let (method, data) = auth.props().as_ref().map_or((None, None), authentication);
                (format!("{reason} {method:?} {data:?}"), taken)
            }),
            _ => Err(MqttError::InvalidPacketForRole),
        };
    }
    match kind {
        PacketType::Connect => v3_1_1::Connect::parse(body)
            .map(|(connect, taken)| (connect!(connect, &none, &none), taken)),
        PacketType::Publish => v3_1_1::Publish::parse(first & 15, Arc::from(body))
            .map(|(publish, taken)| (publish!(publish, &none), taken)),
        PacketType::Puback => ack3!(v3_1_1::Puback, body),
        PacketType::Pubrec => ack3!(v3_1_1::Pubrec, body),
        PacketType::Pubrel => ack3!(v3_1_1::Pubrel, body),
        PacketType::Pubcomp => ack3!(v3_1_1::Pubcomp, body),
        PacketType::Subscribe => v3_1_1::Subscribe::parse(body)
            .map(|(subscribe, taken)| (subscribe!(subscribe, &none), taken)),
        PacketType::Unsubscribe => v3_1_1::Unsubscribe::parse(body)
            .map(|(unsubscribe, taken)| (unsubscribe!(unsubscribe), taken)),
        PacketType::Disconnect => {
            v3_1_1::Disconnect::parse(body).map(|(_, taken)| ("false None".to_owned(), taken))
        }
        _ => Err(MqttError::InvalidPacketForRole),
    }
}
