//! `GET` and `HEAD` of a document.

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};

use super::conditional::{Preconditions, Selected, Variant, etag, failed};
use super::target::DocumentName;
use super::{Api, Caller, media_type, problem, query, representation};

/// The document as stored, or laid out by `?pretty`.
pub async fn get(
    api: &Api,
    caller: &Caller,
    request: &Request,
    name: &DocumentName,
) -> Result<Response, Problem> {
    caller.require(Action::Read, &name.to_string())?;
    media_type::accepts_json(request)?;
    let variant = variant(request)?;
    let preconditions = Preconditions::read(request)?;
    let document = api
        .store()
        .await?
        .get(&name.collection, &name.id)
        .map_err(|error| problem::of_store(&error, &api.context))?
        .ok_or_else(problem::no_document)?;
    let revision = document.revision;
    let response = match preconditions.select(&etag(revision, variant), revision) {
        Selected::Failed => return Err(failed(Some(revision))),
        Selected::NotModified => Response::new(StatusCode::NOT_MODIFIED),
        Selected::Send => {
            let body = representation::body(&document, variant).await?;
            Response::new(StatusCode::OK).content(media_type::JSON, body)
        }
    };
    // Kept by the client only, and asked for again before each use.
    let response = response.header(header::CACHE_CONTROL, "private, no-cache");
    Ok(representation::version(response, revision, variant))
}

/// Which layout the query asks for.
pub fn variant(request: &Request) -> Result<Variant, Problem> {
    query::known(request, &["pretty"])?;
    let pretty = query::switch(request, "pretty", false)?;
    Ok(if pretty {
        Variant::Pretty
    } else {
        Variant::Stored
    })
}
