//! The HTTP front shared by the plugins that speak HTTP: connections in, [`Request`]s to a
//! [`Handler`], [`Response`]s out (RFC 9110, RFC 9112).
//!
//! Owns framing, time limits, size limits, the access log, error pages and the reading of
//! credentials. Knows nothing of what is served. Only `engine` names the HTTP library; the
//! types at this seam are ours, so that plain HTTP/1.1 can get a loop of its own.

mod access_log;
mod body;
mod credentials;
mod engine;
mod exchange;
mod file_body;
mod problem;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod timed;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::net::Origin;
use crate::{Connection, Error};

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use bytes::Bytes;

pub use body::{Body, BodyStream};
pub use credentials::{Caller, Credentials};
pub use file_body::file_stream;
pub use problem::{ErrorStyle, Problem, escape_html};
pub use request::{Request, RequestBody};
pub use response::Response;

/// What a front holds its clients to. `Default` gives the defaults named below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// From a request's first byte to the end of its header (default 10 s).
    pub header_timeout: Duration,
    /// Between two requests on one connection, and before the first (default 60 s).
    pub idle_timeout: Duration,
    /// Without a byte while a request's body is awaited (default 30 s).
    pub body_timeout: Duration,
    /// Without the client taking a byte of the response (default 60 s).
    pub write_timeout: Duration,
    /// How long an idle connection is kept for one more request once it drains (default 2 s).
    pub drain_idle: Duration,
    /// Size of a request's header in bytes, start line included (default 32 KiB). Larger: 431.
    pub max_header_size: usize,
    /// Size of a request's body in bytes, none for no limit (default 1 MiB). Larger: 413.
    pub max_body_size: Option<u64>,
    /// The `Server` field (default `polyport`); empty for none.
    pub server: String,
    /// In what form errors are told.
    pub errors: ErrorStyle,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            drain_idle: Duration::from_secs(2),
            max_header_size: 32 * 1024,
            max_body_size: Some(1024 * 1024),
            server: "polyport".into(),
            errors: ErrorStyle::Negotiated,
        }
    }
}

/// Answers requests. One handler serves all connections of an instance.
pub trait Handler: Send + Sync + 'static {
    /// The methods that are known, for `OPTIONS` and the `Allow` field: `"GET, HEAD, OPTIONS"`.
    fn methods(&self) -> &str;

    /// Answers one request. A `HEAD` request is answered as `GET` would be; the front leaves the
    /// body out. A panic in here becomes a 500 and ends nothing else.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Response, Problem>> + Send;
}

/// Serves HTTP/1.1 and 1.0 on accepted connections.
#[derive(Clone, Debug)]
pub struct Front {
    options: Arc<Options>,
}

impl Front {
    /// A front with these limits.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: Arc::new(options),
        }
    }

    /// Its limits.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Serves one connection to its end. Once it drains, the next response carries
    /// `Connection: close`.
    ///
    /// # Errors
    /// What the client or the network broke; nothing that concerns other connections.
    pub async fn serve<H: Handler>(
        &self,
        connection: Connection,
        handler: Arc<H>,
    ) -> Result<(), Error> {
        let drain = connection.drain_token();
        self.serve_stream(connection.stream, connection.origin, drain, handler)
            .await
    }

    /// Serves one stream to its end; for streams that a listener did not accept.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_stream<S, H>(
        &self,
        stream: S,
        origin: Origin,
        drain: CancellationToken,
        handler: Arc<H>,
    ) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        H: Handler,
    {
        engine::serve(Arc::clone(&self.options), stream, origin, drain, handler).await
    }
}
