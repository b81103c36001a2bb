//! Every transcript against the plugin inside the real host: T26 to T33 as seen on the wire.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;
#[path = "../core/tests/transcript/mod.rs"]
mod transcript;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polyport_testkit::{Host, PATIENCE};

struct Live {
    folder: PathBuf,
    control: BufReader<TcpStream>,
    data: Option<TcpStream>,
}

impl Live {
    fn connect(host: &Host) -> Self {
        let folder = support::files(host);
        support::empty(&folder);
        Self {
            folder,
            control: BufReader::new(host.connect("ftp")),
            data: None,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }
}

impl transcript::Wire for Live {
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
        let _ = self.control.get_mut().write_all(bytes);
    }

    fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        // closing with unread input resets the connection, which ends it as well
        match self.control.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    fn open_data(&mut self, port: u16) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.data = Some(stream);
    }

    fn send_data(&mut self, bytes: &[u8]) {
        self.data.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn close_data(&mut self) {
        self.data.take().unwrap().shutdown(Shutdown::Both).unwrap();
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
    let cases = transcript::replay_all(&folder, || Live::connect(&host));
    assert!(cases > 40, "only {cases} cases were found");
}
