//! The wire format of MQTT 3.1, 3.1.1 and 5.0: one file per packet.
//!
//! Decoders are views over the received frame; encoders append to a byte vector. Nothing here
//! knows sessions, sockets or time. Every error is the peer's and carries the reason code that
//! MQTT 5.0 answers it with; 3.x closes the connection instead.

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod ping;
pub mod primitives;
pub mod property;
pub mod publish;
pub mod reason;
pub mod suback;
pub mod subscribe;
pub mod unsuback;
pub mod unsubscribe;

pub use reason::ReasonCode;

/// Protocol version of a connection, from the CONNECT packet (MQTT-3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

impl Version {
    /// True when packets carry properties and reason codes.
    #[must_use]
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }
}

/// Quality of service (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The two-bit field; 3 is reserved and gives `None`.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }
}

/// Control packet types (table 2-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the standard's names")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type in the high nibble of the first byte; 0 is reserved.
    #[must_use]
    pub fn from_first_byte(first: u8) -> Option<PacketType> {
        use PacketType::*;
        Some(match first >> 4 {
            1 => Connect,
            2 => Connack,
            3 => Publish,
            4 => Puback,
            5 => Pubrec,
            6 => Pubrel,
            7 => Pubcomp,
            8 => Subscribe,
            9 => Suback,
            10 => Unsubscribe,
            11 => Unsuback,
            12 => Pingreq,
            13 => Pingresp,
            14 => Disconnect,
            15 => Auth,
            _ => return None,
        })
    }

    /// The value that the low nibble must have (section 2.1.3); PUBLISH uses it for its own flags.
    #[must_use]
    pub fn required_flags(self) -> Option<u8> {
        match self {
            PacketType::Publish => None,
            PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => Some(2),
            _ => Some(0),
        }
    }
}

/// What a peer did wrong, with the MQTT 5.0 reason code that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes that cannot be a packet (section 1.2, "malformed packet").
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// A well-formed packet that the standard does not allow here.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A limit or a right was exceeded for which the standard has a code of its own.
    #[error("{what} ({reason:?})")]
    Refused {
        /// The wire code.
        reason: ReasonCode,
        /// What was refused.
        what: &'static str,
    },
}

impl Error {
    /// The code for CONNACK or DISCONNECT.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Error::Malformed(_) => ReasonCode::MalformedPacket,
            Error::Protocol(_) => ReasonCode::ProtocolError,
            Error::Refused { reason, .. } => reason,
        }
    }
}

/// First byte and length of a frame (section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Packet type and flags.
    pub first: u8,
    /// Bytes of the fixed header itself, 2 to 5.
    pub length: usize,
    /// Bytes that follow it.
    pub remaining: usize,
}

impl FixedHeader {
    /// Bytes of the whole packet.
    #[must_use]
    pub fn frame(&self) -> usize {
        self.length + self.remaining
    }

    /// Reads the fixed header at the start of `bytes`; `None` when more bytes are needed.
    pub fn read(bytes: &[u8]) -> Result<Option<FixedHeader>, Error> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let mut remaining = 0usize;
        for (at, &byte) in rest.iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if at > 0 && byte == 0 {
                    return Err(Error::Malformed(
                        "remaining length is not in its shortest form",
                    ));
                }
                return Ok(Some(FixedHeader {
                    first,
                    length: at + 2,
                    remaining,
                }));
            }
        }
        if rest.len() >= 4 {
            Err(Error::Malformed("remaining length longer than four bytes"))
        } else {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_header_is_read_at_every_length_limit() {
        for (bytes, remaining) in [
            (&[0x30u8, 0][..], 0),
            (&[0x30, 127], 127),
            (&[0x30, 0x80, 1], 128),
            (&[0x30, 0xff, 0xff, 0x7f], 2_097_151),
            (&[0x30, 0xff, 0xff, 0xff, 0x7f], 268_435_455),
        ] {
            let header = FixedHeader::read(bytes).unwrap().unwrap();
            assert_eq!((header.remaining, header.length), (remaining, bytes.len()));
            for end in 0..bytes.len() {
                assert_eq!(
                    FixedHeader::read(&bytes[..end]).unwrap(),
                    None,
                    "truncated at {end}"
                );
            }
        }
    }

    #[test]
    fn remaining_length_of_five_bytes_or_padded_is_malformed() {
        assert!(FixedHeader::read(&[0x30, 0x80, 0x80, 0x80, 0x80]).is_err());
        assert!(FixedHeader::read(&[0x30, 0x80, 0x00]).is_err());
    }
}
