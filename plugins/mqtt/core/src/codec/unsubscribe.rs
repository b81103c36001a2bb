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
    pub filters: Filters<'a>,
}

/// Topic filters in the order of the packet; not yet checked against 4.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters<'a>(&'a [u8]);

impl<'a> Filters<'a> {
    /// Those that lie in bytes of a packet, which end where they hold anything else.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Filters<'a> {
        Filters(bytes)
    }

    /// The bytes of those that are to come.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn read(&mut self) -> Result<&'a str, Error> {
        let mut reader = Reader::new(self.0);
        let filter = reader.string()?;
        self.0 = reader.rest();
        Ok(filter)
    }
}

impl<'a> Iterator for Filters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.read().ok()
    }
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
        let filters = Filters::new(reader.rest());
        let mut all = filters.clone();
        while !all.rest().is_empty() {
            all.read()?;
        }
        Ok(Unsubscribe {
            packet_identifier,
            filters,
        })
    }
}
