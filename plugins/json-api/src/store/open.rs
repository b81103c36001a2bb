//! Opening, recognising, checking and making the file.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::OpenError;
use super::{Durability, Options};

/// Marks the file as ours (SQLite's `application_id`): "PPJA".
const APPLICATION_ID: i64 = 0x5050_4a41;
/// The layout below (SQLite's `user_version`).
const LAYOUT: i64 = 1;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// `state.revision` is the last one given out; `collection.documents` is never 0.
const SCHEMA: &str = "
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL
    ) STRICT;
    INSERT INTO state VALUES (1, 0);
    CREATE TABLE collection (
        key INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        documents INTEGER NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE document (
        key INTEGER PRIMARY KEY,
        collection INTEGER NOT NULL,
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (collection, id)
    ) STRICT;
";

/// The connection for writing, to a file that is known to be good.
pub fn open(options: &Options) -> Result<Connection, OpenError> {
    let path = &options.path;
    let size = recognise(path)?;
    let fail = |error: rusqlite::Error| OpenError::new(path, explain(&error));
    let mut connection = connect(options, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?;
    match identity(&connection).map_err(fail)? {
        Identity::Empty | Identity::Of(APPLICATION_ID, LAYOUT) => {}
        Identity::Of(APPLICATION_ID, later) => {
            let text = format!(
                "expected layout {LAYOUT}, got layout {later}: the file was made by a later polyport"
            );
            return Err(OpenError::new(path, text));
        }
        Identity::Of(other, _) => {
            let text = format!(
                "expected a database of the json-api plugin, got another program's (application id {other})"
            );
            return Err(OpenError::new(path, text));
        }
    }
    if size > 0 && size <= options.check_bytes {
        check(&connection, path)?;
    }
    write_ahead(&connection, options).map_err(|problem| OpenError::new(path, problem))?;
    make(&mut connection).map_err(fail)?;
    if let Some(bytes) = options.max_bytes {
        limit(&connection, bytes).map_err(fail)?;
    }
    Ok(connection)
}

/// A further connection, for reading only.
pub fn reader(options: &Options) -> Result<Connection, OpenError> {
    // Read-only by pragma, not by flag: a reader may have to make the shared-memory file anew.
    connect(options, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|connection| {
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        })
        .map_err(|error| OpenError::new(&options.path, explain(&error)))
}

/// The file's size, 0 if it had to be made. Readable by its owner only: documents are private.
fn recognise(path: &Path) -> Result<u64, OpenError> {
    let fail = |error: std::io::Error| OpenError::new(path, error.to_string());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map_err(fail)?;
            return Ok(0);
        }
        Err(error) => return Err(fail(error)),
    };
    let mut head = Vec::new();
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(fail)?;
    if !head.is_empty() && head != MAGIC {
        let begin = String::from_utf8_lossy(&head).into_owned();
        return Err(OpenError::new(
            path,
            format!("expected an SQLite database, got a file that begins with {begin:?}"),
        ));
    }
    Ok(file.metadata().map_err(fail)?.len())
}

fn connect(options: &Options, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(&options.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Without it SQLite plans a cached statement anew whenever a key is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let synchronous = match options.durability {
        Durability::Always => "FULL",
        Durability::Interval => "NORMAL",
        Durability::Never => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// What a database is.
enum Identity {
    /// Nothing yet.
    Empty,
    /// That of the program with this application id, in this layout.
    Of(i64, i64),
}

/// Reads it all in one transaction: another process may be filling the same new file.
fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let transaction = connection.unchecked_transaction()?;
    let read = |name| transaction.pragma_query_value(None, name, |row| row.get(0));
    Ok(match (read("application_id")?, read("user_version")?) {
        (0, 0) if is_empty(&transaction)? => Identity::Empty,
        (program, layout) => Identity::Of(program, layout),
    })
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", (), |row| {
        row.get(0)
    })
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0));
    match found {
        Ok(fine) if fine == "ok" => Ok(()),
        Ok(damage) => Err(OpenError::new(path, damaged(&damage))),
        Err(error) => Err(OpenError::new(path, explain(&error))),
    }
}

/// Write-ahead logging, in which readers and one writer never wait for each other.
fn write_ahead(connection: &Connection, options: &Options) -> Result<(), String> {
    // The busy timeout does not cover this switch: two may open a new file at once.
    let deadline = Instant::now() + options.busy_timeout;
    loop {
        let mode: rusqlite::Result<String> =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match mode {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                return Err(format!(
                    "expected a file system that allows write-ahead logging, got journal mode {mode:?}"
                ));
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(explain(&error)),
        }
    }
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
    }
    transaction.commit()
}

fn limit(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes / u64::from(page.max(1)))
        .unwrap_or(i64::MAX)
        .clamp(1, 0xffff_fffe);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(&error.to_string()),
        _ => error.to_string(),
    }
}

fn damaged(what: &str) -> String {
    format!(
        "expected a sound database, got a damaged one ({what}): \
         restore a backup, or move the file away to begin with an empty store"
    )
}
