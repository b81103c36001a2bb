//! Sessions: what makes a connection known as one of the client that made another.
//!
//! Each connection gives out tickets that carry the number of its session, and sees which number the client
//! brought along. The library tells the latter for TLS 1.3 alone; so the number is put around what it seals.
//! A connection that is held to the session of another gives out none: who is refused would get its number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::{ProducesTickets, StoresServerSessions};

/// A TLS session: a client that takes one up again proves that it is the client that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession(u64);

impl TlsSession {
    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn around(self, inner: &[u8]) -> Vec<u8> {
        [&self.0.to_be_bytes(), inner].concat()
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (number, inner) = bytes.split_first_chunk()?;
        Some((Self(u64::from_be_bytes(*number)), inner))
    }
}

/// One connection's view of the tickets and sessions that all of them share.
#[derive(Debug)]
pub(super) struct Numbered {
    own: TlsSession,
    gives_tickets: bool,
    brought: Mutex<Option<TlsSession>>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Numbered {
    /// For a connection with a session of its own, or held to that of another; the configuration is the one to
    /// hold its handshake with.
    pub(super) fn new(
        held_to: Option<TlsSession>,
        config: &ServerConfig,
    ) -> (Arc<Self>, Arc<ServerConfig>) {
        let numbered = Arc::new(Self {
            own: held_to.unwrap_or_else(TlsSession::next),
            gives_tickets: held_to.is_none(),
            brought: Mutex::default(),
            tickets: Arc::clone(&config.ticketer),
            sessions: Arc::clone(&config.session_storage),
        });
        let mut config = config.clone();
        if held_to.is_some() {
            config.send_tls13_tickets = 0;
        }
        config.ticketer = Arc::clone(&numbered) as _;
        config.session_storage = Arc::clone(&numbered) as _;
        (numbered, Arc::new(config))
    }

    pub(super) fn own(&self) -> TlsSession {
        self.own
    }

    /// The session that the client took up, once it is known that it took one up: the last one opened.
    pub(super) fn brought(&self) -> Option<TlsSession> {
        *self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (session, inner) = TlsSession::split(bytes)?;
        *self.brought.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Some(inner.to_vec())
    }
}

impl ProducesTickets for Numbered {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let sealed = || self.tickets.encrypt(&self.own.around(plain));
        self.gives_tickets.then(sealed).flatten()
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.tickets.decrypt(cipher)?)
    }
}

impl StoresServerSessions for Numbered {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.gives_tickets && self.sessions.put(key, self.own.around(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.sessions.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.sessions.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}
