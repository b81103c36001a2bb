//! The sockets: one task for each connection, accepted here or passed by the instance before.

mod arrival;
mod link;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::ConnectionId;
use polyport_sdk::limits::Limits;
use polyport_sdk::net::Stream;
use polyport_sdk::{Connection, Context, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::engine::{Client, Engine, Standing};
use crate::outbound::Outbound;
use crate::websocket::Door;
use crate::{config, websocket};
use arrival::Arrival;
pub(crate) use arrival::listener_name;
use link::{Beginning, Ended, Link, Transport};

/// How long a closed connection may take to take its last bytes.
const LINGER: Duration = Duration::from_secs(5);
/// The same while the instance drains: the next one waits for the store.
const LINGER_DRAINING: Duration = Duration::from_millis(500);

/// Serves one client. What comes before its packets is boxed, and gone by then: what stays for as long as the
/// connection does is its link.
pub(crate) fn serve(
    engine: Arc<Engine>,
    context: Context,
    door: Arc<Door>,
    connection: Connection,
) -> impl Future<Output = Result<(), Error>> + Send {
    let begins = Box::pin(begin(engine, context, door, connection));
    async move {
        match begins.await? {
            Some(link) => run(link).await,
            None => Ok(()),
        }
    }
}

/// To its end here.
async fn run<S: Transport>(mut link: Link<S>) -> Result<(), Error> {
    let ended = loop {
        match std::future::poll_fn(|cx| link.poll(cx)).await {
            Ok(Ended::Crosses) => match link.cross() {
                Ok(()) => return Ok(()),
                Err(back) => link = *back,
            },
            ended => break ended,
        }
    };
    // Boxed: every connection would carry its buffer for all its life.
    Box::pin(finish(ended, link)).await
}

/// A connection that the engine knows; none if it is over already.
async fn begin(
    engine: Arc<Engine>,
    context: Context,
    door: Arc<Door>,
    connection: Connection,
) -> Result<Option<Link<Stream>>, Error> {
    let limits = connection.limits();
    match &*connection.scheme {
        // One that the instance before had is MQTT without anything around it.
        scheme if connection.inherited.is_some() || matches!(scheme, "tcp" | "unix") => {
            let arrival = Arrival::new(connection)?;
            begin_plain(engine, &context, arrival, &limits).await
        }
        "ws" | "ws+unix" => {
            serve_websocket(engine, &context, &door, connection, limits).await?;
            Ok(None)
        }
        other => Err(Error::Operator(format!(
            "listen scheme: expected tcp, unix or ws, got {other:?}"
        ))),
    }
}

/// A connection without a framing of its own.
async fn begin_plain(
    engine: Arc<Engine>,
    context: &Context,
    mut arrival: Arrival,
    limits: &Limits,
) -> Result<Option<Link<Stream>>, Error> {
    let outbound = Arc::new(Outbound::default());
    let id = loop {
        match engine.standing() {
            Standing::Serving => {}
            Standing::Frozen => engine.moved(Standing::Frozen).await,
            Standing::Retired => match arrival.pass_on() {
                Ok(()) => return Ok(None),
                Err(back) => arrival = *back,
            },
        }
        if let Some(id) = arrival.join(&engine, context, &outbound, limits)? {
            break id;
        }
    };
    let attached = Attached { engine, id };
    Ok(Some(arrival.link(context, (attached, outbound))))
}

async fn serve_websocket(
    engine: Arc<Engine>,
    context: &Context,
    door: &Door,
    connection: Connection,
    limits: Limits,
) -> Result<(), Error> {
    let listener = connection.listener();
    let Connection {
        stream,
        origin,
        crossing,
        ..
    } = connection;
    let accepting = websocket::accept(stream, door, limits.max_packet);
    let accepted = tokio::time::timeout(limits.handshake_timeout, accepting).await;
    let accepted = accepted.map_err(|_| Error::Peer("no WebSocket handshake in time".into()))?;
    let stream = accepted.map_err(|error| Error::Peer(error.to_string()))?;
    let outbound = Arc::new(Outbound::default());
    let limits = config::connection_limits(&limits);
    let name = listener_name(context, listener);
    let mut client = Client {
        peer: origin.peer().into(),
        listener,
        crosses: true,
        core: polyport_sdk::cores::current(),
    };
    let mut crossing = Some(crossing);
    let id = loop {
        if let Some(id) = engine.open(&outbound, client.clone(), &name, limits) {
            break id;
        }
        match engine.standing() {
            Standing::Frozen => engine.moved(Standing::Frozen).await,
            // It has no account that could go along.
            Standing::Retired => {
                client.crosses = false;
                crossing = None;
            }
            Standing::Serving => {}
        }
    };
    let client = (stream, origin);
    let beginning = Beginning::default();
    let engines = (Attached { engine, id }, outbound);
    run(Link::new(context, client, engines, crossing, beginning)).await
}

async fn finish<S: AsyncRead + AsyncWrite + Unpin>(
    ended: io::Result<Ended>,
    link: Link<S>,
) -> Result<(), Error> {
    let Link {
        attached,
        context,
        mut stream,
        ..
    } = link;
    drop(attached);
    match ended {
        Ok(Ended::ByUs) => {
            let linger = linger(&context);
            let _ = tokio::time::timeout(linger, end(&mut stream)).await;
            Ok(())
        }
        Ok(Ended::ByPeer | Ended::Crosses) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A connection that the engine knows of, until it is dropped: also by a panic, or when the drain
/// deadline has passed.
struct Attached {
    engine: Arc<Engine>,
    id: ConnectionId,
}

impl Drop for Attached {
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
