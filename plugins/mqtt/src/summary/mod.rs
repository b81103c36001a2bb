//! MQTT packets as lines for `polyport trace`. Reads along: decides nothing, and takes what it cannot read for
//! other bytes.

mod packet;
mod websocket;

use polyport_mqtt_core::codec::{FixedHeader, PacketType, Version};
use polyport_sdk::summary::{Direction, Http, Line, Summary, hex, line};

use websocket::WebSocket;

/// A longer packet is shown once so much of it is there.
const HEAD: usize = 64 * 1024;

/// What reads along with a connection of this scheme.
pub(crate) fn reader(scheme: &str) -> Box<dyn Summary> {
    match scheme {
        "ws" => Box::new(Http::upgrading_to(Box::new(WebSocket::new(Box::new(
            Packets::default(),
        ))))),
        _ => Box::new(Packets::default()),
    }
}

/// Shows each packet as a line.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    /// As CONNECT said; unknown where nobody looked by then.
    version: Option<Version>,
    sides: [Side; 2],
}

#[derive(Debug, Default)]
struct Side {
    unread: Vec<u8>,
    /// Bytes of a shown packet that are still to come.
    skip: usize,
}

impl Summary for Packets {
    fn feed(&mut self, direction: Direction, bytes: &[u8], lines: &mut Vec<Line>) {
        let side = &mut self.sides[usize::from(direction == Direction::Sent)];
        let skipped = side.skip.min(bytes.len());
        side.skip -= skipped;
        side.unread.extend_from_slice(&bytes[skipped..]);
        let unread = std::mem::take(&mut side.unread);
        let mut rest = unread.as_slice();
        while !rest.is_empty() {
            let header = match FixedHeader::read(rest) {
                Ok(None) => break,
                Ok(Some(header)) if is_packet(header.first) => header,
                Ok(Some(_)) | Err(_) => {
                    lines.push(line(rest.len(), hex(rest)));
                    rest = &[];
                    break;
                }
            };
            let there = header.frame().min(rest.len());
            if there < header.frame().min(HEAD) {
                break;
            }
            let body = &rest[header.length..there];
            let text = packet::text(&mut self.version, header, body);
            lines.push(line(header.frame(), text));
            side.skip = header.frame() - there;
            rest = &rest[there..];
        }
        side.unread = rest.to_vec();
    }
}

fn is_packet(first: u8) -> bool {
    PacketType::from_first_byte(first).is_some_and(|kind| {
        kind.required_flags()
            .is_none_or(|flags| flags == first & 0x0f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};

    const CONNECT: &[u8] =
        b"\x10\x1e\x00\x04MQTT\x04\xc2\x00\x3c\x00\x07board-7\x00\x03xzz\x00\x04pass";

    fn told(reader: &mut dyn Summary, direction: Direction, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        reader.feed(direction, bytes, &mut lines);
        let lines = lines.into_iter();
        lines
            .map(|line| format!("{} {}", line.length, line.text))
            .collect()
    }

    #[test]
    fn t35_each_packet_of_3_1_1_is_a_line() {
        for (direction, bytes, expected) in [
            (
                Received,
                CONNECT,
                r#"32 CONNECT "board-7", MQTT 3.1.1, clean session, keep alive 60, user "xzz", password"#,
            ),
            (Sent, b"\x20\x02\x01\x00", "4 CONNACK 0, session present"),
            (
                Received,
                b"\x82\x0d\x00\x01\x00\x08boards/#\x01",
                "15 SUBSCRIBE 1: boards/# QoS 1",
            ),
            (Sent, b"\x90\x03\x00\x01\x01", "5 SUBACK 1: 1"),
            (
                Received,
                b"\x3b\x12\x00\x08boards/7\x00\x02hello!",
                "20 PUBLISH boards/7 QoS 1, 6 bytes, id 2, retain, dup",
            ),
            (Sent, b"\x40\x02\x00\x02", "4 PUBACK 2"),
            (Received, b"\x62\x02\x00\x03", "4 PUBREL 3"),
            (
                Received,
                b"\xa2\x07\x00\x04\x00\x03a/b",
                "9 UNSUBSCRIBE 4: a/b",
            ),
            (Sent, b"\xb0\x02\x00\x04", "4 UNSUBACK 4"),
            (Received, b"\xc0\x00", "2 PINGREQ"),
            (Received, b"\xe0\x00", "2 DISCONNECT"),
            (Received, b"\x00\x00", "2 00 00"),
        ] {
            let lines = told(&mut Packets::default(), direction, bytes);
            assert_eq!(lines, [expected]);
        }
    }

    #[test]
    fn t35_version_5_is_read_after_its_connect() {
        let mut reader = Packets::default();
        told(
            &mut reader,
            Received,
            b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c",
        );
        for (bytes, expected) in [
            (&b"\x20\x03\x00\x87\x00"[..], "5 CONNACK 135"),
            (
                b"\x30\x08\x00\x01t\x02\x01\x01hi",
                "10 PUBLISH t QoS 0, 2 bytes",
            ),
            (b"\x40\x03\x00\x02\x10", "5 PUBACK 2: 16"),
            (b"\x90\x05\x00\x01\x00\x01\x02", "7 SUBACK 1: 1 2"),
            (b"\xe0\x01\x8b", "3 DISCONNECT 139"),
        ] {
            assert_eq!(told(&mut reader, Sent, bytes), [expected]);
        }
    }

    #[test]
    fn t35_packets_are_found_in_any_cut() {
        let bytes = [CONNECT, b"\xc0\x00", b"\x30\x05\x00\x01tab"].concat();
        for cut in 0..bytes.len() {
            let mut reader = Packets::default();
            let mut lines = told(&mut reader, Received, &bytes[..cut]);
            lines.extend(told(&mut reader, Received, &bytes[cut..]));
            assert_eq!(lines.len(), 3, "{cut}: {lines:?}");
            assert_eq!(lines[2], "7 PUBLISH t QoS 0, 2 bytes");
        }
    }

    #[test]
    fn t35_a_long_packet_is_shown_once() {
        let mut bytes = b"\x30\x83\x80\x80\x01\x00\x01t".to_vec();
        bytes.resize(5 + (1 << 21) + 3, 0);
        let mut reader = Packets::default();
        let mut lines = Vec::new();
        for piece in bytes.chunks(10_000) {
            lines.extend(told(&mut reader, Received, piece));
        }
        lines.extend(told(&mut reader, Received, b"\xc0\x00"));
        let expected = ["2097160 PUBLISH t QoS 0, 2097152 bytes", "2 PINGREQ"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn t35_packets_are_read_out_of_websocket_frames() {
        let mut reader = reader("ws");
        let get = b"GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(told(&mut *reader, Received, get), ["42 GET /mqtt HTTP/1.1"]);
        let switch = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        told(&mut *reader, Sent, switch);
        // PINGREQ masked with 01 02 03 04, in two pieces.
        assert_eq!(told(&mut *reader, Received, b"\x82\x82\x01\x02"), [""; 0]);
        let lines = told(&mut *reader, Received, b"\x03\x04\xc1\x02");
        assert_eq!(lines, ["2 PINGREQ"]);
        let lines = told(
            &mut *reader,
            Sent,
            b"\x82\x02\xd0\x00\x89\x00\x88\x02\x03\xe8",
        );
        assert_eq!(
            lines,
            ["2 PINGRESP", "0 WebSocket ping", "2 WebSocket close"]
        );
    }
}
