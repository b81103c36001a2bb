//! Keys of bridges to other brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use polyport_mqtt_core::codec::Version;
use polyport_mqtt_core::topic::{Filter, is_name};
use polyport_sdk::config::Problem;
use serde::{Deserialize, Serialize};

/// Bridges by name.
pub type Bridges = BTreeMap<String, Bridge>;

/// A connection to another broker, over which messages go to and fro.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// `HOST` or `HOST:PORT` of the other broker, or several ways to it.
    pub addresses: Vec<String>,
    /// A new connection goes to the address after the last one, instead of the first.
    #[serde(default)]
    pub round_robin: bool,
    /// What is shared.
    pub topics: Vec<Topic>,
    /// Versions in the order in which they are tried.
    #[serde(default = "versions")]
    pub protocol_versions: Vec<Protocol>,
    /// Client identifier at the other broker; one of its own without.
    #[serde(default)]
    pub client_id: Option<String>,
    /// User name there.
    #[serde(default)]
    pub username: Option<String>,
    /// Password there.
    #[serde(default)]
    pub password: Option<Secret>,
    /// File whose first line is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Account here whose rights the bridge has; all without.
    #[serde(default)]
    pub account: Option<String>,
    /// The other broker keeps nothing while the bridge is away.
    #[serde(default)]
    pub clean_start: bool,
    /// Seconds that the other broker keeps the session; 4294967295 is for ever.
    #[serde(default = "forever")]
    pub session_expiry_interval: u32,
    /// Seconds without a packet before a ping.
    #[serde(default = "keep_alive")]
    pub keep_alive: u16,
    /// QoS 1 and 2 messages sent there and not acknowledged.
    #[serde(default = "max_inflight_messages")]
    pub max_inflight_messages: u16,
    /// Bytes of the largest packet taken from there.
    #[serde(default = "max_packet")]
    pub max_packet: u32,
    /// Messages go there with their retain flag.
    #[serde(default = "yes")]
    pub outgoing_retain: bool,
    /// Messages from there keep their retain flag.
    #[serde(default = "yes")]
    pub incoming_retain: bool,
    /// Tell a 3.1.1 broker that this is a bridge.
    #[serde(default = "yes")]
    pub try_private: bool,
    /// Keep `$SYS/broker/connection/NAME/state` here.
    #[serde(default = "yes")]
    pub notifications: bool,
    /// Topic there with the same.
    #[serde(default)]
    pub remote_notification_topic: Option<String>,
    /// Seconds of the shortest pause before another try.
    #[serde(default = "restart_min")]
    pub restart_min: u32,
    /// Seconds of the longest.
    #[serde(default = "restart_max")]
    pub restart_max: u32,
    /// By TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// What is shared, and in which direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Topics, beneath both prefixes; empty where the prefixes are the topics.
    pub filter: String,
    /// Which way.
    pub direction: Direction,
    /// Highest QoS.
    #[serde(default)]
    pub qos: u8,
    /// What stands before it here.
    #[serde(default)]
    pub local_prefix: String,
    /// What stands before it there.
    #[serde(default)]
    pub remote_prefix: String,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From there.
    In,
    /// To there.
    Out,
    /// Either way.
    Both,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// 3.1.
    #[serde(rename = "3.1")]
    V31,
    /// 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// 5.0.
    #[serde(rename = "5")]
    V5,
}

impl From<Protocol> for Version {
    fn from(protocol: Protocol) -> Version {
        match protocol {
            Protocol::V31 => Version::V31,
            Protocol::V311 => Version::V311,
            Protocol::V5 => Version::V5,
        }
    }
}

/// TLS of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities that vouch for the other broker; the system's without.
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate to show.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Name that the other broker's certificate has to have; the address's without.
    pub server_name: Option<String>,
    /// Take any broker for the right one.
    pub insecure: bool,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

fn versions() -> Vec<Protocol> {
    vec![Protocol::V5, Protocol::V311]
}
fn forever() -> u32 {
    u32::MAX
}
fn keep_alive() -> u16 {
    60
}
fn max_inflight_messages() -> u16 {
    100
}
fn max_packet() -> u32 {
    2_000_000
}
fn yes() -> bool {
    true
}
fn restart_min() -> u32 {
    1
}
fn restart_max() -> u32 {
    60
}

/// Longest text in a packet.
const LONGEST_TEXT: usize = 65_535;

