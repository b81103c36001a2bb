//! From one generation to the next: read all, check all, start what is new beside what is old, and only then
//! commit. Whatever fails before the commit leaves the running instances as they were.

mod boot;
mod change;
mod commit;
mod diff;
pub mod plan;
mod prepare;
mod probation;
mod record;
mod rollback;
mod succession;
mod undo;
mod upgrade;
mod wanted;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::accounts::{self, Accounts};
use crate::board::Board;
use crate::config::{Config, Diagnostics, HostConfig, KeyChange, Service, Source};
use crate::generations::{Generation, Meta, Store, Texts};
use crate::instance::Instance;
use crate::lasting;
use crate::listeners::Listeners;
use crate::loader::interfaces::Watchers;
use crate::loader::{Library, Loader};
use crate::tls::Loaded;
use crate::upgrade::take::Predecessor;
use crate::watch::Watched;
pub use boot::{Start, last_config};
use commit::take_over_log;
use plan::Step;
pub use prepare::{Examined, examine};
pub use probation::Fallen;
use probation::Trial;
use upgrade::Before;
pub use upgrade::{Origin, Replacement};
pub use wanted::Libraries;
use wanted::{Instead, Wanted};

/// Everything that runs.
pub struct Host {
    /// What is shown of it.
    pub board: Board,
    source: Source,
    config: Config,
    accounts: Arc<Accounts>,
    watchers: Arc<Watchers>,
    loader: Loader,
    listeners: Listeners,
    lasting: lasting::Registry,
    entries: Vec<Entry>,
    ending: JoinSet<()>,
    /// The generations on the disk.
    store: Store,
    /// The one in force; none before the first.
    current: Option<Generation>,
    /// Why it is in force in place of the files, if it is.
    instead: Option<Instead>,
    /// The configuration of the files, if it could be read and is not in force.
    refused: Option<Config>,
    trials: HashMap<String, Trial>,
    fallen: mpsc::UnboundedSender<Fallen>,
    /// The process whose place this one takes, until it serves.
    before: Option<Before>,
    /// That process, as long as it has connections.
    draining: Option<Arc<Predecessor>>,
}

/// A service and its instance, if it runs.
struct Entry {
    service: Service,
    instance: Option<Instance>,
    tls: Option<Arc<Loaded>>,
    error: Option<String>,
}

/// What the new generation will be, checked as far as can be without starting anything.
struct Next {
    config: Config,
    accounts: accounts::Parsed,
    services: Vec<NextService>,
    /// Certificates that cannot be used, in place of which those before are kept.
    kept: Vec<String>,
    texts: Texts,
    cause: String,
    instead: Option<Instead>,
    /// The kept generation that it is.
    resumes: Option<Meta>,
    /// How the files looked when it was read.
    look: Option<String>,
    /// What takes effect at the next start of the process.
    waiting: Vec<KeyChange>,
}

impl Next {
    /// Why services cannot start.
    fn failures(&self) -> Vec<String> {
        let services = self.services.iter();
        services
            .filter_map(|next| {
                let error = next.error.as_ref()?;
                Some(format!("service {}: {error}", next.service.name))
            })
            .collect()
    }
}

struct NextService {
    service: Service,
    step: Step,
    library: Option<Arc<Library>>,
    tls: Option<Arc<Loaded>>,
    warnings: Diagnostics,
    /// Why it cannot start.
    error: Option<String>,
    /// Whether its failure refuses the whole change; not at boot, and not for one that failed before and was
    /// not touched since.
    blocks: bool,
    /// Whether it has to be started anew, whatever that costs its connections.
    forced: bool,
}

impl Host {
    /// Takes over what the files say now; where they do not count, only if they changed since, or when it was `asked`
    /// for. Gives the generation, the same one if nothing changed.
    ///
    /// # Errors
    /// Why nothing was changed, or which certificates were not; it is logged and shown as well.
    pub async fn reload(&mut self, cause: &str, asked: bool) -> Result<u64, String> {
        if !asked && self.files_rest() {
            info!("reload ({cause}): nothing changed");
            take_over_log(&self.config); // its files may have been rotated
            return Ok(self.board.generation());
        }
        let wanted = tokio::task::block_in_place(|| self.files(cause));
        if let Ok(wanted) = &wanted {
            // What it names may have to change before it can be used.
            self.refused = Some(wanted.config.clone());
        }
        let outcome = self.go_over(wanted, cause, &|_| false).await;
        if outcome.is_ok() {
            self.refused = None;
        }
        outcome
    }

