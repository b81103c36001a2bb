//! The commit: what was started is what runs from now on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::change::Started;
use super::plan::Step;
use super::record::Draft;
use super::{Entry, Host, Next, NextService};
use crate::board::ShownService;
use crate::config::Config;
use crate::generations::fault;
use crate::handover::Successor;
use crate::instance::Instance;
use crate::{limits, logging, memory};

impl Host {
    /// Makes `next` the current generation; nothing here can fail.
    pub(super) fn commit(
        &mut self,
        next: Next,
        mut started: Started,
        removed: &[String],
        draft: Draft,
    ) {
        let deadline = next.config.host.drain_timeout;
        let mut before: HashMap<String, Entry> = self
            .entries
            .drain(..)
            .map(|entry| (entry.service.name.clone(), entry))
            .collect();
        self.listeners
            .commit(std::mem::take(&mut started.fresh), next.config.host.backlog);
        let accounts = Arc::clone(&next.accounts);
        self.accounts.replace(next.accounts);
        self.accounts.configure_bans(&next.config.host.ban);
        started.activate();
        let services = next.services.iter();
        let known: Vec<&str> = services.map(|next| next.service.name.as_str()).collect();
        for warning in accounts.unknown_services(&known).iter() {
            warn!("{warning}");
        }
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
            let way = self.lasting.service(&service.name).way;
            let is_new = started.instances.contains_key(&service.name);
            let (mut instance, ended) = match (step, started.instances.remove(&service.name)) {
                (_, Some(new)) => (Some(new), old),
                (Step::Untouched | Step::Live(_), None) => (old, None),
                (_, None) => (None, old),
            };
            if is_new || instance.is_none() {
                let reception = instance.as_ref().and_then(|new| new.reception.clone());
                way.lead_to(reception.map(|reception| reception as Arc<dyn Successor>));
            }
            if let Some(ended) = ended {
                self.ending
                    .spawn(retire(ended, instance.as_ref(), deadline));
            }
            if let Some(instance) = &mut instance {
                instance.follow_listeners(&service.listen, deadline);
                instance.side.refresh_log();
                self.lasting
                    .service(&service.name)
                    .entrance
                    .set_require_tls(service.require_tls);
                let known = instance.library.limits();
                connections = connections.saturating_add(limits::connections(&service, known));
                let rules = limits::rules(&service, known, &instance.places);
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
        self.receive_connections();
        // Once all is in force that a session may end by.
        self.watchers.notify();
        for name in removed {
            self.lasting.service(name).way.lead_to(None);
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
        self.listeners.settle();
        limits::descriptors::check(connections);
        self.config = next.config;
        self.instead = next.instead;
        while self.ending.try_join_next().is_some() {}
        let keep = self.config.host.generations;
        let generation = tokio::task::block_in_place(|| self.seal(draft, keep, &mut refusals));
        self.tell_refusals(&refusals);
        self.board
            .update(|shown| shown.generation = generation.meta.number);
        self.current = Some(generation);
        self.tell_accounts();
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
            pause: instance.as_ref().and_then(|instance| instance.pause),
            reception: instance
                .as_ref()
                .and_then(|instance| instance.reception.clone()),
            operator: instance
                .as_ref()
                .and_then(|instance| instance.operator.clone()),
            enabled: service.enabled,
            error: error.clone(),
        }
    }
}

impl Started {
    /// Those that inherited serve from now on.
    fn activate(&mut self) {
        for service in &self.successors {
            if let (Some(new), Some(since)) =
                (self.instances.get_mut(service), self.frozen.remove(service))
            {
                new.activate();
                new.pause = Some(since.elapsed());
            }
        }
        for service in &self.waiting {
            if let Some(new) = self.instances.get(service) {
                new.activate();
            }
        }
        if !self.successors.is_empty() {
            fault::point("activated");
        }
    }
}

/// Ends an instance in whose place there is another, or none; what it can it passes to that one before.
fn retire(
    old: Instance,
    new: Option<&Instance>,
    deadline: Duration,
) -> impl Future<Output = ()> + Send + 'static {
    let passes = new.is_some_and(|new| new.library.takes_from(&old.library));
    let pause = new.and_then(|new| new.pause);
    let side = old.side;
    side.set_passage(passes);
    async move {
        old.end(deadline, "a swap").await;
        memory::freed();
        if passes {
            let pause = pause.map_or_else(String::new, |pause| {
                format!(" after a pause of {:.1} ms", pause.as_secs_f64() * 1000.0)
            });
            info!(
                "service {}: handed over: {} connections passed{pause}",
                side.service(),
                side.passed()
            );
        }
    }
}

/// The log as configured, its files opened anew.
pub(super) fn take_over_log(config: &Config) {
    if let Err(reason) = logging::apply(&config.host.log) {
        warn!("log: stays as it was: {reason}");
    }
}
