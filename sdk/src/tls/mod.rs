//! TLS for the instance's connections: those of its TLS listeners, and those that a plugin turns over itself.
//!
//! Owns handshakes, sessions and the choice of the certificate. The material comes from the host (`tls/1`),
//! which reads and checks the files; a new one counts from the next handshake on.

mod accept;
pub(crate) mod client;
mod config;
mod session;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polyport_abi::HostQuery;
use polyport_abi::tls::{Material, TlsV1};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::error;

use self::accept::Places;
pub(crate) use self::accept::{accept, inner_scheme};
pub use self::client::{ClientTls, Trust};
use self::config::{Resumption, server_config};
pub use self::session::TlsSession;
use self::socket::Handshake;
pub(crate) use self::socket::{Facts, TlsSocket};
use crate::net::Stream;

/// How long a client may take for a handshake that a plugin began.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The TLS of an instance; cloning shares it.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    table: &'static TlsV1,
    alpn: &'static [&'static str],
    current: Mutex<Current>,
    places: Places,
}

#[derive(Default)]
struct Current {
    revision: Option<u64>,
    config: Option<Arc<ServerConfig>>,
    resumption: Option<Resumption>,
}

impl Tls {
    /// None: the host offers no TLS.
    pub(crate) fn new(host: HostQuery, alpn: &'static [&'static str]) -> Option<Self> {
        let table = crate::export::host_interface::<TlsV1>(host).ok()?;
        Some(Self::over(table, alpn))
    }

    fn over(table: &'static TlsV1, alpn: &'static [&'static str]) -> Self {
        Self {
            inner: Arc::new(Inner {
                table,
                alpn,
                current: Mutex::default(),
                places: Places::default(),
            }),
        }
    }

    /// Whether the service has a certificate now.
    pub(crate) fn is_configured(&self) -> bool {
        self.config().is_some()
    }

    /// Holds the handshake with a client that asked for TLS in its own protocol. What it sent before is in
    /// clear: bytes that were read beyond its request must be thrown away, or an attacker could have put them
    /// there.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] after 10 s, [`io::ErrorKind::InvalidData`] for a client that does not speak
    /// TLS or not as the service demands, [`io::ErrorKind::InvalidInput`] for a stream that has TLS already,
    /// [`io::ErrorKind::Unsupported`] when the service has no certificate any more; else the socket's.
    pub async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        self.hold(stream, None, HANDSHAKE).await
    }

    /// As [`Tls::accept`], for a connection that belongs to another one: the client has to take up the session
    /// of that one ([`Stream::tls_session`]) to show that it is the same client.
    ///
    /// # Errors
    /// As there; [`io::ErrorKind::PermissionDenied`] for a client that began a session of its own, or took up
    /// another one.
    pub async fn accept_resumed(&self, stream: Stream, of: TlsSession) -> io::Result<Stream> {
        let mut stream = self.hold(stream, Some(of), HANDSHAKE).await?;
        let resumed = stream.tls().and_then(|facts| facts.resumed);
        if resumed == Some(of) {
            return Ok(stream);
        }
        // By close_notify, so that it looks elsewhere for the reason than in its own TLS.
        let _ = stream.shutdown().await;
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "expected the TLS session of the connection it belongs to, got another",
        ))
    }

    async fn hold(
        &self,
        stream: Stream,
        held_to: Option<TlsSession>,
        limit: Duration,
    ) -> io::Result<Stream> {
        let Some(config) = self.config() else {
            return Err(no_certificate());
        };
        let (plain, tap, pacer) = stream.into_plain()?;
        let handshake = Handshake::new(plain, &config, held_to).map_err(io::Error::other)?;
        let place = self.inner.places.take();
        let socket = tokio::select! {
            biased;
            () = place.lost() => return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "too many handshakes are under way, and this one is the oldest",
            )),
            held = timeout(limit, handshake.run()) => held.map_err(|_| io::Error::new(
                io::ErrorKind::TimedOut,
                format!("expected the handshake within {limit:?}, got no end of it"),
            ))??,
        };
        Ok(Stream::over_tls(socket, tap, pacer))
    }

    /// What a handshake is held with now.
    fn config(&self) -> Option<Arc<ServerConfig>> {
        let Inner { table, alpn, .. } = &*self.inner;
        let current = self.inner.current.lock();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        // Read before the material: one that comes in between is taken twice rather than never.
        let revision = table.revision.value.load(Ordering::Acquire);
        if current.revision != Some(revision) {
            current.revision = Some(revision);
            let material = (table.material)(table.ctx);
            if material.is_empty() {
                current.config = None;
            } else {
                let made = serde_json::from_slice::<Material>(material.as_slice())
                    .map_err(|error| error.to_string())
                    .and_then(|material| {
                        server_config(&material, current.resumption.clone(), alpn)
                    });
                match made {
                    Ok((config, resumption)) => {
                        current.config = Some(Arc::new(config));
                        current.resumption = Some(resumption);
                    }
                    // The host has checked it: this is a difference between the host and this SDK.
                    Err(reason) => error!("tls: stays as it was: {reason}"),
                }
            }
        }
        current.config.clone()
    }
}

fn no_certificate() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the service has no certificate")
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
