//! Everything about a change that can be checked without starting anything.

use super::plan::{Now, step};
use super::{Host, Next, NextService};
use crate::accounts;
use crate::config::{Config, Diagnostics};
use crate::loader::catalog;

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
        let mut problems = Diagnostics::new();
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
            let now = entry.map(|entry| Now {
                service: &entry.service,
                running,
            });
            // One that did not run and was not touched does not hold the others up.
            let blocks =
                !boot && (running.is_some() || entry.is_none_or(|entry| entry.service != *service));
            let library = if service.enabled {
                catalog::find(&config.host.plugins, &service.plugin)
                    .and_then(|path| self.loader.load(&path))
                    .map(Some)
            } else {
                Ok(None)
            };
            let (library, error) = match library {
                Ok(library) => (library, None),
                Err(error) => (None, Some(error)),
            };
            if let Some(error) = &error
                && blocks
            {
                let key = format!("services.{}.plugin", service.name);
                refused.push(format!("{}: {key}: {error}", config.place(&key)));
            }
            if let Some(library) = &library {
                for problem in library.configure(&service.settings) {
                    let message = format!("expected {}, got {}", problem.expected, problem.got);
                    problems.push(config.problem(&service.name, &problem.key, &message));
                }
            }
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
