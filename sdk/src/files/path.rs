//! A client's path, normalised: the only form in which a path reaches the jail.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::Error;

/// Uploads in progress carry names that begin so. Clients neither see nor name them.
pub(super) const UPLOAD_PREFIX: &str = ".polyport-upload-";

/// The longest path taken from a client, in bytes (`PATH_MAX` without its NUL).
const MAX_LEN: usize = 4095;

/// A path below a root: no empty, `.` or `..` component, no NUL byte, not absolute.
///
/// `..` is resolved by name, before any link is looked at, and stops at the root as in a chroot:
/// `/../a` is `/a`. A backslash is an ordinary character of a name.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientPath(Vec<u8>);

impl ClientPath {
    /// The root itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises a path as the client sent it (already percent-decoded, where the protocol encodes).
    /// A leading slash makes no difference.
    ///
    /// # Errors
    /// [`Error::InvalidPath`] for a NUL byte or more than 4,095 bytes, [`Error::Denied`] for a name
    /// that is reserved for uploads in progress.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::root().walk(path.as_ref())
    }

    /// The path a client means when it says `path` while in this folder: absolute when it begins
    /// with a slash.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn join(&self, path: impl AsRef<[u8]>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.first() == Some(&b'/') {
            Self::parse(path)
        } else {
            self.clone().walk(path)
        }
    }

    fn walk(mut self, path: &[u8]) -> Result<Self, Error> {
        if path.contains(&0) {
            return Err(Error::InvalidPath);
        }
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => self = self.parent(),
                name if name.starts_with(UPLOAD_PREFIX.as_bytes()) => return Err(Error::Denied),
                name => {
                    if !self.0.is_empty() {
                        self.0.push(b'/');
                    }
                    self.0.extend_from_slice(name);
                }
            }
        }
        if self.0.len() > MAX_LEN {
            return Err(Error::InvalidPath);
        }
        Ok(self)
    }

    /// The entry `name` of this folder, as [`ReadDir`](super::ReadDir) gave it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn child(&self, name: &OsStr) -> Result<Self, Error> {
        self.clone().walk(name.as_bytes())
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder this is in; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Self(self.0.get(..end).unwrap_or_default().to_vec())
    }

    /// The last component, none for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&OsStr> {
        self.components().next_back()
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .map(OsStr::from_bytes)
    }

    /// The path from `folder` on, if this is `folder` or beneath it.
    #[must_use]
    pub fn beneath(&self, folder: &Self) -> Option<Self> {
        if folder.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(folder.0.as_slice())?;
        match rest.split_first() {
            None => Some(Self::root()),
            Some((b'/', rest)) => Some(Self(rest.to_vec())),
            Some(_) => None,
        }
    }

    /// Whether any component begins with a dot.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.components()
            .any(|name| name.as_bytes().starts_with(b"."))
    }

    /// The path with a leading slash, as clients and rights know it, bytes that are not UTF-8 replaced.
    #[must_use]
    pub fn to_target(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.0))
    }

    /// The path with a leading slash, byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [b"/", self.0.as_slice()].concat()
    }

    /// Relative to the root; `.` for the root.
    #[must_use]
    pub fn as_relative(&self) -> &Path {
        Path::new(if self.0.is_empty() {
            OsStr::new(".")
        } else {
            OsStr::from_bytes(&self.0)
        })
    }

    pub(super) fn split(&self) -> Option<(Self, OsString)> {
        let name = OsString::from_vec(self.file_name()?.as_bytes().to_vec());
        Some((self.parent(), name))
    }
}

impl fmt::Display for ClientPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_target())
    }
}

impl fmt::Debug for ClientPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientPath({:?})", self.to_target())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> String {
        ClientPath::parse(path).unwrap().to_target()
    }

    #[test]
    fn paths_are_normalised_and_stop_at_the_root() {
        assert_eq!(normal(""), "/");
        assert_eq!(normal("/"), "/");
        assert_eq!(normal("//a///b/"), "/a/b");
        assert_eq!(normal("/a/../b"), "/b");
        assert_eq!(normal("/a/./b/.."), "/a");
        assert_eq!(normal("/../../../etc/passwd"), "/etc/passwd");
        assert_eq!(normal("a/.../b"), "/a/.../b");
        assert_eq!(normal(r"\..\..\etc"), r"/\..\..\etc");
    }

    #[test]
    fn a_path_joins_to_the_folder_the_client_is_in() {
        let folder = ClientPath::parse("/a/b").unwrap();
        assert_eq!(folder.join("c").unwrap().to_target(), "/a/b/c");
        assert_eq!(folder.join("../c").unwrap().to_target(), "/a/c");
        assert_eq!(folder.join("/c").unwrap().to_target(), "/c");
        assert_eq!(folder.join("../../../..").unwrap(), ClientPath::root());
    }

    #[test]
    fn what_is_beneath_a_folder_is_told_by_whole_names() {
        let path = |text: &str| ClientPath::parse(text).unwrap();
        let beneath = |a: &str, b: &str| path(a).beneath(&path(b)).map(|found| found.to_target());
        assert_eq!(beneath("/a/b/c", "/a/b"), Some("/c".into()));
        assert_eq!(beneath("/a/b", "/a/b"), Some("/".into()));
        assert_eq!(beneath("/a/b", "/"), Some("/a/b".into()));
        assert_eq!(beneath("/a/bc", "/a/b"), None);
        assert_eq!(beneath("/a", "/a/b"), None);
    }

    #[test]
    fn nul_overlong_and_reserved_names_are_refused() {
        assert!(matches!(
            ClientPath::parse("/a\0b"),
            Err(Error::InvalidPath)
        ));
        assert!(matches!(
            ClientPath::parse("a/".repeat(3000)),
            Err(Error::InvalidPath)
        ));
        assert!(matches!(
            ClientPath::parse("/a/.polyport-upload-1"),
            Err(Error::Denied)
        ));
    }

    #[test]
    fn names_that_are_not_utf8_keep_their_bytes() {
        let path = ClientPath::parse(b"/a\xff/b").unwrap();
        assert_eq!(path.to_bytes(), b"/a\xff/b");
        assert_eq!(path.parent().to_bytes(), b"/a\xff");
        assert!(ClientPath::parse("/a/.b/c").unwrap().is_hidden());
        assert!(!path.is_hidden());
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_stays_below_the_root(bytes in "[./a\\\\\0é]{0,40}", at in "[./b]{0,20}") {
            let Ok(path) = ClientPath::parse(&bytes) else {
                prop_assert!(bytes.contains('\0'));
                return Ok(());
            };
            prop_assert!(path.components().all(|name| !matches!(name.as_bytes(), b"" | b"." | b"..")));
            prop_assert!(!path.as_relative().is_absolute());
            prop_assert_eq!(ClientPath::parse(path.to_bytes()).unwrap(), path.clone());
            let joined = path.join(&at).unwrap();
            prop_assert!(joined.components().all(|name| !matches!(name.as_bytes(), b"" | b"." | b"..")));
        }
    }
}
