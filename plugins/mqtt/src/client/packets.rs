//! The packets as a client sees them: those that only clients send are written here, those that only servers
//! send are read here. No I/O.

use polyport_mqtt_core::codec::primitives::{
    Reader, put_binary, put_packet, put_u16, put_variable,
};
use polyport_mqtt_core::codec::property::{Property, PropertySet, read_properties};
use polyport_mqtt_core::codec::publish::Head;
use polyport_mqtt_core::codec::subscribe::{RetainHandling, SubscriptionOptions};
use polyport_mqtt_core::codec::{Error, PacketType, QoS, Version};
use polyport_mqtt_core::via;

/// The whole PINGREQ packet.
pub const PINGREQ: [u8; 2] = [0xc0, 0];

/// The whole DISCONNECT packet of a normal end, in every version.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// The whole DISCONNECT packet of a normal end in 5.0, with which the session ends: session expiry interval 0.
pub const DISCONNECT_AND_FORGET: [u8; 9] = [0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0];

/// May appear in CONNACK (3.2.2.3).
const CONNACK: PropertySet = PropertySet::of(&[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
    0x2a,
]);
/// May appear in SUBACK (3.9.2.1).
const SUBACK: PropertySet = PropertySet::of(&[0x1f, 0x26]);
/// May appear in a DISCONNECT that a server sends (3.14.2.2).
const DISCONNECT_FROM_SERVER: PropertySet = PropertySet::of(&[0x1c, 0x1f, 0x26]);

/// What a CONNECT says. Every text is at most 65,535 bytes long.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Decides name, level and whether there are properties.
    pub version: Version,
    /// Client identifier.
    pub client_id: String,
    /// Clean start, clean session.
    pub clean: bool,
    /// Keep alive in seconds.
    pub keep_alive: u16,
    /// User name, and password.
    pub login: Option<(String, Option<String>)>,
    /// What a bridge says beside that.
    pub terms: Terms,
}

/// What a CONNECT may say beyond the ordinary. Of 3.x: `bridge` and `will`.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Seconds that the session is kept; none is for ever, unless it is a clean one.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 messages taken unacknowledged.
    pub receive_maximum: Option<u16>,
    /// Largest packet taken.
    pub maximum_packet_size: Option<u32>,
    /// What the broker that speaks is called ([`via`]).
    pub via: Option<String>,
    /// The bit by which mosquitto's bridges tell what they are.
    pub bridge: bool,
    /// Topic and payload of a retained will with QoS 1.
    pub will: Option<(String, Vec<u8>)>,
}

impl Connect {
    /// Appends the packet. A session that is kept is kept for ever: 5.0 must be told so.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (name, level): (&[u8], u8) = match self.version {
            Version::V31 => (b"MQIsdp", 3),
            Version::V311 => (b"MQTT", 4),
            Version::V5 => (b"MQTT", 5),
        };
        let mut body = Vec::new();
        put_binary(&mut body, name);
        let terms = &self.terms;
        let login = match &self.login {
            Some((_, Some(_))) => 0xc0,
            Some((_, None)) => 0x80,
            None => 0,
        };
        let will = if terms.will.is_some() { 0x2c } else { 0 };
        let bridge = if terms.bridge && !self.version.is_v5() {
            0x80
        } else {
            0
        };
        body.extend([level | bridge, u8::from(self.clean) << 1 | login | will]);
        put_u16(&mut body, self.keep_alive);
        if self.version.is_v5() {
            let mut properties = Vec::new();
            let forever = (!self.clean).then_some(u32::MAX);
            if let Some(seconds) = terms.session_expiry.or(forever) {
                Property::SessionExpiryInterval(seconds).write(&mut properties);
            }
            if let Some(maximum) = terms.receive_maximum {
                Property::ReceiveMaximum(maximum).write(&mut properties);
            }
            if let Some(size) = terms.maximum_packet_size {
                Property::MaximumPacketSize(size).write(&mut properties);
            }
            if let Some(name) = &terms.via {
                Property::UserProperty(via::PROPERTY, name).write(&mut properties);
            }
            put_variable(&mut body, properties.len() as u32);
            body.extend(properties);
        }
        put_binary(&mut body, self.client_id.as_bytes());
        if let Some((topic, payload)) = &terms.will {
            if self.version.is_v5() {
                body.push(0);
            }
            put_binary(&mut body, topic.as_bytes());
            put_binary(&mut body, payload);
        }
        if let Some((user, password)) = &self.login {
            put_binary(&mut body, user.as_bytes());
            if let Some(password) = password {
                put_binary(&mut body, password.as_bytes());
            }
        }
        put_packet(out, 0x10, &body);
    }
}

