//! Who may log in, and what they may do: accounts.ini, read into an immutable list that is
//! swapped atomically, and the checking of passwords.
//!
//! Knows no protocol: services ask with a user, a password, their own name and the peer's address.

mod account;
mod bans;
mod expiry;
mod file;
mod group;
mod ini;
mod list;
mod network;
mod password;
mod rights;
#[cfg(test)]
mod tests;
mod verify;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

pub use account::{ANONYMOUS, Account};
use bans::Banned;
pub use bans::{Bans, Subject};
pub use expiry::is_expiry;
pub use file::{EditError, edit};
pub use ini::Document;
pub use list::{AccountList, LoadError};
pub use network::Network;
pub use password::{
    MAX_LENGTH as MAX_PASSWORD, Secret, hash as hash_password, is_hash as is_password_hash,
};
pub use rights::{Action, Decision, decide};
use verify::{Pool, Source};

/// A list that was read and is good.
pub type Parsed = Arc<AccountList>;

/// Reads and checks the accounts file; a missing one means nobody.
///
/// # Errors
/// Every problem of the file, or why it cannot be read.
pub fn load(file: &Path) -> Result<Parsed, LoadError> {
    AccountList::load(file).map(Arc::new)
}

/// The accounts of the running host.
pub struct Accounts {
    current: RwLock<Parsed>,
    /// When expired accounts were last looked for.
    looked: Mutex<SystemTime>,
    pool: Pool<Check>,
    banned: Banned,
    /// Keys the tags of accepted passwords; never leaves the process.
    key: [u8; 32],
}

/// A login to be checked.
struct Login {
    user: String,
    password: Vec<u8>,
    service: String,
    peer: Option<IpAddr>,
}

/// Who wants to know how a login went.
type Done = Box<dyn FnOnce(Result<Arc<Account>, Denied>) + Send>;

/// Why a login failed, as far as the client may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Unknown user, wrong password, disabled, expired, wrong service or network: all the same.
    Refused,
    /// Too many logins are waiting to be checked; try again later.
    Busy,
}

