//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.

use std::path::PathBuf;

use polyport_sdk::config::Problem;
use polyport_sdk::http::{ErrorStyle, Options, Settings};
use polyport_sdk::net::is_web_origin;
use serde::{Deserialize, Serialize};

use crate::json::{DuplicateKeys, PatchLimits, Rules};
use crate::store::Durability;

/// Settings of one instance. Sizes are in bytes, times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database file; a relative path starts at the instance's state folder.
    pub database: PathBuf,
    /// When a change is on the disk: `always` before it is acknowledged, `interval`, `never`.
    pub durability: Durability,
    /// How long a change waits for another process that writes to the file.
    pub busy_timeout: u64,
    /// Connections for reading single documents, and as many for lists.
    pub readers: usize,
    /// Size at which the database stops growing; 0 for no limit.
    pub max_database_size: u64,
    /// Databases up to this size are checked through at start; 0 for none.
    pub check_size: u64,
    /// Size of a document, and of a patch.
    pub max_document_size: usize,
    /// Containers inside each other in a document.
    pub max_depth: usize,
    /// Objects that name a key twice: `keep` them as they came, or `refuse` the document.
    pub duplicate_keys: DuplicateKeys,
    /// Operations in one JSON Patch.
    pub max_patch_operations: usize,
    /// Length of a collection's name and of an id.
    pub max_name_length: usize,
    /// What names and ids may hold beside ASCII letters and digits.
    pub name_characters: String,
    /// Entries in a list that names no `limit`.
    pub page_size: usize,
    /// Largest `limit`.
    pub max_page_size: usize,
    /// Documents in a list end here; the first is always given.
    pub max_page_bytes: usize,
    /// Whether replacing, patching and deleting need an `If-Match`.
    pub require_match: bool,
    /// Origins whose scripts may use the service: `https://app.example`, or `*`.
    pub cors_origins: Vec<String>,
    /// What all services of HTTP have.
    #[serde(flatten)]
    pub http: Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: PathBuf::from("documents.sqlite"),
            durability: Durability::Always,
            busy_timeout: 5,
            readers: 4,
            max_database_size: 0,
            check_size: 64 << 20,
            max_document_size: 1 << 20,
            max_depth: 100,
            duplicate_keys: DuplicateKeys::Keep,
            max_patch_operations: 1000,
            max_name_length: 128,
            name_characters: "._~:@-".to_owned(),
            page_size: 100,
            max_page_size: 1000,
            max_page_bytes: 8 << 20,
            require_match: false,
            cors_origins: Vec::new(),
            http: Settings::default(),
        }
    }
}

/// All but what the database was opened with.
pub const LIVE: &[&str] = &[
    "check_size",
    "max_document_size",
    "max_depth",
    "duplicate_keys",
    "max_patch_operations",
    "max_name_length",
    "name_characters",
    "page_size",
    "max_page_size",
    "max_page_bytes",
    "require_match",
    "cors_origins",
    "realm",
    "body_timeout",
    "write_timeout",
    "hsts_max_age",
];

/// What RFC 3986 allows in a path's segment beside letters and digits.
const SEGMENT_CHARACTERS: &str = "-._~!$&'()*+,;=:@";

impl Config {
    /// All settings that are out of bounds.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value, least, most) in [
            ("busy_timeout", self.busy_timeout, 0, 600),
            ("readers", self.readers as u64, 1, 64),
            (
                "max_document_size",
                self.max_document_size as u64,
                1,
                512 << 20,
            ),
            // Patches recurse to this depth.
            ("max_depth", self.max_depth as u64, 1, 500),
            (
                "max_patch_operations",
                self.max_patch_operations as u64,
                1,
                100_000,
            ),
            ("max_name_length", self.max_name_length as u64, 36, 1024),
            ("max_page_size", self.max_page_size as u64, 1, 100_000),
            (
                "page_size",
                self.page_size as u64,
                1,
                self.max_page_size as u64,
            ),
            ("max_page_bytes", self.max_page_bytes as u64, 1, 1 << 30),
        ] {
            if !(least..=most).contains(&value) {
                problems.push(problem(
                    key,
                    format!("{least} to {most}"),
                    value.to_string(),
                ));
            }
        }
        problems.extend(self.http.check());
        if (1..64 << 10).contains(&self.max_database_size) {
            let expected = "0 for no limit, or 65536 and more".to_owned();
            problems.push(problem(
                "max_database_size",
                expected,
                self.max_database_size.to_string(),
            ));
        }
        if self.database.file_name().is_none() {
            let got = format!("{:?}", self.database);
            problems.push(problem("database", "the path of a file".to_owned(), got));
        }
        if let Some(other) = self
            .name_characters
            .chars()
            .find(|c| !SEGMENT_CHARACTERS.contains(*c))
        {
            let expected = format!("characters out of {SEGMENT_CHARACTERS:?}");
            problems.push(problem("name_characters", expected, format!("{other:?}")));
        }
        for (index, origin) in self.cors_origins.iter().enumerate() {
            if origin != "*" && !is_web_origin(origin) {
                let expected = "\"*\" or an origin such as \"https://app.example:8443\"".to_owned();
                problems.push(problem(
                    &format!("cors_origins[{index}]"),
                    expected,
                    format!("{origin:?}"),
                ));
            }
        }
        problems
    }

    /// What a document must keep.
    pub fn rules(&self) -> Rules {
        Rules {
            max_depth: self.max_depth,
            duplicate_keys: self.duplicate_keys,
        }
    }

    /// How far a patch may go.
    pub fn patch_limits(&self) -> PatchLimits {
        PatchLimits {
            max_bytes: self.max_document_size,
            max_depth: self.max_depth,
            max_operations: self.max_patch_operations,
        }
    }

    /// What the HTTP front is told.
    pub fn front(&self) -> Options {
        let mut options = self.http.options();
        options.max_body_size = Some(self.max_document_size as u64);
        options.errors = ErrorStyle::Json;
        options
    }
}

fn problem(key: &str, expected: String, got: String) -> Problem {
    Problem {
        key: key.to_owned(),
        expected,
        got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_their_bounds() {
        assert!(Config::default().check().is_empty());
    }

    #[test]
    fn the_documentation_names_every_key_with_its_default() {
        let text = include_str!("../../../docs/json-api.md");
        let settings = serde_json::to_value(Config::default()).unwrap();
        for (key, default) in settings.as_object().unwrap() {
            let plain = format!("| `{key}` | {default} |");
            let quoted = format!("| `{key}` | `{default}` |");
            assert!(text.contains(&plain) || text.contains(&quoted), "{quoted}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = Config {
            max_depth: 0,
            page_size: 2000,
            database: PathBuf::new(),
            name_characters: "._/".to_owned(),
            cors_origins: vec!["*".to_owned(), "https://a.example/".to_owned()],
            max_database_size: 1,
            ..Config::default()
        };
        let told: Vec<String> = config
            .check()
            .into_iter()
            .map(|p| format!("{}: expected {}, got {}", p.key, p.expected, p.got))
            .collect();
        assert_eq!(
            told,
            [
                "max_depth: expected 1 to 500, got 0",
                "page_size: expected 1 to 1000, got 2000",
                "max_database_size: expected 0 for no limit, or 65536 and more, got 1",
                "database: expected the path of a file, got \"\"",
                "name_characters: expected characters out of \"-._~!$&'()*+,;=:@\", got '/'",
                "cors_origins[1]: expected \"*\" or an origin such as \"https://app.example:8443\", got \"https://a.example/\"",
            ]
        );
    }
}
