//! A listing for programs.

use serde::Serialize;

use super::Listing;

#[derive(Serialize)]
struct Document<'a> {
    path: String,
    entries: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Bytes; of files only.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// RFC 3339, UTC.
    modified: String,
}

pub(super) fn document(listing: &Listing) -> String {
    let entries = listing.rows.iter().map(|row| {
        let at = row.modified;
        Item {
            name: &row.name,
            kind: if row.is_dir { "directory" } else { "file" },
            size: (!row.is_dir).then_some(row.size),
            modified: format!("{}T{}Z", at.date(), clock(at)),
        }
    });
    let document = Document {
        path: listing.shown_path(),
        entries: entries.collect(),
    };
    // Strings and numbers always have a JSON form.
    let mut text = serde_json::to_string(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn clock(at: time::OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}
