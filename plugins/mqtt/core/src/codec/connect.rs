//! CONNECT (section 3.1).

use super::primitives::Reader;
use super::property::{self, Property, read_properties};
use super::{Error, QoS, ReasonCode, Version};
use crate::{topic, via};

/// A CONNECT packet as a view over its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// From protocol name and level.
    pub version: Version,
    /// The client says that it is a bridge: in 3.x by the highest bit of the level, as mosquitto's do, in 5.0 by
    /// [`ConnectProperties::via`].
    pub bridge: bool,
    /// Clean start (5.0), clean session (3.x).
    pub clean_start: bool,
    /// Seconds; 0 turns keep alive off.
    pub keep_alive: u16,
    /// May be empty.
    pub client_id: &'a str,
    /// The will message.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// The 5.0 properties, or their defaults.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT with the standard's defaults (3.1.2.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Seconds; 0 ends the session with the connection, `u32::MAX` never.
    pub session_expiry_interval: u32,
    /// QoS 1 and 2 messages that the client takes unacknowledged.
    pub receive_maximum: u16,
    /// Largest packet the client takes.
    pub maximum_packet_size: Option<u32>,
    /// Topic aliases the client takes.
    pub topic_alias_maximum: u16,
    /// Whether reason strings and user properties may be sent on failure.
    pub request_problem_information: bool,
    /// Enhanced authentication (4.12).
    pub authentication_method: Option<&'a str>,
    /// What its method begins with.
    pub authentication_data: Option<&'a [u8]>,
    /// What the broker that a bridge belongs to is called in the user property [`via::PROPERTY`].
    pub via: Option<&'a str>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        ConnectProperties {
            session_expiry_interval: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            via: None,
        }
    }
}

/// Will properties, topic and payload (3.1.3.2 to 3.1.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: QoS,
    /// Will retain.
    pub retain: bool,
    /// Will delay interval in seconds.
    pub delay: u32,
    /// Message expiry interval in seconds.
    pub message_expiry_interval: Option<u32>,
    /// The properties that are forwarded, encoded, in their order.
    pub properties: Vec<u8>,
}

/// A CONNECT that cannot be served. The version says how to answer: `None` is not MQTT at all and
/// is closed unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The version the client speaks, as far as it was read.
    pub version: Option<Version>,
    /// What was wrong.
    pub error: Error,
}

const UNSUPPORTED_VERSION: Error = Error::Refused {
    reason: ReasonCode::UnsupportedProtocolVersion,
    what: "unsupported protocol version",
};

