//! `folders/1`: the virtual folders that a service shows.

use abi_stable::StableAbi;
use abi_stable::std_types::RVec;

use crate::InterfaceTable;
use crate::log::LevelCell;

/// The folders, kept current by the host while an instance runs.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct FoldersV1 {
    /// First argument of the function.
    pub ctx: *const (),
    /// Counts up each time that there are others.
    pub revision: &'static LevelCell,
    /// Those of the instance's service, as a JSON array of [`Folder`].
    pub current: extern "C" fn(ctx: *const ()) -> RVec<u8>,
}

/// A folder on the disk and the place where clients see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Folder {
    /// Its name in the configuration.
    pub name: String,
    /// The path at which clients see it: absolute, without `.`, `..` and empty components, not `/`.
    pub at: String,
    /// Where it is on the disk; absolute.
    pub path: std::path::PathBuf,
    /// `never`, `inside` or `follow`.
    pub symlinks: String,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// Whether accounts with a home of their own see it in there.
    pub homes: bool,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for FoldersV1 {
    const ID: &'static str = "folders/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for FoldersV1 {}
// SAFETY: as above.
unsafe impl Sync for FoldersV1 {}
