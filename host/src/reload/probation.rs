//! Probation: an instance that gets into trouble soon after its change is swapped back to what it was before.

use std::time::{Instant, SystemTime};

use tokio::time::timeout;
use tracing::{error, warn};

use super::rollback::UNTIL;
use super::wanted::{Instead, Wanted, look};
use super::{Host, Next};
use crate::generations::{Texts, with_section_of};
use crate::loader::interfaces::State;

/// A service that was changed and has not proved itself yet.
pub(super) struct Trial {
    generation: u64,
    until: Instant,
    /// When its instance was started: which one it is.
    started: SystemTime,
    /// The files that it ran by before.
    texts: Texts,
    /// The hash of the library that it ran before.
    library: String,
    /// How the files looked that it was changed by.
    look: Option<String>,
    /// Whether it was degraded before, and may be again.
    tolerant: bool,
}

/// An instance got into trouble in its probation.
#[derive(Debug)]
pub struct Fallen {
    service: String,
    generation: u64,
    reason: String,
}

impl Host {
    /// The services that `next` puts on trial, with what they are now.
    pub(super) fn trials_of(&self, next: &Next) -> Vec<(String, Trial)> {
        let probation = next.config.host.probation;
        let Some(current) = self.current.as_ref().filter(|_| !probation.is_zero()) else {
            return Vec::new();
        };
        let until = Instant::now() + probation;
        let mut trials = Vec::new();
        for next_service in &next.services {
            let service = &next_service.service;
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service.name);
            let Some((entry, running)) = entry.and_then(|entry| Some((entry, self.was(entry)?)))
            else {
                continue;
            };
            if !next_service.step.is_trial() {
                continue;
            }
            let unproven = self
                .trials
                .get(&service.name)
                .filter(|trial| trial.until > Instant::now());
            let hash = next_service
                .library
                .as_ref()
                .map(|library| library.hash.as_str());
            if unproven.is_none()
                && entry.service == *service
                && hash == Some(running.library.as_str())
            {
                continue; // merely started anew: before it was no better
            }
            let (texts, library, tolerant) = match unproven {
                Some(trial) => (trial.texts.clone(), trial.library.clone(), trial.tolerant),
                None => (current.texts.clone(), running.library, running.degraded),
            };
            let trial = Trial {
                generation: 0,
                until,
                started: SystemTime::UNIX_EPOCH,
                texts,
                library,
                look: next.look.clone(),
                tolerant,
            };
            trials.push((service.name.clone(), trial));
        }
        trials
    }

    /// What an entry's instance is, unless it failed already.
    fn was(&self, entry: &super::Entry) -> Option<Was> {
        let instance = entry.instance.as_ref()?;
        let degraded = match &*instance.side.state().borrow() {
            State::Failed(_) => return None,
            State::Degraded(_) => true,
            State::Starting | State::Ready | State::Stopped => false,
        };
        Some(Was {
            library: instance.library.hash.clone(),
            degraded,
        })
    }

    /// Watches the services of the generation just committed for as long as their probation.
    pub(super) fn put_on_trial(&mut self, trials: Vec<(String, Trial)>) {
        self.trials.retain(|_, trial| trial.until > Instant::now());
        let generation = self.board.generation();
        for (service, mut trial) in trials {
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service);
            let Some(instance) = entry.and_then(|entry| entry.instance.as_ref()) else {
                continue;
            };
            trial.generation = generation;
            trial.started = instance.started;
            let (mut state, fallen, tolerant) =
                (instance.side.state(), self.fallen.clone(), trial.tolerant);
            let rest = trial.until.saturating_duration_since(Instant::now());
            let name = service.clone();
            tokio::spawn(async move {
                let bad = |state: &State| match state {
                    State::Failed(_) => true,
                    State::Degraded(_) => !tolerant,
                    State::Starting | State::Ready | State::Stopped => false,
                };
                // An error of either kind means that all went well.
                if let Ok(Ok(state)) = timeout(rest, state.wait_for(bad)).await {
                    let reason = match &*state {
                        State::Failed(reason) => format!("failed: {reason}"),
                        State::Degraded(reason) => format!("degraded: {reason}"),
                        State::Starting | State::Ready | State::Stopped => return,
                    };
                    let service = name;
                    // The host may be ending.
                    let _ = fallen.send(Fallen {
                        service,
                        generation,
                        reason,
                    });
                }
            });
            self.trials.insert(service, trial);
        }
    }

    /// Swaps a service back to what it was before its change, as a new generation; the others stay as they are, and
    /// the files do not count until they change.
    pub async fn withdraw(&mut self, fallen: Fallen) {
        let Fallen {
            service,
            generation,
            reason,
        } = fallen;
        let same = |trial: &Trial| {
            let running = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service);
            let running = running.and_then(|entry| entry.instance.as_ref());
            trial.generation == generation
                && running.is_some_and(|instance| instance.started == trial.started)
        };
        if !self.trials.get(&service).is_some_and(same) {
            return; // another instance runs by now
        }
        let Some(trial) = self.trials.remove(&service) else {
            return;
        };
        error!(
            "service {service}: {reason}, in the probation of generation {generation}: it is swapped back"
        );
        let cause = format!("probation: service {service} {reason}");
        let wanted = tokio::task::block_in_place(|| self.without(&service, &trial, &cause));
        let outcome = self.go_over(wanted, &cause, &|name| name == service).await;
        self.trials.remove(&service);
        match outcome {
            Ok(number) => {
                let result =
                    format!("withdrawn by generation {number}: service {service} {reason}");
                if let Err(error) = self.store.set_result(generation, &result) {
                    warn!("{error}");
                }
                self.board.update(|shown| shown.last_error = Some(cause));
            }
            Err(reason) => error!("service {service}: stays as it is: {reason}"),
        }
    }

    /// What is in force, but for one service, which is what it was.
    fn without(&self, service: &str, trial: &Trial, cause: &str) -> Result<Wanted, String> {
        let current = self.current.as_ref().ok_or("there is no generation yet")?;
        let mut texts = current.texts.clone();
        texts.config = with_section_of(service, &texts.config, &trial.texts.config)?;
        let mut libraries = self.running();
        libraries.insert(service.to_owned(), trial.library.clone());
        let unchanged = trial.look.as_ref() == Some(&look(&self.source, &self.config));
        let mut wanted = Wanted::of_texts(&self.source, texts, libraries, cause)?;
        wanted.waiting = self.keep_what_needs_a_start(&mut wanted.config);
        wanted.instead = Some(Instead {
            // Files that changed since are others than those that failed.
            look: Some(if unchanged {
                look(&self.source, &wanted.config)
            } else {
                String::new()
            }),
            reason: format!("{cause}; {UNTIL}"),
        });
        wanted.look = wanted
            .instead
            .as_ref()
            .and_then(|instead| instead.look.clone());
        Ok(wanted)
    }
}

struct Was {
    library: String,
    degraded: bool,
}
