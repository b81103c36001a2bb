//! How fast bytes may pass over a stream: by the rates of its listener, and by those that all sessions of an account
//! share.
//!
//! Bytes are let through in pieces, and after each the stream rests for as long as they cost. Nothing is saved up:
//! who was idle is no faster afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::accounts::{self, Account};
use crate::limits::Current;

/// Bytes that an account's rate lets through at once.
const PIECE: u64 = 16 * 1024;
/// The least and the most bytes at once; between them it is what passes in an eighth of a second.
const PIECES: (u64, u64) = (1024, 256 * 1024);

/// Holds a stream to rates.
#[derive(Debug, Default)]
pub struct Pacer {
    limits: Option<Current>,
    /// Made when something is slowed for the first time.
    lanes: OnceLock<Box<Lanes>>,
}

#[derive(Default)]
struct Lanes {
    has_account: AtomicBool,
    account: Mutex<Option<accounts::Pace>>,
    up: Mutex<Lane>,
    down: Mutex<Lane>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lanes")
    }
}

/// One direction.
#[derive(Default)]
struct Lane {
    /// When the next bytes may pass.
    free_at: Option<Instant>,
    /// What the stream waits with.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

impl Pacer {
    pub(crate) fn of(limits: Current) -> Self {
        Self {
            limits: Some(limits),
            lanes: OnceLock::new(),
        }
    }

    /// Another with the rates of the same listener, for a second connection of the same client.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self {
            limits: self.limits.clone(),
            lanes: OnceLock::new(),
        }
    }

    /// Holds what passes from now on to the account's own rates as well; `None`: no longer.
    pub fn pace_for(&self, account: Option<&Account>) {
        let pace = account.and_then(Account::pace);
        if pace.is_some() || self.has_account() {
            let lanes = self.lanes();
            lanes.has_account.store(pace.is_some(), Ordering::Relaxed);
            *lock(&lanes.account) = pace;
        }
    }

    /// Whether there is any rate.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.has_account() || self.limits.as_ref().is_some_and(Current::is_paced)
    }

    #[inline]
    fn has_account(&self) -> bool {
        let lanes = self.lanes.get();
        lanes.is_some_and(|lanes| lanes.has_account.load(Ordering::Relaxed))
    }

    /// How many bytes may pass now, once they may.
    pub(crate) fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<usize> {
        let mut lane = self.lane(way);
        let Some(free_at) = lane.free_at.filter(|free_at| *free_at > Instant::now()) else {
            return Poll::Ready(self.piece(way));
        };
        let sleep = (lane.sleep).get_or_insert_with(|| Box::pin(tokio::time::sleep_until(free_at)));
        if sleep.deadline() != free_at {
            sleep.as_mut().reset(free_at);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(self.piece(way))
    }

    /// As [`Pacer::poll_ready`] without waiting; none if they may not pass yet.
    pub(crate) fn try_ready(&self, way: Way) -> Option<usize> {
        let free_at = self.lane(way).free_at;
        if free_at.is_some_and(|free_at| free_at > Instant::now()) {
            return None;
        }
        Some(self.piece(way))
    }

    /// Waits until bytes may pass.
    pub(crate) async fn ready(&self, way: Way) {
        loop {
            let free_at = self.lane(way).free_at;
            match free_at {
                Some(free_at) if free_at > Instant::now() => {
                    tokio::time::sleep_until(free_at).await;
                }
                _ => return,
            }
        }
    }

    /// Notes that bytes have passed.
    pub(crate) fn note(&self, way: Way, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let shared = match &*lock(&self.lanes().account) {
            Some(pace) if way == Way::Up => pace.received(bytes),
            Some(pace) => pace.sent(bytes),
            None => Duration::ZERO,
        };
        let own = match self.rate(way) {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        let now = Instant::now();
        let mut lane = self.lane(way);
        let from = lane.free_at.map_or(now, |free_at| free_at.max(now));
        let free_at = (from + own).max(now + shared);
        lane.free_at = (free_at > now).then_some(free_at);
    }

    fn piece(&self, way: Way) -> usize {
        let (least, most) = PIECES;
        let own = match self.rate(way) {
            0 => most,
            rate => (rate / 8).clamp(least, most),
        };
        let bytes = match self.has_account() {
            true => own.min(PIECE),
            false => own,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn rate(&self, way: Way) -> u64 {
        let limits = self.limits.as_ref().map(Current::get);
        limits.map_or(0, |limits| match way {
            Way::Up => limits.rate_up,
            Way::Down => limits.rate_down,
        })
    }

    fn lanes(&self) -> &Lanes {
        self.lanes.get_or_init(Box::default)
    }

    fn lane(&self, way: Way) -> MutexGuard<'_, Lane> {
        let lanes = self.lanes();
        lock(match way {
            Way::Up => &lanes.up,
            Way::Down => &lanes.down,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pacer(rate_up: u64, rate_down: u64) -> Pacer {
        Pacer::of(Current::paced(rate_up, rate_down))
    }

    /// How long this many bytes take in pieces.
    async fn pass(pacer: &Pacer, way: Way, bytes: usize) -> Duration {
        let start = Instant::now();
        let mut left = bytes;
        while left > 0 {
            let piece = poll_fn(|cx| pacer.poll_ready(way, cx)).await.min(left);
            pacer.note(way, piece);
            left -= piece;
        }
        poll_fn(|cx| pacer.poll_ready(way, cx)).await;
        start.elapsed()
    }

    #[tokio::test]
    async fn bytes_take_their_time_and_nothing_is_saved_up() {
        let pacer = pacer(100_000, 0);
        assert!(pacer.is_on());
        for _ in 0..2 {
            let took = pass(&pacer, Way::Up, 20_000).await;
            assert!(took >= Duration::from_millis(199), "{took:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(pacer.try_ready(Way::Down).is_some());
    }

    #[tokio::test]
    async fn without_waiting_it_says_not_yet() {
        let pacer = pacer(0, 1000);
        assert_eq!(pacer.try_ready(Way::Down), Some(1024));
        let start = Instant::now();
        pacer.note(Way::Down, 300);
        assert_eq!(pacer.try_ready(Way::Down), None);
        assert!(pacer.try_ready(Way::Up).is_some());
        pacer.ready(Way::Down).await;
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert_eq!(pacer.try_ready(Way::Down), Some(1024));
    }

    #[test]
    fn without_rates_it_is_off() {
        assert!(!Pacer::default().is_on());
        assert!(!pacer(0, 0).is_on());
    }
}
