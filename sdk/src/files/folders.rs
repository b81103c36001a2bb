//! The folders that the host's configuration gives to this instance, as they are at the moment.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use polyport_abi::HostQuery;
use polyport_abi::folders::{Folder, FoldersV1};

/// Asks the host for the folders, and learns at once when there are others.
pub(crate) struct Folders {
    host: HostQuery,
    /// Not asked for by a plugin that shows no files: the host takes that for its sign.
    table: OnceLock<Option<&'static FoldersV1>>,
}

impl std::fmt::Debug for Folders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Folders")
    }
}

impl Folders {
    pub(crate) fn new(host: HostQuery) -> Self {
        Self {
            host,
            table: OnceLock::new(),
        }
    }

    fn table(&self) -> Option<&'static FoldersV1> {
        *self
            .table
            .get_or_init(|| crate::export::host_interface(self.host).ok())
    }

    /// Another number each time that there are other folders.
    pub(super) fn revision(&self) -> u64 {
        self.table()
            .map_or(0, |table| table.revision.value.load(Ordering::Acquire))
    }

    pub(super) fn current(&self) -> Vec<Folder> {
        let Some(table) = self.table() else {
            return Vec::new();
        };
        let folders = (table.current)(table.ctx);
        serde_json::from_slice(folders.as_slice()).unwrap_or_else(|error| {
            tracing::error!("folders of the host: {error}");
            Vec::new()
        })
    }
}
