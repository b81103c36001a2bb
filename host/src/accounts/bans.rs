//! Bans: who failed to log in too often is refused for a while, without a hash being computed. One
//! list for all services.
//!
//! A password that was proven before passes all the same, so that nobody can lock out a user, or an
//! address that others share, who is logged in. Users that do not exist are banned like those that
//! do: a ban tells nobody which.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::network::{Network, admits};
use super::verify::Source;

/// The most addresses and users that are remembered.
const MAX_SUBJECTS: usize = 65_536;

/// The longest user that is remembered, in bytes: none that exists is longer.
const MAX_USER: usize = 128;

/// How many failures are too many; `[host.ban]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bans {
    /// Whether anybody is banned at all.
    pub enabled: bool,
    /// Failures of one address that ban it.
    pub address_failures: u16,
    /// Failures with one user, from whichever addresses, that ban it.
    pub user_failures: u16,
    /// How long a failure counts.
    pub window: Duration,
    /// How long a ban holds.
    pub duration: Duration,
    /// Whose failures do not count and who is not refused. Unix sockets never are.
    pub exempt: Vec<Network>,
}

impl Default for Bans {
    fn default() -> Self {
        Self {
            enabled: true,
            address_failures: 20,
            user_failures: 100,
            window: Duration::from_secs(600),
            duration: Duration::from_secs(900),
            exempt: Network::LOOPBACK.to_vec(),
        }
    }
}

/// Who failed and who is banned.
#[derive(Debug, Default)]
pub struct Banned {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bans: Bans,
    subjects: HashMap<Subject, Record>,
}

/// Whose failures are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An address, or a network of IPv6 that one customer gets.
    Address(IpAddr),
    /// A login.
    User(String),
}

#[derive(Debug, Default)]
struct Record {
    /// The latest failures, oldest first.
    failures: VecDeque<Instant>,
    /// When its ban ends.
    until: Option<Instant>,
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ IpAddr::V4(_)) => write!(out, "{address}"),
            Self::Address(address @ IpAddr::V6(_)) => write!(out, "{address}/64"),
            Self::User(user) => out.write_str(user),
        }
    }
}

impl Subject {
    /// Those of a login; none for somebody by a Unix socket.
    fn of(user: Option<&str>, peer: Option<IpAddr>) -> impl Iterator<Item = Self> {
        let address = match Source::of(peer) {
            Source::Network(address) => Some(address),
            Source::Local => None,
        };
        let user = user.filter(|_| address.is_some());
        let address = address.map(Self::Address).into_iter();
        address.chain(user.map(|user| Self::User(user.to_owned())))
    }

    fn is_memorable(&self) -> bool {
        !matches!(self, Self::User(user) if user.len() > MAX_USER)
    }
}

impl State {
    fn counts(&self, peer: Option<IpAddr>) -> bool {
        self.bans.enabled && !admits(&self.bans.exempt, peer)
    }

    /// Makes room for one more by forgetting whose failures do not count any more; false if there
    /// is none.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.subjects.len() >= MAX_SUBJECTS {
            let window = self.bans.window;
            self.subjects.retain(|_, record| {
                let recent = record
                    .failures
                    .back()
                    .is_some_and(|last| now < *last + window);
                recent || record.until.is_some_and(|until| now < until)
            });
        }
        self.subjects.len() < MAX_SUBJECTS
    }
}

impl Banned {
    /// Other numbers from now on; bans in force stay.
    pub fn configure(&self, bans: &Bans) {
        self.lock().bans = bans.clone();
    }

    /// The ban that refuses a login, if any.
    pub fn refuses(&self, user: &str, peer: Option<IpAddr>, now: Instant) -> Option<Subject> {
        let state = self.lock();
        if !state.counts(peer) {
            return None;
        }
        let is_banned = |subject: &Subject| {
            let record = state.subjects.get(subject);
            record.is_some_and(|record| record.until.is_some_and(|until| now < until))
        };
        Subject::of(Some(user), peer).find(is_banned)
    }

    /// Counts a failed login, of a token alone if without a user; gives those who are banned by it.
    pub fn failed(&self, user: Option<&str>, peer: Option<IpAddr>, now: Instant) -> Vec<Subject> {
        let mut state = self.lock();
        if !state.counts(peer) {
            return Vec::new();
        }
        let mut banned = Vec::new();
        for subject in Subject::of(user, peer) {
            if !subject.is_memorable()
                || !(state.subjects.contains_key(&subject) || state.has_room(now))
            {
                continue;
            }
            let State { bans, subjects } = &mut *state;
            let limit = match subject {
                Subject::Address(_) => bans.address_failures,
                Subject::User(_) => bans.user_failures,
            };
            let record = subjects.entry(subject.clone()).or_default();
            while record
                .failures
                .front()
                .is_some_and(|first| now >= *first + bans.window)
            {
                record.failures.pop_front();
            }
            record.failures.push_back(now);
            if record.failures.len() >= usize::from(limit) {
                record.failures.clear();
                record.until = Some(now + bans.duration);
                banned.push(subject);
            }
        }
        banned
    }

    /// Forgets the failures of a user who logged in; those of his address stay, lest somebody with
    /// an account tries other users' passwords for ever.
    pub fn succeeded(&self, user: &str) {
        self.lock().subjects.remove(&Subject::User(user.to_owned()));
    }

    /// Those who are banned, and for how long still.
    pub fn list(&self, now: Instant) -> Vec<(Subject, Duration)> {
        let state = self.lock();
        let banned = state.subjects.iter().filter_map(|(subject, record)| {
            let rest = record.until?.checked_duration_since(now)?;
            (!rest.is_zero()).then(|| (subject.clone(), rest))
        });
        let mut banned: Vec<_> = banned.collect();
        banned.sort_by_key(|(subject, _)| subject.to_string());
        banned
    }

