//! Bridges: connections to other brokers, over which messages go to and fro.
//!
//! Here a bridge is a client with a session of its own; there it is one as well. What goes over it is neither
//! queued nor acknowledged in between.

mod link;
mod local;
mod memory;
mod relay;
mod remote;
mod report;
mod run;
mod topics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polyport_sdk::Context;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::bridges::{self, Bridge};
use crate::engine::Engine;
use memory::Memory;
pub(crate) use report::Report;
use run::{Stop, Work};

/// How often it is looked how many messages wait.
const LOOK: Duration = Duration::from_secs(1);

/// The bridges of one broker.
pub(crate) struct Bridges {
    engine: Arc<Engine>,
    context: Context,
    memory: Memory,
    /// What this broker is called.
    name: String,
    all: Mutex<All>,
}

struct All {
    wanted: bridges::Bridges,
    /// Whether the instance serves: before, there are none.
    begun: bool,
    running: BTreeMap<String, Running>,
}

struct Running {
    settings: Bridge,
    stop: Stop,
    report: Arc<Report>,
    task: JoinHandle<()>,
}

impl Bridges {
    /// Those that are to be. The broker gets its name.
    pub(crate) fn new(engine: &Arc<Engine>, context: &Context, wanted: bridges::Bridges) -> Self {
        let memory = Memory::new(context.state_dir());
        let name = memory.name().unwrap_or_else(|error| {
            warn!("messages that come round over bridges are not recognised: {error}");
            String::new()
        });
        engine.set_name(&name);
        Self {
            engine: Arc::clone(engine),
            context: context.clone(),
            memory,
            name,
            all: Mutex::new(All {
                wanted,
                begun: false,
                running: BTreeMap::new(),
            }),
        }
    }

    /// The instance serves: starts them, and clears away what is left of those that were removed meanwhile.
    pub(crate) fn begin(&self) {
        let mut all = self.lock();
        for client_id in self.engine.local_clients() {
            let name = client_id.strip_prefix(&Work::local_client(""));
            let name = name.filter(|name| !all.wanted.contains_key(*name));
            if let Some(name) = name {
                self.engine.forget_client(&client_id);
                // It is looked for by the next bridge of this name alone.
                let _ = self.memory.forget(name);
                self.engine.publish_own(&report::state_topic(name), b"");
            }
        }
        all.begun = true;
        self.settle(&mut all);
    }

    /// Starts, changes and ends bridges; those that stay as they are notice nothing.
    pub(crate) fn apply(&self, wanted: &bridges::Bridges) {
        let mut all = self.lock();
        all.wanted = wanted.clone();
        if all.begun {
            self.settle(&mut all);
        }
    }

    fn settle(&self, all: &mut All) {
        let All {
            wanted, running, ..
        } = all;
        let (mut ended, stay): (BTreeMap<_, _>, _) = std::mem::take(running)
            .into_iter()
            .partition(|(name, running)| wanted.get(name) != Some(&running.settings));
        *running = stay;
        for (name, before) in &ended {
            if !wanted.contains_key(name) {
                info!(bridge = %name, "removed");
                before.stop.forgets.cancel();
            }
            before.stop.ends.cancel();
        }
        for (name, settings) in &*wanted {
            if !running.contains_key(name) {
                let before = ended.remove(name).map(|before| before.task);
                running.insert(name.clone(), self.start(name, settings, before));
            }
        }
        for (name, before) in ended {
            let (engine, memory) = (Arc::clone(&self.engine), self.memory.clone());
            tokio::spawn(forget(name, before, engine, memory));
        }
    }

    /// Every bridge with its settings.
    pub(crate) fn each(&self, mut each: impl FnMut(&str, &Bridge, &Report)) {
        for (name, running) in &self.lock().running {
            each(name, &running.settings, &running.report);
        }
    }

    /// Keeps the numbers of what waits.
    pub(crate) async fn look(&self) {
        let mut every = tokio::time::interval(LOOK);
        while !self.context.is_draining() {
            every.tick().await;
            for (name, running) in &self.lock().running {
                let waiting = self.engine.waiting_for(&Work::local_client(name));
                running.report.set_queued(waiting);
            }
        }
    }

    fn start(&self, name: &str, settings: &Bridge, before: Option<JoinHandle<()>>) -> Running {
        let report = Arc::new(Report::new(&self.context, name, settings.notifications));
        let stop = Stop::default();
        let work = Work {
            name: name.into(),
            settings: settings.clone(),
            engine: Arc::clone(&self.engine),
            context: self.context.clone(),
            memory: self.memory.clone(),
            own: self.name.clone(),
            report: Arc::clone(&report),
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // However it ended.
                let _ = before.await;
            }
            work.run().await;
        });
        Running {
            settings: settings.clone(),
            stop,
            report,
            task,
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After the end of a bridge that is not to come back.
async fn forget(name: String, bridge: Running, engine: Arc<Engine>, memory: Memory) {
    let _ = bridge.task.await;
    engine.forget_client(&Work::local_client(&name));
    bridge.report.forget(&engine);
    if let Err(error) = memory.forget(&name) {
        warn!(bridge = %name, "what it had subscribed to cannot be removed: {error}");
    }
}
