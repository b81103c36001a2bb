//! mosquitto.conf: `OPTION VALUE` a line, where `listener` begins another listener.

use std::error::Error;
use std::net::IpAddr;

use toml_edit::{Array, Value};

use super::plan::Plan;
use super::{Line, Text, mosquitto};

/// Options and the settings that mean the same; the number that means no limit here, if theirs is 0.
const NUMBERS: &[(&str, &str, Option<i64>)] = &[
    (
        "max_inflight_messages",
        "max_inflight_messages",
        Some(65_535),
    ),
    ("max_keepalive", "max_keepalive", None),
    ("max_qos", "max_qos", None),
    ("max_queued_bytes", "max_queued_bytes", Some(i64::MAX)),
    ("max_queued_messages", "max_queued_messages", Some(i64::MAX)),
    ("max_topic_alias", "topic_alias_maximum", None),
];

/// Options that are true or false, and the settings that mean the same.
const SWITCHES: &[&str] = &[
    "allow_zero_length_clientid",
    "persistence",
    "retain_available",
];

/// Options and what is in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("user", "host.user in polyport.toml"),
    ("log_dest", "host.log.file in polyport.toml"),
    ("log_type", "host.log.level in polyport.toml"),
    ("log_timestamp", "the log always has times"),
    ("persistence_location", "host.state in polyport.toml"),
    (
        "persistence_file",
        "the store has a name of its own, in host.state",
    ),
    (
        "per_listener_settings",
        "two services have two lists of settings",
    ),
    ("cafile", "TLS is not available yet"),
    ("certfile", "TLS is not available yet"),
    ("keyfile", "TLS is not available yet"),
];

/// A listening address being read.
struct Listener {
    place: String,
    port: String,
    address: Option<String>,
    websockets: bool,
}

/// The service and the accounts of `file` and of those that it names.
pub fn import(file: &Text, service: &str) -> Result<Plan, Box<dyn Error>> {
    let mut plan = Plan::new(service);
    plan.plugin = Some("mqtt");
    let mut listeners: Vec<Listener> = Vec::new();
    let (mut passwords, mut acl, mut anonymous) = (None, None, None);
    let mut bridge = false;
    for line in file.lines() {
        let (option, value) = line.text.split_once([' ', '\t']).unwrap_or((line.text, ""));
        let value = value.trim();
        bridge |= option == "connection";
        match option {
            _ if bridge && option != "listener" => {
                plan.note(&line.place, format_args!("{option}: there are no bridges"));
            }
            "listener" | "port" => {
                bridge = false;
                let (port, address) = value.split_once([' ', '\t']).unwrap_or((value, ""));
                let address = address.trim();
                listeners.push(Listener {
                    place: line.place,
                    port: port.to_owned(),
                    address: (!address.is_empty()).then(|| address.to_owned()),
                    websockets: false,
                });
            }
            "bind_address" => match listeners.first_mut() {
                Some(listener) => listener.address = Some(value.to_owned()),
                None => listeners.push(Listener {
                    place: line.place,
                    port: "1883".to_owned(),
                    address: Some(value.to_owned()),
                    websockets: false,
                }),
            },
            "protocol" => match listeners.last_mut() {
                Some(listener) => listener.websockets = value == "websockets",
                None => plan.note(&line.place, "protocol: expected a listener above"),
            },
            "password_file" => passwords = Some(file.read_named(value)?),
            "acl_file" => acl = Some(file.read_named(value)?),
            "allow_anonymous" => anonymous = Some(value == "true"),
            _ => setting(&mut plan, &line, option, value),
        }
    }
    let listen: Array = addresses(&mut plan, &listeners).into_iter().collect();
    plan.keys.push(("listen", listen.into()));
    let common = mosquitto::accounts(&mut plan, passwords.as_ref(), acl.as_ref());
    match anonymous {
        // mosquitto 2 lets everybody in from this machine if it has no listener of its own.
        None if !listeners.is_empty() => plan.notes.push(format!(
            "{}: allow_anonymous is not there, which mosquitto 2 takes for false and mosquitto 1 for true: \
             [anonymous] is not written",
            file.file.display()
        )),
        Some(false) => {}
        Some(true) | None => {
            let mut section = mosquitto::anonymous(service, common.as_ref());
            if !listeners.is_empty() {
                section.add("from", "any");
            }
            plan.sections.push(section);
        }
    }
    Ok(plan)
}

fn setting(plan: &mut Plan, line: &Line<'_>, option: &str, value: &str) {
    let number = value.parse::<i64>().ok();
    if let Some((_, key, unlimited)) = NUMBERS.iter().find(|(known, ..)| *known == option) {
        match (number, unlimited) {
            (Some(0), Some(unlimited)) => plan.set(key, *unlimited),
            (Some(number), _) => plan.set(key, number),
            (None, _) => plan.note(
                &line.place,
                format_args!("{option}: expected a number, got {value:?}"),
            ),
        }
    } else if let Some(key) = SWITCHES.iter().find(|known| **known == option) {
        plan.set(key, value == "true");
    } else if option == "max_connections" {
        // -1 is no limit there, 0 here.
        plan.limit("max_connections", number.unwrap_or(0).max(0));
    } else if option == "max_packet_size" {
        match number {
            Some(0) => plan.limit("max_packet", 268_435_460),
            Some(number) => plan.limit("max_packet", number),
            None => plan.note(
                &line.place,
                format_args!("{option}: expected a number, got {value:?}"),
            ),
        }
    } else if option == "persistent_client_expiration" {
        match seconds(value) {
            Some(seconds) => plan.set("persistent_client_expiration", seconds),
            None => plan.note(
                &line.place,
                format_args!("{option}: expected a number with h, d, w, m or y, got {value:?}"),
            ),
        }
    } else if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == option) {
        plan.note(&line.place, format_args!("{option} {value}: {instead}"));
    } else {
        plan.note(
            &line.place,
            format_args!("{option} {value}: no counterpart"),
        );
    }
}

fn addresses(plan: &mut Plan, listeners: &[Listener]) -> Vec<Value> {
    let mut listen = Vec::new();
    if listeners.is_empty() {
        listen.extend(["127.0.0.1:1883".into(), "[::1]:1883".into()]);
    }
    for listener in listeners {
        let scheme = if listener.websockets { "ws" } else { "" };
        let separator = if listener.websockets { "://" } else { "" };
        let port = &listener.port;
        let mut add = |host: &str| listen.push(format!("{scheme}{separator}{host}:{port}").into());
        match listener.address.as_deref() {
            None => ["0.0.0.0", "[::]"].into_iter().for_each(&mut add),
            Some("localhost") => ["127.0.0.1", "[::1]"].into_iter().for_each(&mut add),
            Some(path) if port == "0" => {
                let plus = if listener.websockets { "+" } else { "" };
                listen.push(format!("{scheme}{plus}unix:{path}").into());
            }
            Some(address) => match address.parse() {
                Ok(IpAddr::V4(address)) => add(&address.to_string()),
                Ok(IpAddr::V6(address)) => add(&format!("[{address}]")),
                Err(_) => plan.note(
                    &listener.place,
                    format_args!("listener: expected an IP address, got the name {address:?}"),
                ),
            },
        }
    }
    listen
}

/// `14d` in seconds; a month has 30 days, a year 365.
fn seconds(value: &str) -> Option<i64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let hours = match &value[digits.len()..] {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        "m" => 30 * 24,
        "y" => 365 * 24,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(hours * 3600)
}
