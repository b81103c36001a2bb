//! Certificates for a test's host, and connections that may have TLS.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;

use polyport_testkit::{Builder, Host};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// What a host of [`Authority::builder`] has in `[services.ftp]`.
pub const TLS: &str = "tls = { cert = \"tls/cert.pem\", key = \"tls/key.pem\", client_ca = \"tls/ca.pem\", \
                       client_cert = \"optional\" }";

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Signs a test's certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = named("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of the host.
    pub fn server(&self) -> Pair {
        let mut params = named("localhost");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        ];
        self.sign(params)
    }

    /// A certificate of a client.
    pub fn client(&self, common_name: &str) -> Pair {
        self.sign(named(common_name))
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A host with the FTP service alone, explicit on `ftp` and implicit on `ftps`.
    pub fn builder(&self) -> Builder {
        let pair = self.server();
        let name = "name = xzz\n";
        let accounts = super::ACCOUNTS.replace(name, &format!("{name}certificate = CN=xzz\n"));
        super::builder()
            .accounts(&accounts)
            .file("tls/cert.pem", pair.cert)
            .file("tls/key.pem", pair.key)
            .file("tls/ca.pem", self.pem())
            .listen(
                "ftp",
                &["127.0.0.1:{port:ftp}", "ftps://127.0.0.1:{port:ftps}"],
            )
            .keys("ftp", TLS)
            .keys("ftp", "require_tls = true")
    }

    /// A client that trusts this authority. Connections of one configuration share their sessions.
    pub fn trust(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Pair>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        })
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

/// A connection that has TLS or has not.
pub enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Puts TLS over it; the handshake is held with the first bytes.
    pub fn secure(self, config: &Arc<ClientConfig>) -> Self {
        let Self::Clear(stream) = self else {
            panic!("it has TLS already")
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self::Tls(Box::new(StreamOwned::new(connection, stream)))
    }

    /// Where TLS begins with the first byte.
    pub fn implicit(host: &Host, config: &Arc<ClientConfig>) -> Self {
        Self::Clear(host.connect("ftps")).secure(config)
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Ends what is sent, TLS first. The other end may have closed already.
    pub fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