/// Appends a SUBSCRIBE of all filters with the same QoS.
pub fn subscribe(
    out: &mut Vec<u8>,
    version: Version,
    identifier: u16,
    filters: &[String],
    qos: QoS,
) {
    let options = SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let filters = filters.iter().map(|filter| (filter.as_str(), options));
    subscribe_each(out, version, identifier, filters);
}

/// Appends a SUBSCRIBE of filters with options of their own; 3.x has but the QoS of them.
pub fn subscribe_each<'a>(
    out: &mut Vec<u8>,
    version: Version,
    identifier: u16,
    filters: impl Iterator<Item = (&'a str, SubscriptionOptions)>,
) {
    let mut body = Vec::new();
    put_u16(&mut body, identifier);
    if version.is_v5() {
        body.push(0);
    }
    for (filter, options) in filters {
        put_binary(&mut body, filter.as_bytes());
        body.push(match version {
            Version::V5 => options.encode(),
            _ => options.qos as u8,
        });
    }
    put_packet(out, 0x82, &body);
}

/// Appends an UNSUBSCRIBE.
pub fn unsubscribe<'a>(
    out: &mut Vec<u8>,
    version: Version,
    identifier: u16,
    filters: impl Iterator<Item = &'a str>,
) {
    let mut body = Vec::new();
    put_u16(&mut body, identifier);
    if version.is_v5() {
        body.push(0);
    }
    for filter in filters {
        put_binary(&mut body, filter.as_bytes());
    }
    put_packet(out, 0xa2, &body);
}

/// Appends one of the four acknowledgements with a reason code as it came; 3.x has none.
pub fn acknowledge(
    out: &mut Vec<u8>,
    version: Version,
    kind: PacketType,
    identifier: u16,
    reason: u8,
) {
    let mut body = Vec::from(identifier.to_be_bytes());
    if version.is_v5() && reason != 0 {
        body.push(reason);
    }
    let flags = if kind == PacketType::Pubrel { 2 } else { 0 };
    put_packet(out, (kind as u8) << 4 | flags, &body);
}

/// Appends a retained PUBLISH with QoS 0.
pub fn publish_retained(out: &mut Vec<u8>, version: Version, topic: &str, payload: &[u8]) {
    let head = Head {
        version,
        qos: QoS::AtMostOnce,
        retain: true,
        dup: false,
        topic,
        topic_alias: 0,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        properties: &[],
        payload: payload.len(),
    };
    head.encode(out);
    out.extend_from_slice(payload);
}

/// What a CONNACK says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connack {
    /// The server has the session.
    pub session_present: bool,
    /// Return code (3.x) or reason code (5.0); 0 is accepted.
    pub code: u8,
    /// Replaces the client's, in seconds.
    pub keep_alive: Option<u16>,
    /// QoS 1 and 2 messages that the server takes unacknowledged; none is 65,535.
    pub receive_maximum: Option<u16>,
    /// Highest QoS that the server takes; none is 2.
    pub maximum_qos: Option<u8>,
    /// The server takes no retained messages.
    pub no_retain: bool,
    /// Largest packet that the server takes.
    pub maximum_packet_size: Option<u32>,
    /// Its own words.
    pub reason_string: Option<String>,
    /// Where to go instead.
    pub server_reference: Option<String>,
    /// What the server is called, if it knows bridges ([`via`]).
    pub via: Option<String>,
}

