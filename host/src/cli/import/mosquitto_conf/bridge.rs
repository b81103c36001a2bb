//! The bridges of mosquitto.conf: `connection NAME` begins one, and what is behind it is its own.

use toml_edit::{Array, InlineTable, Value};

use super::super::plan::Plan;
use super::Line;

/// Options that are true or false, and the keys that mean the same.
const SWITCHES: &[(&str, &str)] = &[
    ("bridge_outgoing_retain", "outgoing_retain"),
    ("cleansession", "clean_start"),
    ("notifications", "notifications"),
    ("round_robin", "round_robin"),
    ("try_private", "try_private"),
];

/// Options that are texts.
const TEXTS: &[(&str, &str)] = &[
    ("clientid", "client_id"),
    ("local_username", "account"),
    ("password", "password"),
    ("remote_clientid", "client_id"),
    ("remote_password", "password"),
    ("remote_username", "username"),
    ("username", "username"),
];

/// Options that are numbers.
const NUMBERS: &[(&str, &str)] = &[
    ("bridge_max_packet_size", "max_packet"),
    ("keepalive_interval", "keep_alive"),
];

/// Options of TLS.
const TLS: &[(&str, &str)] = &[
    ("bridge_cafile", "ca"),
    ("bridge_certfile", "cert"),
    ("bridge_keyfile", "key"),
];

/// Options and what is in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "bridge_attempt_unsubscribe",
        "what is not shared any more is unsubscribed from",
    ),
    ("bridge_bind_address", "the system chooses the address"),
    ("bridge_capath", "tls.ca, which is one file"),
    (
        "bridge_insecure",
        "tls.server_name says which name is right",
    ),
    ("bridge_tls_version", "TLS 1.2 and 1.3 are spoken"),
    ("idle_timeout", "the bridge is always connected"),
    ("local_clientid", "the session has a name of its own"),
    ("local_cleansession", "what waits here stays"),
    ("local_password", "the account is taken by its name"),
    (
        "notifications_local_only",
        "notifications are here, unless remote_notification_topic is there",
    ),
    ("start_type", "the bridge is always connected"),
    ("threshold", "the bridge is always connected"),
];

/// A bridge being read.
#[derive(Debug)]
pub struct Bridge {
    place: String,
    name: String,
    addresses: Array,
    topics: Array,
    keys: InlineTable,
    tls: InlineTable,
    notification_topic: Option<String>,
}

impl Bridge {
    /// `connection NAME`
    pub fn named(plan: &mut Plan, line: &Line<'_>, value: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = value.replace(|c| !plain(c), "-");
        if name != value {
            plan.note(
                &line.place,
                format_args!("connection {value}: here it is {name:?}"),
            );
        }
        let mut bridge = Self {
            place: line.place.clone(),
            name,
            addresses: Array::new(),
            topics: Array::new(),
            keys: InlineTable::new(),
            tls: InlineTable::new(),
            notification_topic: None,
        };
        // What mosquitto takes where the file says nothing.
        bridge.versions("3.1.1");
        bridge
    }

    fn versions(&mut self, version: &str) {
        let versions: Array = [version].into_iter().collect();
        self.keys.insert("protocol_versions", versions.into());
    }

