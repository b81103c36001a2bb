//! Keys about subscriptions and publishing.

use polyport_mqtt_core::codec::QoS;
use polyport_mqtt_core::codec::subscribe::{RetainHandling, SubscriptionOptions};
use polyport_mqtt_core::settings::{self, Names, Who};
use polyport_mqtt_core::topic::{Filter, is_name};
use polyport_sdk::config::Problem;
use serde::{Deserialize, Serialize};

use super::Config;

/// How a message reaches a session by several subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlapping {
    /// Once.
    Merged,
    /// Once by each.
    Each,
}

/// A subscription that clients get with their CONNECT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoSubscription {
    /// Topic filter, with `%u` and `%c` for the user and the client identifier.
    pub filter: String,
    /// Highest QoS.
    #[serde(default)]
    pub qos: u8,
    /// Not what the client itself publishes.
    #[serde(default)]
    pub no_local: bool,
    /// With the retain flag as it was published.
    #[serde(default)]
    pub retain_as_published: bool,
    /// 0: retained messages whenever the subscription is made, 2: never.
    #[serde(default)]
    pub retain_handling: u8,
    /// Names of accounts, with `*` for any text; none means everyone.
    #[serde(default)]
    pub users: Vec<String>,
    /// Client identifiers, likewise.
    #[serde(default)]
    pub client_ids: Vec<String>,
}

/// A topic that stands for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Where.
    #[serde(default)]
    pub action: Action,
    /// What is replaced.
    pub filter: String,
    /// By what.
    pub to: String,
}

/// Where a topic stands for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// In PUBLISH and wills.
    Publish,
    /// In SUBSCRIBE and UNSUBSCRIBE.
    Subscribe,
    /// In both.
    #[default]
    All,
}

impl AutoSubscription {
    fn options(&self) -> Option<SubscriptionOptions> {
        Some(SubscriptionOptions {
            qos: QoS::from_bits(self.qos)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: match self.retain_handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return None,
            },
        })
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

impl Config {
    pub(super) fn rules(&self) -> settings::Rules {
        let auto_subscribe = self.auto_subscribe.iter().filter_map(|made| {
            Some(settings::AutoSubscription {
                filter: made.filter.as_str().into(),
                options: made.options()?,
                who: Who {
                    users: boxed(&made.users),
                    client_ids: boxed(&made.client_ids),
                },
            })
        });
        let rewrite: Vec<_> = self.rewrite.iter().map(Rewrite::rule).collect();
        settings::Rules {
            overlapping: match self.overlapping_subscriptions {
                Overlapping::Merged => settings::Overlapping::Merged,
                Overlapping::Each => settings::Overlapping::Each,
            },
            wildcard_subscriptions: self.wildcard_subscriptions,
            shared_subscriptions: self.shared_subscriptions,
            subscription_identifiers: self.subscription_identifiers,
            max_wildcards: self.max_wildcards,
            max_retained_bytes: self.max_retained_bytes,
            max_retained_messages_per_user: self.max_retained_messages_per_user,
            max_retained_bytes_per_user: self.max_retained_bytes_per_user,
            check_retained_source: self.check_retained_source,
            delayed_publish: self.delayed_publish,
            max_delayed_messages: self.max_delayed_messages,
            max_delayed_bytes: self.max_delayed_bytes,
            auto_subscribe: auto_subscribe.collect(),
            rewrite: rewrite.into(),
            overrides: self.overrides(),
        }
    }
}

impl Rewrite {
    fn rule(&self) -> settings::Rewrite {
        settings::Rewrite {
            publish: self.action != Action::Subscribe,
            subscribe: self.action != Action::Publish,
            filter: self.filter.as_str().into(),
            to: self.to.as_str().into(),
        }
    }
}

/// What the types cannot say.
pub(super) fn problems(config: &Config, problems: &mut Vec<Problem>) {
    let mut wrong = |key: String, expected: &str, got: String| {
        problems.push(Problem {
            key,
            expected: expected.into(),
            got,
        });
    };
    // Any names: whether a filter is one does not depend on them.
    let names = Names {
        user: Some("u"),
        client_id: "c",
    };
    for (at, made) in config.auto_subscribe.iter().enumerate() {
        let key = |key: &str| format!("auto_subscribe[{at}].{key}");
        let filled = names.fill(&made.filter).unwrap_or_default();
        match Filter::parse(&filled) {
            None => wrong(
                key("filter"),
                "a topic filter",
                format!("{:?}", made.filter),
            ),
            Some(filter) if filter.share.is_some() && made.no_local => {
                wrong(
                    key("no_local"),
                    "false for a shared subscription",
                    "true".into(),
                );
            }
            Some(_) => {}
        }
        if made.qos > 2 {
            wrong(key("qos"), "0 to 2", made.qos.to_string());
        }
        if made.retain_handling > 2 {
            let got = made.retain_handling.to_string();
            wrong(key("retain_handling"), "0 to 2", got);
        }
    }
    for (at, written) in config.rewrite.iter().enumerate() {
        let key = |key: &str| format!("rewrite[{at}].{key}");
        let filter = Filter::parse(&written.filter);
        if filter.is_none_or(|filter| filter.share.is_some()) {
            let expected = "a topic filter that is not shared";
            wrong(key("filter"), expected, format!("{:?}", written.filter));
        }
        let rule = written.rule();
        let got = || format!("{:?}", written.to);
        let (wildcards, highest) = (rule.wildcards(), rule.highest());
        if highest > wildcards {
            let expected = match wildcards {
                0 => "no $1: the filter has no wildcard".into(),
                most => format!("$1 to ${most}, a number for each wildcard of the filter"),
            };
            wrong(key("to"), &expected, got());
        } else if rule.publish && !is_name(&rule.to) || rule.to.is_empty() {
            let expected = "a topic name, without wildcards where messages are published to it";
            wrong(key("to"), expected, got());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(settings: &str) -> Vec<String> {
        let config: Config = toml::from_str(settings).unwrap();
        let problems = config.problems().into_iter();
        problems.map(|problem| problem.key).collect()
    }

    #[test]
    fn rules_are_checked() {
        let good = r#"
            auto_subscribe = [{ filter = "a/%c/#", qos = 2 }, { filter = "$share/g/%u" }]
            rewrite = [
                { filter = "x/+/#", to = "$2/$1/%u" },
                { action = "subscribe", filter = "y", to = "z/#" },
            ]
        "#;
        assert!(keys(good).is_empty());
        let bad = r#"
            auto_subscribe = [
                { filter = "a#", qos = 3 },
                { filter = "$share/g/a", no_local = true, retain_handling = 3 },
            ]
            rewrite = [
                { filter = "$share/g/a", to = "b" },
                { filter = "a", to = "$1" },
                { filter = "a", to = "b/#" },
                { action = "subscribe", filter = "a", to = "" },
            ]
        "#;
        assert_eq!(
            keys(bad),
            [
                "auto_subscribe[0].filter",
                "auto_subscribe[0].qos",
                "auto_subscribe[1].no_local",
                "auto_subscribe[1].retain_handling",
                "rewrite[0].filter",
                "rewrite[1].to",
                "rewrite[2].to",
                "rewrite[3].to",
            ]
        );
    }
}
