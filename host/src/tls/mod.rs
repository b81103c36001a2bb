//! From files of certificates and keys to what instances hold their handshakes with.
//!
//! Owns the judgement of what is in the files: they parse, each key fits its certificate, the certificate is
//! valid now, the authorities can be used. Knows no connection: the SDK holds the handshakes.

mod certificate;
pub mod exposure;
pub mod self_signed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use polyport_abi::tls::{Certificate, ClientCert, Material};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use self::certificate::{Facts, date};
use crate::config::{Config, Diagnostic, Diagnostics, Pair, Service, Tls};

/// A certificate that ends within this is warned about.
const SOON: u64 = 30 * 24 * 3600;

/// The TLS of a service, read and found good.
#[derive(Debug)]
pub struct Loaded {
    /// [`Material`] in JSON, for the instance.
    pub material: Arc<[u8]>,
    /// What is good enough to be used and should still be looked at.
    pub warnings: Diagnostics,
}

/// Two are equal when an instance would notice no difference.
impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.material == other.material
    }
}

/// Reads the files that a service's `tls` names, and judges them by the time `now`; none if it has no `tls`.
///
/// # Errors
/// Every problem, with the place of the key that names the file.
pub fn load(
    config: &Config,
    service: &Service,
    now: SystemTime,
) -> Result<Option<Loaded>, Diagnostics> {
    let Some(tls) = &service.tls else {
        return Ok(None);
    };
    let mut reader = Reader {
        config,
        service: &service.name,
        now: now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        found: Diagnostics::new(),
    };
    let certificates: Vec<Option<Certificate>> =
        tls.pairs.iter().map(|pair| reader.pair(pair)).collect();
    let client_ca = reader.authorities(tls);
    reader.two_for_one_name(tls, &certificates);
    if reader.found.has_errors() {
        return Err(reader.found);
    }
    let material = Material {
        certificates: certificates.into_iter().flatten().collect(),
        client_ca,
        client_cert: tls.client_cert,
        min_version: tls.min_version,
        alpn: tls.alpn.clone(),
    };
    // Strings and numbers: nothing that JSON cannot say.
    let material = serde_json::to_vec(&material).unwrap_or_default().into();
    Ok(Some(Loaded {
        material,
        warnings: reader.found,
    }))
}

struct Reader<'a> {
    config: &'a Config,
    service: &'a str,
    /// Seconds since 1970.
    now: u64,
    found: Diagnostics,
}

