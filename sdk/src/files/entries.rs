//! The iteration over a folder as an account sees it.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, IntoIter};
use std::ffi::OsString;
use std::sync::Arc;

use super::mount::Mount;
use super::{ClientPath, Entry, Error, ReadDir, View};
use crate::accounts::Action;

/// Iterates over what an account sees in a folder, in no order; from [`View::read_dir`].
#[derive(Debug)]
pub struct Entries {
    view: View,
    folder: ClientPath,
    mounts: IntoIter<OsString, Option<Arc<Mount>>>,
    /// Names on the disk that folders of the tree hide.
    taken: BTreeSet<OsString>,
    disk: Option<ReadDir>,
    hidden: bool,
}

impl Entries {
    pub(super) fn new(
        view: View,
        folder: ClientPath,
        mounts: BTreeMap<OsString, Option<Arc<Mount>>>,
        disk: Option<ReadDir>,
        hidden: bool,
    ) -> Self {
        Self {
            view,
            folder,
            taken: mounts.keys().cloned().collect(),
            mounts: mounts.into_iter(),
            disk,
            hidden,
        }
    }

    /// Whether the account may know of it.
    fn is_shown(&self, entry: &Entry) -> bool {
        self.folder.child(&entry.name).is_ok_and(|path| {
            self.view.allows(Action::List, &path) || self.view.allows(Action::Read, &path)
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((name, mount)) = self.mounts.next() {
            // One that cannot be opened is not there.
            let found = self.view.look_at_mount(&self.folder, &name, mount.as_ref());
            let Ok(metadata) = found else { continue };
            let entry = Entry {
                name,
                metadata,
                is_link: false,
            };
            if self.is_shown(&entry) {
                return Some(Ok(entry));
            }
        }
        loop {
            let entry = match self.disk.as_mut()?.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let hidden = entry.is_hidden() && !self.hidden;
            if !hidden && !self.taken.contains(&entry.name) && self.is_shown(&entry) {
                return Some(Ok(entry));
            }
        }
    }
}
