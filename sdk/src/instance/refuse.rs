//! Clients that are not served: told so, counted and logged, all within bounds.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::accept::MAX_HEADERS;
use super::panic_text;
use crate::limits::{Busy, Refusal};
use crate::metrics::{Metrics, Number};
use crate::net::{Peer, Stream};

/// The most clients of an instance that are being told at once; others see a closed connection.
const MAX_AT_ONCE: usize = 64;
/// How long a client may take to be told.
const LIMIT: Duration = Duration::from_secs(2);
/// The most that is read of a client before it is told.
const MAX_INPUT: usize = 64 * 1024;
/// The log has one line of a kind in this time.
const QUIET: Duration = Duration::from_secs(10);

/// Those that an instance refuses.
pub(super) struct Refusals {
    slots: Arc<Semaphore>,
    /// Places for those whose PROXY header is awaited.
    pub(super) headers: Semaphore,
    refused: Number,
    said: [Said; Refusal::ALL.len()],
    said_proxy: Said,
}

/// What has happened since the log had a line of it.
#[derive(Default)]
struct Said(Mutex<(Option<Instant>, u64)>);

impl Said {
    /// How often it happened, this time included, if the log is due a line.
    fn due(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        if said.0.is_some_and(|last| last.elapsed() < QUIET) {
            return None;
        }
        said.0 = Some(Instant::now());
        Some(std::mem::take(&mut said.1))
    }
}

impl Refusals {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            headers: Semaphore::new(MAX_HEADERS),
            refused: metrics.counter("connections_refused"),
            said: Default::default(),
            said_proxy: Said::default(),
        }
    }

    /// Notes a refusal and gives a place to tell it in, if there is one left.
    pub(super) fn slot(&self, why: Refusal) -> Option<Slot> {
        self.refused.add(1);
        let said = Refusal::ALL.iter().position(|other| *other == why);
        if let Some(count) = said.and_then(|index| self.said[index].due()) {
            warn!("connections refused: {count}, for {why}");
        }
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// Notes that a trusted proxy sent no header that can be used.
    pub(super) fn note_proxy(&self, peer: Peer, why: impl Display) {
        if let Some(count) = self.said_proxy.due() {
            warn!("PROXY header: {peer}: {why}; connections closed: {count}");
        }
    }
}

/// A place to tell one client in.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    pub(super) fn limit(&self) -> Duration {
        LIMIT
    }

    /// Sends what the plugin has to say, and reads what the client had to say, or its system would throw the answer
    /// away.
    pub(super) async fn answer(&self, mut stream: Stream, busy: impl Fn(&[u8]) -> Busy) {
        let mut received = Vec::new();
        loop {
            let answer = std::panic::catch_unwind(AssertUnwindSafe(|| busy(&received)));
            match answer {
                Ok(Busy::Answer(bytes)) => {
                    let sent = async {
                        stream.write_all(&bytes).await?;
                        stream.shutdown().await
                    };
                    if sent.await.is_err() {
                        return;
                    }
                    break;
                }
                Ok(Busy::Wait) => {}
                Ok(Busy::Close) => return,
                Err(panic) => {
                    warn!("panicked at busy: {}", panic_text(&*panic));
                    return;
                }
            }
            let read = stream.read_buf(&mut received).await;
            if read.is_err() || matches!(read, Ok(0)) || received.len() > MAX_INPUT {
                return;
            }
        }
        received.resize(4096, 0);
        while let Ok(1..) = stream.read(&mut received).await {}
    }
}
