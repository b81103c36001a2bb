//! The decoders of this plugin for its fuzz targets, which are a crate of their own.

use polyport_mqtt_core::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::luggage::Passed;
use crate::{estate, websocket};

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
        let paths = ["/mqtt".to_owned()];
        let mut stream = websocket::accept(server, &paths, 65_536).await.ok()?;
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
