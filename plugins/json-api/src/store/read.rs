//! Reading. Each read sees one state of the file, whatever is written meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};

use super::{Collection, Document, Listing, Range, Revision, StoreError};

/// A few connections, each used by one thread at a time.
#[derive(Debug)]
pub struct Readers {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    pub fn new(connections: Vec<Connection>) -> Self {
        Self {
            connections: connections.into_iter().map(Mutex::new).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Reads with a connection that is free, else with the next that becomes so.
    pub fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.connections.len();
        for place in 0..count {
            match self.connections[turn.wrapping_add(place) % count].try_lock() {
                Ok(mut connection) => return Ok(read(&mut connection)?),
                // A panic in a read left nothing half done: a transaction rolls back as it drops.
                Err(TryLockError::Poisoned(poisoned)) => {
                    return Ok(read(&mut poisoned.into_inner())?);
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let connection = &self.connections[turn % count];
        Ok(read(
            &mut connection.lock().unwrap_or_else(PoisonError::into_inner),
        )?)
    }
}

pub fn get(
    connection: &Connection,
    collection: &str,
    id: &str,
) -> rusqlite::Result<Option<Document>> {
    connection
        .prepare_cached(
            "SELECT d.revision, d.body FROM collection c JOIN document d ON d.collection = c.key
             WHERE c.name = ?1 AND d.id = ?2",
        )?
        .query_row((collection, id), |row| {
            Ok(Document {
                revision: Revision(row.get(0)?),
                body: Bytes::copy_from_slice(row.get_ref(1)?.as_bytes()?),
            })
        })
        .optional()
}

pub fn list(
    connection: &mut Connection,
    name: &str,
    range: &Range,
    shown: impl Fn(&str) -> bool,
) -> rusqlite::Result<Option<Listing>> {
    let transaction = connection.transaction()?;
    let Some((key, total, revision)) = transaction
        .prepare_cached("SELECT key, documents, revision FROM collection WHERE name = ?1")?
        .query_row([name], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?
    else {
        return Ok(None);
    };
    let mut listing = Listing {
        revision: Revision(revision),
        total,
        entries: Vec::new(),
        more: false,
        partial: false,
    };
    let columns = if range.bodies {
        "id, revision, body"
    } else {
        "id, revision, x''"
    };
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT {columns} FROM document WHERE collection = ?1 AND id > ?2 ORDER BY id"
    ))?;
    // No id is empty, so everything comes behind "".
    let mut rows = statement.query((key, range.after.as_deref().unwrap_or_default()))?;
    let mut bytes = 0_usize;
    while let Some(row) = rows.next()? {
        if !shown(row.get_ref(0)?.as_str()?) {
            listing.partial = true;
            continue;
        }
        let body = row.get_ref(2)?.as_bytes()?;
        bytes = bytes.saturating_add(body.len());
        let full = bytes > range.max_bytes && !listing.entries.is_empty();
        if full || listing.entries.len() >= range.limit {
            listing.more = true;
            break;
        }
        let document = Document {
            revision: Revision(row.get(1)?),
            body: Bytes::copy_from_slice(body),
        };
        listing.entries.push((row.get(0)?, document));
    }
    Ok(Some(listing))
}

pub fn collections(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Collection>> {
    connection
        .prepare_cached(
            "SELECT name, documents, revision FROM collection
             WHERE name > ?1 ORDER BY name LIMIT ?2",
        )?
        .query_map(
            (
                after.unwrap_or_default(),
                i64::try_from(limit).unwrap_or(i64::MAX),
            ),
            |row| {
                Ok(Collection {
                    name: row.get(0)?,
                    documents: row.get(1)?,
                    revision: Revision(row.get(2)?),
                })
            },
        )?
        .collect()
}
