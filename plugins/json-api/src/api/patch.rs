//! `PATCH` of a document (RFC 5789): merge patch or JSON Patch.
//!
//! The patch is worked out beside the store and stored on condition that the document is still in
//! the version it was worked out from; if not, it is worked out anew.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use polyport_sdk::accounts::Action;
use polyport_sdk::http::{Bytes, Problem, Request, Response, StatusCode};
use tokio::sync::{Mutex, MutexGuard};

use super::aside::aside;
use super::conditional::{Preconditions, failed};
use super::options::ACCEPT_PATCH;
use super::target::DocumentName;
use super::{Api, Caller, get, media_type, problem, put, representation};
use crate::json::{self, DuplicateKeys, PatchLimits, Rules};
use crate::store::{Condition, Document, Outcome, Write};

/// How often a patch is worked out anew while others change the document.
const ATTEMPTS: usize = 16;

/// Two levels of a JSON Patch, the list and the operation, are not the document's.
const PATCH_LEVELS: usize = 2;

/// Patches to one document take turns, so that they do not wear each other's attempts out.
pub struct Turns([Mutex<()>; 64]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl Turns {
    async fn of(&self, name: &DocumentName) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (&name.collection, &name.id).hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % 64).unwrap_or_default();
        self.0[place].lock().await
    }
}

/// 200 with the patched document. One that the patch leaves as it was keeps its version.
pub async fn patch(
    api: &Api,
    caller: &Caller,
    request: &mut Request,
    name: &DocumentName,
) -> Result<Response, Problem> {
    let path = name.to_string();
    // A patch that may test for values, and an answer that shows them, read.
    caller.require(Action::Write, &path)?;
    caller.require(Action::Read, &path)?;
    let kind = media_type::content(request, &[media_type::MERGE_PATCH, media_type::JSON_PATCH])
        .map_err(|problem| problem.header_text(ACCEPT_PATCH, media_type::PATCHES))?;
    media_type::accepts_json(request)?;
    let variant = get::variant(request)?;
    let preconditions = Preconditions::read(request)?;
    if api.config.require_match && !preconditions.protect() {
        return Err(put::match_required());
    }
    let patch = Patch::read(api, request, kind).await?;
    let _turn = api.turns.of(name).await;
    for _ in 0..ATTEMPTS {
        let document = api
            .store()
            .await?
            .get(&name.collection, &name.id)
            .map_err(|error| problem::of_store(&error, &api.context))?
            .ok_or_else(problem::no_document)?;
        let current = Some(document.revision);
        if !preconditions
            .conditions()
            .iter()
            .all(|condition| condition.holds(current))
        {
            return Err(failed(current));
        }
        let body = patch.apply(&document.body).await?;
        if body == document.body {
            return representation::changed(request, StatusCode::OK, &document, variant).await;
        }
        let write = Write {
            collection: name.collection.clone(),
            id: name.id.clone(),
            body: Some(body.clone()),
            conditions: vec![Condition::IsOneOf(vec![document.revision])],
        };
        let outcome = api.store().await?.write(write).await;
        match outcome.map_err(|error| problem::of_store(&error, &api.context))? {
            Outcome::Stored { revision, .. } => {
                let document = Document { revision, body };
                return representation::changed(request, StatusCode::OK, &document, variant).await;
            }
            Outcome::Refused { .. } | Outcome::Removed => {}
        }
    }
    Err(Problem::new(StatusCode::CONFLICT).detail(format!(
        "the document changed {ATTEMPTS} times while it was being patched"
    )))
}

/// A patch that is well-formed JSON.
#[derive(Clone)]
struct Patch {
    body: Bytes,
    merges: bool,
    limits: PatchLimits,
}

impl Patch {
    async fn read(api: &Api, request: &mut Request, kind: &str) -> Result<Self, Problem> {
        let body = request.body.read_all().await?;
        let merges = kind == media_type::MERGE_PATCH;
        let mut rules = api.config.rules();
        if !merges {
            rules.max_depth += PATCH_LEVELS;
        }
        let text = body.clone();
        aside(body.len(), move || json::validate(&text, rules).map(drop))
            .await?
            .map_err(|error| problem::of_syntax(&error))?;
        Ok(Self {
            body,
            merges,
            limits: api.config.patch_limits(),
        })
    }

    async fn apply(&self, document: &Bytes) -> Result<Bytes, Problem> {
        let (patch, document) = (self.clone(), document.clone());
        aside(self.body.len() + document.len(), move || {
            patch.apply_to(&document)
        })
        .await?
    }

    fn apply_to(&self, document: &[u8]) -> Result<Bytes, Problem> {
        let (document, patch) = (
            representation::text(document)?,
            representation::text(&self.body)?,
        );
        let patched = if self.merges {
            json::merge_patch(document, patch)
        } else {
            json::json_patch(document, patch, self.limits)
                .map_err(|error| problem::of_patch(&error))?
        };
        let most = self.limits.max_bytes;
        if patched.len() > most {
            let text = format!(
                "expected a document of at most {most} bytes, got {}",
                patched.len()
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE).detail(text));
        }
        // Keys that stand twice were in the document before: the patch itself kept the rule.
        let rules = Rules {
            max_depth: self.limits.max_depth,
            duplicate_keys: DuplicateKeys::Keep,
        };
        json::validate(patched.as_bytes(), rules).map_err(|error| {
            let text = format!("the patched document, {error}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail(text)
        })?;
        Ok(patched.into())
    }
}
