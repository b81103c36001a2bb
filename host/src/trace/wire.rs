//! An event as it goes over the control socket: one JSON object a line.

use polyport_abi::summary::SummaryLine;
use serde::{Deserialize, Serialize};

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Microseconds since 1970, UTC.
    pub at: u64,
    /// The connection's number.
    pub connection: u64,
    /// The client.
    pub peer: String,
    /// The address that it reached.
    pub local: String,
    /// As in `trace/1`.
    pub scheme: String,
    /// What.
    pub event: Kind,
    /// How many bytes of this direction were told before.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes these are.
    #[serde(default)]
    pub length: u64,
    /// What they complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<SummaryLine>,
    /// The bytes in base64, if they were asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bytes: String,
    /// Events that were dropped so far, because they were not taken in time.
    #[serde(default)]
    pub dropped: u64,
}

/// What may happen on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was accepted, or seen for the first time.
    Opened,
    /// The client sent bytes.
    Received,
    /// Bytes went to the client.
    Sent,
    /// It ended.
    Closed,
}
