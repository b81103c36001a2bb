//! Keys that give some clients other limits than all.

use polyport_mqtt_core::settings;
use polyport_sdk::config::Problem;
use serde::{Deserialize, Serialize};

use super::Config;

/// Limits of some clients in place of the general ones: those that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Names of accounts, with `*` for any text; none means everyone.
    pub users: Vec<String>,
    /// Client identifiers, likewise.
    pub client_ids: Vec<String>,
    /// Listeners that they came by, `SCHEME://ADDRESS` or `ADDRESS`, likewise.
    pub listeners: Vec<String>,
    /// Bytes of the largest packet taken from one, where the listener's limit is not lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_packet: Option<usize>,
    /// QoS 1 and 2 messages sent to one and not acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_inflight_messages: Option<u16>,
    /// QoS 1 and 2 messages waiting in its session beyond those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued_messages: Option<usize>,
    /// Bytes of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queued_bytes: Option<usize>,
    /// Subscriptions in its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<usize>,
    /// Levels of a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_topic_levels: Option<usize>,
    /// Levels of a filter with a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wildcards: Option<usize>,
    /// Messages a second taken from one connection; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_publish_rate: Option<u32>,
    /// Messages a second taken from all connections of its account; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_publish_rate_per_user: Option<u32>,
    /// Topics with a retained message of its account; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retained_messages_per_user: Option<usize>,
    /// Bytes of them; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retained_bytes_per_user: Option<usize>,
}

impl Config {
    pub(super) fn overrides(&self) -> Vec<settings::Override> {
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let made = self.overrides.iter().map(|written| settings::Override {
            who: settings::Who {
                users: boxed(&written.users),
                client_ids: boxed(&written.client_ids),
            },
            listeners: boxed(&written.listeners),
            max_packet: written.max_packet,
            max_inflight_messages: written.max_inflight_messages,
            max_queued_messages: written.max_queued_messages,
            max_queued_bytes: written.max_queued_bytes,
            max_subscriptions: written.max_subscriptions,
            max_topic_levels: written.max_topic_levels,
            max_wildcards: written.max_wildcards,
            max_publish_rate: written.max_publish_rate,
            max_publish_rate_per_user: written.max_publish_rate_per_user,
            max_retained_messages_per_user: written.max_retained_messages_per_user,
            max_retained_bytes_per_user: written.max_retained_bytes_per_user,
        });
        made.collect()
    }
}

/// What the types cannot say: the bounds are those of the general limits.
pub(super) fn problems(config: &Config, problems: &mut Vec<Problem>) {
    for (at, written) in config.overrides.iter().enumerate() {
        let inflight = written.max_inflight_messages.map(usize::from);
        for (key, value, low, high) in [
            ("max_packet", written.max_packet, 128, Some(268_435_460)),
            ("max_inflight_messages", inflight, 1, Some(65_534)),
            ("max_queued_messages", written.max_queued_messages, 1, None),
            ("max_queued_bytes", written.max_queued_bytes, 1, None),
            ("max_subscriptions", written.max_subscriptions, 1, None),
            (
                "max_topic_levels",
                written.max_topic_levels,
                1,
                Some(65_536),
            ),
        ] {
            if value.is_some_and(|value| value < low || high.is_some_and(|high| value > high)) {
                problems.push(Problem {
                    key: format!("overrides[{at}].{key}"),
                    expected: match high {
                        Some(high) => format!("{low} to {high}"),
                        None => format!("{low} or more"),
                    },
                    got: value.unwrap_or_default().to_string(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_have_the_bounds_of_the_general_limits() {
        let config: Config = toml::from_str(
            r#"overrides = [
                { users = ["a*"], max_queued_messages = 5, max_wildcards = 0 },
                { max_inflight_messages = 65535, max_subscriptions = 0, max_packet = 127 },
            ]"#,
        )
        .unwrap();
        let problems = config.problems().into_iter();
        let keys: Vec<_> = problems.map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "overrides[1].max_packet",
                "overrides[1].max_inflight_messages",
                "overrides[1].max_subscriptions"
            ]
        );
    }
}
