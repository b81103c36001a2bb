//! What both versions of the protocol do with one request.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request};
use futures_util::FutureExt;
use hyper::body::{Body as _, Incoming};

use super::super::activity::Activity;
use super::super::exchange::{Ending, Exchange};
use super::super::{Handler, Options, Problem, Request, RequestBody, Response};
use super::incoming::{Pieces, Unread, read_out};
use super::outgoing::{Outgoing, outgoing};
use crate::live::{Live, Reader};

/// A body that is left unread but no longer than this does not cost the connection: it is read
/// before the answer goes out, if it comes soon.
const SMALL_BODY: u64 = 64 * 1024;

/// How long the rest of a small body may take.
const SMALL_BODY_TIME: Duration = Duration::from_millis(500);

/// Fields that are about one connection; HTTP/2 has none of them (RFC 9113, 8.2.2).
const OF_CONNECTION: [HeaderName; 2] = [header::CONNECTION, header::TRANSFER_ENCODING];

/// Answers the requests of one connection.
pub(super) struct Service<H> {
    moment: Mutex<Moment<H>>,
    activity: Arc<Activity>,
    tls: bool,
    left: Left,
}

/// What an operator may change while the connection is open.
struct Moment<H> {
    options: Reader<Options>,
    handler: Reader<H>,
    /// Made of these options.
    fields: (Arc<Options>, Fields),
}

/// Fields of all responses.
#[derive(Clone)]
struct Fields {
    server: Option<HeaderValue>,
    /// `Strict-Transport-Security` (RFC 6797), which counts over TLS alone.
    hsts: Option<HeaderValue>,
}

impl Fields {
    fn new(options: &Options, tls: bool) -> Self {
        let server = HeaderValue::from_str(&options.server).ok();
        let age = Some(options.hsts_max_age).filter(|age| tls && *age > 0);
        Self {
            server: server.filter(|name| !name.is_empty()),
            hsts: age.and_then(|age| HeaderValue::from_str(&format!("max-age={age}")).ok()),
        }
    }
}

/// Bodies that nobody read, of requests side by side: whoever still sends one gets the answer first.
pub(super) type Left = Arc<Mutex<Vec<Incoming>>>;

impl<H> Service<H> {
    pub(super) fn new(
        options: &Live<Options>,
        activity: Arc<Activity>,
        handler: &Live<H>,
        tls: bool,
    ) -> Self {
        let mut options = options.reader();
        let now = Arc::clone(options.get());
        Self {
            moment: Mutex::new(Moment {
                fields: (Arc::clone(&now), Fields::new(&now, tls)),
                options,
                handler: handler.reader(),
            }),
            activity,
            tls,
            left: Left::default(),
        }
    }

    /// What holds for a request that comes now.
    fn moment(&self) -> (Arc<Options>, Arc<H>, Fields) {
        let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Arc::clone(moment.options.get());
        if !Arc::ptr_eq(&options, &moment.fields.0) {
            moment.fields = (Arc::clone(&options), Fields::new(&options, self.tls));
        }
        let handler = Arc::clone(moment.handler.get());
        (options, handler, moment.fields.1.clone())
    }

    pub(super) fn left(&self) -> Left {
        Arc::clone(&self.left)
    }
}

impl<H: Handler> hyper::service::Service<hyper::Request<Incoming>> for Service<H> {
    type Response = hyper::Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let (mut parts, incoming) = request.into_parts();
        let (options, handler, fields) = self.moment();
        let unfit = unfit(&mut parts);
        let request_line = || format!("{} {} {:?}", parts.method, parts.uri, parts.version);
        let exchange = Arc::new(Exchange::new(
            Arc::clone(&self.activity),
            request_line,
            &parts.headers,
        ));
        self.activity.begin_request(&exchange);
        let mut ending = Ending::new(Arc::clone(&exchange));
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
            let limit = options.body_timeout;
            let pieces = Pieces::new(incoming, Arc::clone(&unread), Arc::clone(&exchange), limit);
            RequestBody::new(Box::pin(pieces), declared, options.max_body_size)
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
        let (activity, left) = (Arc::clone(&self.activity), Arc::clone(&self.left));
        Box::pin(async move {
            let answer = match unfit {
                Some(problem) => Err(problem),
                None if method == Method::OPTIONS && request.uri.path() == "*" => {
                    Ok(options_of(&*handler))
                }
                None => answer(&*handler, request).await,
            };
            let answer = match answer {
                Err(mut problem) => {
                    if let Some(replay) = problem.take_replay()
                        && activity.crosses()
                    {
                        ending.go_elsewhere();
                        activity.set_replay(replay.into_bytes(version));
                        // The engine gives the connection up before it asks again.
                        return std::future::pending().await;
                    }
                    Err(problem)
                }
                answer => answer,
            };
            let mut response = answer.unwrap_or_else(|problem| {
                problem.render(options.errors, accept.as_deref(), &method)
            });
            if let Some(server) = fields.server {
                response.headers.entry(header::SERVER).or_insert(server);
            }
            if let Some(hsts) = fields.hsts {
                response
                    .headers
                    .insert(header::STRICT_TRANSPORT_SECURITY, hsts);
            }
            if activity.is_multiplexed() {
                for field in OF_CONNECTION {
                    response.headers.remove(field);
                }
                let rest = unread.lock().ok().and_then(|mut unread| unread.take());
                if let (Some(rest), Ok(mut left)) = (rest, left.lock()) {
                    left.push(rest);
                }
                return Ok(outgoing(response, &method, version, ending));
            }
            if can_read_rest && declared.is_some_and(|len| len <= SMALL_BODY) {
                let rest = unread.lock().ok().and_then(|mut unread| unread.take());
                if let Some(rest) = rest
                    && let Ok(true) = tokio::time::timeout(SMALL_BODY_TIME, read_out(rest)).await
                {
                    activity.set_body_unread(false);
                }
            }
            if activity.closes() {
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

/// Brings a request of HTTP/2 into the form that one of HTTP/1.1 has; a request that must be refused is a problem.
fn unfit(parts: &mut request::Parts) -> Option<Problem> {
    if parts.version == Version::HTTP_2 {
        return take_authority(parts).err();
    }
    // RFC 9112, 3.2.
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    match hosts {
        1 => None,
        0 if parts.version < Version::HTTP_11 => None,
        found => {
            Some(Problem::bad_request(format!("expected one Host field, got {found}")).closing())
        }
    }
}

/// `:authority` becomes the `Host` field, and the target its path and query (RFC 9113, 8.3.1).
fn take_authority(parts: &mut request::Parts) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next().is_some());
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    match (authority, host) {
        _ if more => return Err(Problem::bad_request("expected one Host field, got several")),
        (None, None) => return Err(Problem::bad_request("expected :authority, got none")),
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            return Err(Problem::bad_request(
                ":authority and Host name different servers",
            ));
        }
        (Some(authority), None) => {
            let host = HeaderValue::from_str(authority);
            let host = host.map_err(|_| Problem::bad_request("expected a host in :authority"))?;
            parts.headers.insert(header::HOST, host);
        }
        (_, Some(_)) => {}
    }
    if let Some(target) = parts.uri.path_and_query() {
        parts.uri = Uri::from(target.clone());
    }
    Ok(())
}
