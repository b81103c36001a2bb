//! `GET` of a collection: its documents by id.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{HeaderName, Problem, Request, Response, StatusCode, header};

use super::aside::aside;
use super::conditional::{Preconditions, Selected, list_etag};
use super::query::{self, Paging};
use super::target::CollectionName;
use super::{Api, Caller, media_type, page, problem, representation};
use crate::json::encode;
use crate::store::{Listing, Range};

/// How many documents the collection holds; the name that clients of such lists know.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Ids, revisions and, as far as the caller may read them, the documents themselves.
pub async fn list(
    api: &Api,
    caller: &Caller,
    request: &Request,
    name: &CollectionName,
) -> Result<Response, Problem> {
    let path = name.to_string();
    caller.require(Action::List, &path)?;
    query::known(request, &["after", "limit", "content", "pretty"])?;
    let pretty = query::switch(request, "pretty", false)?;
    let content = query::switch(request, "content", true)?;
    let paging = Paging::read(request, api.config.page_size, api.config.max_page_size)?;
    let as_page = media_type::prefers_page(request);
    if !as_page {
        media_type::accepts_json(request)?;
    }
    let preconditions = Preconditions::read(request)?;
    let range = Range {
        after: paging.after,
        limit: paging.limit,
        bodies: content && !as_page,
        max_bytes: api.config.max_page_bytes,
    };
    let with_bodies = range.bodies;
    let listing = api
        .store()
        .await?
        .list(name.0.clone(), range, visible(caller, &path))
        .await
        .map_err(|error| problem::of_store(&error, &api.context))?
        .ok_or_else(|| {
            Problem::not_found()
                .detail("there is no such collection: it begins with its first document")
        })?;
    let next = listing
        .entries
        .last()
        .filter(|_| listing.more)
        .map(|(id, _)| page::next(&path, id, paging.limit, content));

    let may_read = |id: &str| with_bodies && caller.allows(Action::Read, &format!("{path}/{id}"));
    let readable: Vec<bool> = listing.entries.iter().map(|(id, _)| may_read(id)).collect();
    let etag = list_etag(listing.revision, view(&listing, with_bodies, &readable));
    let mut response = Response::new(StatusCode::OK);
    match preconditions.select(&etag, listing.revision) {
        Selected::Failed => {
            return Err(
                Problem::new(StatusCode::PRECONDITION_FAILED).detail(format!(
                    "the collection is in another version than expected: its ETag is {etag}"
                )),
            );
        }
        Selected::NotModified => response.status = StatusCode::NOT_MODIFIED,
        Selected::Send if as_page => {
            response =
                response.content(page::HTML, page::documents(name, &listing, next.as_deref()));
        }
        Selected::Send => {
            let body = body(name, &listing, next.as_deref(), &readable);
            let body = if pretty {
                aside(body.len(), move || representation::pretty(&body)).await??
            } else {
                body.into()
            };
            response = response.content(media_type::JSON, body);
        }
    }
    response = page::guard(response, as_page)
        .header_text(header::ETAG, &etag)
        .header_text(
            header::LAST_MODIFIED,
            &representation::last_modified(listing.revision),
        )
        .header_text(TOTAL_COUNT, &listing.total.to_string())
        .header(header::CACHE_CONTROL, "private, no-cache");
    if let Some(next) = next {
        response = response.header_text(header::LINK, &format!("<{next}>; rel=\"next\""));
    }
    Ok(representation::vary(response, "Accept"))
}

/// Which ids the caller gets to know of: those that it may read, or list as part of a rule's own.
fn visible(caller: &Caller, path: &str) -> impl Fn(&str) -> bool + Send + 'static {
    let (caller, path) = (caller.clone(), path.to_owned());
    move |id| {
        let target = format!("{path}/{id}");
        caller.allows(Action::List, &target) || caller.allows(Action::Read, &target)
    }
}

/// What tells a view of the list from another one of the same revision: none for one of everything.
fn view(listing: &Listing, with_bodies: bool, readable: &[bool]) -> Option<u64> {
    let whole = !listing.partial && (!with_bodies || readable.iter().all(|readable| *readable));
    (!whole).then(|| {
        let mut hasher = DefaultHasher::new();
        for ((id, _), readable) in listing.entries.iter().zip(readable) {
            (id, readable).hash(&mut hasher);
        }
        hasher.finish()
    })
}

/// The list as JSON, the documents in it byte for byte.
fn body(
    name: &CollectionName,
    listing: &Listing,
    next: Option<&str>,
    readable: &[bool],
) -> Vec<u8> {
    let mut out = format!(
        "{{\"collection\":{},\"total\":{},\"documents\":[",
        encode(&name.0),
        listing.total
    )
    .into_bytes();
    let entries = listing.entries.iter().zip(readable).enumerate();
    for (index, ((id, document), readable)) in entries {
        let comma = if index > 0 { "," } else { "" };
        let (time, revision) = (page::time(document.revision), document.revision.0);
        let entry = format!(
            "{comma}\n{{\"id\":{},\"revision\":{revision},\"modified\":\"{time}\"",
            encode(id)
        );
        out.extend_from_slice(entry.as_bytes());
        if *readable {
            out.extend_from_slice(b",\"document\":");
            out.extend_from_slice(&document.body);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"\n]");
    if let Some(next) = next {
        out.extend_from_slice(format!(",\"next\":{}", encode(next)).as_bytes());
    }
    out.extend_from_slice(b"}\n");
    out
}
