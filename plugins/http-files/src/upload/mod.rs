//! Uploads: whole or not at all, by accounts with the right.

mod form;
mod origin;
mod post;
mod put;
mod sink;

use polyport_sdk::accounts::Action;
use polyport_sdk::files::Replace;
use polyport_sdk::http::{Caller, Problem};

pub use post::respond as post;
pub use put::respond as put;

/// What an upload to a name may do there, by the caller's rights.
///
/// # Errors
/// 401 or 403 where it may do nothing; 404 where it may only replace and nothing is there.
fn replacing(caller: &Caller, target: &str, exists: bool) -> Result<Replace, Problem> {
    match (
        caller.allows(Action::Create, target),
        caller.allows(Action::Write, target),
    ) {
        (true, true) => Ok(Replace::Allowed),
        (true, false) if exists => Err(caller.refusal()),
        (true, false) => Ok(Replace::Forbidden),
        (false, true) if exists => Ok(Replace::Allowed),
        (false, _) => Err(caller.refusal()),
    }
}
