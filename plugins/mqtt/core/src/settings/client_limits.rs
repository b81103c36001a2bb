//! Limits of one client, and which clients have others than all.

use std::sync::Arc;

use super::Settings;
use super::who::{Names, Who, stands_for};

/// What a client may use up. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    pub max_packet: usize,
    pub max_inflight_messages: u16,
    pub max_queued_messages: usize,
    pub max_queued_bytes: usize,
    pub max_subscriptions: usize,
    pub max_topic_levels: usize,
    pub max_wildcards: usize,
    pub max_publish_rate: u32,
    pub max_publish_rate_per_user: u32,
    pub max_retained_messages_per_user: usize,
    pub max_retained_bytes_per_user: usize,
}

/// Limits of some clients in place of the general ones: those that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Which clients.
    pub who: Who,
    /// Listeners that they came by, `SCHEME://ADDRESS` or `ADDRESS` with `*` for any text; none means all.
    pub listeners: Vec<Box<str>>,
    /// Bytes of the largest packet taken from one, where [`Limits`](super::Limits) are not lower.
    pub max_packet: Option<usize>,
    /// QoS 1 and 2 messages sent to one and not acknowledged.
    pub max_inflight_messages: Option<u16>,
    /// QoS 1 and 2 messages waiting in its session beyond those.
    pub max_queued_messages: Option<usize>,
    /// Payload and topic bytes of them.
    pub max_queued_bytes: Option<usize>,
    /// Subscriptions in its session.
    pub max_subscriptions: Option<usize>,
    /// Levels of a topic name or filter.
    pub max_topic_levels: Option<usize>,
    /// Levels with a wildcard in one filter.
    pub max_wildcards: Option<usize>,
    /// Messages a second taken from one connection; 0 is no limit.
    pub max_publish_rate: Option<u32>,
    /// Messages a second taken from all connections of its account; 0 is no limit.
    pub max_publish_rate_per_user: Option<u32>,
    /// Topics with a retained message of its account; 0 is no limit.
    pub max_retained_messages_per_user: Option<usize>,
    /// Topics, payloads and properties of them; 0 is no limit.
    pub max_retained_bytes_per_user: Option<usize>,
}

impl Settings {
    /// What holds for clients that no override is for.
    pub(crate) fn general_limits(&self) -> ClientLimits {
        ClientLimits {
            max_packet: usize::MAX,
            max_inflight_messages: self.max_inflight_messages,
            max_queued_messages: self.max_queued_messages,
            max_queued_bytes: self.max_queued_bytes,
            max_subscriptions: self.max_subscriptions,
            max_topic_levels: self.max_topic_levels,
            max_wildcards: self.rules.max_wildcards,
            max_publish_rate: self.load.max_publish_rate,
            max_publish_rate_per_user: self.load.max_publish_rate_per_user,
            max_retained_messages_per_user: self.rules.max_retained_messages_per_user,
            max_retained_bytes_per_user: self.rules.max_retained_bytes_per_user,
        }
    }

    /// Whether what any account retains is limited.
    pub(crate) fn limits_retained_by_user(&self) -> bool {
        let rules = &self.rules;
        let own = |rule: &Override| {
            let limits = [
                rule.max_retained_messages_per_user,
                rule.max_retained_bytes_per_user,
            ];
            limits.into_iter().flatten().any(|limit| limit > 0)
        };
        rules.max_retained_messages_per_user > 0
            || rules.max_retained_bytes_per_user > 0
            || rules.overrides.iter().any(own)
    }

    /// Whether messages of any client are held to a rate.
    pub(crate) fn has_rates(&self) -> bool {
        let load = &self.load;
        let own = |rule: &Override| {
            let rates = [rule.max_publish_rate, rule.max_publish_rate_per_user];
            rates.into_iter().flatten().any(|rate| rate > 0)
        };
        load.max_publish_rate > 0
            || load.max_publish_rate_per_user > 0
            || self.rules.overrides.iter().any(own)
    }

    /// Whether limits are for some listeners alone.
    pub(crate) fn names_listeners(&self) -> bool {
        let mut overrides = self.rules.overrides.iter();
        overrides.any(|rule| !rule.listeners.is_empty())
    }

