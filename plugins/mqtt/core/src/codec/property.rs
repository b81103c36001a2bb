//! Properties of MQTT 5.0 (section 2.2.2): the table of identifiers, their types, and in which
//! packets each may appear.

use super::Error;
use super::primitives::{Reader, put_binary, put_u16, put_u32, put_variable};

/// One property as a view over the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the standard's names")]
pub enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// A set of property identifiers, one bit each (the identifiers end at 42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertySet(u64);

impl PropertySet {
    /// The set of these identifiers.
    #[must_use]
    pub const fn of(identifiers: &[u8]) -> PropertySet {
        let mut bits = 0;
        let mut at = 0;
        while at < identifiers.len() {
            bits |= 1 << identifiers[at];
            at += 1;
        }
        PropertySet(bits)
    }

    fn contains(self, identifier: u8) -> bool {
        self.0 & (1 << identifier) != 0
    }
}

const USER_PROPERTY: u8 = 0x26;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

/// May appear in CONNECT.
pub const CONNECT: PropertySet =
    PropertySet::of(&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]);
/// May appear among the will properties of CONNECT.
pub const WILL: PropertySet = PropertySet::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);
/// May appear in a PUBLISH that a client sends (a subscription identifier may not, MQTT-3.3.4-6).
pub const PUBLISH_FROM_CLIENT: PropertySet =
    PropertySet::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26]);
/// May appear in a PUBLISH that a server sends.
pub const PUBLISH_FROM_SERVER: PropertySet =
    PropertySet::of(&[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]);
/// May appear in PUBACK, PUBREC, PUBREL and PUBCOMP.
pub const ACK: PropertySet = PropertySet::of(&[0x1f, 0x26]);
/// May appear in SUBSCRIBE.
pub const SUBSCRIBE: PropertySet = PropertySet::of(&[0x0b, 0x26]);
/// May appear in UNSUBSCRIBE.
pub const UNSUBSCRIBE: PropertySet = PropertySet::of(&[0x26]);
/// May appear in a DISCONNECT that a client sends.
pub const DISCONNECT_FROM_CLIENT: PropertySet = PropertySet::of(&[0x11, 0x1f, 0x26]);
/// May appear in AUTH.
pub const AUTH: PropertySet = PropertySet::of(&[0x15, 0x16, 0x1f, 0x26]);

/// Reads a property length and that many bytes of properties, giving each to `each`, and returns
/// those bytes. A property that `allowed` does not name, or twice one that may appear once, is a
/// protocol error; an unknown identifier is a malformed packet (MQTT-2.2.2).
pub fn read_properties<'a>(
    reader: &mut Reader<'a>,
    allowed: PropertySet,
    mut each: impl FnMut(Property<'a>) -> Result<(), Error>,
) -> Result<&'a [u8], Error> {
    let length = reader.variable_byte_integer()?;
    let raw = reader.take(length as usize)?;
    let mut properties = Reader::new(raw);
    let mut seen = 0u64;
    while !properties.is_empty() {
        let (identifier, property) = Property::read(&mut properties)?;
        if !allowed.contains(identifier) {
            return Err(Error::Protocol("property not allowed in this packet"));
        }
        let repeatable = identifier == USER_PROPERTY
            || identifier == SUBSCRIPTION_IDENTIFIER && allowed == PUBLISH_FROM_SERVER;
        if seen & (1 << identifier) != 0 && !repeatable {
            return Err(Error::Protocol("property more than once"));
        }
        seen |= 1 << identifier;
        each(property)?;
    }
    Ok(raw)
}

