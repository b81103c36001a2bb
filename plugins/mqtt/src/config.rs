//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

pub(crate) mod bridges;
mod load;
mod memory;
mod overrides;
mod rules;

use std::time::Duration;

use polyport_mqtt_core::codec::QoS;
use polyport_mqtt_core::{Limits, Settings};
use polyport_sdk::config::Problem;
use polyport_sdk::limits::{self, Known};
use polyport_sdk::net::is_web_origin;
use serde::{Deserialize, Serialize};

use crate::store;
use crate::websocket::Door;
pub use load::{Redirect, SlowConsumer};
pub use memory::Memory;
pub use overrides::Override;
pub use rules::{Action, AutoSubscription, Overlapping, Rewrite};

/// Settings of one broker, in the words of the standard and of mosquitto.conf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Keep sessions, queued and retained messages on disk.
    pub persistence: bool,
    /// When an acknowledged message is on disk.
    pub durability: Durability,
    /// Milliseconds between two writes to disk with `durability = "interval"`.
    pub durability_interval_ms: u64,
    /// Bytes of log after which the store is compacted.
    pub store_compact_bytes: u64,
    /// QoS 2 messages taken from a 5.0 client before it releases them.
    pub receive_maximum: u16,
    /// Topic aliases taken from a 5.0 client.
    pub topic_alias_maximum: u16,
    /// QoS 1 and 2 messages sent to a client and not acknowledged.
    pub max_inflight_messages: u16,
    /// QoS 1 and 2 messages waiting in a session beyond those.
    pub max_queued_messages: usize,
    /// Bytes of them.
    pub max_queued_bytes: usize,
    /// What becomes of a message for a session that has as much waiting.
    pub slow_consumer: SlowConsumer,
    /// Bytes waiting for a slow reader before QoS 0 messages to it are dropped.
    pub max_outbound_bytes: usize,
    /// Bytes of all queues, unsent output and retained messages.
    pub max_memory: Memory,
    /// Messages a second taken from one connection; 0 is no limit.
    pub max_publish_rate: u32,
    /// The same from all connections of one account together.
    pub max_publish_rate_per_user: u32,
    /// Where 5.0 clients are sent.
    pub server_reference: String,
    /// When they are.
    pub redirect: Redirect,
    /// Seconds of the longest keep alive given to a 5.0 client; 0 leaves it to the client.
    pub max_keepalive: u16,
    /// Seconds of the longest session expiry; 4294967295 is for ever.
    pub max_session_expiry_interval: u32,
    /// Seconds that a session of a 3.x client with clean session 0 is kept.
    pub persistent_client_expiration: u32,
    /// Highest QoS that clients may publish with.
    pub max_qos: u8,
    /// Offer retained messages.
    pub retain_available: bool,
    /// Topics with a retained message.
    pub max_retained_messages: usize,
    /// Bytes of them; 0 is no limit.
    pub max_retained_bytes: usize,
    /// Topics with a retained message of one account; 0 for no limit.
    pub max_retained_messages_per_user: usize,
    /// Bytes of them; 0 for no limit.
    pub max_retained_bytes_per_user: usize,
    /// Deliver a retained message only while its publisher might publish it.
    pub check_retained_source: bool,
    /// Give clients without an identifier one.
    pub allow_zero_length_clientid: bool,
    /// Subscriptions in one session.
    pub max_subscriptions: usize,
    /// Levels of a topic.
    pub max_topic_levels: usize,
    /// Levels of a filter with a wildcard.
    pub max_wildcards: usize,
    /// Offer filters with wildcards.
    pub wildcard_subscriptions: bool,
    /// Offer shared subscriptions.
    pub shared_subscriptions: bool,
    /// Offer subscription identifiers.
    pub subscription_identifiers: bool,
    /// How a message reaches a session by several subscriptions.
    pub overlapping_subscriptions: Overlapping,
    /// Publish `$delayed/SECONDS/topic` later.
    pub delayed_publish: bool,
    /// Delayed messages that wait.
    pub max_delayed_messages: usize,
    /// Bytes of them.
    pub max_delayed_bytes: usize,
    /// Subscriptions that clients get with their CONNECT.
    pub auto_subscribe: Vec<AutoSubscription>,
    /// Topics that stand for other ones.
    pub rewrite: Vec<Rewrite>,
    /// Limits of some clients in place of those for all.
    pub overrides: Vec<Override>,
    /// Paths at which WebSocket clients connect.
    pub websocket_paths: Vec<String>,
    /// Whose pages may have browsers connect by WebSocket.
    pub websocket_origins: Vec<String>,
    /// Seconds between two publications of the `$SYS` tree; 0 for none.
    pub sys_interval: u64,
    /// Connections to other brokers, by name.
    pub bridges: bridges::Bridges,
}

