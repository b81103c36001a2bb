//! Documents on disk: one SQLite file, any number of collections.
//!
//! A collection exists while it holds a document. Every change gets a [`Revision`] that no other
//! change in the file had or will have, so that a revision names exact bytes. What a change
//! depends on is checked in the transaction that makes it. Knows nothing of HTTP, rights and JSON:
//! a body is bytes. The seam to other engines is [`Store`]'s five methods, all plain data.

mod error;
mod open;
mod read;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use error::{OpenError, StoreError};
use read::Readers;
use write::Writer;

/// When a change is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Before it is acknowledged; survives the loss of power.
    #[default]
    Always,
    /// From time to time; a loss of power may take the last changes, never the file. What was
    /// acknowledged survives the end of the process.
    Interval,
    /// When the system writes it; a loss of power may damage the file.
    Never,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file; made if missing, its folder is not.
    pub path: PathBuf,
    /// When a change is on the disk.
    pub durability: Durability,
    /// How long to wait for another process that writes to the file.
    pub busy_timeout: Duration,
    /// Connections for reading single documents, and as many for lists; from 1.
    pub readers: usize,
    /// Size at which the file stops growing; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Files up to this size are checked through when they are opened.
    pub check_bytes: u64,
}

/// A moment in the life of the file: microseconds since 1970, moved on by one where the clock
/// stands still or goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl Revision {
    /// When the change was made.
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(self.0).unwrap_or_default())
    }
}

/// A document as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which change made it.
    pub revision: Revision,
    /// The bytes that were put.
    pub body: Bytes,
}

/// What a change depends on; all of these must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The document exists.
    Exists,
    /// It does not.
    Absent,
    /// It exists in one of these revisions.
    IsOneOf(Vec<Revision>),
    /// It does not exist, or in another revision.
    IsNoneOf(Vec<Revision>),
    /// It exists and was not changed after that second.
    NotChangedSince(SystemTime),
}

impl Condition {
    /// Whether it holds for a document in this revision, or for none.
    pub fn holds(&self, current: Option<Revision>) -> bool {
        match (self, current) {
            (Self::Exists, current) => current.is_some(),
            (Self::Absent, current) => current.is_none(),
            (Self::IsOneOf(revisions), current) => current.is_some_and(|r| revisions.contains(&r)),
            (Self::IsNoneOf(revisions), current) => current.is_none_or(|r| !revisions.contains(&r)),
            (Self::NotChangedSince(time), current) => {
                // The time comes from a date in whole seconds.
                current.is_some_and(|r| r.time() < *time + Duration::from_secs(1))
            }
        }
    }
}

/// A change to one document.
#[derive(Debug, Clone)]
pub struct Write {
    /// The collection; made with its first document.
    pub collection: String,
    /// The document's id.
    pub id: String,
    /// The new bytes, or `None` to remove the document.
    pub body: Option<Bytes>,
    /// What must hold.
    pub conditions: Vec<Condition>,
}

/// What became of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The document is stored, in this revision.
    Stored {
        revision: Revision,
        /// Whether it did not exist before.
        created: bool,
    },
    /// The document is gone.
    Removed,
    /// This condition did not hold; nothing changed.
    Refused {
        condition: Condition,
        current: Option<Revision>,
    },
}

/// Which part of a collection to list, in the order of ids.
#[derive(Debug, Clone)]
pub struct Range {
    /// Only what comes behind this.
    pub after: Option<String>,
    /// Most entries, from 1.
    pub limit: usize,
    /// Whether to read the bodies.
    pub bodies: bool,
    /// Most bytes of bodies; the first entry is given even if it is larger.
    pub max_bytes: usize,
}

/// A part of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The collection's last change.
    pub revision: Revision,
    /// How many documents the collection holds.
    pub total: i64,
    /// The documents asked for; without bodies if not asked for.
    pub entries: Vec<(String, Document)>,
    /// Whether more come behind the last.
    pub more: bool,
    /// Whether something was left out on the way.
    pub partial: bool,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// How many documents it holds, at least one.
    pub documents: i64,
    /// Its last change.
    pub revision: Revision,
}

/// An open store. Several, also of several processes, may share one file.
#[derive(Debug)]
pub struct Store {
    /// For single documents: short enough to be read in place.
    points: Readers,
    /// For lists, which may be long; they must not keep single documents waiting.
    ranges: Arc<Readers>,
    /// As many lists at once as there are connections for them.
    turns: Arc<Semaphore>,
    readers: u32,
    writer: Writer,
}

impl Store {
    /// Opens the file, makes it if it is missing, checks it. Blocks.
    ///
    /// # Errors
    /// One clear text for a file that is foreign, damaged, of a later version or out of reach.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let connection = open::open(options)?;
        let readers = u32::try_from(options.readers.max(1)).unwrap_or(u32::MAX);
        let count = options.readers.max(1);
        let connections = || {
            (0..count)
                .map(|_| open::reader(options))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            points: Readers::new(connections()?),
            ranges: Arc::new(Readers::new(connections()?)),
            turns: Arc::new(Semaphore::new(count)),
            readers,
            writer: Writer::start(connection)?,
        })
    }

    /// One document.
    ///
    /// # Errors
    /// [`StoreError`], here and below: the engine's trouble, never the caller's.
    pub fn get(&self, collection: &str, id: &str) -> Result<Option<Document>, StoreError> {
        // Not worth another thread: a look-up in two B-trees, mostly in memory.
        self.points
            .with(|connection| read::get(connection, collection, id))
    }

    /// A part of a collection, of the ids that `shown` is true for; `None` if there is no such collection.
    pub async fn list(
        &self,
        collection: String,
        range: Range,
        shown: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Option<Listing>, StoreError> {
        self.read_aside(move |connection| read::list(connection, &collection, &range, shown))
            .await
    }

    /// At most `limit` collections by name, from behind `after`.
    pub async fn collections(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Collection>, StoreError> {
        self.read_aside(move |connection| read::collections(connection, after.as_deref(), limit))
            .await
    }

    /// Makes a change. When this returns [`Outcome::Stored`] or [`Outcome::Removed`] the change is
    /// as durable as [`Options::durability`] says. Changes that wait together are made together.
    pub async fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        self.writer.write(write).await
    }

    /// Makes the changes that were accepted and closes the file.
    pub async fn close(self) {
        self.writer.close().await;
        // A list whose asker is gone may still be read.
        drop(self.turns.acquire_many(self.readers).await);
    }

    async fn read_aside<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(&self.ranges);
        let reading = move || {
            let answer = readers.with(read);
            drop(readers);
            drop(turn);
            answer
        };
        match tokio::task::spawn_blocking(reading).await {
            Ok(answer) => answer,
            Err(error) => Err(StoreError::Failed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
