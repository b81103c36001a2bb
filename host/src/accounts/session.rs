//! A login that succeeded: an account in use by one client of one service.

mod passed;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use super::account::Account;
use super::rights::{self, Action, Decision, Question};
use super::token::Token;
use super::{Accounts, Denied};
pub use passed::SessionTold;

/// A service, as those see it who log in there.
#[derive(Debug, Default)]
pub struct Entrance {
    service: String,
    require_tls: AtomicBool,
}

/// What a client's connection proves, and what the client calls itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client<'a> {
    /// None for a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether nobody on the way can overhear it.
    pub secure: bool,
    /// The certificate that it proved to own, in DER; empty without.
    pub certificate: &'a [u8],
    /// Its id, where its protocol has one.
    pub id: Option<&'a str>,
}

/// A client whose password, or proof of one, is being checked. Its certificate plays no part in that.
pub(super) struct Caller {
    pub(super) entrance: Arc<Entrance>,
    pub(super) address: Option<IpAddr>,
    secure: bool,
    client_id: Option<String>,
}

/// Which of the account's limits of bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// An account in use. Counts among the account's sessions until it is dropped.
pub struct Session {
    /// Whose it is.
    pub account: Arc<Account>,
    /// The token that the client came by.
    token: Option<Arc<Token>>,
    accounts: Arc<Accounts>,
    entrance: Arc<Entrance>,
    client_id: Option<Box<str>>,
    /// Whether a password came in clear.
    overheard: bool,
    /// How often it counts.
    uses: AtomicU32,
    /// How many of those who will call [`Session::leave`] do not count: others go on in their place.
    shared: AtomicU32,
    /// The revision of the accounts in which it was found current; 0 for none.
    current_in: AtomicU64,
}

impl Entrance {
    /// Of the service with this name.
    pub fn new(service: &str) -> Arc<Self> {
        Arc::new(Self {
            service: service.to_owned(),
            require_tls: AtomicBool::new(false),
        })
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Whether passwords are only taken over a secure connection, from now on; sessions that gave
    /// theirs in clear are not current then.
    pub fn set_require_tls(&self, required: bool) {
        self.require_tls.store(required, Ordering::Relaxed);
    }

    /// Whether passwords are only taken over a secure connection.
    pub fn requires_tls(&self) -> bool {
        self.require_tls.load(Ordering::Relaxed)
    }
}

impl Caller {
    /// What has to be known of `client` until the check is over.
    pub(super) fn new(entrance: &Arc<Entrance>, client: &Client<'_>) -> Self {
        Self {
            entrance: Arc::clone(entrance),
            address: client.address,
            secure: client.secure,
            client_id: client.id.map(str::to_owned),
        }
    }

    /// Begins a session of `account`, whose password it knows.
    ///
    /// # Errors
    /// Those of [`Session::begin`].
    pub(super) fn begin(
        &self,
        accounts: &Arc<Accounts>,
        account: &Arc<Account>,
    ) -> Result<Session, Denied> {
        let client = Client {
            address: self.address,
            secure: self.secure,
            certificate: &[],
            id: self.client_id.as_deref(),
        };
        Session::begin(accounts, account, None, &self.entrance, &client, true)
    }
}

impl Session {
    /// Begins a session of an account that `client` proved to be its own, by a password if `password`.
    ///
    /// # Errors
    /// Why this client may not use the account here and now.
    pub(super) fn begin(
        accounts: &Arc<Accounts>,
        account: &Arc<Account>,
        token: Option<Arc<Token>>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
        password: bool,
    ) -> Result<Self, Denied> {
        if account.require_tls && !client.secure {
            return Err(Denied::NeedsTls);
        }
        let session = Self {
            account: Arc::clone(account),
            token,
            accounts: Arc::clone(accounts),
            entrance: Arc::clone(entrance),
            client_id: client.id.map(Into::into),
            overheard: password && !client.secure,
            uses: AtomicU32::new(0),
            shared: AtomicU32::new(0),
            current_in: AtomicU64::new(0),
        };
        if session.enter() {
            Ok(session)
        } else {
            Err(Denied::TooManySessions)
        }
    }

