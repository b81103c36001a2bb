//! The plugin inside the real host: T21 to T24.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyport_testkit::{Builder, Client, Host};
use serde_json::Value;
use sha2::{Digest, Sha256};

const ACCOUNTS: &str = "\
[user1]
name = xzz
password = 123456
home = files

[user2]
name = other
password = 123456
home = files/other
rights = list

[anonymous]
services = tcp-files
rights = read
";

fn builder() -> Builder {
    Host::builder().service("tcp-files").accounts(ACCOUNTS)
}

/// One client that sends framed requests.
struct Session(TcpStream);

impl Session {
    fn connect(host: &Host) -> Self {
        Self(host.connect("tcp-files"))
    }

    fn send(&mut self, request: &str) {
        let length = u32::try_from(request.len()).unwrap().to_le_bytes();
        self.0
            .write_all(&[&length, request.as_bytes()].concat())
            .unwrap();
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn status(&mut self) -> i64 {
        let status: Value = serde_json::from_slice(&self.read(1024)).unwrap();
        status["status_code"].as_i64().unwrap()
    }

    fn login(&mut self, user: &str, password: &str) -> i64 {
        let request =
            serde_json::json!({"action_type": "auth", "username": user, "password": password});
        self.send(&request.to_string());
        self.status()
    }

    /// The header, or the status in its place.
    fn get(&mut self, request: &str) -> Value {
        self.send(request);
        let length = u32::from_le_bytes(self.read(4).try_into().unwrap());
        serde_json::from_slice(&self.read(length as usize)).unwrap()
    }

    fn file(&mut self, name: &str) -> Result<Vec<u8>, i64> {
        let header = self.get(&serde_json::json!({"cmd": "get", "file": name}).to_string());
        match header["file_size"].as_u64() {
            Some(size) => Ok(self.read(usize::try_from(size).unwrap())),
            None => Err(header["status_code"].as_i64().unwrap()),
        }
    }

    /// Whether the server has closed the connection.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

#[test]
fn t21_t22_t23_clients_as_the_tutorial_writes_them() {
    let film = noise(3_000_000);
    let host = builder()
        .file("files/cyjl.rmvb", &film)
        .file("files/中文.txt", "hello")
        .start();
    let away = host.path().join("away");
    fs::create_dir(&away).unwrap();
    let port = host.port("tcp-files").to_string();
    Client::new("python3")
        .arg(script("tutorial.py"))
        .args(["127.0.0.1", &port])
        .arg(&away)
        .limit(Duration::from_secs(60))
        .run()
        .expect_success();
    assert!(fs::read(away.join("cyjl.rmvb")).unwrap() == film);
}

#[test]
fn t21_a_request_byte_by_byte_and_one_that_is_too_long() {
    let host = builder()
        .file("files/a.txt", "content")
        .keys("tcp-files", "limits.max_packet = 100")
        .start();
    let mut session = Session::connect(&host);
    for byte in br#"{"cmd": "get", "file": "a.txt"}"# {
        session.0.write_all(&[*byte]).unwrap();
    }
    let length = u32::from_le_bytes(session.read(4).try_into().unwrap());
    assert_eq!(
        session.read(length as usize),
        br#"{"filename": "a.txt", "file_size": 7}"#
    );
    assert_eq!(session.read(7), b"content");
    for too_long in [&101_u32.to_le_bytes()[..], &[b'{'; 101]] {
        let mut session = Session::connect(&host);
        session.0.write_all(too_long).unwrap();
        assert_eq!(session.status(), 400);
        assert!(session.is_closed());
    }
    // nonsense of the right length leaves the connection open
    session.send("{\"cmd\": \"put\"}");
    assert_eq!(session.status(), 400);
    assert_eq!(session.file("a.txt").unwrap(), b"content");
}

#[test]
fn t22_the_path_stays_inside_of_the_folder() {
    let host = builder()
        .file("files/a.txt", "a")
        .file("files/sub/b.txt", "b")
        .file("files/other/c.txt", "c")
        .file("secret.txt", "secret")
        .start();
    std::os::unix::fs::symlink("../secret.txt", host.path().join("files/link")).unwrap();
    let mut session = Session::connect(&host);
    assert_eq!(session.login("xzz", "123456"), 200);
    assert_eq!(session.file("a.txt").unwrap(), b"a");
    assert_eq!(session.file("/sub/../sub/b.txt").unwrap(), b"b");
    for name in [
        "../secret.txt",
        "/../../secret.txt",
        "link",
        "sub",
        "",
        "a\0.txt",
        "/etc/passwd",
        "missing",
    ] {
        assert_eq!(session.file(name), Err(300), "{name:?}");
    }
    // no right to read looks as if there were nothing
    assert_eq!(session.login("other", "123456"), 200);
    assert_eq!(session.file("c.txt"), Err(300));
}

#[test]
fn t22_without_a_login_the_anonymous_folder_or_nothing() {
    let host = builder().file("files/a.txt", "a").start();
    assert_eq!(Session::connect(&host).file("a.txt").unwrap(), b"a");
    host.edit_accounts(|text| text.split("[anonymous]").next().unwrap().to_owned());
    host.command(&["reload", "--wait"]).expect_success();
    let mut session = Session::connect(&host);
    assert_eq!(session.file("a.txt"), Err(201));
    assert_eq!(session.login("xzz", "123456"), 200);
    assert_eq!(session.file("a.txt").unwrap(), b"a");
}

#[test]
fn t23_logins_are_checked_and_the_third_failure_ends_the_connection() {
    let host = builder().start();
    let mut session = Session::connect(&host);
    assert_eq!(session.login("xzz", "wrong"), 201);
    assert_eq!(session.login("nobody", "123456"), 201);
    assert_eq!(session.login("xzz", "123456"), 200);
    for _ in 0..3 {
        assert_eq!(session.login("xzz", ""), 201);
    }
    assert!(session.is_closed());
}

#[test]
fn t24_a_user_made_by_command_has_a_home_and_can_log_in_at_once() {
    let host = builder().start();
    host.add_account("newcomer", "let me in", &["--home", "homes/newcomer"]);
    let home = host.path().join("homes/newcomer");
    assert!(home.is_dir(), "no home folder was made");
    fs::write(home.join("mine.txt"), "mine").unwrap();
    polyport_testkit::eventually("the new account can log in", || {
        let mut session = Session::connect(&host);
        (session.login("newcomer", "let me in") == 200).then(|| {
            assert_eq!(session.file("mine.txt").unwrap(), b"mine");
        })
    });
}

#[test]
fn a_connection_ends_when_it_is_idle_or_its_account_goes() {
    let host = builder()
        .keys("tcp-files", "limits.idle_timeout = \"1s\"")
        .start();
    assert!(Session::connect(&host).is_closed());
    let host = builder().start();
    let mut session = Session::connect(&host);
    assert_eq!(session.login("xzz", "123456"), 200);
    host.edit_accounts(|text| text.replace("name = xzz", "name = somebody"));
    assert!(session.is_closed());
}

#[test]
fn a_connection_goes_on_with_the_next_instance() {
    let film = noise(64 << 20);
    let host = builder().file("files/film.rmvb", &film).start();
    let restart = || drop(host.command(&["restart", "tcp-files"]).expect_success());
    let mut session = Session::connect(&host);
    restart();
    assert_eq!(session.login("xzz", "wrong"), 201);
    assert_eq!(session.login("xzz", "123456"), 200);
    // anonymous clients may read as well, but this name is of another folder then
    host.edit_accounts(|text| text.replace("rights = read", "rights = none"));
    let _ = host.command(&["reload", "--wait"]).expect_success();
    let request = r#"{"cmd":"get","file":"film.rmvb"}"#;
    for cut in [1, 3, 20] {
        let framed = [
            &(request.len() as u32).to_le_bytes()[..],
            request.as_bytes(),
        ]
        .concat();
        session.0.write_all(&framed[..cut]).unwrap();
        restart();
        session.0.write_all(&framed[cut..]).unwrap();
        let length = u32::from_le_bytes(session.read(4).try_into().unwrap());
        let header = session.read(length as usize);
        // a download is under way, and the next request is sent already
        session.send(request);
        restart();
        assert!(session.read(film.len()) == film, "{header:?}");
        let length = u32::from_le_bytes(session.read(4).try_into().unwrap());
        assert_eq!(session.read(length as usize), header);
        assert!(session.read(film.len()) == film);
    }

    // failed logins are counted over it
    let mut session = Session::connect(&host);
    for _ in 0..3 {
        assert_eq!(session.login("xzz", "wrong"), 201);
        restart();
    }
    assert!(session.is_closed());
}

/// T22: 300 MB, whole and from the middle.
#[test]
fn t22_300_mb_arrive_whole_and_are_gone_on_with() {
    let film = noise(300_000_000);
    let sum = Sha256::digest(&film);
    let host = builder().file("files/film.rmvb", &film).start();
    let mut session = Session::connect(&host);
    let whole = session.file("film.rmvb").unwrap();
    assert_eq!(Sha256::digest(&whole), sum);
    let offset = 150_000_001;
    let header = session.get(&format!(
        r#"{{"cmd":"get","file":"film.rmvb","offset":{offset}}}"#
    ));
    assert_eq!(header["file_size"], 300_000_000);
    assert_eq!(header["offset"], offset);
    let rest = session.read(film.len() - offset);
    assert_eq!(Sha256::digest([&whole[..offset], &rest].concat()), sum);
    // from the very end there is nothing left, behind it there is no such place
    let header = session.get(r#"{"cmd":"get","file":"film.rmvb","offset":300000000}"#);
    assert_eq!(header["file_size"], 300_000_000);
    let status = session.get(r#"{"cmd":"get","file":"film.rmvb","offset":300000001}"#);
    assert_eq!(status["status_code"], 416);
    assert!(host.peak_memory() < 100 << 20, "{}", host.peak_memory());
}

#[test]
fn settings_change_under_an_open_connection() {
    let host = builder()
        .file("files/a.txt", "a")
        .file("other/b.txt", "b")
        .start();
    std::os::unix::fs::symlink("a.txt", host.path().join("files/link")).unwrap();
    let mut session = Session::connect(&host);
    assert_eq!(session.login("xzz", "123456"), 200);
    assert_eq!(session.file("link"), Ok(b"a".to_vec()));
    let before = host.started("tcp-files");
    let settings = "[services.tcp-files.settings]";
    let changes = host.change(|text| {
        let keys = "symlinks = \"never\"\nmax_login_failures = 1";
        text.replace(settings, &format!("{settings}\n{keys}"))
    });
    assert_eq!(changes[0], "tcp-files: live (settings)", "{changes:#?}");
    assert!(session.file("link").is_err());
    assert_eq!(session.file("a.txt"), Ok(b"a".to_vec()));
    assert_eq!(session.login("xzz", "wrong"), 201);
    assert!(session.is_closed());
    assert_eq!(host.started("tcp-files"), before);
    let changes = host.change(|text| text.replace("root = \"files\"", "root = \"other\""));
    assert_eq!(changes[0], "tcp-files: swap", "{changes:#?}");
}
