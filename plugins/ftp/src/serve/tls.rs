//! TLS on control and data connections (RFC 4217): what is demanded, the handshakes, who may hold them.

use std::io;
use std::time::Instant;

use polyport_ftp_core::{Answer, Secured, Stopped, TlsDemand, TlsPolicy};
use polyport_sdk::net::{Origin, Stream};
use polyport_sdk::tls::{Tls, TlsSession};
use polyport_sdk::{Connection, Error};
use tracing::info;

use super::{Service, Session};

/// What TLS has proved of a control connection, if it has TLS.
pub(super) fn secured(stream: &Stream, origin: &Origin) -> Option<Secured> {
    stream.is_tls().then(|| Secured {
        certified: origin.certificate().is_some(),
    })
}

impl Service {
    pub(super) fn tls_policy(&self, connection: &Connection) -> TlsPolicy {
        let config = &self.config;
        // a Unix socket cannot be overheard
        let exposed = !connection.origin.is_secure();
        TlsPolicy {
            offered: connection.stream.as_tcp().is_some() && self.context.tls().is_some(),
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
        let config = &self.service.config;
        Some(DataGuard {
            tls: self.service.context.tls()?,
            session: self
                .stream
                .tls_session()
                .filter(|_| config.require_ssl_reuse),
            origin: self.origin.clone(),
        })
    }
}

/// Turns data connections over to TLS, and shows strangers the door.
pub(super) struct DataGuard {
    tls: Tls,
    /// The control connection's, where data connections have to take it up.
    session: Option<TlsSession>,
    /// The control connection's.
    origin: Origin,
}

impl DataGuard {
    pub(super) async fn accept(self, stream: Stream) -> Result<Stream, Stopped> {
        let held = match self.session {
            Some(session) => self.tls.accept_resumed(stream, session).await,
            None => self.tls.accept(stream).await,
        };
        let stream = held.map_err(|error| {
            let peer = self.origin.peer();
            info!("{peer}: no TLS on the data connection: {error}");
            Stopped::NoTls(match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "session reuse required, see require_ssl_reuse".into()
                }
                _ => error.to_string(),
            })
        })?;
        // who showed a certificate to log in shows the same one here
        let own = Origin::new(self.origin.peer()).over(&stream);
        match self.origin.certificate() {
            Some(expected) if own.certificate() != Some(expected) => Err(Stopped::NoTls(
                "expected the client certificate of the control connection".into(),
            )),
            _ => Ok(stream),
        }
    }
}
