//! Everything about a change that can be checked without starting anything.

use std::sync::Arc;

use tracing::warn;

use super::plan::{Now, step};
use super::{Entry, Host, Next, NextService};
use crate::accounts;
use crate::config::{Config, Diagnostic, Diagnostics, Service};
use crate::instance::Instance;
use crate::loader::{Library, Loader, catalog};

/// What a service comes to, as far as can be told without starting it.
pub struct Examined {
    /// Its library; none for a disabled service and for one with an error.
    pub library: Option<Arc<Library>>,
    /// Why its library cannot be used.
    pub error: Option<Diagnostic>,
    /// What its plugin finds wrong with the settings.
    pub problems: Diagnostics,
}

/// Finds and loads a service's library and lets it check the settings.
pub fn examine(loader: &mut Loader, config: &Config, service: &Service) -> Examined {
    let mut examined = Examined {
        library: None,
        error: None,
        problems: Diagnostics::new(),
    };
    if !service.enabled {
        return examined;
    }
    let found = catalog::find(&config.host.plugins, &service.plugin);
    match found.and_then(|path| loader.load(&path)) {
        Ok(library) => {
            for problem in library.configure(&service.settings) {
                let message = format!("expected {}, got {}", problem.expected, problem.got);
                let problem = config.problem(&service.name, &problem.key, &message);
                examined.problems.push(problem);
            }
            examined.library = Some(library);
        }
        Err(error) => {
            let key = format!("services.{}.plugin", service.name);
            examined.error = Some(Diagnostic::error(config.place(&key), key, error));
        }
    }
    examined
}

impl Host {
    /// Finds and loads the libraries, lets plugins check their settings, and gives each service its step.
    ///
    /// # Errors
    /// All problems, a line each.
    pub(super) fn prepare(
        &mut self,
        config: Config,
        accounts: accounts::Parsed,
        forced: &dyn Fn(&str) -> bool,
        boot: bool,
    ) -> Result<Next, String> {
        // One that was there and is gone, a disk perhaps, must not hold up a change of something else.
        let mut problems =
            config.folder_problems(|folder| boot || !self.config.folders.contains(folder));
        if boot {
            for problem in problems.iter() {
                warn!("{problem}");
            }
            problems = Diagnostics::new();
        }
        let mut refused = Vec::new();
        let mut services = Vec::new();
        for service in &config.services {
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service.name);
            let running = entry
                .and_then(|entry| entry.instance.as_ref())
                .map(|instance| instance.library.hash.as_str());
            let shown_changed = |entry: &Entry| {
                let shows = |instance: &Instance| instance.side.shows_folders();
                entry.instance.as_ref().is_some_and(shows)
                    && self.config.folders_of(&entry.service) != config.folders_of(service)
            };
            let now = entry.map(|entry| Now {
                service: &entry.service,
                running,
                folders: shown_changed(entry),
            });
            // One that did not run and was not touched does not hold the others up.
            let blocks =
                !boot && (running.is_some() || entry.is_none_or(|entry| entry.service != *service));
            let Examined {
                library,
                error,
                problems: found,
            } = examine(&mut self.loader, &config, service);
            problems.extend(found);
            if let Some(error) = &error
                && blocks
            {
                refused.push(error.to_string());
            }
            let error = error.map(|error| error.message);
            let hash = library.as_ref().map(|library| library.hash.as_str());
            let step = step(now, service, hash, forced(&service.name));
            services.push(NextService {
                service: service.clone(),
                step,
                library,
                error,
                blocks,
            });
        }
        refused.extend(problems.sorted().iter().map(ToString::to_string));
        if refused.is_empty() {
            Ok(Next {
                config,
                accounts,
                services,
            })
        } else {
            Err(refused.join("\n"))
        }
    }

    /// The services that run now and that the new configuration does not name.
    pub(super) fn removed(&self, next: &Next) -> Vec<String> {
        let named = |name: &str| next.services.iter().any(|next| next.service.name == name);
        self.entries
            .iter()
            .map(|entry| entry.service.name.clone())
            .filter(|name| !named(name))
            .collect()
    }
}
