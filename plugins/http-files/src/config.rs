//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use polyport_sdk::config::Problem;
use polyport_sdk::files::Symlinks;
use polyport_sdk::http::Options;
use serde::{Deserialize, Serialize};

/// Settings of the file server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder that is served, relative to the configuration file.
    pub root: PathBuf,
    /// Names that stand for the folder they are in, tried in this order.
    pub index: Vec<String>,
    /// Whether folders without such a file are listed.
    pub listing: bool,
    /// Whether names that begin with a dot are served and listed.
    pub hidden: bool,
    /// What happens to symbolic links: `"inside"` or `"never"`.
    pub symlinks: Symlinks,
    /// Whether accounts with the right may upload, by `PUT` and by the form in listings.
    pub upload: bool,
    /// The largest upload in bytes; 0 for no limit.
    pub max_upload_size: u64,
    /// Whether folders can be fetched as .tar.gz and .zip.
    pub archive: bool,
    /// What browsers show when they ask for a password.
    pub realm: String,
    /// Seconds from a request's first byte to the end of its header.
    pub header_timeout: u64,
    /// Seconds between two requests on a connection.
    pub idle_timeout: u64,
    /// Seconds without a byte while an upload is awaited.
    pub body_timeout: u64,
    /// Seconds without the client taking a byte of a response.
    pub write_timeout: u64,
    /// Size of a request's header in bytes.
    pub max_header_size: usize,
}

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
            realm: "polyport".into(),
            header_timeout: 10,
            idle_timeout: 60,
            body_timeout: 30,
            write_timeout: 60,
            max_header_size: 32 * 1024,
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
        expect(
            !self.root.as_os_str().is_empty(),
            "root",
            "a folder",
            "\"\"".into(),
        );
        for (at, name) in self.index.iter().enumerate() {
            let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            expect(
                plain,
                &format!("index[{at}]"),
                "a file name",
                format!("{name:?}"),
            );
        }
        for (key, seconds) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
        ] {
            expect(
                (1..=86_400).contains(&seconds),
                key,
                "1 to 86400",
                seconds.to_string(),
            );
        }
        let size = self.max_header_size;
        expect(
            (1024..=1 << 20).contains(&size),
            "max_header_size",
            "1024 to 1048576",
            size.to_string(),
        );
        problems
    }

    /// The limits the HTTP front holds clients to.
    pub fn front(&self) -> Options {
        let mut options = Options::default();
        options.header_timeout = Duration::from_secs(self.header_timeout);
        options.idle_timeout = Duration::from_secs(self.idle_timeout);
        options.body_timeout = Duration::from_secs(self.body_timeout);
        options.write_timeout = Duration::from_secs(self.write_timeout);
        options.max_header_size = self.max_header_size;
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
            root: "".into(),
            index: vec!["a".into(), "b/c".into()],
            idle_timeout: 0,
            max_header_size: 5,
            ..Config::default()
        };
        let keys: Vec<_> = config
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(
            keys,
            ["root", "index[1]", "idle_timeout", "max_header_size"]
        );
    }
}
