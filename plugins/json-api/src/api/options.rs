//! `OPTIONS`: what can be done here; asked by browsers before they do it.

use polyport_sdk::http::{HeaderName, Request, Response, StatusCode, header};

use super::cors::Cors;
use super::media_type;
use super::target::Target;

/// 204 with `Allow`; needs no account, as it tells nothing of what is stored.
pub fn options(request: &Request, target: &Target, cors: &Cors) -> Response {
    let mut response =
        Response::new(StatusCode::NO_CONTENT).header(header::ALLOW, target.methods());
    if matches!(target, Target::Document(_)) {
        response = response.header(ACCEPT_PATCH, media_type::PATCHES);
    }
    cors.preflight(request, response, target.methods())
}

/// RFC 5789 section 3.1.
pub const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
