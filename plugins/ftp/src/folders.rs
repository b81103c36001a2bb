//! Which folder a client sees, and where in it a session begins.

use std::path::{Path, PathBuf};

use polyport_ftp_core::{Denial, VirtualPath};
use polyport_sdk::accounts::Account;
use polyport_sdk::files::Jail;
use polyport_sdk::{Context, Error};
use rustix::fs::Access;

use crate::config::Config;

/// The folders of one service.
#[derive(Debug)]
pub(crate) struct Folders {
    config: Config,
    context: Context,
    root: PathBuf,
    /// Where set.
    anonymous_root: Option<PathBuf>,
}

/// What a login opens.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) jail: Jail,
    pub(crate) start: VirtualPath,
}

impl Folders {
    /// Checks that the shared folders can be opened.
    pub(crate) fn open(config: Config, context: Context) -> Result<Self, Error> {
        let root = context.resolve(&config.root);
        let anonymous_root = Some(&config.anonymous_root)
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(|folder| context.resolve(folder));
        let shared = [
            ("root", Some(&root)),
            ("anonymous_root", anonymous_root.as_ref()),
        ];
        for (key, folder) in shared
            .into_iter()
            .filter_map(|(key, folder)| Some((key, folder?)))
        {
            Jail::open(folder, config.symlinks).map_err(|error| {
                Error::Operator(format!("{key}: {}: {error}", folder.display()))
            })?;
        }
        Ok(Self {
            config,
            context,
            root,
            anonymous_root,
        })
    }

    /// Removes what uploads left in the shared folder that a crash ended; returns how many.
    pub(crate) fn sweep(&self) -> usize {
        let swept = Jail::open(&self.root, self.config.symlinks).and_then(|jail| jail.sweep());
        swept.unwrap_or_else(|error| {
            tracing::warn!("{}: {error}", self.root.display());
            0
        })
    }

    /// What an anonymous client sees.
    pub(crate) fn anonymous(&self, account: &Account) -> Result<Place, Denial> {
        let home = account.home().unwrap_or(&self.root);
        let folder = self.anonymous_root.as_deref().unwrap_or(home);
        self.place(folder, folder)
    }

    /// What an account sees.
    pub(crate) fn of(&self, account: &Account) -> Result<Place, Denial> {
        let own = self.own_folder(account);
        let listed = self
            .config
            .chroot_list
            .iter()
            .any(|name| name == account.name());
        if self.config.chroot_local_user == listed {
            // not kept in its own folder: all of root, beginning in its own
            return self.place(&self.root, &own);
        }
        if !self.config.allow_writeable_chroot && rustix::fs::access(&own, Access::WRITE_OK).is_ok()
        {
            tracing::warn!(
                "{}: {} can be written, and allow_writeable_chroot is off",
                account.name(),
                own.display()
            );
            return Err(Denial::WriteableRoot);
        }
        self.place(&own, &own)
    }

    fn own_folder(&self, account: &Account) -> PathBuf {
        match (self.config.local_root.to_str(), account.home()) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(""), None) => self.root.clone(),
            (Some(local), _) => self.context.resolve(local.replace("%u", account.name())),
            (None, _) => self.context.resolve(&self.config.local_root),
        }
    }

    fn place(&self, root: &Path, start: &Path) -> Result<Place, Denial> {
        let jail = Jail::open(root, self.config.symlinks).map_err(|error| {
            tracing::warn!("{}: {error}", root.display());
            Denial::NoFolder
        })?;
        // a folder elsewhere cannot be shown: the session begins at the root
        let start = start
            .strip_prefix(root)
            .ok()
            .and_then(Path::to_str)
            .and_then(|path| VirtualPath::root().join(path).ok())
            .unwrap_or_default();
        Ok(Place { jail, start })
    }
}
