//! What a client reads for which there is no place: a CONNACK in its own version, or HTTP's answer.

use polyport_mqtt_core::codec::{FixedHeader, PacketType, ReasonCode, Version, connack};
use polyport_sdk::limits::{Busy, Refusal};

/// The answer to a WebSocket's opening handshake.
const HTTP: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n\
    Content-Length: 22\r\nConnection: close\r\n\r\ntoo many connections\r\n";

/// The answer to what a client has sent so far: it is told once its CONNECT shows its version.
pub(crate) fn answer(scheme: &str, why: Refusal, received: &[u8]) -> Busy {
    if scheme.starts_with("ws") {
        // Who is answered before it asked may take the answer for a mistake.
        return match received.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            true => Busy::Answer(HTTP.to_vec()),
            false => Busy::Wait,
        };
    }
    let version = match version(received) {
        Some(Ok(version)) => version,
        Some(Err(())) => return Busy::Close,
        None => return Busy::Wait,
    };
    let mut answer = Vec::new();
    if connack::encode(&mut answer, version, false, reason(why), &[]) {
        Busy::Answer(answer)
    } else {
        Busy::Close
    }
}

/// In 3.x all of them are return code 3, server unavailable.
fn reason(why: Refusal) -> ReasonCode {
    match why {
        Refusal::Address => ReasonCode::QuotaExceeded,
        Refusal::Rate => ReasonCode::ConnectionRateExceeded,
        _ => ReasonCode::ServerBusy,
    }
}

/// The version that a CONNECT names (3.1.2.2); none if it has not come that far.
fn version(received: &[u8]) -> Option<Result<Version, ()>> {
    let header = match FixedHeader::read(received) {
        Ok(header) => header?,
        Err(_) => return Some(Err(())),
    };
    if PacketType::from_first_byte(header.first) != Some(PacketType::Connect) {
        return Some(Err(()));
    }
    let (length, rest) = received.get(header.length..)?.split_first_chunk::<2>()?;
    let (name, rest) = match u16::from_be_bytes(*length) {
        4 => rest.split_at_checked(4)?,
        6 => rest.split_at_checked(6)?,
        _ => return Some(Err(())),
    };
    Some(match (name, rest.first()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 4) => Ok(Version::V311),
        _ => Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_told_in_its_own_words_as_soon_as_it_is_known() {
        let connects: [(&[u8], Refusal, &[u8]); 5] = [
            (
                b"\x10\x0f\x00\x06MQIsdp\x03",
                Refusal::Rate,
                b"\x20\x02\x00\x03",
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x04",
                Refusal::Connections,
                b"\x20\x02\x00\x03",
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x05",
                Refusal::Connections,
                b"\x20\x03\x00\x89\x00",
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x05",
                Refusal::Address,
                b"\x20\x03\x00\x97\x00",
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x05",
                Refusal::Rate,
                b"\x20\x03\x00\x9f\x00",
            ),
        ];
        for (connect, why, expected) in connects {
            for end in 0..connect.len() {
                assert_eq!(answer("tcp", why, &connect[..end]), Busy::Wait, "{end}");
            }
            assert_eq!(answer("tcp", why, connect), Busy::Answer(expected.into()));
        }
    }

    #[test]
    fn a_websocket_is_told_once_it_has_asked() {
        let ask = b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n";
        let (rest, last) = ask.split_at(ask.len() - 1);
        assert_eq!(answer("ws", Refusal::Rate, rest), Busy::Wait);
        let Busy::Answer(told) = answer("ws+unix", Refusal::Rate, &[rest, last].concat()) else {
            panic!("no answer");
        };
        let told = String::from_utf8(told).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: "));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }

    #[test]
    fn who_speaks_something_else_is_not_answered() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\xc0\x00",
            b"\x10\xff\xff\xff\xff",
            b"\x10\x0d\x00\x05MQTTX\x04",
            b"\x10\x0d\x00\x04MQTT\x09",
        ] {
            assert_eq!(
                answer("unix", Refusal::Connections, bytes),
                Busy::Close,
                "{bytes:?}"
            );
        }
    }
}