    /// Takes an option behind its `connection`.
    pub fn take(&mut self, plan: &mut Plan, line: &Line<'_>, option: &str, value: &str) {
        let known = |table: &[(&str, &'static str)]| {
            let found = table.iter().find(|(known, _)| *known == option);
            found.map(|(_, key)| *key)
        };
        if let Some(key) = known(SWITCHES) {
            self.keys.insert(key, (value == "true").into());
        } else if let Some(key) = known(TEXTS) {
            self.keys.insert(key, value.into());
        } else if let Some(key) = known(TLS) {
            self.tls.insert(key, value.into());
        } else if let Some(key) = known(NUMBERS) {
            match value.parse::<i64>() {
                Ok(number) => {
                    // 0 is without a limit.
                    let number = if number == 0 { 268_435_455 } else { number };
                    self.keys.insert(key, number.into());
                }
                Err(_) => {
                    let wrong = format_args!("{option}: expected a number, got {value:?}");
                    plan.note(&line.place, wrong);
                }
            }
        } else if let Some(instead) = known(ELSEWHERE) {
            plan.note(&line.place, format_args!("{option} {value}: {instead}"));
        } else {
            self.take_special(plan, line, option, value);
        }
    }

    fn take_special(&mut self, plan: &mut Plan, line: &Line<'_>, option: &str, value: &str) {
        match (option, value) {
            ("address" | "addresses", _) => self.addresses.extend(value.split_whitespace()),
            ("topic", _) => match topic(value) {
                Some(topic) => self.topics.push(topic),
                None => {
                    let expected =
                        "expected PATTERN [DIRECTION [QOS [LOCAL-PREFIX REMOTE-PREFIX]]]";
                    plan.note(
                        &line.place,
                        format_args!("topic: {expected}, got {value:?}"),
                    );
                }
            },
            ("bridge_protocol_version", "mqttv50") => self.versions("5"),
            ("bridge_protocol_version", "mqttv311") => self.versions("3.1.1"),
            ("bridge_protocol_version", "mqttv31") => self.versions("3.1"),
            ("notification_topic", _) => self.notification_topic = Some(value.to_owned()),
            ("restart_timeout", _) => {
                let mut numbers = value.split_whitespace().map(str::parse::<i64>);
                match (numbers.next(), numbers.next()) {
                    (Some(Ok(base)), cap) => {
                        let cap = cap.and_then(Result::ok).unwrap_or(base);
                        self.keys.insert("restart_min", base.min(cap).into());
                        self.keys.insert("restart_max", cap.max(base).into());
                    }
                    _ => {
                        let wrong = format_args!("{option}: expected seconds, got {value:?}");
                        plan.note(&line.place, wrong);
                    }
                }
            }
            _ => plan.note(
                &line.place,
                format_args!("{option} {value}: no counterpart"),
            ),
        }
    }

    /// Its key among the bridges, with what it comes to.
    fn finish(mut self, plan: &mut Plan) -> (String, InlineTable) {
        if self.addresses.is_empty() || self.topics.is_empty() {
            let text = format_args!("connection {}: it has no address or no topic", self.name);
            plan.note(&self.place, text);
        }
        let mut keys = InlineTable::new();
        keys.insert("addresses", self.addresses.into());
        keys.insert("topics", self.topics.into());
        let off = self.keys.get("notifications").and_then(Value::as_bool) == Some(false);
        if let Some(topic) = self.notification_topic.filter(|_| !off) {
            self.keys.insert("remote_notification_topic", topic.into());
        }
        for (key, value) in self.keys {
            keys.insert(key, value);
        }
        if !self.tls.is_empty() {
            keys.insert("tls", self.tls.into());
        }
        (self.name, keys)
    }
}

/// `PATTERN [DIRECTION [QOS [LOCAL-PREFIX REMOTE-PREFIX]]]`, where `""` is empty.
fn topic(value: &str) -> Option<Value> {
    let mut words = value.split_whitespace().map(|word| match word {
        "\"\"" => "",
        word => word,
    });
    let filter = words.next()?;
    let direction = words.next().unwrap_or("out");
    let qos: i64 = words.next().map_or(Some(0), |word| word.parse().ok())?;
    let mut topic = InlineTable::new();
    topic.insert("filter", filter.into());
    topic.insert("direction", direction.into());
    topic.insert("qos", qos.into());
    for key in ["local_prefix", "remote_prefix"] {
        let prefix = words.next().unwrap_or_default();
        if !prefix.is_empty() {
            topic.insert(key, prefix.into());
        }
    }
    let good = words.next().is_none() && matches!(direction, "in" | "out" | "both");
    good.then(|| topic.into())
}

/// The key of all bridges.
pub fn keys(plan: &mut Plan, bridges: Vec<Bridge>) {
    let mut all = InlineTable::new();
    for bridge in bridges {
        let (name, keys) = bridge.finish(plan);
        all.insert(name, keys.into());
    }
    if !all.is_empty() {
        plan.set("bridges", all);
    }
}
