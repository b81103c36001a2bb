//! The host's side of `folders/1`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use polyport_abi::RVec;
use polyport_abi::folders as abi;
use polyport_abi::log::LevelCell;

use super::{guard, side};
use crate::config::Folder;

/// The folders that an instance is to show.
pub(super) struct Shown {
    list: Mutex<Vec<Folder>>,
    revision: LevelCell,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            list: Mutex::default(),
            revision: LevelCell {
                value: AtomicU64::new(0),
            },
        }
    }
}

impl Shown {
    /// Puts these in place of those before.
    pub(super) fn set(&self, folders: Vec<Folder>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if *list != folders {
            *list = folders;
            self.revision.value.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn revision(&self) -> &LevelCell {
        &self.revision
    }
}

pub(super) extern "C" fn current(ctx: *const ()) -> RVec<u8> {
    guard(RVec::new(), || {
        let shown = &side(ctx).folders;
        let list = shown.list.lock().unwrap_or_else(PoisonError::into_inner);
        let list: Vec<abi::Folder> = list.iter().map(told).collect();
        serde_json::to_vec(&list).unwrap_or_default().into()
    })
}

fn told(folder: &Folder) -> abi::Folder {
    abi::Folder {
        name: folder.name.clone(),
        at: folder.at.clone(),
        path: folder.path.clone(),
        symlinks: folder.symlinks.to_owned(),
        hidden: folder.hidden,
        homes: folder.homes,
    }
}
