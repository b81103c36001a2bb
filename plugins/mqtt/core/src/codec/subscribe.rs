//! SUBSCRIBE (section 3.8).

use super::primitives::Reader;
use super::property::{self, Property, read_properties};
use super::{Error, QoS, Version};

/// A SUBSCRIBE packet as a view over its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet identifier, not zero.
    pub packet_identifier: u16,
    /// Applies to every filter of the packet.
    pub subscription_identifier: Option<u32>,
    /// At least one.
    pub filters: Filters<'a>,
}

/// Topic filters with their options, in the order of the packet; not yet checked against 4.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters<'a> {
    version: Version,
    bytes: &'a [u8],
}

impl<'a> Filters<'a> {
    /// Those that lie in bytes of a packet, which end where they hold anything else.
    #[must_use]
    pub fn new(version: Version, bytes: &'a [u8]) -> Filters<'a> {
        Filters { version, bytes }
    }

    /// The bytes of those that are to come.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    fn read(&mut self) -> Result<(&'a str, SubscriptionOptions), Error> {
        let mut reader = Reader::new(self.bytes);
        let filter = reader.string()?;
        let options = SubscriptionOptions::decode(self.version, reader.byte()?)?;
        self.bytes = reader.rest();
        Ok((filter, options))
    }
}

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, SubscriptionOptions);

    fn next(&mut self) -> Option<Self::Item> {
        self.read().ok()
    }
}

/// Subscription options (3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// Messages of the subscriber's own connection are not sent back.
    pub no_local: bool,
    /// The retain flag is forwarded as it was published.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// Retain handling option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every subscribe.
    Send = 0,
    /// Only when the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl SubscriptionOptions {
    /// Reads the options byte.
    pub fn decode(version: Version, byte: u8) -> Result<SubscriptionOptions, Error> {
        let reserved = if version.is_v5() { 0xc0 } else { 0xfc };
        if byte & reserved != 0 {
            return Err(Error::Malformed(
                "reserved bits of the subscription options are set",
            ));
        }
        Ok(SubscriptionOptions {
            qos: QoS::from_bits(byte & 3).ok_or(Error::Protocol("subscription with QoS 3"))?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match byte >> 4 & 3 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(Error::Protocol("retain handling 3")),
            },
        })
    }

    /// The options byte.
    #[must_use]
    pub fn encode(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl<'a> Subscribe<'a> {
    /// Decodes the bytes after the fixed header.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Subscribe<'a>, Error> {
        let mut reader = Reader::new(body);
        let packet_identifier = reader.packet_identifier()?;
        let mut subscription_identifier = None;
        if version.is_v5() {
            read_properties(&mut reader, property::SUBSCRIBE, |property| {
                if let Property::SubscriptionIdentifier(identifier) = property {
                    subscription_identifier = Some(identifier);
                }
                Ok(())
            })?;
        }
        if reader.is_empty() {
            return Err(Error::Protocol("SUBSCRIBE without a topic filter"));
        }
        let filters = Filters::new(version, reader.rest());
        let mut all = filters.clone();
        while !all.rest().is_empty() {
            all.read()?;
        }
        Ok(Subscribe {
            packet_identifier,
            subscription_identifier,
            filters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_byte_round_trips_and_its_reserved_bits_are_checked() {
        for byte in 0..=255u8 {
            match SubscriptionOptions::decode(Version::V5, byte) {
                Ok(options) => assert_eq!(options.encode(), byte),
                Err(_) => assert!(
                    byte & 0xc0 != 0 || byte & 3 == 3 || byte >> 4 & 3 == 3,
                    "{byte:#x}"
                ),
            }
            assert_eq!(
                SubscriptionOptions::decode(Version::V311, byte).is_ok(),
                byte < 3,
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn a_packet_without_filters_is_a_protocol_error() {
        assert!(Subscribe::decode(Version::V311, &[0, 1]).is_err());
        assert!(Subscribe::decode(Version::V5, &[0, 1, 0]).is_err());
    }
}
