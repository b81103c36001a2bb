//! What a change means for each service: untouched, limits, settings, swap, start, end.

use std::fmt;

use crate::config::{Limits, ListenOptions, Service};

/// What happens to one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is not even told.
    Untouched,
    /// Only limits and what its listeners allow changed: that holds at once, for the instance that runs.
    Limits,
    /// Only the folders that it shows changed: it is told.
    Folders,
    /// Only certificates, keys or rules of TLS changed: they count from the next handshake on.
    Tls,
    /// Only settings changed: they are applied in place if the plugin can, else swapped.
    Settings,
    /// A new instance takes over the sockets.
    Swap,
    /// It had no instance.
    Start,
    /// It ends, because it was disabled or removed.
    End,
    /// It is disabled and has no instance.
    Rest,
}

/// A service that runs or should: what it was configured as, and the library it runs, if it runs.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Its configuration.
    pub service: &'a Service,
    /// The hash of the library of its running instance.
    pub running: Option<&'a str>,
    /// Whether its instance shows folders and will have others to show.
    pub folders: bool,
    /// Whether it will have other TLS.
    pub tls: bool,
}

/// The step for one service that the new configuration names. `hash` is that of the library it would run.
pub fn step(now: Option<Now<'_>>, next: &Service, hash: Option<&str>, forced: bool) -> Step {
    let Some((now, running, shown_changed, tls_changed)) =
        now.and_then(|now| Some((now.service, now.running?, now.folders, now.tls)))
    else {
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
    // Of its folders and its TLS it is told without a swap, and the pin is met by what runs.
    let next = &Service {
        folders: now.folders.clone(),
        tls: now.tls.clone(),
        sha256: now.sha256.clone(),
        ..next.clone()
    };
    if now == next {
        return if shown_changed {
            Step::Folders
        } else if tls_changed {
            Step::Tls
        } else {
            Step::Untouched
        };
    }
    let (now, next) = (without_limits(now), without_limits(next));
    if now == next {
        return Step::Limits;
    }
    let only_settings = Service {
        settings: now.settings.clone(),
        ..next
    } == now;
    if only_settings {
        Step::Settings
    } else {
        Step::Swap
    }
}

/// A service as an instance is started from it: what the host does for it left out.
fn without_limits(service: &Service) -> Service {
    let mut service = service.clone();
    service.limits = Limits::default();
    service.require_tls = false;
    for listen in &mut service.listen {
        listen.options = ListenOptions::default();
    }
    service
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Untouched => "untouched",
            Self::Limits => "live (limits)",
            Self::Folders => "live (folders)",
            Self::Tls => "live (tls)",
            Self::Settings => "live (settings)",
            Self::Swap => "swap",
            Self::Start => "start",
            Self::End => "end",
            Self::Rest => "disabled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Threads;
    use serde_json::json;

    fn service(settings: serde_json::Value) -> Service {
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

    #[test]
    fn each_difference_has_its_step() {
        let one = service(json!({"a": 1}));
        let two = service(json!({"a": 2}));
        let moved = Service {
            plugin: "other".into(),
            ..one.clone()
        };
        let limits = Limits::of("max_connections", 5);
        let limited = Service {
            limits: limits.clone(),
            ..one.clone()
        };
        let both = Service {
            limits,
            ..two.clone()
        };
        let off = Service {
            enabled: false,
            ..one.clone()
        };
        let now = Some(Now {
            service: &one,
            running: Some("h"),
            folders: false,
            tls: false,
        });
        let told = Some(Now {
            service: &one,
            running: Some("h"),
            folders: true,
            tls: true,
        });
        let idle = Some(Now {
            service: &one,
            running: None,
            folders: false,
            tls: false,
        });
        let other_folders = Service {
            folders: Some(vec!["a".into()]),
            ..one.clone()
        };
        assert_eq!(step(now, &one, Some("h"), false), Step::Untouched);
        assert_eq!(step(told, &one, Some("h"), false), Step::Folders);
        assert_eq!(step(told, &other_folders, Some("h"), false), Step::Folders);
        assert_eq!(step(now, &other_folders, Some("h"), false), Step::Untouched);
        assert_eq!(step(told, &two, Some("h"), false), Step::Settings);
        assert_eq!(step(now, &one, Some("h"), true), Step::Swap);
        assert_eq!(step(now, &one, Some("other"), false), Step::Swap);
        assert_eq!(step(now, &two, Some("h"), false), Step::Settings);
        assert_eq!(step(now, &limited, Some("h"), false), Step::Limits);
        assert_eq!(step(now, &both, Some("h"), false), Step::Settings);
        assert_eq!(step(now, &moved, Some("h"), false), Step::Swap);
        assert_eq!(step(now, &off, None, false), Step::End);
        assert_eq!(step(None, &one, Some("h"), false), Step::Start);
        assert_eq!(step(idle, &one, Some("h"), false), Step::Start);
        assert_eq!(step(None, &off, None, false), Step::Rest);
    }
}
