//! The change itself: start beside, or instead; then commit, or undo.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::plan::Step;
use super::{Entry, Host, Next, NextService};
use crate::board::ShownService;
use crate::config::{AccessLog, Config, Service};
use crate::instance::Instance;
use crate::listeners::Fresh;
use crate::loader::Library;
use crate::loader::interfaces::HostSide;
use crate::tls::Loaded;
use crate::{limits, logging, privileges};

/// How long an exclusive instance may take to let go of its store before the next one starts.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What was done for a change that is not committed yet.
#[derive(Default)]
struct Started {
    instances: HashMap<String, Instance>,
    fresh: Fresh,
    /// Exclusive instances that ended to make room: they are started again if the change fails.
    displaced: Vec<(Service, Arc<Library>)>,
    /// Services whose settings were applied in place.
    live: Vec<String>,
}

impl Host {
    /// Goes over to `next`. True when there is a new generation, false when there was nothing to do.
    ///
    /// # Errors
    /// Why not; then everything is as it was.
    pub(super) async fn change(&mut self, mut next: Next, boot: bool) -> Result<bool, String> {
        let removed = self.removed(&next);
        let quiet = next
            .services
            .iter()
            .all(|next| matches!(next.step, Step::Untouched | Step::Rest));
        let same = self.config == next.config && !self.accounts.differs(&next.accounts);
        if !boot && quiet && same && removed.is_empty() {
            self.tell_refusals(&next.kept);
            take_over_log(&next.config); // its files may have been rotated
            return Ok(false);
        }
        let mut started = Started::default();
        if let Err(reason) = self.start_all(&mut next, &mut started).await {
            self.undo(started).await;
            return Err(reason);
        }
        self.commit(next, started, &removed);
        Ok(true)
    }

    /// Logs and shows what could not be had.
    fn tell_refusals(&self, refusals: &[String]) {
        for refusal in refusals {
            error!("{refusal}");
        }
        self.board.update(|shown| {
            shown.last_error = (!refusals.is_empty()).then(|| refusals.join("\n"));
        });
    }

    async fn start_all(&mut self, next: &mut Next, started: &mut Started) -> Result<(), String> {
        let Next {
            config, services, ..
        } = next;
        let limit = config.host.ready_timeout;
        let (mut beside, mut instead) = (Vec::new(), Vec::new());
        for (index, service) in services.iter_mut().enumerate() {
            if service.step == Step::Settings {
                if self.reload_in_place(&service.service) {
                    started.live.push(service.service.name.clone());
                    continue;
                }
                service.step = Step::Swap;
            }
            let exclusive = service
                .library
                .as_ref()
                .is_some_and(|library| library.manifest.exclusive);
            match service.step {
                Step::Start | Step::Swap if service.error.is_some() => {}
                Step::Swap if exclusive => instead.push(index),
                Step::Start | Step::Swap => beside.push(index),
                Step::Untouched
                | Step::Limits
                | Step::Folders
                | Step::Tls
                | Step::Settings
                | Step::End
                | Step::Rest => {}
            }
        }
        if self.board.generation() == 0 {
            self.bind_and_drop_rights(config, services, started)?;
        }
        for &index in &beside {
            let outcome = self.start(config, &services[index], started);
            note(&mut services[index], config, outcome)?;
        }
        for &index in &beside {
            let outcome = settle(&services[index], started, limit).await;
            note(&mut services[index], config, outcome)?;
        }
        for &index in &instead {
            // An address that cannot be had must not cost the old instance its life.
            let service = &services[index].service;
            let bound = self
                .listeners
                .bind(&service.name, &service.listen, &mut started.fresh);
            if bound.is_ok() {
                self.displace(&service.name, started).await;
            }
            let mut outcome = bound.and_then(|()| self.start(config, &services[index], started));
            if outcome.is_ok() {
                outcome = settle(&services[index], started, limit).await;
            }
            note(&mut services[index], config, outcome)?;
        }
        Ok(())
    }

    /// At the start of the process: binds every socket, then becomes the configured user.
    fn bind_and_drop_rights(
        &self,
        config: &Config,
        services: &mut [NextService],
        started: &mut Started,
    ) -> Result<(), String> {
        for next in services.iter_mut().filter(|next| next.library.is_some()) {
            let Service { name, listen, .. } = &next.service;
            if let Err(reason) = self.listeners.bind(name, listen, &mut started.fresh) {
                next.error = Some(reason);
            }
        }
        let host = &config.host;
        let Some(user) = &host.user else {
            return Ok(());
        };
        let mut owned = vec![host.state.as_path(), host.control.as_path()];
        owned.extend(host.log.file.as_deref());
        if let AccessLog::File(file) = &host.log.access {
            owned.push(file);
        }
        privileges::become_user(user, &owned)
    }

