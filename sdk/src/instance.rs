//! One running instance: its runtime, its accept loops, its drain.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use polyport_abi::control::{STATE_FAILED, STATE_READY, STATE_STOPPED};
use polyport_abi::log::LogV1;
use polyport_abi::plugin::StartRequest;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::metrics::Number;
use crate::net::{Origin, Peer, Stream};
use crate::{Connection, Context, Error, Plugin};

/// How long `stop` may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A running instance, owned by the host through its handle.
pub(crate) struct Instance<P: Plugin> {
    runtime: Runtime,
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    plugin: OnceLock<Arc<P>>,
    context: Context,
    drain: CancellationToken,
    force: CancellationToken,
    tasks: TaskTracker,
    connections: Number,
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
    /// Makes the runtime and begins to start; the outcome is reported to the host.
    pub(crate) fn launch(
        config: P::Config,
        request: &StartRequest,
        listeners: Vec<Listener>,
        log: Option<&'static LogV1>,
        make_context: impl FnOnce(CancellationToken) -> Context,
    ) -> Result<Self, String> {
        let threads = [request.threads, P::AUTO_THREADS]
            .into_iter()
            .find(|threads| *threads > 0)
            .unwrap_or_else(|| {
                std::thread::available_parallelism()
                    .map_or(1, usize::from)
                    .min(4)
            });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(format!("pp-{}", request.instance))
            .on_thread_start(move || crate::logging::enter_thread(log))
            .enable_all()
            .build()
            .map_err(|error| {
                format!("its runtime of {threads} threads could not be made: {error}")
            })?;
        let drain = CancellationToken::new();
        let context = make_context(drain.clone());
        let shared = Arc::new(Shared {
            plugin: OnceLock::new(),
            connections: context.metrics().gauge("connections"),
            context,
            drain,
            force: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        runtime.spawn(Arc::clone(&shared).run(config, listeners));
        Ok(Self { runtime, shared })
    }

    /// The plugin's answer to new settings; false while it has not started.
    pub(crate) fn reload(&self, config: &P::Config) -> bool {
        self.shared
            .plugin
            .get()
            .is_some_and(|plugin| plugin.reload(config))
    }

    /// Stops accepting; what is still open at the deadline is dropped.
    pub(crate) fn drain(&self, deadline: Duration) {
        self.shared.drain.cancel();
        let force = self.shared.force.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(deadline).await;
            force.cancel();
        });
    }

    /// Ends it now.
    pub(crate) fn stop(self) {
        self.shared.drain.cancel();
        self.shared.force.cancel();
        self.runtime.shutdown_timeout(STOP_LIMIT);
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
        for listener in listeners {
            let inner = crate::tls::inner_scheme(&listener.scheme, P::TLS_SCHEMES);
            let tls = inner.is_some();
            let scheme = inner.map_or(listener.scheme, Arc::from);
            match Socket::new(listener.socket) {
                Ok(socket) => {
                    self.tasks
                        .spawn(Arc::clone(&self).accept(socket, scheme, tls));
                }
                Err(error) => {
                    return self
                        .context
                        .report(STATE_FAILED, &format!("listening socket: {error}"));
                }
            }
        }
        self.context.report(STATE_READY, "");
        self.drain.cancelled().await;
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

    async fn accept(self: Arc<Self>, socket: Socket, scheme: Arc<str>, tls: bool) {
        let mut pause = Duration::ZERO;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.drain.cancelled() => return,
                accepted = socket.accept(&self.context, &scheme) => accepted,
            };
            match accepted {
                Ok((stream, peer, local)) => {
                    pause = Duration::ZERO;
                    let drain = self.drain.clone();
                    let connection = Connection {
                        stream,
                        origin: Origin::new(peer),
                        local,
                        scheme: Arc::clone(&scheme),
                        drain,
                    };
                    self.tasks.spawn(Arc::clone(&self).serve(connection, tls));
                }
                // The client left before it was accepted, or descriptors ran out: neither ends the loop.
                Err(error) => {
                    if pause >= Duration::from_millis(10) {
                        warn!("accept: {error}; trying again in {pause:?}");
                    }
                    tokio::select! {
                        () = self.drain.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, mut connection: Connection, tls: bool) {
        let Some(plugin) = self.plugin.get().cloned() else {
            return;
        };
        if tls {
            // Boxed: a connection without TLS need not carry its size.
            let handshake = Box::pin(crate::tls::accept(&self.context, connection, HANDSHAKE));
            let held = tokio::select! {
                held = handshake => held,
                () = self.force.cancelled() => None,
            };
            connection = match held {
                Some(connection) => connection,
                None => return,
            };
        }
        let peer = connection.peer();
        self.connections.add(1);
        let serving = AssertUnwindSafe(plugin.connection(connection)).catch_unwind();
        let served = tokio::select! {
            served = serving => Some(served),
            () = self.force.cancelled() => None,
        };
        self.connections.sub(1);
        match served {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(problem @ Error::Operator(_)))) => warn!(%peer, "{problem}"),
            Some(Ok(Err(problem))) => debug!(%peer, "{problem}"),
            Some(Err(panic)) => {
                let text = panic_text(&*panic);
                error!(%peer, "a connection panicked: {text}");
                self.context
                    .degraded(&format!("a connection panicked: {text}"));
            }
            None => debug!(%peer, "closed at the drain deadline"),
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn new(socket: ListenerSocket) -> std::io::Result<Self> {
        match socket {
            ListenerSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Self::Tcp)
            }
            ListenerSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Self::Unix)
            }
        }
    }

    async fn accept(
        &self,
        context: &Context,
        scheme: &Arc<str>,
    ) -> std::io::Result<(Stream, Peer, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                let stream = Stream::tapped(stream, context.trace(), Arc::clone(scheme));
                Ok((stream, Peer::Ip(peer), Peer::Ip(local)))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                let stream = Stream::tapped_unix(stream, context.trace(), Arc::clone(scheme));
                Ok((stream, Peer::Unix, Peer::Unix))
            }
        }
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
