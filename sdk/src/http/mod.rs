//! The HTTP front shared by the plugins that speak HTTP: connections in, [`Request`]s to a
//! [`Handler`], [`Response`]s out (RFC 9110, RFC 9112, RFC 9113).
//!
//! Owns framing, time limits, size limits, the access log, error pages and the reading of
//! credentials. Knows nothing of what is served. Only `engine` names the HTTP library; the
//! types at this seam are ours, so that plain HTTP/1.1 can get a loop of its own.

mod access_log;
mod activity;
mod body;
mod busy;
mod caller;
mod credentials;
mod engine;
mod exchange;
mod file_body;
mod problem;
mod replay;
mod request;
mod response;
mod settings;
#[cfg(test)]
mod tests;
mod timed;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::handover::Handover;
use crate::limits::Known;
use crate::live::Live;
use crate::{Connection, Error};

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use bytes::Bytes;

pub use body::{Body, BodyStream};
pub use busy::busy;
pub use caller::Caller;
pub use credentials::Credentials;
use engine::Accepted;
pub use file_body::file_stream;
pub use problem::{ErrorStyle, Problem, escape_html};
pub use request::{Request, RequestBody};
pub use response::Response;
pub use settings::Settings;

/// What a front holds its clients to beside the service's limits. `Default` gives the defaults named below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Without a byte while a request's body is awaited (default 30 s).
    pub body_timeout: Duration,
    /// Without the client taking a byte of the response (default 60 s).
    pub write_timeout: Duration,
    /// How long an idle connection is kept for one more request once it drains (default 2 s).
    pub drain_idle: Duration,
    /// Size of a request's body in bytes, none for no limit (default 1 MiB). Larger: 413.
    pub max_body_size: Option<u64>,
    /// Seconds for which browsers are told to use `https` alone, over TLS; 0 (default): they are told nothing.
    pub hsts_max_age: u64,
    /// The `Server` field (default `polyport`); empty for none.
    pub server: String,
    /// In what form errors are told.
    pub errors: ErrorStyle,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            drain_idle: Duration::from_secs(2),
            max_body_size: Some(1024 * 1024),
            hsts_max_age: 0,
            server: "polyport".into(),
            errors: ErrorStyle::Negotiated,
        }
    }
}

/// What plugins that serve with a [`Front`] agree on over TLS: [`Plugin::ALPN`](crate::Plugin::ALPN).
pub const ALPN: &[&str] = &["h2", "http/1.1"];

/// What a [`Front`] sees to of the limits: [`Plugin::LIMITS`](crate::Plugin::LIMITS). `handshake_timeout` holds
/// for a request's header, too, from its first byte to its end.
pub const LIMITS: Known = Known::new()
    .idle_timeout(Duration::from_secs(60))
    .max_header(32 * 1024, 1024..=1024 * 1024);

/// What a plugin that serves with a [`Front`] hands over: [`Plugin::HANDOVER`](crate::Plugin::HANDOVER).
///
/// A connection of HTTP/1 without TLS passes itself on between two requests, with all that came of the next one.
/// There is no other state: time limits begin anew, and who a request is from is asked with the next one.
pub const HANDOVER: Handover = Handover {
    version: 1,
    oldest: 1,
    estate: false,
};

/// What was agreed on before the first request.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// HTTP/2.
    multiplexed: bool,
    tls: bool,
}

/// Answers requests. One handler serves all connections of an instance, until another takes its place.
pub trait Handler: Send + Sync + 'static {
    /// The methods that are known, for `OPTIONS` and the `Allow` field: `"GET, HEAD, OPTIONS"`.
    fn methods(&self) -> &str;

    /// Answers one request. A `HEAD` request is answered as `GET` would be; the front leaves the
    /// body out. A panic in here becomes a 500 and ends nothing else.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Response, Problem>> + Send;
}

/// Serves HTTP/1.1 and 1.0 on accepted connections, and HTTP/2 on those that agreed on it ([`ALPN`]).
#[derive(Clone, Debug)]
pub struct Front {
    options: Live<Options>,
}

impl Front {
    /// A front with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: Live::new(options),
        }
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        self.options.get()
    }

    /// Other options, for requests that come from now on.
    pub fn set_options(&self, options: Options) {
        self.options.set(options);
    }

    /// Serves one connection to its end; each request is answered by the handler of that moment. Once it drains,
    /// it goes on with the instance that takes this one's place ([`HANDOVER`]); where that cannot be, the next
    /// response carries `Connection: close`, or the client is sent `GOAWAY`.
    ///
    /// # Errors
    /// What the client or the network broke; nothing that concerns other connections.
    pub async fn serve<H: Handler>(
        &self,
        connection: Connection,
        handler: &Live<H>,
    ) -> Result<(), Error> {
        let protocol = Protocol {
            multiplexed: connection.stream.alpn() == Some(b"h2"),
            tls: connection.stream.is_tls(),
        };
        let (limits, drain) = (connection.current_limits(), connection.drain_token());
        let unread = connection.inherited.map(|inherited| inherited.unread);
        let client = Accepted {
            stream: connection.stream,
            origin: connection.origin,
            unread: unread.unwrap_or_default().into(),
            crossing: (!protocol.tls).then_some(connection.crossing),
        };
        engine::serve(
            self.options.clone(),
            limits,
            protocol,
            drain,
            client,
            handler.clone(),
        )
        .await
    }
}
