//! The handshake before a plugin sees the connection, and how many are under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::no_certificate;
use crate::{Connection, Context};

/// The most handshakes of an instance under way at once. One more ends the oldest: a client that means it is
/// done within its first round trips, one that only holds places is not.
pub(super) const MAX_UNDER_WAY: usize = 1024;

/// The scheme that a plugin sees for a listener with TLS: `tls` is its default one, others are in its list
/// ([`Plugin::TLS_SCHEMES`](crate::Plugin::TLS_SCHEMES)). None: without TLS.
pub(crate) fn inner_scheme(scheme: &str, schemes: &[(&str, &str)]) -> Option<String> {
    let (word, unix) = match scheme.strip_suffix("+unix") {
        Some(word) => (word, true),
        None => (scheme, false),
    };
    let inner = schemes
        .iter()
        .copied()
        .chain([("tls", "tcp")])
        .find_map(|(outer, inner)| (outer == word).then_some(inner))?;
    Some(match (inner, unix) {
        ("tcp", true) => "unix".into(),
        (inner, true) => format!("{inner}+unix"),
        (inner, false) => inner.to_owned(),
    })
}

/// Holds the handshake with a client of a TLS listener. None: there is no connection, and it has been logged.
pub(crate) async fn accept(
    context: &Context,
    connection: Connection,
    limit: Duration,
) -> Option<Connection> {
    let peer = connection.peer();
    let held = match context.tls() {
        Some(tls) => tls.hold(connection.stream, None, limit).await,
        None => Err(no_certificate()),
    };
    match held {
        Ok(stream) => Some(Connection {
            origin: connection.origin.over(&stream),
            stream,
            ..connection
        }),
        Err(error) => {
            debug!(%peer, "TLS handshake: {error}");
            None
        }
    }
}

/// The handshakes under way, by age.
#[derive(Debug, Default, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    places: BTreeMap<u64, CancellationToken>,
}

impl Places {
    /// Takes a place, from the oldest if there is none left.
    pub(super) fn take(&self) -> Place {
        let mut taken = self.lock();
        if taken.places.len() >= MAX_UNDER_WAY
            && let Some((_, oldest)) = taken.places.pop_first()
        {
            oldest.cancel();
        }
        taken.last += 1;
        let (number, lost) = (taken.last, CancellationToken::new());
        taken.places.insert(number, lost.clone());
        Place {
            places: self.clone(),
            number,
            lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One handshake's place; dropped at its end.
pub(super) struct Place {
    places: Places,
    number: u64,
    lost: CancellationToken,
}

impl Place {
    /// Resolves when another one needed it more.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().places.remove(&self.number);
    }
}