impl<'a> Property<'a> {
    /// Reads one property, its identifier first.
    pub fn read(reader: &mut Reader<'a>) -> Result<(u8, Property<'a>), Error> {
        use Property::*;
        fn flag(reader: &mut Reader<'_>) -> Result<bool, Error> {
            match reader.byte()? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(Error::Protocol("property value is neither 0 nor 1")),
            }
        }
        let identifier = reader.variable_byte_integer()?;
        let property = match identifier {
            0x01 => PayloadFormatIndicator(flag(reader)?),
            0x02 => MessageExpiryInterval(reader.four_byte_integer()?),
            0x03 => ContentType(reader.string()?),
            0x08 => ResponseTopic(reader.string()?),
            0x09 => CorrelationData(reader.binary()?),
            0x0b => match reader.variable_byte_integer()? {
                0 => return Err(Error::Protocol("subscription identifier is zero")),
                identifier => SubscriptionIdentifier(identifier),
            },
            0x11 => SessionExpiryInterval(reader.four_byte_integer()?),
            0x12 => AssignedClientIdentifier(reader.string()?),
            0x13 => ServerKeepAlive(reader.two_byte_integer()?),
            0x15 => AuthenticationMethod(reader.string()?),
            0x16 => AuthenticationData(reader.binary()?),
            0x17 => RequestProblemInformation(flag(reader)?),
            0x18 => WillDelayInterval(reader.four_byte_integer()?),
            0x19 => RequestResponseInformation(flag(reader)?),
            0x1a => ResponseInformation(reader.string()?),
            0x1c => ServerReference(reader.string()?),
            0x1f => ReasonString(reader.string()?),
            0x21 => match reader.two_byte_integer()? {
                0 => return Err(Error::Protocol("receive maximum is zero")),
                maximum => ReceiveMaximum(maximum),
            },
            0x22 => TopicAliasMaximum(reader.two_byte_integer()?),
            0x23 => TopicAlias(reader.two_byte_integer()?),
            0x24 => MaximumQos(u8::from(flag(reader)?)),
            0x25 => RetainAvailable(flag(reader)?),
            0x26 => {
                let name = reader.string()?;
                UserProperty(name, reader.string()?)
            }
            0x27 => match reader.four_byte_integer()? {
                0 => return Err(Error::Protocol("maximum packet size is zero")),
                maximum => MaximumPacketSize(maximum),
            },
            0x28 => WildcardSubscriptionAvailable(flag(reader)?),
            0x29 => SubscriptionIdentifierAvailable(flag(reader)?),
            0x2a => SharedSubscriptionAvailable(flag(reader)?),
            _ => return Err(Error::Malformed("unknown property identifier")),
        };
        Ok((identifier as u8, property))
    }

    /// Appends the property with its identifier.
    pub fn write(&self, out: &mut Vec<u8>) {
        use Property::*;
        fn byte(out: &mut Vec<u8>, identifier: u8, value: u8) {
            out.extend_from_slice(&[identifier, value]);
        }
        fn two(out: &mut Vec<u8>, identifier: u8, value: u16) {
            out.push(identifier);
            put_u16(out, value);
        }
        fn four(out: &mut Vec<u8>, identifier: u8, value: u32) {
            out.push(identifier);
            put_u32(out, value);
        }
        fn binary(out: &mut Vec<u8>, identifier: u8, value: &[u8]) {
            out.push(identifier);
            put_binary(out, value);
        }
        match *self {
            PayloadFormatIndicator(v) => byte(out, 0x01, v.into()),
            MessageExpiryInterval(v) => four(out, 0x02, v),
            ContentType(v) => binary(out, 0x03, v.as_bytes()),
            ResponseTopic(v) => binary(out, 0x08, v.as_bytes()),
            CorrelationData(v) => binary(out, 0x09, v),
            SubscriptionIdentifier(v) => {
                out.push(0x0b);
                put_variable(out, v);
            }
            SessionExpiryInterval(v) => four(out, 0x11, v),
            AssignedClientIdentifier(v) => binary(out, 0x12, v.as_bytes()),
            ServerKeepAlive(v) => two(out, 0x13, v),
            AuthenticationMethod(v) => binary(out, 0x15, v.as_bytes()),
            AuthenticationData(v) => binary(out, 0x16, v),
            RequestProblemInformation(v) => byte(out, 0x17, v.into()),
            WillDelayInterval(v) => four(out, 0x18, v),
            RequestResponseInformation(v) => byte(out, 0x19, v.into()),
            ResponseInformation(v) => binary(out, 0x1a, v.as_bytes()),
            ServerReference(v) => binary(out, 0x1c, v.as_bytes()),
            ReasonString(v) => binary(out, 0x1f, v.as_bytes()),
            ReceiveMaximum(v) => two(out, 0x21, v),
            TopicAliasMaximum(v) => two(out, 0x22, v),
            TopicAlias(v) => two(out, 0x23, v),
            MaximumQos(v) => byte(out, 0x24, v),
            RetainAvailable(v) => byte(out, 0x25, v.into()),
            UserProperty(name, value) => {
                binary(out, 0x26, name.as_bytes());
                put_binary(out, value.as_bytes());
            }
            MaximumPacketSize(v) => four(out, 0x27, v),
            WildcardSubscriptionAvailable(v) => byte(out, 0x28, v.into()),
            SubscriptionIdentifierAvailable(v) => byte(out, 0x29, v.into()),
            SharedSubscriptionAvailable(v) => byte(out, 0x2a, v.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], allowed: PropertySet) -> Result<usize, Error> {
        let mut count = 0;
        let mut framed = Vec::new();
        put_variable(&mut framed, bytes.len() as u32);
        framed.extend_from_slice(bytes);
        read_properties(&mut Reader::new(&framed), allowed, |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    #[test]
    fn user_property_repeats_and_others_do_not() {
        let user = [0x26, 0, 1, b'a', 0, 1, b'b'];
        assert_eq!(read(&[user, user].concat(), PUBLISH_FROM_CLIENT), Ok(2));
        let expiry = [0x02, 0, 0, 0, 1];
        assert!(matches!(
            read(&[expiry, expiry].concat(), PUBLISH_FROM_CLIENT),
            Err(Error::Protocol(_))
        ));
    }

    #[test]
    fn foreign_and_unknown_properties_are_told_apart() {
        assert!(matches!(
            read(&[0x13, 0, 5], PUBLISH_FROM_CLIENT),
            Err(Error::Protocol(_))
        ));
        assert!(matches!(
            read(&[0x04, 1], PUBLISH_FROM_CLIENT),
            Err(Error::Malformed(_))
        ));
        assert!(matches!(
            read(&[0x02, 0, 0], PUBLISH_FROM_CLIENT),
            Err(Error::Malformed(_))
        ));
        assert!(matches!(
            read(&[0x01, 2], PUBLISH_FROM_CLIENT),
            Err(Error::Protocol(_))
        ));
    }
}
