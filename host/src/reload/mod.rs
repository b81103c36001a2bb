//! From one generation to the next: read all, check all, start what is new beside what is old, and only then
//! commit. Whatever fails before the commit leaves the running instances as they were.

mod change;
pub mod plan;
mod prepare;

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::accounts::{self, Accounts};
use crate::board::Board;
use crate::config::{Config, Diagnostics, Service, Source};
use crate::instance::Instance;
use crate::limits;
use crate::listeners::Listeners;
use crate::loader::interfaces::Watchers;
use crate::loader::{Library, Loader};
use crate::tls::Loaded;
use plan::Step;
pub use prepare::{Examined, examine};

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
    limits: limits::Registry,
    entries: Vec<Entry>,
    ending: JoinSet<()>,
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
}

impl Host {
    /// Reads everything and starts what can be started. A service that cannot is shown as failed; the others
    /// run.
    ///
    /// # Errors
    /// When the configuration or the accounts cannot be used.
    pub async fn boot(source: Source, config: Config, board: Board) -> Result<Self, String> {
        let list = accounts::load(&config.host.accounts).map_err(|error| chain(&error))?;
        let accounts =
            Accounts::start(Arc::clone(&list)).map_err(|error| format!("accounts: {error}"))?;
        let loader = Loader::new(&config.host.state);
        loader.sweep();
        let mut host = Self {
            board,
            source,
            accounts,
            watchers: Arc::default(),
            loader,
            listeners: Listeners::default(),
            limits: limits::Registry::default(),
            entries: Vec::new(),
            ending: JoinSet::new(),
            config,
        };
        let config = host.config.clone();
        let next = host.prepare(config, list, &|_| false, true)?;
        host.change(next, true).await?;
        Ok(host)
    }

    /// Takes over what the files say now. Gives the generation, the same one if nothing changed.
    ///
    /// # Errors
    /// Why nothing was changed, or which certificates were not; it is logged and shown as well.
    pub async fn reload(&mut self, cause: &str) -> Result<u64, String> {
        self.reload_forcing(cause, &|_| false).await
    }

    /// As [`Host::reload`], and starts these services anew even if nothing changed: all of them for `None`.
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
        self.reload_forcing("restart", &|name| {
            service.is_none_or(|service| service == name)
        })
        .await
    }

    async fn reload_forcing(
        &mut self,
        cause: &str,
        forced: &dyn Fn(&str) -> bool,
    ) -> Result<u64, String> {
        let prepared = tokio::task::block_in_place(|| {
            let (config, accounts) = self.read()?;
            self.prepare(config, accounts, forced, false)
        });
        let mut kept = Vec::new();
        let outcome = match prepared {
            Ok(next) => {
                kept.clone_from(&next.kept);
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

    /// The step of each service if the files were loaded now, a line each.
    ///
    /// # Errors
    /// What a reload would be refused for.
    pub fn diff(&mut self) -> Result<Vec<String>, String> {
        let (config, accounts) = self.read()?;
        let next = self.prepare(config, accounts, &|_| false, false)?;
        let mut lines: Vec<String> = next
            .services
            .iter()
            .map(|next| format!("{}: {}", next.service.name, next.step))
            .collect();
        for gone in self.removed(&next) {
            lines.push(format!("{gone}: removed"));
        }
        if self.accounts.differs(&next.accounts) {
            lines.push("accounts: changed".into());
        }
        if self.config.host != next.config.host {
            lines.push("host: changed".into());
        }
        Ok(lines)
    }

    /// The files as they are now.
    fn read(&self) -> Result<(Config, accounts::Parsed), String> {
        let mut config = Config::load(&self.source).map_err(|error| chain(&error))?;
        self.keep_what_needs_a_start(&mut config);
        let accounts = accounts::load(&config.host.accounts).map_err(|error| chain(&error))?;
        self.accounts
            .check_replacement(&accounts)
            .map_err(|error| format!("{}: {error}", config.host.accounts.display()))?;
        Ok((config, accounts))
    }

    /// Folder, socket and user of the process stay what they were; a change of them is told and waits.
    fn keep_what_needs_a_start(&self, next: &mut Config) {
        let (now, next) = (&self.config.host, &mut next.host);
        for (key, changed) in [
            ("state", now.state != next.state),
            ("control", now.control != next.control),
            ("user", now.user != next.user),
        ] {
            if changed {
                warn!("host.{key}: takes effect at the next start of the process");
            }
        }
        next.state.clone_from(&now.state);
        next.control.clone_from(&now.control);
        next.user.clone_from(&now.user);
    }

    /// Drains all instances and waits for them.
    pub async fn shut_down(mut self) {
        let deadline = self.config.host.drain_timeout;
        for entry in self.entries.drain(..) {
            if let Some(instance) = entry.instance {
                self.ending
                    .spawn(instance.end(deadline, "the end of the host"));
            }
        }
        while self.ending.join_next().await.is_some() {}
    }

    /// Tells the instances that accounts may have changed: by a file, or by time.
    pub fn accounts_changed(&self) {
        self.watchers.notify();
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The configuration of the current generation.
    pub fn config(&self) -> &Config {
        &self.config
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