impl Accounts {
    /// Starts with `list`.
    ///
    /// # Errors
    /// When the system gives no random bytes or no threads.
    pub fn start(list: Parsed) -> io::Result<Arc<Self>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        log_warnings(&list);
        Ok(Arc::new(Self {
            current: RwLock::new(list),
            looked: Mutex::new(SystemTime::now()),
            pool: Pool::start()?,
            banned: Banned::default(),
            key,
        }))
    }

    /// The list in force.
    pub fn list(&self) -> Parsed {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `list` may follow the one in force.
    ///
    /// # Errors
    /// A list without any account does not follow one with some: a file that is just being
    /// written, or was lost, must not lock everybody out.
    pub fn check_replacement(&self, list: &Parsed) -> Result<(), String> {
        if list.is_empty() && !self.list().is_empty() {
            return Err(
                "the accounts file is missing or empty: the accounts stay as they were".to_owned(),
            );
        }
        Ok(())
    }

    /// Whether putting `list` in force would change anything for anybody.
    pub fn differs(&self, list: &Parsed) -> bool {
        self.list().differs(list)
    }

    /// Puts `list` in force. Accounts that did not change stay the same; the others, and those
    /// that are gone, are not [current](Self::is_current) any more.
    pub fn replace(&self, list: Parsed) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.differs(&list) {
            return;
        }
        *current = Arc::new(list.keep_unchanged(&current));
        drop(current);
        log_warnings(&list);
    }

    /// Whether a session of `account` may go on: the account is neither removed, changed, disabled
    /// nor expired.
    pub fn is_current(&self, account: &Arc<Account>) -> bool {
        account.is_valid(SystemTime::now()) && self.list().holds(account)
    }

    /// Whether an account expired since this was last asked.
    pub fn expired_since_last(&self) -> bool {
        let now = SystemTime::now();
        let last = std::mem::replace(
            &mut *self.looked.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
        self.list()
            .everybody()
            .any(|account| account.expires.is_some_and(|end| last < end && end <= now))
    }

    /// What a client at `peer` gets from `service` without logging in. `peer` is none for a Unix
    /// socket.
    pub fn anonymous(&self, service: &str, peer: Option<IpAddr>) -> Option<Arc<Account>> {
        let list = self.list();
        let account = list.anonymous()?;
        let usable = refusal(account, service, peer).is_none();
        usable.then(|| Arc::clone(account))
    }

    /// Whether `account` may do `action` to `target` (a path, a topic) in `service`, as of now.
    pub fn allows(&self, account: &Account, service: &str, action: Action, target: &str) -> bool {
        match rights::decide(account, service, action, target, SystemTime::now()) {
            Decision::Allowed(_) => true,
            Decision::Denied(cause) => {
                tracing::debug!(account = account.name, service, ?action, target, %cause, "denied");
                false
            }
        }
    }

    /// Checks a login and answers by calling `done`: at once if the password was proven before,
    /// else from the pool's thread. Never blocks the caller. `peer` is none for a Unix socket.
    pub fn verify_async(
        self: &Arc<Self>,
        user: &str,
        password: &[u8],
        service: &str,
        peer: Option<IpAddr>,
        done: Done,
    ) {
        let (user, service) = (user.to_owned(), service.to_owned());
        let login = Login {
            user,
            password: password.to_owned(),
            service,
            peer,
        };
        if let Some(account) = self.proven(&login) {
            return done(Ok(account));
        }
        if let Some(banned) = self.banned.refuses(&login.user, peer, Instant::now()) {
            tracing::debug!(user = login.user, %banned, "login refused");
            return done(Err(Denied::Refused));
        }
        let check = Check {
            login,
            accounts: Arc::clone(self),
            done,
        };
        if let Err(check) = self.pool.submit(Source::of(peer), check) {
            (check.done)(Err(Denied::Busy));
        }
    }

    /// Other numbers for bans from now on.
    pub fn configure_bans(&self, bans: &Bans) {
        self.banned.configure(bans);
    }

    /// Who is banned, and for how long still.
    pub fn bans(&self) -> Vec<(Subject, Duration)> {
        self.banned.list(Instant::now())
    }

    /// Lets an address or a user log in again; false if it is not banned.
    pub fn lift(&self, subject: &str) -> bool {
        self.banned.lift(subject, Instant::now())
    }

    /// The account, if this very password was right before and nothing else speaks against it.
    fn proven(&self, login: &Login) -> Option<Arc<Account>> {
        let list = self.list();
        let account = list.get(&login.user)?;
        let proven = account.is_proven(&self.key, &login.password)
            && refusal(account, &login.service, login.peer).is_none();
        proven.then(|| Arc::clone(account))
    }

    /// The whole check. A refusal takes the same time whatever its reason is.
    fn check(&self, login: &Login) -> Result<Arc<Account>, Denied> {
        if let Some(account) = self.proven(login) {
            return Ok(account); // proven while this one was waiting
        }
        if self
            .banned
            .refuses(&login.user, login.peer, Instant::now())
            .is_some()
        {
            return Err(Denied::Refused); // banned while this one was waiting
        }
        let list = self.list();
        let account = list.get(&login.user);
        let secret = account.and_then(|account| account.secret.as_ref());
        let right = secret.is_some_and(|secret| secret.matches(&login.password));
        let reason = match account {
            None => "there is no such account".to_owned(),
            Some(account) if account.secret.is_none() => "the account has no password".to_owned(),
            Some(_) if !right => "the password is wrong".to_owned(),
            Some(account) => match refusal(account, &login.service, login.peer) {
                Some(reason) => reason,
                None => {
                    account.prove(&self.key, &login.password);
                    self.banned.succeeded(&login.user);
                    return Ok(Arc::clone(account));
                }
            },
        };
        list.dummy().spend_rest(secret, &login.password);
        let peer = login.peer.map_or_else(
            || "unix".to_owned(),
            |address| address.to_canonical().to_string(),
        );
        tracing::info!(
            user = login.user,
            service = login.service,
            peer,
            reason,
            "login refused"
        );
        for banned in self.banned.failed(&login.user, login.peer, Instant::now()) {
            tracing::warn!(%banned, "banned: too many failed logins");
        }
        Err(Denied::Refused)
    }
}

/// Why a client at `peer` may not use `account` in `service`, if so.
fn refusal(account: &Account, service: &str, peer: Option<IpAddr>) -> Option<String> {
    match rights::decide_service(account, service, SystemTime::now()) {
        Decision::Denied(cause) => Some(cause.to_string()),
        Decision::Allowed(_) if !account.admits(peer) => {
            Some("the account is not for this network".to_owned())
        }
        Decision::Allowed(_) => None,
    }
}

/// One job of the pool.
struct Check {
    login: Login,
    accounts: Arc<Accounts>,
    done: Done,
}

impl verify::Job for Check {
    fn run(self) {
        (self.done)(self.accounts.check(&self.login));
    }
}

/// The words of a value that is a list.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value
        .split([',', ' ', '\t'])
        .filter(|word| !word.is_empty())
}

fn log_warnings(list: &AccountList) {
    for warning in list.warnings().iter() {
        tracing::warn!("{warning}");
    }
}
