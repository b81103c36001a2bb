//! The listeners of mosquitto.conf: listen entries, and the one `tls` that all of them share here.

use std::net::IpAddr;

use toml_edit::{Array, InlineTable, Value};

use super::super::plan::Plan;
use super::Line;

/// A listening address being read.
#[derive(Debug, Default)]
pub struct Listener {
    place: String,
    port: String,
    address: Option<String>,
    /// The one that mosquitto opens on this machine when the file names none.
    pub is_implied: bool,
    websockets: bool,
    family: Option<Family>,
    cert: Option<String>,
    key: Option<String>,
    authorities: Option<String>,
    require_certificate: bool,
    /// The common name of the client's certificate is its user.
    pub names_by_certificate: bool,
    newest_only: bool,
    max_connections: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Listener {
    /// `listener PORT [ADDRESS]`
    pub fn named(line: &Line<'_>, value: &str) -> Self {
        let (port, address) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        let address = address.trim();
        Self {
            place: line.place.clone(),
            port: port.to_owned(),
            address: (!address.is_empty()).then(|| address.to_owned()),
            ..Self::default()
        }
    }

    /// What there is without any.
    pub fn implied(line: &Line<'_>) -> Self {
        Self {
            address: Some("localhost".to_owned()),
            is_implied: true,
            ..Self::named(line, "1883")
        }
    }

    /// `bind_address ADDRESS`
    pub fn bind(&mut self, address: &str) {
        self.address = Some(address.to_owned());
        self.is_implied = false;
    }

    fn has_tls(&self) -> bool {
        self.cert.is_some()
    }

    /// Takes an option that is about the listener above it; false: it is about something else.
    pub fn take(&mut self, plan: &mut Plan, line: &Line<'_>, option: &str, value: &str) -> bool {
        let text = || Some(value.to_owned());
        match (option, value) {
            ("protocol", _) => self.websockets = value == "websockets",
            ("socket_domain", "ipv4") => self.family = Some(Family::V4),
            ("socket_domain", "ipv6") => self.family = Some(Family::V6),
            ("certfile", _) => self.cert = text(),
            ("keyfile", _) => self.key = text(),
            ("cafile", _) => self.authorities = text(),
            ("require_certificate", _) => self.require_certificate = value == "true",
            ("use_identity_as_username", _) => self.names_by_certificate = value == "true",
            ("tls_version", "tlsv1.3") => self.newest_only = true,
            ("tls_version", "tlsv1.2") => self.newest_only = false,
            ("tls_version", _) => {
                plan.note(
                    &line.place,
                    format_args!("tls_version {value}: TLS 1.2 and 1.3 are spoken"),
                );
            }
            ("max_connections", _) => match value.parse::<i64>() {
                Ok(number) => self.max_connections = Some(number),
                Err(_) => plan.note(
                    &line.place,
                    format_args!("max_connections: expected a number, got {value:?}"),
                ),
            },
            _ => return false,
        }
        true
    }

    /// Its listen entries.
    fn entries(&self, plan: &mut Plan) -> Vec<String> {
        let word = match (self.websockets, self.has_tls()) {
            (false, false) => "",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let port = &self.port;
        let at = |host: &str| match word {
            "" => format!("{host}:{port}"),
            word => format!("{word}://{host}:{port}"),
        };
        let both = |v4: &str, v6: &str| {
            let families = [(Family::V4, v4), (Family::V6, v6)];
            let wanted = families.into_iter();
            let wanted =
                wanted.filter(|(family, _)| self.family.is_none_or(|only| only == *family));
            wanted.map(|(_, host)| at(host)).collect()
        };
        match self.address.as_deref() {
            None => both("0.0.0.0", "[::]"),
            Some("localhost") => both("127.0.0.1", "[::1]"),
            Some(path) if port == "0" => {
                let plus = if word.is_empty() { "" } else { "+" };
                vec![format!("{word}{plus}unix:{path}")]
            }
            Some(address) => match address.parse() {
                Ok(IpAddr::V4(address)) => vec![at(&address.to_string())],
                Ok(IpAddr::V6(address)) => vec![at(&format!("[{address}]"))],
                Err(_) => {
                    plan.note(
                        &self.place,
                        format_args!("listener: expected an IP address, got the name {address:?}"),
                    );
                    Vec::new()
                }
            },
        }
    }
}

/// The keys `listen` and `tls`, and the limit of connections.
pub fn keys(plan: &mut Plan, listeners: &[Listener]) {
    let mut listen = Array::new();
    if listeners.is_empty() {
        listen.extend(["127.0.0.1:1883", "[::1]:1883"]);
    }
    for listener in listeners {
        let entries = listener.entries(plan);
        let alone = listeners.len() == 1 && entries.len() == 1;
        match listener.max_connections {
            // -1 is no limit there, 0 here.
            Some(number) if number < 1 => plan.limit("max_connections", 0),
            Some(number) if alone => plan.limit("max_connections", number),
            _ => {}
        }
        for entry in entries {
            listen.push(match listener.max_connections {
                Some(number) if number > 0 && !alone => {
                    let mut table = InlineTable::new();
                    table.insert("address", entry.into());
                    table.insert("max_connections", number.into());
                    Value::from(table)
                }
                _ => entry.into(),
            });
        }
    }
    plan.keys.push(("listen", listen.into()));
    tls(plan, listeners);
}

fn tls(plan: &mut Plan, listeners: &[Listener]) {
    for listener in listeners.iter().filter(|listener| !listener.has_tls()) {
        if listener.require_certificate || listener.key.is_some() {
            plan.note(&listener.place, "listener: without certfile it has no TLS");
        }
    }
    let with: Vec<&Listener> = listeners.iter().filter(|one| one.has_tls()).collect();
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for listener in &with {
        let cert = listener.cert.as_deref().unwrap_or_default();
        let pair = (cert, listener.key.as_deref().unwrap_or(cert));
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let Some((cert, key)) = pairs.first() else {
        return;
    };
    let mut table = InlineTable::new();
    table.insert("cert", (*cert).into());
    table.insert("key", (*key).into());
    if pairs.len() > 1 {
        let more = pairs[1..].iter().map(|(cert, key)| {
            let mut pair = InlineTable::new();
            pair.insert("cert", (*cert).into());
            pair.insert("key", (*key).into());
            Value::from(pair)
        });
        table.insert("certificates", more.collect::<Array>().into());
        plan.note(
            &with[1].place,
            "listener: the name that a client asks for chooses among the certificates of all listeners",
        );
    }
    authorities(plan, &with, &mut table);
    if with.iter().all(|listener| listener.newest_only) {
        table.insert("min_version", "1.3".into());
    }
    plan.keys.push(("tls", table.into()));
}

fn authorities(plan: &mut Plan, with: &[&Listener], table: &mut InlineTable) {
    let asking: Vec<&&Listener> = with.iter().filter(|one| one.require_certificate).collect();
    let Some(first) = asking.first() else {
        return;
    };
    let Some(file) = asking.iter().find_map(|one| one.authorities.as_deref()) else {
        plan.note(
            &first.place,
            "require_certificate true: tls.client_cert = \"required\" needs tls.client_ca, the file of the authorities",
        );
        return;
    };
    table.insert("client_ca", file.into());
    let everywhere = asking.len() == with.len();
    let word = if everywhere { "required" } else { "optional" };
    table.insert("client_cert", word.into());
    if !everywhere {
        plan.note(
            &first.place,
            "require_certificate true: one tls is for all listeners of a service, so certificates are optional; a \
             service of its own can require them",
        );
    }
    for other in &asking {
        let differs = other.authorities.as_deref().filter(|other| *other != file);
        if let Some(differs) = differs {
            plan.note(
                &other.place,
                format_args!(
                    "cafile {differs}: one file of authorities is for all listeners of a service"
                ),
            );
        }
    }
}
