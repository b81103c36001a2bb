//! The files that make a generation, and what they are at one look.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::{Config, Tls};

/// The files that make a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub(super) config: PathBuf,
    pub(super) accounts: PathBuf,
    /// Certificates, keys, authorities.
    pub(super) tls: BTreeSet<PathBuf>,
    pub(super) plugins: PathBuf,
    pub(super) quiet_time: Duration,
}

/// What the files were at one look; written in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look([u8; 32]);

impl Look {
    /// Like no look at any files.
    pub const UNKNOWN: Self = Self([0; 32]);
}

impl std::fmt::Display for Look {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl Watched {
    /// The files of a configuration, which was read from `file`.
    pub fn new(file: &Path, config: &Config) -> Self {
        let host = &config.host;
        let services = config.services.iter().filter(|service| service.enabled);
        let tls = services.filter_map(|service| service.tls.as_ref());
        Self {
            config: file.to_owned(),
            accounts: host.accounts.clone(),
            tls: tls.flat_map(Tls::files).map(Path::to_owned).collect(),
            plugins: host.plugins.clone(),
            quiet_time: host.quiet_time,
        }
    }

    /// The certificates and libraries of another configuration as well: of one that is refused, they may be what is
    /// wrong with it.
    pub fn and(mut self, config: &Config) -> Self {
        let other = Self::new(&self.config, config);
        self.tls.extend(other.tls);
        if other.accounts != self.accounts {
            self.tls.insert(other.accounts);
        }
        self
    }

    /// How long nothing may happen to them before they count.
    pub fn quiet_time(&self) -> Duration {
        self.quiet_time
    }

    /// Content of the text files; name, size, time and identity of the libraries, which are too large to be read
    /// every few seconds.
    pub fn look(&self) -> Look {
        let mut sum = Sha256::new();
        for file in self.texts() {
            sum.update(fs::read(file).unwrap_or_else(|error| error.to_string().into_bytes()));
            sum.update([0]);
        }
        for path in self.libraries() {
            let seen = fs::metadata(&path)
                .map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
                .unwrap_or_default();
            sum.update(format!("{}{seen:?}", path.display()));
        }
        Look(sum.finalize().into())
    }

    /// The files whose content counts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.config, &self.accounts].into_iter().chain(&self.tls)
    }

    /// The libraries and their signatures.
    pub(super) fn libraries(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(&self.plugins).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| is_library(path))
            .collect()
    }
}

/// Whether a file of this name in the plugins folder counts.
pub(super) fn is_library(name: &Path) -> bool {
    let ending = name.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("so" | "minisig"))
}
