//! Files for clients: one tree of folders for all services, and what each account sees of it.
//!
//! A plugin opens a [`Tree`] at its start and asks it for the [`View`] of each account that logs in; every path of a
//! client goes through that view, which asks for the account's rights and then opens the path beneath its folder on
//! the disk. Owns the rules about names, links, kinds of files, quotas. Knows no protocol.
//!
//! The calls block; run them on a blocking thread. [`Jail`] is one folder on the disk without accounts, for files
//! that are the plugin's own.

mod charge;
mod entries;
mod error;
mod folders;
mod jail;
mod metadata;
mod mount;
mod open;
mod path;
#[cfg(test)]
mod tests;
mod tree;
mod upload;
mod view;

pub use charge::Writer;
pub use entries::Entries;
pub use error::Error;
pub(crate) use folders::Folders;
pub use jail::Jail;
pub use metadata::{Entry, Kind, Metadata, ReadDir};
pub use path::ClientPath;
pub use tree::Tree;
pub use upload::{Growing, Replace, Upload};
pub use view::View;

/// What happens to symbolic links on the way to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Symlinks {
    /// No link is followed, nor shown.
    Never,
    /// Links are followed while they stay beneath the root. A link to an absolute path counts as
    /// leading out, even if it leads back in.
    #[default]
    Inside,
    /// Links are followed wherever they lead, at the operator's own risk: what they name can be read and,
    /// by who has the right, written. Only the links of `/proc` to what a process has open are not.
    Follow,
}

/// What a folder gives to clients beside its visible files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to symbolic links.
    pub symlinks: Symlinks,
    /// Whether names that begin with a dot are there; otherwise they are neither listed, opened nor made.
    pub hidden: bool,
}
