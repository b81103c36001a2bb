//! Who a client is and what it may do. The host decides; nothing is decided here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyport_abi::accounts::{
    self as abi, AccountHandle, AccountsV1, Changed, LoginDone, LoginRequest,
};
use polyport_abi::{HostQuery, ROption, RResult};
use tokio::sync::{oneshot, watch};

use crate::net::Peer;

/// Checks logins for this instance's service.
#[derive(Debug, Clone)]
pub struct Accounts {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    table: &'static AccountsV1,
    changes: Arc<watch::Sender<u64>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accounts")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        (self.table.unwatch)(self.table.ctx, Arc::as_ptr(&self.changes).cast());
    }
}

/// Why a login was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Name, password, expiry, service or address did not fit; the client is not told which.
    #[error("login refused")]
    Refused,
    /// Too many logins wait; the client may try again later.
    #[error("too many logins wait")]
    Busy,
}

/// What a client wants to do to a path or topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Action {
    /// See the names in a folder.
    List = abi::ACTION_LIST,
    /// Read a file or document.
    Read = abi::ACTION_READ,
    /// Replace or change one that exists.
    Write = abi::ACTION_WRITE,
    /// Make one that does not exist.
    Create = abi::ACTION_CREATE,
    /// Remove one.
    Delete = abi::ACTION_DELETE,
    /// Make a link for others.
    Share = abi::ACTION_SHARE,
    /// Publish to a topic.
    Publish = abi::ACTION_PUBLISH,
    /// Subscribe to a topic filter.
    Subscribe = abi::ACTION_SUBSCRIBE,
}

impl Accounts {
    pub(crate) fn new(host: HostQuery) -> Self {
        let Ok(table) = crate::export::host_interface::<AccountsV1>(host) else {
            return Self { inner: None };
        };
        let changes = Arc::new(watch::Sender::new(0));
        (table.watch)(
            table.ctx,
            Arc::as_ptr(&changes).cast(),
            Changed {
                call: crate::export::accounts_changed,
            },
        );
        Self {
            inner: Some(Arc::new(Inner { table, changes })),
        }
    }

    /// Checks a name and password.
    ///
    /// # Errors
    /// [`Denied`], after a time that does not tell an unknown name from a wrong password.
    pub async fn login(&self, peer: &Peer, user: &str, password: &[u8]) -> Result<Account, Denied> {
        let inner = self.inner.as_ref().ok_or(Denied::Refused)?;
        let (sender, answer) = oneshot::channel();
        let pending = Box::new(PendingLogin {
            table: inner.table,
            sender,
        });
        let peer = peer_text(peer);
        (inner.table.login)(
            inner.table.ctx,
            LoginRequest {
                peer: peer.as_str().into(),
                user: user.into(),
                password: password.into(),
            },
            Box::into_raw(pending).cast(),
            LoginDone {
                call: crate::export::login_done,
            },
        );
        match answer.await {
            Ok(Ok(held)) => Ok(Account::new(held, inner)),
            Ok(Err(denied)) => Err(denied),
            Err(_) => Err(Denied::Refused),
        }
    }

    /// The account of a client that gives no name, where one is configured for its address.
    #[must_use]
    pub fn anonymous(&self, peer: &Peer) -> Option<Account> {
        let inner = self.inner.as_ref()?;
        match (inner.table.anonymous)(inner.table.ctx, peer_text(peer).as_str().into()) {
            ROption::RSome(handle) => Some(Account::new(
                Held {
                    table: inner.table,
                    handle,
                },
                inner,
            )),
            ROption::RNone => None,
        }
    }
}

fn peer_text(peer: &Peer) -> String {
    peer.ip().map(|ip| ip.to_string()).unwrap_or_default()
}

/// An account as it was at login; cloning shares it.
#[derive(Clone)]
pub struct Account {
    inner: Arc<AccountInner>,
}

struct AccountInner {
    held: Held,
    accounts: Arc<Inner>,
    name: String,
    home: Option<PathBuf>,
}

/// One holder of the host's handle.
struct Held {
    table: &'static AccountsV1,
    handle: AccountHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.table.release)(self.handle);
    }
}

/// A login that the host is checking.
pub(crate) struct PendingLogin {
    table: &'static AccountsV1,
    sender: oneshot::Sender<Result<Held, Denied>>,
}

impl PendingLogin {
    /// Passes the host's answer on; a holder that nobody waits for any more is released.
    pub(crate) fn answer(self, answer: RResult<AccountHandle, u32>) {
        let answer = match answer {
            RResult::ROk(handle) => Ok(Held {
                table: self.table,
                handle,
            }),
            RResult::RErr(abi::DENIED_BUSY) => Err(Denied::Busy),
            RResult::RErr(_) => Err(Denied::Refused),
        };
        // Dropping what could not be sent releases it.
        drop(self.sender.send(answer));
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({:?})", self.inner.name)
    }
}

#[derive(serde::Deserialize)]
struct Described {
    name: String,
    home: Option<PathBuf>,
}

impl Account {
    fn new(held: Held, accounts: &Arc<Inner>) -> Self {
        let described = (held.table.describe)(held.handle);
        let described: Described =
            serde_json::from_slice(described.as_slice()).unwrap_or(Described {
                name: String::new(),
                home: None,
            });
        let Described { name, home } = described;
        Self {
            inner: Arc::new(AccountInner {
                held,
                accounts: Arc::clone(accounts),
                name,
                home,
            }),
        }
    }

    /// The login name; `anonymous` for a client without one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The account's home folder, absolute.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.inner.home.as_deref()
    }

    /// Whether it may do this to a path (`/a/b`) or topic.
    #[must_use]
    pub fn allows(&self, action: Action, target: &str) -> bool {
        (self.inner.held.table.allows)(
            self.inner.held.handle,
            action as u32,
            target.as_bytes().into(),
        )
    }

    /// False once the account was removed, changed, disabled or expired.
    #[must_use]
    pub fn is_current(&self) -> bool {
        (self.inner.held.table.is_current)(self.inner.held.handle)
    }

    /// Resolves when [`Account::is_current`] turned false.
    pub async fn revoked(&self) {
        let mut changes = self.inner.accounts.changes.subscribe();
        while self.is_current() {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