impl Reader<'_> {
    fn note(
        &mut self,
        make: fn(crate::config::Place, String, String) -> Diagnostic,
        at: &str,
        text: String,
    ) {
        let key = format!("services.{}.{at}", self.service);
        self.found.push(make(self.config.place(&key), key, text));
    }

    fn error(&mut self, at: &str, text: String) {
        self.note(Diagnostic::error, at, text);
    }

    fn warn(&mut self, at: &str, text: String) {
        self.note(Diagnostic::warning, at, text);
    }

    /// The text of a file.
    fn file(&mut self, at: &str, path: &Path) -> Option<String> {
        match std::fs::read(path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.error(at, format!("{}: cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// The certificates in a file, at least one.
    fn certificates(
        &mut self,
        at: &str,
        path: &Path,
        text: &str,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let problem = match read {
            Ok(list) if list.is_empty() => "got none".to_owned(),
            Ok(list) => return Some(list),
            Err(error) => format!("got one that breaks off: {}", plain(&error)),
        };
        let path = path.display();
        self.error(
            at,
            format!("{path}: expected a certificate in PEM, {problem}"),
        );
        None
    }

    fn pair(&mut self, pair: &Pair) -> Option<Certificate> {
        let (cert_at, key_at) = (format!("{}.cert", pair.at), format!("{}.key", pair.at));
        let chain_text = self.file(&cert_at, &pair.cert);
        let key_text = self.file(&key_at, &pair.key);
        let chain_text = chain_text?;
        let chain = self.certificates(&cert_at, &pair.cert, &chain_text)?;
        let facts = match Facts::of(&chain[0]) {
            Ok(facts) => facts,
            Err(error) => {
                let path = pair.cert.display();
                self.error(
                    &cert_at,
                    format!("{path}: expected an X.509 certificate, got {error}"),
                );
                return None;
            }
        };
        self.validity(&cert_at, &pair.cert, &facts);
        let key_text = key_text?;
        let key = self.key(&key_at, &pair.key, &key_text)?;
        self.privacy(&key_at, &pair.key);
        let key_path = pair.key.display();
        if let Err(error) = CertifiedKey::from_der(chain, key, &ring::default_provider()) {
            let cert = pair.cert.display();
            let text = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!(
                        "{key_path}: expected the key of the certificate in {cert}, got that of another"
                    )
                }
                error => format!("{key_path}: cannot be used with {cert}: {error}"),
            };
            self.error(&key_at, text);
            return None;
        }
        Some(Certificate {
            chain: chain_text,
            key: key_text,
            names: facts.names,
        })
    }

    fn key(&mut self, at: &str, path: &Path, text: &str) -> Option<PrivateKeyDer<'static>> {
        let problem = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(key) => return Some(key),
            Err(_) if text.contains("ENCRYPTED") => "one behind a passphrase".to_owned(),
            Err(pem::Error::NoItemsFound) => "none".to_owned(),
            Err(error) => format!("one that breaks off: {}", plain(&error)),
        };
        let path = path.display();
        self.error(
            at,
            format!("{path}: expected a private key in PEM, got {problem}"),
        );
        None
    }

    fn validity(&mut self, at: &str, path: &Path, facts: &Facts) {
        let path = path.display();
        if facts.ends <= self.now {
            let text = format!(
                "{path}: expected a certificate that is valid now, got one that ended on {}",
                date(facts.ends)
            );
            self.error(at, text);
        } else if facts.begins > self.now {
            let text = format!(
                "{path}: expected a certificate that is valid now, got one that begins on {}",
                date(facts.begins)
            );
            self.error(at, text);
        } else if facts.ends - self.now < SOON {
            self.warn(
                at,
                format!("{path}: the certificate ends on {}", date(facts.ends)),
            );
        }
    }

    /// A key that other users can read is no secret.
    fn privacy(&mut self, at: &str, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o777);
        if mode & 0o004 != 0 {
            let text = format!(
                "{}: every user can read the private key: expected mode 0600 or 0640, got {mode:04o}",
                path.display()
            );
            self.warn(at, text);
        }
    }

    fn authorities(&mut self, tls: &Tls) -> String {
        let (Some(path), true) = (&tls.client_ca, tls.client_cert != ClientCert::None) else {
            return String::new();
        };
        let at = "tls.client_ca";
        let Some(text) = self.file(at, path) else {
            return String::new();
        };
        let mut roots = RootCertStore::empty();
        for authority in self.certificates(at, path, &text).into_iter().flatten() {
            if let Err(error) = roots.add(authority) {
                let text = format!("{}: cannot be used: {error}", path.display());
                self.error(at, text);
                return String::new();
            }
        }
        if roots.is_empty() {
            return String::new();
        }
        let provider = Arc::new(ring::default_provider());
        let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        if let Err(error) = built {
            self.error(at, format!("{}: cannot be used: {error}", path.display()));
        }
        text
    }

    /// Which of two certificates a client gets would be chance to whoever wrote them down.
    fn two_for_one_name(&mut self, tls: &Tls, certificates: &[Option<Certificate>]) {
        let mut first: BTreeMap<&str, &Pair> = BTreeMap::new();
        for (pair, certificate) in tls.pairs.iter().zip(certificates) {
            for name in certificate.iter().flat_map(|one| &one.names) {
                match first.get(name.as_str()) {
                    Some(before) => {
                        let text = format!(
                            "{}: {name:?} is in {} as well, which is the one that is used",
                            pair.cert.display(),
                            before.cert.display()
                        );
                        self.warn(&format!("{}.cert", pair.at), text);
                    }
                    None => {
                        first.insert(name, pair);
                    }
                }
            }
        }
    }
}

/// What is wrong with PEM, without the bytes of what may be a key.
fn plain(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        pem::Error::IllegalSectionStart { .. } => "its first line is no beginning",
        pem::Error::Base64Decode(_) => "it is not base64",
        _ => "it is not PEM",
    }
}

/// What is wrong between a service's `tls`, its listen entries and its plugin. `schemes` are the plugin's words
/// for TLS; none: its plugin cannot do TLS.
pub fn mismatches(
    config: &Config,
    service: &Service,
    schemes: Option<&[(String, String)]>,
) -> Diagnostics {
    let mut found = Diagnostics::new();
    let mut error = |at: String, text: String| {
        let key = format!("services.{}.{at}", service.name);
        found.push(Diagnostic::error(config.place(&key), key, text));
    };
    if service.tls.is_some() && schemes.is_none() {
        let text = format!(
            "expected a plugin that can do TLS, got {:?}, made with an SDK that had none",
            service.plugin
        );
        error("tls".into(), text);
    }
    for (index, listen) in service.listen.iter().enumerate() {
        if service.tls.is_none() && is_tls(&listen.scheme, schemes.unwrap_or_default()) {
            let text = format!(
                "expected tls = {{ cert = …, key = … }} of the service beside {:?}, got none",
                listen.text
            );
            error(format!("listen[{index}]"), text);
        }
    }
    found
}

/// Whether a listener of this scheme speaks TLS.
pub fn is_tls(scheme: &str, schemes: &[(String, String)]) -> bool {
    let word = scheme.strip_suffix("+unix").unwrap_or(scheme);
    word == "tls" || schemes.iter().any(|(outer, _)| outer == word)
}

#[cfg(test)]
mod tests;
