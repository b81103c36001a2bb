//! What goes along with a connection to the instance that takes this one's place, beside the account and the bytes
//! of a request that has begun. It goes between two requests; a download ends first.

use std::time::Duration;

use polyport_sdk::Error;
use polyport_sdk::handover::{Handover, Inherited};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What the plugin hands over.
pub(crate) const HANDOVER: Handover = Handover {
    version: 1,
    oldest: 1,
    estate: false,
};

#[derive(Serialize, Deserialize)]
struct State {
    login_failures: u32,
    /// Milliseconds left for a login.
    login_in: u64,
}

/// Writes it down.
pub(crate) fn state(login_failures: u32, login_by: Instant) -> serde_json::Result<Vec<u8>> {
    let left = login_by.saturating_duration_since(Instant::now());
    serde_json::to_vec(&State {
        login_failures,
        login_in: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Reads it: the failed logins, and until when one must have succeeded, which is in `at_most` at the latest.
pub(crate) fn read(inherited: &Inherited, at_most: Duration) -> Result<(u32, Instant), Error> {
    let state: State = serde_json::from_slice(&inherited.state)
        .map_err(|error| Error::Operator(format!("state of a connection taken over: {error}")))?;
    let left = Duration::from_millis(state.login_in).min(at_most);
    Ok((state.login_failures, Instant::now() + left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(state: Vec<u8>) -> Inherited {
        Inherited {
            version: 1,
            unread: Vec::new(),
            unsent: Vec::new(),
            state,
            account: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (limit, now) = (Duration::from_secs(60), Instant::now());
        let written = inherited(state(2, now + Duration::from_secs(20)).unwrap());
        let (failures, by) = read(&written, limit).unwrap();
        let left = by - now;
        assert_eq!(failures, 2);
        assert!(left > Duration::from_secs(19) && left < Duration::from_secs(25));
        let (_, by) = read(&written, Duration::from_secs(5)).unwrap();
        assert!(by - now < Duration::from_secs(10));
        assert!(read(&inherited(b"{}".to_vec()), limit).is_err());
    }
}
