//! CONNACK (section 3.2).

use super::primitives::{put_packet, put_variable};
use super::property::Property;
use super::{ReasonCode, Version};

/// Appends a CONNACK. `properties` are used in 5.0 only. Returns false, having appended nothing,
/// when this version has no return code for the reason: the connection is closed unanswered.
pub fn encode(
    out: &mut Vec<u8>,
    version: Version,
    session_present: bool,
    reason: ReasonCode,
    properties: &[Property<'_>],
) -> bool {
    if !version.is_v5() {
        let Some(code) = reason.connect_return_code() else {
            return false;
        };
        // MQTT 3.1 has a reserved byte where 3.1.1 has the session present flag.
        let present = session_present && version != Version::V31;
        out.extend_from_slice(&[0x20, 2, u8::from(present), code]);
        return true;
    }
    let mut encoded = Vec::new();
    for property in properties {
        property.write(&mut encoded);
    }
    let mut body = vec![u8::from(session_present), reason as u8];
    put_variable(&mut body, encoded.len() as u32);
    body.extend_from_slice(&encoded);
    put_packet(out, 0x20, &body);
    true
}
