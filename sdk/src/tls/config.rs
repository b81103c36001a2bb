//! From the host's material to what a handshake is held with.

use std::collections::HashMap;
use std::sync::Arc;

use polyport_abi::tls::{Certificate, ClientCert, Material, MinVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoClientAuth, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// Sessions kept for clients that take them up by number (TLS 1.2 without tickets).
const SESSIONS: usize = 1024;

/// What sessions are taken up with. Kept over new certificates, and made anew when other clients count: who
/// was let in by an authority that is gone has to show a certificate again.
#[derive(Clone)]
pub(super) struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    clients: (ClientCert, String),
}

impl Resumption {
    fn new(material: &Material) -> Result<Self, String> {
        Ok(Self {
            tickets: ring::Ticketer::new().map_err(|error| format!("session tickets: {error}"))?,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
            clients: (material.client_cert, material.client_ca.clone()),
        })
    }

    fn fits(&self, material: &Material) -> bool {
        self.clients.0 == material.client_cert && self.clients.1 == material.client_ca
    }
}

/// Makes the configuration; `before` is what the last one used, `alpn` the plugin's own list.
pub(super) fn server_config(
    material: &Material,
    before: Option<Resumption>,
    alpn: &[&str],
) -> Result<(ServerConfig, Resumption), String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match material.min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let resumption = match before.filter(|before| before.fits(material)) {
        Some(before) => before,
        None => Resumption::new(material)?,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(client_verifier(material, &provider)?)
        .with_cert_resolver(Arc::new(ByName::new(&material.certificates, &provider)?));
    config.ticketer = Arc::clone(&resumption.tickets);
    config.session_storage = Arc::clone(&resumption.sessions);
    config.alpn_protocols = match &material.alpn {
        Some(words) => words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        None => alpn.iter().map(|word| word.as_bytes().to_vec()).collect(),
    };
    Ok((config, resumption))
}

fn client_verifier(
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if material.client_cert == ClientCert::None {
        return Ok(Arc::new(NoClientAuth));
    }
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(material.client_ca.as_bytes()) {
        authority
            .map_err(|error| error.to_string())
            .and_then(|authority| roots.add(authority).map_err(|error| error.to_string()))
            .map_err(|error| format!("client_ca: {error}"))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match material.client_cert {
        ClientCert::Optional => builder.allow_unauthenticated(),
        _ => builder,
    };
    builder
        .build()
        .map_err(|error| format!("client_ca: {error}"))
}

/// The certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ByName {
    fn new(certificates: &[Certificate], provider: &CryptoProvider) -> Result<Self, String> {
        let mut names = HashMap::new();
        let mut first = None;
        for certificate in certificates {
            let key = Arc::new(certified_key(certificate, provider)?);
            for name in &certificate.names {
                // The first of two for one name is taken.
                names
                    .entry(name.to_ascii_lowercase())
                    .or_insert_with(|| Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        Ok(Self {
            names,
            first: first.ok_or("expected a certificate, got none")?,
        })
    }

    fn of(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        // RFC 6125, 6.4.3: the asterisk stands for one whole label, the first.
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            self.names.get(&format!("*.{rest}"))
        };
        self.names
            .get(&name)
            .or_else(wildcard)
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello
            .server_name()
            .map_or(&self.first, |name| self.of(name));
        Some(Arc::clone(found))
    }
}

fn certified_key(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
        .map_err(|error| format!("key: {error}"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
}
