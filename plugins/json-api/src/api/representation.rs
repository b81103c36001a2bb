//! A document as a response carries it.

use std::time::SystemTime;

use polyport_sdk::http::{Bytes, HeaderValue, Problem, Request, Response, StatusCode, header};

use super::aside::aside;
use super::conditional::{Variant, etag};
use super::media_type;
use crate::json;
use crate::store::{Document, Revision};

/// The bytes of a variant.
pub async fn body(document: &Document, variant: Variant) -> Result<Bytes, Problem> {
    let body = document.body.clone();
    match variant {
        Variant::Stored => Ok(body),
        Variant::Pretty => aside(body.len(), move || pretty(&body)).await?,
    }
}

/// Any stored text, or one put together from stored texts, laid out in lines.
pub fn pretty(body: &[u8]) -> Result<Bytes, Problem> {
    let text = text(body)?;
    match json::pretty(text) {
        Ok(pretty) => Ok(pretty.into()),
        Err(error) => Err(broken(&error)),
    }
}

/// The text of a stored document.
pub fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| broken(&error))
}

/// The fields that tell a document's version.
pub fn version(response: Response, revision: Revision, variant: Variant) -> Response {
    response
        .header_text(header::ETAG, &etag(revision, variant))
        .header_text(header::LAST_MODIFIED, &last_modified(revision))
}

/// The answer to a change: the new document, or nothing where the client prefers that (RFC 7240).
pub async fn changed(
    request: &Request,
    status: StatusCode,
    document: &Document,
    variant: Variant,
) -> Result<Response, Problem> {
    if prefers_minimal(request) {
        let status = if status == StatusCode::CREATED {
            status
        } else {
            StatusCode::NO_CONTENT
        };
        let response = Response::new(status).header(PREFERENCE_APPLIED, "return=minimal");
        return Ok(version(response, document.revision, Variant::Stored));
    }
    let body = body(document, variant).await?;
    Ok(version(
        Response::new(status).content(media_type::JSON, body),
        document.revision,
        variant,
    ))
}

/// Adds to `Vary`.
pub fn vary(response: Response, field: &str) -> Response {
    let all = match response.headers.get(header::VARY).map(HeaderValue::to_str) {
        Some(Ok(before)) => format!("{before}, {field}"),
        _ => field.to_owned(),
    };
    response.header_text(header::VARY, &all)
}

/// In whole seconds, and never later than `Date` (RFC 9110 section 8.8.2.1).
pub fn last_modified(revision: Revision) -> String {
    httpdate::fmt_http_date(revision.time().min(SystemTime::now()))
}

const PREFERENCE_APPLIED: &str = "preference-applied";

fn prefers_minimal(request: &Request) -> bool {
    request.header_list("prefer").is_some_and(|all| {
        all.split(',').any(|preference| {
            let preference = preference.split(';').next().unwrap_or_default();
            preference
                .trim()
                .replace('"', "")
                .eq_ignore_ascii_case("return=minimal")
        })
    })
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!("a stored document is no JSON: {error}");
    Problem::internal()
}
