//! From the connection's task to the disk, in large pieces on a blocking thread.

use std::io::Write;

use polyport_sdk::files::{Error, Metadata, Upload};
use polyport_sdk::http::Problem;

use crate::blocking::blocking;

/// Bytes written at once.
const PIECE: usize = 256 * 1024;

/// An upload under way. Dropped, it leaves nothing behind.
pub(super) struct Sink {
    /// None only while a blocking thread has it, and after that failed.
    upload: Option<Upload>,
    gathered: Vec<u8>,
    len: u64,
}

impl Sink {
    pub(super) fn new(upload: Upload) -> Self {
        Self {
            upload: Some(upload),
            gathered: Vec::with_capacity(PIECE),
            len: 0,
        }
    }

    /// Bytes taken so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.len += bytes.len() as u64;
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let mut upload = self.upload.take().ok_or_else(Problem::internal)?;
        let gathered = std::mem::take(&mut self.gathered);
        let (upload, mut gathered) = blocking(move || -> Result<_, Error> {
            upload.write_all(&gathered)?;
            Ok((upload, gathered))
        })
        .await??;
        gathered.clear();
        self.upload = Some(upload);
        self.gathered = gathered;
        Ok(())
    }

    /// Makes the upload the file.
    pub(super) async fn commit(mut self) -> Result<Metadata, Problem> {
        self.flush().await?;
        let upload = self.upload.take().ok_or_else(Problem::internal)?;
        Ok(blocking(move || upload.commit()).await??)
    }
}
