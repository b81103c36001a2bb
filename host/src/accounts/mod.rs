//! Who may log in, and what they may do: accounts.ini, read into an immutable list that is
//! swapped atomically, and the checking of passwords.
//!
//! Knows no protocol: services ask with a user, a password, their own name and the peer's address.

mod account;
mod allowance;
mod bans;
mod certificate;
mod expiry;
mod file;
mod group;
mod hex;
mod ini;
mod list;
mod login;
mod measure;
mod named;
mod network;
mod password;
mod rights;
mod scram;
mod session;
#[cfg(test)]
mod tests;
mod token;
mod usage;
mod verify;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

pub use account::{ANONYMOUS, Account};
use bans::Banned;
pub use bans::{Bans, Subject};
pub use expiry::{from_now as expiry_from_now, is_expiry};
pub use file::{EditError, edit};
pub use ini::Document;
pub use list::{AccountList, LoadError};
use login::Check;
pub use login::Denied;
use measure::Measurer;
pub use network::{Network, admits};
pub use password::{
    MAX_LENGTH as MAX_PASSWORD, ROUNDS as SCRAM_ROUNDS, Secret, hash as hash_password,
    is_hash as is_password_hash, verifier as scram_verifier,
};
pub use rights::{Action, Decision, Question, allows_some, decide};
pub use scram::Proven;
use scram::StandIn;
pub use session::{Client, Direction, Entrance, Session, SessionTold};
pub use token::{KEY as TOKEN_KEY, Token};
use usage::Usage;
use verify::Pool;

/// A list that was read and is good.
pub type Parsed = Arc<AccountList>;

/// The accounts of the running host.
pub struct Accounts {
    current: RwLock<Parsed>,
    revision: AtomicU64,
    /// When expired accounts were last looked for.
    looked: Mutex<SystemTime>,
    pool: Pool<Check>,
    banned: Banned,
    measurer: Measurer,
    /// Keys the tags of accepted passwords; never leaves the process.
    key: [u8; 32],
    /// For those who cannot log in by SCRAM.
    stand_in: StandIn,
}

impl Accounts {
    /// Starts with `list`.
    ///
    /// # Errors
    /// When the system gives no random bytes or no threads.
    pub fn start(list: Parsed) -> io::Result<Arc<Self>> {
        let (mut key, mut stand_in) = ([0; 32], [0; 32]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut stand_in)?;
        log_warnings(&list);
        let accounts = Arc::new(Self {
            current: RwLock::new(list),
            revision: AtomicU64::new(1),
            looked: Mutex::new(SystemTime::now()),
            pool: Pool::start()?,
            banned: Banned::default(),
            measurer: Measurer::start()?,
            key,
            stand_in: StandIn::new(stand_in),
        });
        accounts.measure_homes(&accounts.list());
        Ok(accounts)
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

    /// The names of the accounts that putting `list` in force would change, add or remove.
    pub fn changed(&self, list: &Parsed) -> BTreeSet<String> {
        self.list().changed(list)
    }

    /// Puts `list` in force. Accounts that did not change stay the same; the others, and those
    /// that are gone, are not [current](Session::is_current) any more.
    pub fn replace(&self, list: Parsed) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.differs(&list) {
            return;
        }
        *current = Arc::new(list.keep_unchanged(&current));
        // Before anybody reads the new list: see `Session::is_current`.
        self.revision.fetch_add(1, Ordering::Release);
        self.measure_homes(&current);
        drop(current);
        log_warnings(&list);
    }

    /// Counts the lists that came into force.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Has the home of an account measured.
    fn measure(&self, home: &Path, usage: &Arc<Usage>) {
        self.measurer.measure(home, usage);
    }

    /// Has the homes measured that have a quota and were not measured yet.
    fn measure_homes(&self, list: &AccountList) {
        for account in list.everybody() {
            if let (Some(_), Some(home)) = (account.allowance.quota, &account.home)
                && account.usage().begin_first_measuring()
            {
                self.measure(home, account.usage());
            }
        }
    }

    /// Whether an account or a token expired since this was last asked.
    pub fn expired_since_last(&self) -> bool {
        let now = SystemTime::now();
        let last = std::mem::replace(
            &mut *self.looked.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
        self.list().expiries().any(|end| last < end && end <= now)
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
