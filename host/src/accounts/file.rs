//! Rewriting accounts.ini so that nobody ever sees half of it and two commands never undo each
//! other: lock, read, edit, temporary file with the same mode and owner, fsync, rename.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for another command that edits the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The mode of a file that did not exist: passwords are nobody else's business.
const NEW_MODE: u32 = 0o600;

/// Why a file was not edited; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// Reading or writing failed.
    #[error("cannot {what} {}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The edit itself was refused.
    #[error(transparent)]
    Refused(E),
}

/// Replaces the content of `file` with what `change` makes of it. A missing file is an empty one;
/// a symbolic link is followed. Nothing is written if nothing changes.
pub fn edit<T, E>(
    file: &Path,
    change: impl FnOnce(Vec<u8>) -> Result<(Vec<u8>, T), E>,
) -> Result<T, EditError<E>> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let failed = |what: &'static str| {
        let file = file.to_owned();
        move |source| EditError::Io { what, file, source }
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // The folder is the lock: the file itself is replaced, and a lock file would stay behind.
    let lock = File::open(&folder).map_err(failed("open the folder of"))?;
    wait_for(&lock).map_err(failed("lock the folder of"))?;
    let (before, metadata) = match fs::read(&target) {
        Ok(bytes) => (bytes, Some(fs::metadata(&target).map_err(failed("read"))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(failed("read")(error)),
    };
    let (after, value) = change(before.clone()).map_err(EditError::Refused)?;
    if after != before {
        replace(&target, &folder, &after, metadata.as_ref()).map_err(failed("write"))?;
        lock.sync_all().map_err(failed("sync the folder of"))?;
    }
    Ok(value)
}

fn wait_for(lock: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20))
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another command holds it",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn replace(
    target: &Path,
    folder: &Path,
    bytes: &[u8],
    like: Option<&fs::Metadata>,
) -> io::Result<()> {
    let mut new = tempfile::Builder::new()
        .prefix(".accounts-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    new.write_all(bytes)?;
    if let Some(like) = like {
        let ours = new.as_file().metadata()?;
        if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
            fchown(new.as_file(), Some(like.uid()), Some(like.gid()))?;
        }
    }
    // After the owner, because a change of owner may clear bits of the mode.
    let mode = like.map_or(NEW_MODE, |like| like.mode() & 0o7777);
    new.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    use super::*;

    fn append(file: &Path, text: &str) -> Result<(), EditError<Infallible>> {
        edit(file, |mut bytes| {
            bytes.extend_from_slice(text.as_bytes());
            Ok((bytes, ()))
        })
    }

    #[test]
    fn mode_and_link_are_kept_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.ini");
        let link = folder.path().join("accounts.ini");
        fs::write(&real, "a\n").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real.ini", &link).unwrap();
        append(&link, "b\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "a\nb\n");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.ini");
        append(&file, "x").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, NEW_MODE);
    }

    #[test]
    fn an_edit_that_changes_nothing_or_is_refused_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.ini");
        fs::write(&file, "a").unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        append(&file, "").unwrap();
        let refused = edit(&file, |_| Err::<(Vec<u8>, ()), _>("no"));
        assert!(matches!(refused, Err(EditError::Refused("no"))));
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
    }

    #[test]
    fn edits_at_once_do_not_undo_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.ini");
        thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || append(file, &format!("{number}\n")).unwrap());
            }
        });
        let mut lines: Vec<String> = fs::read_to_string(&file)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        assert_eq!(lines, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = append(Path::new("/nowhere/accounts.ini"), "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open the folder of /nowhere/accounts.ini"
        );
    }
}
