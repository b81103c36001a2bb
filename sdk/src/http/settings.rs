//! Keys that all services of HTTP have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Options;
use crate::config::Problem;

/// Keys beneath `[services.NAME.settings]` that all services of HTTP have; a plugin puts them beside its own with
/// `#[serde(flatten)]`. What clients are held to otherwise stands in the service's limits ([`LIMITS`](super::LIMITS)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What browsers show when they ask for a password.
    pub realm: String,
    /// Seconds without a byte while a request's body is awaited.
    pub body_timeout: u64,
    /// Seconds without the client taking a byte of a response.
    pub write_timeout: u64,
    /// Seconds for which browsers are told to use `https` alone; 0: they are told nothing.
    pub hsts_max_age: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            realm: "polyport".into(),
            body_timeout: 30,
            write_timeout: 60,
            hsts_max_age: 0,
        }
    }
}

impl Settings {
    /// What the types cannot say.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        // Two years are what browsers' own lists ask for; ten are surely a slip.
        [
            ("body_timeout", self.body_timeout, 1..=86_400),
            ("write_timeout", self.write_timeout, 1..=86_400),
            ("hsts_max_age", self.hsts_max_age, 0..=315_360_000),
        ]
        .into_iter()
        .filter(|(_, value, bounds)| !bounds.contains(value))
        .map(|(key, value, bounds)| Problem {
            key: key.into(),
            expected: format!("{} to {}", bounds.start(), bounds.end()),
            got: value.to_string(),
        })
        .collect()
    }

    /// What the front is told of them.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            body_timeout: Duration::from_secs(self.body_timeout),
            write_timeout: Duration::from_secs(self.write_timeout),
            hsts_max_age: self.hsts_max_age,
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told_by_their_key() {
        assert!(Settings::default().check().is_empty());
        let settings = Settings {
            write_timeout: 0,
            hsts_max_age: u64::MAX,
            ..Settings::default()
        };
        let keys: Vec<_> = settings
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(keys, ["write_timeout", "hsts_max_age"]);
    }
}
