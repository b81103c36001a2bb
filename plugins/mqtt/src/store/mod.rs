//! The store on disk: an append log with group commit.
//!
//! `N.log` holds records in the order they were made. When the logs have grown, the engine writes an image of its
//! state among the others' records into a new log and those that follow, a little at a time; once it is whole, the
//! logs before it are removed unread. Threads of its own write: while they wait for the disk, further batches gather
//! and go with the next write. It knows records only through [`State`].

mod files;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polyport_mqtt_core::store::{Journal, Sequence, State, Store};

use crate::config::Durability;
use crate::outbound::Outbound;
use files::Files;
pub(crate) use files::{Bequest, Place};
use writer::Writer;

/// How the store treats the disk.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When a record is on disk.
    pub durability: Durability,
    /// Time between two flushes with [`Durability::Interval`].
    pub flush_interval: Duration,
    /// Bytes that the logs grow by before the store is compacted.
    pub compact_bytes: u64,
}

/// What was found when the store was opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The state to start from.
    pub state: State,
    /// What could not be read, one line each; everything whole was kept.
    pub damage: Vec<String>,
}

/// The store of one broker, open.
#[derive(Debug)]
pub struct DiskStore {
    writer: Arc<Writer>,
    /// Whether anything waits for commits.
    awaited: AtomicBool,
}

impl DiskStore {
    /// Opens or creates the store in `folder`, which no other process may have open.
    ///
    /// # Errors
    /// When the folder or its files cannot be created, read or locked.
    pub fn open(folder: &Path, settings: Settings) -> io::Result<(DiskStore, Loaded)> {
        let (files, loaded) = files::open(folder, settings.durability != Durability::Never)?;
        Ok((DiskStore::start(files, settings)?, loaded))
    }

    /// Goes on with a store that an instance before this one had open, and that it does not write to any more. Nothing
    /// is written before the first append.
    ///
    /// # Errors
    /// When the folder cannot be read, or there can be no thread that writes.
    pub(crate) fn inherit(
        folder: &Path,
        settings: Settings,
        bequest: Bequest,
    ) -> io::Result<DiskStore> {
        let sync = settings.durability != Durability::Never;
        DiskStore::start(Files::inherit(folder, sync, bequest)?, settings)
    }

    fn start(files: Files, settings: Settings) -> io::Result<DiskStore> {
        Ok(DiskStore {
            writer: Writer::start(files, settings)?,
            awaited: AtomicBool::new(settings.durability == Durability::Always),
        })
    }

    /// Commits all that was appended, and gives the store as it is then.
    ///
    /// # Errors
    /// When the disk does not take it within `limit`.
    pub(crate) fn settle(&self, limit: Duration) -> io::Result<Bequest> {
        self.writer.settle(limit)
    }

    /// Waits until the logs have grown so much that an image of the state is worth its writing. Once for each.
    pub async fn image_due(&self) {
        self.writer.image_due().await;
    }

    /// An image begins with what is appended next.
    pub fn begin_image(&self) {
        self.writer.begin_image();
    }

    /// Has all that was appended put on the disk soon, whatever the durability, and gives the sequence that stands
    /// for it.
    pub fn force(&self) -> Sequence {
        self.writer.force(None)
    }

    /// The image that was begun is whole, all of its `bytes` appended: what is older goes once that is on the disk.
    pub fn end_image(&self, bytes: u64) -> Sequence {
        self.writer.force(Some(bytes))
    }

    /// Other settings from now on: what was appended before waits for the disk as it was to.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.writer.set_settings(settings);
        let awaited = settings.durability == Durability::Always;
        self.awaited.store(awaited, Ordering::Relaxed);
    }

    /// Whether anything waits for commits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// So much waits for the disk that there had better not be more.
    pub fn is_behind(&self) -> bool {
        self.writer.is_behind()
    }

    /// Has `outbound` woken once `sequence` is committed; false when it is already.
    pub(crate) fn wake_on_commit(&self, sequence: Sequence, outbound: &Arc<Outbound>) -> bool {
        self.writer.wake_on_commit(sequence, outbound)
    }

    /// Writes and flushes everything and ends the writing thread.
    ///
    /// # Errors
    /// The last error of the disk, when not everything could be written.
    pub fn close(&self) -> io::Result<()> {
        self.writer.close()
    }
}

impl Store for &DiskStore {
    fn append(&mut self, journal: &Journal) -> Sequence {
        self.writer.append(journal)
    }

    fn committed(&self) -> Sequence {
        self.writer.committed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use polyport_mqtt_core::store::Record;

    use super::*;

    const SETTINGS: Settings = Settings {
        durability: Durability::Always,
        flush_interval: Duration::from_secs(1),
        compact_bytes: 1,
    };
    const LIMIT: Duration = Duration::from_secs(20);

    fn ended(session: u64) -> Journal {
        let mut journal = Journal::default();
        journal.require(&Record::SessionEnded { session });
        journal.seal();
        journal
    }

    fn contents(folder: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
        let entries = std::fs::read_dir(folder).unwrap();
        let entries = entries.map(|entry| entry.unwrap());
        let read = entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()));
        read.collect()
    }

    #[test]
    fn what_was_written_without_the_disk_is_put_there_when_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let of = |durability| Settings {
            durability,
            ..SETTINGS
        };
        let (store, _) = DiskStore::open(folder.path(), of(Durability::Never)).unwrap();
        let written = |durability| {
            store.set_settings(of(durability));
            { &store }.append(&ended(1));
            let synced = store.settle(LIMIT).unwrap().place.synced;
            (store.is_awaited(), synced)
        };
        assert_eq!(written(Durability::Never), (false, false));
        assert_eq!(written(Durability::Always), (true, true));
        assert_eq!(written(Durability::Never), (false, false));
        assert_eq!(written(Durability::Interval), (false, true));
        store.close().unwrap();
    }

    #[test]
    fn one_that_goes_on_with_a_store_and_is_stopped_has_written_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (before, _) = DiskStore::open(folder.path(), SETTINGS).unwrap();
        for session in 0..100 {
            { &before }.append(&ended(session));
        }
        let bequest = before.settle(LIMIT).unwrap();
        let left = contents(folder.path());
        let next = DiskStore::inherit(folder.path(), SETTINGS, bequest).unwrap();
        next.close().unwrap();
        drop(next);
        assert_eq!(contents(folder.path()), left);

        // The one before goes on, and another one after it.
        { &before }.append(&ended(100));
        let bequest = before.settle(LIMIT).unwrap();
        let next = DiskStore::inherit(folder.path(), SETTINGS, bequest).unwrap();
        before.close().unwrap();
        drop(before);
        { &next }.append(&ended(101));
        next.close().unwrap();
        drop(next);
        let (store, loaded) = DiskStore::open(folder.path(), SETTINGS).unwrap();
        assert!(loaded.damage.is_empty(), "{:?}", loaded.damage);
        store.close().unwrap();
        let bytes: usize = contents(folder.path()).values().map(Vec::len).sum();
        let frame = ended(0).bytes().len();
        assert_eq!(bytes, 16 + 102 * frame);
    }
}