/// When a record is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Before it is acknowledged.
    Always,
    /// Within an interval.
    Interval,
    /// When the system finds time.
    Never,
}

/// What clients are held to where the operator says nothing. Who is idle is decided by the keep alive.
pub const LIMITS: Known = Known::new()
    .max_connections(100_000)
    .login_timeout(Duration::from_secs(10))
    .idle_timeout(Duration::ZERO)
    .max_packet(2_000_000, 128..=268_435_460);

/// What holds for a connection, in the engine's terms.
pub(crate) fn connection_limits(limits: &limits::Limits) -> Limits {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Limits {
        login_timeout: milliseconds(limits.login_timeout),
        idle_timeout: match limits.idle_timeout {
            limits::FOREVER => 0,
            time => milliseconds(time),
        },
        max_packet: limits.max_packet,
    }
}

/// All but whether there is a store.
pub(crate) const LIVE: &[&str] = &[
    "durability",
    "durability_interval_ms",
    "store_compact_bytes",
    "receive_maximum",
    "topic_alias_maximum",
    "max_inflight_messages",
    "max_queued_messages",
    "max_queued_bytes",
    "slow_consumer",
    "max_outbound_bytes",
    "max_memory",
    "max_publish_rate",
    "max_publish_rate_per_user",
    "server_reference",
    "redirect",
    "max_keepalive",
    "max_session_expiry_interval",
    "persistent_client_expiration",
    "max_qos",
    "retain_available",
    "max_retained_messages",
    "max_retained_bytes",
    "max_retained_messages_per_user",
    "max_retained_bytes_per_user",
    "check_retained_source",
    "allow_zero_length_clientid",
    "max_subscriptions",
    "max_topic_levels",
    "max_wildcards",
    "wildcard_subscriptions",
    "shared_subscriptions",
    "subscription_identifiers",
    "overlapping_subscriptions",
    "delayed_publish",
    "max_delayed_messages",
    "max_delayed_bytes",
    "auto_subscribe",
    "rewrite",
    "overrides",
    "websocket_paths",
    "websocket_origins",
    "sys_interval",
    "bridges",
];

impl Default for Config {
    fn default() -> Self {
        let core = Settings::default();
        Config {
            persistence: core.persistence,
            durability: Durability::Always,
            durability_interval_ms: 1_000,
            store_compact_bytes: 64 << 20,
            receive_maximum: core.receive_maximum,
            topic_alias_maximum: core.topic_alias_maximum,
            max_inflight_messages: core.max_inflight_messages,
            max_queued_messages: core.max_queued_messages,
            max_queued_bytes: core.max_queued_bytes,
            slow_consumer: SlowConsumer::DropNewest,
            max_outbound_bytes: core.max_outbound_bytes,
            max_memory: Memory::Text("50%".into()),
            max_publish_rate: 0,
            max_publish_rate_per_user: 0,
            server_reference: String::new(),
            redirect: Redirect::Drain,
            max_keepalive: core.max_keepalive,
            max_session_expiry_interval: core.max_session_expiry,
            persistent_client_expiration: core.persistent_client_expiration,
            max_qos: core.max_qos as u8,
            retain_available: core.retain_available,
            max_retained_messages: core.max_retained_messages,
            max_retained_bytes: core.rules.max_retained_bytes,
            max_retained_messages_per_user: core.rules.max_retained_messages_per_user,
            max_retained_bytes_per_user: core.rules.max_retained_bytes_per_user,
            check_retained_source: core.rules.check_retained_source,
            allow_zero_length_clientid: core.allow_zero_length_clientid,
            max_subscriptions: core.max_subscriptions,
            max_topic_levels: core.max_topic_levels,
            max_wildcards: core.rules.max_wildcards,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            overlapping_subscriptions: Overlapping::Merged,
            delayed_publish: core.rules.delayed_publish,
            max_delayed_messages: core.rules.max_delayed_messages,
            max_delayed_bytes: core.rules.max_delayed_bytes,
            auto_subscribe: Vec::new(),
            rewrite: Vec::new(),
            overrides: Vec::new(),
            websocket_paths: vec!["/".into(), "/mqtt".into()],
            websocket_origins: vec!["*".into()],
            sys_interval: 10,
            bridges: bridges::Bridges::new(),
        }
    }
}

