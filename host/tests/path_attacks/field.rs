//! A root that is served, and beside it what must stay out of reach.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use polyport_testkit::{Builder, Host};

/// Content of every file outside of the root.
const SECRET: &str = "top-secret-7f3ac9";
/// Part of names outside of the root that no attempt names.
const TELL: &str = "tell-91be";

/// The user of the attempts, who may do everything inside.
pub const USER: &str = "mallory";
pub const PASSWORD: &str = "x";

/// A host, its root and what lies around.
pub struct Field {
    pub host: Host,
    /// What is served to [`USER`].
    pub root: PathBuf,
    /// Holds the root, and `outside`.
    pub top: PathBuf,
    inside: BTreeMap<PathBuf, Inside>,
    outside: BTreeMap<PathBuf, Outside>,
}

#[derive(Clone, Debug, PartialEq)]
enum Inside {
    Folder,
    File(Vec<u8>),
    Link(PathBuf),
}

/// All that an attempt could change of an entry.
#[derive(Clone, Debug, PartialEq)]
struct Outside {
    content: Option<Vec<u8>>,
    modified: (i64, i64),
    mode: u32,
    len: u64,
    links: u64,
}

impl Field {
    /// The services' root as the user's, with links: their names and targets, where `{top}` is the
    /// folder around the root.
    pub fn new(settings: &str, links: &[(&str, &str)]) -> Self {
        Self::start("files", settings, links, "")
    }

    /// A user who may do everything but what is in `priv`, which holds what the outside holds.
    pub fn denied() -> Self {
        Self::start(
            "files",
            "",
            &[],
            "allow.1 = all /**\ndeny.1 = all /priv/**\n",
        )
    }

    /// A user whose home is a folder in the root of the services.
    pub fn homed(links: &[(&str, &str)]) -> Self {
        Self::start("files/homes/h", "", links, "home = files/homes/h\n")
    }

    fn start(root: &str, settings: &str, links: &[(&str, &str)], keys: &str) -> Self {
        let mut builder: Builder = Host::builder()
            .service("files")
            .service("ftp")
            .service("tcp-files")
            .service("json")
            .accounts(&format!("[{USER}]\npassword = {PASSWORD}\n{keys}"))
            .file(format!("{root}/ok.txt"), "fine")
            .file(format!("{root}/sub/ok.txt"), "fine");
        for service in ["files", "ftp", "tcp-files"] {
            builder = builder.settings(service, settings);
        }
        let top = Path::new(root).parent().unwrap();
        for secret in [
            "outside/secret-a.txt",
            "outside/vault-a/secret-a.txt",
            "files-a/secret-a.txt",
            "secret-a.txt",
        ] {
            builder = builder.file(top.join(secret), SECRET);
        }
        for tell in ["outside", "outside/vault-a", "files-a"] {
            builder = builder.file(top.join(tell).join(format!("{TELL}.txt")), SECRET);
        }
        if keys.contains("/priv/") {
            for secret in ["secret-a.txt", "vault-a/secret-a.txt", TELL] {
                builder = builder.file(format!("{root}/priv/{secret}"), SECRET);
            }
        }
        let host = builder.start();
        let (root, top) = (host.path().join(root), host.path().join(top));
        for (name, target) in links {
            let link = root.join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target.replace("{top}", top.to_str().unwrap()), link).unwrap();
        }
        let mut field = Self {
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
            host,
            root,
            top,
        };
        field.inside = field.look_inside();
        field.settle();
        field.outside = field.look_outside();
        field
    }

    fn look_inside(&self) -> BTreeMap<PathBuf, Inside> {
        let mut found = BTreeMap::new();
        walk(&self.root, &mut |path, metadata| {
            let entry = if metadata.is_symlink() {
                Inside::Link(fs::read_link(path).unwrap())
            } else if metadata.is_dir() {
                Inside::Folder
            } else {
                Inside::File(fs::read(path).unwrap())
            };
            found.insert(path.to_owned(), entry);
        });
        found
    }

    /// Makes the inside what it was, so that every attempt finds the same.
    pub fn reset(&self) {
        let found = self.look_inside();
        // What is deepest goes first.
        for (path, entry) in found.iter().rev() {
            if self.inside.get(path) != Some(entry) {
                match entry {
                    Inside::Folder => fs::remove_dir(path).unwrap(),
                    _ => fs::remove_file(path).unwrap(),
                }
            }
        }
        for (path, entry) in &self.inside {
            if found.get(path) != Some(entry) {
                match entry {
                    Inside::Folder => fs::create_dir(path).unwrap(),
                    Inside::File(content) => fs::write(path, content).unwrap(),
                    Inside::Link(target) => symlink(target, path).unwrap(),
                }
            }
        }
        self.settle();
    }

    /// Gives everything inside one time: listings show it.
    fn settle(&self) {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let folders = std::iter::once(&self.root);
        for path in folders.chain(self.inside.keys()) {
            if !path.is_symlink() {
                File::open(path).unwrap().set_modified(then).unwrap();
            }
        }
    }

    fn look_outside(&self) -> BTreeMap<PathBuf, Outside> {
        let mut found = BTreeMap::new();
        let around = ["outside", "files-a", "secret-a.txt"].map(|name| self.top.join(name));
        for path in around.into_iter().chain([self.root.join("priv")]) {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            found.insert(path.clone(), outside(&path, &metadata));
            if metadata.is_dir() {
                walk(&path, &mut |path, metadata| {
                    found.insert(path.to_owned(), outside(path, metadata));
                });
            }
        }
        // Whatever else comes to lie beside the root.
        for entry in fs::read_dir(&self.top).unwrap() {
            let path = entry.unwrap().path();
            let known = ["state", "control.sock", "h", "files"];
            if !known.iter().any(|name| path.ends_with(name)) && !found.contains_key(&path) {
                let metadata = fs::symlink_metadata(&path).unwrap();
                found.insert(path.clone(), outside(&path, &metadata));
            }
        }
        found
    }

    /// What is not as it was outside of the root.
    pub fn changed_outside(&self) -> Option<String> {
        let now = self.look_outside();
        if now == self.outside {
            return None;
        }
        let differs = |path: &&PathBuf| now.get(*path) != self.outside.get(*path);
        let paths: Vec<_> = now
            .keys()
            .chain(self.outside.keys())
            .filter(differs)
            .collect();
        Some(format!("changed: {paths:?}"))
    }
}

fn outside(path: &Path, metadata: &fs::Metadata) -> Outside {
    Outside {
        content: metadata.is_file().then(|| fs::read(path).unwrap()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        mode: metadata.mode(),
        len: metadata.len(),
        links: metadata.nlink(),
    }
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        found(&path, &metadata);
        if metadata.is_dir() {
            walk(&path, found);
        }
    }
}

/// What an answer gives away of the outside.
pub fn told(answer: &[u8]) -> Option<&'static str> {
    [SECRET, TELL, "root:x:0:0"].into_iter().find(|word| {
        let word = word.as_bytes();
        answer.windows(word.len()).any(|window| window == word)
    })
}
