//! What an upload counts towards its account's quota.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use crate::accounts::Account;

/// Counts as a file grows, and gives back what comes to nothing once its last holder is gone.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None where nothing is counted.
    account: Option<Account>,
    /// Bytes that become free when the upload is complete: those of the file it replaces.
    replaced: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    charged: u64,
    kept: bool,
}

/// Writes a file that is being received, and counts it. From [`Upload::writer`](super::Upload::writer) and
/// [`Growing::writer`](super::Growing::writer).
#[derive(Debug)]
pub struct Writer {
    file: File,
    charge: Charge,
}

impl Writer {
    pub(super) fn new(file: File, charge: Charge) -> Self {
        Self { file, charge }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.charge.write(&mut self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Charge {
    pub(super) fn new(account: Option<Account>, replaced: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                account,
                replaced,
                state: Mutex::default(),
            }),
        }
    }

    pub(super) fn none() -> Self {
        Self::new(None, 0)
    }

    /// Writes what there is room for in the quota: all or nothing.
    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        let wanted = bytes.len() as u64;
        self.inner.grow(wanted)?;
        let written = file.write(bytes);
        let missing = wanted - written.as_ref().map_or(0, |&written| written as u64);
        self.inner.shrink(missing);
        written
    }

    /// What was counted stays so: the file is complete, or stays as far as it came.
    pub(super) fn keep(&self) {
        let mut state = self.inner.state();
        if !std::mem::replace(&mut state.kept, true) {
            let spared = self.inner.replaced.saturating_sub(state.written);
            self.free(spared);
        }
    }

    /// Gives bytes back that are not stored any more.
    pub(super) fn free(&self, bytes: u64) {
        self.inner.free(bytes);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(&self, bytes: u64) -> Result<(), Error> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        let mut state = self.state();
        let due = (state.written + bytes).saturating_sub(self.replaced);
        let more = due.saturating_sub(state.charged);
        if more > 0 && !account.charge(i64::try_from(more).unwrap_or(i64::MAX)) {
            return Err(Error::OverQuota);
        }
        state.charged += more;
        state.written += bytes;
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        let mut state = self.state();
        state.written = state.written.saturating_sub(bytes);
        let due = state.written.saturating_sub(self.replaced);
        let less = state.charged.saturating_sub(due);
        state.charged -= less;
        self.free(less);
    }

    fn free(&self, bytes: u64) {
        if let Some(account) = &self.account
            && bytes > 0
        {
            // Nothing refuses less.
            let _ = account.charge(-i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state();
        let lost = if state.kept { 0 } else { state.charged };
        drop(state);
        self.free(lost);
    }
}
