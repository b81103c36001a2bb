//! The entries of a folder, depth first, one open folder for each level.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use polyport_sdk::files::{ClientPath, Entries, Entry, Error, Metadata, View};
use tracing::warn;

/// Folders deeper than this are left out: each level holds a descriptor.
const MAX_DEPTH: usize = 200;

/// One entry, named with the archived folder's name in front.
pub(super) struct Item {
    pub(super) name: PathBuf,
    pub(super) metadata: Metadata,
    /// None for a folder.
    pub(super) file: Option<File>,
}

struct Level {
    path: ClientPath,
    name: PathBuf,
    /// Device and inode: a link may lead to a folder above.
    identity: (u64, u64),
    entries: Entries,
}

/// Iterates over what an archive is to hold. What cannot be read is left out with a warning: a
/// response that has begun cannot be refused any more.
pub(super) struct Walk {
    view: View,
    start: Option<(ClientPath, OsString)>,
    levels: Vec<Level>,
}

impl Walk {
    pub(super) fn new(view: View, folder: ClientPath, name: String) -> Self {
        Self {
            view,
            start: Some((folder, name.into())),
            levels: Vec::new(),
        }
    }

    fn enter(
        &mut self,
        path: ClientPath,
        name: PathBuf,
        metadata: &Metadata,
    ) -> Result<bool, Error> {
        let identity = (metadata.device, metadata.inode);
        if self.levels.len() >= MAX_DEPTH
            || self.levels.iter().any(|level| level.identity == identity)
        {
            return Ok(false);
        }
        let entries = self.view.read_dir(&path)?;
        self.levels.push(Level {
            path,
            name,
            identity,
            entries,
        });
        Ok(true)
    }

    fn item(
        &mut self,
        path: ClientPath,
        name: PathBuf,
        entry: Entry,
    ) -> Result<Option<Item>, Error> {
        if entry.metadata.is_dir() {
            let entered = self.enter(path, name.clone(), &entry.metadata)?;
            return Ok(entered.then_some(Item {
                name,
                metadata: entry.metadata,
                file: None,
            }));
        }
        let (file, metadata) = self.view.open_file(&path)?;
        Ok(Some(Item {
            name,
            metadata,
            file: Some(file),
        }))
    }
}

impl Iterator for Walk {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((folder, name)) = self.start.take() {
            let name = PathBuf::from(name);
            return Some(
                self.view
                    .metadata(&folder)
                    .and_then(|metadata| {
                        self.enter(folder, name.clone(), &metadata)?;
                        Ok(Item {
                            name,
                            metadata,
                            file: None,
                        })
                    })
                    .map_err(Into::into),
            );
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = level.name.join(&entry.name);
            let found = level
                .path
                .child(&entry.name)
                .and_then(|path| self.item(path, name.clone(), entry));
            match found {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) | Err(Error::Forbidden) => {}
                Err(error) => warn!(
                    "{:?} is left out of an archive: {error}",
                    name.display().to_string()
                ),
            }
        }
    }
}
