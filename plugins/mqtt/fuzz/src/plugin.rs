//! What the plugin reads around the engine: hand-overs, and WebSocket.

use polyport_mqtt::fuzzing;

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
