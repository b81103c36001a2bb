//! From a listening socket to a connection: who it is (PROXY header), whether there is room for it (admission), TLS.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use rustix::io::Errno;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::doors::Ending;
use super::refuse::Slot;
use super::{Listener, ListenerSocket, Shared};
use crate::handover::Crossing;
use crate::limits::{Admission, Current, Gate, Refusal};
use crate::net::{Origin, Pacer, Peer, Plain, Stream};
use crate::proxy::{self, Header};
use crate::tap::Line;
use crate::{Connection, Context, Plugin};

/// The most clients of an instance whose PROXY header is awaited at once. They are not counted yet: whom to count
/// is what the header says.
pub(super) const MAX_HEADERS: usize = 1024;

/// A listening socket.
pub(super) struct Open {
    socket: Socket,
    door: Arc<Door>,
}

impl Open {
    /// Its place, and when what comes by it ends.
    pub(super) fn place(&self) -> (u32, Ending) {
        (self.door.place, self.door.ending.clone())
    }
}

/// What holds for those who come by a listening socket, longer than that is open.
pub(super) struct Door {
    place: u32,
    /// With the scheme, without TLS.
    line: Arc<Line>,
    tls: bool,
    limits: Current,
    reserve: Reserve,
    ending: Ending,
}

impl Door {
    pub(super) fn open(
        listener: Listener,
        place: u32,
        tls_schemes: &[(&str, &str)],
        (context, gate): (&Context, &Gate),
        ending: Ending,
    ) -> io::Result<Open> {
        let inner = crate::tls::inner_scheme(&listener.scheme, tls_schemes);
        let door = Self {
            tls: inner.is_some(),
            line: context.line(inner.as_deref().unwrap_or(&listener.scheme)),
            place,
            limits: gate.limits(place),
            reserve: Reserve::new(),
            ending,
        };
        Ok(Open {
            socket: Socket::new(listener.socket)?,
            door: Arc::new(door),
        })
    }
}

impl Door {
    async fn unless_forced<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.ending.force.cancelled() => None,
        }
    }
}

/// A socket that was accepted, and its two ends.
struct Accepted {
    plain: Plain,
    peer: Peer,
    local: Peer,
}

