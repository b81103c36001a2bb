//! Scripts of other origins (the Fetch standard's CORS protocol), where the settings name them.
//!
//! Credentials mode is never allowed: such scripts send `Authorization` themselves.

use polyport_sdk::http::{HeaderName, Request, Response, header};

/// What one request's origin is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Cors {
    /// The value of `Access-Control-Allow-Origin`.
    allowed: Option<String>,
    /// Whether the answer depends on the origin.
    varies: bool,
}

/// What scripts may read beside the body.
const EXPOSED: &str = "ETag, Last-Modified, Link, Location, X-Total-Count, Accept-Patch, Allow";
/// What scripts may send.
const SENT: &str = "Authorization, Content-Type, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Prefer";
/// How long a browser may remember an answer to a preflight, in seconds.
const REMEMBERED: &str = "600";

impl Cors {
    /// Looks the request's origin up in the settings.
    pub fn new(request: &Request, origins: &[String]) -> Self {
        Self::of(request.header(header::ORIGIN), origins)
    }

    fn of(origin: Option<&str>, origins: &[String]) -> Self {
        if origins.iter().any(|known| known == "*") {
            return Self {
                allowed: origin.map(|_| "*".to_owned()),
                varies: false,
            };
        }
        let allowed = origin.filter(|origin| origins.iter().any(|known| known == origin));
        Self {
            allowed: allowed.map(str::to_owned),
            varies: !origins.is_empty(),
        }
    }

    /// The fields of every response.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, String)> {
        let vary = self.varies.then(|| (header::VARY, "Origin".to_owned()));
        let allowed = self.allowed.iter().flat_map(|allowed| {
            [
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone()),
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED.to_owned()),
            ]
        });
        vary.into_iter().chain(allowed)
    }

    /// The further fields of the answer to a preflight, if this is one from a known origin.
    pub fn preflight(
        &self,
        request: &Request,
        response: Response,
        methods: &'static str,
    ) -> Response {
        if self.allowed.is_none()
            || request
                .header(header::ACCESS_CONTROL_REQUEST_METHOD)
                .is_none()
        {
            return response;
        }
        response
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT)
            .header(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_origins_are_allowed() {
        let origins = ["https://a.example".to_owned()];
        let allowed = |origin, origins: &[String]| Cors::of(origin, origins).allowed;
        assert_eq!(
            allowed(Some("https://a.example"), &origins).as_deref(),
            Some("https://a.example")
        );
        assert_eq!(allowed(Some("https://a.example.evil"), &origins), None);
        assert_eq!(allowed(None, &origins), None);
        assert_eq!(allowed(Some("https://a.example"), &[]), None);
        assert_eq!(
            allowed(Some("null"), &["*".to_owned()]).as_deref(),
            Some("*")
        );
        let names: Vec<_> = Cors::of(Some("https://b.example"), &origins)
            .fields()
            .collect();
        assert_eq!(names, [(header::VARY, "Origin".to_owned())]);
    }
}
