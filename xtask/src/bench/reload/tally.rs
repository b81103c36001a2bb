//! What the loads did and what went wrong for them, counted while they run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a client can notice of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A connection was not accepted.
    Refused,
    /// A connection ended in the middle of something.
    Reset,
    /// An answer was wrong, short, or not what was asked for.
    Bytes,
    /// A message of QoS 1 or 2 did not arrive.
    Lost,
    /// A message of QoS 2 arrived twice.
    Duplicate,
    /// An MQTT session's connection ended.
    Disconnected,
    /// Something took too long, or cannot be told more closely.
    Other,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Reset,
        Self::Bytes,
        Self::Lost,
        Self::Duplicate,
        Self::Disconnected,
        Self::Other,
    ];

    /// The word that the scripts among the loads use, and the head of its column.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Bytes => "bytes",
            Self::Lost => "lost",
            Self::Duplicate => "duplicate",
            Self::Disconnected => "disconnected",
            Self::Other => "other",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How often each [`Kind`] came about, in their order.
pub type Counts = [u64; Kind::ALL.len()];

/// One load's account.
#[derive(Debug, Default)]
struct Account {
    operations: u64,
    failures: Counts,
}

/// The account of all loads.
#[derive(Debug)]
pub struct Tally {
    accounts: Mutex<BTreeMap<&'static str, Account>>,
    stop: AtomicBool,
    begun: Instant,
}

/// Failures of a load that are told one by one on the terminal; the rest are only counted.
const TOLD: u64 = 20;

impl Tally {
    pub fn new() -> Self {
        Self {
            accounts: Mutex::default(),
            stop: AtomicBool::new(false),
            begun: Instant::now(),
        }
    }

    /// Whether loads are to come to their end.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn done(&self, load: &'static str, operations: u64) {
        self.with(load, |account| account.operations += operations);
    }

    pub fn fail(&self, load: &'static str, kind: Kind, what: &str) {
        let mut told = 0;
        self.with(load, |account| {
            if let Some(count) = account.failures.get_mut(kind as usize) {
                *count += 1;
            }
            told = account.failures.iter().sum();
        });
        if told <= TOLD {
            let at = self.begun.elapsed().as_secs_f64();
            println!("  {at:8.3} s: {load}: {}: {}", kind.word(), what.trim());
        }
    }

    /// The failures of all loads so far.
    pub fn failures(&self) -> Counts {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Counts::default();
        for account in accounts.values() {
            for (sum, count) in sum.iter_mut().zip(account.failures) {
                *sum += count;
            }
        }
        sum
    }

    /// Each load with what it did and how much of it failed.
    pub fn loads(&self) -> Vec<(&'static str, u64, u64)> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts
            .iter()
            .map(|(load, account)| (*load, account.operations, account.failures.iter().sum()))
            .collect()
    }

    fn with(&self, load: &'static str, change: impl FnOnce(&mut Account)) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        change(accounts.entry(load).or_default());
    }
}

/// What came about between two readings.
pub fn between(before: Counts, after: Counts) -> Counts {
    let mut counts = Counts::default();
    for ((count, before), after) in counts.iter_mut().zip(before).zip(after) {
        *count = after - before;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_their_kind() {
        let tally = Tally::new();
        tally.done("a", 5);
        tally.fail("a", Kind::Reset, "x");
        let before = tally.failures();
        tally.fail("b", Kind::Reset, "x");
        tally.fail("b", Kind::Other, "x");
        assert_eq!(
            between(before, tally.failures()),
            [0, 1, 0, 0, 0, 0, 1],
            "since then"
        );
        assert_eq!(tally.loads(), [("a", 5, 1), ("b", 0, 2)]);
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
    }
}
