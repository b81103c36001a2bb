//! Errors as a client reads them: a page for browsers, problem+json (RFC 9457) for programs.

use std::borrow::Cow;

use ::http::header::{HeaderName, IntoHeaderName};
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::replay::Replay;
use super::request::accept_weight;
use super::{Body, Response};
use crate::files;

/// In what form errors are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorStyle {
    /// A page where the client prefers HTML, otherwise problem+json.
    #[default]
    Negotiated,
    /// Always problem+json.
    Json,
}

/// Why a request was not done. A handler returns it; the front renders it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    /// Boxed, because a `Result` is as large as its larger side.
    headers: Box<HeaderMap>,
    elsewhere: bool,
    replay: Option<Box<Replay>>,
}

impl Problem {
    /// A problem of this status, without detail.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: None,
            headers: Box::default(),
            elsewhere: false,
            replay: None,
        }
    }

    /// 400 with what was expected and what came.
    #[must_use]
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST).detail(detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    /// 405 with the methods that are allowed here.
    #[must_use]
    pub fn method_not_allowed(allow: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED).header_text(header::ALLOW, allow)
    }

    /// 500; the cause belongs in the log, not in the answer.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Says more: lowercase, expected against got.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a field whose value is known to be fit.
    #[must_use]
    pub fn header(mut self, name: impl IntoHeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Adds a field from text; text that is not fit for a field is left out.
    #[must_use]
    pub fn header_text(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds a field beside those of the same name; text that is not fit for a field is left out.
    #[must_use]
    pub fn and_header_text(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// Closes the connection after the answer, for instead of reading a body that nobody wants.
    #[must_use]
    pub fn closing(self) -> Self {
        self.header(header::CONNECTION, "close")
    }

    /// Whether it is [`Problem::elsewhere`].
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub(super) fn marked_elsewhere(self) -> Self {
        Self {
            elsewhere: true,
            ..self
        }
    }

    pub(super) fn replaying(mut self, replay: Replay) -> Self {
        self.replay = Some(Box::new(replay));
        self
    }

    pub(super) fn take_replay(&mut self) -> Option<Box<Replay>> {
        self.replay.take()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The response a client gets who sent this `Accept` field.
    pub(super) fn render(
        self,
        style: ErrorStyle,
        accept: Option<&str>,
        method: &Method,
    ) -> Response {
        let html = style == ErrorStyle::Negotiated && *method != Method::PUT && {
            // Clients that name no type are programs; browsers always name text/html.
            let html = accept_weight(accept, "text/html");
            accept.is_some_and(|accept| accept.contains("text/html"))
                && html > 0
                && html >= accept_weight(accept, "application/problem+json")
        };
        let (kind, body) = if html {
            ("text/html; charset=utf-8", self.page())
        } else {
            ("application/problem+json", self.json())
        };
        let mut response = Response::new(self.status).content(kind, body);
        response.headers.extend(*self.headers);
        if response.status == StatusCode::NOT_MODIFIED {
            response.body = Body::Empty;
        }
        response
    }

    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    fn json(&self) -> String {
        let mut members = serde_json::Map::new();
        members.insert("type".into(), "about:blank".into());
        members.insert("title".into(), self.title().into());
        members.insert("status".into(), self.status.as_u16().into());
        if let Some(detail) = &self.detail {
            members.insert("detail".into(), detail.as_ref().into());
        }
        let mut text = serde_json::Value::Object(members).to_string();
        text.push('\n');
        text
    }

    fn page(&self) -> String {
        let detail = match &self.detail {
            Some(detail) => format!("<p>{}</p>\n", escape_html(detail)),
            None => String::new(),
        };
        let (code, title) = (self.status.as_u16(), self.title());
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{code} {title}</title>\n\
             <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}\
             h1{{font-size:1.5rem}}h1 b{{color:#c33;margin-right:.5rem}}</style>\n</head>\n\
             <body>\n<h1><b>{code}</b>{title}</h1>\n{detail}</body>\n</html>\n"
        )
    }
}

/// Text as HTML text or attribute value.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

impl From<files::Error> for Problem {
    fn from(error: files::Error) -> Self {
        use files::Error as E;
        let status = match &error {
            E::InvalidPath => StatusCode::BAD_REQUEST,
            found if found.is_not_found() => StatusCode::NOT_FOUND,
            E::Denied | E::Forbidden | E::NotRegular => StatusCode::FORBIDDEN,
            E::Exists | E::IsADirectory | E::NotEmpty | E::OtherFolder => StatusCode::CONFLICT,
            E::PastEnd { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            E::NoSpace | E::OverQuota => StatusCode::INSUFFICIENT_STORAGE,
            _ => {
                tracing::error!("file system: {error}");
                return Self::internal();
            }
        };
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            status => Self::new(status).detail(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(style: ErrorStyle, accept: Option<&str>) -> String {
        let response = Problem::not_found().render(style, accept, &Method::GET);
        response.headers[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn browsers_get_a_page_and_programs_json() {
        let browser = Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
        assert_eq!(
            kind(ErrorStyle::Negotiated, browser),
            "text/html; charset=utf-8"
        );
        assert_eq!(
            kind(ErrorStyle::Negotiated, Some("*/*")),
            "application/problem+json"
        );
        assert_eq!(
            kind(ErrorStyle::Negotiated, None),
            "application/problem+json"
        );
        assert_eq!(kind(ErrorStyle::Json, browser), "application/problem+json");
    }

    #[test]
    fn a_problem_is_told_as_rfc_9457_has_it() {
        let problem = Problem::bad_request("expected a number, got \"x\"");
        assert_eq!(
            problem.json(),
            "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
             \"detail\":\"expected a number, got \\\"x\\\"\"}\n"
        );
        assert!(
            Problem::bad_request("<script>")
                .page()
                .contains("<p>&lt;script&gt;</p>")
        );
    }

    #[test]
    fn what_lies_outside_looks_missing() {
        assert_eq!(
            Problem::from(files::Error::Outside).json(),
            Problem::from(files::Error::NotFound).json()
        );
    }
}
