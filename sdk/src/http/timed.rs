//! A stream that gives up on a client that keeps it waiting for a header, or for taking a
//! response. A body that does not come is told to the handler, hence not here.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Options;
use super::activity::{Activity, Phase};
use super::wire::Wire;
use crate::handover::Crossing;
use crate::limits::Current;
use crate::live::Reader;

/// What is waited for while nothing comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    /// The next request; the numbers tell which, and for requests side by side whether an answer still goes out.
    Request(u64, u64),
    /// The same, while the connection drains.
    LastRequest,
    /// The rest of a header; the number tells which.
    Header(u64),
    /// That the client takes more of a response; the number is what it has taken of all.
    Window(u64),
}

/// The stream between a client and the engine.
pub(super) struct Timed<S> {
    stream: S,
    /// Comes before what the stream has.
    unread: Bytes,
    options: Reader<Options>,
    limits: Current,
    activity: Arc<Activity>,
    awaited: Option<Await>,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

impl<S> Timed<S> {
    pub(super) fn new(
        (stream, unread): (S, Bytes),
        options: Reader<Options>,
        limits: Current,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            stream,
            unread,
            options,
            limits,
            activity,
            awaited: None,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// As this, before which these bytes come.
    pub(super) fn with_unread(self, unread: Bytes) -> Self {
        let unread = match self.unread.is_empty() {
            true => unread,
            false => [unread, self.unread].concat().into(),
        };
        Self { unread, ..self }
    }

    fn awaits(&self) -> Option<Await> {
        let (activity, side_by_side) = (&self.activity, self.activity.is_multiplexed());
        let number = activity.requests();
        match activity.phase() {
            // The client is still busy with the last response.
            Phase::Idle if activity.stalls() => None,
            Phase::Idle if activity.draining() => Some(Await::LastRequest),
            Phase::Idle if side_by_side => Some(Await::Request(number, activity.written())),
            Phase::Idle => Some(Await::Request(number, 0)),
            Phase::Head => Some(Await::Header(number)),
            Phase::Busy if activity.is_withheld() => Some(Await::Window(activity.written())),
            Phase::Busy => None,
        }
    }

    fn limit(&mut self, awaited: Await) -> Duration {
        match awaited {
            Await::Request(..) => self.limits.get().idle_timeout,
            Await::LastRequest => self.options.get().drain_idle,
            Await::Header(_) => self.limits.get().handshake_timeout,
            Await::Window(_) => self.options.get().write_timeout,
        }
    }

    fn note_read(&mut self, bytes: usize) {
        if bytes > 0 {
            self.activity.note_received();
        }
    }

    /// Ready once the client kept the stream waiting too long; true where that is no fault.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let Some(awaited) = self.awaits() else {
                self.awaited = None;
                return Poll::Pending;
            };
            if self.awaited != Some(awaited) {
                self.awaited = Some(awaited);
                let limit = self.limit(awaited);
                self.read_deadline.set(limit);
            }
            ready!(self.read_deadline.poll(cx));
            match awaited {
                // It is told first that no request is taken any more (RFC 9113, 9.1).
                Await::Request(..) if self.activity.is_multiplexed() => {
                    self.activity.set_draining();
                    cx.waker().wake_by_ref();
                }
                Await::Request(..) | Await::LastRequest => return Poll::Ready(true),
                Await::Header(_) | Await::Window(_) => return Poll::Ready(false),
            }
        }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.activity.set_stalls(false);
                if let Ok(bytes) = result {
                    self.activity.add_written(bytes);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                if !self.activity.stalls() {
                    self.activity.set_stalls(true);
                    let limit = self.options.get().write_timeout;
                    self.write_deadline.set(limit);
                }
                ready!(self.write_deadline.poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: Wire> Timed<S> {
    /// Passes the stream on, with what was read and not used; back if that could not be.
    pub(super) fn pass(self, crossing: Crossing) -> Result<(), Self> {
        let passed = self
            .stream
            .pass(crossing, self.activity.origin(), &self.unread);
        passed.map_err(|stream| Self { stream, ..self })
    }

    /// A request that came in the moment in which the wait for it ended is still answered: closing now would reset
    /// the connection under it.
    fn read_at_last(&self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        match self.stream.receive_now(buf.initialize_unfilled()) {
            Ok(read) => buf.advance(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl<S: Wire> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.activity.is_leaving() {
            // The engine passes it on, or is woken when the client has taken what it is sent.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = if this.unread.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(read) => read,
                Poll::Pending if ready!(this.poll_read_deadline(cx)) => this.read_at_last(buf),
                Poll::Pending => Err(io::ErrorKind::TimedOut.into()),
            }
        } else {
            let piece = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread[..piece]);
            this.unread.advance(piece);
            Ok(())
        };
        this.note_read(buf.filled().len() - before);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A timer made when it is first needed and set again after.
#[derive(Default)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// None where there is nothing to wait for.
    pub(super) fn after(limit: Duration) -> Option<Self> {
        (!limit.is_zero()).then(|| Self(Some(Box::pin(tokio::time::sleep(limit)))))
    }

    pub(super) fn set(&mut self, limit: Duration) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + limit),
            None => self.0 = Some(Box::pin(tokio::time::sleep(limit))),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
