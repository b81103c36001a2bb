//! The packets as a client sees them: those that only clients send are written here, those that only servers
//! send are read here. No I/O.

use polyport_mqtt_core::codec::primitives::{
    Reader, put_binary, put_packet, put_u16, put_variable,
};
use polyport_mqtt_core::codec::property::{Property, PropertySet, read_properties};
use polyport_mqtt_core::codec::{Error, QoS, Version};

/// The whole PINGREQ packet.
pub const PINGREQ: [u8; 2] = [0xc0, 0];

/// The whole DISCONNECT packet of a normal end, in every version.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// May appear in CONNACK (3.2.2.3).
const CONNACK: PropertySet = PropertySet::of(&[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
    0x2a,
]);
/// May appear in SUBACK (3.9.2.1).
const SUBACK: PropertySet = PropertySet::of(&[0x1f, 0x26]);

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
    /// User name and password.
    pub login: Option<(String, String)>,
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
        let login = if self.login.is_some() { 0xc0 } else { 0 };
        body.extend([level, u8::from(self.clean) << 1 | login]);
        put_u16(&mut body, self.keep_alive);
        if self.version.is_v5() {
            let mut properties = Vec::new();
            if !self.clean {
                Property::SessionExpiryInterval(u32::MAX).write(&mut properties);
            }
            put_variable(&mut body, properties.len() as u32);
            body.extend(properties);
        }
        put_binary(&mut body, self.client_id.as_bytes());
        if let Some((user, password)) = &self.login {
            put_binary(&mut body, user.as_bytes());
            put_binary(&mut body, password.as_bytes());
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
    let mut body = Vec::new();
    put_u16(&mut body, identifier);
    if version.is_v5() {
        body.push(0);
    }
    for filter in filters {
        put_binary(&mut body, filter.as_bytes());
        body.push(qos as u8);
    }
    put_packet(out, 0x82, &body);
}

/// What a CONNACK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack {
    /// The server has the session.
    pub session_present: bool,
    /// Return code (3.x) or reason code (5.0); 0 is accepted.
    pub code: u8,
    /// Replaces the client's, in seconds.
    pub keep_alive: Option<u16>,
}

impl Connack {
    /// Decodes the bytes after the fixed header.
    pub fn decode(version: Version, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let session_present = reader.byte()? & 1 != 0;
        let code = reader.byte()?;
        let mut keep_alive = None;
        // A server without 5.0 answers with 3.x's two bytes.
        if version.is_v5() && !reader.is_empty() {
            read_properties(&mut reader, CONNACK, |property| {
                if let Property::ServerKeepAlive(seconds) = property {
                    keep_alive = Some(seconds);
                }
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(Self {
            session_present,
            code,
            keep_alive,
        })
    }
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
                login: Some(("u".into(), "p".into())),
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
            out.clear();
            subscribe(
                &mut out,
                version,
                9,
                &["a/+".into(), "b/#".into()],
                QoS::AtLeastOnce,
            );
            let decoded = Subscribe::decode(version, &out[2..]).unwrap();
            let filters: Vec<&str> = decoded.filters.iter().map(|(filter, _)| *filter).collect();
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
            code: 0,
            keep_alive: None,
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
