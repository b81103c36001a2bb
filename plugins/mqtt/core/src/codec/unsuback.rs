//! UNSUBACK (section 3.11).

use super::Version;
use super::primitives::{put_packet, put_u16};

/// Appends an UNSUBACK; the reason codes go on the wire in 5.0 only.
pub fn encode(out: &mut Vec<u8>, version: Version, packet_identifier: u16, codes: &[u8]) {
    let mut body = Vec::with_capacity(codes.len() + 3);
    put_u16(&mut body, packet_identifier);
    if version.is_v5() {
        body.push(0);
        body.extend_from_slice(codes);
    }
    put_packet(out, 0xb0, &body);
}
