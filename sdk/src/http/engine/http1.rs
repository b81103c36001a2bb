//! HTTP/1.1 and 1.0 (RFC 9112).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use ::http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::super::Handler;
use super::super::access_log;
use super::super::activity::{Activity, Phase, Revocation};
use super::super::timed::Timed;
use super::incoming::LINGER;
use super::service::Service;
use super::tell;
use crate::Error;

pub(super) async fn serve<S, H>(
    stream: Timed<S>,
    service: Service<H>,
    activity: Arc<Activity>,
    max_header: usize,
    drain: CancellationToken,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(max_header);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut drains = pin!(drain.cancelled_owned());
    let mut revocation = Revocation::default();
    let served = poll_fn(|cx| {
        if !activity.draining() && drains.as_mut().poll(cx).is_ready() {
            activity.set_draining();
        }
        match connection.poll_without_shutdown(cx) {
            Poll::Ready(served) => Poll::Ready(Some(served)),
            Poll::Pending if activity.phase() == Phase::Busy => match activity.begun() {
                Some(exchange) => revocation.poll(&exchange, cx).map(|()| None),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let Some(served) = served else {
        // Neither the rest of the answer goes out, nor is a body kept that is still coming.
        return Err(Error::Peer("its account was changed or removed".into()));
    };
    let mut stream = connection.into_parts().io.into_inner().into_inner();
    // A client that is gone already needs no farewell.
    let closed = stream.shutdown().await;
    if closed.is_ok() && activity.body_unread() {
        // Closing at once would make its kernel throw away the response that tells why (RFC 9112, 9.6).
        let _ = tokio::time::timeout(LINGER, discard(&mut stream)).await;
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
