//! The configuration file: polyport.toml and the overrides of the command line, read into a typed
//! and complete [`Config`], or refused with every problem at once.
//!
//! Owns the host's keys and their defaults. What stands beneath a service's `settings` is the
//! plugin's: it is passed on as JSON, and [`Config::problem`] maps what the plugin finds wrong
//! back to its line. `config/polyport.toml` shows every key with its default.

mod ban;
mod diagnostics;
mod difference;
mod folders;
mod host;
mod limits;
mod listen;
mod read;
mod service;
#[cfg(test)]
mod tests;
mod tls;
mod tree;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use diagnostics::{Diagnostic, Diagnostics, Place, did_you_mean, shown};
pub use difference::{KeyChange, differences};
pub use folders::Folder;
pub use host::{AccessLog, HostConfig, LogConfig, LogFormat};
pub use limits::{Limits, out_of_bounds};
pub use listen::{Access, Address, Listen, Options as ListenOptions};
pub use read::parse_size;
pub use service::{Service, Threads, is_name};
pub use tls::{Pair, Tls};
use tree::Table;

/// Where a configuration comes from: what the command line said.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The `--set KEY=VALUE` overrides, in order.
    pub set: Vec<String>,
    /// The plugins folder, if the command line names one.
    pub plugins: Option<PathBuf>,
    /// The control socket, if the command line names one.
    pub control: Option<PathBuf>,
}

/// A complete, valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, as the operator spelt it.
    pub file: Arc<Path>,
    /// The file's folder, absolute: where relative paths begin.
    pub folder: PathBuf,
    /// `[host]`.
    pub host: HostConfig,
    /// `[services.NAME]`, in the order of the file.
    pub services: Vec<Service>,
    /// `[folders.NAME]`, in the order of the file.
    pub folders: Vec<Folder>,
    /// All that is written in the file and on the command line.
    tree: serde_json::Value,
    places: HashMap<String, Place>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file, or an override, is wrong.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

/// Two configurations are equal when a reload from one to the other has nothing to do.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.folder == other.folder
            && self.host == other.host
            && self.services == other.services
            && self.folders == other.folders
    }
}

impl Config {
    /// Reads and checks what `source` names.
    pub fn load(source: &Source) -> Result<Self, LoadError> {
        let bytes = std::fs::read(&source.file).map_err(|error| LoadError::Read {
            file: source.file.clone(),
            source: error,
        })?;
        Ok(Self::parse(source, &bytes)?)
    }

    /// Checks `bytes`, the content of the file that `source` names.
    pub fn parse(source: &Source, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let file: Arc<Path> = Arc::from(source.file.as_path());
        let text = utf8(&file, bytes)?;
        let mut root = Table::parse(&file, text)?;
        let mut diagnostics = Diagnostics::new();
        for text in &source.set {
            if let Err(problem) = root.set(text) {
                diagnostics.push(problem);
            }
        }
        let folder = absolute(source.file.parent().unwrap_or(Path::new("")));
        let config = Self::read(file, folder, &root, source, &mut diagnostics);
        if diagnostics.has_errors() {
            Err(diagnostics.sorted())
        } else {
            Ok(config)
        }
    }

    /// Where the state folder is, by what can be read of a file that may be broken.
    pub fn state_folder(source: &Source) -> PathBuf {
        let file: Arc<Path> = Arc::from(source.file.as_path());
        let text = std::fs::read(&source.file).unwrap_or_default();
        let (mut root, _) = Table::parse_lenient(&file, &String::from_utf8_lossy(&text));
        for text in &source.set {
            // One that cannot be read does not say where it is.
            let _ = root.set(text);
        }
        let folder = absolute(source.file.parent().unwrap_or(Path::new("")));
        let named = root.to_json();
        let state = named["host"]["state"]
            .as_str()
            .filter(|state| !state.is_empty());
        folder.join(state.unwrap_or("state"))
    }

