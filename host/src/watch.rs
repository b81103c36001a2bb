//! Notices that the configuration, the accounts or a library changed.
//!
//! Folders are watched, never single files: a watch on a file is deaf after one rename. An event only says
//! that it is time to look; what counts is the content, which must be the same in two looks a quiet time
//! apart. Lost events are made up for by a look every few seconds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::event::{AccessKind, AccessMode};
use notify_debouncer_full::notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::config::{Config, Tls};

/// Between two looks without an event.
const RESCAN: Duration = Duration::from_secs(5);

/// The files that make a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    config: PathBuf,
    accounts: PathBuf,
    /// Certificates, keys, authorities.
    tls: BTreeSet<PathBuf>,
    plugins: PathBuf,
    quiet_time: Duration,
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

    /// Content of the text files; name, size, time and identity of the libraries.
    pub fn look(&self) -> Look {
        let mut sum = Sha256::new();
        for file in self.texts() {
            sum.update(fs::read(file).unwrap_or_else(|error| error.to_string().into_bytes()));
            sum.update([0]);
        }
        let libraries: BTreeSet<PathBuf> = fs::read_dir(&self.plugins)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                // Libraries and their signatures.
                let ending = path.extension().and_then(|ending| ending.to_str());
                matches!(ending, Some("so" | "minisig"))
            })
            .collect();
        for path in libraries {
            let seen = fs::metadata(&path)
                .map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
                .unwrap_or_default();
            sum.update(format!("{}{seen:?}", path.display()));
        }
        Look(sum.finalize().into())
    }

    /// The files whose content counts.
    fn texts(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.config, &self.accounts].into_iter().chain(&self.tls)
    }

    /// The folders to watch: of the files, and of what symbolic links lead to.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::from([self.plugins.clone()]);
        for file in self.texts() {
            folders.extend(file.parent().map(|folder| {
                if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                }
                .to_owned()
            }));
            folders.extend(
                file.canonicalize()
                    .ok()
                    .and_then(|real| real.parent().map(Path::to_owned)),
            );
        }
        folders
    }
}

/// Sends a word down `changed` each time that the files came to rest in another state than `seen`.
pub async fn watch(watched: Watched, mut seen: Look, changed: mpsc::Sender<()>) {
    let (events, mut woken) = mpsc::channel(1);
    let _debouncer = debouncer(&watched, events).inspect_err(|error| {
        warn!("watching for changes: {error}; looking every {RESCAN:?} instead");
    });
    loop {
        // At once, too: nobody watched until now.
        let now = settled(&watched).await;
        if now != seen {
            seen = now;
            debug!("files changed");
            if changed.send(()).await.is_err() {
                return;
            }
        }
        // An error means that there is no debouncer: then the time alone wakes.
        let woken = tokio::time::timeout(RESCAN, woken.recv()).await;
        if let Ok(None) = woken {
            tokio::time::sleep(RESCAN).await;
        }
    }
}

/// The state of the files once two looks a quiet time apart agree.
async fn settled(watched: &Watched) -> Look {
    let mut before = watched.look();
    loop {
        tokio::time::sleep(watched.quiet_time).await;
        let now = watched.look();
        if now == before {
            return now;
        }
        before = now;
    }
}

fn debouncer(
    watched: &Watched,
    events: mpsc::Sender<()>,
) -> Result<Debouncer<RecommendedWatcher, RecommendedCache>, notify_debouncer_full::notify::Error> {
    let handler = move |result: DebounceEventResult| {
        // Reading a file raises events as well; heeding them would never end. An error means lost events.
        let worth = result.map_or(true, |events| {
            events.iter().any(|event| match event.kind {
                EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
                _ => true,
            })
        });
        if worth {
            // Full means that a look is due anyway.
            let _ = events.try_send(());
        }
    };
    let mut debouncer = new_debouncer(
        watched.quiet_time.max(Duration::from_millis(10)),
        None,
        handler,
    )?;
    for folder in watched.folders() {
        if let Err(error) = debouncer.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(
                "folder {}: not watched: {error}; looking every {RESCAN:?} instead",
                folder.display()
            );
        }
    }
    Ok(debouncer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(folder: &Path) -> Watched {
        Watched {
            config: folder.join("polyport.toml"),
            accounts: folder.join("accounts.ini"),
            tls: BTreeSet::from([folder.join("cert.pem")]),
            plugins: folder.to_owned(),
            quiet_time: Duration::from_millis(10),
        }
    }

    #[test]
    fn a_look_sees_text_and_libraries_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let watched = watched(folder.path());
        let empty = watched.look();
        fs::write(&watched.config, "a").unwrap();
        let one = watched.look();
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_ne!(empty, one);
        assert_eq!(watched.look(), one);
        fs::write(folder.path().join("libx.so"), "x").unwrap();
        let two = watched.look();
        assert_ne!(two, one);
        fs::write(folder.path().join("cert.pem"), "x").unwrap();
        assert_ne!(watched.look(), two);
    }

    #[tokio::test]
    async fn a_file_replaced_by_rename_again_and_again_is_noticed_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let watched = watched(folder.path());
        fs::write(&watched.config, "0").unwrap();
        let (sender, mut changed) = mpsc::channel(1);
        tokio::spawn(watch(watched.clone(), watched.look(), sender));
        for round in 1..4 {
            let fresh = folder.path().join("fresh");
            fs::write(&fresh, round.to_string()).unwrap();
            fs::rename(&fresh, &watched.config).unwrap();
            tokio::time::timeout(Duration::from_secs(20), changed.recv())
                .await
                .unwrap()
                .unwrap();
        }
    }
}
