//! TLS on control and data connections (RFC 4217): what is demanded, the handshakes, who may hold them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polyport_ftp_core::{Answer, Secured, Stopped, TlsDemand, TlsPolicy};
use polyport_sdk::Error;
use polyport_sdk::net::{Origin, Stream};
use polyport_sdk::tls::{Tls, TlsSession};
use tokio::io::AsyncWriteExt;
use tracing::info;

use super::{Service, Session};

/// Sessions of data connections that are remembered: a client takes up one of its last.
const FAMILY: usize = 64;

/// What TLS has proved of a control connection, if it has TLS.
pub(super) fn secured(stream: &Stream, origin: &Origin) -> Option<Secured> {
    stream.is_tls().then(|| Secured {
        certified: origin.certificate().is_some(),
    })
}

impl Service {
    pub(super) fn tls_policy(&self, stream: &Stream, origin: &Origin) -> TlsPolicy {
        let config = &self.config;
        // a Unix socket cannot be overheard
        let exposed = !origin.is_secure();
        TlsPolicy {
            offered: stream.as_tcp().is_some() && self.context.tls().is_some(),
            logins: TlsDemand {
                accounts: exposed && self.context.accounts().requires_tls(),
                anonymous: exposed && config.force_anon_logins_ssl,
            },
            data: TlsDemand {
                accounts: config.force_local_data_ssl,
                anonymous: config.force_anon_data_ssl,
            },
        }
    }
}

impl Session {
    /// AUTH: turns the control connection over to TLS. What the client sent before is in clear and has been
    /// answered or thrown away; what it sends from here on has to be TLS.
    pub(super) async fn secure(self) -> Result<Self, Error> {
        let Some(tls) = self.service.context.tls() else {
            return Err(Error::Peer(
                "AUTH: the service has no certificate any more".into(),
            ));
        };
        let stream = tls
            .accept(self.stream)
            .await
            .map_err(|error| Error::Peer(format!("TLS handshake after AUTH: {error}")))?;
        let mut session = Self {
            origin: self.origin.over(&stream),
            stream,
            ..self
        };
        if let Some(secured) = secured(&session.stream, &session.origin) {
            let now = Instant::now();
            session.control.handle_answer(now, Answer::Secured(secured));
        }
        Ok(session)
    }

    /// What a data connection of this session is held to.
    pub(super) fn data_guard(&self) -> Option<DataGuard> {
        let own = self.stream.tls_session();
        let required = self.service.config.require_ssl_reuse;
        Some(DataGuard {
            tls: self.service.context.tls()?,
            sessions: own
                .filter(|_| required)
                .map(|own| (own, self.family.clone())),
            origin: self.origin.clone(),
        })
    }
}

/// The TLS sessions that the client of a control connection began on data connections. A ticket of TLS 1.3 is
/// to be used once (RFC 8446 appendix C.4), so a client goes on with those of its last data connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Family(Arc<Mutex<VecDeque<TlsSession>>>);

impl Family {
    fn has(&self, session: TlsSession) -> bool {
        self.lock().contains(&session)
    }

    fn add(&self, session: TlsSession) {
        let mut sessions = self.lock();
        sessions.push_back(session);
        if sessions.len() > FAMILY {
            sessions.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TlsSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns data connections over to TLS, and shows strangers the door.
pub(super) struct DataGuard {
    tls: Tls,
    /// Where it is demanded, the sessions one of which data connections have to take up: that of the control
    /// connection and what came of it.
    sessions: Option<(TlsSession, Family)>,
    /// The control connection's.
    origin: Origin,
}

impl DataGuard {
    pub(super) async fn accept(self, stream: Stream) -> Result<Stream, Stopped> {
        let refused = |why: String| {
            info!(
                "{}: no TLS on the data connection: {why}",
                self.origin.peer()
            );
            Stopped::NoTls(why)
        };
        let held = self.tls.accept(stream).await;
        let mut stream = held.map_err(|error| refused(error.to_string()))?;
        if let Err(why) = self.check(&stream) {
            // by close_notify, so that the client looks for the reason in our reply
            let _ = stream.shutdown().await;
            return Err(refused(why.into()));
        }
        Ok(stream)
    }

    fn check(&self, stream: &Stream) -> Result<(), &'static str> {
        // who showed a certificate to log in shows the same one here
        let origin = Origin::new(self.origin.peer()).over(stream);
        if self.origin.certificate().is_some() && origin.certificate() != self.origin.certificate()
        {
            return Err("expected the client certificate of the control connection");
        }
        if let Some((own, family)) = &self.sessions {
            let resumed = stream.resumed_tls_session();
            if !resumed.is_some_and(|resumed| resumed == *own || family.has(resumed)) {
                return Err("session reuse required, see require_ssl_reuse");
            }
            if let Some(session) = stream.tls_session() {
                family.add(session);
            }
        }
        Ok(())
    }
}
