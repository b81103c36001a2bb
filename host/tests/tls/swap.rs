//! Certificates that change while the host runs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use polyport_testkit::Host;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::authority::{Authority, Pair};
use super::{curl, files, shown_serial};

/// Puts a pair in place of the one there, each file by renaming, the key first.
fn replace(host: &Host, pair: &Pair) {
    for (name, text) in [("one.key", &pair.key), ("one.cert", &pair.cert)] {
        let fresh = host.path().join(format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&fresh, host.path().join(name)).unwrap();
    }
}

type Open = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A connection that stays open.
fn connect(authority: &Authority, host: &Host) -> Open {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "one.test".try_into().unwrap()).unwrap();
    BufReader::new(StreamOwned::new(client, host.connect("files")))
}

/// Asks for a file without a password.
fn status_of_a_request(open: &mut Open) -> String {
    let request = b"GET /hello.txt HTTP/1.1\r\nHost: one.test\r\n\r\n";
    open.get_mut().write_all(request).unwrap();
    let mut status = String::new();
    open.read_line(&mut status).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        open.read_line(&mut line).unwrap();
        match line.to_ascii_lowercase().trim().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    open.read_exact(&mut vec![0; length]).unwrap();
    status.trim_end().to_owned()
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let before = host.status();
    let first = shown_serial(&host, "one.test", "files");
    let mut open = connect(&authority, &host);
    assert_eq!(status_of_a_request(&mut open), "HTTP/1.1 401 Unauthorized");

    let next = authority.pair(&["one.test", "127.0.0.1"], 365);
    let mark = host.log_mark();
    replace(&host, &next);
    host.wait_log(mark, "generation 2");
    assert_ne!(first, next.serial);
    assert_eq!(shown_serial(&host, "one.test", "files"), next.serial);
    curl(&host, "one.test", "files", &[]).expect_success();
    let after = host.status();
    let started = |status: &serde_json::Value| status["services"][0]["started"].clone();
    assert_eq!(
        started(&before),
        started(&after),
        "the instance was not touched"
    );
    assert_eq!(after["last_error"], serde_json::Value::Null);
    assert_eq!(status_of_a_request(&mut open), "HTTP/1.1 401 Unauthorized");
}

#[test]
fn what_cannot_be_used_is_refused_and_the_one_before_kept() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let first = shown_serial(&host, "one.test", "files");
    let good = authority.pair(&["one.test"], 365);
    let other = authority.pair(&["one.test"], 365);
    // Not the good one's: between the two renames its key would be the right one for the certificate before.
    let third = authority.pair(&["one.test"], 365);
    let half = Pair {
        cert: third.cert[..third.cert.len() / 2].to_owned(),
        key: third.key,
        serial: String::new(),
    };
    let mismatched = Pair {
        cert: good.cert.clone(),
        key: other.key.clone(),
        serial: String::new(),
    };
    for (bad, reason) in [
        (
            authority.pair(&["one.test"], -1),
            "expected a certificate that is valid now, got one that ended on",
        ),
        (mismatched, "expected the key of the certificate in"),
        (
            half,
            "expected a certificate in PEM, got one that breaks off",
        ),
    ] {
        let mark = host.log_mark();
        replace(&host, &bad);
        let line = host.wait_log(mark, reason);
        assert!(
            line.contains("polyport.toml:") && line.contains("services.files.tls."),
            "{line}"
        );
        host.wait_status("the error", |status| {
            status["last_error"].as_str().is_some_and(|error| {
                error.contains(reason) && error.ends_with("the one before is kept")
            })
        });
        assert_eq!(shown_serial(&host, "one.test", "files"), first);
        let checked = host.command(&["check"]).expect_code(1);
        assert!(checked.stdout().contains(reason), "{}", checked.stdout());
        let reload = host.command(&["reload", "--wait"]).expect_code(1);
        assert!(reload.stderr().contains(reason), "{}", reload.stderr());
    }
    // Another change is not held up by it.
    host.edit_accounts(|text| format!("{text}\n[bob]\npassword = secret\n"));
    host.wait_status("the accounts", |status| status["generation"] == 2);
    assert_eq!(shown_serial(&host, "one.test", "files"), first);
    replace(&host, &good);
    host.wait_status("the good one", |status| status["last_error"].is_null());
    assert_eq!(shown_serial(&host, "one.test", "files"), good.serial);
}

#[test]
fn at_the_start_a_service_without_a_good_certificate_fails_and_runs_once_it_has_one() {
    let authority = Authority::new();
    let mut host = files(&authority, "");
    host.kill9();
    let good = fs::read(host.path().join("one.cert")).unwrap();
    fs::write(host.path().join("one.cert"), "").unwrap();
    host.start();
    let failed = &host.status()["services"][0];
    let reason = "expected a certificate in PEM, got none";
    assert!(failed.to_string().contains(reason), "{failed}");
    fs::write(host.path().join("one.cert"), good).unwrap();
    host.wait_status("the service", |status| {
        status["services"][0]["state"] == "ready"
    });
    curl(&host, "one.test", "files", &[]).expect_success();
}

#[test]
fn connections_stay_when_another_listener_comes_and_goes() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let before = host.started("files");
    let mut open = connect(&authority, &host);
    assert_eq!(status_of_a_request(&mut open), "HTTP/1.1 401 Unauthorized");
    let entry = |name: &str| format!("\"https://{}\"", host.addr(name));
    let two = host.expand("\"https://127.0.0.1:{port:two}\"");
    let changes =
        host.change(|text| text.replace(&entry("files"), &format!("{two}, {}", entry("files"))));
    assert_eq!(changes[0], "files: live (listeners)");
    curl(&host, "one.test", "two", &[]).expect_success();
    assert_eq!(status_of_a_request(&mut open), "HTTP/1.1 401 Unauthorized");
    let changes = host.change(|text| text.replace(&format!("{two}, "), ""));
    assert_eq!(changes[0], "files: live (listeners)");
    assert_eq!(status_of_a_request(&mut open), "HTTP/1.1 401 Unauthorized");
    curl(&host, "one.test", "files", &[]).expect_success();
    assert_eq!(host.started("files"), before);
}
