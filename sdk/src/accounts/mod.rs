//! Who a client is and what it may do. The host decides; nothing is decided here.

mod account;
mod scram;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use polyport_abi::accounts::{self as abi, AccountHandle, Changed, LoginDone};
use polyport_abi::named::NamedV1;
use polyport_abi::scram::ScramV1;
use polyport_abi::{HostQuery, RResult, accounts2 as abi2};
use tokio::sync::{oneshot, watch};

use crate::net::Origin;

pub use self::account::{Account, Pace, Resting};
use self::account::{Descriptions, Held};
pub(crate) use self::scram::PendingProof;
pub use self::scram::{Challenge, Proof};
use self::table::Table;

/// Checks logins for this instance's service.
#[derive(Debug, Clone)]
pub struct Accounts {
    inner: Option<Arc<Inner>>,
}

/// The changes of accounts, for who holds many and looks at all of them after each:
/// [`Account::is_current`].
#[derive(Debug)]
pub struct Changes(Option<watch::Receiver<u64>>);

impl Changes {
    /// Resolves when there was one since it did so last.
    pub async fn next(&mut self) {
        let changed = match &mut self.0 {
            Some(changes) => changes.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending().await
        }
    }
}

struct Inner {
    table: Table,
    scram: Option<&'static ScramV1>,
    named: Option<&'static NamedV1>,
    changes: Arc<watch::Sender<u64>>,
    descriptions: Descriptions,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

impl Inner {
    fn begin(&self, origin: &Origin, login: Login<'_>) -> oneshot::Receiver<Result<Held, Denied>> {
        let (sender, answer) = oneshot::channel();
        let table = self.table;
        let pending = Box::into_raw(Box::new(PendingLogin { table, sender })).cast();
        let done = LoginDone {
            call: crate::export::login_done,
        };
        if !table.login(origin, login, pending, done) {
            (done.call)(pending, RResult::RErr(abi::DENIED_REFUSED));
        }
        answer
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.table.unwatch(Arc::as_ptr(&self.changes).cast());
    }
}

/// What a client says of itself to be let in.
#[derive(Clone, Copy, Default)]
pub struct Login<'a> {
    /// The login name. Without a password, the client's certificate has to be of that account.
    pub user: Option<&'a str>,
    /// The password: the account's, or an API token of it. Without a user it has to be a token.
    pub password: Option<&'a [u8]>,
    /// What the client calls itself, where its protocol has such a name: `%c` in rules.
    pub client_id: Option<&'a str>,
}

impl<'a> Login<'a> {
    /// A name and a password.
    #[must_use]
    pub fn with_password(user: &'a str, password: &'a [u8]) -> Self {
        Self {
            user: Some(user),
            password: Some(password),
            client_id: None,
        }
    }
}

/// Without the password.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a login was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Unknown user, wrong password or token, or disabled; the client is not told which.
    #[error("login refused")]
    Refused,
    /// Too many logins wait; the client may try again later.
    #[error("too many logins wait")]
    Busy,
    /// The password was right, but not for this service, network or time.
    #[error("login not allowed here")]
    NotHere,
    /// The account has as many sessions as it may have.
    #[error("too many sessions")]
    TooManySessions,
    /// A password is only taken over TLS; this one was not looked at, or was right.
    #[error("login needs TLS")]
    NeedsTls,
}

