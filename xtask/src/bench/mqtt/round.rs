//! What one round of a case counted, and the median of several.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::latency::Quantiles;
use crate::Outcome;
use crate::bench::harness::median;
use crate::bench::usage::{cpu_seconds, resident};

/// Runs while a load counts.
pub struct Meter {
    pid: u32,
    amount: u64,
    cpu: f64,
    own: Duration,
    start: Instant,
}

/// What a load counted; the rest of a [`Round`] is known once it is over.
pub struct Counted {
    per_second: f64,
    /// CPU seconds of the server for a million.
    cpu: f64,
    /// CPU time of server and load over the time that passed.
    server_share: f64,
    load_share: f64,
    latency: Quantiles,
    /// Of the whole run.
    pub sent: u64,
    pub lost: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub per_second: f64,
    pub cpu: f64,
    pub server_share: f64,
    pub load_share: f64,
    pub latency: Quantiles,
    pub sent: u64,
    pub lost: u64,
    /// Resident bytes of the server afterwards.
    pub memory: u64,
}

impl Meter {
    /// `amount` is what the load had counted by now.
    pub fn start(pid: u32, amount: u64) -> Self {
        Self {
            pid,
            amount,
            cpu: cpu_seconds(pid),
            own: own_time(),
            start: Instant::now(),
        }
    }

    pub fn finish(self, amount: u64, latency: Quantiles) -> Counted {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu = cpu_seconds(self.pid) - self.cpu;
        let amount = amount.saturating_sub(self.amount) as f64;
        Counted {
            per_second: amount / seconds,
            cpu: cpu / amount * 1e6,
            server_share: cpu / seconds,
            load_share: own_time().saturating_sub(self.own).as_secs_f64() / seconds,
            latency,
            sent: amount as u64,
            lost: 0,
        }
    }
}

impl Counted {
    pub fn round(self, pid: u32) -> Outcome<Round> {
        if !self.cpu.is_finite() {
            return Err("nothing was delivered".into());
        }
        Ok(Round {
            per_second: self.per_second,
            cpu: self.cpu,
            server_share: self.server_share,
            load_share: self.load_share,
            latency: self.latency,
            sent: self.sent,
            lost: self.lost,
            memory: resident(pid),
        })
    }
}

/// The median of each figure; what was sent and lost, and the memory after the last round.
pub fn median_round(rounds: &[Round]) -> Option<Round> {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let time = |figure: fn(&Quantiles) -> Duration| {
        let seconds = rounds.iter().map(|one| figure(&one.latency).as_secs_f64());
        Duration::from_secs_f64(median(seconds.collect()))
    };
    Some(Round {
        per_second: of(|one| one.per_second),
        cpu: of(|one| one.cpu),
        server_share: of(|one| one.server_share),
        load_share: of(|one| one.load_share),
        latency: Quantiles {
            p50: time(|one| one.p50),
            p99: time(|one| one.p99),
            p999: time(|one| one.p999),
        },
        sent: rounds.iter().map(|one| one.sent).sum(),
        lost: rounds.iter().map(|one| one.lost).sum(),
        memory: rounds.last()?.memory,
    })
}

/// CPU time of this thread.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_own_median() {
        let round = |per_second, cpu, lost| Round {
            per_second,
            cpu,
            server_share: 1.0,
            load_share: 0.5,
            latency: Quantiles::default(),
            sent: 10,
            lost,
            memory: per_second as u64,
        };
        let rounds = [round(3.0, 1.0, 1), round(1.0, 3.0, 0), round(2.0, 2.0, 1)];
        let median = median_round(&rounds).unwrap();
        assert_eq!((median.per_second, median.cpu), (2.0, 2.0));
        assert_eq!((median.sent, median.lost, median.memory), (30, 2, 2));
        assert!(median_round(&[]).is_none());
    }
}
