//! UNSUBACK (section 3.11).

use super::primitives::{put_packet, put_u16};
use super::{ReasonCode, Version};

/// Appends an UNSUBACK; the reasons go on the wire in 5.0 only.
pub fn encode(out: &mut Vec<u8>, version: Version, packet_identifier: u16, reasons: &[ReasonCode]) {
    let mut body = Vec::with_capacity(reasons.len() + 3);
    put_u16(&mut body, packet_identifier);
    if version.is_v5() {
        body.push(0);
        body.extend(reasons.iter().map(|&reason| reason as u8));
    }
    put_packet(out, 0xb0, &body);
}
