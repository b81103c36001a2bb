//! Which folder on the disk a path leads to. Opens each folder when it is first needed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use polyport_abi::folders::Folder;

use super::{ClientPath, Error, Jail, Policy, Symlinks};

/// A folder on the disk at its place in the tree.
#[derive(Debug)]
pub(super) struct Mount {
    /// What it is called in the log.
    name: String,
    pub(super) at: ClientPath,
    pub(super) path: PathBuf,
    pub(super) policy: Policy,
    /// Whether accounts with a home see it in there.
    pub(super) homes: bool,
    /// Whether what is stored here counts towards the account's quota.
    pub(super) is_home: bool,
    jail: OnceLock<Jail>,
    warned: AtomicBool,
}

impl Mount {
    /// One at the root.
    pub(super) fn base(name: String, path: PathBuf, policy: Policy, is_home: bool) -> Self {
        Self {
            name,
            at: ClientPath::root(),
            path,
            policy,
            homes: true,
            is_home,
            jail: OnceLock::new(),
            warned: AtomicBool::new(false),
        }
    }

    /// The same at the root with another policy, not open yet.
    pub(super) fn with_policy(&self, policy: Policy) -> Self {
        Self::base(self.name.clone(), self.path.clone(), policy, self.is_home)
    }

    fn of(folder: Folder) -> Option<Self> {
        let symlinks = match folder.symlinks.as_str() {
            "inside" => Symlinks::Inside,
            "follow" => Symlinks::Follow,
            // Also for what a later host may have: the strictest.
            _ => Symlinks::Never,
        };
        let at = ClientPath::parse(&folder.at)
            .ok()
            .filter(|at| !at.is_root())?;
        Some(Self {
            name: format!("folders.{}", folder.name),
            at,
            path: folder.path,
            policy: Policy {
                symlinks,
                hidden: folder.hidden,
            },
            homes: folder.homes,
            is_home: false,
            jail: OnceLock::new(),
            warned: AtomicBool::new(false),
        })
    }

    /// The folder, opened; tried again each time while it cannot be. Blocks.
    pub(super) fn jail(&self) -> Result<&Jail, Error> {
        if let Some(jail) = self.jail.get() {
            return Ok(jail);
        }
        let opened = Jail::open(&self.path, self.policy.symlinks).inspect_err(|error| {
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!("{}: {}: {error}", self.name, self.path.display());
            }
        })?;
        Ok(self.jail.get_or_init(|| opened))
    }

    /// The folder, if it is open.
    pub(super) fn opened(&self) -> Option<&Jail> {
        self.jail.get()
    }

    /// Whether a path in it, relative to it, looks as if there were nothing.
    pub(super) fn hides(&self, path: &ClientPath) -> bool {
        !self.policy.hidden && path.is_hidden()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.at == other.at
            && self.path == other.path
            && self.policy == other.policy
            && self.homes == other.homes
            && self.name == other.name
    }
}

/// The folders of one revision of the configuration.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) revision: u64,
    /// The deepest places first: the first that fits is the one.
    list: Vec<Arc<Mount>>,
}

impl Mounts {
    /// Those of `before` that are the same stay open.
    pub(super) fn new(revision: u64, folders: Vec<Folder>, before: &Self) -> Self {
        let same = |mount: &Mount| {
            let same = |other: &&Arc<Mount>| other.is_same(mount);
            before.list.iter().find(same).map(Arc::clone)
        };
        let mut list: Vec<Arc<Mount>> = folders
            .into_iter()
            .filter_map(Mount::of)
            .map(|mount| same(&mount).unwrap_or_else(|| Arc::new(mount)))
            .collect();
        list.sort_by_key(|mount| std::cmp::Reverse(mount.at.components().count()));
        Self { revision, list }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.list.iter()
    }

    /// The folder that `path` is in, and the rest of the path.
    pub(super) fn find(
        &self,
        path: &ClientPath,
        counts: impl Fn(&Mount) -> bool,
    ) -> Option<(Arc<Mount>, ClientPath)> {
        self.list
            .iter()
            .filter(|mount| counts(mount))
            .find_map(|mount| Some((Arc::clone(mount), path.beneath(&mount.at)?)))
    }

    /// Names in `folder` that folders of the configuration give it: the folder itself, or none for one that is
    /// there because others are beneath it.
    pub(super) fn names_in(
        &self,
        folder: &ClientPath,
        counts: impl Fn(&Mount) -> bool,
    ) -> BTreeMap<OsString, Option<Arc<Mount>>> {
        let mut names = BTreeMap::new();
        for mount in self.list.iter().filter(|mount| counts(mount)) {
            let Some(rest) = mount.at.beneath(folder) else {
                continue;
            };
            let mut components = rest.components();
            let Some(name) = components.next() else {
                continue;
            };
            let entry = names.entry(name.to_owned()).or_insert(None);
            if components.next().is_none() {
                *entry = Some(Arc::clone(mount));
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(at: &str, path: &str) -> Folder {
        Folder {
            name: at.trim_start_matches('/').replace('/', "-"),
            at: at.into(),
            path: path.into(),
            symlinks: "inside".into(),
            hidden: false,
            homes: false,
        }
    }

    fn mounts() -> Mounts {
        let folders = vec![
            folder("/a", "A"),
            folder("/a/b/c", "C"),
            folder("/d/e", "E"),
        ];
        Mounts::new(1, folders, &Mounts::default())
    }

    fn found(path: &str) -> Option<(String, String)> {
        let (mount, rest) = mounts().find(&ClientPath::parse(path).unwrap(), |_| true)?;
        Some((mount.path.display().to_string(), rest.to_target()))
    }

    #[test]
    fn the_deepest_folder_has_a_path() {
        let at = |folder: &str, rest: &str| Some((folder.to_owned(), rest.to_owned()));
        assert_eq!(found("/a"), at("A", "/"));
        assert_eq!(found("/a/b"), at("A", "/b"));
        assert_eq!(found("/a/b/c"), at("C", "/"));
        assert_eq!(found("/a/b/c/x/y"), at("C", "/x/y"));
        assert_eq!(found("/a/b/cc"), at("A", "/b/cc"));
        assert_eq!(found("/d"), None);
        assert_eq!(found("/"), None);
    }

    #[test]
    fn a_folder_has_the_names_of_those_beneath_it() {
        let names = |path: &str| -> Vec<(String, bool)> {
            mounts()
                .names_in(&ClientPath::parse(path).unwrap(), |_| true)
                .into_iter()
                .map(|(name, mount)| (name.into_string().unwrap(), mount.is_some()))
                .collect()
        };
        assert_eq!(names("/"), [("a".into(), true), ("d".into(), false)]);
        assert_eq!(names("/a"), [("b".into(), false)]);
        assert_eq!(names("/a/b"), [("c".into(), true)]);
        assert!(names("/a/b/c").is_empty());
        assert!(names("/x").is_empty());
    }

    #[test]
    fn what_did_not_change_stays_open() {
        let folder_on_disk = tempfile::tempdir().unwrap();
        let path = folder_on_disk.path().to_str().unwrap();
        let before = Mounts::new(1, vec![folder("/a", path)], &Mounts::default());
        before.list[0].jail().unwrap();
        let after = Mounts::new(2, vec![folder("/b", path), folder("/a", path)], &before);
        let open: Vec<bool> = after.iter().map(|mount| mount.opened().is_some()).collect();
        assert_eq!(open, [false, true]);
    }
}
