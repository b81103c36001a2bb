//! MQTT beside mosquitto.

use std::time::Duration;

use super::harness::{Row, Server, Unit, compare};
use super::mqtt_load::{Load, run};
use super::ours;
use super::peers::{Place, mosquitto};
use crate::Outcome;

const TIME: Duration = Duration::from_secs(3);

/// The windows stay below mosquitto's queue limit of 1000, so that nothing is dropped.
const CASES: [(&str, Load); 2] = [
    (
        "1:1, QoS 0, 64 B",
        Load {
            pairs: 1,
            qos: 0,
            payload: 64,
            window: 500,
            time: TIME,
        },
    ),
    (
        "4 pairs, QoS 1, 64 B",
        Load {
            pairs: 4,
            qos: 1,
            payload: 64,
            window: 100,
            time: TIME,
        },
    ),
];

/// Each case with servers of its own, so that their memory is that of the case.
pub fn bench() -> Outcome<Vec<Row>> {
    CASES
        .iter()
        .map(|(name, load)| {
            let polyport = Server::ours("mqtt", ours("mqtt"))?;
            let peer = Server::peer(|| mosquitto(Place::new()?))?;
            compare(name, Unit::Messages, &polyport, &peer, |server| {
                run(server.port, *load)
            })
        })
        .collect()
}
