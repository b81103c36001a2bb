//! The host under load: its configuration, accounts, files, certificates and libraries.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use polyport_testkit::{Host, STANDARD, library_of};
use tempfile::TempDir;

use super::super::ftps::self_signed;
use super::broken::{self, Broken, Libraries};
use crate::{Outcome, workspace};

/// Sizes of the files.
pub const LARGE: usize = 24 * 1024 * 1024;
pub const MEDIUM: usize = 256 * 1024;
const SMALL: usize = 1024;

/// The files that are served, with their sizes.
const FILES: [(&str, usize); 3] = [
    ("small.bin", SMALL),
    ("medium.bin", MEDIUM),
    ("large.bin", LARGE),
];

/// Threads of each service; a swap of settings changes them.
const THREADS: &str = "threads = 2";

/// What only the load knows of the host.
pub struct Place {
    pub files: u16,
    pub files_tls: u16,
    pub json: u16,
    pub ftp: u16,
    pub mqtt: u16,
    folder: PathBuf,
    contents: BTreeMap<&'static str, Vec<u8>>,
    scratch: TempDir,
}

impl Place {
    /// A URL of the file server.
    pub fn url(&self, scheme: &str, port: u16, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{port}/{path}")
    }

    /// What a file holds.
    pub fn content(&self, name: &str) -> &[u8] {
        self.contents
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Below the folder that is served.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A file that no service shows.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// The files that changes are made of.
pub struct Changes {
    pub config: String,
    pub accounts: String,
    /// Each a certificate and its key in one text.
    pub certificates: [String; 2],
    /// The two builds of each shipped library, by the name of its file.
    pub libraries: [Libraries; 2],
    pub broken: Vec<(Broken, Libraries)>,
}

/// Another `probe` is what accounts.ini changes by.
pub const ACCOUNTS: &str = "[anonymous]\n\n[bench]\npassword = bench\nhome = files\n\n[probe]\npassword = probe\nenabled = yes\n";

/// Prepares and starts everything.
pub fn set_up(built: &Path) -> Outcome<(Host, Place, Changes)> {
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let certificates = ["one", "two"].map(|name| {
        let folder = scratch.path().join(name);
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        self_signed(&folder)
    });
    let [first, second] = certificates;
    let certificates = [first?, second?];
    let contents: BTreeMap<&str, Vec<u8>> = FILES
        .into_iter()
        .map(|(name, size)| (name, bytes(name, size)))
        .collect();

    let mut builder = Host::builder()
        .all_services()
        .listen("mqtt", &["127.0.0.1:{port:mqtt}", "ws://127.0.0.1:{port:mqtt-ws}", "mqtts://127.0.0.1:{port:mqtt-tls}"])
        .listen("files", &["127.0.0.1:{port:files}", "https://127.0.0.1:{port:files-tls}"])
        .settings("files", "index = [\"old.html\"]")
        .host_keys("log.level = \"warn\"\nlog.access = \"off\"\nready_timeout = \"1s\"\ndrain_timeout = \"10s\"")
        .accounts(ACCOUNTS)
        .file("pair.pem", &certificates[0])
        .file("files/old.html", "old")
        .file("files/new.html", "new")
        .file("files/up/there.txt", "");
    for standard in STANDARD {
        builder = builder.keys(standard.name, THREADS);
    }
    for service in ["mqtt", "files"] {
        builder = builder.keys(service, "tls = { cert = \"pair.pem\", key = \"pair.pem\" }");
    }
    for (name, content) in &contents {
        builder = builder.file(format!("files/{name}"), content);
    }
    let mut host = builder.prepare();
    // As polyport itself writes passwords.
    host.command(&["user", "hash", "--all"]).expect_success();

    let read = |path: PathBuf| std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()));
    let text = |name: &str| {
        std::fs::read_to_string(host.path().join(name)).map_err(|e| format!("{name}: {e}"))
    };
    let next = next_build()?;
    let mut libraries = [Libraries::new(), Libraries::new()];
    for standard in STANDARD {
        let file = library_of(standard.package);
        for (libraries, folder) in libraries.iter_mut().zip([built, &next]) {
            libraries.insert(file.clone(), read(folder.join(&file))?);
        }
    }
    let stand_in = read(built.join(library_of("polyport-stand-in")))?;
    let changes = Changes {
        config: text("polyport.toml")?,
        accounts: text("accounts.ini")?,
        certificates,
        broken: broken::all(&libraries[0], &stand_in)?,
        libraries,
    };
    host.try_start()
        .map_err(|log| format!("polyport did not get ready:\n{log}"))?;
    let place = Place {
        files: host.port("files"),
        files_tls: host.port("files-tls"),
        json: host.port("json"),
        ftp: host.port("ftp"),
        mqtt: host.port("mqtt"),
        folder: host.path().join("files"),
        contents,
        scratch,
    };
    Ok((host, place, changes))
}

