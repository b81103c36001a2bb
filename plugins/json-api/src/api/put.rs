//! `PUT` of a document: makes or replaces it. What `PUT` and `POST` have in common is here too.

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Bytes, Problem, Request, Response, StatusCode};

use super::aside::aside;
use super::conditional::{Preconditions, failed};
use super::target::DocumentName;
use super::{Api, Caller, get, media_type, problem, representation};
use crate::json;
use crate::store::{Condition, Document, Outcome, Write};

/// 201 for a new document, 200 for a replaced one.
pub async fn put(
    api: &Api,
    caller: &Caller,
    request: &mut Request,
    name: &DocumentName,
) -> Result<Response, Problem> {
    let path = name.to_string();
    let (may_create, may_replace) = (
        caller.allows(Action::Create, &path),
        caller.allows(Action::Write, &path),
    );
    if !may_create && !may_replace {
        return Err(caller.refusal());
    }
    media_type::content(request, &[media_type::JSON])?;
    media_type::accepts_json(request)?;
    let variant = get::variant(request)?;
    let preconditions = Preconditions::read(request)?;
    let mut conditions = preconditions.conditions();
    let asked = conditions.len();
    if !may_create {
        conditions.push(Condition::Exists);
    }
    if !may_replace {
        conditions.push(Condition::Absent);
    }
    let unprotected = api.config.require_match && !preconditions.protect();
    if unprotected {
        conditions.push(Condition::Absent);
    }
    let body = document(api, request).await?;
    let write = Write {
        collection: name.collection.clone(),
        id: name.id.clone(),
        body: Some(body.clone()),
        conditions: conditions.clone(),
    };
    let outcome = api.store().await?.write(write).await;
    match outcome.map_err(|error| problem::of_store(&error, &api.context))? {
        Outcome::Stored { revision, created } => {
            let status = if created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            representation::changed(request, status, &Document { revision, body }, variant).await
        }
        Outcome::Refused { condition, current } => {
            Err(match conditions.iter().position(|c| *c == condition) {
                Some(place) if place < asked => failed(current),
                _ if unprotected && may_replace => match_required(),
                _ => caller.refusal(),
            })
        }
        Outcome::Removed => Err(Problem::internal()),
    }
}

/// The request's body, if it may be stored.
pub async fn document(api: &Api, request: &mut Request) -> Result<Bytes, Problem> {
    let body = request.body.read_all().await?;
    let (text, rules) = (body.clone(), api.config.rules());
    aside(body.len(), move || json::validate(&text, rules).map(drop))
        .await?
        .map_err(|error| problem::of_syntax(&error))?;
    Ok(body)
}

/// 428 (RFC 6585 section 3).
pub fn match_required() -> Problem {
    Problem::new(StatusCode::PRECONDITION_REQUIRED)
        .detail("expected If-Match with the ETag of the version that is changed, got none")
}
