//! PUBLISH (section 3.3).

use super::primitives::{Reader, put_binary, put_u16, put_variable, utf8_string, variable_length};
use super::property::{self, Property, PropertySet, read_properties};
use super::{Error, QoS, Version};
use crate::topic;

/// A PUBLISH packet as a view over its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Delivery may be repeated.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Empty only together with a topic alias.
    pub topic: &'a str,
    /// Zero for QoS 0.
    pub packet_identifier: u16,
    /// The 5.0 properties.
    pub properties: PublishProperties<'a>,
    /// Payload.
    pub payload: &'a [u8],
}

/// Properties of PUBLISH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// All properties as they came.
    pub raw: &'a [u8],
    /// Topic alias, not zero.
    pub topic_alias: Option<u16>,
    /// Seconds.
    pub message_expiry_interval: Option<u32>,
    /// Only from a server.
    pub subscription_identifiers: bool,
}

impl<'a> PublishProperties<'a> {
    /// The encoded properties that a server forwards unaltered (3.3.2.3): all but topic alias,
    /// message expiry interval and subscription identifiers. `scratch` holds them when they are
    /// not the whole of what came.
    pub fn forwarded<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if self.topic_alias.is_none()
            && self.message_expiry_interval.is_none()
            && !self.subscription_identifiers
        {
            return self.raw;
        }
        scratch.clear();
        let mut reader = Reader::new(self.raw);
        while let Ok((_, property)) = Property::read(&mut reader) {
            match property {
                Property::TopicAlias(_)
                | Property::MessageExpiryInterval(_)
                | Property::SubscriptionIdentifier(_) => {}
                other => other.write(scratch),
            }
        }
        scratch
    }
}

impl<'a> Publish<'a> {
    /// Decodes a PUBLISH that a client sent: `first` byte and the bytes after the fixed header.
    pub fn decode(version: Version, first: u8, body: &'a [u8]) -> Result<Publish<'a>, Error> {
        Self::decode_with(version, first, body, property::PUBLISH_FROM_CLIENT)
    }

    /// Decodes a PUBLISH with the properties that its sender may use.
    pub fn decode_with(
        version: Version,
        first: u8,
        body: &'a [u8],
        allowed: PropertySet,
    ) -> Result<Publish<'a>, Error> {
        let dup = first & 0x08 != 0;
        let qos = QoS::from_bits(first >> 1 & 3).ok_or(Error::Malformed("PUBLISH with QoS 3"))?;
        if dup && qos == QoS::AtMostOnce {
            return Err(Error::Malformed("PUBLISH with DUP and QoS 0"));
        }
        let mut reader = Reader::new(body);
        let topic = utf8_string(reader.binary()?)?;
        if !topic.is_empty() && !topic::is_name(topic) {
            return Err(Error::Malformed("topic name with wildcards"));
        }
        let packet_identifier = if qos == QoS::AtMostOnce {
            0
        } else {
            reader.packet_identifier()?
        };
        let mut properties = PublishProperties::default();
        if version.is_v5() {
            properties.raw = match reader.rest().first() {
                Some(0) => {
                    reader.take(1)?;
                    &[]
                }
                _ => {
                    let mut alias = None;
                    let mut expiry = None;
                    let mut identifiers = false;
                    let raw = read_properties(&mut reader, allowed, |property| {
                        match property {
                            Property::TopicAlias(v) => alias = Some(v),
                            Property::MessageExpiryInterval(v) => expiry = Some(v),
                            Property::SubscriptionIdentifier(_) => identifiers = true,
                            Property::ResponseTopic(v) if !topic::is_name(v) => {
                                return Err(Error::Protocol(
                                    "response topic is empty or has wildcards",
                                ));
                            }
                            _ => {}
                        }
                        Ok(())
                    })?;
                    properties.topic_alias = alias;
                    properties.message_expiry_interval = expiry;
                    properties.subscription_identifiers = identifiers;
                    raw
                }
            };
        }
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(if version.is_v5() {
                Error::Protocol("empty topic name without topic alias")
            } else {
                Error::Malformed("empty topic name")
            });
        }
        Ok(Publish {
            dup,
            qos,
            retain: first & 1 != 0,
            topic,
            packet_identifier,
            properties,
            payload: reader.rest(),
        })
    }
}