    /// The limits of a client that overrides are for, which came by a listener: of each limit the first one that has
    /// it counts.
    pub(crate) fn limits_of(
        &self,
        names: Names<'_>,
        listener: Option<&str>,
    ) -> Option<Arc<ClientLimits>> {
        let mut limits = None;
        // The first one has the last word.
        for rule in self.rules.overrides.iter().rev() {
            if rule.who.matches(names) && rule.is_for(listener) {
                rule.apply(limits.get_or_insert_with(|| self.general_limits()));
            }
        }
        limits.map(Arc::new)
    }
}

impl Override {
    fn is_for(&self, listener: Option<&str>) -> bool {
        let means = |pattern: &str, listener: &str| {
            let address = listener.split_once("://").map(|(_, address)| address);
            match pattern.contains("://") {
                true => stands_for(pattern, listener),
                false => address.is_some_and(|address| stands_for(pattern, address)),
            }
        };
        let mut patterns = self.listeners.iter();
        self.listeners.is_empty()
            || listener.is_some_and(|listener| patterns.any(|pattern| means(pattern, listener)))
    }

    fn apply(&self, limits: &mut ClientLimits) {
        fn set<T: Copy>(limit: &mut T, other: Option<T>) {
            *limit = other.unwrap_or(*limit);
        }
        set(&mut limits.max_packet, self.max_packet);
        set(
            &mut limits.max_inflight_messages,
            self.max_inflight_messages,
        );
        set(&mut limits.max_queued_messages, self.max_queued_messages);
        set(&mut limits.max_queued_bytes, self.max_queued_bytes);
        set(&mut limits.max_subscriptions, self.max_subscriptions);
        set(&mut limits.max_topic_levels, self.max_topic_levels);
        set(&mut limits.max_wildcards, self.max_wildcards);
        set(&mut limits.max_publish_rate, self.max_publish_rate);
        set(
            &mut limits.max_publish_rate_per_user,
            self.max_publish_rate_per_user,
        );
        set(
            &mut limits.max_retained_messages_per_user,
            self.max_retained_messages_per_user,
        );
        set(
            &mut limits.max_retained_bytes_per_user,
            self.max_retained_bytes_per_user,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_limit_the_first_override_that_has_it_counts() {
        let mut settings = Settings::default();
        let who = |user: &str| Who {
            users: vec![user.into()],
            client_ids: Vec::new(),
        };
        settings.rules.overrides = vec![
            Override {
                who: who("al*"),
                max_subscriptions: Some(1),
                ..Override::default()
            },
            Override {
                who: who("*"),
                max_subscriptions: Some(2),
                max_wildcards: Some(3),
                ..Override::default()
            },
        ];
        let of = |user| {
            let names = Names {
                user,
                client_id: "c",
            };
            settings.limits_of(names, None)
        };
        let alice = of(Some("alice")).unwrap();
        assert_eq!((alice.max_subscriptions, alice.max_wildcards), (1, 3));
        assert_eq!(alice.max_topic_levels, settings.max_topic_levels);
        assert_eq!(of(Some("bob")).unwrap().max_subscriptions, 2);
        assert_eq!(of(None), None);
    }

    #[test]
    fn an_override_is_for_listeners_by_address_and_scheme() {
        for (patterns, listener, meant) in [
            (&[][..], None, true),
            (&["*"], None, false),
            (&["ws://*", "tcp://*"], Some("tcp://127.0.0.1:1883"), true),
            (&["ws://*"], Some("tcp://127.0.0.1:1883"), false),
            (&["127.0.0.1:1883"], Some("tcp://127.0.0.1:1883"), true),
            (&["127.0.0.1:*"], Some("ws://127.0.0.1:80"), true),
            (&["ws*"], Some("ws://127.0.0.1:80"), false),
        ] {
            let rule = Override {
                listeners: patterns.iter().map(|&pattern| pattern.into()).collect(),
                ..Override::default()
            };
            assert_eq!(rule.is_for(listener), meant, "{patterns:?} {listener:?}");
        }
    }
}
