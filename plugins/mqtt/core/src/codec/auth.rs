//! AUTH (section 3.15).

use super::Error;
use super::primitives::Reader;
use super::property::{self, read_properties};

/// Checks the bytes after the fixed header of an AUTH packet.
pub fn decode(body: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(body);
    if !reader.is_empty() {
        if !matches!(reader.byte()?, 0x00 | 0x18 | 0x19) {
            return Err(Error::Protocol("reason code not allowed in AUTH"));
        }
        if !reader.is_empty() {
            read_properties(&mut reader, property::AUTH, |_| Ok(()))?;
        }
    }
    reader.finish()
}
