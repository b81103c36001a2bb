//! What can go wrong with the file, by what to do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why a store did not open; for the operator.
#[derive(Debug, thiserror::Error)]
#[error("database {path:?}: {problem}")]
pub struct OpenError {
    path: PathBuf,
    problem: String,
}

impl OpenError {
    pub(super) fn new(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Why a read or a change failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk, or `max_bytes` is reached. Nothing changed.
    #[error("the disk or the database is full")]
    Full,
    /// Another process writes for longer than the time to wait. Nothing changed.
    #[error("the database is busy")]
    Busy,
    /// Another instance has the store now. Nothing changed.
    #[error("the database went to another instance")]
    Elsewhere,
    /// The store is being closed.
    #[error("the database is closed")]
    Closed,
    /// The file is damaged.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Anything else the engine says.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}
