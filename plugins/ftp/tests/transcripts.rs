//! Every transcript against the plugin inside the real host: T26 to T33 as seen on the wire.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;
#[path = "../core/tests/transcript/mod.rs"]
mod transcript;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyport_testkit::{Host, PATIENCE};
use rustls::ClientConfig;
use support::tls::{Authority, BOTH, Wire};

struct Live<'a> {
    host: &'a Host,
    folder: PathBuf,
    control: Option<BufReader<Wire>>,
    data: Option<Wire>,
    /// As a client without a certificate, and with one.
    clients: Option<[Arc<ClientConfig>; 2]>,
    certificate: bool,
}

impl<'a> Live<'a> {
    fn connect(host: &'a Host, clients: Option<[Arc<ClientConfig>; 2]>) -> Self {
        let folder = support::files(host);
        support::empty(&folder);
        Self {
            host,
            folder,
            control: Some(BufReader::new(Wire::Clear(host.connect("ftp")))),
            data: None,
            clients,
            certificate: false,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    fn client(&self) -> &Arc<ClientConfig> {
        let clients = self.clients.as_ref().expect("a host with TLS");
        &clients[usize::from(self.certificate)]
    }
}

impl transcript::Wire for Live<'_> {
    fn make_directory(&mut self, path: &str) {
        fs::create_dir(self.path(path)).unwrap();
    }

    fn make_file(&mut self, path: &str, content: &[u8]) {
        fs::write(self.path(path), content).unwrap();
        // whatever the umask of the test
        fs::set_permissions(self.path(path), Permissions::from_mode(0o644)).unwrap();
    }

    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    fn send(&mut self, bytes: &[u8]) {
        // a case that ended the connection may be followed by the QUIT of the runner
        let control = self.control.as_mut().unwrap().get_mut();
        let _ = control.write_all(bytes).and_then(|()| control.flush());
    }

    fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        // closing with unread input resets the connection, which ends it as well
        match self.control.as_mut().unwrap().read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    fn show_certificate(&mut self) {
        self.certificate = true;
    }

    fn connect_implicitly(&mut self) {
        let wire = Wire::implicit(self.host, self.client());
        self.control = Some(BufReader::new(wire));
    }

    fn begin_tls(&mut self) {
        let control = self.control.take().unwrap();
        assert!(control.buffer().is_empty(), "more than the reply to AUTH");
        let wire = control.into_inner().secure(self.client());
        self.control = Some(BufReader::new(wire));
    }

    fn open_data(&mut self, port: u16, tls: bool) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let wire = Wire::Clear(stream);
        self.data = Some(match tls {
            true => wire.secure(self.client()),
            false => wire,
        });
    }

    fn send_data(&mut self, bytes: &[u8]) {
        let data = self.data.as_mut().unwrap();
        data.write_all(bytes).unwrap();
        data.flush().unwrap();
    }

    fn close_data(&mut self) {
        self.data.take().unwrap().finish();
    }

    fn receive_data(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.data.take().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn t26_to_t33_every_transcript_holds_for_the_real_host() {
    let host = support::builder().start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let cases = transcript::replay_all(&folder, || Live::connect(&host, None));
    assert!(cases > 40, "only {cases} cases were found");
}

#[test]
fn every_transcript_over_tls_holds_for_the_real_host() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let clients = [None, Some(authority.client("xzz"))];
    let clients = clients.map(|own| authority.trust(BOTH, own.as_ref()));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts/tls");
    let cases = transcript::replay_all(&folder, || Live::connect(&host, Some(clients.clone())));
    assert!(cases > 20, "only {cases} cases were found");
}
