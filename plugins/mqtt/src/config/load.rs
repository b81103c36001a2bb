//! Keys about clients that are too slow, too fast, or too many.

use polyport_mqtt_core::settings;
use polyport_sdk::config::Problem;
use serde::{Deserialize, Serialize};

use super::{Config, Memory};

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

/// When 5.0 clients are sent to `server_reference`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// When the service stops.
    Drain,
    /// At their CONNECT, for now.
    Temporary,
    /// At their CONNECT, for good.
    Permanent,
}

impl From<Redirect> for settings::Redirect {
    fn from(redirect: Redirect) -> Self {
        match redirect {
            Redirect::Drain => settings::Redirect::Drain,
            Redirect::Temporary => settings::Redirect::Temporary,
            Redirect::Permanent => settings::Redirect::Permanent,
        }
    }
}

/// Bytes of the longest `server_reference`.
const REFERENCE: usize = 1024;

impl Config {
    /// What the types of these keys cannot say.
    pub(super) fn load_problems(&self, problems: &mut Vec<Problem>) {
        if !self.max_memory.is_valid() {
            problems.push(Problem {
                key: "max_memory".into(),
                expected: Memory::EXPECTED.into(),
                got: self.max_memory.to_string(),
            });
        }
        let reference = &self.server_reference;
        if reference.len() > REFERENCE || reference.chars().any(char::is_control) {
            problems.push(Problem {
                key: "server_reference".into(),
                expected: format!("at most {REFERENCE} bytes of text"),
                got: format!("{reference:?}"),
            });
        }
        if reference.is_empty() && self.redirect != Redirect::Drain {
            problems.push(Problem {
                key: "redirect".into(),
                expected: "\"drain\" without a server_reference".into(),
                got: format!("{:?}", self.redirect).to_lowercase(),
            });
        }
    }

    /// What the engine needs to know of them.
    pub(super) fn load(&self) -> settings::Load {
        settings::Load {
            slow_consumer: self.slow_consumer.into(),
            max_memory: self.max_memory.bytes(),
            max_publish_rate: self.max_publish_rate,
            max_publish_rate_per_user: self.max_publish_rate_per_user,
            server_reference: self.server_reference.as_str().into(),
            redirect: self.redirect.into(),
        }
    }
}
