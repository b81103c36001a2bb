//! Generations: numbered, complete states of configuration, accounts and libraries, kept on the disk.
//!
//! Owns the folder `generations` in the state folder: what is written there, in which order, and what of it can
//! be read again after the process or the machine ended at any moment. Knows no running instance.

pub mod fault;
mod section;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::accounts::{self, AccountList};
use crate::config::{self, Config, Source};

pub use section::with_section_of;
pub use store::Store;

/// The text files of one state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// The configuration.
    pub config: Vec<u8>,
    /// The accounts; none where there was no such file.
    pub accounts: Option<Vec<u8>>,
    /// The overrides of the command line, in order.
    pub set: Vec<String>,
}

/// What is told of a generation: its `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its number, from 1.
    pub number: u64,
    /// When it came into force, RFC 3339.
    pub time: String,
    /// Why there is a new one.
    pub cause: String,
    /// SHA-256 of all that makes it.
    pub hash: String,
    /// Absolute path of the configuration file that it was made from.
    pub file: PathBuf,
    /// The overrides of the command line, in order.
    #[serde(default)]
    pub set: Vec<String>,
    /// Whether there was an accounts file.
    pub accounts: bool,
    /// The services that ran.
    pub services: Vec<ServiceMeta>,
    /// What it changed, a line each, as `polyport diff` prints them.
    pub changes: Vec<String>,
    /// What came of it.
    pub result: String,
    /// Why it is in force in place of the files, where it is.
    #[serde(default)]
    pub overrides: Option<Overrides>,
}

/// One service of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMeta {
    /// Its name.
    pub name: String,
    /// Its plugin's name.
    pub plugin: String,
    /// Its plugin's version.
    pub version: String,
    /// SHA-256 of its library.
    pub hash: String,
    /// SHA-256 of its certificates, keys and rules of TLS, if it has some.
    #[serde(default)]
    pub tls: Option<String>,
}

/// The state of the files that do not count, until they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// How the files and the overrides of the command line looked.
    pub look: String,
    /// Why they do not count.
    pub reason: String,
}

/// A kept generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// What is told of it.
    pub meta: Meta,
    /// Its files.
    pub texts: Texts,
}

/// The result of a generation with which all is well.
pub const GOOD: &str = "good";

impl Texts {
    /// The files that `source` names, as they are now.
    ///
    /// # Errors
    /// Why they cannot be read, or are no configuration.
    pub fn read(source: &Source) -> Result<(Self, Config), String> {
        let unread = |error| config::LoadError::Read {
            file: source.file.clone(),
            source: error,
        };
        let bytes =
            std::fs::read(&source.file).map_err(|error| crate::reload::chain(&unread(error)))?;
        let config = Config::parse(source, &bytes).map_err(|error| error.to_string())?;
        let file = &config.host.accounts;
        let accounts = match std::fs::read(file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => {
                let file = file.clone();
                let error = accounts::LoadError::Read { file, source };
                return Err(crate::reload::chain(&error));
            }
        };
        let texts = Self {
            config: bytes,
            accounts,
            set: source.set.clone(),
        };
        Ok((texts, config))
    }

    /// The configuration, as if it stood in the file that `source` names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn config(&self, source: &Source) -> Result<Config, String> {
        let source = Source {
            set: self.set.clone(),
            ..source.clone()
        };
        Config::parse(&source, &self.config).map_err(|error| error.to_string())
    }

    /// The accounts, as if they stood in `file`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn accounts(&self, file: &Path) -> Result<AccountList, String> {
        match &self.accounts {
            Some(bytes) => AccountList::parse(file, bytes).map_err(|error| error.to_string()),
            None => Ok(AccountList::empty()),
        }
    }

    /// SHA-256 of them and of the services that run by them.
    pub fn hash(&self, services: &[ServiceMeta]) -> String {
        let mut sum = Sha256::new();
        let mut add = |bytes: &[u8]| {
            // With its length, so that nothing can pass from one part to the next.
            sum.update((bytes.len() as u64).to_be_bytes());
            sum.update(bytes);
        };
        add(&self.config);
        add(self.accounts.as_deref().unwrap_or_default());
        self.set.iter().for_each(|set| add(set.as_bytes()));
        for service in services {
            add(service.name.as_bytes());
            add(service.hash.as_bytes());
            add(service.tls.as_deref().unwrap_or_default().as_bytes());
        }
        hex(&sum.finalize())
    }
}

impl Meta {
    /// The hash of each service's library.
    pub fn libraries(&self) -> BTreeMap<String, String> {
        let services = self.services.iter();
        services
            .map(|service| (service.name.clone(), service.hash.clone()))
            .collect()
    }
}

/// The present time as a generation tells it.
pub fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0)
        .unwrap_or(now)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// SHA-256 in lowercase hexadecimal.
pub fn hash_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
