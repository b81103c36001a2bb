//! File descriptors: as many as the system allows, and a warning where that is not enough.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// What the process needs beside its clients: listeners, libraries, databases, files, the log.
const OWN: u64 = 256;

/// Raises the soft limit to the hard one.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: before.maximum,
        ..before
    };
    if before.current == before.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => info!(
            "file descriptors: raised from {} to {}",
            shown(before.current),
            shown(before.maximum)
        ),
        Err(error) => warn!(
            "file descriptors: {} could not be raised to {}: {error}",
            shown(before.current),
            shown(before.maximum)
        ),
    }
}

/// Warns if so many connections at once could not be had, once for each number.
pub fn check(connections: u64) {
    static CHECKED: AtomicU64 = AtomicU64::new(0);
    if CHECKED.swap(connections, Ordering::Relaxed) == connections {
        return;
    }
    let limit = getrlimit(Resource::Nofile);
    if let Some(text) = shortage(limit.current, connections) {
        warn!("{text}");
    }
}

fn shortage(limit: Option<u64>, connections: u64) -> Option<String> {
    let needed = connections.saturating_add(OWN);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "file descriptors: {needed} are needed for max_connections of all services together, the hard limit is \
         {limit} (ulimit -Hn, LimitNOFILE= of systemd): who connects beyond it is refused"
    ))
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_and_plenty_is_not() {
        assert_eq!(shortage(None, u64::MAX), None);
        assert_eq!(shortage(Some(1256), 1000), None);
        let text = shortage(Some(1255), 1000).unwrap();
        assert!(
            text.contains("1256 are needed") && text.contains("hard limit is 1255"),
            "{text}"
        );
    }
}