/// What goes before the payload of an outgoing PUBLISH.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Decides whether there are properties.
    pub version: Version,
    /// Quality of service.
    pub qos: QoS,
    /// Retain flag.
    pub retain: bool,
    /// Delivery may be repeated.
    pub dup: bool,
    /// Empty when an alias known to the receiver stands for it.
    pub topic: &'a str,
    /// Sent when not zero.
    pub topic_alias: u16,
    /// Seconds left.
    pub message_expiry_interval: Option<u32>,
    /// Of the subscriptions that matched.
    pub subscription_identifiers: &'a [u32],
    /// Encoded properties that are forwarded unaltered.
    pub properties: &'a [u8],
    /// Bytes of the payload that follows.
    pub payload: usize,
}

impl Head<'_> {
    /// Appends everything up to the payload, with a packet identifier of zero for QoS 1 and 2, and
    /// returns the position of that identifier counted from the start of this packet.
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let identifier = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let mut remaining = 2 + self.topic.len() + identifier + self.payload;
        let properties = self.properties_length();
        if self.version.is_v5() {
            remaining += variable_length(properties as u32) + properties;
        }
        out.push(0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain));
        put_variable(out, remaining as u32);
        put_binary(out, self.topic.as_bytes());
        let at = out.len() - start;
        if identifier > 0 {
            put_u16(out, 0);
        }
        if self.version.is_v5() {
            put_variable(out, properties as u32);
            if self.topic_alias > 0 {
                Property::TopicAlias(self.topic_alias).write(out);
            }
            if let Some(interval) = self.message_expiry_interval {
                Property::MessageExpiryInterval(interval).write(out);
            }
            out.extend_from_slice(self.properties);
            for &identifier in self.subscription_identifiers {
                Property::SubscriptionIdentifier(identifier).write(out);
            }
        }
        at
    }

    fn properties_length(&self) -> usize {
        let mut length = self.properties.len();
        if self.topic_alias > 0 {
            length += 3;
        }
        if self.message_expiry_interval.is_some() {
            length += 5;
        }
        length
            + self
                .subscription_identifiers
                .iter()
                .map(|&id| 1 + variable_length(id))
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_properties_leave_out_what_belongs_to_one_hop() {
        let mut raw = Vec::new();
        Property::UserProperty("a", "1").write(&mut raw);
        Property::TopicAlias(3).write(&mut raw);
        Property::MessageExpiryInterval(9).write(&mut raw);
        Property::UserProperty("a", "2").write(&mut raw);
        let mut body = b"\x00\x01t".to_vec();
        put_variable(&mut body, raw.len() as u32);
        body.extend_from_slice(&raw);
        let publish = Publish::decode(Version::V5, 0x30, &body).unwrap();
        assert_eq!(publish.properties.topic_alias, Some(3));
        let mut expected = Vec::new();
        Property::UserProperty("a", "1").write(&mut expected);
        Property::UserProperty("a", "2").write(&mut expected);
        assert_eq!(publish.properties.forwarded(&mut Vec::new()), expected);
    }

    #[test]
    fn flags_and_topics_follow_section_3_3() {
        let decode = |first, body: &[u8]| Publish::decode(Version::V311, first, body).map(|_| ());
        assert!(decode(0x36, b"\x00\x01t\x00\x01").is_err(), "QoS 3");
        assert!(decode(0x38, b"\x00\x01t").is_err(), "DUP with QoS 0");
        assert!(decode(0x30, b"\x00\x00").is_err(), "empty topic");
        assert!(decode(0x30, b"\x00\x01+").is_err(), "wildcard");
        assert!(
            decode(0x32, b"\x00\x01t\x00\x00").is_err(),
            "packet identifier 0"
        );
        assert!(decode(0x31, b"\x00\x01t").is_ok());
    }
}
