//! Writing: one thread, one connection, changes that wait together in one transaction.
//!
//! The disk is the slow part, not the changes: while one transaction is being made durable, the
//! next changes gather. So a lone change is committed at once, and a crowd shares its commits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Condition, OpenError, Outcome, Revision, StoreError, Write};

/// Changes in one transaction.
const LARGEST_BATCH: usize = 256;
/// Changes that wait; one more waits in its own task.
const QUEUE: usize = 1024;

type Answer = Result<Outcome, StoreError>;

struct Job {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

/// The way to the writing thread.
#[derive(Debug)]
pub struct Writer {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open {
        jobs: mpsc::Sender<Job>,
        thread: JoinHandle<()>,
    },
    Closed,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Result<Self, OpenError> {
        let path = connection.path().unwrap_or_default().to_owned();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("json-api-writer".to_owned())
            .spawn(move || run(connection, queue))
            .map_err(|error| OpenError::new(path.as_ref(), error.to_string()))?;
        Ok(Self {
            state: Mutex::new(State::Open { jobs, thread }),
        })
    }

    /// Makes a change and waits until it is durable.
    pub async fn write(&self, write: Write) -> Answer {
        let jobs = match &*self.state() {
            State::Open { jobs, .. } => jobs.clone(),
            State::Closed => return Err(StoreError::Closed),
        };
        let (answer, answered) = oneshot::channel();
        jobs.send(Job { write, answer })
            .await
            .map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits for the changes under way and for the thread.
    pub async fn close(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Closed);
        if let State::Open { jobs, thread } = state {
            drop(jobs);
            // The thread catches what could make it panic; joining it blocks.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < LARGEST_BATCH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        // A panic rolls the transaction back as it passes it.
        let answers = catch_unwind(AssertUnwindSafe(|| answers(&mut connection, &batch)));
        let answers = answers.unwrap_or_else(|_| {
            let error = StoreError::Failed("panic while writing".to_owned());
            batch.iter().map(|_| Err(error.clone())).collect()
        });
        for (job, answer) in batch.into_iter().zip(answers) {
            // A client that went away does not undo its change.
            drop(job.answer.send(answer));
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!("closing the database: {error}");
    }
}

fn answers(connection: &mut Connection, batch: &[Job]) -> Vec<Answer> {
    match commit(connection, batch.iter().map(|job| &job.write)) {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        // What fills the disk must not fail its neighbours, least of all those that remove.
        Err(StoreError::Full) if batch.len() > 1 => batch
            .iter()
            .flat_map(|job| answers(connection, std::slice::from_ref(job)))
            .collect(),
        Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// All of the changes or, on an error, none.
fn commit<'w>(
    connection: &mut Connection,
    writes: impl Iterator<Item = &'w Write>,
) -> Result<Vec<Outcome>, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last: i64 = transaction
        .prepare_cached("SELECT revision FROM state")?
        .query_row((), |row| row.get(0))?;
    let mut revisions = Revisions { last };
    let outcomes = writes
        .map(|write| apply(&transaction, write, &mut revisions))
        .collect::<Result<_, _>>()?;
    if revisions.last == last {
        return Ok(outcomes);
    }
    transaction
        .prepare_cached("UPDATE state SET revision = ?1")?
        .execute([revisions.last])?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Gives out revisions, each later than all before it in this file.
struct Revisions {
    last: i64,
}

impl Revisions {
    fn next(&mut self) -> Revision {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or_default();
        self.last = now.max(self.last.saturating_add(1));
        Revision(self.last)
    }
}

fn apply(
    transaction: &Transaction<'_>,
    write: &Write,
    revisions: &mut Revisions,
) -> rusqlite::Result<Outcome> {
    let collection: Option<i64> = transaction
        .prepare_cached("SELECT key FROM collection WHERE name = ?1")?
        .query_row([&write.collection], |row| row.get(0))
        .optional()?;
    let current = match collection {
        Some(collection) => transaction
            .prepare_cached("SELECT revision FROM document WHERE collection = ?1 AND id = ?2")?
            .query_row((collection, &write.id), |row| row.get(0).map(Revision))
            .optional()?,
        None => None,
    };
    if let Some(condition) = write
        .conditions
        .iter()
        .find(|condition| !condition.holds(current))
    {
        return Ok(Outcome::Refused {
            condition: condition.clone(),
            current,
        });
    }
    match (&write.body, collection) {
        (Some(body), collection) => {
            let revision = revisions.next();
            let collection = match collection {
                Some(collection) => collection,
                None => make_collection(transaction, &write.collection)?,
            };
            transaction
                .prepare_cached(
                    "INSERT INTO document (collection, id, revision, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET revision = ?3, body = ?4",
                )?
                .execute((collection, &write.id, revision.0, &body[..]))?;
            let created = current.is_none();
            touch(transaction, collection, i64::from(created), revision)?;
            Ok(Outcome::Stored { revision, created })
        }
        (None, Some(collection)) if current.is_some() => {
            transaction
                .prepare_cached("DELETE FROM document WHERE collection = ?1 AND id = ?2")?
                .execute((collection, &write.id))?;
            touch(transaction, collection, -1, revisions.next())?;
            transaction
                .prepare_cached("DELETE FROM collection WHERE key = ?1 AND documents = 0")?
                .execute([collection])?;
            Ok(Outcome::Removed)
        }
        (None, _) => Ok(Outcome::Refused {
            condition: Condition::Exists,
            current,
        }),
    }
}

fn make_collection(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("INSERT INTO collection (name, documents, revision) VALUES (?1, 0, 0)")?
        .execute([name])?;
    Ok(transaction.last_insert_rowid())
}

fn touch(
    transaction: &Transaction<'_>,
    collection: i64,
    documents: i64,
    revision: Revision,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE collection SET documents = documents + ?2, revision = ?3 WHERE key = ?1",
        )?
        .execute((collection, documents, revision.0))?;
    Ok(())
}
