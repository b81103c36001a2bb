//! Freed memory, given back to the system once many connections have ended, or an instance has: the allocator keeps
//! what it was given once, and most of that is what they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Fewer that end are not worth the while.
const MANY: u64 = 1000;
/// How long what ends with them may take.
const REST: Duration = Duration::from_millis(200);

static FREED: Notify = Notify::const_new();

/// Much was freed: what an instance had, whose place another took.
pub fn freed() {
    FREED.notify_one();
}

/// The most connections since memory was given back last.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// There are so many now.
    pub fn note(&self, open: u64) {
        if self.falls(open) {
            freed();
        }
    }

    /// Whether they have fallen by half, and by many.
    fn falls(&self, open: u64) -> bool {
        let peak = self.0.fetch_max(open, Ordering::Relaxed).max(open);
        let falls = open <= peak / 2 && peak - open >= MANY;
        if falls {
            self.0.store(open, Ordering::Relaxed);
        }
        falls
    }
}

/// Gives memory back whenever much was freed; never ends.
pub async fn give_back() {
    loop {
        FREED.notified().await;
        tokio::time::sleep(REST).await;
        // It walks over all that is free, for some milliseconds.
        let given = tokio::task::spawn_blocking(trim).await;
        if let Err(error) = given {
            tracing::warn!("memory was not given back: {error}");
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: malloc_trim(3) of glibc, which may be called at any time, in any thread.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> i32;
    }
    malloc_trim(0);
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_that_ended_count() {
        let peak = Peak::default();
        let falls = |open| peak.falls(open);
        assert!(!falls(900) && !falls(0), "few");
        assert!(!falls(3000) && !falls(1501), "less than half of them");
        assert!(falls(1500), "half of them");
        assert!(!falls(1500) && !falls(501), "told once");
        assert!(falls(500), "from where they had fallen to");
    }
}