/// What the types cannot say of the bridges.
pub(super) fn problems(bridges: &Bridges, problems: &mut Vec<Problem>) {
    for (name, bridge) in bridges {
        let mut wrong = |key: &str, expected: &str, got: String| {
            problems.push(Problem {
                key: match key {
                    "" => format!("bridges.{name}"),
                    key => format!("bridges.{name}.{key}"),
                },
                expected: expected.into(),
                got,
            });
        };
        if !is_plain(name) {
            let expected = "a name of letters, digits, \"-\" and \"_\"";
            wrong("", expected, format!("{name:?}"));
        }
        bridge.problems(&mut wrong);
        for (at, topic) in bridge.topics.iter().enumerate() {
            topic.problems(&mut |key, expected, got| {
                wrong(&format!("topics[{at}]{key}"), expected, got);
            });
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl Bridge {
    fn problems(&self, wrong: &mut impl FnMut(&str, &str, String)) {
        if self.addresses.is_empty() {
            wrong("addresses", "at least one HOST or HOST:PORT", "none".into());
        }
        for (at, address) in self.addresses.iter().enumerate() {
            if host_and_port(address, 1883).is_none() {
                let key = format!("addresses[{at}]");
                wrong(
                    &key,
                    "HOST, HOST:PORT or [IPV6]:PORT",
                    format!("{address:?}"),
                );
            }
        }
        if self.topics.is_empty() {
            wrong("topics", "at least one", "none".into());
        }
        if self.protocol_versions.is_empty() {
            let expected = "at least one of \"5\", \"3.1.1\" and \"3.1\"";
            wrong("protocol_versions", expected, "none".into());
        }
        let mut range = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                wrong(key, &format!("{low} to {high}"), value.to_string());
            }
        };
        range("keep_alive", self.keep_alive.into(), 5, 65_535);
        let inflight = self.max_inflight_messages;
        range("max_inflight_messages", inflight.into(), 1, 65_534);
        range("max_packet", self.max_packet.into(), 128, 268_435_455);
        range("restart_min", self.restart_min.into(), 1, 86_400);
        let least = self.restart_min.into();
        range("restart_max", self.restart_max.into(), least, 86_400);
        let texts = [
            ("client_id", self.client_id.as_deref()),
            ("username", self.username.as_deref()),
            ("password", self.password.as_ref().map(|secret| &*secret.0)),
        ];
        for (key, text) in texts {
            let length = text.map_or(1, str::len);
            if !(1..=LONGEST_TEXT).contains(&length) {
                wrong(key, "1 to 65535 bytes", format!("{length}"));
            }
        }
        if self.password.is_some() && self.password_file.is_some() {
            wrong("password_file", "no password beside it", "both".into());
        }
        let password = self.password.is_some() || self.password_file.is_some();
        if password && self.username.is_none() {
            wrong("username", "one, with a password", "none".into());
        }
        let topic = self.remote_notification_topic.as_deref();
        if let Some(topic) = topic.filter(|topic| !is_name(topic) || topic.len() > LONGEST_TEXT) {
            let expected = "a topic without wildcards";
            wrong("remote_notification_topic", expected, format!("{topic:?}"));
        }
        if let Some(tls) = &self.tls
            && tls.cert.is_some() != tls.key.is_some()
        {
            let expected = "cert and key, or neither";
            wrong("tls", expected, "one of them".into());
        }
    }

    /// Host and port of an address.
    pub(crate) fn host_and_port<'a>(&self, address: &'a str) -> Option<(&'a str, u16)> {
        host_and_port(address, if self.tls.is_some() { 8883 } else { 1883 })
    }
}

fn host_and_port(address: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => default,
    };
    let is_host = !host.is_empty() && !host.contains(['/', ' ', '@']);
    is_host.then_some((host, port))
}

