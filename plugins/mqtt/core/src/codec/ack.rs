//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share one layout.

use super::primitives::{Reader, put_u16};
use super::property::{self, read_properties};
use super::{Error, PacketType, ReasonCode, Version};

/// One of the four acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The packet identifier it answers.
    pub packet_identifier: u16,
    /// True for a reason code of 0x80 or more.
    pub failed: bool,
}

impl Ack {
    /// Decodes the bytes after the fixed header of a packet of type `kind`.
    pub fn decode(version: Version, kind: PacketType, body: &[u8]) -> Result<Ack, Error> {
        let mut reader = Reader::new(body);
        let packet_identifier = reader.packet_identifier()?;
        let mut failed = false;
        if version.is_v5() && !reader.is_empty() {
            let reason = reader.byte()?;
            if !allowed(kind, reason) {
                return Err(Error::Protocol("reason code not allowed in this packet"));
            }
            failed = reason >= 0x80;
            if !reader.is_empty() {
                read_properties(&mut reader, property::ACK, |_| Ok(()))?;
            }
        }
        reader.finish()?;
        Ok(Ack {
            packet_identifier,
            failed,
        })
    }
}

fn allowed(kind: PacketType, reason: u8) -> bool {
    match kind {
        PacketType::Pubrel | PacketType::Pubcomp => matches!(reason, 0x00 | 0x92),
        _ => matches!(
            reason,
            0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
        ),
    }
}

/// Appends an acknowledgement; the reason goes on the wire in 5.0 when it is not success.
pub fn encode(
    out: &mut Vec<u8>,
    version: Version,
    kind: PacketType,
    packet_identifier: u16,
    reason: ReasonCode,
) {
    let with_reason = version.is_v5() && reason != ReasonCode::Success;
    out.push((kind as u8) << 4 | if kind == PacketType::Pubrel { 2 } else { 0 });
    out.push(if with_reason { 3 } else { 2 });
    put_u16(out, packet_identifier);
    if with_reason {
        out.push(reason as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_two_three_and_with_properties_are_read() {
        let decode = |body: &[u8]| Ack::decode(Version::V5, PacketType::Puback, body);
        assert_eq!(decode(&[0, 7]).unwrap().packet_identifier, 7);
        assert!(!decode(&[0, 7, 0x10]).unwrap().failed);
        assert!(decode(&[0, 7, 0x97, 0]).unwrap().failed);
        assert!(decode(&[0, 7, 0x01]).is_err(), "reason of another packet");
        assert!(
            decode(&[0, 7, 0, 5]).is_err(),
            "property length beyond the packet"
        );
        assert!(decode(&[0, 0]).is_err(), "packet identifier 0");
        assert!(
            Ack::decode(Version::V311, PacketType::Puback, &[0, 7, 0]).is_err(),
            "3.1.1 has no reason"
        );
    }
}
