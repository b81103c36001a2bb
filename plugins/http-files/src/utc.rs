//! File times in the civil calendar, UTC.

use std::time::SystemTime;

use time::OffsetDateTime;

/// A time of the file system; one that no calendar has is 1970.
pub fn of(time: SystemTime) -> OffsetDateTime {
    let unix = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i64::try_from(unix)
        .ok()
        .and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
