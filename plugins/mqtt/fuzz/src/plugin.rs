//! What the plugin reads around the engine: hand-overs, WebSocket, what a proxy says before a client does, and what
//! other servers answer.

use polyport_mqtt::fuzzing;

use crate::codec::version;

/// What one instance leaves to the next.
pub fn estate(data: &[u8]) {
    fuzzing::estate(data);
}

/// What goes along with a connection.
pub fn luggage(data: &[u8]) {
    fuzzing::luggage(data);
}

/// The opening handshake and the frames after it. An even first byte: the input is all that the client sends; an odd
/// one: it follows a good handshake, and MQTT's bytes are those of the binary frames in it.
pub fn websocket(data: &[u8]) {
    const UPGRADE: &[u8] =
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    if choice & 1 == 0 {
        let _ = fuzzing::websocket(rest, b"");
    } else if !rest.is_empty() {
        let got = fuzzing::websocket(UPGRADE, rest);
        assert!(
            got.is_some_and(|got| got.len() <= rest.len()),
            "more than was sent"
        );
    }
}

/// A PROXY header of either version.
pub fn proxy(data: &[u8]) {
    polyport_sdk::fuzzing::proxy(data);
}

/// What a server answers a bridge. The first byte chooses packet and version.
pub fn answer(data: &[u8]) {
    if let Some((choice, body)) = data.split_first() {
        fuzzing::answer(choice >> 2, version(*choice & 3), body);
    }
}

/// What `polyport trace` shows. A byte of 128 or more in front: WebSocket. Then pieces, each after a byte with its
/// length and, as highest bit, who sent it.
pub fn summary(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let scheme = if *choice < 128 { "tcp" } else { "ws" };
    let pieces = std::iter::from_fn(|| {
        let (head, after) = rest.split_first()?;
        let length = usize::from(head & 0x7f).min(after.len());
        let (piece, after) = after.split_at(length);
        rest = after;
        Some((*head < 128, piece))
    });
    fuzzing::summary(scheme, pieces);
}
