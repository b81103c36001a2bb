//! `Content-Type` and `Accept`: what came, and what may be sent.

use polyport_sdk::http::{Problem, Request, StatusCode, header};

/// Documents.
pub const JSON: &str = "application/json";
/// RFC 7396.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// RFC 6902.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// The patches that are understood, as `Accept-Patch` lists them (RFC 5789 section 3.1).
pub const PATCHES: &str = "application/merge-patch+json, application/json-patch+json";

/// Which of `expected` the body is. 415 for any other, also for none: a browser sends bodies
/// without a type, or of a form's types, from any page without asking.
pub fn content<'e>(request: &Request, expected: &[&'e str]) -> Result<&'e str, Problem> {
    let unsupported = |text| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail(text);
    if let Some(coding) = request.header_list(header::CONTENT_ENCODING)
        && !coding.eq_ignore_ascii_case("identity")
    {
        let text = format!("expected no Content-Encoding, got {coding:?}");
        return Err(unsupported(text).header(header::ACCEPT_ENCODING, "identity"));
    }
    let got = request.header(header::CONTENT_TYPE);
    if let Some(found) = got.and_then(|got| expected.iter().find(|kind| is(got, kind))) {
        return Ok(found);
    }
    let got = got.map_or_else(|| "none".to_owned(), |got| format!("{got:?}"));
    Err(unsupported(format!(
        "expected Content-Type {}, got {got}",
        expected.join(" or ")
    )))
}

/// 406 unless the client takes JSON.
pub fn accepts_json(request: &Request) -> Result<(), Problem> {
    if request.accepts(JSON) > 0 {
        return Ok(());
    }
    let got = request.header_list(header::ACCEPT).unwrap_or_default();
    let text = format!("expected Accept to allow {JSON}, got {got:?}");
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE).detail(text))
}

/// Whether the client would rather have a page: browsers would, programs name no type.
pub fn prefers_page(request: &Request) -> bool {
    let names_html = request
        .header_list(header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/html"));
    names_html && request.accepts("text/html") > request.accepts(JSON)
}

/// Whether a `Content-Type` is this type, in UTF-8 if it names a charset.
fn is(got: &str, kind: &str) -> bool {
    let mut parts = got.split(';').map(str::trim);
    let same = parts
        .next()
        .is_some_and(|found| found.eq_ignore_ascii_case(kind));
    same && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_count_except_another_charset() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"; v=1",
        ] {
            assert!(is(good, JSON), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/json; charset=latin1",
            "application/json-patch+json",
        ] {
            assert!(!is(bad, JSON), "{bad}");
        }
    }
}
