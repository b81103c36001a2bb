//! What is told of a file or folder, and the iteration over a folder.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, fstatfs, statx};

use super::path::UPLOAD_PREFIX;
use super::{ClientPath, Error, Jail};

/// What a name stands for. Links are followed as the policy says; nothing else is ever shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
}

/// What the file system says of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// File or folder.
    pub kind: Kind,
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of the content, with nanoseconds.
    pub modified: SystemTime,
    /// Permission bits (`0o7777` at most).
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u32,
    /// Owner's user id.
    pub uid: u32,
    /// Owner's group id.
    pub gid: u32,
    /// Device the file system is on, `major << 32 | minor`.
    pub device: u64,
    /// Inode number, unique on the device.
    pub inode: u64,
}

impl Metadata {
    /// Whether this is a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether this is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Of an open descriptor. `root_device` spares the question for the file system's type where
    /// the descriptor is on the root's own.
    pub(super) fn of(fd: BorrowedFd<'_>, root_device: Option<u64>) -> Result<Self, Error> {
        let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let metadata = Self::from_statx(&stat)?;
        if root_device != Some(metadata.device) && is_kernel_interface(fd)? {
            return Err(Error::NotRegular);
        }
        Ok(metadata)
    }

    fn from_statx(stat: &Statx) -> Result<Self, Error> {
        let mode = u32::from(stat.stx_mode);
        let kind = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => return Err(Error::Outside),
            _ => return Err(Error::NotRegular),
        };
        Ok(Self {
            kind,
            len: stat.stx_size,
            modified: system_time(stat.stx_mtime),
            mode: mode & 0o7777,
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            inode: stat.stx_ino,
        })
    }
}

/// Files of `/proc`, `/sys` and their kind look regular, but reading them acts on the kernel.
fn is_kernel_interface(fd: BorrowedFd<'_>) -> Result<bool, Error> {
    /// `proc`, `sysfs`, `debugfs`, `tracefs`, `securityfs`, `cgroup`, `cgroup2`, `devpts`, `bpf`,
    /// `configfs`, `efivarfs`, `pstore`, `selinuxfs`, `mqueue`, `binfmt_misc` (linux/magic.h).
    const MAGIC: [u64; 15] = [
        0x9fa0,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x0027_e0eb,
        0x6367_7270,
        0x1cd1,
        0xcafe_4a11,
        0x6265_6570,
        0xde5e_81e4,
        0x6165_676c,
        0xf97c_ff8c,
        0x1980_0202,
        0x4249_4e4d,
    ];
    let magic = fstatfs(fd)?.f_type;
    Ok(MAGIC
        .iter()
        .any(|&known| u64::try_from(magic).is_ok_and(|magic| magic == known)))
}

fn system_time(stamp: StatxTimestamp) -> SystemTime {
    let seconds = Duration::from_secs(stamp.tv_sec.unsigned_abs());
    let whole = if stamp.tv_sec >= 0 {
        UNIX_EPOCH.checked_add(seconds)
    } else {
        UNIX_EPOCH.checked_sub(seconds)
    };
    whole
        .and_then(|time| time.checked_add(Duration::from_nanos(u64::from(stamp.tv_nsec))))
        .unwrap_or(UNIX_EPOCH)
}

/// One name in a folder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The name, without a slash.
    pub name: OsString,
    /// What it stands for, links followed.
    pub metadata: Metadata,
    /// Whether it is a link to that.
    pub(super) is_link: bool,
}

impl Entry {
    /// Whether the name begins with a dot.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.name.as_bytes().starts_with(b".")
    }
}

/// Iterates over a folder in the file system's order; from [`Jail::read_dir`].
///
/// `.`, `..`, uploads in progress, special files, and links that the policy forbids or that lead
/// nowhere are left out, as is what vanishes between being listed and being looked at.
#[derive(Debug)]
pub struct ReadDir {
    jail: Jail,
    path: ClientPath,
    folder: OwnedFd,
    device: u64,
    names: rustix::fs::Dir,
}

impl ReadDir {
    pub(super) fn new(
        jail: Jail,
        path: ClientPath,
        folder: OwnedFd,
        device: u64,
    ) -> Result<Self, Error> {
        let names = rustix::fs::Dir::read_from(&folder)?;
        Ok(Self {
            jail,
            path,
            folder,
            device,
            names,
        })
    }

    /// What the name stands for, and whether it is a link to that.
    fn look_at(&self, name: &OsStr, is_link: bool) -> Result<(Metadata, bool), Error> {
        let followed = || self.jail.metadata(&self.path.child(name)?);
        if is_link {
            return Ok((followed()?, true));
        }
        let stat = statx(
            self.folder.as_fd(),
            name,
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
            StatxFlags::BASIC_STATS,
        )?;
        if FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Symlink {
            return Ok((followed()?, true));
        }
        let metadata = Metadata::from_statx(&stat)?;
        // Where another file system begins, it may be one of the kernel's.
        if metadata.device != self.device {
            return Ok((followed()?, false));
        }
        Ok((metadata, false))
    }
}

impl Iterator for ReadDir {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.names.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || name.starts_with(UPLOAD_PREFIX.as_bytes()) {
                continue;
            }
            let name = OsString::from_vec(name.to_vec());
            let shown = match entry.file_type() {
                FileType::RegularFile | FileType::Directory | FileType::Unknown => {
                    self.look_at(&name, false)
                }
                FileType::Symlink => self.look_at(&name, true),
                _ => continue,
            };
            match shown {
                Ok((metadata, is_link)) => {
                    return Some(Ok(Entry {
                        name,
                        metadata,
                        is_link,
                    }));
                }
                Err(Error::Io(error)) => return Some(Err(Error::Io(error))),
                Err(_) => {}
            }
        }
    }
}
