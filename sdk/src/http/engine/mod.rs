//! The front on top of hyper, which nothing outside of this folder names.

mod http1;
mod http2;
mod incoming;
mod outgoing;
mod service;

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::timed::Timed;
use super::wire::Wire;
use super::{Handler, Options, Protocol};
use crate::Error;
use crate::handover::Crossing;
use crate::limits::Current;
use crate::live::Live;
use crate::net::Origin;

use service::Service;

/// A client to serve.
pub(super) struct Accepted<S> {
    pub(super) stream: S,
    pub(super) origin: Origin,
    /// Comes before what the stream has.
    pub(super) unread: Bytes,
    /// Its way to another instance, where it could go one.
    pub(super) crossing: Option<Crossing>,
}

pub(super) async fn serve<S, H>(
    options: Live<Options>,
    limits: Current,
    protocol: Protocol,
    drain: CancellationToken,
    client: Accepted<S>,
    handler: Live<H>,
) -> Result<(), Error>
where
    S: Wire,
    H: Handler,
{
    let Accepted {
        stream,
        origin,
        unread,
        crossing,
    } = client;
    let max_header = limits.get().max_header;
    let activity = Arc::new(Activity::new(origin, protocol.multiplexed));
    let stream = Timed::new(
        (stream, unread),
        options.reader(),
        limits,
        Arc::clone(&activity),
    );
    let service = Service::new(&options, Arc::clone(&activity), &handler, protocol.tls);
    if protocol.multiplexed {
        // Boxed: the task of a connection of HTTP/1.1 need not carry its size.
        Box::pin(http2::serve(stream, service, activity, max_header, drain)).await
    } else {
        http1::serve(stream, service, activity, max_header, (drain, crossing)).await
    }
}

/// An error with its causes in one line.
fn tell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
