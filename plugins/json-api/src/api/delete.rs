//! `DELETE` of a document.

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Problem, Request, Response, StatusCode};

use super::conditional::{Preconditions, failed};
use super::target::DocumentName;
use super::{Api, Caller, problem, put, query};
use crate::store::{Condition, Outcome, Write};

/// 204. The collection ends with its last document.
pub async fn delete(
    api: &Api,
    caller: &Caller,
    request: &Request,
    name: &DocumentName,
) -> Result<Response, Problem> {
    caller.require(Action::Delete, &name.to_string())?;
    query::known(request, &[])?;
    let preconditions = Preconditions::read(request)?;
    if api.config.require_match && !preconditions.protect() {
        return Err(put::match_required());
    }
    // That it is missing comes before what else the client expects of it (RFC 9110 section 13.2.1).
    let mut conditions = vec![Condition::Exists];
    conditions.extend(preconditions.conditions());
    let write = Write {
        collection: name.collection.clone(),
        id: name.id.clone(),
        body: None,
        conditions,
    };
    let outcome = api.store().await?.write(write).await;
    match outcome.map_err(|error| problem::of_store(&error, &api.context))? {
        Outcome::Removed => Ok(Response::new(StatusCode::NO_CONTENT)),
        Outcome::Refused { current: None, .. } => Err(problem::no_document()),
        Outcome::Refused { current, .. } => Err(failed(current)),
        Outcome::Stored { .. } => Err(Problem::internal()),
    }
}