impl Denied {
    fn from_number(number: u32) -> Self {
        match number {
            abi::DENIED_BUSY => Self::Busy,
            abi2::DENIED_NOT_HERE => Self::NotHere,
            abi2::DENIED_TOO_MANY_SESSIONS => Self::TooManySessions,
            abi2::DENIED_NEEDS_TLS => Self::NeedsTls,
            _ => Self::Refused,
        }
    }
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
        let Some(table) = Table::of(host) else {
            return Self { inner: None };
        };
        let changes = Arc::new(watch::Sender::new(0));
        table.watch(
            Arc::as_ptr(&changes).cast(),
            Changed {
                call: crate::export::accounts_changed,
            },
        );
        Self {
            inner: Some(Arc::new(Inner {
                table,
                scram: scram::of(host, table),
                named: crate::export::host_interface(host).ok(),
                changes,
                descriptions: Descriptions::default(),
            })),
        }
    }

    /// The changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let inner = self.inner.as_ref();
        Changes(inner.map(|inner| inner.changes.subscribe()))
    }

    /// Checks a login: user and password, the password being the account's or one of its API tokens; an API
    /// token alone; a user alone, whose client certificate has to be of that account. Without either, as
    /// [`Accounts::identify`].
    ///
    /// # Errors
    /// [`Denied`], after a time that does not tell an unknown name from a wrong password.
    pub async fn login(&self, origin: &Origin, login: Login<'_>) -> Result<Account, Denied> {
        let inner = self.inner.as_ref().ok_or(Denied::Refused)?;
        if login.user.is_none() && login.password.is_none() {
            let found = self.identify(origin, login.client_id);
            return found.ok_or(Denied::Refused);
        }
        let answer = inner.begin(origin, login);
        match answer.await {
            Ok(Ok(held)) => Ok(Account::new(held, inner)),
            Ok(Err(denied)) => Err(denied),
            Err(_) => Err(Denied::Refused),
        }
    }

    /// A session of the account with this login, which the service's settings name: nobody proves to be its owner.
    /// None if there is no such account for this service, if it has as many sessions as it may have, or in an older
    /// host. Never waits.
    #[must_use]
    pub fn named(&self, login: &str) -> Option<Account> {
        let inner = self.inner.as_ref()?;
        let named = inner.named?;
        let handle = (named.account)(named.ctx, login.into()).into_option()?;
        let table = inner.table;
        Some(Account::new(Held { table, handle }, inner))
    }

    /// Whether the account with this name ([`Account::name`]) may do `action` to `target` now, as a client that calls
    /// itself `client_id`: for what stands there of what it once did. False if there is no such account for this
    /// service any more. None in an older host, which cannot tell.
    #[must_use]
    pub fn named_allows(
        &self,
        name: &str,
        client_id: &str,
        action: Action,
        target: &str,
    ) -> Option<bool> {
        let named = self.inner.as_ref()?.named?;
        let target = target.as_bytes().into();
        let allows = named.allows;
        Some(allows(
            named.ctx,
            name.into(),
            client_id.into(),
            action as u32,
            target,
        ))
    }

    /// Whether there are accounts to [`Accounts::claim`].
    pub(crate) fn claims(&self) -> bool {
        self.inner.is_some()
    }

    /// The account of a session that counts for this instance, and is held for it.
    pub(crate) fn claim(&self, handle: AccountHandle) -> Option<Account> {
        let inner = self.inner.as_ref()?;
        let table = inner.table;
        Some(Account::new(Held { table, handle }, inner))
    }

    /// Whether the service takes passwords over secure connections only
    /// ([`Origin::is_secure`]). [`Accounts::login`] holds to that by itself; a protocol that is told the name
    /// first can refuse before the password is sent.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|inner| inner.table.requires_tls())
    }

    /// The account of a client that gives neither name nor password: that of its certificate, or else the
    /// anonymous one, where one is configured for its address. Never waits.
    #[must_use]
    pub fn identify(&self, origin: &Origin, client_id: Option<&str>) -> Option<Account> {
        let inner = self.inner.as_ref()?;
        let handle = inner.table.identify(origin, client_id)?;
        let table = inner.table;
        Some(Account::new(Held { table, handle }, inner))
    }
}

/// A login that the host is checking.
pub(crate) struct PendingLogin {
    table: Table,
    sender: oneshot::Sender<Result<Held, Denied>>,
}

impl PendingLogin {
    /// Passes the host's answer on; a holder that nobody waits for any more is released.
    pub(crate) fn answer(self, answer: RResult<AccountHandle, u32>) {
        let table = self.table;
        let answer = match answer {
            RResult::ROk(handle) => Ok(Held { table, handle }),
            RResult::RErr(number) => Err(Denied::from_number(number)),
        };
        // Dropping what could not be sent releases it.
        drop(self.sender.send(answer));
    }
}
