//! Data representation (section 1.5): integers, UTF-8 strings, binary data, variable byte integers.

use super::Error;

/// Largest value of a variable byte integer.
pub const VARIABLE_BYTE_INTEGER_MAX: u32 = 268_435_455;

/// Reads the fields of one frame; running out of bytes is a malformed packet.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the bytes after the fixed header.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// True when everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(Error::Malformed("packet ends inside a field"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Error> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Two byte integer (1.5.2).
    pub fn two_byte_integer(&mut self) -> Result<u16, Error> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four byte integer (1.5.3).
    pub fn four_byte_integer(&mut self) -> Result<u32, Error> {
        self.take(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Variable byte integer in its shortest form (1.5.5, MQTT-1.5.5-1).
    pub fn variable_byte_integer(&mut self) -> Result<u32, Error> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if shift > 0 && byte == 0 {
                    return Err(Error::Malformed(
                        "variable byte integer is not in its shortest form",
                    ));
                }
                return Ok(value);
            }
        }
        Err(Error::Malformed(
            "variable byte integer longer than four bytes",
        ))
    }

    /// Binary data (1.5.6).
    pub fn binary(&mut self) -> Result<&'a [u8], Error> {
        let length = self.two_byte_integer()?;
        self.take(usize::from(length))
    }

    /// UTF-8 encoded string (1.5.4).
    pub fn string(&mut self) -> Result<&'a str, Error> {
        utf8_string(self.binary()?)
    }

    /// A packet identifier, which must not be zero (2.2.1).
    pub fn packet_identifier(&mut self) -> Result<u16, Error> {
        match self.two_byte_integer()? {
            0 => Err(Error::Protocol("packet identifier is zero")),
            identifier => Ok(identifier),
        }
    }

    /// Fails when bytes are left over.
    pub fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::Malformed("bytes after the end of the packet"))
        }
    }
}

/// Checks a UTF-8 encoded string: well-formed, no surrogates, no U+0000 (MQTT-1.5.4-1, -2), and
/// none of the control and non-characters that a receiver may refuse (1.5.4). U+FEFF is legal
/// anywhere (MQTT-1.5.4-3).
pub fn utf8_string(bytes: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed("string is not UTF-8"))?;
    if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Ok(text);
    }
    for character in text.chars() {
        let code = u32::from(character);
        if character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe {
            return Err(Error::Malformed("string with a control or non-character"));
        }
    }
    Ok(text)
}

/// Appends a two byte integer.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a four byte integer.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a variable byte integer; `value` is at most [`VARIABLE_BYTE_INTEGER_MAX`].
pub fn put_variable(out: &mut Vec<u8>, mut value: u32) {
    debug_assert!(value <= VARIABLE_BYTE_INTEGER_MAX);
    while value >= 0x80 {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_variable`] appends for `value`.
#[must_use]
pub fn variable_length(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends binary data or a string with its length; longer than 65,535 bytes is cut, which no
/// caller does: every such field came in through a two-byte length.
pub fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    put_u16(out, length);
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

/// Appends a packet whose body is already encoded.
pub fn put_packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    put_variable(out, body.len() as u32);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_follow_section_1_5_4() {
        assert_eq!(
            utf8_string("top\u{feff}ic/\u{2a6d4}".as_bytes()),
            Ok("top\u{feff}ic/\u{2a6d4}")
        );
        for bad in [
            "a\0b",
            "a\u{1}",
            "a\u{1f}",
            "\u{7f}",
            "\u{9f}",
            "\u{ffff}",
            "\u{1fffe}",
            "\u{fdd0}",
        ] {
            assert!(utf8_string(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(utf8_string(&[0xed, 0xa0, 0x80]).is_err(), "surrogate");
        assert!(utf8_string(&[0xc0, 0xaf]).is_err(), "overlong");
    }

    #[test]
    fn variable_byte_integers_round_trip_at_their_limits() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            VARIABLE_BYTE_INTEGER_MAX,
        ] {
            let mut bytes = Vec::new();
            put_variable(&mut bytes, value);
            assert_eq!(bytes.len(), variable_length(value));
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.variable_byte_integer(), Ok(value));
            assert!(reader.is_empty());
        }
        assert!(
            Reader::new(&[0x80, 0x80, 0x80, 0x80, 1])
                .variable_byte_integer()
                .is_err()
        );
        assert!(Reader::new(&[0x81, 0x00]).variable_byte_integer().is_err());
    }
}
