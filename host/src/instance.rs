//! One instance of a plugin, from the host's side: start, wait, reload, drain, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polyport_abi::RResult;
use polyport_abi::plugin::{InstanceHandle, StartRequest};
use tokio::time::timeout;

use crate::config::{Service, Threads};
use crate::listeners::Lent;
use crate::loader::Library;
use crate::loader::interfaces::{HostSide, State};

/// What a plugin's `stop` may take beyond its drain deadline: its own limits for stopping and shutting down.
const STOP_GRACE: Duration = Duration::from_secs(11);

/// A started instance. It ends by [`Instance::end`]; one that is merely dropped goes on.
#[derive(Debug)]
pub struct Instance {
    /// The library it runs.
    pub library: Arc<Library>,
    /// The host as it sees it.
    pub side: &'static HostSide,
    /// When it was started.
    pub started: SystemTime,
    /// Which of the service's listen entries its sockets are.
    pub entries: Vec<usize>,
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
        state: &Path,
        base: &Path,
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
        match (library.lifecycle().start)(side.query(), request.as_slice().into()) {
            RResult::ROk(handle) => Ok(Self {
                library,
                side,
                started: SystemTime::now(),
                entries: lent.entries,
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

    /// Drains it until the deadline at the latest, then stops and frees it.
    pub async fn end(self, deadline: Duration, reason: &str) {
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
    }
}
