//! What can go wrong with a client's path, in words every file protocol has an answer for.

use std::io;

use rustix::io::Errno;

/// Why a file operation was refused.
///
/// Whose fault: all but [`Io`](Error::Io) and [`NoSpace`](Error::NoSpace) are the client's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing has this name.
    #[error("not found")]
    NotFound,
    /// The account has no right to do that there.
    #[error("the account has no right to do that here")]
    Forbidden,
    /// The operating system, or the rules about names and folders, refuse it.
    #[error("permission denied")]
    Denied,
    /// The name is taken and must not be replaced.
    #[error("already exists")]
    Exists,
    /// A folder was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsADirectory,
    /// The folder still holds something.
    #[error("directory not empty")]
    NotEmpty,
    /// The file system, or the quota of its owner there, is full.
    #[error("no space left")]
    NoSpace,
    /// The account's quota is used up.
    #[error("the account's quota is used up")]
    OverQuota,
    /// What was to be renamed would come to lie in another of the folders that are shown as one tree.
    #[error(
        "the two names are in different folders of the server: copy it, then remove the old one"
    )]
    OtherFolder,
    /// The path leads out of the root, or through a symbolic link that the policy forbids.
    /// Answer it as [`NotFound`](Error::NotFound): that something is there is told to nobody.
    #[error("path leads outside of the root")]
    Outside,
    /// A device, FIFO or socket, or a file of a kernel interface such as `/proc`: never served.
    #[error("not a regular file")]
    NotRegular,
    /// The path has a NUL byte, or a part of it is longer than the file system allows.
    #[error("invalid path")]
    InvalidPath,
    /// A transfer was to resume behind the end of the file.
    #[error("offset past the end, the file has {len} bytes")]
    PastEnd {
        /// Length of the file in bytes.
        len: u64,
    },
    /// Anything else the operating system says.
    #[error(transparent)]
    Io(io::Error),
}

impl Error {
    /// Whether a client should hear "not found": the name is free, or must look free.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NotFound | Self::Outside | Self::NotADirectory | Self::InvalidPath
        )
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY => Self::Denied,
            Errno::EXIST => Self::Exists,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ISDIR => Self::IsADirectory,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace,
            Errno::XDEV | Errno::LOOP => Self::Outside,
            Errno::NXIO | Errno::NODEV => Self::NotRegular,
            Errno::NAMETOOLONG | Errno::ILSEQ => Self::InvalidPath,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None if error.kind() == io::ErrorKind::QuotaExceeded => Self::OverQuota,
            // cap-std reports an escape as a permission error that no system call gave.
            None if error.kind() == io::ErrorKind::PermissionDenied => Self::Outside,
            None => Self::Io(error),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NotFound | Error::Outside => io::ErrorKind::NotFound,
            Error::Denied | Error::Forbidden | Error::NotRegular => io::ErrorKind::PermissionDenied,
            Error::Exists => io::ErrorKind::AlreadyExists,
            Error::NotADirectory => io::ErrorKind::NotADirectory,
            Error::IsADirectory => io::ErrorKind::IsADirectory,
            Error::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
            Error::NoSpace => io::ErrorKind::StorageFull,
            Error::OverQuota => io::ErrorKind::QuotaExceeded,
            Error::OtherFolder => io::ErrorKind::CrossesDevices,
            Error::InvalidPath | Error::PastEnd { .. } => io::ErrorKind::InvalidInput,
            Error::Io(_) => io::ErrorKind::Other,
        };
        match error {
            Error::Io(inner) => inner,
            other => Self::new(kind, other),
        }
    }
}
