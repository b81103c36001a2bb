//! One instance of a plugin, from the host's side: start, wait, reload, drain, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polyport_abi::RResult;
use polyport_abi::handover::HandoverV1;
use polyport_abi::listeners::Change;
use polyport_abi::plugin::{InstanceHandle, StartRequest};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{Listen, Service, Threads};
use crate::handover::Reception;
use crate::listeners::{Lent, Places};
use crate::loader::Library;
use crate::loader::estate::{self, Estate};
use crate::loader::interfaces::{HostSide, State};
use crate::operate::Operator;

/// What a plugin's `stop` may take beyond its drain deadline: its own limits for stopping and shutting down.
const STOP_GRACE: Duration = Duration::from_secs(11);

/// How an instance begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// For itself.
    Own,
    /// It waits for what another leaves it.
    Successor,
}

/// A started instance. It ends by [`Instance::end`]; one that is merely dropped goes on.
#[derive(Debug)]
pub struct Instance {
    /// The library it runs.
    pub library: Arc<Library>,
    /// The host as it sees it.
    pub side: &'static HostSide,
    /// When it was started.
    pub started: SystemTime,
    /// Its listeners.
    pub places: Places,
    /// Where it takes connections over, if its plugin can.
    pub reception: Option<Arc<Reception>>,
    /// Where it takes the operator's commands, if its plugin does.
    pub operator: Option<Arc<Operator>>,
    /// How long nobody served while it took another's place; none if somebody served all the time.
    pub pause: Option<Duration>,
    handle: InstanceHandle,
}

impl Instance {
    /// Starts it on sockets that it will own. Ready or failed shows in [`Instance::ready`].
    ///
    /// # Errors
    /// What the plugin said.
    pub fn start(
        library: Arc<Library>,
        side: &'static HostSide,
        service: &Service,
        lent: Lent,
        (state, base): (&Path, &Path),
        beginning: Beginning,
    ) -> Result<Self, String> {
        let state_dir = state.join("services").join(&service.name);
        std::fs::create_dir_all(&state_dir).map_err(|error| {
            format!(
                "state folder {}: cannot be made: {error}",
                state_dir.display()
            )
        })?;
        let request = StartRequest {
            instance: service.name.clone(),
            state_dir,
            base_dir: base.to_owned(),
            threads: match service.threads {
                Threads::Auto => 0,
                Threads::Count(count) => usize::from(count.get()),
            },
            listeners: lent.listeners,
            settings: service.settings.clone(),
        };
        let request = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
        side.set_summary(library.summary());
        side.is_of(&library.manifest.name);
        let start = match (beginning, library.handover()) {
            (Beginning::Successor, Some(handover)) => handover.start,
            (Beginning::Successor | Beginning::Own, _) => library.lifecycle().start,
        };
        match start(side.query(), request.as_slice().into()) {
            RResult::ROk(handle) => Ok(Self {
                reception: Reception::new(&library, side, handle),
                operator: Operator::new(&library, handle),
                pause: None,
                library,
                side,
                started: SystemTime::now(),
                places: lent.places,
                handle,
            }),
            RResult::RErr(error) => Err(error.into_string()),
        }
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ready(&self, limit: Duration) -> Result<(), String> {
        let mut state = self.side.state();
        let settled = timeout(limit, state.wait_for(|state| *state != State::Starting)).await;
        match settled.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(State::Ready | State::Degraded(_))) => Ok(()),
            Ok(Ok(State::Failed(reason))) => Err(reason),
            Ok(Ok(State::Stopped)) => Err("it stopped before it was ready".into()),
            Ok(Ok(State::Starting) | Err(_)) | Err(_) => Err(format!(
                "expected it to be ready within {limit:?}, got no answer"
            )),
        }
    }

    /// Applies settings in place; false when that needs a swap.
    pub fn reload(&self, settings: &serde_json::Value) -> bool {
        let settings = settings.to_string();
        (self.library.lifecycle().reload)(self.handle, settings.as_bytes().into())
    }

    /// Adds listeners to it and removes others, whose connections end at the deadline; false when that needs a swap.
    pub fn change_listeners(&self, change: &Change, deadline: Duration) -> bool {
        let (Some(listeners), Ok(change)) = (self.library.listeners(), serde_json::to_vec(change))
        else {
            return false;
        };
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        (listeners.change)(self.handle, change.as_slice().into(), milliseconds)
    }

    /// Takes over what the entries of its listeners say, and has it let go of those that went.
    pub fn follow_listeners(&mut self, listen: &[Listen], deadline: Duration) {
        let remove = self.places.follow(listen);
        if remove.is_empty() {
            return;
        }
        let change = Change {
            remove,
            ..Change::default()
        };
        if !self.change_listeners(&change, deadline) {
            tracing::error!(
                "service {}: listeners that were removed stay until its next swap",
                self.side.service()
            );
        }
    }

    /// Whether it serves, well or badly.
    pub fn serves(&self) -> bool {
        matches!(
            *self.side.state().borrow(),
            State::Ready | State::Degraded(_)
        )
    }

    /// Stops it at the next boundary and asks for what only one may have; none if it has nothing of that kind.
    pub fn freeze(&self) -> Option<oneshot::Receiver<Result<Estate, String>>> {
        Some(estate::freeze(self.handover()?, self.handle))
    }

    /// A frozen instance goes on.
    pub fn thaw(&self) {
        if let Some(handover) = self.handover() {
            (handover.thaw)(self.handle);
        }
    }

    /// Gives a successor what it waits for.
    pub fn inherit(&self, estate: Estate) {
        if let Some(handover) = self.handover() {
            estate.give(handover, self.handle);
        }
    }

    /// A successor serves from now on.
    pub fn activate(&self) {
        if let Some(handover) = self.handover() {
            (handover.activate)(self.handle);
        }
    }

    fn handover(&self) -> Option<&'static HandoverV1> {
        self.library.handover()
    }

    /// Drains it until the deadline at the latest, then stops and frees it.
    pub async fn end(self, deadline: Duration, reason: &str) {
        if let Some(reception) = &self.reception {
            // What it takes over now would end with it.
            reception.close();
        }
        if let Some(operator) = &self.operator {
            operator.close();
        }
        let mut state = self.side.state();
        let serves = !matches!(*state.borrow(), State::Failed(_) | State::Stopped);
        if serves {
            let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            (self.library.lifecycle().drain)(self.handle, milliseconds, reason.into());
            let stopped =
                state.wait_for(|state| matches!(state, State::Stopped | State::Failed(_)));
            if timeout(deadline + STOP_GRACE, stopped).await.is_err() {
                tracing::error!(
                    "expected it to stop within {:?} of {reason}, got no answer",
                    deadline + STOP_GRACE
                );
            }
        }
        let stop = self.library.lifecycle().stop;
        let handle = self.handle;
        // It blocks while the plugin's runtime ends.
        if tokio::task::spawn_blocking(move || stop(handle))
            .await
            .is_err()
        {
            tracing::error!("stop panicked");
        }
        self.side.set_state(State::Stopped);
        self.side.forget();
    }
}
