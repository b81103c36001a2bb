//! What one request and its response have in common: its account, and its line in the access log.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use ::http::{HeaderMap, HeaderValue, header};

use super::access_log;
use super::activity::Activity;
use crate::accounts::{Account, Pace, Resting};
use crate::net::Peer;

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    user: OnceLock<String>,
    session: Mutex<Option<Session>>,
    /// None where nobody reads the access log.
    line: Option<LineParts>,
}

/// Whose request it is; counts as a session of the account until the response has gone.
#[derive(Debug)]
struct Session {
    account: Account,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct LineParts {
    at: SystemTime,
    request_line: String,
    referer: Option<String>,
    user_agent: Option<String>,
}

impl Exchange {
    pub(super) fn new(
        activity: Arc<Activity>,
        request_line: impl FnOnce() -> String,
        headers: &HeaderMap,
    ) -> Self {
        let text = |name| {
            headers
                .get(name)
                .map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let line = access_log::is_enabled().then(|| LineParts {
            at: SystemTime::now(),
            request_line: request_line(),
            referer: text(header::REFERER),
            user_agent: text(header::USER_AGENT),
        });
        Self {
            activity,
            user: OnceLock::new(),
            session: Mutex::default(),
            line,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.activity.origin().peer()
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(super) fn set_account(&self, account: &Account) {
        *self.session() = Some(Session {
            account: account.clone(),
            pace: account.pace(),
        });
    }

    /// Its account, where it was asked for.
    pub(super) fn resting(&self) -> Option<Resting> {
        self.session()
            .as_ref()
            .map(|session| session.account.resting())
    }

    /// The limits of its account, where it has some.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.session().as_ref()?.pace.clone()
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_user(&self, name: &str) {
        // The first name stays: a request logs in once.
        let _ = self.user.set(name.to_owned());
    }
}

/// Ends an exchange when it is dropped, however that comes about.
pub(super) struct Ending {
    exchange: Arc<Exchange>,
    status: u16,
    /// Bytes on the connection before this response.
    written_before: u64,
    /// Bytes of the response's header.
    header_len: u64,
    /// Bytes of the body handed to the engine, and in all.
    produced: u64,
    expected: Option<u64>,
    elsewhere: bool,
}

/// Logged for a client that left before there was a response; nginx's number for it.
const CLIENT_LEFT: u16 = 499;

impl Ending {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            status: CLIENT_LEFT,
            written_before: 0,
            header_len: 0,
            produced: 0,
            expected: Some(0),
            elsewhere: false,
        }
    }

    pub(super) fn begin_response(&mut self, status: u16, header_len: u64, expected: Option<u64>) {
        self.status = status;
        self.header_len = header_len;
        self.expected = expected;
        self.written_before = self.exchange.activity.written();
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(super) fn add_produced(&mut self, bytes: usize) {
        self.produced += bytes as u64;
    }

    /// There is nothing to log: the request goes on elsewhere.
    pub(super) fn go_elsewhere(&mut self) {
        self.elsewhere = true;
    }

    /// The body came to its end.
    pub(super) fn complete(&mut self) {
        self.expected = Some(self.produced);
    }

    /// A whole body is on its way; of one that broke off only what the network took counts.
    fn sent(&self) -> u64 {
        if self.expected == Some(self.produced) {
            return self.produced;
        }
        let taken = self
            .exchange
            .activity
            .written()
            .saturating_sub(self.written_before);
        taken.saturating_sub(self.header_len).min(self.produced)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(line) = &self.exchange.line
            && !self.elsewhere
        {
            access_log::write(&access_log::Line {
                peer: self.exchange.peer(),
                user: self.exchange.user.get().map(String::as_str),
                at: line.at,
                request_line: &line.request_line,
                status: self.status,
                sent: self.sent(),
                referer: line.referer.as_deref(),
                user_agent: line.user_agent.as_deref(),
            });
        }
        *self.exchange.session() = None;
        self.exchange.activity.end_request();
    }
}
