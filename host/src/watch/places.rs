//! Where something must happen for the files to become others: a path is followed as the system does, and each
//! folder in which one of its names is looked up, link by link, is a place. Knows nothing of events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::files::{Watched, is_library};

/// As many links as the system follows (path_resolution(7)).
const LINKS: usize = 40;

/// What to watch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Folders, by paths without links, and the names in each that matter.
    pub(super) folders: BTreeMap<PathBuf, Names>,
    /// The files themselves: what is mounted as a single file, or has another name elsewhere, is changed without a
    /// word in its folder.
    pub(super) files: BTreeSet<PathBuf>,
}

/// Names in a folder that matter; without any, only its own end does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    exact: BTreeSet<OsString>,
    libraries: bool,
}

impl Names {
    /// Whether this one does.
    pub(super) fn contain(&self, name: &OsStr) -> bool {
        self.exact.contains(name) || (self.libraries && is_library(Path::new(name)))
    }

    /// Whether none does.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && !self.libraries
    }

    /// These as well.
    pub(super) fn extend(&mut self, others: Self) {
        self.exact.extend(others.exact);
        self.libraries |= others.libraries;
    }
}

impl Places {
    /// Those of the files as they are found now.
    pub(super) fn of(watched: &Watched) -> Self {
        let mut places = Self::default();
        for text in watched.texts() {
            if let Some(file) = places.follow(text) {
                places.files.insert(file);
            }
        }
        if let Some(folder) = places.follow(&watched.plugins) {
            places.folders.entry(folder).or_default().libraries = true;
        }
        for library in watched.libraries().iter().filter(|path| path.is_symlink()) {
            places.follow(library);
        }
        places
    }

    /// Adds what `path` is found by. Gives what it leads to, if there is such a thing.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut ahead: VecDeque<OsString> = parts(&path).collect();
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            match Path::new(&part).components().next() {
                Some(Component::ParentDir) => {
                    at.pop();
                }
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::Normal(name)) => {
                    let next = at.join(name);
                    let meta = fs::symlink_metadata(&next);
                    let is_link = meta.as_ref().is_ok_and(fs::Metadata::is_symlink);
                    // Of a folder on the way its own end tells; what is missing, a link or the end may change.
                    let names = self.folders.entry(at.clone()).or_default();
                    if is_link || ahead.is_empty() || meta.is_err() {
                        names.exact.insert(name.to_owned());
                    }
                    meta.ok()?;
                    if is_link {
                        links += 1;
                        if links > LINKS {
                            return None;
                        }
                        for part in parts(&fs::read_link(&next).ok()?).rev() {
                            ahead.push_front(part);
                        }
                    } else {
                        at = next;
                    }
                }
                _ => {}
            }
        }
        Some(at)
    }
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let parts = path.components().map(|part| part.as_os_str().to_owned());
    parts.collect::<Vec<_>>().into_iter()
}
