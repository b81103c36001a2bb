//! The decoders of this plugin for its fuzz targets, which are a crate of their own.

use polyport_mqtt_core::Time;
use polyport_mqtt_core::codec::Version;
use polyport_sdk::summary::Direction;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::packets::{self, Connack};
use crate::luggage::Passed;
use crate::{estate, summary, websocket};

/// Reads what one instance left to the next.
pub fn estate(state: &[u8]) {
    if let Ok(left) = estate::take(state, Vec::new()) {
        let again = estate::leave(left.now, None, left.broker.to_vec());
        let again =
            estate::take(&again.state, Vec::new()).map(|left| (left.now, left.broker.to_vec()));
        let same: (Time, Vec<u8>) = (left.now, left.broker.to_vec());
        assert_eq!(again, Ok(same));
    }
}

/// Reads what goes along with a connection; what was read is written as the same.
pub fn luggage(encoded: &[u8]) {
    if let Ok(passed) = Passed::decode(encoded) {
        assert_eq!(Passed::decode(&passed.encode()), Ok(passed));
    }
}

/// Takes what a WebSocket client sends, to open it and then, and gives the bytes of MQTT in it; none without a handshake.
#[must_use]
pub fn websocket(opening: &[u8], frames: &[u8]) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.ok()?.block_on(async {
        // Room for all that goes either way: nobody waits for the other.
        let room = 2 * (opening.len() + frames.len()) + 65_536;
        let (mut client, server) = tokio::io::duplex(room);
        client.write_all(opening).await.ok()?;
        // A request that is not whole would be waited for.
        if frames.is_empty() {
            client.shutdown().await.ok()?;
        }
        let door = websocket::Door {
            paths: vec!["/mqtt".to_owned()],
            origins: vec!["https://app.example".to_owned()],
        };
        let mut stream = websocket::accept(server, &door, 65_536).await.ok()?;
        client.write_all(frames).await.ok()?;
        client.shutdown().await.ok()?;
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        // An error ends the connection as the end does.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            got.extend_from_slice(&buffer[..count]);
        }
        Some(got)
    })
}

/// Reads what a server answers a bridge: the body of CONNACK, SUBACK or DISCONNECT.
pub fn answer(kind: u8, version: Version, body: &[u8]) {
    match kind % 3 {
        0 if Connack::decode(version, body).is_ok() => {
            // A server without 5.0 answers with 3.x's two bytes.
            for end in (0..body.len()).filter(|end| *end != 2) {
                let cut = Connack::decode(version, &body[..end]);
                assert!(cut.is_err(), "cut at {end}");
            }
            assert!(version.is_v5() || body.len() == 2);
        }
        1 => {
            if let Ok((identifier, codes)) = packets::suback(version, body) {
                let before = if version.is_v5() { 3 } else { 2 };
                assert!(identifier > 0 && codes.len() + before <= body.len());
                assert!(body.ends_with(codes));
            }
        }
        2 if packets::disconnect(body).is_ok() => {
            for end in 2..body.len() {
                // Bytes behind the properties are passed over.
                if let Ok((code, words)) = packets::disconnect(&body[..end]) {
                    assert_eq!(packets::disconnect(body), Ok((code, words)), "cut at {end}");
                }
            }
        }
        _ => {}
    }
}

/// Shows what passes as `polyport trace` does: pieces, each with whether the client sent it. No line is
/// long, and none tells a terminal anything.
pub fn summary<'a>(scheme: &str, pieces: impl Iterator<Item = (bool, &'a [u8])>) {
    let mut reader = summary::reader(scheme);
    let mut lines = Vec::new();
    for (is_client, bytes) in pieces {
        let direction = match is_client {
            true => Direction::Received,
            false => Direction::Sent,
        };
        reader.feed(direction, bytes, &mut lines);
        for line in lines.drain(..) {
            let told = line.text.chars().any(char::is_control);
            let length = line.text.chars().count();
            assert!(!told && length < 256, "{:?}", line.text);
        }
    }
}
