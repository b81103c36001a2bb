//! An account as it was at login.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use polyport_abi::accounts::AccountHandle;
use polyport_abi::accounts2::{ACTION_SUBSCRIBE_SOME, DOWN, UP};

use super::table::Table;
use super::{Action, Denied, Inner};

/// An account as it was at login. Cloning shares it: all clones together are one of the sessions that
/// `max_sessions` counts.
#[derive(Clone)]
pub struct Account {
    seat: Arc<Seat>,
}

/// An account that is kept in mind between two uses and counts as no session meanwhile.
#[derive(Clone)]
pub struct Resting {
    shared: Arc<Shared>,
}

/// The account's limits of bytes a second, which all of its sessions share. Holding on to it counts as no
/// session.
#[derive(Debug, Clone)]
pub struct Pace {
    account: Resting,
    up: bool,
    down: bool,
}

/// One that counts.
struct Seat {
    shared: Arc<Shared>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (table, handle) = self.shared.held();
        table.leave(handle);
    }
}

struct Shared {
    handle: AccountHandle,
    accounts: Arc<Inner>,
    described: OnceLock<Arc<Described>>,
}

/// One holder of the host's handle.
pub(super) struct Held {
    pub(super) table: Table,
    pub(super) handle: AccountHandle,
}

impl Held {
    /// The handle, which is whoever's who takes it.
    fn take(self) -> AccountHandle {
        let handle = self.handle;
        std::mem::forget(self);
        handle
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.table.release(self.handle);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (table, handle) = self.held();
        table.release(handle);
    }
}

/// What the host says of an account, the same for all that have logged in by it since it was changed.
#[derive(Default, serde::Deserialize)]
pub(super) struct Described {
    name: String,
    home: Option<PathBuf>,
    #[serde(default)]
    rate_up: Option<u64>,
    #[serde(default)]
    rate_down: Option<u64>,
    #[serde(default)]
    quota: Option<u64>,
}

/// Those last read, so that clients with one account share one.
#[derive(Default)]
pub(super) struct Descriptions(Mutex<HashMap<Box<[u8]>, Weak<Described>>>);

impl Descriptions {
    fn get(&self, text: &[u8]) -> Arc<Described> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(described) = known.get(text).and_then(Weak::upgrade) {
            return described;
        }
        if known.len() == known.capacity() {
            known.retain(|_, described| described.strong_count() > 0);
        }
        let described = Arc::new(serde_json::from_slice(text).unwrap_or_default());
        known.insert(text.into(), Arc::downgrade(&described));
        described
    }
}

impl Shared {
    fn held(&self) -> (Table, AccountHandle) {
        (self.accounts.table, self.handle)
    }

    fn described(&self) -> &Described {
        self.described.get_or_init(|| {
            let (table, handle) = self.held();
            let described = table.describe(handle);
            self.accounts.descriptions.get(described.as_slice())
        })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({:?})", self.name())
    }
}

impl fmt::Debug for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resting({:?})", self.shared.described().name)
    }
}

impl Account {
    /// `held` counts once already.
    pub(super) fn new(held: Held, accounts: &Arc<Inner>) -> Self {
        let shared = Arc::new(Shared {
            handle: held.take(),
            accounts: Arc::clone(accounts),
            described: OnceLock::new(),
        });
        Self {
            seat: Arc::new(Seat { shared }),
        }
    }

    /// The login name; `anonymous` for a client without one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.seat.shared.described().name
    }

    /// The host's handle, for a connection that is passed with it.
    pub(crate) fn handle(&self) -> AccountHandle {
        self.seat.shared.handle
    }

    /// The account's home folder, absolute.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.seat.shared.described().home.as_deref()
    }

    /// Whether it may do this to a path (`/a/b`) or topic.
    #[must_use]
    pub fn allows(&self, action: Action, target: &str) -> bool {
        let (table, handle) = self.seat.shared.held();
        table.allows(handle, action as u32, target.as_bytes())
    }

    /// Whether it may receive some of the topics that a topic filter stands for, though not all of them: then
    /// [`Action::Subscribe`] has to be asked for each topic before what is published to it is handed on.
    #[must_use]
    pub fn allows_some(&self, topic_filter: &str) -> bool {
        let (table, handle) = self.seat.shared.held();
        table.allows(handle, ACTION_SUBSCRIBE_SOME, topic_filter.as_bytes())
    }

    /// False once the account, or the token it was reached by, was removed, changed, disabled or expired.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.seat.shared.is_current()
    }

    /// Resolves when [`Account::is_current`] turned false.
    pub async fn revoked(&self) {
        self.seat.shared.revoked().await;
    }

    /// To hold on to the account without its counting as a session.
    #[must_use]
    pub fn resting(&self) -> Resting {
        Resting {
            shared: Arc::clone(&self.seat.shared),
        }
    }

    /// Its limits of bytes a second; none without such limits.
    #[must_use]
    pub fn pace(&self) -> Option<Pace> {
        let described = self.seat.shared.described();
        let (up, down) = (described.rate_up.is_some(), described.rate_down.is_some());
        (up || down).then(|| Pace {
            account: self.resting(),
            up,
            down,
        })
    }

    /// The most bytes that may be stored beneath [`Account::home`]; none without such a limit.
    #[must_use]
    pub fn quota(&self) -> Option<u64> {
        self.seat.shared.described().quota
    }

    /// Counts bytes that are about to be stored beneath [`Account::home`], or with a negative number those
    /// that were freed. False if the account's quota has no room for them; then they are not counted and must
    /// not be stored.
    #[must_use]
    pub fn charge(&self, bytes: i64) -> bool {
        let shared = &self.seat.shared;
        let (table, handle) = shared.held();
        shared.described().quota.is_none() || table.charge(handle, bytes)
    }
}

impl Shared {
    fn is_current(&self) -> bool {
        self.accounts.table.is_current(self.handle)
    }

    async fn revoked(&self) {
        let mut changes = self.accounts.changes.subscribe();
        while self.is_current() {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Resting {
    /// Resolves when the account is not current any more.
    pub async fn revoked(&self) {
        self.shared.revoked().await;
    }

    /// The account in use again, as one session more.
    ///
    /// # Errors
    /// [`Denied::Refused`] if it is not current any more, [`Denied::TooManySessions`].
    pub fn resume(&self) -> Result<Account, Denied> {
        if !self.shared.is_current() {
            return Err(Denied::Refused);
        }
        let (table, handle) = self.shared.held();
        table.enter(handle)?;
        Ok(Account {
            seat: Arc::new(Seat {
                shared: Arc::clone(&self.shared),
            }),
        })
    }
}

impl Pace {
    /// Notes bytes that came from the client; how long to wait before reading any more.
    #[must_use]
    pub fn received(&self, bytes: usize) -> Duration {
        self.wait(self.up, UP, bytes)
    }

    /// Notes bytes that went to the client; how long to wait before sending any more.
    #[must_use]
    pub fn sent(&self, bytes: usize) -> Duration {
        self.wait(self.down, DOWN, bytes)
    }

    /// Whether what comes from the client is limited.
    #[must_use]
    pub fn limits_received(&self) -> bool {
        self.up
    }

    /// Whether what goes to the client is limited.
    #[must_use]
    pub fn limits_sent(&self) -> bool {
        self.down
    }

    fn wait(&self, limited: bool, direction: u32, bytes: usize) -> Duration {
        if !limited {
            return Duration::ZERO;
        }
        let (table, handle) = self.account.shared.held();
        Duration::from_nanos(table.pace(handle, direction, bytes as u64))
    }
}