/// The same sources with the next version, built in a folder of their own; gives where the libraries are.
fn next_build() -> Outcome<PathBuf> {
    let folder = workspace::target()?.join("next");
    let sources = folder.join("sources");
    let listed = Command::new("git")
        .current_dir(workspace::root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|e| format!("cannot run git: {e}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let names = || listed.split('\0').filter(|name| !name.is_empty());
    let root = workspace::root();
    let there = names().filter(|name| root.join(name).exists());
    remove_others(&sources, &there.map(|name| sources.join(name)).collect())?;
    for name in names() {
        let (from, to) = (root.join(name), sources.join(name));
        // A file that was removed and is still in the index.
        let Ok(mut content) = std::fs::read(&from) else {
            continue;
        };
        if name == "Cargo.toml" {
            content = with_next_version(&String::from_utf8_lossy(&content))?.into_bytes();
        }
        // Only what differs, so that cargo builds only that anew.
        if std::fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        let parent = to.parent().unwrap_or(&sources);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&to, content))
            .map_err(|e| format!("{}: {e}", to.display()))?;
    }
    let mut build = workspace::cargo(&["build", "--release", "--quiet"])?;
    build.current_dir(&sources).env("CARGO_TARGET_DIR", &folder);
    for standard in STANDARD {
        build.args(["--package", standard.package]);
    }
    workspace::run(&mut build)?;
    Ok(folder.join("release"))
}

/// Removes the files beneath a folder that are not named: of an earlier state of the sources, cargo would find them.
fn remove_others(folder: &Path, named: &HashSet<PathBuf>) -> Outcome {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            remove_others(&path, named)?;
        } else if !named.contains(&path) {
            std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// The workspace's version is the first one in its Cargo.toml that is a package's.
fn with_next_version(manifest: &str) -> Outcome<String> {
    let own = format!("version = {:?}", env!("CARGO_PKG_VERSION"));
    let (major, rest) = env!("CARGO_PKG_VERSION")
        .split_once('.')
        .unwrap_or_default();
    let (minor, patch) = rest.split_once('.').unwrap_or_default();
    let patch: u32 = patch
        .parse()
        .map_err(|_| format!("expected a version, got {own}"))?;
    let next = format!("version = \"{major}.{minor}.{}\"", patch + 1);
    match manifest.contains(&own) {
        true => Ok(manifest.replacen(&own, &next, 1)),
        false => Err(format!("Cargo.toml: expected {own}")),
    }
}

/// Bytes that look like chance and are the same each time.
fn bytes(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(0x9e37_79b9_7f4a_7c15u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut all = Vec::with_capacity(size + 8);
    while all.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend(state.to_le_bytes());
    }
    all.truncate(size);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_workspaces_version_goes_up() {
        let manifest = include_str!("../../../../Cargo.toml");
        let next = with_next_version(manifest).unwrap();
        let changed: Vec<_> = manifest
            .lines()
            .zip(next.lines())
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(changed.len(), 1, "{changed:?}");
        assert!(next.contains("[workspace.package]\nversion = \""));
    }
}
