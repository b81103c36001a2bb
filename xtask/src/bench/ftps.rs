//! Explicit FTPS beside vsftpd: control and data connections over TLS.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::builder;
use super::ftp::{Control, connect};
use super::harness::{Moved, Row, Server, Unit, compare};
use super::peers::{Place, vsftpd};
use super::transfer::{LARGE, LARGE_NAME, write_files};
use crate::{Outcome, workspace};

/// Downloads in one round, on one control connection.
const DOWNLOADS: u64 = 4;
/// No further download begins after this time.
const TIME: Duration = Duration::from_secs(3);

type Secure = StreamOwned<ClientConnection, TcpStream>;

pub fn bench() -> Outcome<Row> {
    let place = Place::new()?;
    write_files(&place.folder("www")?)?;
    let pair = self_signed(place.path())?;
    let client = Client::trusting(&pair)?;
    let host = builder("ftp")
        .file("pair.pem", pair)
        .keys("ftp", "tls = { cert = \"pair.pem\", key = \"pair.pem\" }")
        .prepare();
    write_files(&host.path().join("files"))?;
    let polyport = Server::ours("ftp", host)?;
    let peer = Server::peer(|| vsftpd(place))?;
    compare(
        "RETR 256 MiB over TLS",
        Unit::Bytes,
        &polyport,
        &peer,
        |server| client.download(server.port),
    )
}

/// A certificate for `localhost` and its key in one text; also in `pair.pem` of the folder.
pub fn self_signed(folder: &Path) -> Outcome<String> {
    workspace::run(
        Command::new("openssl")
            .current_dir(folder)
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9",
            ])
            .args(["-subj", "/CN=localhost", "-keyout", "key.pem"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-out", "cert.pem"])
            .stderr(Stdio::null()),
    )?;
    let read = |name| std::fs::read_to_string(folder.join(name));
    let pair = read("cert.pem")
        .and_then(|cert| Ok(cert + &read("key.pem")?))
        .and_then(|pair| std::fs::write(folder.join("pair.pem"), &pair).map(|()| pair));
    pair.map_err(|e| format!("{}: {e}", folder.display()))
}

/// A client that takes up its session on each data connection.
pub struct Client(Arc<ClientConfig>);

impl Client {
    pub fn trusting(pair: &str) -> Outcome<Self> {
        let cert = CertificateDer::from_pem_slice(pair.as_bytes());
        let cert = cert.map_err(|e| format!("the certificate: {e}"))?;
        let mut roots = RootCertStore::empty();
        roots
            .add(cert)
            .map_err(|e| format!("the certificate: {e}"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS: {e}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    fn secure(&self, stream: TcpStream) -> Outcome<Secure> {
        let name = ServerName::try_from("localhost").map_err(|e| format!("localhost: {e}"))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name);
        let connection = connection.map_err(|e| format!("TLS: {e}"))?;
        Ok(StreamOwned::new(connection, stream))
    }

    fn login(&self, port: u16) -> Outcome<Control<Secure>> {
        let mut clear = Control::over(connect(port)?);
        clear.reply("220")?;
        clear.ask("AUTH TLS", "234")?;
        let mut control = Control::over(self.secure(clear.into_inner())?);
        control.ask("USER anonymous", "331 230")?;
        control.ask("PASS bench@", "230 202")?;
        control.ask("PBSZ 0", "200")?;
        control.ask("PROT P", "200")?;
        control.ask("TYPE I", "200")?;
        Ok(control)
    }

    /// The large file several times.
    pub fn download(&self, port: u16) -> Outcome<Moved> {
        let mut control = self.login(port)?;
        let mut buffer = vec![0; 1024 * 1024];
        let start = Instant::now();
        let mut bytes = 0;
        for _ in 0..DOWNLOADS {
            let mut data = self.secure(control.passive()?)?;
            control.ask(&format!("RETR {LARGE_NAME}"), "150 125")?;
            let mut length = 0;
            loop {
                match data.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => length += read as u64,
                    Err(e) => return Err(format!("after {length} bytes: {e}")),
                }
            }
            // vsftpd waits for the farewell
            data.conn.send_close_notify();
            let _ = data.conn.complete_io(&mut data.sock);
            drop(data);
            control.reply("226")?;
            if length != LARGE {
                return Err(format!("expected {LARGE} bytes, got {length}"));
            }
            bytes += length;
            if start.elapsed() > TIME {
                break;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        control.ask("QUIT", "221")?;
        Ok(Moved {
            amount: bytes as f64,
            seconds,
        })
    }
}
