//! What is asked of each case, and whether the figures meet it.

use std::time::Duration;

/// What is compared between the two brokers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    PerSecond(f64),
    /// The 99th of 100 times.
    P99(Duration),
    /// Resident bytes for each connection.
    BytesEach(f64),
    /// Resident bytes above those at the start.
    BytesAbove(f64),
}

/// Met by the figure itself or by its ratio to the peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// In the unit of [`Figure::value`]: at least that many a second, at most that of anything else.
    pub bound: f64,
    pub ratio: Option<f64>,
}

/// A row of the table of demands.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub case: String,
    pub ours: Figure,
    pub peer: Figure,
    /// None for a row that is only shown.
    pub demand: Option<Demand>,
}

impl Figure {
    /// A second, microseconds, bytes or MiB.
    fn value(self) -> f64 {
        match self {
            Self::PerSecond(value) | Self::BytesEach(value) => value,
            Self::P99(time) => time.as_secs_f64() * 1e6,
            Self::BytesAbove(value) => value / 1024.0 / 1024.0,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond(_) => format!("{}/s", thousands(value)),
            Self::P99(_) => format!("{} µs", thousands(value)),
            Self::BytesEach(_) => format!("{} bytes", thousands(value)),
            Self::BytesAbove(_) => format!("{value:.1} MiB"),
        }
    }
}

impl Verdict {
    fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (self.ours.value(), self.peer.value());
        (ours > 0.0 && peer > 0.0).then(|| ours / peer)
    }

    /// None without a demand.
    pub fn is_met(&self) -> Option<bool> {
        let Demand { bound, ratio } = self.demand?;
        let met = |ours: f64, bound: f64| match self.ours {
            Figure::PerSecond(_) => ours >= bound,
            _ => ours <= bound,
        };
        let by_ratio = |bound| self.ratio().is_some_and(|ours| met(ours, bound));
        Some(met(self.ours.value(), bound) || ratio.is_some_and(by_ratio))
    }

    /// Case, polyport, peer, ratio, demand, whether it is met.
    pub fn cells(&self) -> [String; 6] {
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}"));
        let demand = self.demand.map(|Demand { bound, ratio }| {
            let bound = self.ours.text(bound);
            let ratio = ratio.map(|ratio| format!(" or {ratio} x"));
            match self.ours {
                Figure::PerSecond(_) => format!("{bound}{}", ratio.unwrap_or_default()),
                _ => format!("at most {bound}{}", ratio.unwrap_or_default()),
            }
        });
        let met = self.is_met().map(|met| if met { "met" } else { "not met" });
        [
            self.case.clone(),
            self.ours.text(self.ours.value()),
            self.peer.text(self.peer.value()),
            ratio.unwrap_or("-".into()),
            demand.unwrap_or("-".into()),
            met.unwrap_or("-").into(),
        ]
    }
}

/// A whole number, its digits in threes.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ours: Figure, peer: Figure, bound: f64, ratio: Option<f64>) -> Verdict {
        Verdict {
            case: "case".into(),
            ours,
            peer,
            demand: Some(Demand { bound, ratio }),
        }
    }

    #[test]
    fn either_side_of_a_demand_is_enough() {
        let rate = |ours, peer| {
            let [ours, peer] = [ours, peer].map(Figure::PerSecond);
            verdict(ours, peer, 600_000.0, Some(4.0)).is_met()
        };
        assert_eq!(rate(600_000.0, 500_000.0), Some(true));
        assert_eq!(rate(400_000.0, 100_000.0), Some(true));
        assert_eq!(rate(399_999.0, 100_000.0), Some(false));
        let p99 = |ours, peer| {
            let [ours, peer] = [ours, peer].map(|at| Figure::P99(Duration::from_micros(at)));
            verdict(ours, peer, 400.0, Some(0.3)).is_met()
        };
        assert_eq!(p99(400, 500), Some(true));
        assert_eq!(p99(600, 2000), Some(true));
        assert_eq!(p99(601, 2000), Some(false));
    }

    #[test]
    fn memory_has_no_ratio_when_the_peer_gave_some_back() {
        let above = |mib: f64| Figure::BytesAbove(mib * 1024.0 * 1024.0);
        let row = verdict(above(3.0), above(-1.0), 20.0, None);
        assert_eq!(row.is_met(), Some(true));
        assert_eq!(
            row.cells(),
            [
                "case",
                "3.0 MiB",
                "-1.0 MiB",
                "-",
                "at most 20.0 MiB",
                "met"
            ]
        );
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(-1000.0), "-1,000");
    }
}
