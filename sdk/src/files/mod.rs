//! Files for clients: every path that comes from one is opened here, beneath one root.
//!
//! Owns the rules about names, links and kinds of files. Knows no protocol, no account and no
//! right: ask `Account::allows` first.
//!
//! The calls block; run them on a blocking thread. Paths resolve by `openat2(RESOLVE_BENEATH)`
//! from a descriptor of the root that is opened once, so that neither `..`, nor a link, nor one
//! swapped in between two system calls leads out. Every change is made by name in a folder opened
//! that way.

mod error;
mod jail;
mod metadata;
mod open;
mod path;
#[cfg(test)]
mod tests;
mod upload;

pub use error::Error;
pub use jail::Jail;
pub use metadata::{Entry, Kind, Metadata, ReadDir};
pub use path::ClientPath;
pub use upload::{Replace, Upload};

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
}
