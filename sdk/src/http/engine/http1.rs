//! HTTP/1.1 and 1.0 (RFC 9112).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::super::Handler;
use super::super::access_log;
use super::super::activity::{Activity, Phase, Revocation};
use super::super::timed::Timed;
use super::super::wire::Wire;
use super::incoming::LINGER;
use super::service::Service;
use super::tell;
use crate::Error;
use crate::handover::Crossing;

/// How long a client that is not served any more may go on sending before it has seen that.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Why an engine's turn ended.
enum End {
    /// The connection is over.
    Served(hyper::Result<()>),
    /// The account behind the request was changed or removed.
    Revoked,
    /// It is between two requests, or before one that is to be answered there, and can go over to another instance.
    Crosses,
}

pub(super) async fn serve<S, H>(
    mut stream: Timed<S>,
    mut service: Service<H>,
    activity: Arc<Activity>,
    max_header: usize,
    (drain, mut crossing): (CancellationToken, Option<Crossing>),
) -> Result<(), Error>
where
    S: Wire,
    H: Handler,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(max_header);
    let mut drains = pin!(drain.cancelled_owned());
    let (served, mut stream) = loop {
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut revocation = Revocation::default();
        let end = poll_fn(|cx| {
            if !activity.draining() && drains.as_mut().poll(cx).is_ready() {
                activity.set_draining();
            }
            if activity.draining() {
                activity.set_crosses(crossing.as_ref().is_some_and(Crossing::leads_on));
            }
            match connection.poll_without_shutdown(cx) {
                Poll::Ready(served) => Poll::Ready(End::Served(served)),
                Poll::Pending if activity.has_replay() && !activity.stalls() => {
                    Poll::Ready(End::Crosses)
                }
                Poll::Pending if activity.phase() == Phase::Busy => match activity.begun() {
                    Some(exchange) => revocation.poll(&exchange, cx).map(|()| End::Revoked),
                    None => Poll::Pending,
                },
                // With every byte of the last response on its way.
                Poll::Pending if activity.is_leaving() && !activity.stalls() => {
                    Poll::Ready(End::Crosses)
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        let parts = match end {
            End::Served(served) => {
                break (served, connection.into_parts().io.into_inner().into_inner());
            }
            // Neither the rest of the answer goes out, nor is a body kept that is still coming.
            End::Revoked => {
                return Err(Error::Peer("its account was changed or removed".into()));
            }
            End::Crosses => connection.into_parts(),
        };
        let unread = match activity.take_replay() {
            Some(request) => [&request, &parts.read_buf[..]].concat().into(),
            None => parts.read_buf,
        };
        stream = parts.io.into_inner().with_unread(unread);
        service = parts.service;
        if let Some(crossing) = crossing.take() {
            stream = match stream.pass(crossing) {
                Ok(()) => return Ok(()),
                Err(stream) => stream,
            };
        }
    };
    // A client that is gone already needs no farewell.
    let closed = stream.shutdown().await;
    let linger = match (activity.body_unread(), activity.draining()) {
        (true, _) => Some(LINGER),
        (false, true) => Some(LAST_REQUEST),
        (false, false) => None,
    };
    if let (Ok(()), Some(linger)) = (closed, linger) {
        // Closing at once would make its kernel throw away the response that tells why (RFC 9112, 9.6).
        let _ = tokio::time::timeout(linger, discard(&mut stream)).await;
    }
    served.map_err(|error| {
        if error.is_parse() {
            let status = if error.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            access_log::write_unread(activity.origin().peer(), status.as_u16());
        }
        Error::Peer(tell(&error))
    })
}

async fn discard(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut nowhere = vec![0; 64 * 1024];
    while stream.read(&mut nowhere).await? > 0 {}
    Ok(())
}