    /// Starts an instance on its sockets; the outcome shows in [`settle`].
    fn start(
        &self,
        config: &Config,
        next: &NextService,
        started: &mut Started,
    ) -> Result<(), String> {
        let NextService {
            service,
            library: Some(library),
            tls,
            error: None,
            ..
        } = next
        else {
            return Ok(());
        };
        self.listeners
            .bind(&service.name, &service.listen, &mut started.fresh)?;
        let instance = self.launch(config, service, library, tls.as_deref(), &started.fresh)?;
        started.instances.insert(service.name.clone(), instance);
        Ok(())
    }

    fn launch(
        &self,
        config: &Config,
        service: &Service,
        library: &Arc<Library>,
        tls: Option<&Loaded>,
        fresh: &Fresh,
    ) -> Result<Instance, String> {
        let lent = self.listeners.lend(&service.name, &service.listen, fresh)?;
        let side = HostSide::new(
            &service.name,
            self.accounts.clone(),
            Arc::clone(&self.watchers),
        );
        side.set_folders(config.folders_of(service));
        side.set_tls(tls);
        side.set_require_tls(service.require_tls);
        side.count_in(self.limits.service(&service.name));
        side.set_limits(limits::rules(service, library.limits(), &lent.entries));
        Instance::start(
            Arc::clone(library),
            side,
            service,
            lent,
            &config.host.state,
            &config.folder,
        )
    }

