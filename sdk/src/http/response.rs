//! A response as a handler gives it.

use ::http::header::{HeaderName, IntoHeaderName};
use ::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Body;

/// One response. The front adds `Content-Length`, `Date`, `Server` and the connection's fields.
#[derive(Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A response without fields and body.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    /// Sets a field whose value is known to be fit.
    #[must_use]
    pub fn header(mut self, name: impl IntoHeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Sets a field from text; text that is not fit for a field is left out.
    #[must_use]
    pub fn header_text(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// A body of this `Content-Type`.
    #[must_use]
    pub fn content(self, kind: &'static str, body: impl Into<Body>) -> Self {
        self.header(header::CONTENT_TYPE, kind).body(body)
    }

    /// Sends the client to another place. `location` is percent-encoded.
    #[must_use]
    pub fn redirect(status: StatusCode, location: &str) -> Self {
        Self::new(status).header_text(header::LOCATION, location)
    }
}
