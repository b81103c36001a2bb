//! What an operator decides about subscriptions and publishing.

use super::client_limits::Override;
use super::rewrite::Rewrites;
use super::who::Who;
use crate::codec::subscribe::SubscriptionOptions;

/// Rules of subscriptions and publishing. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How a message reaches a session by several subscriptions.
    pub overlapping: Overlapping,
    /// Filters with `+` and `#` are taken.
    pub wildcard_subscriptions: bool,
    /// `$share/NAME/filter` is taken.
    pub shared_subscriptions: bool,
    /// Subscription identifiers are taken.
    pub subscription_identifiers: bool,
    /// Levels with a wildcard in one filter.
    pub max_wildcards: usize,
    /// Topics, payloads and properties of all retained messages; 0 is no limit.
    pub max_retained_bytes: usize,
    /// Topics with a retained message of one account; 0 is no limit.
    pub max_retained_messages_per_user: usize,
    /// Topics, payloads and properties of them; 0 is no limit.
    pub max_retained_bytes_per_user: usize,
    /// A retained message goes to new subscriptions only while its publisher might publish it.
    pub check_retained_source: bool,
    /// `$delayed/SECONDS/topic` publishes later.
    pub delayed_publish: bool,
    /// Delayed messages that wait.
    pub max_delayed_messages: usize,
    /// Topics, payloads and properties of them.
    pub max_delayed_bytes: usize,
    /// Subscriptions that clients get with their CONNECT.
    pub auto_subscribe: Vec<AutoSubscription>,
    /// Topics that stand for other ones.
    pub rewrite: Rewrites,
    /// Limits of some clients in place of the general ones.
    pub overrides: Vec<Override>,
}

/// How a message reaches a session by several subscriptions (3.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlapping {
    /// Once, with the highest QoS and the identifiers of all.
    #[default]
    Merged,
    /// Once by each.
    Each,
}

/// A subscription that clients get with their CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSubscription {
    /// With `%u` and `%c` for the client's names; also `$share/NAME/filter`.
    pub filter: Box<str>,
    /// As SUBSCRIBE has them.
    pub options: SubscriptionOptions,
    /// Which clients.
    pub who: Who,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            overlapping: Overlapping::Merged,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            max_wildcards: 200,
            max_retained_bytes: 0,
            max_retained_messages_per_user: 0,
            max_retained_bytes_per_user: 0,
            check_retained_source: true,
            delayed_publish: true,
            max_delayed_messages: 100_000,
            max_delayed_bytes: 64 << 20,
            auto_subscribe: Vec::new(),
            rewrite: Rewrites::default(),
            overrides: Vec::new(),
        }
    }
}
