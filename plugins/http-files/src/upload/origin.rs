//! Whether a browser was sent here by another site: it would bring its user's password along.

use polyport_sdk::http::{Problem, Request, StatusCode, header};

/// Refuses requests that a page of another site makes. Programs send neither field.
///
/// # Errors
/// 403.
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    let own = match request.header("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => match request.header(header::ORIGIN) {
            Some(origin) => {
                origin.split_once("://").map(|(_, host)| host) == request.header(header::HOST)
            }
            None => true,
        },
    };
    if own {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN)
            .detail("uploads from pages of other sites are refused"))
    }
}