impl Connack {
    /// Decodes the bytes after the fixed header.
    pub fn decode(version: Version, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let mut connack = Self {
            session_present: reader.byte()? & 1 != 0,
            code: reader.byte()?,
            ..Self::default()
        };
        // A server without 5.0 answers with 3.x's two bytes.
        if version.is_v5() && !reader.is_empty() {
            read_properties(&mut reader, CONNACK, |property| {
                match property {
                    Property::ServerKeepAlive(v) => connack.keep_alive = Some(v),
                    Property::ReceiveMaximum(v) => connack.receive_maximum = Some(v),
                    Property::MaximumQos(v) => connack.maximum_qos = Some(v),
                    Property::RetainAvailable(v) => connack.no_retain = !v,
                    Property::MaximumPacketSize(v) => connack.maximum_packet_size = Some(v),
                    Property::ReasonString(v) => connack.reason_string = Some(v.into()),
                    Property::ServerReference(v) => connack.server_reference = Some(v.into()),
                    Property::UserProperty(via::PROPERTY, v) => connack.via = Some(v.into()),
                    _ => {}
                }
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(connack)
    }
}

/// Decodes an UNSUBACK after its fixed header: the packet identifier and a code for each filter, before 5.0 none.
pub fn unsuback(version: Version, body: &[u8]) -> Result<(u16, &[u8]), Error> {
    suback(version, body)
}

/// Decodes a SUBACK after its fixed header: the packet identifier and a code for each filter.
pub fn suback(version: Version, body: &[u8]) -> Result<(u16, &[u8]), Error> {
    let mut reader = Reader::new(body);
    let identifier = reader.packet_identifier()?;
    if version.is_v5() {
        read_properties(&mut reader, SUBACK, |_| Ok(()))?;
    }
    Ok((identifier, reader.rest()))
}

/// What the DISCONNECT of a 5.0 server says: its reason code, and its own words.
pub fn disconnect(body: &[u8]) -> Result<(u8, Option<String>), Error> {
    let mut reader = Reader::new(body);
    let mut words = None;
    let code = match reader.is_empty() {
        true => 0,
        false => reader.byte()?,
    };
    if !reader.is_empty() {
        read_properties(&mut reader, DISCONNECT_FROM_SERVER, |property| {
            if let Property::ReasonString(text) = property {
                words = Some(text.into());
            }
            Ok(())
        })?;
    }
    Ok((code, words))
}

/// What a return code (3.x) or reason code (5.0) of the server says.
pub fn reason(code: u8) -> String {
    let text = match code {
        1 | 0x84 => "unacceptable protocol version",
        2 | 0x85 => "client identifier not valid",
        3 | 0x88 => "server unavailable",
        4 | 0x86 => "bad user name or password",
        5 | 0x87 => "not authorized",
        0x80 => "refused",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x89 => "server busy",
        0x8b => "server shutting down",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x95 => "packet too large",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        _ => "reason",
    };
    format!("{text} (0x{code:02x})")
}

#[cfg(test)]
mod tests {
    use polyport_mqtt_core::codec::connect::Connect as Decoded;
    use polyport_mqtt_core::codec::subscribe::Subscribe;

    use super::*;

    #[test]
    fn the_brokers_decoder_reads_connect_and_subscribe() {
        for version in [Version::V31, Version::V311, Version::V5] {
            let connect = Connect {
                version,
                client_id: "id".into(),
                clean: false,
                keep_alive: 7,
                login: Some(("u".into(), Some("p".into()))),
                terms: Terms {
                    receive_maximum: Some(9),
                    via: Some("here".into()),
                    bridge: true,
                    will: Some(("w".into(), b"0".into())),
                    ..Terms::default()
                },
            };
            let mut out = Vec::new();
            connect.encode(&mut out);
            let decoded = Decoded::decode(&out[2..]).unwrap();
            assert_eq!(decoded.version, version);
            assert_eq!(
                (decoded.client_id, decoded.keep_alive, decoded.clean_start),
                ("id", 7, false)
            );
            assert_eq!(
                (decoded.username, decoded.password),
                (Some("u"), Some(&b"p"[..]))
            );
            let expiry = if version.is_v5() { u32::MAX } else { 0 };
            assert_eq!(decoded.properties.session_expiry_interval, expiry);
            assert!(decoded.bridge, "{version:?}");
            let via = version.is_v5().then_some("here");
            assert_eq!(decoded.properties.via, via);
            let will = decoded.will.unwrap();
            assert_eq!(
                (will.topic, will.payload, will.retain, will.qos),
                ("w", &b"0"[..], true, QoS::AtLeastOnce)
            );
            out.clear();
            subscribe(
                &mut out,
                version,
                9,
                &["a/+".into(), "b/#".into()],
                QoS::AtLeastOnce,
            );
            let decoded = Subscribe::decode(version, &out[2..]).unwrap();
            let filters: Vec<&str> = decoded.filters.map(|(filter, _)| filter).collect();
            assert_eq!(
                (decoded.packet_identifier, filters),
                (9, vec!["a/+", "b/#"])
            );
        }
    }

    #[test]
    fn answers_of_every_version_are_read() {
        let accepted = Connack {
            session_present: true,
            ..Connack::default()
        };
        assert_eq!(Connack::decode(Version::V311, &[1, 0]), Ok(accepted));
        assert_eq!(
            Connack::decode(Version::V5, &[0, 0x86, 3, 0x13, 0, 9]).map(|c| (c.code, c.keep_alive)),
            Ok((0x86, Some(9)))
        );
        assert!(Connack::decode(Version::V311, &[0]).is_err());
        assert_eq!(
            suback(Version::V311, &[0, 1, 0, 0x80]),
            Ok((1, &[0, 0x80][..]))
        );
        assert_eq!(suback(Version::V5, &[0, 1, 0, 2]), Ok((1, &[2][..])));
        assert!(suback(Version::V5, &[0, 0, 0]).is_err());
    }

    #[test]
    fn ping_and_disconnect_are_what_the_standard_says() {
        assert_eq!((PINGREQ, DISCONNECT), ([12 << 4, 0], [14 << 4, 0]));
        assert_eq!(reason(5), "not authorized (0x05)");
    }
}