    fn reload_in_place(&self, service: &Service) -> bool {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.service.name == service.name);
        entry
            .and_then(|entry| entry.instance.as_ref())
            .is_some_and(|instance| instance.reload(&service.settings))
    }

    /// Ends a service's exclusive instance, so that its successor can have the store.
    async fn displace(&mut self, name: &str, started: &mut Started) {
        let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.service.name == name)
        else {
            return;
        };
        if let Some(instance) = entry.instance.take() {
            started
                .displaced
                .push((entry.service.clone(), Arc::clone(&instance.library)));
            instance
                .end(HAND_OVER.min(self.config.host.drain_timeout), "a swap")
                .await;
        }
    }

    /// Takes back what was done for a change that failed.
    async fn undo(&mut self, started: Started) {
        for (_, instance) in started.instances {
            instance.end(Duration::ZERO, "a change that failed").await;
        }
        for name in &started.live {
            if let Some(entry) = self
                .entries
                .iter()
                .find(|entry| entry.service.name == *name)
            {
                self.reload_in_place(&entry.service);
            }
        }
        for (service, library) in started.displaced {
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service.name);
            let tls = entry.and_then(|entry| entry.tls.as_deref());
            let fresh = Fresh::default();
            let restarted = match self.launch(&self.config, &service, &library, tls, &fresh) {
                Ok(instance) => instance
                    .ready(self.config.host.ready_timeout)
                    .await
                    .map(|()| instance),
                Err(error) => Err(error),
            };
            let Some(entry) = self
                .entries
                .iter_mut()
                .find(|entry| entry.service.name == service.name)
            else {
                continue;
            };
            match restarted {
                Ok(instance) => {
                    info!("service {}: runs again as it was before", service.name);
                    entry.instance = Some(instance);
                }
                Err(reason) => {
                    error!(
                        "service {}: could not be started again: {reason}",
                        service.name
                    );
                    entry.error = Some(reason);
                }
            }
        }
        self.show();
    }

    /// Makes `next` the current generation; nothing here can fail.
    fn commit(&mut self, next: Next, mut started: Started, removed: &[String]) {
        let deadline = next.config.host.drain_timeout;
        let mut before: HashMap<String, Entry> = self
            .entries
            .drain(..)
            .map(|entry| (entry.service.name.clone(), entry))
            .collect();
        self.listeners
            .commit(started.fresh, next.config.host.backlog);
        let services = next.services.iter();
        let known: Vec<&str> = services.map(|next| next.service.name.as_str()).collect();
        for warning in next.accounts.unknown_services(&known).iter() {
            warn!("{warning}");
        }
        self.accounts.replace(next.accounts);
        self.accounts.configure_bans(&next.config.host.ban);
        take_over_log(&next.config);
        let mut refusals = next.kept;
        let mut connections = 0_u64;
        for NextService {
            service,
            step,
            tls,
            warnings,
            error,
            ..
        } in next.services
        {
            for warning in warnings.iter() {
                warn!("{warning}");
            }
            let old = before
                .remove(&service.name)
                .and_then(|entry| entry.instance);
            let (instance, ended) = match (step, started.instances.remove(&service.name)) {
                (_, Some(new)) => (Some(new), old),
                (
                    Step::Untouched | Step::Limits | Step::Folders | Step::Tls | Step::Settings,
                    None,
                ) => (old, None),
                (_, None) => (None, old),
            };
            if let Some(ended) = ended {
                self.ending.spawn(ended.end(deadline, "a swap"));
            }
            if let Some(instance) = &instance {
                instance.side.refresh_log();
                instance.side.set_require_tls(service.require_tls);
                let known = instance.library.limits();
                connections = connections.saturating_add(limits::connections(&service, known));
                let rules = limits::rules(&service, known, &instance.entries);
                instance.side.set_limits(rules);
                self.listeners.set_access(&service.name, &service.listen);
                instance.side.set_tls(tls.as_deref());
                instance.side.set_folders(next.config.folders_of(&service));
                if service.folders.is_some() && !instance.side.shows_folders() {
                    warn!(
                        "service {}: folders: plugin {} shows no files",
                        service.name, service.plugin
                    );
                }
            }
            refusals.extend(
                error
                    .iter()
                    .map(|error| format!("service {}: {error}", service.name)),
            );
            self.entries.push(Entry {
                service,
                instance,
                tls,
                error,
            });
        }
        // Once all is in force that a session may end by.
        self.watchers.notify();
        for name in removed {
            if let Some(instance) = before.remove(name).and_then(|entry| entry.instance) {
                self.ending
                    .spawn(instance.end(deadline, "its removal from the configuration"));
            }
        }
        self.listeners.keep_only(
            self.entries
                .iter()
                .filter(|entry| entry.instance.is_some())
                .map(|entry| (entry.service.name.as_str(), entry.service.listen.as_slice())),
        );
        limits::descriptors::check(connections);
        self.config = next.config;
        while self.ending.try_join_next().is_some() {}
        self.tell_refusals(&refusals);
        self.board.update(|shown| shown.generation += 1);
        self.show();
    }

    /// Writes the services to the board.
    fn show(&self) {
        let services = self.entries.iter().map(|entry| self.shown(entry)).collect();
        self.board.update(|shown| {
            shown.services = services;
            shown.libraries = self.loader.mapped();
        });
    }

    fn shown(&self, entry: &Entry) -> ShownService {
        let Entry {
            service,
            instance,
            error,
            ..
        } = entry;
        ShownService {
            name: service.name.clone(),
            plugin: service.plugin.clone(),
            version: instance
                .as_ref()
                .map(|instance| instance.library.manifest.version.clone()),
            hash: instance
                .as_ref()
                .map(|instance| instance.library.hash.clone()),
            listen: if instance.is_some() {
                self.listeners.addresses(&service.name, &service.listen)
            } else {
                Vec::new()
            },
            started: instance.as_ref().map(|instance| instance.started),
            side: instance.as_ref().map(|instance| instance.side),
            enabled: service.enabled,
            error: error.clone(),
        }
    }
}

/// The log as configured, its files opened anew.
fn take_over_log(config: &Config) {
    if let Err(reason) = logging::apply(&config.host.log) {
        warn!("log: stays as it was: {reason}");
    }
}

/// Waits until a started instance serves; one that does not is ended.
async fn settle(next: &NextService, started: &mut Started, limit: Duration) -> Result<(), String> {
    let Some(instance) = started.instances.get(&next.service.name) else {
        return Ok(());
    };
    let outcome = instance.ready(limit).await;
    if outcome.is_err()
        && let Some(instance) = started.instances.remove(&next.service.name)
    {
        instance.end(Duration::ZERO, "a start that failed").await;
    }
    outcome
}

/// A failure ends the change, or is noted where it must not hold the other services up.
fn note(
    next: &mut NextService,
    config: &Config,
    outcome: Result<(), String>,
) -> Result<(), String> {
    let Err(reason) = outcome else { return Ok(()) };
    if next.blocks {
        let key = format!("services.{}", next.service.name);
        return Err(format!("{}: {key}: {reason}", config.place(&key)));
    }
    next.error = Some(reason);
    Ok(())
}
