//! What one request and its response have in common: its place on the connection and its line in
//! the access log.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use ::http::{HeaderMap, HeaderValue, header};

use super::access_log;
use crate::accounts::Account;
use crate::net::{Origin, Peer};

/// What a connection is doing; told by the engine, read by the time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No byte of the next request has come.
    Idle = 0,
    /// A part of a request's header has come.
    Head = 1,
    /// A request is being answered.
    Busy = 2,
}

/// State of one connection, shared by its stream, its requests and its engine.
///
/// All of it is touched by the connection's own task only, hence the relaxed order.
#[derive(Debug)]
pub(super) struct Activity {
    origin: Origin,
    /// Who the last request was from, by its credentials: most connections have one user.
    login: Mutex<Option<(Option<HeaderValue>, Account)>>,
    /// Number of logins so far; tells one account from the next.
    logins: AtomicU64,
    /// Whether the request that is being answered is known to be from that account.
    identified: AtomicBool,
    phase: AtomicU8,
    requests: AtomicU64,
    written: AtomicU64,
    body_unread: AtomicBool,
    draining: AtomicBool,
}

impl Activity {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            login: Mutex::default(),
            logins: AtomicU64::new(0),
            identified: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Idle as u8),
            requests: AtomicU64::new(0),
            written: AtomicU64::new(0),
            body_unread: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// Where the connection comes from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The account that these credentials, or none, had on this connection, while it still holds.
    pub(super) fn login(&self, credentials: Option<&HeaderValue>) -> Option<Account> {
        let login = self.login.lock().ok()?;
        let (known, account) = login.as_ref()?;
        let holds = known.as_ref() == credentials && account.is_current();
        self.identified.store(holds, Ordering::Relaxed);
        holds.then(|| account.clone())
    }

    pub(super) fn set_login(&self, credentials: Option<&HeaderValue>, account: &Account) {
        if let Ok(mut login) = self.login.lock() {
            *login = Some((credentials.cloned(), account.clone()));
            self.logins.fetch_add(1, Ordering::Relaxed);
            self.identified.store(true, Ordering::Relaxed);
        }
    }

    /// The account of the last login, and its number.
    fn holder(&self) -> Option<(u64, Account)> {
        let login = self.login.lock().ok()?;
        let (_, account) = login.as_ref()?;
        Some((self.logins.load(Ordering::Relaxed), account.clone()))
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Number of requests answered; tells one idle time from the next.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn begin_request(&self) {
        self.enter(Phase::Busy);
        self.identified.store(false, Ordering::Relaxed);
        self.body_unread.store(false, Ordering::Relaxed);
    }

    fn end_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    /// Bytes that the network took, of all responses.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the handler left a part of the request's body unread.
    pub(super) fn body_unread(&self) -> bool {
        self.body_unread.load(Ordering::Relaxed)
    }

    pub(super) fn set_body_unread(&self, unread: bool) {
        self.body_unread.store(unread, Ordering::Relaxed);
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Waits for the end of the account behind the request that is being answered.
///
/// An answer that goes out at once never asks.
#[derive(Default)]
pub(super) struct Revocation {
    /// Of which login, and its wait.
    watched: Option<(u64, Pin<Box<dyn Future<Output = ()> + Send>>)>,
}

impl Revocation {
    /// Ready when a request is under way whose account was removed, changed, disabled or expired.
    pub(super) fn poll(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<()> {
        if activity.phase() != Phase::Busy || !activity.identified.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let logins = activity.logins.load(Ordering::Relaxed);
        if self.watched.as_ref().is_none_or(|(of, _)| *of != logins) {
            self.watched = activity.holder().map(|(of, account)| {
                let wait = Box::pin(async move { account.revoked().await });
                (of, wait as Pin<Box<dyn Future<Output = ()> + Send>>)
            });
        }
        match &mut self.watched {
            Some((_, wait)) => wait.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    user: OnceLock<String>,
    /// None where nobody reads the access log.
    line: Option<LineParts>,
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
            line,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.activity.origin().peer()
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
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
        }
    }

    pub(super) fn begin_response(&mut self, status: u16, header_len: u64, expected: Option<u64>) {
        self.status = status;
        self.header_len = header_len;
        self.expected = expected;
        self.written_before = self.exchange.activity.written();
    }

    pub(super) fn add_produced(&mut self, bytes: usize) {
        self.produced += bytes as u64;
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
        if let Some(line) = &self.exchange.line {
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
        self.exchange.activity.end_request();
    }
}
