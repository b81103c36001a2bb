//! A part of a file as a stream of large pieces.
//!
//! What the page cache holds is read at once on the task; for the rest the task hands the read to
//! the blocking pool, so that a slow disk holds up nobody else.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::BodyStream;

/// Bytes read at once.
pub(super) const PIECE: usize = 256 * 1024;

/// Buffers kept for later pieces, of all files together.
const KEPT: usize = 16;

/// A part of a regular file as a stream, for a body that is put together from several.
#[must_use]
pub fn file_stream(file: Arc<File>, offset: u64, len: u64) -> BodyStream {
    Box::pin(FileReader::new(file, offset, len, PIECE))
}

pub(super) struct FileReader {
    file: Arc<File>,
    offset: u64,
    left: u64,
    piece: usize,
    reading: Option<JoinHandle<io::Result<Buffer>>>,
    advised: bool,
}

impl FileReader {
    /// `piece`: bytes to read at once, at most [`PIECE`].
    pub(super) fn new(file: Arc<File>, offset: u64, len: u64, piece: usize) -> Self {
        Self {
            file,
            offset,
            left: len,
            piece: piece.min(PIECE),
            reading: None,
            advised: false,
        }
    }

    /// Bytes still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn take(&mut self, buffer: Buffer) -> Option<io::Result<Bytes>> {
        let len = buffer.filled as u64;
        if len == 0 {
            let left = self.left;
            self.left = 0;
            let message = format!("the file ended {left} bytes before its length");
            return Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
        }
        self.offset += len;
        self.left -= len;
        Some(Ok(Bytes::from_owner(buffer)))
    }

    /// Reads ahead of a slow disk; on a file in the cache it is never asked for.
    fn advise(&mut self) {
        if !self.advised {
            self.advised = true;
            // Advice that the file system does not take is no loss.
            let _ = rustix::fs::fadvise(&self.file, self.offset, None, Advice::Sequential);
        }
    }
}

impl Stream for FileReader {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(reading) = &mut this.reading {
            let read = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            return Poll::Ready(match read.map_err(io::Error::other).and_then(|read| read) {
                Ok(buffer) => this.take(buffer),
                Err(error) => Some(Err(error)),
            });
        }
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut buffer = Buffer::new(this.left, this.piece);
        match buffer.fill_from_cache(&this.file, this.offset) {
            Ok(()) => return Poll::Ready(this.take(buffer)),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {}
            Err(errno) => return Poll::Ready(Some(Err(errno.into()))),
        }
        this.advise();
        let (file, offset) = (Arc::clone(&this.file), this.offset);
        let mut reading = tokio::task::spawn_blocking(move || {
            buffer.fill(&file, offset)?;
            Ok(buffer)
        });
        match Pin::new(&mut reading).poll(cx) {
            Poll::Ready(read) => {
                Poll::Ready(match read.map_err(io::Error::other).and_then(|read| read) {
                    Ok(buffer) => this.take(buffer),
                    Err(error) => Some(Err(error)),
                })
            }
            Poll::Pending => {
                this.reading = Some(reading);
                Poll::Pending
            }
        }
    }
}

/// Bytes that go back to the pool once they are sent.
struct Buffer {
    bytes: Box<[u8]>,
    /// How many of them are of use.
    filled: usize,
}

/// Whole buffers that wait for their next use. One pool for each plugin.
static POOL: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

impl Buffer {
    fn new(wanted: u64, most: usize) -> Self {
        let size = usize::try_from(wanted).map_or(most, |wanted| wanted.min(most));
        let pooled = (size == PIECE).then(|| POOL.lock().ok()?.pop()).flatten();
        let bytes = pooled.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Self { bytes, filled: 0 }
    }

    fn fill_from_cache(&mut self, file: &File, offset: u64) -> Result<(), Errno> {
        let mut slices = [IoSliceMut::new(&mut self.bytes)];
        self.filled = rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT)?;
        Ok(())
    }

    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        self.filled = loop {
            match file.read_at(&mut self.bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == PIECE
            && let Ok(mut pool) = POOL.lock()
            && pool.len() < KEPT
        {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::io::Write;

    async fn read(file: &Arc<File>, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut pieces = file_stream(Arc::clone(file), offset, len);
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_read_byte_for_byte() {
        let content: Vec<u8> = (0..PIECE * 3 + 77).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        for (offset, len) in [
            (0, content.len()),
            (5, PIECE),
            (5, PIECE + 1),
            (content.len() - 1, 1),
            (9, 0),
        ] {
            let expected = &content[offset..offset + len];
            assert_eq!(
                read(&file, offset as u64, len as u64).await.unwrap(),
                expected
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"short").unwrap();
        let error = read(&Arc::new(file), 0, 6).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(
            error.to_string(),
            "the file ended 1 bytes before its length"
        );
    }
}
