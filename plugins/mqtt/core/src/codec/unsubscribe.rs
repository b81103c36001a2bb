//! UNSUBSCRIBE (section 3.10).

use super::primitives::Reader;
use super::property::{self, read_properties};
use super::{Error, Version};

/// An UNSUBSCRIBE packet as a view over its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet identifier, not zero.
    pub packet_identifier: u16,
    /// At least one.
    pub filters: Vec<&'a str>,
}

impl<'a> Unsubscribe<'a> {
    /// Decodes the bytes after the fixed header.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Unsubscribe<'a>, Error> {
        let mut reader = Reader::new(body);
        let packet_identifier = reader.packet_identifier()?;
        if version.is_v5() {
            read_properties(&mut reader, property::UNSUBSCRIBE, |_| Ok(()))?;
        }
        if reader.is_empty() {
            return Err(Error::Protocol("UNSUBSCRIBE without a topic filter"));
        }
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(reader.string()?);
        }
        Ok(Unsubscribe {
            packet_identifier,
            filters,
        })
    }
}
