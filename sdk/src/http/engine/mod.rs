//! The front on top of hyper, which nothing outside of this folder names.

mod incoming;
mod outgoing;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderValue, Method, StatusCode, Version, header};
use futures_util::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::access_log;
use super::exchange::{Activity, Ending, Exchange, Revocation};
use super::timed::Timed;
use super::{Handler, Options, Problem, Request, RequestBody, Response};
use crate::Error;
use crate::net::Origin;

use incoming::{Pieces, Unread, read_out};
use outgoing::{Outgoing, outgoing};

/// How long a client may go on sending a body that nobody reads. Closing at once would make its
/// kernel throw away the response that tells why (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// A body that is left unread but no longer than this does not cost the connection: it is read
/// before the answer goes out, if it comes soon.
const SMALL_BODY: u64 = 64 * 1024;

/// How long the rest of a small body may take.
const SMALL_BODY_TIME: Duration = Duration::from_millis(500);

pub(super) async fn serve<S, H>(
    options: Arc<Options>,
    stream: S,
    origin: Origin,
    drain: CancellationToken,
    handler: Arc<H>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let peer = origin.peer();
    let activity = Arc::new(Activity::new(origin));
    let stream = Timed::new(stream, Arc::clone(&options), Arc::clone(&activity));
    let server = HeaderValue::from_str(&options.server)
        .ok()
        .filter(|name| !name.is_empty());
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_header_size(options.max_header_size);
    let service = Service {
        options,
        activity: Arc::clone(&activity),
        handler,
        server,
    };
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut drains = pin!(drain.cancelled_owned());
    let mut revocation = Revocation::default();
    let served = poll_fn(|cx| {
        if !activity.draining() && drains.as_mut().poll(cx).is_ready() {
            activity.set_draining();
        }
        match connection.poll_without_shutdown(cx) {
            Poll::Ready(served) => Poll::Ready(Some(served)),
            Poll::Pending => revocation.poll(&activity, cx).map(|()| None),
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
        let _ = tokio::time::timeout(LINGER, discard(&mut stream)).await;
    }
    served.map_err(|error| {
        if error.is_parse() {
            let status = if error.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            access_log::write_unread(peer, status.as_u16());
        }
        Error::Peer(tell(&error))
    })
}

async fn discard(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut nowhere = vec![0; 64 * 1024];
    while stream.read(&mut nowhere).await? > 0 {}
    Ok(())
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

struct Service<H> {
    options: Arc<Options>,
    activity: Arc<Activity>,
    handler: Arc<H>,
    server: Option<HeaderValue>,
}

impl<H: Handler> hyper::service::Service<hyper::Request<Incoming>> for Service<H> {
    type Response = hyper::Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.activity.begin_request();
        let (parts, incoming) = request.into_parts();
        let request_line = || format!("{} {} {:?}", parts.method, parts.uri, parts.version);
        let exchange = Arc::new(Exchange::new(
            Arc::clone(&self.activity),
            request_line,
            &parts.headers,
        ));
        let ending = Ending::new(Arc::clone(&exchange));
        let unfit = unfit(&parts);
        let accept = parts
            .headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let unread = Unread::default();
        // Reading would ask for a body that the client has not sent yet.
        let can_read_rest = !parts.headers.contains_key(header::EXPECT);
        let body = if incoming.is_end_stream() {
            RequestBody::empty()
        } else {
            let declared = incoming.size_hint().exact();
            let limit = self.options.body_timeout;
            let pieces = Pieces::new(
                incoming,
                Arc::clone(&unread),
                Arc::clone(&self.activity),
                limit,
            );
            RequestBody::new(Box::pin(pieces), declared, self.options.max_body_size)
        };
        let (method, version) = (parts.method.clone(), parts.version);
        let declared = body.declared_len();
        let request = Request {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            exchange,
        };
        let (options, handler) = (Arc::clone(&self.options), Arc::clone(&self.handler));
        let (activity, server) = (Arc::clone(&self.activity), self.server.clone());
        Box::pin(async move {
            let answer = match unfit {
                Some(problem) => Err(problem),
                None if method == Method::OPTIONS && request.uri.path() == "*" => {
                    Ok(options_of(&*handler))
                }
                None => answer(&*handler, request).await,
            };
            let mut response = answer.unwrap_or_else(|problem| {
                problem.render(options.errors, accept.as_deref(), &method)
            });
            if let Some(server) = server {
                response.headers.entry(header::SERVER).or_insert(server);
            }
            if can_read_rest && declared.is_some_and(|len| len <= SMALL_BODY) {
                let rest = unread.lock().ok().and_then(|mut unread| unread.take());
                if let Some(rest) = rest
                    && let Ok(true) = tokio::time::timeout(SMALL_BODY_TIME, read_out(rest)).await
                {
                    activity.set_body_unread(false);
                }
            }
            if activity.draining() || activity.body_unread() {
                response
                    .headers
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(outgoing(response, &method, version, ending))
        })
    }
}

async fn answer<H: Handler>(handler: &H, request: Request) -> Result<Response, Problem> {
    let (method, uri) = (request.method.clone(), request.uri.clone());
    AssertUnwindSafe(async { handler.handle(request).await })
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("unknown");
            tracing::error!("panic while answering {method} {:?}: {reason}", uri.path());
            Err(Problem::internal())
        })
}

fn options_of<H: Handler>(handler: &H) -> Response {
    Response::new(StatusCode::NO_CONTENT).header_text(header::ALLOW, handler.methods())
}

/// A request that RFC 9112, 3.2 wants refused.
fn unfit(parts: &::http::request::Parts) -> Option<Problem> {
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    match hosts {
        1 => None,
        0 if parts.version < Version::HTTP_11 => None,
        found => {
            Some(Problem::bad_request(format!("expected one Host field, got {found}")).closing())
        }
    }
}