impl Topic {
    fn problems(&self, wrong: &mut impl FnMut(&str, &str, String)) {
        if self.qos > 2 {
            wrong(".qos", "0 to 2", self.qos.to_string());
        }
        for (key, prefix) in [
            (".local_prefix", &self.local_prefix),
            (".remote_prefix", &self.remote_prefix),
        ] {
            if !prefix.is_empty() && !is_name(prefix) {
                wrong(key, "a text without wildcards", format!("{prefix:?}"));
            }
        }
        let both = [&self.local_prefix, &self.remote_prefix];
        if self.filter.is_empty() && both.iter().any(|prefix| prefix.is_empty()) {
            let expected = "a topic filter, or both prefixes";
            wrong(".filter", expected, "\"\"".into());
            return;
        }
        let whole: BTreeSet<String> = both
            .iter()
            .map(|prefix| format!("{prefix}{}", self.filter))
            .collect();
        let bad = whole.iter().find(|text| {
            Filter::parse(text).is_none_or(|filter| filter.share.is_some())
                || text.len() > LONGEST_TEXT
                || text.contains('\0')
        });
        if let Some(bad) = bad {
            let expected = "a topic filter, also behind the prefixes";
            wrong(".filter", expected, format!("{bad:?}"));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bridge of these topics, with nothing else said.
    pub(crate) fn bridge(topics: &[(&str, Direction, u8, &str, &str)]) -> Bridge {
        let topics = topics
            .iter()
            .map(|(filter, direction, qos, local, remote)| Topic {
                filter: (*filter).into(),
                direction: *direction,
                qos: *qos,
                local_prefix: (*local).into(),
                remote_prefix: (*remote).into(),
            });
        Bridge {
            addresses: vec!["localhost".into()],
            round_robin: false,
            topics: topics.collect(),
            protocol_versions: versions(),
            client_id: None,
            username: None,
            password: None,
            password_file: None,
            account: None,
            clean_start: false,
            session_expiry_interval: forever(),
            keep_alive: keep_alive(),
            max_inflight_messages: max_inflight_messages(),
            max_packet: max_packet(),
            outgoing_retain: true,
            incoming_retain: true,
            try_private: true,
            notifications: true,
            remote_notification_topic: None,
            restart_min: restart_min(),
            restart_max: restart_max(),
            tls: None,
        }
    }

    fn keys(name: &str, bridge: Bridge) -> Vec<String> {
        let mut found = Vec::new();
        problems(&Bridges::from([(name.into(), bridge)]), &mut found);
        found.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn a_bridge_with_addresses_and_topics_is_whole() {
        assert!(keys("a", bridge(&[("#", Direction::Both, 2, "l/", "r/")])).is_empty());
        assert!(keys("a", bridge(&[("", Direction::In, 0, "l", "r")])).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let topic = ("#", Direction::Out, 0, "", "");
        let bad = [
            (
                "topics[0].filter",
                bridge(&[("a#", Direction::Out, 0, "", "")]),
            ),
            (
                "topics[0].filter",
                bridge(&[("", Direction::Out, 0, "a", "")]),
            ),
            (
                "topics[0].filter",
                bridge(&[("$share/a/b", Direction::In, 0, "", "")]),
            ),
            ("topics[0].qos", bridge(&[("a", Direction::Out, 3, "", "")])),
            (
                "topics[0].local_prefix",
                bridge(&[("a", Direction::Out, 0, "+/", "")]),
            ),
            ("topics", bridge(&[])),
            (
                "addresses",
                Bridge {
                    addresses: vec![],
                    ..bridge(&[topic])
                },
            ),
            (
                "addresses[0]",
                Bridge {
                    addresses: vec!["a:b".into()],
                    ..bridge(&[topic])
                },
            ),
            (
                "keep_alive",
                Bridge {
                    keep_alive: 1,
                    ..bridge(&[topic])
                },
            ),
            (
                "restart_max",
                Bridge {
                    restart_min: 9,
                    restart_max: 8,
                    ..bridge(&[topic])
                },
            ),
            (
                "username",
                Bridge {
                    password: Some(Secret("x".into())),
                    ..bridge(&[topic])
                },
            ),
        ];
        for (key, bridge) in bad {
            assert_eq!(keys("b", bridge)[0], format!("bridges.b.{key}"));
        }
        assert_eq!(keys("a/b", bridge(&[topic])), ["bridges.a/b"]);
    }

    #[test]
    fn a_password_is_never_shown() {
        let bridge = Bridge {
            password: Some(Secret("hidden".into())),
            ..bridge(&[])
        };
        assert!(!format!("{bridge:?}").contains("hidden"));
    }

    #[test]
    fn addresses_have_the_port_of_their_protocol() {
        for (text, whole) in [
            ("a", Some(("a", 1883))),
            ("a:5", Some(("a", 5))),
            ("[::1]", Some(("::1", 1883))),
            ("[::1]:9", Some(("::1", 9))),
            ("a:0", None),
            (":1", None),
            ("[::1]9", None),
        ] {
            assert_eq!(host_and_port(text, 1883), whole, "{text}");
        }
    }
}
