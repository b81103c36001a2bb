//! DISCONNECT (section 3.14).

use super::primitives::{Reader, put_packet, put_variable};
use super::property::{self, Property, read_properties};
use super::{Error, ReasonCode, Version};

/// A DISCONNECT that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The will is to be published: any reason but normal disconnection.
    pub with_will: bool,
    /// Replaces the interval of CONNECT.
    pub session_expiry_interval: Option<u32>,
}

impl Disconnect {
    /// Decodes the bytes after the fixed header.
    pub fn decode(version: Version, body: &[u8]) -> Result<Disconnect, Error> {
        let mut reader = Reader::new(body);
        let mut disconnect = Disconnect {
            with_will: false,
            session_expiry_interval: None,
        };
        if version.is_v5() && !reader.is_empty() {
            let reason = reader.byte()?;
            if !matches!(reason, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
                return Err(Error::Protocol("reason code not allowed in DISCONNECT"));
            }
            disconnect.with_will = reason != 0;
            if !reader.is_empty() {
                read_properties(&mut reader, property::DISCONNECT_FROM_CLIENT, |property| {
                    if let Property::SessionExpiryInterval(interval) = property {
                        disconnect.session_expiry_interval = Some(interval);
                    }
                    Ok(())
                })?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }
}

/// Appends a DISCONNECT; only 5.0 has it from the server.
pub fn encode(out: &mut Vec<u8>, reason: ReasonCode, property: Option<Property<'_>>) {
    let mut body = vec![reason as u8];
    if let Some(property) = property {
        let mut properties = Vec::new();
        property.write(&mut properties);
        put_variable(&mut body, properties.len() as u32);
        body.extend_from_slice(&properties);
    }
    put_packet(out, 0xe0, &body);
}
