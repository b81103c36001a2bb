//! Times in buckets that grow with them: each is exact to 1.6 %.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: usize = 64;
/// log2 of `STEPS`.
const BITS: u32 = 6;
/// Powers of two above the first `STEPS` nanoseconds: up to 18 minutes.
const POWERS: usize = 35;

#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
}

/// What half, 99 of 100 and 999 of 1,000 stay below.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantiles {
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
}

impl Latencies {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; STEPS * POWERS],
            count: 0,
        }
    }

    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    pub fn add(&mut self, nanoseconds: u64) {
        let at = bucket(nanoseconds).min(self.buckets.len() - 1);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.count += 1;
    }

    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.at(500),
            p99: self.at(990),
            p999: self.at(999),
        }
    }

    fn at(&self, per_mille: u64) -> Duration {
        let below = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        let found = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= below.max(1)
        });
        Duration::from_nanos(found.map_or(0, end))
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let power = nanoseconds.checked_ilog2().unwrap_or(0).max(BITS - 1) + 1 - BITS;
    // From the first power on, the shifted time lies in STEPS..2 * STEPS.
    match power {
        0 => nanoseconds as usize,
        _ => (power as usize * STEPS) + (nanoseconds >> (power - 1)) as usize - STEPS,
    }
}

/// The longest time in a bucket.
fn end(bucket: usize) -> u64 {
    match bucket / STEPS {
        0 => bucket as u64,
        power => (((bucket % STEPS + STEPS + 1) as u64) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for time in 0..1_000_000 {
            let now = bucket(time);
            assert!(now == last || now == last + 1, "{time}: {last}, {now}");
            assert!(time <= end(now), "{time}: {}", end(now));
            assert!(now == 0 || time > end(now - 1), "{time}");
            last = now;
        }
    }

    #[test]
    fn quantiles_are_those_of_all_times() {
        let mut times = Latencies::new();
        (1..=1000).for_each(|micros| times.add(micros * 1000));
        let Quantiles { p50, p99, p999 } = times.quantiles();
        for (found, expected) in [(p50, 500.0), (p99, 990.0), (p999, 999.0)] {
            let micros = found.as_secs_f64() * 1e6;
            assert!((expected..expected * 1.02).contains(&micros), "{micros}");
        }
        times.clear();
        assert_eq!(times.quantiles().p999, Duration::ZERO);
    }
}
