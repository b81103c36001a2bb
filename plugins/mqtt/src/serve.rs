//! The sockets: one task for each connection reads, hands bytes to the engine and writes what comes
//! out.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use polyport_mqtt_core::codec::FixedHeader;
use polyport_mqtt_core::message::SHARED_PAYLOAD;
use polyport_mqtt_core::{ConnectionId, LoginRefusal};
use polyport_sdk::accounts::Account;
use polyport_sdk::limits::Limits;
use polyport_sdk::net::{Origin, Pacer, Stream};
use polyport_sdk::{Connection, Context, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::engine::Engine;
use crate::outbound::{Outbound, Piece};
use crate::{config, login, websocket};

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Pieces written at once.
const SLICES: usize = 32;
/// A client with more unsent output than this is not read from: it has to take answers first.
const UNSENT_MAX: usize = 1024 * 1024;
/// How long a closed connection may take to take its last bytes.
const LINGER: Duration = Duration::from_secs(5);
/// The same while the instance drains: the next one waits for the store.
const LINGER_DRAINING: Duration = Duration::from_millis(500);

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ]);
}

/// Serves one client.
pub(crate) async fn serve(
    engine: &Arc<Engine>,
    context: &Context,
    websocket_paths: &[String],
    connection: Connection,
) -> Result<(), Error> {
    let limits = connection.limits();
    let Connection {
        stream,
        origin,
        ref scheme,
        ..
    } = connection;
    match &**scheme {
        "tcp" | "unix" => {
            let pacer = stream.pacer();
            run(engine, context, stream, (origin, pacer), &limits).await
        }
        // Boxed: a TCP connection's task need not be as large as a WebSocket's.
        "ws" | "ws+unix" => {
            Box::pin(serve_websocket(
                engine,
                context,
                websocket_paths,
                stream,
                origin,
                limits,
            ))
            .await
        }
        other => Err(Error::Operator(format!(
            "listen scheme: expected tcp, unix or ws, got {other:?}"
        ))),
    }
}

async fn serve_websocket(
    engine: &Arc<Engine>,
    context: &Context,
    paths: &[String],
    stream: Stream,
    origin: Origin,
    limits: Limits,
) -> Result<(), Error> {
    let pacer = stream.pacer();
    let accepting = websocket::accept(stream, paths, limits.max_packet);
    let accepted = tokio::time::timeout(limits.handshake_timeout, accepting).await;
    let accepted = accepted.map_err(|_| Error::Peer("no WebSocket handshake in time".into()))?;
    let stream = accepted.map_err(|error| Error::Peer(error.to_string()))?;
    run(engine, context, stream, (origin, pacer), &limits).await
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    engine: &Arc<Engine>,
    context: &Context,
    stream: S,
    (origin, pacer): (Origin, Pacer),
    limits: &Limits,
) -> Result<(), Error> {
    let outbound = Arc::new(Outbound::default());
    let id = engine.open(&outbound, origin.peer(), config::connection_limits(limits));
    let attached = Attached { engine, id };
    let mut link = Link {
        engine: Arc::clone(engine),
        context: context.clone(),
        stream,
        origin,
        pacer,
        id,
        outbound,
        writing: VecDeque::new(),
        written: 0,
        unread: Unread::Small(Vec::new()),
        login: None,
        revoked: None,
        linger: None,
    };
    let ended = std::future::poll_fn(|cx| link.poll(cx)).await;
    drop(attached);
    match ended {
        Ok(Ended::ByUs) => {
            // Boxed: every connection would carry its buffer for all its life.
            let _ = Box::pin(tokio::time::timeout(linger(context), end(&mut link.stream))).await;
            Ok(())
        }
        Ok(Ended::ByPeer) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A connection that the engine knows of, until it is dropped: also by a panic, or when the drain
/// deadline has passed.
struct Attached<'a> {
    engine: &'a Engine,
    id: ConnectionId,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.engine.lost(self.id);
    }
}

fn linger(context: &Context) -> Duration {
    if context.is_draining() {
        LINGER_DRAINING
    } else {
        LINGER
    }
}

/// Ends our side and reads until the peer ends its own: closing a socket with unread input would
/// reset it, and the peer might lose the packet that says why.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// What was received and is not used yet.
enum Unread {
    /// Less than a packet, or packets behind a login that is not answered.
    Small(Vec<u8>),
    /// A long packet on its way into a buffer of its own, which its payload will be shared from.
    Frame { bytes: BytesMut, length: usize },
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One connection at work.
struct Link<S> {
    engine: Arc<Engine>,
    context: Context,
    stream: S,
    origin: Origin,
    pacer: Pacer,
    id: ConnectionId,
    outbound: Arc<Outbound>,
    writing: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    written: usize,
    unread: Unread,
    login: Option<Waiting<Result<Account, LoginRefusal>>>,
    revoked: Option<Waiting<()>>,
    /// Set when the connection is to end: the time its last bytes may take.
    linger: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Resolves when the connection is to be closed.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Ended>> {
        self.outbound.register(cx.waker());
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(cx).is_ready()
        {
            self.revoked = None;
            self.engine.revoke(self.id);
        }
        loop {
            let login = self.poll_login(cx);
            let read = self.poll_read(cx)?;
            let write = self.poll_write(cx)?;
            match (read, &write) {
                (_, Poll::Ready(Written::Close)) => return Poll::Ready(Ok(Ended::ByUs)),
                (Poll::Ready(Read::End), _) => return Poll::Ready(Ok(Ended::ByPeer)),
                (Poll::Pending, _) if login.is_pending() => break,
                (Poll::Ready(Read::Held), Poll::Pending) => break,
                _ => {}
            }
        }
        match &mut self.linger {
            Some(linger) => linger.as_mut().poll(cx).map(|()| Ok(Ended::ByPeer)),
            None => Poll::Pending,
        }
    }

