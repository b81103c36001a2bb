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

    async fn freeze_all(&self, next: &Next, started: &mut Started) -> Result<(), Failed> {
        let limit = next.config.host.handover_timeout;
        let deadline = tokio::time::Instant::now() + limit;
        let mut estates = Vec::new();
        for service in &started.successors {
            let failed = |reason| Failed {
                service: service.clone(),
                reason,
            };
            if let Some(State::Failed(reason)) = state_of(started, service) {
                return Err(failed(reason));
            }
            let old = self.instance(service);
            let gone = || failed("expected an instance that hands over, got none".to_owned());
            started.frozen.insert(service.clone(), Instant::now());
            if let Some(estate) = self.estate_before(service) {
                let estate = estate.map_err(failed)?;
                if let Some(new) = started.instances.get(service) {
                    new.inherit(estate);
                }
                continue;
            }
            let estate = old.and_then(|old| old.freeze()).ok_or_else(gone)?;
            estates.push((service, estate));
        }
        for (service, estate) in estates {
            let failed = |reason| Failed {
                service: service.clone(),
                reason,
            };
            let estate = match timeout_at(deadline, estate).await {
                Ok(Ok(Ok(estate))) => estate,
                Ok(Ok(Err(reason))) => return Err(failed(format!("its freeze failed: {reason}"))),
                Ok(Err(_)) => return Err(failed("its freeze was given up".to_owned())),
                Err(_) => {
                    return Err(failed(format!(
                        "expected it to be frozen within {limit:?}, got no answer"
                    )));
                }
            };
            fault::point("frozen");
            if let Some(new) = started.instances.get(service) {
                new.inherit(estate);
            }
        }
        for service in &started.successors {
            let Some(new) = started.instances.get(service) else {
                continue;
            };
            let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
            if let Err(reason) = new.ready(rest).await {
                return Err(Failed {
                    service: service.clone(),
                    reason: format!("its successor: {reason}"),
                });
            }
        }
        if !started.successors.is_empty() {
            fault::point("inherited");
        }
        Ok(())
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
