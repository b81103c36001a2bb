//! HTTP/2 (RFC 9113).
//!
//! All requests of a connection are answered by its own task: what ends the task ends them, and one client
//! takes no more than one thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::super::Handler;
use super::super::activity::{Activity, Revocation};
use super::super::exchange::Exchange;
use super::super::timed::Timed;
use super::super::wire::Wire;
use super::incoming::{LINGER, read_out};
use super::service::Service;
use super::tell;
use crate::Error;

/// The most requests of one connection at once; each may hold two pieces of a file in memory.
const MAX_STREAMS: u32 = 100;

pub(super) async fn serve<S, H>(
    stream: Timed<S>,
    service: Service<H>,
    activity: Arc<Activity>,
    max_header: usize,
    drain: CancellationToken,
) -> Result<(), Error>
where
    S: Wire,
    H: Handler,
{
    let begun = Begun {
        activity: Arc::clone(&activity),
        tasks: Arc::default(),
    };
    let left = service.left();
    let mut builder = hyper::server::conn::http2::Builder::new(begun.clone());
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(max_header).unwrap_or(u32::MAX));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut drains = pin!(drain.cancelled_owned());
    let mut tasks = FuturesUnordered::new();
    let mut told = false;
    poll_fn(|cx| {
        if !activity.draining() && drains.as_mut().poll(cx).is_ready() {
            activity.set_draining();
        }
        if activity.draining() && !std::mem::replace(&mut told, true) {
            connection.as_mut().graceful_shutdown();
        }
        let served = connection.as_mut().poll(cx);
        loop {
            tasks.extend(begun.take());
            while let Poll::Ready(Some(())) = tasks.poll_next_unpin(cx) {}
            let unread = std::mem::take(&mut *left.lock().unwrap_or_else(PoisonError::into_inner));
            if unread.is_empty() {
                break;
            }
            tasks.extend(unread.into_iter().map(Task::discard));
        }
        served
    })
    .await
    .map_err(|error| Error::Peer(tell(&error)))
}

/// Requests that have just begun, on their way to the connection's task.
struct Begun {
    activity: Arc<Activity>,
    tasks: Arc<Mutex<Vec<Task>>>,
}

impl Clone for Begun {
    fn clone(&self) -> Self {
        Self {
            activity: Arc::clone(&self.activity),
            tasks: Arc::clone(&self.tasks),
        }
    }
}

impl Begun {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, future: F) {
        let task = Task {
            future: Box::pin(future),
            // The service was called right before.
            exchange: self.activity.begun(),
            revocation: Revocation::default(),
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task);
    }
}

/// One request and its response. Dropping it resets its stream, as the end of its account does.
struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    exchange: Option<Arc<Exchange>>,
    revocation: Revocation,
}

impl Task {
    /// Takes a body that nobody reads, for a while: a reset at once (RFC 9113, 8.1) makes some clients, curl 7.88
    /// among them, throw away the response that tells why.
    fn discard(body: Incoming) -> Self {
        let discarded = async { drop(tokio::time::timeout(LINGER, read_out(body)).await) };
        Self {
            future: Box::pin(discarded),
            exchange: None,
            revocation: Revocation::default(),
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match (this.future.as_mut().poll(cx), &this.exchange) {
            (Poll::Pending, Some(exchange)) => this.revocation.poll(exchange, cx),
            (polled, _) => polled,
        }
    }
}
