//! What one account sees, and all that it can do there: the rights first, then the folder on the disk.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::SystemTime;

use super::charge::Charge;
use super::entries::Entries;
use super::mount::Mount;
use super::{ClientPath, Error, Growing, Jail, Kind, Metadata, Replace, Tree, Upload};
use crate::accounts::{Account, Action};

/// The files of one account, from [`Tree::view`]. Cheap to clone.
///
/// Every path is one in the tree that the account sees, and each call asks for the account's right to it:
/// [`Error::Forbidden`]. The calls block, unless they say otherwise.
#[derive(Clone, Debug)]
pub struct View {
    account: Account,
    tree: Tree,
    /// What stands in the place of the tree's own root.
    base: Option<Arc<Mount>>,
}

/// A path as the disk has it.
pub(super) struct Found {
    pub(super) mount: Arc<Mount>,
    pub(super) path: ClientPath,
}

impl View {
    pub(super) fn new(account: Account, tree: Tree, base: Option<Arc<Mount>>) -> Self {
        Self {
            account,
            tree,
            base,
        }
    }

    /// What the account sees of another tree in the same way. Opens nothing yet.
    #[must_use]
    pub fn within(&self, tree: &Tree) -> Self {
        let base = |base: &Arc<Mount>| Arc::new(base.with_policy(tree.policy()));
        Self::new(
            self.account.clone(),
            tree.clone(),
            self.base.as_ref().map(base),
        )
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the account may do this. Does not block.
    #[must_use]
    pub fn allows(&self, action: Action, path: &ClientPath) -> bool {
        self.account.allows(action, &path.to_target())
    }

    /// Opens the folder that is the root, to find out whether it can be.
    ///
    /// # Errors
    /// As [`Jail::open`].
    pub fn check(&self) -> Result<(), Error> {
        match self.base() {
            Some(base) => self.tree.jail(base).map(drop),
            None => Ok(()),
        }
    }

    /// What the file system says of a file or folder. Needs the right to list or to read it.
    ///
    /// # Errors
    /// As [`Jail::metadata`].
    pub fn metadata(&self, path: &ClientPath) -> Result<Metadata, Error> {
        self.needs_any(&[Action::List, Action::Read], path)?;
        self.look(path)
    }

    /// Whether there is a folder, for who has any right there: also one into which files may only be dropped.
    ///
    /// # Errors
    /// As [`Jail::metadata`].
    pub fn is_folder(&self, path: &ClientPath) -> Result<bool, Error> {
        let any = [Action::List, Action::Read, Action::Create, Action::Write];
        self.needs_any(&any, path)?;
        self.look(path).map(|metadata| metadata.is_dir())
    }

    /// What is at the place of an upload; none where nothing is. Needs the right to create or to write it.
    ///
    /// # Errors
    /// As [`Jail::metadata`], but for [`Error::NotFound`].
    pub fn before_upload(&self, path: &ClientPath) -> Result<Option<Metadata>, Error> {
        self.needs_any(&[Action::Create, Action::Write], path)?;
        match self.look(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file for reading. Who may only list gets to know whether it is a folder.
    ///
    /// # Errors
    /// As [`Jail::open_file`].
    pub fn open_file(&self, path: &ClientPath) -> Result<(File, Metadata), Error> {
        self.needs_any(&[Action::List, Action::Read], path)?;
        if self.leads_to_folders(path) {
            return Err(Error::IsADirectory);
        }
        let found = self.find(path)?;
        let opened = self.jail(&found)?.open_file(&found.path)?;
        self.needs(Action::Read, path).map(|()| opened)
    }

    /// Opens a regular file where the kernel can do it from its caches alone; does not block. None means
    /// nothing: ask [`open_file`](Self::open_file).
    #[must_use]
    pub fn open_file_cached(&self, path: &ClientPath) -> Option<(File, Metadata)> {
        self.needs(Action::Read, path).ok()?;
        if self.leads_to_folders(path) {
            return None;
        }
        let found = self.find(path).ok()?;
        found.mount.opened()?.open_file_cached(&found.path)
    }

    /// Iterates over a folder: the names on the disk and those of folders that the tree has there, as far as the
    /// account may list or read them.
    ///
    /// # Errors
    /// As [`Jail::read_dir`].
    pub fn read_dir(&self, path: &ClientPath) -> Result<Entries, Error> {
        self.needs(Action::List, path)?;
        let mounts = self.tree.mounts();
        let names = mounts.names_in(path, |mount| self.counts(mount));
        let found = self.find(path).and_then(|found| {
            let disk = self.jail(&found)?.read_dir(&found.path)?;
            Ok((disk, found.mount.policy.hidden))
        });
        let (disk, hidden) = match found {
            Ok((disk, hidden)) => (Some(disk), hidden),
            Err(_) if !names.is_empty() || self.is_bare_root(path) => (None, false),
            Err(error) => return Err(error),
        };
        Ok(Entries::new(
            self.clone(),
            path.clone(),
            names,
            disk,
            hidden,
        ))
    }

    /// Begins to receive a file, where the account may create or replace it. With [`Replace::Forbidden`] it may
    /// not be replaced in any case. What is received counts towards the account's quota.
    ///
    /// # Errors
    /// As [`Jail::upload`].
    pub fn upload(&self, path: &ClientPath, replace: Replace) -> Result<Upload, Error> {
        let (found, exists, may_replace) = self.find_upload(path, replace)?;
        let replace = match may_replace {
            true => replace,
            false => Replace::Forbidden,
        };
        let upload = self.jail(&found)?.upload(&found.path, replace)?;
        Ok(upload.charged(self.charge(&found, exists.map_or(0, |metadata| metadata.len))))
    }

    /// Opens a file for writing behind its end, and creates it if there is none.
    ///
    /// # Errors
    /// As [`Jail::append`].
    pub fn append(&self, path: &ClientPath) -> Result<Growing, Error> {
        let (found, ..) = self.find_upload(path, Replace::Allowed)?;
        let (file, _) = self.jail(&found)?.append(&found.path)?;
        Ok(Growing::new(file, self.charge(&found, 0)))
    }

    /// Opens a file for going on with a broken upload; what is behind `offset` is cut off. Needs the right to
    /// write it.
    ///
    /// # Errors
    /// As [`Jail::resume`].
    pub fn resume(&self, path: &ClientPath, offset: u64) -> Result<Growing, Error> {
        self.needs(Action::Write, path)?;
        let found = self.find(path)?;
        let jail = self.jail(&found)?;
        let len = jail.metadata(&found.path)?.len;
        let file = jail.resume(&found.path, offset)?;
        let charge = self.charge(&found, 0);
        charge.free(len.saturating_sub(offset));
        Ok(Growing::new(file, charge))
    }

    /// Makes a folder. Needs the right to create it.
    ///
    /// # Errors
    /// As [`Jail::create_dir`].
    pub fn create_dir(&self, path: &ClientPath) -> Result<(), Error> {
        self.needs(Action::Create, path)?;
        if path.is_root() || self.leads_to_folders(path) {
            return Err(Error::Exists);
        }
        let found = self.find_new(path)?;
        self.jail(&found)?.create_dir(&found.path)
    }

    /// Removes a file, or a link itself. Needs the right to delete it.
    ///
    /// # Errors
    /// As [`Jail::remove_file`].
    pub fn remove_file(&self, path: &ClientPath) -> Result<(), Error> {
        let found = self.find_own(Action::Delete, path)?;
        let jail = self.jail(&found)?;
        let freed = jail.len_of_name(&found.path);
        jail.remove_file(&found.path)?;
        self.charge(&found, 0).free(freed);
        Ok(())
    }

    /// Removes an empty folder. Needs the right to delete it.
    ///
    /// # Errors
    /// As [`Jail::remove_dir`].
    pub fn remove_dir(&self, path: &ClientPath) -> Result<(), Error> {
        let found = self.find_own(Action::Delete, path)?;
        self.jail(&found)?.remove_dir(&found.path)
    }

    /// Renames or moves a file or folder. Needs the right to delete the old name and to create the new one, and for
    /// a folder that for all that is in it. What may not be read is not moved to where it may. A file in the way is
    /// replaced by who may delete it.
    ///
    /// # Errors
    /// As [`Jail::rename`] and [`Jail::rename_new`]; [`Error::OtherFolder`].
    pub fn rename(&self, from: &ClientPath, to: &ClientPath) -> Result<(), Error> {
        let old = self.find_own(Action::Delete, from)?;
        self.needs_for_move(from, to)?;
        if self.leads_to_folders(to) {
            return Err(Error::Denied);
        }
        let new = self.find_new(to)?;
        if !Arc::ptr_eq(&old.mount, &new.mount) {
            return Err(Error::OtherFolder);
        }
        let jail = self.jail(&old)?;
        if jail.metadata(&old.path)?.is_dir() {
            self.needs_beneath(jail, &old.path, from, to)?;
        }
        if !self.allows(Action::Delete, to) {
            return jail.rename_new(&old.path, &new.path);
        }
        let freed = jail.len_of_name(&new.path);
        jail.rename(&old.path, &new.path)?;
        self.charge(&new, 0).free(freed);
        Ok(())
    }

    /// Sets the time of the last change. Needs the right to write.
    ///
    /// # Errors
    /// As [`Jail::set_modified`].
    pub fn set_modified(&self, path: &ClientPath, time: SystemTime) -> Result<(), Error> {
        let found = self.find_own(Action::Write, path)?;
        self.jail(&found)?.set_modified(&found.path, time)
    }

    fn needs(&self, action: Action, path: &ClientPath) -> Result<(), Error> {
        self.needs_any(&[action], path)
    }

    fn needs_any(&self, actions: &[Action], path: &ClientPath) -> Result<(), Error> {
        let target = path.to_target();
        let may = |&action: &Action| self.account.allows(action, &target);
        if actions.iter().any(may) {
            Ok(())
        } else {
            Err(Error::Forbidden)
        }
    }

    /// The rights to move one name. A file must not become readable by its move.
    fn needs_for_move(&self, from: &ClientPath, to: &ClientPath) -> Result<(), Error> {
        self.needs(Action::Delete, from)?;
        self.needs(Action::Create, to)?;
        match self.allows(Action::Read, to) {
            true => self.needs(Action::Read, from),
            false => Ok(()),
        }
    }

    /// The rights to move all that is in a folder: a rule about a name in it goes before the folder's. Links are
    /// moved, not what they lead to.
    fn needs_beneath(
        &self,
        jail: &Jail,
        folder: &ClientPath,
        from: &ClientPath,
        to: &ClientPath,
    ) -> Result<(), Error> {
        for entry in jail.read_dir(folder)? {
            let entry = entry?;
            let (old, new) = (from.child(&entry.name)?, to.child(&entry.name)?);
            self.needs_for_move(&old, &new)?;
            if entry.metadata.is_dir() && !entry.is_link {
                self.needs_beneath(jail, &folder.child(&entry.name)?, &old, &new)?;
            }
        }
        Ok(())
    }

    fn base(&self) -> Option<&Arc<Mount>> {
        self.base.as_ref().or_else(|| self.tree.base())
    }

    /// Whether this account sees a folder of the tree.
    fn counts(&self, mount: &Mount) -> bool {
        self.base.is_none() || mount.homes
    }

    /// Whether it is the root of a tree that has nothing of its own there.
    fn is_bare_root(&self, path: &ClientPath) -> bool {
        path.is_root() && self.base().is_none()
    }

    /// Whether folders of the tree are there or beneath: then it is a folder, and can be neither removed nor
    /// replaced.
    fn leads_to_folders(&self, path: &ClientPath) -> bool {
        self.tree
            .mounts()
            .iter()
            .any(|mount| self.counts(mount) && mount.at.beneath(path).is_some())
    }

    /// Without a look at the disk.
    fn find(&self, path: &ClientPath) -> Result<Found, Error> {
        let found = self.tree.mounts().find(path, |mount| self.counts(mount));
        let (mount, path) = match found {
            Some(found) => found,
            None => (self.base().cloned().ok_or(Error::NotFound)?, path.clone()),
        };
        if mount.hides(&path) {
            return Err(Error::NotFound);
        }
        Ok(Found { mount, path })
    }

    /// The place of a new name: hidden names, and those in a root that is a mere list, cannot be made.
    fn find_new(&self, path: &ClientPath) -> Result<Found, Error> {
        let parent = path.parent();
        match self.find(path) {
            Err(Error::NotFound)
                if self.find(&parent).is_ok() || self.leads_to_folders(&parent) =>
            {
                Err(Error::Denied)
            }
            found => found,
        }
    }

    /// An entry of a folder on the disk, with the right to change it.
    fn find_own(&self, action: Action, path: &ClientPath) -> Result<Found, Error> {
        self.needs(action, path)?;
        if self.leads_to_folders(path) {
            return Err(Error::Denied);
        }
        self.find(path)
    }

    /// The place of an upload, what is there, and whether that may be replaced.
    fn find_upload(
        &self,
        path: &ClientPath,
        replace: Replace,
    ) -> Result<(Found, Option<Metadata>, bool), Error> {
        let exists = self.before_upload(path)?;
        if self.leads_to_folders(path) {
            return Err(Error::IsADirectory);
        }
        let found = self.find_new(path)?;
        let may_write = self.allows(Action::Write, path);
        match exists {
            Some(_) if replace == Replace::Forbidden => Err(Error::Exists),
            Some(_) if !may_write => Err(Error::Forbidden),
            None if !self.allows(Action::Create, path) => Err(Error::Forbidden),
            exists => Ok((found, exists, may_write)),
        }
    }

    /// What is there, without regard to rights.
    fn look(&self, path: &ClientPath) -> Result<Metadata, Error> {
        let found = self
            .find(path)
            .and_then(|found| self.jail(&found)?.metadata(&found.path));
        match found {
            Ok(metadata) if metadata.is_dir() => Ok(metadata),
            _ if self.is_bare_root(path) || self.is_way(path) => Ok(self.way(path)),
            other => other,
        }
    }

    /// Whether it is a folder only because one of the tree's is beneath it.
    fn is_way(&self, path: &ClientPath) -> bool {
        let mounts = self.tree.mounts();
        !mounts.names_in(path, |mount| self.counts(mount)).is_empty()
    }

    /// What is told of a folder that is there only because others are beneath it.
    pub(super) fn way(&self, path: &ClientPath) -> Metadata {
        Metadata {
            kind: Kind::Directory,
            len: 0,
            modified: self.tree.opened(),
            mode: 0o555,
            nlink: 2,
            uid: 0,
            gid: 0,
            // No file system has this number.
            device: u64::MAX,
            inode: BuildHasherDefault::<DefaultHasher>::default().hash_one(path),
        }
    }

    /// An entry that the tree gives a folder.
    pub(super) fn look_at_mount(
        &self,
        path: &ClientPath,
        name: &OsStr,
        mount: Option<&Arc<Mount>>,
    ) -> Result<Metadata, Error> {
        match mount {
            Some(mount) => self.tree.jail(mount)?.metadata(&ClientPath::root()),
            None => self.look(&path.child(name)?),
        }
    }

    fn jail<'a>(&self, found: &'a Found) -> Result<&'a Jail, Error> {
        // Whatever is wrong with it is the operator's: nothing is there.
        self.tree.jail(&found.mount).map_err(|_| Error::NotFound)
    }

    fn charge(&self, found: &Found, replaced: u64) -> Charge {
        let account = found.mount.is_home.then(|| self.account.clone());
        Charge::new(account, replaced)
    }
}