    fn poll_login(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.login else {
            return Poll::Pending;
        };
        let answer = ready!(waiting.as_mut().poll(cx));
        self.login = None;
        let answer = answer.and_then(|account| {
            self.pacer.pace_for(Some(&account));
            let watched = account.clone();
            let mut revoked: Waiting<()> = Box::pin(async move { watched.revoked().await });
            // Polled once, to be woken from then on.
            if revoked.as_mut().poll(cx).is_ready() {
                return Err(LoginRefusal::NotAuthorized);
            }
            self.revoked = Some(revoked);
            Ok(login::rights(account))
        });
        self.engine.login_answer(self.id, answer);
        if let Unread::Small(unread) = &mut self.unread {
            let bytes = std::mem::take(unread);
            self.received(&bytes, None);
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Read>> {
        if self.login.is_some() {
            return Poll::Pending;
        }
        if self.outbound.meter.unsent() > UNSENT_MAX {
            return Poll::Ready(Ok(Read::Held));
        }
        match &mut self.unread {
            Unread::Small(_) => self.poll_read_small(cx),
            Unread::Frame { bytes, length } => {
                let start = bytes.len();
                bytes.resize((start + READ).min(*length), 0);
                let mut into = ReadBuf::new(&mut bytes[start..]);
                let polled = Pin::new(&mut self.stream).poll_read(cx, &mut into);
                let read = into.filled().len();
                bytes.truncate(start + read);
                ready!(polled)?;
                if read == 0 {
                    return Poll::Ready(Ok(Read::End));
                }
                if bytes.len() == *length {
                    let frame = std::mem::take(bytes).freeze();
                    self.unread = Unread::Small(Vec::new());
                    self.received(&frame, Some(&frame));
                }
                Poll::Ready(Ok(Read::Some))
            }
        }
    }

    fn poll_read_small(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Read>> {
        BUFFER.with_borrow_mut(|buffer| {
            let Unread::Small(unread) = &mut self.unread else {
                return Poll::Ready(Ok(Read::Some));
            };
            let before = unread.len();
            if buffer.len() < before + READ / 2 {
                buffer.resize(before + READ, 0);
            }
            buffer[..before].copy_from_slice(unread);
            let mut into = ReadBuf::new(&mut buffer[before..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
            let read = into.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(Read::End));
            }
            *unread = Vec::new();
            self.received(&buffer[..before + read], None);
            Poll::Ready(Ok(Read::Some))
        })
    }

    /// Hands bytes to the engine and keeps what it leaves.
    fn received(&mut self, bytes: &[u8], owner: Option<&Bytes>) {
        let received = self.engine.receive(self.id, bytes, owner);
        let rest = &bytes[received.consumed..];
        if let Some(request) = received.login {
            self.login = Some(Box::pin(login::login(
                Arc::clone(&self.engine),
                self.context.clone(),
                self.origin.clone(),
                request,
            )));
        }
        self.unread = match FixedHeader::read(rest) {
            // Its header was found good, or the engine would have used it up.
            Ok(Some(header)) if header.frame() > rest.len() && header.frame() > SHARED_PAYLOAD => {
                let mut bytes = BytesMut::with_capacity(header.frame());
                bytes.extend_from_slice(rest);
                Unread::Frame {
                    bytes,
                    length: header.frame(),
                }
            }
            _ => Unread::Small(rest.to_vec()),
        };
    }

    /// Ready when nothing is left to write; pending when the socket or the store lets it wait.
    fn poll_write(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Written>> {
        loop {
            if self.writing.is_empty() {
                let taken = self
                    .outbound
                    .take(self.engine.committed(), &mut self.writing);
                if taken.close && self.linger.is_none() {
                    self.linger = Some(Box::pin(tokio::time::sleep(linger(&self.context))));
                    // Lets go of the account, which may count its connections.
                    self.revoked = None;
                }
                if self.writing.is_empty() {
                    if let Some(gate) = taken.held {
                        if self.engine.wake_on_commit(gate, &self.outbound) {
                            return Poll::Pending;
                        }
                        continue;
                    }
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    return Poll::Ready(Ok(if taken.close {
                        Written::Close
                    } else {
                        Written::All
                    }));
                }
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.writing) {
                *slice = IoSlice::new(piece.as_ref());
                count += 1;
            }
            slices[0].advance(self.written);
            let written =
                ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
            if self.outbound.meter.sent(written) {
                self.engine.drained(self.id);
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.writing.front() {
            let left = first.as_ref().len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.written = 0;
            if let Some(piece) = self.writing.pop_front() {
                self.outbound.recycle(piece);
            }
        }
    }
}

enum Read {
    Some,
    End,
    /// The client has to take its answers first.
    Held,
}

/// Who ended the connection.
enum Ended {
    ByUs,
    ByPeer,
}

enum Written {
    All,
    Close,
}
