//! Private copies of libraries, named after the hash of their bytes.
//!
//! A library is tens of megabytes: it is copied and hashed in pieces and never whole in memory.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// A copy that has no name of its own yet; dropped without one, it is removed.
#[derive(Debug)]
pub struct Fresh {
    /// Where it is meanwhile.
    pub path: PathBuf,
    /// SHA-256 of its bytes, lowercase hexadecimal.
    pub hash: String,
}

impl Fresh {
    /// Copies the file at `from` into `folder`.
    ///
    /// # Errors
    /// One line: the file cannot be read, or the copy not be written.
    pub fn copy(from: &Path, folder: &Path) -> Result<Self, String> {
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}.{number}.new", std::process::id()));
        let unwritten = |error| format!("its private copy in {}: {error}", folder.display());
        let source = fs::File::open(from).map_err(unread)?;
        fs::create_dir_all(folder).map_err(unwritten)?;
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o500);
        let mut copy = options.open(&path).map_err(unwritten)?;
        let mut fresh = Self {
            path,
            hash: String::new(),
        };
        let mut sum = Sha256::new();
        in_pieces(source, |piece| {
            sum.update(piece);
            copy.write_all(piece).map_err(unwritten)
        })?;
        fresh.hash = hex(sum);
        Ok(fresh)
    }

    /// Gives it its name, and tells that.
    ///
    /// # Errors
    /// Why it cannot be renamed.
    pub fn keep(&self, name: &Path) -> io::Result<PathBuf> {
        fs::rename(&self.path, name)?;
        fs::canonicalize(name)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // One that was kept is not there any more; one that cannot be removed costs disk space, and a start sweeps it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The SHA-256 of a file, as a pin is written.
///
/// # Errors
/// One line: why it cannot be read.
pub fn hash_of(path: &Path) -> Result<String, String> {
    let mut sum = Sha256::new();
    let file = fs::File::open(path).map_err(unread)?;
    in_pieces(file, |piece| {
        sum.update(piece);
        Ok(())
    })?;
    Ok(hex(sum))
}

/// Gives a whole file to `take`.
///
/// # Errors
/// One line: why it cannot be read, or what `take` says.
pub fn in_pieces(
    mut from: fs::File,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&piece[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unread(error: io::Error) -> String {
    format!("cannot be read: {error}")
}

fn hex(sum: Sha256) -> String {
    let bytes = sum.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_their_hash_and_goes_unless_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("libx.so");
        let bytes: Vec<u8> = (0..PIECE + 10).map(|at| at as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let copies = folder.path().join("copies");
        let fresh = Fresh::copy(&from, &copies).unwrap();
        assert_eq!(fresh.hash, hash_of(&from).unwrap());
        assert_eq!(fresh.hash, hex(Sha256::new_with_prefix(&bytes)));
        let kept = fresh.keep(&copies.join("kept.so")).unwrap();
        drop(fresh);
        drop(Fresh::copy(&from, &copies).unwrap());
        assert_eq!(fs::read(&kept).unwrap(), bytes);
        assert_eq!(fs::read_dir(&copies).unwrap().count(), 1);
    }
}