    /// Forgets the failures and the bans of `text`, an address or a user; false if it is not banned.
    pub fn lift(&self, text: &str, now: Instant) -> bool {
        let address = text.strip_suffix("/64").unwrap_or(text).parse().ok();
        let address = address.and_then(|address| match Source::of(Some(address)) {
            Source::Network(address) => Some(Subject::Address(address)),
            Source::Local => None,
        });
        let subjects = [Some(Subject::User(text.to_owned())), address];
        let mut state = self.lock();
        let lifted = subjects.into_iter().flatten().filter(|subject| {
            let record = state.subjects.remove(subject);
            record.is_some_and(|record| record.until.is_some_and(|until| now < until))
        });
        lifted.count() > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banned(address_failures: u16, user_failures: u16) -> Banned {
        let banned = Banned::default();
        banned.configure(&Bans {
            address_failures,
            user_failures,
            ..Bans::default()
        });
        banned
    }

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn names(subjects: &[Subject]) -> Vec<String> {
        subjects.iter().map(Subject::to_string).collect()
    }

    #[test]
    fn an_address_is_banned_for_all_users_and_a_user_for_all_addresses() {
        let (banned, now) = (banned(2, 3), Instant::now());
        assert_eq!(
            names(&banned.failed(Some("a"), peer("10.0.0.1"), now)),
            [""; 0]
        );
        assert_eq!(
            names(&banned.failed(Some("b"), peer("10.0.0.1"), now)),
            ["10.0.0.1"]
        );
        assert_eq!(
            banned
                .refuses("c", peer("::ffff:10.0.0.1"), now)
                .unwrap()
                .to_string(),
            "10.0.0.1"
        );
        assert!(banned.refuses("a", peer("10.0.0.2"), now).is_none());
        banned.failed(Some("a"), peer("2001:db8::1"), now);
        assert_eq!(
            names(&banned.failed(Some("a"), peer("2001:db8::2"), now)),
            ["2001:db8::/64", "a"]
        );
        assert_eq!(
            banned
                .refuses("a", peer("10.0.0.3"), now)
                .unwrap()
                .to_string(),
            "a"
        );
        assert_eq!(banned.list(now).len(), 3);
        let later = now + Duration::from_secs(900);
        assert!(banned.refuses("a", peer("10.0.0.1"), later).is_none());
        assert!(banned.list(later).is_empty());
    }

    #[test]
    fn only_failures_within_the_window_count() {
        let (banned, mut now) = (banned(3, 100), Instant::now());
        for _ in 0..10 {
            assert!(banned.failed(Some("a"), peer("10.0.0.1"), now).is_empty());
            now += Duration::from_secs(300);
        }
        banned.failed(Some("a"), peer("10.0.0.1"), now);
        assert_eq!(banned.failed(Some("a"), peer("10.0.0.1"), now).len(), 1);
    }

    #[test]
    fn this_machine_and_unix_sockets_are_exempt_and_bans_can_be_off() {
        let (banned, now) = (banned(1, 1), Instant::now());
        for exempt in [peer("127.0.0.1"), peer("::1"), None] {
            assert!(banned.failed(Some("a"), exempt, now).is_empty());
        }
        assert_eq!(banned.failed(Some("a"), peer("10.0.0.1"), now).len(), 2);
        assert!(banned.refuses("a", peer("127.0.0.1"), now).is_none());
        banned.configure(&Bans {
            enabled: false,
            ..Bans::default()
        });
        assert!(banned.refuses("a", peer("10.0.0.1"), now).is_none());
        banned.configure(&Bans {
            exempt: Vec::new(),
            address_failures: 1,
            ..Bans::default()
        });
        assert!(
            banned.failed(Some("a"), None, now).is_empty(),
            "a Unix socket has no address"
        );
        assert_eq!(banned.failed(Some("b"), peer("127.0.0.1"), now).len(), 1);
    }

    #[test]
    fn a_ban_is_lifted_by_what_the_list_shows_and_success_forgives_the_user() {
        let (banned, now) = (banned(1, 2), Instant::now());
        banned.failed(Some("a"), peer("2001:db8::1"), now);
        banned.succeeded("a");
        banned.failed(Some("a"), peer("10.0.0.1"), now);
        let shown: Vec<String> = banned
            .list(now)
            .iter()
            .map(|(subject, _)| subject.to_string())
            .collect();
        assert_eq!(shown, ["10.0.0.1", "2001:db8::/64"]);
        assert!(!banned.lift("a", now) && !banned.lift("10.0.0.2", now));
        for one in shown {
            assert!(banned.lift(&one, now) && !banned.lift(&one, now), "{one}");
        }
        assert!(banned.list(now).is_empty());
    }

    #[test]
    fn a_flood_of_names_is_forgotten_again() {
        let (banned, now) = (banned(u16::MAX, 2), Instant::now());
        for number in 0..MAX_SUBJECTS + 10 {
            banned.failed(Some(&number.to_string()), peer("10.0.0.1"), now);
        }
        assert_eq!(banned.lock().subjects.len(), MAX_SUBJECTS);
        banned.failed(Some(&"x".repeat(MAX_USER + 1)), peer("10.0.0.1"), now);
        let later = now + Duration::from_secs(601);
        banned.failed(Some("y"), peer("10.0.0.1"), later);
        assert!(banned.lock().subjects.len() < 3);
    }
}
