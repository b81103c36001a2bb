//! How an exclusive instance makes way for the next: it hands over what only one may have, or ends first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use tracing::{info, warn};

use super::change::{Started, note};
use super::upgrade::inherits;
use super::{Host, Next, NextService};
use crate::config::Config;
use crate::generations::fault;
use crate::instance::Beginning;
use crate::loader::Library;
use crate::loader::interfaces::State;

/// How long an instance that was frozen in vain waits for its successor to be gone before it goes on.
const WAY_BACK: Duration = Duration::from_secs(1);

/// How a new instance takes the place of an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    /// It starts beside it.
    Beside,
    /// It inherits what only one may have.
    Succeed,
    /// It starts when the old one has ended.
    Displace,
}

/// A hand-over that did not come about.
struct Failed {
    service: String,
    reason: String,
}

impl Host {
    /// How this service would be swapped.
    pub(super) fn swap_of(&self, next: &NextService, config: &Config) -> Swap {
        let Some(library) = &next.library else {
            return Swap::Beside;
        };
        let now = self.instance(&next.service.name);
        let before = self.running_before(&next.service.name);
        let inherits = now.is_some_and(|now| now.serves() && library.inherits_from(&now.library))
            || before.is_some_and(|before| inherits(library, before));
        match library.manifest.exclusive && (now.is_some() || before.is_some()) {
            false => Swap::Beside,
            true if inherits && !config.host.handover_timeout.is_zero() => Swap::Succeed,
            true => Swap::Displace,
        }
    }

    /// How an instance begins that inherits nothing: where another process goes on if this one fails, nobody is let in
    /// before that is decided.
    pub(super) fn beginning_of(&self, next: &NextService) -> Beginning {
        let library = next.library.as_ref();
        let waits = |library: &Arc<Library>| {
            library.handover().is_some() && !library.described_handover().estate
        };
        if self.replaces() && library.is_some_and(waits) {
            Beginning::Successor
        } else {
            Beginning::Own
        }
    }

    /// Starts what will inherit, up to where it waits.
    pub(super) fn begin_successors(
        &self,
        config: &Config,
        services: &mut [NextService],
        started: &mut Started,
    ) -> Result<(), String> {
        for next in services {
            if started.successors.contains(&next.service.name) {
                let outcome = self.start(config, next, started, Beginning::Successor);
                note(next, config, outcome)?;
            }
        }
        Ok(())
    }

    /// Freezes every instance that hands over, and waits until those that inherit are ready. From then on until the
    /// commit nobody serves these services.
    ///
    /// # Errors
    /// Whose hand-over failed and why. Those that were frozen go on by [`Host::undo`].
    pub(super) async fn hand_over(
        &mut self,
        next: &mut Next,
        started: &mut Started,
    ) -> Result<(), String> {
        while let Err(failed) = self.freeze_all(next, started).await {
            let Failed { service, reason } = failed;
            let reason = format!("hand-over: {reason}");
            let Next {
                config, services, ..
            } = &mut *next;
            let this = services
                .iter_mut()
                .find(|next| next.service.name == service);
            let Some(this) = this.filter(|this| this.forced) else {
                let key = format!("services.{service}");
                let place = config.place(&key);
                return Err(format!(
                    "{place}: {key}: {reason}; the instance before goes on"
                ));
            };
            warn!("service {service}: {reason}; its connections end");
            self.thaw_all(started).await;
            started.successors.retain(|name| *name != service);
            let outcome = self.replace(config, this, started).await;
            note(this, config, outcome)?;
            self.begin_successors(config, services, started)?;
        }
        Ok(())
    }

    /// One after the other, the one with the most connections last: who is frozen waits for all that follow.
    async fn freeze_all(&self, next: &Next, started: &mut Started) -> Result<(), Failed> {
        let limit = next.config.host.handover_timeout;
        let deadline = Instant::now() + limit;
        let mut services = started.successors.clone();
        services.sort_by_cached_key(|service| self.lasting.service(service).counts.open());
        for service in &services {
            let outcome = self.freeze(service, started, deadline, limit).await;
            outcome.map_err(|reason| Failed {
                service: service.clone(),
                reason,
            })?;
        }
        if !services.is_empty() {
            fault::point("inherited");
        }
        Ok(())
    }

    /// Until the next instance of the service is ready.
    async fn freeze(
        &self,
        service: &str,
        started: &mut Started,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(), String> {
        if let Some(State::Failed(reason)) = state_of(started, service) {
            return Err(reason);
        }
        started.frozen.insert(service.to_owned(), Instant::now());
        let estate = match self.estate_before(service) {
            Some(estate) => estate?,
            None => {
                let old = self.instance(service).and_then(|old| old.freeze());
                let estate = old.ok_or("expected an instance that hands over, got none")?;
                let estate = match timeout_at(deadline.into(), estate).await {
                    Ok(Ok(Ok(estate))) => estate,
                    Ok(Ok(Err(reason))) => return Err(format!("its freeze failed: {reason}")),
                    Ok(Err(_)) => return Err("its freeze was given up".to_owned()),
                    Err(_) => {
                        return Err(format!(
                            "expected it to be frozen within {limit:?}, got no answer"
                        ));
                    }
                };
                fault::point("frozen");
                estate
            }
        };
        let Some(new) = started.instances.get(service) else {
            return Ok(());
        };
        new.inherit(estate);
        let rest = deadline.saturating_duration_since(Instant::now());
        let ready = new.ready(rest).await;
        ready.map_err(|reason| format!("its successor: {reason}"))
    }

    /// Ends the successors, and lets those go on that were frozen for them.
    pub(super) async fn thaw_all(&mut self, started: &mut Started) {
        let mut leaving = Vec::new();
        for service in &started.successors {
            if let Some(new) = started.instances.remove(service) {
                leaving.push(new.side.state());
                self.ending
                    .spawn(new.end(Duration::ZERO, "a hand-over that failed"));
            }
        }
        // Both at once is what the deadline is to end, so it is waited for a moment only.
        let gone = async {
            for mut state in leaving {
                let ended = |state: &State| matches!(state, State::Stopped | State::Failed(_));
                // Gone as well when nobody tells any more.
                let _ = state.wait_for(ended).await;
            }
        };
        if timeout(WAY_BACK, gone).await.is_err() {
            warn!("expected a successor to end within {WAY_BACK:?}, got no answer");
        }
        for (service, since) in started.frozen.drain() {
            if let Some(old) = self.instance(&service) {
                old.thaw();
                info!(
                    "service {service}: goes on as it was, after {:.1} ms",
                    since.elapsed().as_secs_f64() * 1000.0
                );
            }
        }
    }
}

fn state_of(started: &Started, service: &str) -> Option<State> {
    let instance = started.instances.get(service)?;
    Some(instance.side.state().borrow().clone())
}
