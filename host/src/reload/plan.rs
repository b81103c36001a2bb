//! What a change means for each service: untouched, live, swap, start, end.

use std::collections::BTreeMap;
use std::fmt;

use polyport_abi::live;
use serde_json::Value;

use crate::config::{Limits, ListenOptions, Service};

/// What happens to one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is not even told.
    Untouched,
    /// The instance that runs takes it over.
    Live(Live),
    /// A new instance takes over the sockets.
    Swap,
    /// It had no instance.
    Start,
    /// It ends, because it was disabled or removed.
    End,
    /// It is disabled and has no instance.
    Rest,
}

/// What a running instance takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Limits, and what its listeners allow: they hold at once.
    pub limits: bool,
    /// Listeners that come and go; the others and their connections stay.
    pub listeners: bool,
    /// The folders that it shows.
    pub folders: bool,
    /// Certificates, keys or rules of TLS: they count from the next handshake on.
    pub tls: bool,
    /// Settings.
    pub settings: bool,
    /// Settings of which the plugin did not declare whether it can: it is asked, and swapped if it cannot.
    pub asked: bool,
}

/// A service that runs or should: what it was configured as, and what it runs, if it runs.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Its configuration.
    pub service: &'a Service,
    /// The hash of the library of its running instance.
    pub running: Option<&'a str>,
    /// The settings that its plugin declared live, if it did.
    pub live: Option<&'a [String]>,
    /// Whether its plugin takes listeners while it runs.
    pub takes_listeners: bool,
    /// Whether its instance shows folders and will have others to show.
    pub folders: bool,
    /// Whether it will have other TLS.
    pub tls: bool,
}

/// The step for one service that the new configuration names. `hash` is that of the library it would run.
pub fn step(now: Option<Now<'_>>, next: &Service, hash: Option<&str>, forced: bool) -> Step {
    let Some((now, running)) = now.and_then(|now| Some((now, now.running?))) else {
        return if next.enabled {
            Step::Start
        } else {
            Step::Rest
        };
    };
    if !next.enabled {
        return Step::End;
    }
    if forced || hash != Some(running) {
        return Step::Swap;
    }
    let settings = settings(now.live, &now.service.settings, &next.settings);
    let (Some(settings), true) = (settings, started_as(now.service) == started_as(next)) else {
        return Step::Swap;
    };
    let listeners = !same_listeners(now.service, next);
    if listeners && !now.takes_listeners {
        return Step::Swap;
    }
    let live = Live {
        limits: limits_differ(now.service, next),
        listeners,
        folders: now.folders,
        tls: now.tls,
        ..settings
    };
    if live == Live::default() {
        Step::Untouched
    } else {
        Step::Live(live)
    }
}

/// What a change of settings comes to; none for a swap.
fn settings(declared: Option<&[String]>, now: &Value, next: &Value) -> Option<Live> {
    let changed = live::changed(now, next);
    let is_live = |declared: &[String]| {
        changed
            .iter()
            .all(|changed| live::is_live(declared, &changed.key))
    };
    declared.is_none_or(is_live).then(|| Live {
        settings: !changed.is_empty(),
        asked: !changed.is_empty() && declared.is_none(),
        ..Live::default()
    })
}

/// A service as an instance is started from it: what the host does for it left out, and what the instance is told
/// while it runs.
fn started_as(service: &Service) -> Service {
    Service {
        listen: Vec::new(),
        limits: Limits::default(),
        require_tls: false,
        folders: None,
        tls: None,
        // Met by what runs.
        sha256: None,
        settings: Value::Null,
        ..service.clone()
    }
}

/// A service's listeners, whatever their order.
fn listeners(service: &Service) -> BTreeMap<(String, &str), &ListenOptions> {
    let entries = service.listen.iter().enumerate();
    entries
        .map(|(index, entry)| ((entry.name(index), entry.scheme.as_str()), &entry.options))
        .collect()
}

/// Whether both have the same listeners.
pub fn same_listeners(now: &Service, next: &Service) -> bool {
    listeners(now).keys().eq(listeners(next).keys())
}

/// Whether the host holds the clients of a service to something else; at a listener of both.
fn limits_differ(now: &Service, next: &Service) -> bool {
    let (before, after) = (listeners(now), listeners(next));
    now.limits != next.limits
        || now.require_tls != next.require_tls
        || before
            .iter()
            .any(|(name, options)| after.get(name).is_some_and(|other| other != options))
}

impl Step {
    /// Whether the instance has to prove itself after it.
    pub fn is_trial(self) -> bool {
        match self {
            Self::Live(live) => live.settings,
            step => step == Self::Swap,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Untouched => "untouched",
            Self::Live(live) => return live.fmt(out),
            Self::Swap => "swap",
            Self::Start => "start",
            Self::End => "end",
            Self::Rest => "disabled",
        })
    }
}

