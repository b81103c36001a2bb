//! The ways from the root to a descriptor, one for each policy for links.

use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};

use super::{ClientPath, Error, Metadata, Symlinks};

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// To ask for metadata only.
    Look,
    /// To act on names in it: a folder, which need not be readable.
    Folder,
    /// To read the names in it.
    Directory,
    /// To read its content.
    Read,
    /// To write at a place.
    Write,
    /// To write at the end.
    Append,
}

impl Want {
    /// `O_NONBLOCK`: opening a FIFO must not wait for its other end. `O_NOCTTY`: nor a terminal
    /// take over the process. Both are refused after `fstat`.
    fn flags(self) -> OFlags {
        let always = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self {
            Self::Look => OFlags::PATH | OFlags::CLOEXEC,
            Self::Folder => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Self::Directory => always | OFlags::RDONLY | OFlags::DIRECTORY,
            Self::Read => always | OFlags::RDONLY,
            Self::Write => always | OFlags::WRONLY,
            Self::Append => always | OFlags::WRONLY | OFlags::APPEND,
        }
    }
}

/// Follows links while they stay beneath `root`: one `openat2` where the kernel has it.
pub(super) fn beneath(root: &Dir, path: &ClientPath, want: Want) -> Result<OwnedFd, Error> {
    let mut options = OpenOptions::new();
    match want {
        Want::Look | Want::Folder | Want::Directory | Want::Read => options.read(true),
        Want::Write => options.write(true),
        Want::Append => options.append(true),
    };
    options.custom_flags(i32::from_ne_bytes(want.flags().bits().to_ne_bytes()));
    Ok(root
        .open_with(path.as_relative(), &options)?
        .into_std()
        .into())
}

/// Follows every link but the magic ones of `/proc`. A device is not even opened: some act on that.
pub(super) fn anywhere(root: &Dir, path: &ClientPath, want: Want) -> Result<OwnedFd, Error> {
    let open = |want: Want| {
        let flags = want.flags();
        let resolve = ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(
            root,
            path.as_relative(),
            flags,
            Mode::empty(),
            resolve,
        )?)
    };
    let looked_at = open(Want::Look)?;
    if want == Want::Look {
        return Ok(looked_at);
    }
    Metadata::of(looked_at.as_fd(), None)?;
    open(want)
}

/// Follows no link: opens one component after the other, each below the last.
pub(super) fn without_links(root: &Dir, path: &ClientPath, want: Want) -> Result<OwnedFd, Error> {
    let step = Want::Folder.flags() | OFlags::NOFOLLOW;
    let last = want.flags() | OFlags::NOFOLLOW;
    let Some((parent, name)) = path.split() else {
        return Ok(openat(root, c".", last, Mode::empty())?);
    };
    let mut folder: Option<OwnedFd> = None;
    for component in parent.components() {
        let above = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        folder = Some(openat(above, component, step, Mode::empty())?);
    }
    let above = folder.as_ref().map_or(root.as_fd(), AsFd::as_fd);
    Ok(openat(above, name, last, Mode::empty())?)
}

/// For reading, and only if no disk has to be asked for a name (Linux 5.12).
pub(super) fn from_cache(root: &Dir, path: &ClientPath, symlinks: Symlinks) -> Option<OwnedFd> {
    let always = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    let resolve = match symlinks {
        Symlinks::Inside => always,
        // One that leads out takes the slower way.
        Symlinks::Never | Symlinks::Follow => always | ResolveFlags::NO_SYMLINKS,
    };
    openat2(
        root,
        path.as_relative(),
        Want::Read.flags(),
        Mode::empty(),
        resolve,
    )
    .ok()
}
