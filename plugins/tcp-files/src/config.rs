//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use polyport_sdk::config::Problem;
use polyport_sdk::files::Symlinks;
use serde::{Deserialize, Serialize};

use crate::protocol;

/// Settings of one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of anonymous clients and of accounts without a home.
    pub root: PathBuf,
    /// What happens to symbolic links.
    pub symlinks: Symlinks,
    /// Longest request in bytes.
    pub max_request: u32,
    /// Seconds without a request, or without progress of a download, until a connection ends.
    pub idle_timeout: u32,
    /// Failed logins until the connection is closed.
    pub max_login_failures: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "files".into(),
            symlinks: Symlinks::Inside,
            max_request: 65_536,
            idle_timeout: 300,
            max_login_failures: 3,
        }
    }
}

impl Config {
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
        if self.root.as_os_str().is_empty() {
            problem("root", "a folder".into(), "\"\"".into());
        }
        if !(64..=protocol::LONGEST).contains(&self.max_request) {
            let expected = format!("64 to {} bytes", protocol::LONGEST);
            problem("max_request", expected, self.max_request.to_string());
        }
        if !(1..=86_400).contains(&self.idle_timeout) {
            problem(
                "idle_timeout",
                "1 to 86400 seconds".into(),
                self.idle_timeout.to_string(),
            );
        }
        if self.max_login_failures == 0 {
            problem("max_login_failures", "1 or more".into(), "0".into());
        }
        problems
    }

    /// Time without progress until a connection ends.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_problem_and_bounds_are_told_at_once() {
        assert!(Config::default().check().is_empty());
        let config = Config {
            root: PathBuf::new(),
            max_request: 63,
            idle_timeout: 0,
            max_login_failures: 0,
            ..Config::default()
        };
        let keys: Vec<_> = config
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(
            keys,
            ["root", "max_request", "idle_timeout", "max_login_failures"]
        );
    }
}
