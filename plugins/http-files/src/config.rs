//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

use std::path::PathBuf;

use polyport_sdk::config::Problem;
use polyport_sdk::files::{Policy, Symlinks};
use polyport_sdk::http::{Options, Settings};
use serde::{Deserialize, Serialize};

/// Settings of the file server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder that is served, relative to the configuration file; empty for the host's folders alone.
    pub root: PathBuf,
    /// Names that stand for the folder they are in, tried in this order.
    pub index: Vec<String>,
    /// Whether folders without such a file are listed.
    pub listing: bool,
    /// Whether names that begin with a dot are served and listed, in `root` and in homes.
    pub hidden: bool,
    /// What happens to symbolic links in `root` and in homes: `"inside"`, `"never"` or `"follow"`.
    pub symlinks: Symlinks,
    /// Whether accounts with the right may upload, by `PUT` and by the form in listings.
    pub upload: bool,
    /// The largest upload in bytes; 0 for no limit.
    pub max_upload_size: u64,
    /// Whether folders can be fetched as .tar.gz and .zip.
    pub archive: bool,
    /// What all services of HTTP have.
    #[serde(flatten)]
    pub http: Settings,
}

/// All but the folder, which an instance opens at its start.
pub const LIVE: &[&str] = &[
    "index",
    "listing",
    "hidden",
    "symlinks",
    "upload",
    "max_upload_size",
    "archive",
    "realm",
    "body_timeout",
    "write_timeout",
    "hsts_max_age",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "files".into(),
            index: vec!["index.html".into(), "index.htm".into()],
            listing: true,
            hidden: false,
            symlinks: Symlinks::Inside,
            upload: true,
            max_upload_size: 0,
            archive: true,
            http: Settings::default(),
        }
    }
}

impl Config {
    /// What the types cannot say.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut expect = |fine: bool, key: &str, expected: &str, got: String| {
            if !fine {
                problems.push(Problem {
                    key: key.into(),
                    expected: expected.into(),
                    got,
                });
            }
        };
        for (at, name) in self.index.iter().enumerate() {
            let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            expect(
                plain,
                &format!("index[{at}]"),
                "a file name",
                format!("{name:?}"),
            );
        }
        problems.extend(self.http.check());
        problems
    }

    /// What is shown in `root` and in homes.
    pub fn policy(&self) -> Policy {
        Policy {
            symlinks: self.symlinks,
            hidden: self.hidden,
        }
    }

    /// What the HTTP front holds clients to.
    pub fn front(&self) -> Options {
        let mut options = self.http.options();
        options.max_body_size = (self.max_upload_size > 0).then_some(self.max_upload_size);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fine_and_survive_being_written() {
        let config = Config::default();
        assert_eq!(config.check().len(), 0);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<Config>(written).unwrap(), config);
    }

    #[test]
    fn every_bound_is_told_by_its_key() {
        let config = Config {
            index: vec!["a".into(), "b/c".into()],
            http: Settings {
                body_timeout: 0,
                ..Settings::default()
            },
            ..Config::default()
        };
        let keys: Vec<_> = config
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(keys, ["index[1]", "body_timeout"]);
    }
}
