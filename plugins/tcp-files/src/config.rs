//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use polyport_sdk::config::Problem;
use polyport_sdk::files::{Policy, Symlinks};
use polyport_sdk::limits::Known;
use serde::{Deserialize, Serialize};

use crate::protocol;

/// Settings of one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of anonymous clients and of accounts without a home; empty for the host's folders alone.
    pub root: PathBuf,
    /// What happens to symbolic links in it and in homes.
    pub symlinks: Symlinks,
    /// Failed logins until the connection is closed.
    pub max_login_failures: u32,
}

/// What clients are held to where the operator says nothing. The idle time holds for a download that does not
/// progress as well.
pub const LIMITS: Known = Known::new()
    .max_connections(2000)
    .login_timeout(Duration::from_secs(60))
    .idle_timeout(Duration::from_secs(300))
    .max_packet(65_536, 64..=protocol::LONGEST as u64);

/// All but the folder, which an instance opens at its start.
pub const LIVE: &[&str] = &["symlinks", "max_login_failures"];

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "files".into(),
            symlinks: Symlinks::Inside,
            max_login_failures: 3,
        }
    }
}

impl Config {
    /// What is shown in `root` and in homes.
    pub fn policy(&self) -> Policy {
        Policy {
            symlinks: self.symlinks,
            // Nothing is listed: who knows a name may ask for it.
            hidden: true,
        }
    }

    /// Everything that the types cannot say.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, expected: String, got: String| {
            problems.push(Problem {
                key: key.into(),
                expected,
                got,
            });
        };
        if self.max_login_failures == 0 {
            problem("max_login_failures", "1 or more".into(), "0".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_problem_and_bounds_are_told_at_once() {
        assert!(Config::default().check().is_empty());
        let config = Config {
            max_login_failures: 0,
            ..Config::default()
        };
        let keys: Vec<_> = config
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(keys, ["max_login_failures"]);
    }
}
