//! The query's parameters.

use polyport_sdk::http::{Problem, Request};

/// Refuses parameters that nobody reads; names that begin with `_` are the client's own.
pub fn known(request: &Request, names: &[&str]) -> Result<(), Problem> {
    match request
        .query()
        .find(|(name, _)| !name.starts_with('_') && !names.contains(&&**name))
    {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("expected a query out of {}, got {name:?}", names.join(", "));
            Err(Problem::bad_request(text))
        }
    }
}

/// A switch: `?pretty`, `?pretty=true`, `?content=false`.
pub fn switch(request: &Request, name: &str, default: bool) -> Result<bool, Problem> {
    match request.query_value(name).as_deref() {
        None => Ok(default),
        Some("" | "true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => {
            let text = format!("expected true or false for {name:?}, got {other:?}");
            Err(Problem::bad_request(text))
        }
    }
}

/// The part of a list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// Only entries behind this name.
    pub after: Option<String>,
    /// Most entries.
    pub limit: usize,
}

impl Paging {
    /// Reads `after` and `limit`.
    pub fn read(request: &Request, default: usize, most: usize) -> Result<Self, Problem> {
        let after = request
            .query_value("after")
            .filter(|after| !after.is_empty());
        let limit = match request.query_value("limit") {
            None => default,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=most).contains(&limit) => limit,
                _ => {
                    let text = format!("expected 1 to {most} for \"limit\", got {text:?}");
                    return Err(Problem::bad_request(text));
                }
            },
        };
        Ok(Self { after, limit })
    }
}