impl<P: Plugin> Shared<P> {
    pub(super) async fn accept(self: Arc<Self>, open: Open) {
        let Open { socket, door } = open;
        let drain = &door.ending.drain;
        let mut frozen = self.frozen.subscribe();
        let mut pause = Duration::ZERO;
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.cancelled() => return,
                changed = frozen.changed() => {
                    // Clients wait in the backlog for whoever goes on; the sender lives as long as `self`.
                    let thawed = async { changed.is_ok() && frozen.wait_for(|frozen| !frozen).await.is_ok() };
                    tokio::select! {
                        () = drain.cancelled() => return,
                        _ = thawed => continue,
                    }
                }
                accepted = self.accept_on_core(&socket) => accepted,
            };
            let error = match accepted {
                Ok((accepted, core)) => {
                    pause = Duration::ZERO;
                    self.receive(accepted, &door, core);
                    continue;
                }
                Err(error) => error,
            };
            // The client left before it was accepted, or descriptors ran out: neither ends the loop.
            if is_out_of_descriptors(&error)
                && let Some(accepted) = door.reserve.spend(&socket)
            {
                let turn_away = Arc::clone(&self).turn_away(accepted, Arc::clone(&door));
                self.tasks.spawn(turn_away);
            }
            if pause >= Duration::from_millis(10) {
                warn!("accept: {error}; trying again in {pause:?}");
            }
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
        }
    }

    /// The next client, and the core that it is served on, which its socket belongs to.
    async fn accept_on_core(&self, socket: &Socket) -> io::Result<(Accepted, &Handle)> {
        let mut accepting = pin!(socket.accept());
        poll_fn(|cx| {
            let core = self.context.cores().least();
            let _entered = core.enter();
            let accepted = ready!(accepting.as_mut().poll(cx));
            Poll::Ready(accepted.map(|accepted| (accepted, core)))
        })
        .await
    }

    /// Serves a client, or tells it why not, in a task of its own.
    fn receive(self: &Arc<Self>, accepted: Accepted, door: &Arc<Door>, core: &Handle) {
        let _entered = core.enter();
        if door.tls || door.limits.is_proxied() {
            let received = Arc::clone(self).receive_slowly(accepted, Arc::clone(door));
            self.tasks.spawn_on(received, core);
            return;
        }
        // Nothing has to be waited for: the task is the connection's and nothing else.
        let origin = Origin::new(accepted.peer);
        match self.admit(accepted, None, origin, door) {
            Ok((connection, admission)) => {
                if let Some(serving) = self.serve(connection, admission, &door.ending.closing) {
                    self.tasks.spawn_on(serving, core);
                }
            }
            Err((connection, why)) => {
                if let Some(slot) = self.refusals.slot(why) {
                    let (shared, door) = (Arc::clone(self), Arc::clone(door));
                    let refusing = async move {
                        let refused = shared.refuse(*connection, &door, why, slot);
                        door.unless_forced(refused).await;
                    };
                    self.tasks.spawn_on(refusing, core);
                }
            }
        }
    }

    /// The same of a client that has to say something first.
    async fn receive_slowly(self: Arc<Self>, accepted: Accepted, door: Arc<Door>) {
        // Boxed: the task keeps what follows it for longer.
        let opened = Box::pin(door.unless_forced(self.open(accepted, &door))).await;
        if let Some(Some((connection, admission))) = opened
            && let Some(serving) = self.serve(connection, admission, &door.ending.closing)
        {
            serving.await;
        }
    }

    /// Tells a client that there was no descriptor for it but the reserve.
    async fn turn_away(self: Arc<Self>, accepted: Accepted, door: Arc<Door>) {
        if let Some(slot) = self.refusals.slot(Refusal::Descriptors) {
            let origin = Origin::new(accepted.peer);
            let connection = self.connection(accepted, None, origin, &door, None);
            door.unless_forced(self.refuse(connection, &door, Refusal::Descriptors, slot))
                .await;
        }
        door.reserve.restore();
    }

    async fn open(&self, accepted: Accepted, door: &Door) -> Option<(Connection, Arc<Admission>)> {
        let deadline = Instant::now() + door.limits.get().handshake_timeout;
        let trusted = door.limits.is_proxied() && self.gate.trusts(door.place, accepted.peer.ip());
        let (origin, ends) = if trusted {
            // Boxed, as what follows is: a connection without it need not carry its size.
            Box::pin(self.proxied(&accepted, deadline)).await?
        } else {
            (Origin::new(accepted.peer), None)
        };
        let (connection, admission) = match self.admit(accepted, ends, origin, door) {
            Ok(admitted) => admitted,
            Err((connection, why)) => {
                if let Some(slot) = self.refusals.slot(why) {
                    Box::pin(self.refuse(*connection, door, why, slot)).await;
                }
                return None;
            }
        };
        let connection = if door.tls {
            let left = deadline.saturating_duration_since(Instant::now());
            Box::pin(crate::tls::accept(&self.context, connection, left)).await?
        } else {
            connection
        };
        Some((connection, admission))
    }

    /// Asks whether there is room for a client.
    fn admit(
        &self,
        accepted: Accepted,
        ends: Option<(Peer, Peer)>,
        origin: Origin,
        door: &Door,
    ) -> Result<(Connection, Arc<Admission>), (Box<Connection>, Refusal)> {
        match self.gate.admit(door.place, origin.peer().ip()) {
            Ok(admission) => {
                let admission = Arc::new(admission);
                let shared = Some(Arc::clone(&admission));
                let connection = self.connection(accepted, ends, origin, door, shared);
                Ok((connection, admission))
            }
            Err(why) => {
                let connection = self.connection(accepted, ends, origin, door, None);
                Err((Box::new(connection), why))
            }
        }
    }

    /// What a trusted proxy says. None: it says nothing valid, and the connection is closed.
    async fn proxied(
        &self,
        accepted: &Accepted,
        deadline: Instant,
    ) -> Option<(Origin, Option<(Peer, Peer)>)> {
        let Ok(_place) = self.refusals.headers.try_acquire() else {
            self.refusals.note_proxy(accepted.peer, "too many at once");
            return None;
        };
        let header = match timeout_at(deadline, proxy::receive(&accepted.plain)).await {
            Ok(Ok(header)) => header,
            // A health check that only connects.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Ok(Err(error)) => {
                self.refusals.note_proxy(accepted.peer, &error);
                return None;
            }
            Err(_) => {
                self.refusals
                    .note_proxy(accepted.peer, "none came within handshake_timeout");
                return None;
            }
        };
        Some(match header {
            Header::Own => (Origin::new(accepted.peer), None),
            Header::Client {
                source,
                destination,
                tls,
            } => {
                let peer = Peer::Ip(source);
                let ends = (peer, Peer::Ip(destination));
                (Origin::told(peer, tls), Some(ends))
            }
            // How the proxy itself is reached decides whether anybody can listen.
            Header::Unix => (
                Origin::told(Peer::Unix, accepted.peer == Peer::Unix),
                Some((Peer::Unix, accepted.local)),
            ),
        })
    }

    fn connection(
        &self,
        accepted: Accepted,
        ends: Option<(Peer, Peer)>,
        origin: Origin,
        door: &Door,
        admission: Option<Arc<Admission>>,
    ) -> Connection {
        let Accepted { plain, local, .. } = accepted;
        let local = ends.map_or(local, |(_, local)| local);
        let crossing = Crossing::new(
            self.passage,
            P::HANDOVER.version,
            door.place,
            admission.unwrap_or_default(),
        );
        Connection {
            stream: Stream::accepted(plain, ends, Arc::clone(&door.line))
                .with_pacer(Pacer::of(door.limits.clone())),
            origin,
            local,
            scheme: Arc::clone(door.line.scheme()),
            inherited: None,
            crossing,
            limits: door.limits.clone(),
            drain: door.ending.drain.clone(),
        }
    }

    /// Answers a client that is not served.
    async fn refuse(&self, connection: Connection, door: &Door, why: Refusal, slot: Slot) {
        let refused = async {
            let connection = if door.tls {
                crate::tls::accept(&self.context, connection, slot.limit()).await?
            } else {
                connection
            };
            let busy = |received: &[u8]| P::busy(&connection.scheme, why, received);
            slot.answer(connection.stream, busy).await;
            Some(())
        };
        // Who does not take its answer in time has had it.
        let _ = tokio::time::timeout(slot.limit(), refused).await;
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn new(socket: ListenerSocket) -> io::Result<Self> {
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

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok(Accepted {
                    plain: Plain::Tcp(stream),
                    peer: Peer::Ip(peer),
                    local: Peer::Ip(local),
                })
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok(Accepted {
                    plain: Plain::Unix(stream),
                    peer: Peer::Unix,
                    local: Peer::Unix,
                })
            }
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .map(Some)
        .contains(&error.raw_os_error())
}

/// A descriptor kept for the client that comes when there is none left: it can be told so.
struct Reserve(Mutex<Option<OwnedFd>>);

impl Reserve {
    fn new() -> Self {
        let reserve = Self(Mutex::default());
        reserve.restore();
        reserve
    }

    /// Gives it up for one client.
    fn spend(&self, socket: &Socket) -> Option<Accepted> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let accepted = socket.accept().now_or_never();
        if let Some(Ok(accepted)) = accepted {
            return Some(accepted);
        }
        self.restore();
        None
    }

    /// Takes one again; without one the next client has to wait.
    fn restore(&self) {
        let opened = std::fs::File::open("/dev/null").map(OwnedFd::from);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = opened.ok();
    }
}