    /// Counts once more among the account's sessions; false if there are as many as there may be.
    pub fn enter(&self) -> bool {
        let Some(most) = self.account.allowance.max_sessions else {
            return true;
        };
        let entered = self.account.usage().enter(most);
        if entered {
            self.uses.fetch_add(1, Ordering::AcqRel);
        }
        entered
    }

    /// Somebody takes the place of one for whom it counts: there is one more who leaves, and it counts no more often.
    pub fn share(&self) {
        if self.account.allowance.max_sessions.is_some() {
            self.shared.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Counts once less, unless somebody took the place.
    pub fn leave(&self) {
        if self.account.allowance.max_sessions.is_none() || less(&self.shared) {
            return;
        }
        if less(&self.uses) {
            self.account.usage().leave();
        }
    }

    fn question<'a>(&'a self, action: Action, target: &'a str) -> Question<'a> {
        Question {
            service: &self.entrance.service,
            action,
            target,
            client_id: self.client_id.as_deref(),
            token: self.token.as_deref(),
        }
    }

    /// Whether its client may receive some of the topics that a topic filter stands for, as of now.
    pub fn allows_some(&self, topic_filter: &str) -> bool {
        let question = self.question(Action::Subscribe, topic_filter);
        rights::allows_some(&self.account, &question, SystemTime::now())
    }

    /// Whether its client may do `action` to `target` (a path, a topic) as of now.
    pub fn allows(&self, action: Action, target: &str) -> bool {
        let question = self.question(action, target);
        match rights::decide(&self.account, &question, SystemTime::now()) {
            Decision::Allowed(_) => true,
            Decision::Denied(cause) => {
                let account = &self.account.name;
                let service = &self.entrance.service;
                tracing::debug!(account, service, ?action, target, %cause, "denied");
                false
            }
        }
    }

    /// Whether it may go on: the account and its token are neither removed, changed, disabled nor
    /// expired, and the service takes passwords that come as this one's did.
    pub fn is_current(&self) -> bool {
        let now = SystemTime::now();
        if !self.account.is_valid(now)
            || self
                .token
                .as_ref()
                .is_some_and(|token| !token.is_valid(now))
            || (self.overheard && self.entrance.requires_tls())
        {
            return false;
        }
        // Looked up once for each list: a list that comes later has a later revision.
        let revision = self.accounts.revision();
        if self.current_in.load(Ordering::Relaxed) == revision {
            return true;
        }
        let list = self.accounts.list();
        let current = list.holds(&self.account)
            && self
                .token
                .as_ref()
                .is_none_or(|token| list.has_token(token));
        if current {
            self.current_in.store(revision, Ordering::Relaxed);
        }
        current
    }

    /// Takes `bytes` off the account's share; nanoseconds to wait before any more pass.
    pub fn pace(&self, direction: Direction, bytes: u64) -> u64 {
        let (rate, pacer): (Option<NonZeroU64>, _) = match direction {
            Direction::Up => (self.account.allowance.rate_up, &self.account.usage().up),
            Direction::Down => (self.account.allowance.rate_down, &self.account.usage().down),
        };
        rate.map_or(0, |rate| pacer.take(rate, bytes))
    }

    /// Counts bytes stored beneath the account's home, or with a negative number freed; false if its
    /// quota has no room for them, and then they are not counted.
    pub fn charge(&self, bytes: i64) -> bool {
        let (Some(quota), Some(home)) = (self.account.allowance.quota, &self.account.home) else {
            return true;
        };
        let charged = self.account.usage().charge(quota, bytes, Instant::now());
        if charged.measure {
            self.accounts.measure(home, self.account.usage());
        }
        charged.fits
    }
}

/// Takes one off, if there is one.
fn less(count: &AtomicU32) -> bool {
    let left = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
        count.checked_sub(1)
    });
    left.is_ok()
}

impl Drop for Session {
    fn drop(&mut self) {
        for _ in 0..*self.uses.get_mut() {
            self.account.usage().leave();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Session({:?} in {:?})",
            self.account.name, self.entrance.service
        )
    }
}
