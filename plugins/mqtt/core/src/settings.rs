//! What an operator decides about the engine.

mod client_limits;
mod load;
mod rewrite;
mod rules;
mod who;

use crate::codec::QoS;

pub(crate) use client_limits::ClientLimits;
pub use client_limits::Override;
pub use load::{Load, Redirect, SlowConsumer};
pub use rewrite::{NoTopic, Rewrite, Rewrites};
pub use rules::{AutoSubscription, Overlapping, Rules};
pub use who::{Names, Who};

/// Limits and offers of the broker. All sizes in bytes, all times in seconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Record durable state; without it sessions last as long as the process.
    pub persistence: bool,
    /// QoS 2 messages taken from a 5.0 client without a PUBREL.
    pub receive_maximum: u16,
    /// Topic aliases taken from a 5.0 client.
    pub topic_alias_maximum: u16,
    /// QoS 1 and 2 messages sent to a client and not acknowledged.
    pub max_inflight_messages: u16,
    /// QoS 1 and 2 messages waiting in a session beyond those.
    pub max_queued_messages: usize,
    /// Payload and topic bytes waiting in a session.
    pub max_queued_bytes: usize,
    /// Bytes waiting for a slow reader before QoS 0 messages to it are dropped.
    pub max_outbound_bytes: usize,
    /// Longest keep alive given to a 5.0 client; 0 leaves it to the client.
    pub max_keepalive: u16,
    /// Longest session expiry interval; `u32::MAX` is for ever.
    pub max_session_expiry: u32,
    /// Session expiry of 3.x clients with clean session 0.
    pub persistent_client_expiration: u32,
    /// Highest QoS that clients may publish with.
    pub max_qos: QoS,
    /// Retained messages are offered.
    pub retain_available: bool,
    /// Retained messages kept; a message to one topic more is delivered but not kept.
    pub max_retained_messages: usize,
    /// Empty client identifiers are given one by the server.
    pub allow_zero_length_clientid: bool,
    /// Subscriptions in one session.
    pub max_subscriptions: usize,
    /// Levels of a topic name or filter.
    pub max_topic_levels: usize,
    /// Clients that are too slow, too fast, or too many.
    pub load: Load,
    /// Subscriptions and publishing.
    pub rules: Rules,
}

/// What a client may rely on from its CONNECT to the end of its connection, whatever is changed meanwhile: it was
/// told, or tried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub receive_maximum: u16,
    pub topic_alias_maximum: u16,
    pub max_qos: QoS,
    pub retain_available: bool,
    pub subscribing: Subscribing,
}

/// Which subscriptions are taken (3.2.2.3.11 to 3.2.2.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscribing {
    pub wildcards: bool,
    pub identifiers: bool,
    pub shared: bool,
}

impl Subscribing {
    pub(crate) const ALL: Subscribing = Subscribing {
        wildcards: true,
        identifiers: true,
        shared: true,
    };
}

impl Settings {
    pub(crate) fn offer(&self) -> Offer {
        Offer {
            receive_maximum: self.receive_maximum,
            topic_alias_maximum: self.topic_alias_maximum,
            max_qos: self.max_qos,
            retain_available: self.retain_available,
            subscribing: Subscribing {
                wildcards: self.rules.wildcard_subscriptions,
                identifiers: self.rules.subscription_identifiers,
                shared: self.rules.shared_subscriptions,
            },
        }
    }
}

/// What one connection is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds from the connection to a complete CONNECT.
    pub login_timeout: u64,
    /// Milliseconds without a packet, whatever the keep alive; 0 leaves it to that.
    pub idle_timeout: u64,
    /// Largest packet taken from the client, in bytes.
    pub max_packet: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            login_timeout: 10_000,
            idle_timeout: 0,
            max_packet: 2_000_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            persistence: true,
            receive_maximum: 20,
            topic_alias_maximum: 10,
            max_inflight_messages: 100,
            max_queued_messages: 1_000,
            max_queued_bytes: 64 << 20,
            max_outbound_bytes: 16 << 20,
            max_keepalive: 0,
            max_session_expiry: u32::MAX,
            persistent_client_expiration: u32::MAX,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            max_retained_messages: 1_000_000,
            allow_zero_length_clientid: true,
            max_subscriptions: 100_000,
            max_topic_levels: 200,
            load: Load::default(),
            rules: Rules::default(),
        }
    }
}
