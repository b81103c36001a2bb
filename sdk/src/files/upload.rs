//! A file being received: under a temporary name until it is whole.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, fchmod, flock, fstat, fsync, linkat,
    openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::charge::Charge;
use super::path::UPLOAD_PREFIX;
use super::{Error, Metadata, Writer};

/// Permission bits of new files before the process' umask.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Whether an upload may take the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// A file of that name is replaced, and keeps its permission bits.
    Allowed,
    /// The name must be free, at the start and at the commit.
    Forbidden,
}

/// A file being received, from [`Jail::upload`](super::Jail::upload).
///
/// The bytes go to a hidden name in the target's folder. [`commit`](Upload::commit) makes them
/// the target at once and durably; a dropped upload leaves nothing behind. The temporary file is
/// locked while it is written, which tells it from one that a crash left.
#[derive(Debug)]
pub struct Upload {
    folder: OwnedFd,
    temporary: OsString,
    name: OsString,
    file: File,
    replace: Replace,
    committed: bool,
    charge: Charge,
}

/// A file that goes on from where it ended, from [`View::append`](super::View::append) and
/// [`View::resume`](super::View::resume). What is written is in it at once.
#[derive(Debug)]
pub struct Growing {
    file: File,
    charge: Charge,
}

impl Growing {
    pub(super) fn new(file: File, charge: Charge) -> Self {
        // What arrived stays, also of an upload that breaks off.
        charge.keep();
        Self { file, charge }
    }

    /// Writes from where the file goes on.
    ///
    /// # Errors
    /// When no more files can be open.
    pub fn writer(&self) -> Result<Writer, Error> {
        Ok(Writer::new(self.file.try_clone()?, self.charge.clone()))
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        Ok(self.file.sync_all()?)
    }
}

impl Upload {
    pub(super) fn new(
        folder: OwnedFd,
        name: OsString,
        replace: Replace,
        mode: Option<u32>,
    ) -> Result<Self, Error> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (temporary, file) = loop {
            // Every RandomState has keys of its own.
            let unique = RandomState::new().build_hasher().finish();
            let temporary = OsString::from(format!("{UPLOAD_PREFIX}{unique:016x}"));
            let file = match openat(&folder, &temporary, flags, FILE_MODE) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // A sweep may come between the two calls: it takes the lock, removes the name, or both.
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if fstat(&file)?.st_nlink > 0 => break (temporary, file),
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(errno) => {
                    unlinkat(&folder, &temporary, AtFlags::empty())?;
                    return Err(errno.into());
                }
            }
        };
        let upload = Self {
            folder,
            temporary,
            name,
            file,
            replace,
            committed: false,
            charge: Charge::none(),
        };
        if let Some(mode) = mode {
            fchmod(&upload.file, Mode::from_raw_mode(mode & 0o777))?;
        }
        Ok(upload)
    }

    /// Counts what is written from now on.
    pub(super) fn charged(mut self, charge: Charge) -> Self {
        self.charge = charge;
        self
    }

    /// Writes by another hand, on a thread of its own perhaps.
    ///
    /// # Errors
    /// When no more files can be open.
    pub fn writer(&self) -> Result<Writer, Error> {
        Ok(Writer::new(self.file.try_clone()?, self.charge.clone()))
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file
            .metadata()
            .map_or(true, |metadata| metadata.len() == 0)
    }

    /// Makes what was written the target: syncs the file, renames it, syncs the folder.
    /// When this fails the target is as it was.
    ///
    /// # Errors
    /// [`Error::Exists`] where replacing is forbidden and the name was taken meanwhile,
    /// [`Error::IsADirectory`] where it is a folder, [`Error::NoSpace`].
    pub fn commit(self) -> Result<Metadata, Error> {
        let replace = self.replace;
        self.commit_as(replace)
    }

    /// Like [`commit`](Self::commit), but never in place of another file. For a protocol whose
    /// clients resume a broken upload: a part may take a free name, not that of a whole file.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); [`Error::Exists`] where the name is taken.
    pub fn commit_if_new(self) -> Result<Metadata, Error> {
        self.commit_as(Replace::Forbidden)
    }

    fn commit_as(mut self, replace: Replace) -> Result<Metadata, Error> {
        fsync(&self.file)?;
        match replace {
            Replace::Allowed => renameat(&self.folder, &self.temporary, &self.folder, &self.name)?,
            Replace::Forbidden => {
                rename_new(&self.folder, &self.temporary, &self.folder, &self.name)?
            }
        }
        self.committed = true;
        self.charge.keep();
        sync_folder(&self.folder)?;
        Metadata::of(self.file.as_fd(), None)
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.charge.write(&mut self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; the next start sweeps what could not be removed.
            let _ = unlinkat(&self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

/// Renames to a name that must be free, without a moment in which it could be taken.
pub(super) fn rename_new(
    from_folder: &OwnedFd,
    from: &OsString,
    to_folder: &OwnedFd,
    to: &OsString,
) -> Result<(), Error> {
    match renameat_with(from_folder, from, to_folder, to, RenameFlags::NOREPLACE) {
        // File systems without the flag (NFS, some FUSE) have hard links, which never replace.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            linkat(from_folder, from, to_folder, to, AtFlags::empty())?;
            Ok(unlinkat(from_folder, from, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// Makes names in a folder durable. A folder that may be written but not read cannot be synced.
pub(super) fn sync_folder(folder: &OwnedFd) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(folder, c".", flags, Mode::empty()) {
        Ok(folder) => match fsync(&folder) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        },
        Err(Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes `name` from `folder` if it is an upload that nobody is writing any more.
pub(super) fn remove_if_stale(folder: &OwnedFd, name: &std::ffi::CStr) -> Result<bool, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            unlinkat(folder, name, AtFlags::empty())?;
            Ok(true)
        }
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
