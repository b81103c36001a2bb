//! Whatever clients send, in any pieces, over lost connections, kills and hand-overs.

use polyport_mqtt_core::Settings;

use crate::clients::World;

const CLIENTS: usize = 4;

/// The input is a script. A byte says what happens: the low four bits, and the next two which client.
///
/// | low bits | next bytes | meaning |
/// |---|---|---|
/// | 0 to 11 | length, bytes | the client sends them |
/// | 12 | | its connection breaks |
/// | 13 | seconds | time passes |
/// | 14 | | the broker is killed and starts again |
/// | 15 | | another broker takes over |
pub fn stream(data: &[u8]) {
    let settings = Settings {
        max_inflight_messages: 3,
        max_queued_messages: 5,
        max_retained_messages: 6,
        max_subscriptions: 6,
        ..Settings::default()
    };
    let mut world = World::new(CLIENTS, settings);
    let mut rest = data;
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        let at = usize::from(op >> 4) % CLIENTS;
        match op & 0x0f {
            0..12 => {
                let Some((&length, after)) = rest.split_first() else {
                    return;
                };
                let (bytes, after) = after.split_at(after.len().min(length.into()));
                world.send(at, bytes);
                rest = after;
            }
            12 => world.lose(at),
            13 => {
                let Some((&seconds, after)) = rest.split_first() else {
                    return;
                };
                world.pass(seconds);
                rest = after;
            }
            14 => world.kill(),
            _ => world.cross(),
        }
    }
    world.cross();
    world.kill();
}