impl Config {
    /// What the types cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut range = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                let expected = if high == u64::MAX {
                    format!("{low} or more")
                } else {
                    format!("{low} to {high}")
                };
                problems.push(Problem {
                    key: key.into(),
                    expected,
                    got: value.to_string(),
                });
            }
        };
        range(
            "durability_interval_ms",
            self.durability_interval_ms,
            1,
            3_600_000,
        );
        range(
            "store_compact_bytes",
            self.store_compact_bytes,
            1 << 16,
            u64::MAX,
        );
        range("receive_maximum", self.receive_maximum.into(), 1, 65_535);
        range(
            "max_inflight_messages",
            self.max_inflight_messages.into(),
            1,
            65_534,
        );
        range(
            "max_queued_messages",
            self.max_queued_messages as u64,
            1,
            u64::MAX,
        );
        range(
            "max_queued_bytes",
            self.max_queued_bytes as u64,
            1,
            u64::MAX,
        );
        range(
            "max_outbound_bytes",
            self.max_outbound_bytes as u64,
            65_536,
            u64::MAX,
        );
        range("sys_interval", self.sys_interval, 0, 86_400);
        range("max_qos", self.max_qos.into(), 0, 2);
        range(
            "max_subscriptions",
            self.max_subscriptions as u64,
            1,
            u64::MAX,
        );
        range("max_topic_levels", self.max_topic_levels as u64, 1, 65_536);
        bridges::problems(&self.bridges, &mut problems);
        for path in &self.websocket_paths {
            if !path.starts_with('/') {
                problems.push(Problem {
                    key: "websocket_paths".into(),
                    expected: "paths that begin with a slash".into(),
                    got: format!("{path:?}"),
                });
            }
        }
        for origin in &self.websocket_origins {
            if origin != "*" && !is_web_origin(origin) {
                problems.push(Problem {
                    key: "websocket_origins".into(),
                    expected: "\"*\" or origins such as \"https://app.example:8443\"".into(),
                    got: format!("{origin:?}"),
                });
            }
        }
        self.load_problems(&mut problems);
        rules::problems(self, &mut problems);
        overrides::problems(self, &mut problems);
        problems
    }

    /// Who may connect by WebSocket.
    pub(crate) fn door(&self) -> Door {
        Door {
            paths: self.websocket_paths.clone(),
            origins: self.websocket_origins.clone(),
        }
    }

    /// What the engine needs to know.
    #[must_use]
    pub fn engine(&self) -> Settings {
        Settings {
            persistence: self.persistence,
            receive_maximum: self.receive_maximum,
            topic_alias_maximum: self.topic_alias_maximum,
            max_inflight_messages: self.max_inflight_messages,
            max_queued_messages: self.max_queued_messages,
            max_queued_bytes: self.max_queued_bytes,
            max_outbound_bytes: self.max_outbound_bytes,
            max_keepalive: self.max_keepalive,
            max_session_expiry: self.max_session_expiry_interval,
            persistent_client_expiration: self.persistent_client_expiration,
            max_qos: QoS::from_bits(self.max_qos).unwrap_or(QoS::ExactlyOnce),
            retain_available: self.retain_available,
            max_retained_messages: self.max_retained_messages,
            allow_zero_length_clientid: self.allow_zero_length_clientid,
            max_subscriptions: self.max_subscriptions,
            max_topic_levels: self.max_topic_levels,
            load: self.load(),
            rules: self.rules(),
        }
    }

    /// How the store treats the disk.
    #[must_use]
    pub fn store(&self) -> store::Settings {
        store::Settings {
            durability: self.durability,
            flush_interval: Duration::from_millis(self.durability_interval_ms),
            compact_bytes: self.store_compact_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert!(Config::default().problems().is_empty());
    }

    #[test]
    fn every_value_out_of_bounds_is_named_at_once() {
        let config = Config {
            max_qos: 3,
            receive_maximum: 0,
            websocket_paths: vec!["mqtt".into()],
            websocket_origins: vec!["https://a.example/".into()],
            ..Config::default()
        };
        let keys: Vec<_> = config
            .problems()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        let expected = [
            "receive_maximum",
            "max_qos",
            "websocket_paths",
            "websocket_origins",
        ];
        assert_eq!(keys, expected);
    }
}
