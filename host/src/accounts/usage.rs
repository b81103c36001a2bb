//! What an account's sessions use up at this moment, all of them together: counted here, in the host,
//! so that it holds over services and over their swaps.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far ahead of its rate a stream may be, in nanoseconds.
const BURST: u64 = 100_000_000;

/// How old a measured home may get before it is measured again.
const STALE: Duration = Duration::from_secs(600);

/// How soon a home that is full is measured again: files may have been removed by others.
const STALE_WHEN_FULL: Duration = Duration::from_secs(5);

/// The counters of one account.
#[derive(Debug, Default)]
pub struct Usage {
    sessions: AtomicU32,
    /// From clients.
    pub up: Pacer,
    /// To clients.
    pub down: Pacer,
    stored: Mutex<Stored>,
}

/// Spreads bytes over time: the generic cell rate algorithm, in one word.
#[derive(Debug, Default)]
pub struct Pacer {
    /// When all bytes so far have passed at the rate, in nanoseconds of [`clock`].
    until: AtomicU64,
}

/// The bytes beneath a home.
#[derive(Debug, Default)]
struct Stored {
    bytes: i64,
    /// Charged since the measuring that is under way began.
    meanwhile: i64,
    measuring: bool,
    measured: Option<Instant>,
}

/// The answer to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged {
    /// Whether there was room.
    pub fits: bool,
    /// Whether it is time to measure the home; who is told so has to.
    pub measure: bool,
}

impl Usage {
    /// Counts a session, unless there are `most` already.
    pub fn enter(&self, most: NonZeroU32) -> bool {
        let counted = self
            .sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < most.get()).then_some(count + 1)
            });
        counted.is_ok()
    }

    /// Takes a session back that [`Usage::enter`] counted.
    pub fn leave(&self) {
        self.sessions.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts bytes that are stored, or with a negative number freed, unless they exceed `quota`.
    pub fn charge(&self, quota: u64, bytes: i64, now: Instant) -> Charged {
        let mut stored = self.lock();
        let after = stored.bytes.saturating_add(bytes);
        let fits = bytes <= 0 || u64::try_from(after).is_ok_and(|after| after <= quota);
        if fits {
            stored.bytes = after.max(0);
            stored.meanwhile = stored.meanwhile.saturating_add(bytes);
        }
        let patience = if fits { STALE } else { STALE_WHEN_FULL };
        let measure = !stored.measuring
            && stored
                .measured
                .is_none_or(|measured| now.duration_since(measured) >= patience);
        if measure {
            stored.begin();
        }
        Charged { fits, measure }
    }

    /// Whether the home is still to be measured for the first time; who is told so has to.
    pub fn begin_first_measuring(&self) -> bool {
        let mut stored = self.lock();
        let first = stored.measured.is_none() && !stored.measuring;
        if first {
            stored.begin();
        }
        first
    }

    /// `bytes` were found beneath the home.
    pub fn measured(&self, bytes: u64, now: Instant) {
        let mut stored = self.lock();
        let found = i64::try_from(bytes).unwrap_or(i64::MAX);
        // What was stored meanwhile may be among what was found; better counted twice than not at all.
        stored.bytes = found.saturating_add(stored.meanwhile.max(0));
        stored.measuring = false;
        stored.measured = Some(now);
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn begin(&mut self) {
        self.measuring = true;
        self.meanwhile = 0;
    }
}

impl Pacer {
    /// Takes `bytes` at `rate` bytes a second; nanoseconds to wait before any more pass.
    pub fn take(&self, rate: NonZeroU64, bytes: u64) -> u64 {
        self.take_at(clock(), rate, bytes)
    }

    fn take_at(&self, now: u64, rate: NonZeroU64, bytes: u64) -> u64 {
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let after = |until: u64| until.max(now).saturating_add(cost);
        let before = self
            .until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                Some(after(until))
            });
        let (Ok(before) | Err(before)) = before;
        after(before).saturating_sub(now).saturating_sub(BURST)
    }
}

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sessions_are_counted_up_to_the_most_and_back() {
        let (usage, two) = (Usage::default(), NonZeroU32::new(2).unwrap());
        assert!(usage.enter(two) && usage.enter(two) && !usage.enter(two));
        usage.leave();
        assert!(usage.enter(two) && !usage.enter(two));
    }

    #[test]
    fn sessions_that_race_are_never_too_many() {
        let usage = Usage::default();
        let most = NonZeroU32::new(5).unwrap();
        std::thread::scope(|scope| {
            let enter = || (0..100).filter(|_| usage.enter(most)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
            let entered = threads.into_iter().map(|one| one.join().unwrap());
            assert_eq!(entered.sum::<usize>(), 5);
        });
    }

    #[test]
    fn a_full_home_takes_nothing_until_something_is_freed() {
        let (usage, now) = (Usage::default(), Instant::now());
        assert!(usage.begin_first_measuring() && !usage.begin_first_measuring());
        assert!(usage.charge(100, 10, now).fits);
        usage.measured(80, now);
        // 10 of the 80 may have been those charged meanwhile.
        assert!(usage.charge(100, 10, now).fits && !usage.charge(100, 1, now).fits);
        assert!(usage.charge(100, -30, now).fits && usage.charge(100, 30, now).fits);
        assert!(!usage.charge(100, i64::MAX, now).fits && usage.charge(100, 0, now).fits);
        assert!(usage.charge(100, i64::MIN, now).fits && usage.charge(100, 100, now).fits);
    }

    #[test]
    fn a_home_is_measured_now_and_then_and_sooner_when_it_is_full() {
        let (usage, now) = (Usage::default(), Instant::now());
        assert!(usage.charge(100, 1, now).measure && !usage.charge(100, 1, now).measure);
        usage.measured(0, now);
        assert!(!usage.charge(100, 1, now + STALE_WHEN_FULL).measure);
        assert!(usage.charge(100, 999, now + STALE_WHEN_FULL).measure);
        usage.measured(0, now);
        assert!(usage.charge(100, 1, now + STALE).measure);
    }

    #[test]
    fn bytes_are_spread_over_time_by_all_who_share_the_rate() {
        let (pacer, rate) = (Pacer::default(), NonZeroU64::new(1000).unwrap());
        let second = 1_000_000_000;
        assert_eq!(pacer.take_at(0, rate, 100), 0);
        assert_eq!(pacer.take_at(0, rate, 1000), second);
        assert_eq!(pacer.take_at(second, rate, 1000), second);
        // What was not used is not saved up.
        assert_eq!(pacer.take_at(9 * second, rate, 200), second / 10);
        assert_eq!(pacer.take_at(u64::MAX, rate, u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_passes(chunks in prop::collection::vec(1u64..100_000, 1..50), rate in 1u64..1_000_000) {
            let (pacer, rate) = (Pacer::default(), NonZeroU64::new(rate).unwrap());
            let mut now = 0;
            for bytes in &chunks {
                now += pacer.take_at(now, rate, *bytes);
            }
            let passed: u64 = chunks.iter().sum();
            let most = u128::from(rate.get()) * u128::from(now + BURST + chunks.len() as u64);
            // A chunk that is waited for has passed already.
            prop_assert!(u128::from(passed - 1) * 1_000_000_000 <= most + u128::from(rate.get()));
        }
    }
}
