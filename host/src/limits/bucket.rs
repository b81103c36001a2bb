//! A token bucket: so many a second, and a second's worth at once.

use std::time::Instant;

/// What is left, as of when.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: u64, now: Instant) -> Self {
        Self {
            tokens: rate as f64,
            at: now,
        }
    }

    /// Takes one, if there is one. The rate may differ from the last time.
    pub fn take(&mut self, rate: u64, now: Instant) -> bool {
        self.fill(rate, now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&mut self, rate: u64, now: Instant) -> bool {
        self.fill(rate, now);
        self.tokens >= rate as f64
    }

    fn fill(&mut self, rate: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate as f64).min(rate as f64);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_is_worth_its_rate_and_no_more_is_saved_up() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut bucket = Bucket::new(3, start);
        let mut takes = |milliseconds, count: usize| {
            (0..count)
                .filter(|_| bucket.take(3, at(milliseconds)))
                .count()
        };
        assert_eq!(takes(0, 5), 3);
        assert_eq!(takes(300, 5), 0);
        assert_eq!(takes(400, 5), 1);
        assert_eq!(takes(60_000, 50), 3);
        assert!(!bucket.is_full(3, at(60_500)));
        assert!(bucket.is_full(3, at(61_000)));
        // A changed rate holds from then on.
        assert!(bucket.take(1, at(61_000)));
        assert!(!bucket.take(1, at(61_500)));
    }
}
