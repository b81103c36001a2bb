//! What holds at each listener of an instance: the plugin's defaults, the service's limits over them, the entry's own
//! over those.

use std::sync::Arc;

use polyport_abi::limits::{KnownLimits, LimitValues};

use crate::accounts::Network;
use crate::config::{Config, Diagnostic, Diagnostics, Limits, Listen, Service, out_of_bounds};
use crate::listeners::Places;

/// What one listener is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What tells the listener from the service's others, over swaps.
    pub listener: Arc<str>,
    /// The numbers that hold for it.
    pub values: LimitValues,
    /// `max_connections` of the whole service.
    pub service_connections: u64,
    /// Whose count `max_connections`, `max_connections_per_address` and `connection_rate` look at.
    pub own: Own,
    /// The networks whose PROXY header is believed.
    pub proxies: Vec<Network>,
}

/// Which limits the listener has of its own, counted for it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// `max_connections`, beside that of the service.
    pub connections: bool,
    /// `max_connections_per_address`, in place of that of the service.
    pub address: bool,
    /// `connection_rate`, in place of that of the service.
    pub rate: bool,
}

/// The rules of an instance's listeners, by place.
pub fn rules(service: &Service, known: Option<&KnownLimits>, places: &Places) -> Vec<Rules> {
    let of_service = service.limits.over(defaults(known));
    let listeners = places.iter().map(|place| {
        let own = &place.listen.options.limits;
        Rules {
            listener: place.name.as_str().into(),
            values: own.over(of_service),
            service_connections: of_service.max_connections,
            own: Own {
                connections: own.has("max_connections"),
                address: own.has("max_connections_per_address"),
                rate: own.has("connection_rate"),
            },
            proxies: place.listen.options.proxies.clone(),
        }
    });
    listeners.collect()
}

/// Connections that a service takes at once; 0 is any number.
pub fn connections(service: &Service, known: Option<&KnownLimits>) -> u64 {
    service.limits.over(defaults(known)).max_connections
}

fn defaults(known: Option<&KnownLimits>) -> LimitValues {
    let mut values = LimitValues::default();
    for (key, limit) in known.into_iter().flatten() {
        if let Some(value) = values.get_mut(key) {
            *value = limit.default;
        }
    }
    values
}

/// What the operator wrote that this plugin does not know, or out of its bounds. `known` is missing for a plugin of an
/// SDK that had no limits.
pub fn problems(config: &Config, service: &Service, known: Option<&KnownLimits>) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let mut problem = |key: String, message: String| {
        problems.push(Diagnostic::error(config.place(&key), key, message));
    };
    let name = format!("services.{}", service.name);
    let of_entry = |(index, listen): (usize, &'_ Listen)| {
        (
            format!("{name}.listen[{index}]"),
            listen.options.limits.clone(),
        )
    };
    let listeners = service.listen.iter().enumerate().map(of_entry);
    let all: Vec<(String, Limits)> =
        std::iter::once((format!("{name}.limits"), service.limits.clone()))
            .chain(listeners)
            .collect();
    for (path, limits) in all {
        for (key, number) in limits.iter() {
            let full = format!("{path}.{key}");
            let Some(known) = known else {
                let message = "plugin was built with an SDK that has no limits";
                problem(full, message.into());
                continue;
            };
            match known.get(key) {
                Some(limit) => {
                    if let Some(message) = out_of_bounds(key, number, *limit) {
                        problem(full, message);
                    }
                }
                None => {
                    let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                    let message = format!(
                        "plugin {:?} has no such limit: expected one of {}",
                        service.plugin,
                        keys.join(", ")
                    );
                    problem(full, message);
                }
            }
        }
    }
    for (index, listen) in service.listen.iter().enumerate() {
        if known.is_none() && !listen.options.proxies.is_empty() {
            let key = format!("{name}.listen[{index}].proxy_protocol");
            problem(
                key,
                "plugin was built with an SDK that has no PROXY protocol".into(),
            );
        }
    }
    problems
}