    fn read(
        file: Arc<Path>,
        folder: PathBuf,
        root: &Table,
        source: &Source,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut reader = read::Reader::new(root, "", &["host", "folders", "services"], diagnostics);
        let host_table = reader.table("host");
        let folder_tables = reader.table("folders");
        let service_tables = reader.table("services");
        let mut host = host::read(host_table, &folder, &program_folder(), diagnostics);
        if let Some(plugins) = &source.plugins {
            host.plugins = absolute(plugins);
        }
        if let Some(control) = &source.control {
            host.control = absolute(control);
        }
        let mut folders = folders::Folders::default();
        for entry in folder_tables.map_or(&[][..], |table| &table.entries) {
            folders.read(entry, &folder, diagnostics);
        }
        let names = folder_tables.map_or(Vec::new(), |table| {
            table
                .entries
                .iter()
                .map(|entry| entry.key.as_str())
                .collect()
        });
        let mut services = Vec::new();
        let mut bound = Bound::default();
        for entry in service_tables.map_or(&[][..], |table| &table.entries) {
            let Some((service, places)) = service::read(entry, &folder, &names, diagnostics) else {
                continue;
            };
            if service.enabled {
                bound.claim(&service, places, diagnostics);
            }
            services.push(service);
        }
        let mut places = HashMap::new();
        root.places("", &mut |key, place| {
            places.insert(key, place.clone());
        });
        Self {
            file,
            folder,
            host,
            services,
            folders: folders.finish(),
            tree: root.to_json(),
            places,
        }
    }

    /// The folders that a service shows: those it names, or all.
    pub fn folders_of(&self, service: &Service) -> Vec<Folder> {
        let shows = |folder: &&Folder| match &service.folders {
            Some(names) => names.contains(&folder.name),
            None => true,
        };
        self.folders.iter().filter(shows).cloned().collect()
    }

    /// What is wrong on the disk with those of the folders that are asked about.
    pub fn folder_problems(&self, about: impl Fn(&Folder) -> bool) -> Diagnostics {
        let asked = self.folders.iter().filter(|folder| about(folder));
        asked
            .filter_map(|folder| {
                let key = format!("folders.{}.path", folder.name);
                Some(Diagnostic::error(self.place(&key), key, folder.problem()?))
            })
            .collect()
    }

    /// Where the dotted `key` was written; if it was not, where the nearest key above it was; if
    /// none of those was either, the beginning of the file.
    pub fn place(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return place.clone();
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => {
                    return Place::File {
                        file: Arc::clone(&self.file),
                        line: 1,
                        column: 1,
                    };
                }
            }
        }
    }

    /// A plugin's problem with `key` of its settings (`passive_ports`, `folders[0].path`; empty
    /// for the settings as a whole), at the line where the operator wrote it.
    pub fn problem(&self, service: &str, key: &str, message: &str) -> Diagnostic {
        let mut name = format!("services.{service}.settings");
        if !key.is_empty() {
            name = tree::join(&name, key);
        }
        Diagnostic::error(self.place(&name), name, message)
    }
}

/// The addresses of all services so far: each may be listened on once.
#[derive(Default)]
struct Bound {
    claims: Vec<(Listen, Place, String)>,
}

impl Bound {
    /// Adds the addresses of `service`; a taken one is a problem that names both lines.
    fn claim(&mut self, service: &Service, places: Vec<Place>, diagnostics: &mut Diagnostics) {
        for (index, (listen, place)) in service.listen.iter().zip(places).enumerate() {
            let key = format!("services.{}.listen[{index}]", service.name);
            if let Some((other, before, owner)) = self
                .claims
                .iter()
                .find(|(other, ..)| other.collides(listen))
            {
                let message = format!(
                    "{:?} is taken: {owner} at {before} listens on {:?}",
                    listen.text, other.text
                );
                diagnostics.push(Diagnostic::error(place.clone(), key.as_str(), message));
            }
            self.claims.push((listen.clone(), place, key));
        }
    }
}

/// The text of `bytes`, or the place of the first byte that is not UTF-8.
pub fn utf8<'a>(file: &Arc<Path>, bytes: &'a [u8]) -> Result<&'a str, Diagnostics> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let place = Place::at(file, &valid, valid.len());
        let got = format!("byte 0x{:02x}", bytes[error.valid_up_to()]);
        let mut diagnostics = Diagnostics::new();
        diagnostics.expected(&place, "", "UTF-8 text", got);
        diagnostics
    })
}

fn absolute(path: &Path) -> PathBuf {
    // `path::absolute` fails on an empty path (meaning here) and without a current folder.
    let here = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    std::path::absolute(here).unwrap_or_else(|_| path.to_owned())
}

fn program_folder() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned))
        .unwrap_or_default()
}
