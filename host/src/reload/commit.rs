//! The commit: what was started is what runs from now on.

use std::collections::HashMap;

use tracing::warn;

use super::change::Started;
use super::plan::Step;
use super::{Entry, Host, Next, NextService};
use crate::board::ShownService;
use crate::config::Config;
use crate::generations::Generation;
use crate::{limits, logging};

impl Host {
    /// Makes `next` the current generation; nothing here can fail.
    pub(super) fn commit(
        &mut self,
        next: Next,
        mut started: Started,
        removed: &[String],
        generation: Generation,
    ) {
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
        self.instead = next.instead;
        while self.ending.try_join_next().is_some() {}
        self.tell_refusals(&refusals);
        self.board
            .update(|shown| shown.generation = generation.meta.number);
        self.current = Some(generation);
        self.show();
    }

    /// Writes the services to the board.
    pub(super) fn show(&self) {
        let services = self.entries.iter().map(|entry| self.shown(entry)).collect();
        let current = self.current.as_ref().map(|current| current.meta.clone());
        let overridden = self.overridden();
        self.board.update(|shown| {
            shown.services = services;
            shown.current = current;
            shown.overridden = overridden;
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
pub(super) fn take_over_log(config: &Config) {
    if let Err(reason) = logging::apply(&config.host.log) {
        warn!("log: stays as it was: {reason}");
    }
}
