//! What `polyport status` shows, kept apart from the reload so that it answers while one is under way.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::generations::Meta;
use crate::handover::Reception;
use crate::loader::interfaces::{HostSide, State};
use crate::operate::Operator;

/// The state shown, shared between the host and its control socket.
#[derive(Debug, Clone)]
pub struct Board {
    shown: Arc<RwLock<Shown>>,
    started: Instant,
}

/// What is shown.
#[derive(Debug, Default)]
pub struct Shown {
    /// The current generation; 0 before the first.
    pub generation: u64,
    /// What is told of it.
    pub current: Option<Meta>,
    /// Why it is in force in place of the files, where it is.
    pub overridden: Option<String>,
    /// Why the last reload was refused, or what did not start.
    pub last_error: Option<String>,
    /// The services, in the order of the configuration.
    pub services: Vec<ShownService>,
    /// Libraries mapped, old ones included.
    pub libraries: usize,
}

/// One service.
#[derive(Debug, Clone)]
pub struct ShownService {
    /// Its name.
    pub name: String,
    /// Its plugin's name.
    pub plugin: String,
    /// Its plugin's version.
    pub version: Option<String>,
    /// Its library's SHA-256.
    pub hash: Option<String>,
    /// The addresses bound.
    pub listen: Vec<String>,
    /// When its instance was started.
    pub started: Option<SystemTime>,
    /// Its instance.
    pub side: Option<&'static HostSide>,
    /// How long nobody served while its instance took another's place.
    pub pause: Option<Duration>,
    /// Where its instance takes connections over.
    pub reception: Option<Arc<Reception>>,
    /// Where its instance takes the operator's commands.
    pub operator: Option<Arc<Operator>>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Why it has no instance, though enabled.
    pub error: Option<String>,
}

/// Whether a service takes the operator's commands.
#[derive(Debug, Clone)]
pub enum Commands {
    /// It does not run.
    Stopped,
    /// Its plugin takes none.
    None,
    /// Here.
    Taken(Arc<Operator>),
}

impl Board {
    /// A board that counts the uptime from now.
    pub fn new() -> Self {
        Self {
            shown: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Changes what is shown.
    pub fn update(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The current generation.
    pub fn generation(&self) -> u64 {
        self.shown
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .generation
    }

    /// Each service's name and instance.
    pub fn services(&self) -> Vec<(String, Option<&'static HostSide>)> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let services = shown.services.iter();
        services
            .map(|service| (service.name.clone(), service.side))
            .collect()
    }

    /// Each service's name and plugin, and where its instance takes commands.
    pub fn operators(&self) -> Vec<(String, String, Commands)> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let commands = |service: &ShownService| match (&service.side, &service.operator) {
            (None, _) => Commands::Stopped,
            (Some(_), None) => Commands::None,
            (Some(_), Some(operator)) => Commands::Taken(Arc::clone(operator)),
        };
        let services = shown.services.iter();
        services
            .map(|service| {
                (
                    service.name.clone(),
                    service.plugin.clone(),
                    commands(service),
                )
            })
            .collect()
    }

    /// `NAME (PLUGIN VERSION) on ADDRESS` for each address.
    pub fn listening(&self) -> Vec<String> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown
            .services
            .iter()
            .flat_map(|service| {
                let version = service.version.as_deref().unwrap_or_default();
                service.listen.iter().map(move |address| {
                    format!(
                        "{} ({} {version}) listens on {address}",
                        service.name, service.plugin
                    )
                })
            })
            .collect()
    }

    /// All of it.
    pub fn json(&self) -> Value {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let current = shown.current.as_ref();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime": self.started.elapsed().as_secs(),
            "generation": shown.generation,
            "generation_hash": current.map(|current| &current.hash),
            "generation_time": current.map(|current| &current.time),
            "generation_cause": current.map(|current| &current.cause),
            "files_overridden": shown.overridden,
            "last_error": shown.last_error,
            "libraries": shown.libraries,
            "log_records_dropped": crate::logging::dropped(),
            "services": shown.services.iter().map(ShownService::json).collect::<Vec<_>>(),
        })
    }
}

impl ShownService {
    fn json(&self) -> Value {
        let (state, reason) = match (self.side, &self.error) {
            (_, Some(error)) => ("failed", Some(error.clone())),
            (Some(side), None) => words(&side.state().borrow()),
            (None, None) => (if self.enabled { "starting" } else { "disabled" }, None),
        };
        let metrics = self.side.map(HostSide::metrics).unwrap_or_default();
        let started = self
            .started
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map(|since| since.as_secs());
        json!({
            "name": self.name,
            "plugin": self.plugin,
            "version": self.version,
            "hash": self.hash,
            "state": state,
            "reason": reason,
            "listen": self.listen,
            "connections": metrics.get("connections").copied().unwrap_or(0),
            "started": started,
            "handover_pause_ms": self.pause.map(|pause| pause.as_secs_f64() * 1000.0),
            "handover_connections": self.reception.as_ref().map(|reception| reception.taken()),
            "metrics": metrics,
        })
    }
}

fn words(state: &State) -> (&'static str, Option<String>) {
    match state {
        State::Starting => ("starting", None),
        State::Ready => ("ready", None),
        State::Degraded(reason) => ("degraded", Some(reason.clone())),
        State::Failed(reason) => ("failed", Some(reason.clone())),
        State::Stopped => ("stopped", None),
    }
}
