//! One running instance: its runtimes, its connections, its drain. How clients get to be connections is in `accept`.

mod accept;
mod cores;
mod doors;
mod operate;
mod refuse;
mod serving;
mod succession;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use polyport_abi::control::{STATE_FAILED, STATE_STOPPED};
use polyport_abi::live;
use polyport_abi::log::LogV1;
use polyport_abi::plugin::StartRequest;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::cores::Cores;
use crate::handover::{Passage, Succession};
use crate::limits::Gate;
use crate::metrics::Number;
use crate::{Context, Plugin};
use accept::Open;
use cores::Runtimes;
use doors::Doors;
use refuse::Refusals;
use succession::Freeze;

/// How long `stop` may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running instance, owned by the host through its handle.
pub(crate) struct Instance<P: Plugin> {
    runtimes: Runtimes,
    shared: Arc<Shared<P>>,
    /// The freeze that was not taken back.
    freeze: Mutex<Option<Freeze>>,
    /// As the plugin has them now.
    settings: Mutex<serde_json::Value>,
}

struct Shared<P> {
    plugin: OnceLock<Arc<P>>,
    context: Context,
    drain: CancellationToken,
    force: CancellationToken,
    tasks: TaskTracker,
    connections: Number,
    gate: Gate,
    doors: Doors,
    refusals: Refusals,
    passage: Passage,
    succession: Arc<Succession>,
    frozen: watch::Sender<bool>,
    /// How many calls to thaw are under way.
    thawing: watch::Sender<usize>,
}

/// A listening socket, taken over from the host.
pub(crate) struct Listener {
    /// The socket.
    pub(crate) socket: ListenerSocket,
    /// The scheme of its listen entry.
    pub(crate) scheme: Arc<str>,
}

pub(crate) enum ListenerSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl<P: Plugin> Instance<P> {
    /// Makes the runtimes and begins to start; the outcome is reported to the host.
    pub(crate) fn launch(
        config: P::Config,
        request: &StartRequest,
        listeners: Vec<Listener>,
        gate: Gate,
        log: Option<&'static LogV1>,
        (passage, succession): (Passage, Arc<Succession>),
        make_context: impl FnOnce(CancellationToken, Cores) -> Context,
    ) -> Result<Self, String> {
        let threads = [request.threads, P::AUTO_THREADS]
            .into_iter()
            .find(|threads| *threads > 0)
            .unwrap_or_else(|| {
                std::thread::available_parallelism()
                    .map_or(1, usize::from)
                    .min(4)
            });
        let runtimes = Runtimes::new(&request.instance, threads, P::PINNED, log)?;
        let drain = CancellationToken::new();
        let context = make_context(drain.clone(), runtimes.cores());
        let shared = Arc::new(Shared {
            plugin: OnceLock::new(),
            connections: context.metrics().gauge("connections"),
            gate,
            doors: Doors::default(),
            refusals: Refusals::new(context.metrics()),
            context,
            drain,
            force: CancellationToken::new(),
            tasks: TaskTracker::new(),
            passage,
            succession,
            frozen: watch::Sender::new(false),
            thawing: watch::Sender::new(0),
        });
        runtimes
            .first()
            .spawn(Arc::clone(&shared).run(config, listeners));
        Ok(Self {
            runtimes,
            shared,
            freeze: Mutex::default(),
            settings: Mutex::new(request.settings.clone()),
        })
    }

    /// The plugin's answer to new settings, which `config` was read from. False without asking it while it has not
    /// started, and for keys that are not live.
    pub(crate) fn reload(&self, settings: serde_json::Value, config: &P::Config) -> bool {
        let Some(plugin) = self.shared.plugin.get() else {
            return false;
        };
        let mut now = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = live::changed(&now, &settings).into_iter();
        if !changed.all(|changed| live::is_live(P::LIVE, &changed.key)) {
            return false;
        }
        // It may start tasks.
        let _runtime = self.runtimes.first().enter();
        let taken = plugin.reload(config);
        if taken {
            *now = settings;
        }
        taken
    }

    /// Stops accepting; what is still open at the deadline is dropped.
    pub(crate) fn drain(&self, deadline: Duration) {
        self.shared.drain.cancel();
        let force = self.shared.force.clone();
        self.runtimes.first().spawn(async move {
            tokio::time::sleep(deadline).await;
            force.cancel();
        });
    }

    /// Ends it now.
    pub(crate) fn stop(self) {
        self.shared.drain.cancel();
        self.shared.force.cancel();
        self.runtimes.shut_down(STOP_LIMIT);
    }
}

impl<P: Plugin> Shared<P> {
    async fn run(self: Arc<Self>, config: P::Config, listeners: Vec<Listener>) {
        let start = AssertUnwindSafe(P::start(config, self.context.clone())).catch_unwind();
        let started = tokio::select! {
            started = start => started,
            () = self.force.cancelled() => return self.context.report(STATE_STOPPED, ""),
        };
        let plugin = match started {
            Ok(Ok(plugin)) => Arc::new(plugin),
            Ok(Err(error)) => return self.context.report(STATE_FAILED, &error.to_string()),
            Err(panic) => {
                return self.context.report(
                    STATE_FAILED,
                    &format!("panicked at start: {}", panic_text(&*panic)),
                );
            }
        };
        let plugin = self.plugin.get_or_init(|| plugin);
        let doors = (0..)
            .zip(listeners)
            .map(|(place, listener)| self.open_door(listener, place));
        let doors: Vec<Open> = match doors.collect() {
            Ok(doors) => doors,
            Err(error) => {
                return self
                    .context
                    .report(STATE_FAILED, &format!("listening socket: {error}"));
            }
        };
        self.context.serves();
        tokio::select! {
            biased;
            () = self.succession.active.cancelled() => {
                for door in doors {
                    self.receive_by(door);
                }
            }
            () = self.drain.cancelled() => drop(doors),
        }
        self.drain.cancelled().await;
        tokio::select! {
            () = self.thawed() => {}
            () = self.force.cancelled() => {}
        }
        guarded("drain", || plugin.drain());
        self.tasks.close();
        self.tasks.wait().await;
        let stop = AssertUnwindSafe(plugin.stop()).catch_unwind();
        match tokio::time::timeout(STOP_LIMIT, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!("panicked at stop: {}", panic_text(&*panic)),
            Err(_) => error!("stop: expected an end within {STOP_LIMIT:?}, got none"),
        }
        self.context.report(STATE_STOPPED, "");
    }
}

/// Runs a plugin's own code; a panic is logged and ends here.
fn guarded(what: &str, call: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(call)) {
        error!("panicked at {what}: {}", panic_text(&*panic));
    }
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".into())
}
