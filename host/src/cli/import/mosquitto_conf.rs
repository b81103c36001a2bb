//! mosquitto.conf: `OPTION VALUE` a line, where `listener` begins another listener.

mod bridge;
mod listener;

use std::error::Error;

use self::bridge::Bridge;
use self::listener::Listener;
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
    ("include_dir", "import its files one by one"),
    (
        "pid_file",
        "the control socket is in its place: \"polyport status\"",
    ),
    (
        "autosave_interval",
        "what is acknowledged is on disk already",
    ),
    (
        "autosave_on_changes",
        "what is acknowledged is on disk already",
    ),
    ("set_tcp_nodelay", "it is always set"),
    (
        "message_size_limit",
        "limits.max_packet, which is for whole packets",
    ),
    (
        "allow_duplicate_messages",
        "overlapping subscriptions bring one message",
    ),
    ("capath", "tls.client_ca, which is one file"),
    (
        "crlfile",
        "nothing is looked up: name certificates by sha256 in accounts.ini",
    ),
    ("ciphers", "the cipher suites are not a choice"),
    ("ciphers_tls1.3", "the cipher suites are not a choice"),
    ("dhparamfile", "the cipher suites are not a choice"),
    (
        "use_subject_as_username",
        "`certificate = CN=NAME` in accounts.ini",
    ),
    (
        "use_username_as_clientid",
        "rules with %u are for users, those with %c for client ids",
    ),
];

/// The service and the accounts of `file` and of those that it names.
pub fn import(file: &Text, service: &str) -> Result<Plan, Box<dyn Error>> {
    let mut plan = Plan::new(service);
    plan.plugin = Some("mqtt");
    let mut listeners: Vec<Listener> = Vec::new();
    let (mut passwords, mut acl, mut anonymous) = (None, None, None);
    let mut bridges: Vec<Bridge> = Vec::new();
    // Whether what is read belongs to the last of them.
    let mut bridging = false;
    for line in file.lines() {
        let (option, value) = line.text.split_once([' ', '\t']).unwrap_or((line.text, ""));
        let value = value.trim();
        match option {
            "connection" => {
                bridging = true;
                bridges.push(Bridge::named(&mut plan, &line, value));
            }
            _ if bridging && option != "listener" => {
                if let Some(bridge) = bridges.last_mut() {
                    bridge.take(&mut plan, &line, option, value);
                }
            }
            "listener" | "port" => {
                bridging = false;
                if listeners.first().is_some_and(|first| first.is_implied) {
                    plan.note(
                        &line.place,
                        "options above that are about a listener are left out: they are those of none",
                    );
                    listeners.clear();
                }
                listeners.push(Listener::named(&line, value));
            }
            "bind_address" => {
                if listeners.is_empty() {
                    listeners.push(Listener::implied(&line));
                }
                listeners[0].bind(value);
            }
            "password_file" => passwords = Some(file.read_named(value)?),
            "acl_file" => acl = Some(file.read_named(value)?),
            "allow_anonymous" => anonymous = Some(value == "true"),
            _ => {
                let taken = match listeners.last_mut() {
                    Some(listener) => listener.take(&mut plan, &line, option, value),
                    None => {
                        let mut implied = Listener::implied(&line);
                        let taken = implied.take(&mut plan, &line, option, value);
                        listeners.extend(taken.then_some(implied));
                        taken
                    }
                };
                if !taken {
                    setting(&mut plan, &line, option, value);
                }
            }
        }
    }
    listener::keys(&mut plan, &listeners);
    bridge::keys(&mut plan, bridges);
    let common = mosquitto::accounts(&mut plan, passwords.as_ref(), acl.as_ref());
    if listeners.iter().any(|one| one.names_by_certificate) {
        name_by_certificates(&mut plan);
    }
    let is_open = listeners.iter().any(|one| !one.is_implied);
    match anonymous {
        // mosquitto 2 lets everybody in from this machine if it has no listener of its own.
        None if is_open => plan.notes.push(format!(
            "{}: allow_anonymous is not there, which mosquitto 2 takes for false and mosquitto 1 for true: \
             [anonymous] is not written",
            file.file.display()
        )),
        Some(false) => {}
        Some(true) | None => {
            let mut section = mosquitto::anonymous(service, common.as_ref());
            if is_open {
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

/// `use_identity_as_username`: the common name of a certificate is the user.
fn name_by_certificates(plan: &mut Plan) {
    for section in &mut plan.sections {
        let Some(name) = section.login().map(str::to_owned) else {
            continue;
        };
        if name.contains(',') || name.trim() != name {
            plan.notes.push(format!(
                "use_identity_as_username: {name:?} cannot be named by a list of certificates"
            ));
        } else {
            section.add("certificate", format!("CN={name}"));
        }
    }
    plan.notes.push(
        "use_identity_as_username: an account that neither file names needs `certificate = CN=NAME`".to_owned(),
    );
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
