//! What a request is about: a path below the root, and how to link to it.

use std::os::unix::ffi::OsStrExt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use polyport_sdk::files::ClientPath;
use polyport_sdk::http::{Problem, Request};

/// What stays as it is in a segment of a link: the unreserved characters of RFC 3986, 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path below the root.
#[derive(Clone, Debug)]
pub struct Target {
    /// Decoded once and normalised.
    pub path: ClientPath,
    /// Whether the client wrote it as a folder, with a slash at the end.
    pub as_folder: bool,
}

impl Target {
    /// The target of a request.
    ///
    /// # Errors
    /// 400 for a path that is none.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        Self::parse(&request.path())
    }

    /// From a decoded path.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn parse(path: &[u8]) -> Result<Self, Problem> {
        let parsed = ClientPath::parse(path)?;
        Ok(Self {
            as_folder: path.ends_with(b"/") || parsed.is_root(),
            path: parsed,
        })
    }

    /// As rights know it.
    pub fn name(&self) -> String {
        self.path.to_target()
    }
}

/// The last component for people to read.
pub fn file_name(path: &ClientPath) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// An absolute link to a file.
pub fn link(path: &ClientPath) -> String {
    let mut link = String::new();
    for component in path.components() {
        link.push('/');
        link.push_str(&segment(component.as_bytes()));
    }
    if link.is_empty() { "/".into() } else { link }
}

/// An absolute link to a folder.
pub fn folder_link(path: &ClientPath) -> String {
    let mut link = link(path);
    if !link.ends_with('/') {
        link.push('/');
    }
    link
}

/// A name as a segment of a link.
pub fn segment(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_encoded_and_never_lead_to_another_host() {
        let path = |text: &[u8]| ClientPath::parse(text).unwrap();
        assert_eq!(link(&path(b"/a b/c?#%.txt")), "/a%20b/c%3F%23%25.txt");
        assert_eq!(link(&path(b"//evil.example/..//x")), "/x");
        assert_eq!(folder_link(&path(b"//evil.example")), "/evil.example/");
        assert_eq!(folder_link(&path(b"/")), "/");
        assert_eq!(link(&path(b"/\xff")), "/%FF");
    }

    #[test]
    fn a_slash_at_the_end_is_for_folders() {
        assert!(Target::parse(b"/a/../b").is_ok_and(|target| !target.as_folder));
        assert!(Target::parse(b"/a/").is_ok_and(|target| target.as_folder));
        assert!(Target::parse(b"").is_ok_and(|target| target.as_folder));
    }
}
