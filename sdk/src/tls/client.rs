//! TLS to servers that the program itself connects to.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::time::timeout;

use super::socket::Handshake;
use crate::net::Stream;

/// Where distributions keep the authorities that everybody trusts.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How long a server may take for its part of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Whom to trust, and what to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// PEM file of the authorities that vouch for servers; the system's without one.
    pub authorities: Option<&'a Path>,
    /// PEM files of a certificate chain and its key, for servers that ask who we are.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// Takes any server for the right one: whoever sits on the way can read and change everything.
    pub anybody: bool,
}

/// TLS from this side; cloning shares it, and with it the sessions that are taken up again.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files. Blocks for as long as that takes.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn new(trust: &Trust<'_>) -> Result<Self, String> {
        Ok(Self {
            config: Arc::new(client_config(trust)?),
        })
    }

    /// Holds the handshake with the server `name`, a host name or an address, on a connection that is open.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a server that cannot be trusted, or that does not speak TLS;
    /// [`io::ErrorKind::TimedOut`] after 10 s; else the socket's.
    pub async fn connect(&self, stream: Stream, name: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let text = format!("expected the name of a server, got {name:?}");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let (plain, tap, pacer) = stream.into_plain()?;
        let handshake = Handshake::with_server(plain, Arc::clone(&self.config), name)
            .map_err(io::Error::other)?;
        let socket = timeout(HANDSHAKE, handshake.run()).await.map_err(|_| {
            let text = format!("expected the handshake within {HANDSHAKE:?}, got no end of it");
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        Ok(Stream::over_tls(socket, tap, pacer))
    }
}

/// The configuration that trusts as told.
pub(crate) fn client_config(trust: &Trust<'_>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if trust.anybody {
        let verifier = Arc::new(Anybody(algorithms));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(trust.authorities)?)
    };
    let Some((chain, key)) = trust.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = certificates(chain)?;
    if certificates.is_empty() {
        return Err(no_certificates(chain));
    }
    let text = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| format!("{}: {error}", key.display()))?;
    builder
        .with_client_auth_cert(certificates, private)
        .map_err(|error| format!("{} and {}: {error}", chain.display(), key.display()))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let own = std::env::var("SSL_CERT_FILE").ok();
    let system = || {
        let mut files = own.as_deref().into_iter().chain(SYSTEM).map(Path::new);
        let found = files.find(|file| file.exists());
        found.ok_or("this system has no file of authorities: name one")
    };
    let file = match file {
        Some(file) => file,
        None => system()?,
    };
    let mut roots = RootCertStore::empty();
    // A bundle may hold some that are of no use here.
    let (added, _) = roots.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        return Err(no_certificates(file));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    read.map_err(|error| format!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn no_certificates(file: &Path) -> String {
    format!("{}: expected certificates in PEM, got none", file.display())
}

/// Believes what every server says it is. Its signatures are looked at all the same.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
