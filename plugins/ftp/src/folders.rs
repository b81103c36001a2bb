//! Which folder a client sees, and where in it a session begins.

use std::path::{Path, PathBuf};

use polyport_ftp_core::{Denial, VirtualPath};
use polyport_sdk::accounts::Account;
use polyport_sdk::files::{Jail, Policy, Tree, View};
use polyport_sdk::{Context, Error};
use rustix::fs::Access;

use crate::config::Config;
use crate::serve::blocking;

/// The folders of one service.
#[derive(Debug)]
pub(crate) struct Folders {
    config: Config,
    context: Context,
    tree: Tree,
    /// Where set.
    anonymous_root: Option<PathBuf>,
}

/// What a login opens.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) view: View,
    pub(crate) start: VirtualPath,
    /// The folder on the disk that is the view's root, if it is one.
    pub(crate) root: Option<PathBuf>,
}

impl Folders {
    /// Checks that the shared folders can be opened.
    pub(crate) async fn open(config: Config, context: Context) -> Result<Self, Error> {
        let policy = policy(&config);
        let tree = Tree::open(&context, &config.root, policy).await?;
        let anonymous_root = Some(&config.anonymous_root)
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(|folder| context.resolve(folder));
        if let Some(folder) = anonymous_root.clone() {
            let opened = blocking(move || {
                Jail::open(&folder, policy.symlinks)
                    .map_err(|error| format!("anonymous_root: {}: {error}", folder.display()))
            });
            opened.await.map_err(Error::Operator)?;
        }
        Ok(Self {
            config,
            context,
            tree,
            anonymous_root,
        })
    }

    /// The same with other settings.
    pub(crate) fn with(&self, config: Config) -> Self {
        let same = config.symlinks == self.config.symlinks;
        Self {
            tree: match same {
                // one that is kept has its folders open
                true => self.tree.clone(),
                false => self.tree.with_policy(policy(&config)),
            },
            config,
            context: self.context.clone(),
            anonymous_root: self.anonymous_root.clone(),
        }
    }

    /// What a session that is logged in sees by these settings.
    pub(crate) fn again(&self, view: &View) -> View {
        view.within(&self.tree)
    }

    /// What an anonymous client sees.
    pub(crate) fn anonymous(&self, account: &Account) -> Result<Place, Denial> {
        match &self.anonymous_root {
            Some(folder) => place(self.tree.view_of(account, folder), Some(folder)),
            None => place(self.tree.view(account), account.home().or(self.tree.root())),
        }
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
            // not kept in its own folder: the whole tree, beginning in its own; a folder elsewhere
            // cannot be shown, and the session begins at the root
            let start = own
                .and_then(|own| self.tree.path_of(&own))
                .and_then(|path| VirtualPath::root().join(&path.to_target()).ok());
            let place = place(self.tree.whole(account), self.tree.root())?;
            return Ok(Place {
                start: start.unwrap_or_default(),
                ..place
            });
        }
        let folder = own.as_deref().or(self.tree.root());
        if !self.config.allow_writeable_chroot
            && let Some(folder) = folder
            && rustix::fs::access(folder, Access::WRITE_OK).is_ok()
        {
            tracing::warn!(
                "{}: {} can be written, and allow_writeable_chroot is off",
                account.name(),
                folder.display()
            );
            return Err(Denial::WriteableRoot);
        }
        match &own {
            Some(own) => place(self.tree.view_of(account, own), folder),
            None => place(self.tree.whole(account), folder),
        }
    }

    /// Where it has one.
    fn own_folder(&self, account: &Account) -> Option<PathBuf> {
        match self.config.local_root.to_str() {
            Some("") => account.home().map(Path::to_owned),
            Some(local) => Some(self.context.resolve(local.replace("%u", account.name()))),
            None => Some(self.context.resolve(&self.config.local_root)),
        }
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        symlinks: config.symlinks,
        // Listed by LIST -a alone, as everywhere in FTP.
        hidden: true,
    }
}

/// A session that begins at the root.
fn place(view: View, root: Option<&Path>) -> Result<Place, Denial> {
    view.check().map_err(|_| Denial::NoFolder)?;
    Ok(Place {
        view,
        start: VirtualPath::root(),
        root: root.map(Path::to_owned),
    })
}
