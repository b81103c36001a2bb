//! Keys about clients that are too slow, too fast, or too many.

use polyport_mqtt_core::settings;
use serde::{Deserialize, Serialize};

/// What becomes of a message for a session whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlowConsumer {
    /// It is dropped.
    DropNewest,
    /// Those that wait longest are.
    DropOldest,
    /// It is dropped, and the client disconnected.
    Disconnect,
}

impl From<SlowConsumer> for settings::SlowConsumer {
    fn from(policy: SlowConsumer) -> Self {
        match policy {
            SlowConsumer::DropNewest => settings::SlowConsumer::DropNewest,
            SlowConsumer::DropOldest => settings::SlowConsumer::DropOldest,
            SlowConsumer::Disconnect => settings::SlowConsumer::Disconnect,
        }
    }
}
