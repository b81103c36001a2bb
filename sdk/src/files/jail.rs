//! One folder on the disk, out of which no path leads (unless the operator wants links followed anywhere).
//!
//! The calls block; run them on a blocking thread. Paths resolve by `openat2(RESOLVE_BENEATH)`
//! from a descriptor of the root that is opened once, so that neither `..`, nor a link, nor one
//! swapped in between two system calls leads out. Every change is made by name in a folder opened
//! that way. Knows no account and no right.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::open::{self, Want};
use super::{ClientPath, Error, Metadata, ReadDir, Replace, Symlinks, Upload, path, upload};

/// Permission bits of new folders before the process' umask.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

/// A folder out of which no path leads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jail {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Dir,
    device: u64,
    symlinks: Symlinks,
}

impl Jail {
    /// Opens the root, once: later renames of it are followed, a new folder of its name is not.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`], [`Error::NotADirectory`]; [`Error::NotRegular`] for
    /// a root in `/proc` or its kind.
    pub fn open(root: &Path, symlinks: Symlinks) -> Result<Self, Error> {
        let root = Dir::open_ambient_dir(root, cap_std::ambient_authority())?;
        let device = Metadata::of(root.as_fd(), None)?.device;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                device,
                symlinks,
            }),
        })
    }

    /// A jail in a folder of this one, for a user whose home it is.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::Outside`].
    pub fn open_beneath(&self, path: &ClientPath) -> Result<Self, Error> {
        let root = Dir::from_std_file(File::from(self.descriptor(path, Want::Directory)?));
        let inner = Inner {
            root,
            device: self.inner.device,
            symlinks: self.inner.symlinks,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The policy for symbolic links.
    #[must_use]
    pub fn symlinks(&self) -> Symlinks {
        self.inner.symlinks
    }

    /// What the file system says of a file or folder.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Outside`], [`Error::NotRegular`], [`Error::Denied`].
    pub fn metadata(&self, path: &ClientPath) -> Result<Metadata, Error> {
        let fd = self.descriptor(path, Want::Look)?;
        self.check(fd.as_fd())
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and [`Error::IsADirectory`].
    pub fn open_file(&self, path: &ClientPath) -> Result<(File, Metadata), Error> {
        self.regular(self.descriptor(path, Want::Read)?)
    }

    /// Opens a regular file where the kernel can do it from its caches alone, so that an
    /// asynchronous task may call this. None means nothing: ask [`open_file`](Self::open_file).
    #[must_use]
    pub fn open_file_cached(&self, path: &ClientPath) -> Option<(File, Metadata)> {
        let fd = open::from_cache(&self.inner.root, path, self.inner.symlinks)?;
        self.regular(fd).ok()
    }

    /// Opens a regular file for appending, and creates it if there is none.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn append(&self, path: &ClientPath) -> Result<(File, Metadata), Error> {
        match self.descriptor(path, Want::Append) {
            Err(Error::NotFound) => {
                let (folder, name) = self.folder_of(path)?;
                let flags = OFlags::WRONLY
                    | OFlags::APPEND
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::CLOEXEC;
                self.regular(rustix::fs::openat(&folder, name, flags, upload::FILE_MODE)?)
            }
            found => self.regular(found?),
        }
    }

    /// Opens a regular file for going on with a broken upload: what is behind `offset` is cut
    /// off, writing begins there.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file), and [`Error::PastEnd`].
    pub fn resume(&self, path: &ClientPath, offset: u64) -> Result<File, Error> {
        let (mut file, metadata) = self.regular(self.descriptor(path, Want::Write)?)?;
        if offset > metadata.len {
            return Err(Error::PastEnd { len: metadata.len });
        }
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }

    /// Iterates over a folder.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and [`Error::NotADirectory`].
    pub fn read_dir(&self, path: &ClientPath) -> Result<ReadDir, Error> {
        let folder = self.descriptor(path, Want::Directory)?;
        let device = self.check(folder.as_fd())?.device;
        ReadDir::new(self.clone(), path.clone(), folder, device)
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::NotADirectory`] when its folder is not there,
    /// [`Error::Exists`] when it is and must not be replaced, [`Error::IsADirectory`],
    /// [`Error::NotRegular`], [`Error::Denied`], [`Error::NoSpace`].
    pub fn upload(&self, path: &ClientPath, replace: Replace) -> Result<Upload, Error> {
        let (folder, name) = self.folder_of(path)?;
        let mode = match self.metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(Error::IsADirectory),
            Ok(_) if replace == Replace::Forbidden => return Err(Error::Exists),
            Ok(metadata) => Some(metadata.mode),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        Upload::new(folder, name, replace, mode)
    }

    /// Renames or moves a file or folder. A file in the way is replaced.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`] (also for the root), [`Error::NotEmpty`],
    /// [`Error::IsADirectory`], [`Error::NotADirectory`].
    pub fn rename(&self, from: &ClientPath, to: &ClientPath) -> Result<(), Error> {
        let (from_folder, from_name) = self.folder_of(from)?;
        let (to_folder, to_name) = self.folder_of(to)?;
        rustix::fs::renameat(&from_folder, from_name, &to_folder, to_name)?;
        Ok(())
    }

    /// Renames or moves a file or folder to a name that must be free.
    ///
    /// # Errors
    /// As [`rename`](Self::rename), and [`Error::Exists`].
    pub fn rename_new(&self, from: &ClientPath, to: &ClientPath) -> Result<(), Error> {
        let (from_folder, from_name) = self.folder_of(from)?;
        let (to_folder, to_name) = self.folder_of(to)?;
        upload::rename_new(&from_folder, &from_name, &to_folder, &to_name)
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`], [`Error::IsADirectory`].
    pub fn remove_file(&self, path: &ClientPath) -> Result<(), Error> {
        let (folder, name) = self.folder_of(path)?;
        Ok(rustix::fs::unlinkat(&folder, name, AtFlags::empty())?)
    }

    /// Bytes that go when this name goes: those of a file without another name.
    pub(super) fn len_of_name(&self, path: &ClientPath) -> u64 {
        let Ok((folder, name)) = self.folder_of(path) else {
            return 0;
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&folder, name, flags).ok();
        stat.filter(|stat| {
            stat.st_nlink == 1 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        })
        .and_then(|stat| u64::try_from(stat.st_size).ok())
        .unwrap_or(0)
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotFound`] when its own folder is not there, [`Error::Denied`].
    pub fn create_dir(&self, path: &ClientPath) -> Result<(), Error> {
        if path.is_root() {
            return Err(Error::Exists);
        }
        let (folder, name) = self.folder_of(path)?;
        Ok(rustix::fs::mkdirat(&folder, name, FOLDER_MODE)?)
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotFound`], [`Error::NotADirectory`], [`Error::Denied`].
    pub fn remove_dir(&self, path: &ClientPath) -> Result<(), Error> {
        let (folder, name) = self.folder_of(path)?;
        Ok(rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR)?)
    }

    /// Sets the time of the last change.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn set_modified(&self, path: &ClientPath, time: SystemTime) -> Result<(), Error> {
        let fd = self.descriptor(path, Want::Read)?;
        self.check(fd.as_fd())?;
        let (tv_sec, tv_nsec) = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (
                i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                after.subsec_nanos(),
            ),
            Err(before) => (
                -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
                0,
            ),
        };
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec,
                tv_nsec: tv_nsec.into(),
            },
        };
        Ok(rustix::fs::futimens(&fd, &times)?)
    }

    /// Removes what uploads left behind that a crash ended, in the whole tree; returns how many.
    /// Uploads in progress, also those of other processes, are left alone. Run it once at start,
    /// on a thread of its own: it reads every folder.
    ///
    /// # Errors
    /// Only when the root cannot be read; folders that cannot be are passed over.
    pub fn sweep(&self) -> Result<usize, Error> {
        let mut removed = 0;
        let mut folders = vec![ClientPath::root()];
        let mut first = true;
        while let Some(path) = folders.pop() {
            let folder = match open::without_links(&self.inner.root, &path, Want::Directory) {
                Ok(folder) => folder,
                Err(error) if first => return Err(error),
                Err(_) => continue,
            };
            first = false;
            if !self.check(folder.as_fd()).is_ok_and(|found| found.is_dir()) {
                continue;
            }
            let Ok(names) = rustix::fs::Dir::read_from(&folder) else {
                continue;
            };
            for entry in names.flatten() {
                let name = entry.file_name();
                if name.to_bytes().starts_with(path::UPLOAD_PREFIX.as_bytes()) {
                    removed += usize::from(upload::remove_if_stale(&folder, name).unwrap_or(false));
                } else if entry.file_type() == rustix::fs::FileType::Directory
                    && !matches!(name.to_bytes(), b"." | b"..")
                    && let Ok(child) =
                        path.child(std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes()))
                {
                    folders.push(child);
                }
            }
        }
        Ok(removed)
    }

    fn descriptor(&self, path: &ClientPath, want: Want) -> Result<OwnedFd, Error> {
        match self.inner.symlinks {
            Symlinks::Never => open::without_links(&self.inner.root, path, want),
            Symlinks::Inside => open::beneath(&self.inner.root, path, want),
            Symlinks::Follow => open::anywhere(&self.inner.root, path, want),
        }
    }

    /// The folder an entry is in, and the entry's name. The root is in none.
    fn folder_of(&self, path: &ClientPath) -> Result<(OwnedFd, std::ffi::OsString), Error> {
        let (parent, name) = path.split().ok_or(Error::Denied)?;
        let folder = self.descriptor(&parent, Want::Folder)?;
        self.check(folder.as_fd())?;
        Ok((folder, name))
    }

    fn check(&self, fd: std::os::fd::BorrowedFd<'_>) -> Result<Metadata, Error> {
        Metadata::of(fd, Some(self.inner.device))
    }

    fn regular(&self, fd: OwnedFd) -> Result<(File, Metadata), Error> {
        let metadata = self.check(fd.as_fd())?;
        if metadata.is_dir() {
            return Err(Error::IsADirectory);
        }
        Ok((File::from(fd), metadata))
    }
}
