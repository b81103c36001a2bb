//! `ETag` and `Last-Modified` of a file (RFC 9110, 8.8).

use std::time::{SystemTime, UNIX_EPOCH};

use polyport_sdk::files::Metadata;
use polyport_sdk::http::{Response, header};

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// With its quotes.
    pub etag: String,
    /// Seconds since 1970: HTTP dates have no fractions.
    pub modified: u64,
}

impl Validators {
    /// A strong tag: a file that is replaced has another inode, one that is written to another
    /// time, to the nanosecond.
    pub fn of(metadata: &Metadata) -> Self {
        let since = metadata
            .modified
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            etag: format!(
                "\"{:x}-{:x}-{:x}\"",
                metadata.inode,
                metadata.len,
                since.as_nanos()
            ),
            modified: since.as_secs(),
        }
    }

    /// `Last-Modified` as text.
    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + std::time::Duration::from_secs(self.modified))
    }

    /// Adds both fields.
    pub fn add_to(&self, response: Response) -> Response {
        response
            .header_text(header::ETAG, &self.etag)
            .header_text(header::LAST_MODIFIED, &self.last_modified())
    }
}

/// An HTTP date in any of its three forms as seconds since 1970; none for what is no date.
pub fn parse_date(text: &str) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
