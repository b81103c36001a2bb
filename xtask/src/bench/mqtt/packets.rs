//! The packets of MQTT 3.1.1 that the loads send and expect.

/// Control packet types, table 2.1, as the upper half of the first byte.
pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const PUBREC: u8 = 5;
pub const PUBREL: u8 = 6;
pub const PUBCOMP: u8 = 7;
pub const SUBACK: u8 = 9;

pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Who connects, and what becomes of its session.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    pub client_id: &'a str,
    pub clean: bool,
    /// User and password.
    pub login: Option<(&'a str, &'a str)>,
}

impl Connect<'_> {
    /// Section 3.1, without a keep alive.
    pub fn packet(self) -> Vec<u8> {
        let login = if self.login.is_some() { 0xc0 } else { 0 };
        let mut body = string("MQTT");
        body.extend([4, login | u8::from(self.clean) << 1, 0, 0]);
        body.extend(string(self.client_id));
        if let Some((user, password)) = self.login {
            body.extend(string(user));
            body.extend(string(password));
        }
        packet(0x10, &body)
    }
}

/// Section 3.8, with packet identifier 1.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(string(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// An acknowledgement of type `kind`; PUBREL has a flag of its own (section 3.6.1).
pub fn acknowledgement(kind: u8, identifier: [u8; 2]) -> [u8; 4] {
    let flags = if kind == PUBREL { 0b10 } else { 0 };
    let [high, low] = identifier;
    [kind << 4 | flags, 2, high, low]
}

/// What a PUBLISH carries, section 3.3, after the fixed header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    /// None for QoS 0.
    pub identifier: Option<[u8; 2]>,
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    pub fn read(first: u8, body: &'a [u8]) -> Option<Self> {
        let (length, rest) = body.split_first_chunk()?;
        let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
        if first & 0b110 == 0 {
            return Some(Self {
                identifier: None,
                payload: rest,
            });
        }
        let (identifier, payload) = rest.split_first_chunk()?;
        Some(Self {
            identifier: Some(*identifier),
            payload,
        })
    }
}

/// The first whole packet: its first byte, its body, and what follows it.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        length |= usize::from(byte & 0x7f) << shift;
        rest = after;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (body, after) = rest.split_at_checked(length)?;
    Some((*first, body, after))
}

/// A packet with its remaining length in front (section 2.2.3).
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// A UTF-8 string with its length in front (section 1.5.3).
pub fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("names of the benchmark are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_where_they_end() {
        let long = packet(0x30, &[7; 300]);
        assert_eq!(long.get(..3), Some(&[0x30, 0xac, 0x02][..]));
        let stream = [&long[..], &[0x40, 2, 0, 9], &[0x40, 2, 0]].concat();
        let (first, body, rest) = split(&stream).unwrap();
        assert_eq!((first, body.len()), (0x30, 300));
        let (first, body, rest) = split(rest).unwrap();
        assert_eq!((first, body), (0x40, &[0, 9][..]));
        assert_eq!(split(rest), None);
    }

    #[test]
    fn a_publish_is_read_with_and_without_an_identifier() {
        let mut body = string("a/b");
        body.extend([1, 2, b'x']);
        let read = Publish::read(0x34, &body).unwrap();
        assert_eq!((read.identifier, read.payload), (Some([1, 2]), &b"x"[..]));
        let read = Publish::read(0x30, &body).unwrap();
        assert_eq!((read.identifier, read.payload), (None, &[1, 2, b'x'][..]));
        assert_eq!(Publish::read(0x32, &[0, 3, b'a', b'/', b'b', 1]), None);
    }

    #[test]
    fn a_login_is_framed() {
        let connect = Connect {
            client_id: "c",
            clean: true,
            login: Some(("u", "pw")),
        };
        assert_eq!(
            connect.packet(),
            b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x01u\x00\x02pw"
        );
    }

    #[test]
    fn a_release_has_its_flag() {
        assert_eq!(acknowledgement(PUBREL, [1, 2]), [0x62, 2, 1, 2]);
        assert_eq!(acknowledgement(PUBACK, [1, 2]), [0x40, 2, 1, 2]);
    }
}
