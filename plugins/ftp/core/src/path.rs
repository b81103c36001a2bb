//! Paths as a client sees them: absolute, `/`-separated, beneath the root it was given.
//!
//! Resolution is by text, so `..` never climbs over the root; what a path means on a disk, and
//! which symbolic links are followed, is for the jail to decide.

use std::fmt;

/// Longest path in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;
/// Longest name in bytes (NAME_MAX).
const MAX_NAME: usize = 255;

/// An absolute, normalised path: begins with `/`, no `.`, `..`, empty or overlong names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPath(String);

/// Why an argument is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// Holds a NUL byte, which no file name can.
    Nul,
    /// A name over 255 or a path over 4096 bytes.
    TooLong,
}

impl Default for VirtualPath {
    fn default() -> Self {
        Self::root()
    }
}

impl VirtualPath {
    /// `/`
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Resolves a client's argument against this directory.
    ///
    /// # Errors
    /// [`BadPath`] when no file could have that name.
    pub fn join(&self, argument: &str) -> Result<Self, BadPath> {
        if argument.contains('\0') {
            return Err(BadPath::Nul);
        }
        let mut names: Vec<&str> = Vec::new();
        let start = if argument.starts_with('/') {
            ""
        } else {
            self.0.as_str()
        };
        for name in start.split('/').chain(argument.split('/')) {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name if name.len() > MAX_NAME => return Err(BadPath::TooLong),
                name => names.push(name),
            }
        }
        let path = format!("/{}", names.join("/"));
        if path.len() > MAX_PATH {
            return Err(BadPath::TooLong);
        }
        Ok(Self(path))
    }

    /// The directory that holds this path; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            Some(0) | None => Self::root(),
            Some(at) => Self(self.0[..at].to_owned()),
        }
    }

    /// The last name, empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// Whether `other` is this path or lies beneath it.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_root()
            || other
                .0
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolution_never_climbs_over_the_root() {
        let sub = VirtualPath::root().join("a/b").unwrap();
        for (argument, expected) in [
            ("c", "/a/b/c"),
            ("/c", "/c"),
            ("..", "/a"),
            ("../../../../etc/passwd", "/etc/passwd"),
            ("/..", "/"),
            ("./x/./y//z/", "/a/b/x/y/z"),
            ("", "/a/b"),
            ("...", "/a/b/..."),
            ("..\\..", "/a/b/..\\.."),
            (" name with spaces ", "/a/b/ name with spaces "),
        ] {
            assert_eq!(
                sub.join(argument).unwrap().as_str(),
                expected,
                "{argument:?}"
            );
        }
    }

    #[test]
    fn impossible_names_are_refused() {
        let root = VirtualPath::root();
        assert_eq!(root.join("a\0b"), Err(BadPath::Nul));
        assert_eq!(root.join(&"x".repeat(256)), Err(BadPath::TooLong));
        assert_eq!(root.join(&"x/".repeat(3000)), Err(BadPath::TooLong));
        assert!(root.join(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn parent_name_and_containment() {
        let path = VirtualPath::root().join("/a/b").unwrap();
        assert_eq!(path.parent().as_str(), "/a");
        assert_eq!(path.parent().parent().as_str(), "/");
        assert_eq!(VirtualPath::root().parent().as_str(), "/");
        assert_eq!(path.name(), "b");
        assert_eq!(VirtualPath::root().name(), "");
        assert!(path.parent().contains(&path));
        assert!(path.contains(&path));
        assert!(!path.contains(&VirtualPath::root().join("/a/bc").unwrap()));
    }
}
