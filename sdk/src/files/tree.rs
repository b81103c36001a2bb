//! The one tree of folders that the services show, and what each account sees of it.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use super::mount::{Mount, Mounts};
use super::{ClientPath, Error, Jail, Policy, View};
use crate::Context;
use crate::accounts::Account;

/// What a service shows: the folder of its own `root`, and over it the folders of the host's configuration, which
/// all services show at the same places. Cheap to clone.
///
/// Clients get at it through a [`View`] alone.
#[derive(Clone, Debug)]
pub struct Tree {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    root: Option<Arc<Mount>>,
    policy: Policy,
    mounts: RwLock<Arc<Mounts>>,
    /// Folders in which broken uploads were looked for.
    swept: Mutex<HashSet<PathBuf>>,
    opened: SystemTime,
}

impl Tree {
    /// Opens what a service shows. `root` is its own folder as its settings have it; where it is empty, the root is
    /// a list of the host's folders that nobody can write to. `policy` is for `root` and for homes. Uploads that a
    /// crash broke off are removed in the background.
    ///
    /// # Errors
    /// [`crate::Error::Operator`] when `root` cannot be opened.
    pub async fn open(
        context: &Context,
        root: &Path,
        policy: Policy,
    ) -> Result<Self, crate::Error> {
        let root = (!root.as_os_str().is_empty()).then(|| {
            let path = context.resolve(root);
            Arc::new(Mount::base("root".into(), path, policy, false))
        });
        let tree = Self {
            inner: Arc::new(Inner {
                context: context.clone(),
                root,
                policy,
                mounts: RwLock::default(),
                swept: Mutex::default(),
                opened: SystemTime::now(),
            }),
        };
        let opened = tree.clone();
        tokio::task::spawn_blocking(move || opened.open_all())
            .await
            .map_err(|panic| crate::Error::Operator(panic.to_string()))??;
        Ok(tree)
    }

    /// The same folders with another policy, for what is looked at from then on. Opens nothing yet.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let root = |root: &Arc<Mount>| Arc::new(root.with_policy(policy));
        let swept = self.inner.swept.lock();
        Self {
            inner: Arc::new(Inner {
                context: self.inner.context.clone(),
                root: self.inner.root.as_ref().map(root),
                policy,
                mounts: RwLock::new(self.mounts()),
                swept: Mutex::new(swept.unwrap_or_else(PoisonError::into_inner).clone()),
                opened: self.inner.opened,
            }),
        }
    }

    fn open_all(&self) -> Result<(), crate::Error> {
        if let Some(root) = &self.inner.root {
            self.jail(root).map_err(|error| {
                crate::Error::Operator(format!("root: {}: {error}", root.path.display()))
            })?;
        }
        for mount in self.mounts().iter() {
            // One that cannot be opened is told in the log and looked for again.
            let _ = self.jail(mount);
        }
        Ok(())
    }

    /// What an account sees: its home if it has one, and in it the folders that are for homes; otherwise the whole
    /// tree. Opens nothing yet.
    #[must_use]
    pub fn view(&self, account: &Account) -> View {
        match account.home() {
            Some(home) => self.view_of(account, home),
            None => self.whole(account),
        }
    }

    /// The whole tree, also for an account with a home.
    #[must_use]
    pub fn whole(&self, account: &Account) -> View {
        View::new(account.clone(), self.clone(), None)
    }

    /// What an account sees whose folder is this instead of its home.
    #[must_use]
    pub fn view_of(&self, account: &Account, folder: &Path) -> View {
        let is_home = account.home() == Some(folder);
        let mount = Mount::base(
            format!("folder of {}", account.name()),
            folder.to_owned(),
            self.inner.policy,
            is_home,
        );
        View::new(account.clone(), self.clone(), Some(Arc::new(mount)))
    }

    /// The folder of the service's own `root`, absolute; none where it has none.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.inner.root.as_ref().map(|root| root.path.as_path())
    }

    pub(super) fn policy(&self) -> Policy {
        self.inner.policy
    }

    pub(super) fn base(&self) -> Option<&Arc<Mount>> {
        self.inner.root.as_ref()
    }

    pub(super) fn opened(&self) -> SystemTime {
        self.inner.opened
    }

    /// The folders as they are now. Does not block.
    pub(super) fn mounts(&self) -> Arc<Mounts> {
        let folders = self.inner.context.folders();
        let revision = folders.revision();
        let known = Arc::clone(
            &self
                .inner
                .mounts
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if known.revision == revision {
            return known;
        }
        let mut mounts = self
            .inner
            .mounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if mounts.revision != revision {
            *mounts = Arc::new(Mounts::new(revision, folders.current(), &mounts));
        }
        Arc::clone(&mounts)
    }

    /// The opened folder of a mount; the first time, broken uploads in it are looked for.
    pub(super) fn jail<'a>(&self, mount: &'a Mount) -> Result<&'a Jail, Error> {
        let known = mount.opened().is_some();
        let jail = mount.jail()?;
        if !known {
            self.sweep(&mount.path, jail);
        }
        Ok(jail)
    }

    /// Once for each folder, away from who opens it.
    fn sweep(&self, path: &Path, jail: &Jail) {
        let mut swept = self
            .inner
            .swept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !swept.insert(path.to_owned()) {
            return;
        }
        let (jail, path) = (jail.clone(), path.to_owned());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn_blocking(move || match jail.sweep() {
            Ok(0) => {}
            Ok(count) => tracing::info!(
                "{}: removed {count} uploads that broke off in an earlier run",
                path.display()
            ),
            Err(error) => tracing::warn!(
                "{}: uploads that broke off could not be looked for: {error}",
                path.display()
            ),
        });
    }

    /// The path by which clients reach a folder on the disk that lies in the service's own `root`.
    #[must_use]
    pub fn path_of(&self, folder: &Path) -> Option<ClientPath> {
        let rest = folder.strip_prefix(self.root()?).ok()?;
        ClientPath::parse(rest.as_os_str().as_bytes()).ok()
    }
}