impl<'a> Connect<'a> {
    /// Decodes the bytes after the fixed header.
    pub fn decode(body: &'a [u8]) -> Result<Connect<'a>, ConnectError> {
        let mut reader = Reader::new(body);
        let (version, bridge) = protocol_version(&mut reader)?;
        Self::decode_fields(version, bridge, reader).map_err(|error| ConnectError {
            version: Some(version),
            error,
        })
    }

    fn decode_fields(
        version: Version,
        bridge: bool,
        mut reader: Reader<'a>,
    ) -> Result<Connect<'a>, Error> {
        let flags = reader.byte()?;
        let keep_alive = reader.two_byte_integer()?;
        if flags & 0x01 != 0 && version != Version::V31 {
            return Err(Error::Malformed("reserved connect flag is set"));
        }
        let has_will = flags & 0x04 != 0;
        let will_qos = QoS::from_bits(flags >> 3 & 3).ok_or(Error::Malformed("will QoS 3"))?;
        let will_retain = flags & 0x20 != 0;
        if !has_will && (will_qos != QoS::AtMostOnce || will_retain) {
            return Err(Error::Malformed(
                "will QoS or will retain without will flag",
            ));
        }
        let has_username = flags & 0x80 != 0;
        let has_password = flags & 0x40 != 0;
        if has_password && !has_username && !version.is_v5() {
            return Err(Error::Malformed("password flag without user name flag"));
        }

        let mut properties = ConnectProperties::default();
        if version.is_v5() {
            read_properties(&mut reader, property::CONNECT, |property| {
                match property {
                    Property::SessionExpiryInterval(v) => properties.session_expiry_interval = v,
                    Property::ReceiveMaximum(v) => properties.receive_maximum = v,
                    Property::MaximumPacketSize(v) => properties.maximum_packet_size = Some(v),
                    Property::TopicAliasMaximum(v) => properties.topic_alias_maximum = v,
                    Property::RequestProblemInformation(v) => {
                        properties.request_problem_information = v
                    }
                    Property::AuthenticationMethod(v) => properties.authentication_method = Some(v),
                    Property::AuthenticationData(v) => properties.authentication_data = Some(v),
                    Property::UserProperty(via::PROPERTY, v) => properties.via = Some(v),
                    _ => {}
                }
                Ok(())
            })?;
            if properties.authentication_data.is_some()
                && properties.authentication_method.is_none()
            {
                return Err(Error::Protocol(
                    "authentication data without authentication method",
                ));
            }
        }
        let client_id = reader.string()?;
        let will = if has_will {
            Some(Will::decode(version, will_qos, will_retain, &mut reader)?)
        } else {
            None
        };
        // MQTT 3.1 lets a client that sets the flags leave the fields out (3.1, "user name flag").
        let optional = |reader: &Reader<'_>| version == Version::V31 && reader.is_empty();
        let username = if has_username && !optional(&reader) {
            Some(reader.string()?)
        } else {
            None
        };
        let password = if has_password && !optional(&reader) {
            Some(reader.binary()?)
        } else {
            None
        };
        reader.finish()?;
        Ok(Connect {
            version,
            bridge: bridge || properties.via.is_some(),
            clean_start: flags & 0x02 != 0,
            keep_alive,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }
}

impl<'a> Will<'a> {
    fn decode(
        version: Version,
        qos: QoS,
        retain: bool,
        reader: &mut Reader<'a>,
    ) -> Result<Will<'a>, Error> {
        let mut delay = 0;
        let mut message_expiry_interval = None;
        let mut properties = Vec::new();
        if version.is_v5() {
            read_properties(reader, property::WILL, |property| {
                match property {
                    Property::WillDelayInterval(v) => delay = v,
                    Property::MessageExpiryInterval(v) => message_expiry_interval = Some(v),
                    Property::ResponseTopic(v) if !topic::is_name(v) => {
                        return Err(Error::Protocol("response topic with wildcards"));
                    }
                    other => other.write(&mut properties),
                }
                Ok(())
            })?;
        }
        let topic = reader.string()?;
        if !topic::is_name(topic) {
            return Err(Error::Malformed("will topic is empty or has wildcards"));
        }
        let payload = reader.binary()?;
        Ok(Will {
            topic,
            payload,
            qos,
            retain,
            delay,
            message_expiry_interval,
            properties,
        })
    }
}

/// The version, and whether its level has the bit of a bridge.
fn protocol_version(reader: &mut Reader<'_>) -> Result<(Version, bool), ConnectError> {
    let unknown = |error| ConnectError {
        version: None,
        error,
    };
    let name = reader.binary().map_err(unknown)?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(unknown(Error::Malformed("not an MQTT protocol name")));
    }
    let level = reader.byte().map_err(unknown)?;
    match (name, level) {
        (b"MQIsdp", 3 | 0x83) => Ok((Version::V31, level & 0x80 != 0)),
        (b"MQTT", 4 | 0x84) => Ok((Version::V311, level & 0x80 != 0)),
        (b"MQTT", 5) => Ok((Version::V5, false)),
        // A newer client understands the newest answer, an older one the oldest (MQTT-3.1.2-2).
        (b"MQTT", 6..) => Err(ConnectError {
            version: Some(Version::V5),
            error: UNSUPPORTED_VERSION,
        }),
        _ => Err(ConnectError {
            version: Some(Version::V311),
            error: UNSUPPORTED_VERSION,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V311: &[u8] =
        b"\x00\x04MQTT\x04\xc6\x00\x3c\x00\x01c\x00\x01t\x00\x02hi\x00\x01u\x00\x01p";

    #[test]
    fn every_field_of_3_1_1_is_read() {
        let connect = Connect::decode(V311).unwrap();
        assert_eq!(
            (connect.client_id, connect.username, connect.password),
            ("c", Some("u"), Some(&b"p"[..]))
        );
        let will = connect.will.unwrap();
        assert_eq!(
            (will.topic, will.payload, will.qos),
            ("t", &b"hi"[..], QoS::AtMostOnce)
        );
        assert!(connect.clean_start);
    }

    #[test]
    fn truncation_at_every_byte_is_malformed() {
        for end in 0..V311.len() {
            assert!(Connect::decode(&V311[..end]).is_err(), "{end} bytes");
        }
        assert!(
            Connect::decode(&[V311, b"x"].concat()).is_err(),
            "bytes left over"
        );
    }

    #[test]
    fn version_decides_the_answer() {
        let version = |bytes: &[u8]| Connect::decode(bytes).unwrap_err().version;
        assert_eq!(
            version(b"\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00"),
            Some(Version::V5)
        );
        assert_eq!(
            version(b"\x00\x04MQTT\x02\x02\x00\x00\x00\x00"),
            Some(Version::V311)
        );
        assert_eq!(
            version(b"\x00\x06MQIsdp\x04\x02\x00\x00\x00\x00"),
            Some(Version::V311)
        );
        assert_eq!(version(b"\x00\x04HTTP\x04\x02\x00\x00\x00\x00"), None);
    }
}
