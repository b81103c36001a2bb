//! A stream that gives up on a client that keeps it waiting for a header, or for taking a
//! response. A body that does not come is told to the handler, hence not here.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Options;
use super::exchange::{Activity, Phase};

/// What is waited for while nothing comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    /// The next request; the number tells which.
    Request(u64),
    /// The same, while the connection drains.
    LastRequest,
    /// The rest of a header; the number tells which.
    Header(u64),
}

/// The stream between a client and the engine.
pub(super) struct Timed<S> {
    stream: S,
    options: Arc<Options>,
    activity: Arc<Activity>,
    awaited: Option<Await>,
    read_deadline: Deadline,
    write_stalls: bool,
    write_deadline: Deadline,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, options: Arc<Options>, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            options,
            activity,
            awaited: None,
            read_deadline: Deadline::default(),
            write_stalls: false,
            write_deadline: Deadline::default(),
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn awaits(&self) -> Option<(Await, Duration)> {
        let number = self.activity.requests();
        match self.activity.phase() {
            // The client is still busy with the last response.
            Phase::Idle if self.write_stalls => None,
            Phase::Idle if self.activity.draining() => {
                Some((Await::LastRequest, self.options.drain_idle))
            }
            Phase::Idle => Some((Await::Request(number), self.options.idle_timeout)),
            Phase::Head => Some((Await::Header(number), self.options.header_timeout)),
            Phase::Busy => None,
        }
    }

    fn note_read(&mut self, bytes: usize) {
        if bytes > 0 && self.activity.phase() == Phase::Idle {
            self.activity.enter(Phase::Head);
        }
    }

    /// Ready once the client kept the stream waiting too long; true where that is no fault.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some((awaited, limit)) = self.awaits() else {
            self.awaited = None;
            return Poll::Pending;
        };
        if self.awaited != Some(awaited) {
            self.awaited = Some(awaited);
            self.read_deadline.set(limit);
        }
        ready!(self.read_deadline.poll(cx));
        Poll::Ready(matches!(awaited, Await::Request(_) | Await::LastRequest))
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.write_stalls = false;
                if let Ok(bytes) = result {
                    self.activity.add_written(bytes);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                if !self.write_stalls {
                    self.write_stalls = true;
                    self.write_deadline.set(self.options.write_timeout);
                }
                ready!(self.write_deadline.poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.note_read(buf.filled().len() - before);
                Poll::Ready(result)
            }
            Poll::Pending if ready!(this.poll_read_deadline(cx)) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
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