impl fmt::Display for Live {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.limits, "limits"),
            (self.listeners, "listeners"),
            (self.folders, "folders"),
            (self.tls, "tls"),
            (self.settings, "settings"),
        ];
        let parts: Vec<&str> = parts
            .iter()
            .filter_map(|(changed, name)| changed.then_some(*name))
            .collect();
        let or_swap = if self.asked {
            ", or swap if the plugin cannot"
        } else {
            ""
        };
        write!(out, "live{or_swap} ({})", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Listen, Threads};
    use serde_json::json;

    fn service(settings: Value) -> Service {
        Service {
            name: "x".into(),
            plugin: "echo".into(),
            sha256: None,
            enabled: true,
            listen: vec![],
            tls: None,
            require_tls: false,
            threads: Threads::Auto,
            limits: Limits::default(),
            folders: None,
            settings,
        }
    }

    fn now(service: &Service) -> Now<'_> {
        Now {
            service,
            running: Some("h"),
            live: None,
            takes_listeners: false,
            folders: false,
            tls: false,
        }
    }

    #[test]
    fn each_difference_has_its_step() {
        let one = service(json!({"a": 1}));
        let two = service(json!({"a": 2}));
        let moved = Service {
            plugin: "other".into(),
            ..one.clone()
        };
        let limited = |service: &Service| Service {
            limits: Limits::of("max_connections", 5),
            ..service.clone()
        };
        let off = Service {
            enabled: false,
            ..one.clone()
        };
        let folders = Service {
            folders: Some(vec!["a".into()]),
            ..one.clone()
        };
        let idle = Now {
            running: None,
            ..now(&one)
        };
        let told = Now {
            folders: true,
            tls: true,
            ..now(&one)
        };
        let words =
            |now: Option<Now<'_>>, next: &Service| step(now, next, Some("h"), false).to_string();
        for (now, next, expected) in [
            (now(&one), &one, "untouched"),
            (now(&one), &folders, "untouched"),
            (told, &one, "live (folders, tls)"),
            (now(&one), &limited(&one), "live (limits)"),
            (told, &limited(&one), "live (limits, folders, tls)"),
            (
                now(&one),
                &two,
                "live, or swap if the plugin cannot (settings)",
            ),
            (now(&one), &moved, "swap"),
            (idle, &one, "start"),
            (now(&one), &off, "end"),
            (idle, &off, "disabled"),
        ] {
            assert_eq!(words(Some(now), next), expected, "{next:?}");
        }
        assert_eq!(words(None, &one), "start");
        assert_eq!(words(None, &off), "disabled");
        assert_eq!(step(Some(now(&one)), &one, Some("h"), true), Step::Swap);
        assert_eq!(step(Some(now(&one)), &one, Some("i"), false), Step::Swap);
    }

    #[test]
    fn listeners_come_and_go_where_the_plugin_takes_them() {
        let with = |texts: &[&str]| {
            let entry = |text: &&str| Listen::parse(text, Path::new("/")).unwrap();
            Service {
                listen: texts.iter().map(entry).collect(),
                ..service(json!({}))
            }
        };
        let one = with(&["127.0.0.1:1", "unix:/s"]);
        let options = |number| {
            let mut service = with(&["unix:/s", "127.0.0.1:1"]);
            service.listen[0].options.limits = Limits::of("max_connections", number);
            service
        };
        for (next, able, expected) in [
            (with(&["unix:/s", "127.0.0.1:1"]), false, "untouched"),
            (options(5), false, "live (limits)"),
            (with(&["127.0.0.1:1"]), true, "live (listeners)"),
            (with(&["127.0.0.1:1"]), false, "swap"),
            (
                with(&["tls://127.0.0.1:1", "unix:/s"]),
                true,
                "live (listeners)",
            ),
        ] {
            let now = Now {
                takes_listeners: able,
                ..now(&one)
            };
            let step = step(Some(now), &next, Some("h"), false);
            assert_eq!(step.to_string(), expected, "{:?}", next.listen);
        }
    }

    #[test]
    fn what_the_plugin_declared_decides_without_asking() {
        let one = service(json!({"a": 1, "b": {"c": 1, "d": 1}}));
        let live = ["b.c".to_owned(), "e".to_owned()];
        for (settings, expected) in [
            (
                json!({"a": 1, "b": {"c": 2, "d": 1}, "e": 1}),
                "live (settings)",
            ),
            (json!({"a": 1, "b": {"c": 2, "d": 2}}), "swap"),
            (json!({"b": {"c": 1, "d": 1}}), "swap"),
            (json!({"b": {"d": 1, "c": 1}, "a": 1}), "untouched"),
        ] {
            let declared = Now {
                live: Some(&live),
                ..now(&one)
            };
            let step = step(Some(declared), &service(settings), Some("h"), false);
            assert_eq!(step.to_string(), expected);
            assert_eq!(step.is_trial(), expected != "untouched");
        }
    }
}
