//! What a connection is doing, shared by its stream, its requests and its engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use ::http::HeaderValue;

use super::exchange::Exchange;
use crate::accounts::{Account, Resting};
use crate::net::Origin;

/// What a connection is doing; told by the engine, read by the time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of the next request has come.
    Idle,
    /// A part of a request's header has come.
    Head,
    /// Requests are being answered.
    Busy,
}

/// State of one connection.
///
/// All of it is touched by the connection's own task only, hence the relaxed order.
#[derive(Debug)]
pub(super) struct Activity {
    origin: Origin,
    multiplexed: bool,
    /// Who the last request was from, by its credentials: most connections have one user.
    login: Mutex<Option<(Option<HeaderValue>, Resting)>>,
    /// The last request that began.
    begun: Mutex<Weak<Exchange>>,
    /// Whether bytes came that are no request yet.
    head: AtomicBool,
    under_way: AtomicU32,
    /// Responses that cannot go on before the client takes more of them (RFC 9113, 5.2).
    withheld: AtomicU32,
    requests: AtomicU64,
    written: AtomicU64,
    body_unread: AtomicBool,
    /// Whether the client has to take bytes before more of them go out.
    stalls: AtomicBool,
    draining: AtomicBool,
    crosses: AtomicBool,
    /// The request under way, for another instance to answer.
    replay: Mutex<Option<Vec<u8>>>,
}

impl Activity {
    /// `multiplexed`: several requests may be under way at once, as in HTTP/2.
    pub(super) fn new(origin: Origin, multiplexed: bool) -> Self {
        Self {
            origin,
            multiplexed,
            login: Mutex::default(),
            begun: Mutex::default(),
            head: AtomicBool::new(false),
            under_way: AtomicU32::new(0),
            withheld: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            written: AtomicU64::new(0),
            body_unread: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            crosses: AtomicBool::new(false),
            replay: Mutex::default(),
        }
    }

    /// Where the connection comes from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// The account that these credentials, or none, had on this connection.
    pub(super) fn login(&self, credentials: Option<&HeaderValue>) -> Option<Resting> {
        let login = self.login.lock().ok()?;
        let (known, account) = login.as_ref()?;
        (known.as_ref() == credentials).then(|| account.clone())
    }

    pub(super) fn set_login(&self, credentials: Option<&HeaderValue>, account: &Account) {
        if let Ok(mut login) = self.login.lock() {
            *login = Some((credentials.cloned(), account.resting()));
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.under_way.load(Ordering::Relaxed) > 0 {
            Phase::Busy
        } else if self.head.load(Ordering::Relaxed) {
            Phase::Head
        } else {
            Phase::Idle
        }
    }

    /// Bytes came. With requests side by side they need not be of a new one.
    pub(super) fn note_received(&self) {
        if !self.multiplexed && self.under_way.load(Ordering::Relaxed) == 0 {
            self.head.store(true, Ordering::Relaxed);
        }
    }

    /// Number of requests answered; tells one idle time from the next.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn begin_request(&self, exchange: &Arc<Exchange>) {
        if let Ok(mut begun) = self.begun.lock() {
            *begun = Arc::downgrade(exchange);
        }
        self.head.store(false, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.body_unread.store(false, Ordering::Relaxed);
    }

    pub(super) fn end_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// The last request that began, while anything of it is left.
    pub(super) fn begun(&self) -> Option<Arc<Exchange>> {
        self.begun.lock().ok()?.upgrade()
    }

    /// Bytes that the network took, of all responses.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether a response waits for its client.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.load(Ordering::Relaxed) > 0
    }

    /// One response more that waits for its client, or one less.
    pub(super) fn withhold(&self, waits: bool) {
        if waits {
            self.withheld.fetch_add(1, Ordering::Relaxed);
        } else {
            self.withheld.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether the handler left a part of the request's body unread.
    pub(super) fn body_unread(&self) -> bool {
        self.body_unread.load(Ordering::Relaxed)
    }

    pub(super) fn set_body_unread(&self, unread: bool) {
        self.body_unread.store(unread, Ordering::Relaxed);
    }

    /// Whether the client has to take bytes before more of them go out.
    pub(super) fn stalls(&self) -> bool {
        self.stalls.load(Ordering::Relaxed)
    }

    pub(super) fn set_stalls(&self, stalls: bool) {
        self.stalls.store(stalls, Ordering::Relaxed);
    }

    /// Whether it goes over to another instance once it is between two requests.
    pub(super) fn crosses(&self) -> bool {
        self.crosses.load(Ordering::Relaxed)
    }

    pub(super) fn set_crosses(&self, crosses: bool) {
        self.crosses.store(crosses, Ordering::Relaxed);
    }

    /// Whether no more is read here: what comes next is for another instance.
    pub(super) fn is_leaving(&self) -> bool {
        self.crosses() && self.phase() != Phase::Busy && !self.body_unread()
    }

    /// The request under way is for another instance to answer: it comes before what else was read.
    pub(super) fn set_replay(&self, request: Vec<u8>) {
        *self.replay() = Some(request);
    }

    pub(super) fn has_replay(&self) -> bool {
        self.crosses() && self.replay().is_some()
    }

    pub(super) fn take_replay(&self) -> Option<Vec<u8>> {
        self.replay().take()
    }

    fn replay(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next response is the last one.
    pub(super) fn closes(&self) -> bool {
        self.body_unread() || self.draining() && !self.crosses()
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Waits for the end of the account behind a request.
///
/// An answer that goes out at once never asks.
#[derive(Default)]
pub(super) struct Revocation {
    wait: Option<Wait>,
}

struct Wait {
    of: Weak<Exchange>,
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Revocation {
    /// Ready when the account of this request was removed, changed, disabled or expired.
    pub(super) fn poll(&mut self, exchange: &Arc<Exchange>, cx: &mut Context<'_>) -> Poll<()> {
        let of = Arc::downgrade(exchange);
        if self.wait.as_ref().is_none_or(|wait| !wait.of.ptr_eq(&of)) {
            // A wait that outlives its request must not hold the session open.
            self.wait = exchange.resting().map(|account| Wait {
                of,
                revoked: Box::pin(async move { account.revoked().await }),
            });
        }
        match &mut self.wait {
            Some(wait) => wait.revoked.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
