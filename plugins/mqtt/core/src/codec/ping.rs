//! PINGREQ and PINGRESP (sections 3.12 and 3.13).

use super::Error;

/// The whole PINGRESP packet.
pub const PINGRESP: [u8; 2] = [0xd0, 0];

/// Checks the bytes after the fixed header of a PINGREQ: there are none.
pub fn decode_pingreq(body: &[u8]) -> Result<(), Error> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(Error::Malformed("PINGREQ with a body"))
    }
}
