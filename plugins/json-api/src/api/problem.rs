//! Errors of the layers below, as HTTP tells them.

use polyport_sdk::Context;
use polyport_sdk::http::{Problem, StatusCode, header};

use crate::json::{PatchError, SyntaxError};
use crate::store::StoreError;

/// The store's trouble: logged where it is the server's, told where the client can do something.
pub fn of_store(error: &StoreError, context: &Context) -> Problem {
    match error {
        StoreError::Full => {
            tracing::error!("{error}");
            Problem::new(StatusCode::INSUFFICIENT_STORAGE).detail(error.to_string())
        }
        StoreError::Elsewhere => Problem::elsewhere(),
        StoreError::Busy | StoreError::Closed => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail(error.to_string())
            .header(header::RETRY_AFTER, "1"),
        StoreError::Damaged(_) => {
            tracing::error!("{error}");
            context.degraded(&error.to_string());
            Problem::internal()
        }
        StoreError::Failed(_) => {
            tracing::error!("{error}");
            Problem::internal()
        }
    }
}

/// 400 with the place in the body.
pub fn of_syntax(error: &SyntaxError) -> Problem {
    Problem::bad_request(error.to_string())
}

/// RFC 5789 section 2.2: malformed, in conflict with the document, or unprocessable.
pub fn of_patch(error: &PatchError) -> Problem {
    let status = match error {
        PatchError::Malformed(_) => StatusCode::BAD_REQUEST,
        PatchError::Conflict(_) => StatusCode::CONFLICT,
        PatchError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        PatchError::TooDeep(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status).detail(error.to_string())
}

/// 404 for a document.
pub fn no_document() -> Problem {
    Problem::not_found().detail("there is no such document")
}