    /// Starts this service anew, even if nothing changed: all of them for `None`. Takes over what the files say as
    /// well, if they count.
    ///
    /// # Errors
    /// As [`Host::reload`], or that there is no such service.
    pub async fn restart(&mut self, service: Option<&str>) -> Result<u64, String> {
        if let Some(name) = service
            && !self.entries.iter().any(|entry| entry.service.name == name)
        {
            let known: Vec<&str> = self
                .entries
                .iter()
                .map(|entry| entry.service.name.as_str())
                .collect();
            return Err(format!(
                "service {name:?}: expected one of {}",
                known.join(", ")
            ));
        }
        let cause = match service {
            Some(service) => format!("restart of {service}"),
            None => "restart".to_owned(),
        };
        let wanted = if self.instead.is_some() {
            self.same_again(&cause)
        } else {
            tokio::task::block_in_place(|| self.files(&cause))
        };
        self.go_over(wanted, &cause, &|name| {
            service.is_none_or(|service| service == name)
        })
        .await
    }

    /// Goes over to what is wanted; logs and shows the outcome.
    async fn go_over(
        &mut self,
        wanted: Result<Wanted, String>,
        cause: &str,
        forced: &dyn Fn(&str) -> bool,
    ) -> Result<u64, String> {
        let prepared = wanted
            .and_then(|wanted| tokio::task::block_in_place(|| self.prepare(wanted, forced, false)));
        let mut kept = Vec::new();
        let outcome = match prepared {
            Ok(next) => {
                kept.clone_from(&next.kept);
                for KeyChange { key, .. } in &next.waiting {
                    warn!("{key}: takes effect at the next start of the process");
                }
                self.change(next, false).await
            }
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(changed) if *changed => {
                info!("reload ({cause}): generation {}", self.board.generation())
            }
            Ok(_) => info!("reload ({cause}): nothing changed"),
            Err(reason) => {
                for line in reason.lines() {
                    error!("reload ({cause}) refused: {line}");
                }
                self.board
                    .update(|shown| shown.last_error = Some(reason.clone()));
            }
        }
        match outcome {
            Ok(_) if !kept.is_empty() => Err(kept.join("\n")),
            outcome => outcome.map(|_| self.board.generation()),
        }
    }

    /// Folder, socket and user of the process stay what they were; gives the keys of those that wait for its next
    /// start.
    fn keep_what_needs_a_start(&self, next: &mut Config) -> Vec<KeyChange> {
        let path = |path: &Path| format!("{:?}", path.display().to_string());
        let user = |user: &Option<String>| match user {
            Some(user) => format!("{user:?}"),
            None => "default".to_owned(),
        };
        let spelt = |host: &HostConfig| {
            [
                ("host.state", path(&host.state)),
                ("host.control", path(&host.control)),
                ("host.user", user(&host.user)),
            ]
        };
        let mut waiting = Vec::new();
        for ((key, now), (_, then)) in spelt(&self.config.host).into_iter().zip(spelt(&next.host)) {
            if now != then {
                waiting.push(KeyChange {
                    key: key.to_owned(),
                    place: next.place(key),
                    change: format!("{now} -> {then}"),
                });
            }
        }
        let (now, next) = (&self.config.host, &mut next.host);
        next.state.clone_from(&now.state);
        next.control.clone_from(&now.control);
        next.user.clone_from(&now.user);
        waiting
    }

    /// Drains all instances and waits for them.
    pub async fn shut_down(mut self) {
        let deadline = self.config.host.drain_timeout;
        self.listeners.leave_kept();
        for entry in self.entries.drain(..) {
            self.lasting.service(&entry.service.name).way.lead_to(None);
            if let Some(instance) = entry.instance {
                self.ending
                    .spawn(instance.end(deadline, "the end of the host"));
            }
        }
        while self.ending.join_next().await.is_some() {}
    }

    /// The entry of a service, if there is one.
    fn entry(&self, service: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.service.name == service)
    }

    /// The instance of a service, if it has one.
    fn instance(&self, service: &str) -> Option<&Instance> {
        self.entry(service)?.instance.as_ref()
    }

    /// Tells the instances that accounts may have changed: by a file, or by time.
    pub fn accounts_changed(&self) {
        self.watchers.notify();
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The files to watch: those of the configuration in force and of one that was refused.
    pub fn watched(&self) -> Watched {
        let watched = Watched::new(&self.source.file, &self.config);
        match &self.refused {
            Some(config) => watched.and(config),
            None => watched,
        }
    }
}

/// An error and the chain of its causes, `outer: inner`, on as many lines as they have of their own.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
