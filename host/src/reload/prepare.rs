//! Everything about a change that can be checked without starting anything.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use tracing::warn;

use super::plan::{Now, step};
use super::{Entry, Host, Libraries, Next, NextService, Wanted};
use crate::accounts::AccountList;
use crate::config::{Config, Diagnostic, Diagnostics, Service};
use crate::instance::Instance;
use crate::limits;
use crate::loader::{Library, Loader, Terms, catalog};
use crate::tls::{self, Loaded};

/// What a service comes to, as far as can be told without starting it.
pub struct Examined {
    /// Its library; none for a disabled service and for one with an error.
    pub library: Option<Arc<Library>>,
    /// Why its library cannot be used.
    pub error: Option<Diagnostic>,
    /// What its plugin finds wrong with the settings, and what does not fit TLS.
    pub problems: Diagnostics,
    /// Its TLS, or what is wrong with the files of it.
    pub tls: Result<Option<Loaded>, Diagnostics>,
    /// What is good enough to start with and should still be looked at.
    pub warnings: Diagnostics,
}

/// Examines all services of `config`, as many at once as there are cores: reading, hashing and probing libraries is
/// most of the time that a swap of them takes. `accounts` are those that would be in force, if they could be read.
pub fn examine(
    loader: &Loader,
    config: &Config,
    accounts: Option<&AccountList>,
    libraries: &Libraries,
) -> Vec<Examined> {
    let services = &config.services;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(service) = services.get(index) else {
                return done;
            };
            let examined = examine_one(loader, config, service, accounts, libraries);
            done.push((index, examined));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(services.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut all = work();
        for other in others {
            all.extend(
                other
                    .join()
                    .unwrap_or_else(|cause| panic::resume_unwind(cause)),
            );
        }
        all
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, examined)| examined).collect()
}

/// Finds and loads a service's library, lets it check the settings, and reads its certificates.
fn examine_one(
    loader: &Loader,
    config: &Config,
    service: &Service,
    accounts: Option<&AccountList>,
    libraries: &Libraries,
) -> Examined {
    let mut examined = Examined {
        library: None,
        error: None,
        problems: Diagnostics::new(),
        tls: Ok(None),
        warnings: Diagnostics::new(),
    };
    if !service.enabled {
        return examined;
    }
    examined.tls = tls::load(config, service, SystemTime::now());
    if let Ok(Some(loaded)) = &examined.tls {
        examined.warnings.extend(loaded.warnings.clone());
    }
    let pin = service.sha256.as_deref();
    let intake = &config.host.intake;
    let loaded = match libraries {
        Libraries::Folder => catalog::find(&config.host.plugins, &service.plugin, pin)
            .and_then(|path| loader.load(&path, Terms { intake, pin })),
        Libraries::Copies(hashes) => match hashes.get(&service.name) {
            Some(hash) => loader.load_copy(hash),
            None => Err(format!(
                "plugin {:?}: expected a library that the generation ran, got none",
                service.plugin
            )),
        },
    };
    match loaded {
        Ok(library) => {
            for problem in library.configure(&service.settings) {
                let message = format!("expected {}, got {}", problem.expected, problem.got);
                let problem = config.problem(&service.name, &problem.key, &message);
                examined.problems.push(problem);
            }
            let limits = limits::problems(config, service, library.limits());
            examined.problems.extend(limits);
            let schemes = library.tls_schemes();
            let mismatches = tls::mismatches(config, service, schemes.as_deref());
            examined.problems.extend(mismatches);
            if let Some(accounts) = accounts {
                let schemes = schemes.as_deref().unwrap_or_default();
                let exposed = tls::exposure::plain_passwords(config, service, schemes, accounts);
                examined.warnings.extend(exposed);
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
        wanted: Wanted,
        forced: &dyn Fn(&str) -> bool,
        boot: bool,
    ) -> Result<Next, String> {
        let Wanted {
            texts,
            config,
            accounts,
            libraries,
            cause,
            instead,
            resumes,
            look,
            waiting,
        } = wanted;
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
        let mut kept = Vec::new();
        let mut services = Vec::new();
        let examined = examine(&self.loader, &config, Some(&accounts), &libraries);
        for (service, examined) in config.services.iter().zip(examined) {
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
                live: entry
                    .instance
                    .as_ref()
                    .and_then(|instance| instance.library.live()),
                takes_listeners: entry
                    .instance
                    .as_ref()
                    .is_some_and(|instance| instance.library.listeners().is_some()),
                folders: shown_changed(entry),
                tls: false,
            });
            // One that did not run and was not touched does not hold the others up.
            let blocks = self.running_before(&service.name).is_some()
                || !boot
                    && (running.is_some() || entry.is_none_or(|entry| entry.service != *service));
            let Examined {
                library,
                error,
                problems: found,
                tls,
                warnings,
            } = examined;
            problems.extend(found);
            if let Some(error) = &error
                && blocks
            {
                refused.push(error.to_string());
            }
            let mut error = error.map(|error| error.message);
            let before = entry.filter(|entry| {
                entry.instance.is_some() && entry.service.tls == service.tls && entry.tls.is_some()
            });
            let tls = match (tls, before) {
                (Ok(tls), _) => tls.map(Arc::new),
                // Files that cannot be used change nothing, and must not hold up a change of something else.
                (Err(problems), Some(before)) => {
                    let told = |problem: &Diagnostic| format!("{problem}; the one before is kept");
                    kept.extend(problems.iter().map(told));
                    before.tls.clone()
                }
                (Err(problems), None) => {
                    if blocks {
                        refused.extend(problems.iter().map(ToString::to_string));
                    }
                    error = error.or_else(|| Some(problems.to_string()));
                    None
                }
            };
            let now = now.map(|now| Now {
                tls: entry.is_some_and(|entry| entry.tls != tls),
                ..now
            });
            let hash = library.as_ref().map(|library| library.hash.as_str());
            let forced = forced(&service.name);
            let step = step(now, service, hash, forced);
            services.push(NextService {
                service: service.clone(),
                step,
                library,
                tls,
                warnings,
                error,
                blocks,
                forced,
            });
        }
        refused.extend(problems.sorted().iter().map(ToString::to_string));
        if refused.is_empty() {
            Ok(Next {
                config,
                accounts,
                services,
                kept,
                texts,
                cause,
                instead,
                resumes,
                look,
                waiting,
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
