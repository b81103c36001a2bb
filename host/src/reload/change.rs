//! The change itself: start beside, or instead; then commit, or take it back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_abi::listeners::Change;
use tracing::error;

use super::commit::take_over_log;
use super::plan::{Live, Step};
use super::succession::Swap;
use super::{Host, Next, NextService};
use crate::config::{AccessLog, Config, Service};
use crate::instance::{Beginning, Instance};
use crate::listeners::Fresh;
use crate::loader::Library;
use crate::loader::interfaces::HostSide;
use crate::tls::Loaded;
use crate::{limits, privileges};

/// How long an exclusive instance may take to let go of its store before the next one starts.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What was done for a change that is not committed yet.
#[derive(Default)]
pub(super) struct Started {
    pub(super) instances: HashMap<String, Instance>,
    pub(super) fresh: Fresh,
    /// Exclusive instances that ended to make room: they are started again if the change fails.
    pub(super) displaced: Vec<(Service, Arc<Library>)>,
    /// Exclusive services whose new instances wait for what the old ones leave.
    pub(super) successors: Vec<String>,
    /// Services whose new instances wait for the word of another process, and inherit nothing.
    pub(super) waiting: Vec<String>,
    /// Instances that are frozen, and since when: they go on if the change fails.
    pub(super) frozen: HashMap<String, Instant>,
    /// Services whose instances have listeners more.
    pub(super) listeners: Vec<String>,
    /// Services whose settings were applied in place.
    pub(super) live: Vec<String>,
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
        let stands_in = next.instead.is_some() && next.instead != self.instead;
        if !boot && quiet && same && removed.is_empty() && !stands_in {
            self.tell_refusals(&next.kept);
            take_over_log(&next.config); // its files may have been rotated
            self.instead = next.instead;
            self.show();
            return Ok(false);
        }
        let mut started = Started::default();
        if let Err(reason) = self.start_all(&mut next, &mut started).await {
            self.undo(started).await;
            return Err(reason);
        }
        let trials = self.trials_of(&next);
        // Before anything pauses: the disk takes its time.
        let draft = tokio::task::block_in_place(|| self.draft(&mut next, boot));
        let mut handed = self.hand_over(&mut next, &mut started).await;
        if handed.is_ok() {
            handed = self.await_the_word(&next);
        }
        if let Err(reason) = handed {
            self.discard(&draft);
            self.undo(started).await;
            return Err(reason);
        }
        self.commit(next, started, &removed, draft);
        self.put_on_trial(trials);
        Ok(true)
    }

    /// Logs and shows what could not be had.
    pub(super) fn tell_refusals(&self, refusals: &[String]) {
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
            if let Step::Live(live) = service.step
                && live.listeners
            {
                let added = self.add_listeners(&service.service, started);
                if !*added.as_ref().unwrap_or(&true) {
                    service.step = Step::Swap;
                }
                note(service, config, added.map(drop))?;
            }
            if let Step::Live(live) = service.step
                && live.settings
            {
                if self.reload_in_place(&service.service) {
                    started.live.push(service.service.name.clone());
                    service.step = Step::Live(Live {
                        asked: false,
                        ..live
                    });
                    continue;
                }
                service.step = Step::Swap;
            }
            match (service.step, self.swap_of(service, config)) {
                (Step::Start | Step::Swap, _) if service.error.is_some() => {}
                (Step::Start | Step::Swap, Swap::Succeed) => {
                    started.successors.push(service.service.name.clone());
                }
                (Step::Start | Step::Swap, Swap::Displace) => instead.push(index),
                (Step::Start | Step::Swap, Swap::Beside) => beside.push(index),
                (Step::Untouched | Step::Live(_) | Step::End | Step::Rest, _) => {}
            }
        }
        if self.board.generation() == 0 {
            self.bind_and_drop_rights(config, services, started)?;
        }
        for &index in &beside {
            let beginning = self.beginning_of(&services[index]);
            let outcome = self.start(config, &services[index], started, beginning);
            note(&mut services[index], config, outcome)?;
        }
        for &index in &beside {
            let outcome = settle(&services[index], started, limit).await;
            note(&mut services[index], config, outcome)?;
            self.tell_started(&services[index].service.name)?;
        }
        for &index in &instead {
            let outcome = self.replace(config, &services[index], started).await;
            note(&mut services[index], config, outcome)?;
            self.tell_started(&services[index].service.name)?;
        }
        self.begin_successors(config, services, started)
    }

    /// Ends an exclusive instance and starts the next one then.
    pub(super) async fn replace(
        &mut self,
        config: &Config,
        next: &NextService,
        started: &mut Started,
    ) -> Result<(), String> {
        let Service { name, listen, .. } = &next.service;
        // An address that cannot be had must not cost the old instance its life.
        self.listeners.bind(name, listen, &mut started.fresh)?;
        self.displace_before(name)?;
        self.displace(name, started).await;
        self.start(config, next, started, self.beginning_of(next))?;
        settle(next, started, config.host.ready_timeout).await
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
            let bound = self.listeners.bind(name, listen, &mut started.fresh);
            note(next, config, bound)?;
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
    pub(super) fn start(
        &self,
        config: &Config,
        next: &NextService,
        started: &mut Started,
        beginning: Beginning,
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
        let tls = tls.as_deref();
        let instance = self.launch(config, service, library, tls, &started.fresh, beginning)?;
        if beginning == Beginning::Successor && !started.successors.contains(&service.name) {
            started.waiting.push(service.name.clone());
        }
        started.instances.insert(service.name.clone(), instance);
        Ok(())
    }

    pub(super) fn launch(
        &self,
        config: &Config,
        service: &Service,
        library: &Arc<Library>,
        tls: Option<&Loaded>,
        fresh: &Fresh,
        beginning: Beginning,
    ) -> Result<Instance, String> {
        let lent = self.listeners.lend(&service.name, &service.listen, fresh)?;
        let lasting = self.lasting.service(&service.name);
        if self.instance(&service.name).is_none() {
            // It holds for all instances of the service, so others come to it at the commit.
            lasting.entrance.set_require_tls(service.require_tls);
        }
        let side = HostSide::new(
            &service.name,
            self.accounts.clone(),
            Arc::clone(&self.watchers),
            lasting,
        );
        side.set_folders(config.folders_of(service));
        side.set_tls(tls);
        side.set_limits(limits::rules(service, library.limits(), &lent.places));
        Instance::start(
            Arc::clone(library),
            side,
            service,
            lent,
            (&config.host.state, &config.folder),
            beginning,
        )
    }

    pub(super) fn reload_in_place(&self, service: &Service) -> bool {
        self.instance(&service.name)
            .is_some_and(|instance| instance.reload(&service.settings))
    }

    /// Gives a running instance the listeners that it does not have yet; false if it cannot take them.
    fn add_listeners(&mut self, service: &Service, started: &mut Started) -> Result<bool, String> {
        let Service { name, listen, .. } = service;
        self.listeners.bind(name, listen, &mut started.fresh)?;
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.service.name == *name);
        let Some((now, instance)) =
            entry.and_then(|entry| Some((&entry.service, entry.instance.as_mut()?)))
        else {
            return Ok(false);
        };
        let mut places = instance.places.clone();
        let fresh = &started.fresh;
        let add = self.listeners.lend_more(name, listen, &mut places, fresh)?;
        let known = instance.library.limits();
        instance.side.set_limits(limits::rules(now, known, &places));
        let change = Change {
            add,
            ..Change::default()
        };
        if !instance.change_listeners(&change, Duration::ZERO) {
            let rules = limits::rules(now, known, &instance.places);
            instance.side.set_limits(rules);
            return Ok(false);
        }
        instance.places = places;
        started.listeners.push(name.clone());
        Ok(true)
    }

    /// Ends a service's exclusive instance, so that its successor can have the store.
    pub(super) async fn displace(&mut self, name: &str, started: &mut Started) {
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
pub(super) fn note(
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
