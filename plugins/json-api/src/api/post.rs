//! `POST` to a collection: a new document under an id of the server's.

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};

use super::target::{CollectionName, DocumentName};
use super::{Api, Caller, get, media_type, problem, put, representation, uuid};
use crate::store::{Condition, Document, Outcome, Write};

/// 201 with `Location`.
pub async fn post(
    api: &Api,
    caller: &Caller,
    request: &mut Request,
    collection: &CollectionName,
) -> Result<Response, Problem> {
    let name = DocumentName {
        collection: collection.0.clone(),
        id: uuid::new(),
    };
    caller.require(Action::Create, &name.to_string())?;
    media_type::content(request, &[media_type::JSON])?;
    media_type::accepts_json(request)?;
    let variant = get::variant(request)?;
    let body = put::document(api, request).await?;
    let write = Write {
        collection: name.collection.clone(),
        id: name.id.clone(),
        body: Some(body.clone()),
        conditions: vec![Condition::Absent],
    };
    let outcome = api.store().await?.write(write).await;
    match outcome.map_err(|error| problem::of_store(&error, &api.context))? {
        Outcome::Stored { revision, .. } => {
            let document = Document { revision, body };
            let response =
                representation::changed(request, StatusCode::CREATED, &document, variant).await?;
            Ok(response.header_text(header::LOCATION, &name.to_string()))
        }
        // An id that was never given out before exists: only a clock and randomness that both fail.
        Outcome::Refused { .. } | Outcome::Removed => Err(Problem::new(StatusCode::CONFLICT)
            .detail("the new id is taken; send the request again")),
    }
}
