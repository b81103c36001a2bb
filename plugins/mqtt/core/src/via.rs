//! Through which brokers a message came: a user property for each bridge that it passed, by which a message that
//! comes round again is recognised. MQTT 3.x has no place for it.

use crate::codec::primitives::Reader;
use crate::codec::property::Property;

/// Name of the user property; its value is what a broker is called. On a message: one that it passed. In CONNECT
/// and CONNACK: the one that speaks.
pub const PROPERTY: &str = "polyport-via";

/// Whether encoded properties say that a message passed the broker `name`.
#[must_use]
pub fn has_passed(properties: &[u8], name: &str) -> bool {
    let mut reader = Reader::new(properties);
    while let Ok((_, property)) = Property::read(&mut reader) {
        if property == Property::UserProperty(PROPERTY, name) {
            return true;
        }
    }
    false
}

/// Appends to encoded properties that a message passed the broker `name`, unless they say so.
pub fn note_passed(properties: &mut Vec<u8>, name: &str) {
    if !has_passed(properties, name) {
        Property::UserProperty(PROPERTY, name).write(properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_noted_once_and_found_among_other_properties() {
        let mut properties = Vec::new();
        Property::ContentType("a").write(&mut properties);
        Property::UserProperty("b", "one").write(&mut properties);
        assert!(!has_passed(&properties, "one"));
        note_passed(&mut properties, "one");
        note_passed(&mut properties, "two");
        let length = properties.len();
        note_passed(&mut properties, "one");
        assert_eq!(properties.len(), length);
        assert!(has_passed(&properties, "one") && has_passed(&properties, "two"));
        assert!(!has_passed(&properties, "on"));
        assert!(!has_passed(&[], ""));
    }
}
