//! What a client sees of a change, asked for anew each time until it is there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_testkit::Host;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;

use super::super::logins::basic;
use super::place::{Changes, Place};
use crate::Outcome;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(5);
/// The longest that a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks until `seen` says yes; gives the time since `since`.
pub fn until(since: Instant, mut seen: impl FnMut() -> Outcome<bool>) -> Outcome<Duration> {
    loop {
        let took = since.elapsed();
        match seen() {
            Ok(true) => return Ok(since.elapsed()),
            Ok(false) if took < PATIENCE => std::thread::sleep(EVERY),
            Ok(false) => return Err(format!("not seen after {PATIENCE:?}")),
            Err(error) if took < PATIENCE => {
                // The loads count what fails; here it only delays.
                println!("  watching: {error}");
                std::thread::sleep(EVERY);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where to look.
pub struct Watch {
    files: u16,
    files_tls: u16,
    ftp: u16,
    control: PathBuf,
    tls: Arc<ClientConfig>,
}

impl Watch {
    pub fn new(host: &Host, place: &Place, changes: &Changes) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        for pair in &changes.certificates {
            let added = roots.add(certificate(pair)?);
            added.map_err(|e| format!("the certificate: {e}"))?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS: {e}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            files: place.files,
            files_tls: place.files_tls,
            ftp: place.ftp,
            control: host.path().join("control.sock"),
            tls: Arc::new(tls),
        })
    }

    /// What the file server gives at `/`.
    pub fn index(&self) -> Outcome<String> {
        let answer = self.get("/", "")?;
        Ok(answer
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_string())
    }

    /// Whether the account `probe` may log in.
    pub fn probe_may_log_in(&self) -> Outcome<bool> {
        let login = format!("Authorization: {}\r\n", basic("probe", "probe"));
        let answer = self.get("/small.bin", &login)?;
        match answer.split(' ').nth(1) {
            Some("200") => Ok(true),
            Some("401") => Ok(false),
            _ => Err(answer.lines().next().unwrap_or_default().to_string()),
        }
    }

    /// Whether the certificate is the one of this pair.
    pub fn shows(&self, pair: &str) -> Outcome<bool> {
        let name = ServerName::try_from("localhost").map_err(|e| format!("localhost: {e}"))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name);
        let mut connection = connection.map_err(|e| format!("TLS: {e}"))?;
        let mut stream = connect(self.files_tls)?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut stream)
                .map_err(|e| format!("handshake: {e}"))?;
        }
        let shown = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Ok(shown == Some(&certificate(pair)?))
    }

    /// The version in FTP's greeting.
    pub fn version(&self) -> Outcome<String> {
        let mut greeting = String::new();
        let read = BufReader::new(connect(self.ftp)?).read_line(&mut greeting);
        read.map_err(|e| format!("no greeting: {e}"))?;
        let version = greeting
            .split_once("(polyport ")
            .and_then(|(_, rest)| rest.split_once(')'));
        version
            .map(|(version, _)| version.to_string())
            .ok_or(format!("greeting {greeting:?}"))
    }

    /// What `polyport status --json` shows.
    pub fn status(&self) -> Outcome<Value> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.control.display());
        let mut stream = UnixStream::connect(&self.control).map_err(failed)?;
        stream
            .write_all(b"{\"command\":\"status\"}\n")
            .map_err(failed)?;
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .map_err(failed)?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|e| format!("status: {e}"))?;
        Ok(answer["done"].take())
    }

    fn get(&self, path: &str, fields: &str) -> Outcome<String> {
        let mut stream = connect(self.files)?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        let mut answer = Vec::new();
        let asked = stream.write_all(request.as_bytes());
        asked
            .and_then(|()| stream.read_to_end(&mut answer))
            .map_err(|e| format!("GET {path}: {e}"))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn certificate(pair: &str) -> Outcome<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pair.as_bytes()).map_err(|e| format!("the certificate: {e}"))
}

fn connect(port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    stream.map_err(|e| format!("port {port}: {e}"))
}
