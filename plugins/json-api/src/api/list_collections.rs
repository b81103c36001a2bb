//! `GET /`: the collections.

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};
use serde_json::json;

use super::query::{self, Paging};
use super::{Api, Caller, media_type, page, problem, representation};
use crate::store::Collection;

/// By name, those whose documents the caller may list.
pub async fn list(api: &Api, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    caller.require(Action::List, "/")?;
    query::known(request, &["after", "limit", "pretty"])?;
    let pretty = query::switch(request, "pretty", false)?;
    let paging = Paging::read(request, api.config.page_size, api.config.max_page_size)?;
    let as_page = media_type::prefers_page(request);
    if !as_page {
        media_type::accepts_json(request)?;
    }
    let (collections, more) = visible(api, caller, &paging).await?;
    let next = collections
        .last()
        .filter(|_| more)
        .map(|last| page::next("/", &last.name, paging.limit, true));
    let mut response = Response::new(StatusCode::OK);
    response = if as_page {
        response.content(page::HTML, page::collections(&collections, next.as_deref()))
    } else {
        let body = body(&collections, next.as_deref());
        let body = if pretty {
            representation::pretty(body.as_bytes())?
        } else {
            body.into()
        };
        response.content(media_type::JSON, body)
    };
    if let Some(next) = next {
        response = response.header_text(header::LINK, &format!("<{next}>; rel=\"next\""));
    }
    response = page::guard(response, as_page).header(header::CACHE_CONTROL, "private, no-cache");
    Ok(representation::vary(response, "Accept"))
}

/// A page of collections, and whether there are more. Rights are asked for one by one, so a page
/// may take several reads.
async fn visible(
    api: &Api,
    caller: &Caller,
    paging: &Paging,
) -> Result<(Vec<Collection>, bool), Problem> {
    let mut found: Vec<Collection> = Vec::new();
    let mut after = paging.after.clone();
    loop {
        // One more than asked for tells whether there are more.
        let batch = api
            .store()
            .await?
            .collections(after, paging.limit + 1)
            .await
            .map_err(|error| problem::of_store(&error, &api.context))?;
        let end = batch.len() <= paging.limit;
        after = batch.last().map(|last| last.name.clone());
        for collection in batch {
            if caller.allows(Action::List, &format!("/{}", collection.name)) {
                if found.len() == paging.limit {
                    return Ok((found, true));
                }
                found.push(collection);
            }
        }
        if end {
            return Ok((found, false));
        }
    }
}

fn body(collections: &[Collection], next: Option<&str>) -> String {
    let entries: Vec<_> = collections
        .iter()
        .map(|collection| {
            json!({
                "name": collection.name,
                "documents": collection.documents,
                "revision": collection.revision.0,
                "modified": page::time(collection.revision),
            })
        })
        .collect();
    let mut body = json!({ "collections": entries });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    format!("{body}\n")
}
