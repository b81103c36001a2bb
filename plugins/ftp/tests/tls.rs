//! FTPS against the real host: what a client on the wire sees, and who may do what over TLS.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use polyport_testkit::{Host, PATIENCE, eventually};
use rustls::ClientConfig;
use support::session::Session;
use support::tls::{Authority, BOTH, Wire};
use support::{files, sha256, write_noise};

/// A session over TLS that takes no part in the sessions of others.
fn login(host: &Host, authority: &Authority) -> (Session, Arc<ClientConfig>) {
    let client = authority.trust(BOTH, None);
    (Session::login_secure(host, &client), client)
}

/// RETR over a TLS data connection: what came, and the last reply.
fn fetch(session: &mut Session, data: &mut Wire, path: &str) -> (Vec<u8>, String) {
    let begins = session.command(&format!("RETR {path}"));
    assert!(begins.starts_with("150 "), "{begins}");
    let mut bytes = Vec::new();
    let _ = data.read_to_end(&mut bytes);
    (bytes, session.reply())
}

#[test]
fn an_upload_that_is_cut_off_is_not_taken_for_whole() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let old = files(&host).join("a.txt");
    fs::write(&old, "the old one").unwrap();
    let (mut session, client) = login(&host, &authority);
    let mut cut = |path: &str| {
        let mut data = session.secure_data(&client);
        assert!(session.command(&format!("STOR {path}")).starts_with("150 "));
        data.write_all(b"half").unwrap();
        data.flush().unwrap();
        // as somebody on the way can do it
        data.tcp().shutdown(Shutdown::Write).unwrap();
        session.reply()
    };
    assert!(cut("a.txt").starts_with("426 "));
    assert_eq!(fs::read_to_string(&old).unwrap(), "the old one");
    assert!(cut("new.txt").starts_with("426 "));
    assert_eq!(fs::read(files(&host).join("new.txt")).unwrap(), b"half");

    // with close_notify it is whole, and the server says so the same way
    let mut data = session.secure_data(&client);
    assert!(session.command("STOR a.txt").starts_with("150 "));
    data.write_all(b"whole").unwrap();
    data.finish();
    let mut rest = Vec::new();
    assert_eq!(data.read_to_end(&mut rest).unwrap(), 0);
    assert!(session.reply().starts_with("226 "));
    assert_eq!(fs::read_to_string(&old).unwrap(), "whole");
}

#[test]
fn strict_ssl_read_eof_can_be_switched_off() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings("ftp", "strict_ssl_read_eof = false")
        .start();
    let (mut session, client) = login(&host, &authority);
    let mut data = session.secure_data(&client);
    assert!(session.command("STOR a.txt").starts_with("150 "));
    data.write_all(b"text").unwrap();
    data.flush().unwrap();
    data.tcp().shutdown(Shutdown::Write).unwrap();
    assert!(session.reply().starts_with("226 "));
    assert_eq!(fs::read(files(&host).join("a.txt")).unwrap(), b"text");
}

#[test]
fn require_ssl_reuse_shows_strangers_the_door() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings("ftp", "require_ssl_reuse = true")
        .start();
    fs::write(files(&host).join("a.txt"), "text").unwrap();
    let (mut session, own) = login(&host, &authority);

    // a client that does not take up a session, and then one that its refusal gave it
    let stranger = authority.trust(BOTH, None);
    for _ in 0..2 {
        let mut data = session.secure_data(&stranger);
        let (bytes, reply) = fetch(&mut session, &mut data, "a.txt");
        assert!(bytes.is_empty());
        assert!(
            reply.starts_with("522 ") && reply.contains("session reuse"),
            "{reply}"
        );
    }

    // one that takes up the session of another control connection
    let (mut other, others) = login(&host, &authority);
    for _ in 0..2 {
        let mut data = session.secure_data(&others);
        let (bytes, reply) = fetch(&mut session, &mut data, "a.txt");
        assert!(bytes.is_empty() && reply.starts_with("522 "), "{reply}");
    }

    // the client itself, with more connections than it got tickets; the refusals cost it nothing
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = authority.trust(&[version], None);
        let mut session = Session::login_secure(&host, &client);
        for _ in 0..9 {
            let mut data = session.secure_data(&client);
            let (bytes, reply) = fetch(&mut session, &mut data, "a.txt");
            assert_eq!(bytes, b"text", "{reply}");
            assert!(reply.starts_with("226 "), "{reply}");
        }
    }
    let mut data = session.secure_data(&own);
    assert_eq!(fetch(&mut session, &mut data, "a.txt").0, b"text");
    assert_eq!(other.command("NOOP"), "200 NOOP ok.");
}

#[test]
fn a_certificate_logs_in_and_is_asked_for_on_data_connections() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .accounts(
            "[alice]\ncertificate = CN=alice\nhome = files\n[bob]\npassword = 123456\nhome = files\n",
        )
        .start();
    fs::write(files(&host).join("a.txt"), "text").unwrap();
    let pair = authority.client("alice");
    let alice = authority.trust(BOTH, Some(&pair));
    let mut session = Session::connect(&host, "ftp").secure(&alice);
    assert!(session.command("USER alice").starts_with("232 "));
    assert!(session.command("PROT P").starts_with("200 "));

    let mut data = session.secure_data(&alice);
    let (bytes, reply) = fetch(&mut session, &mut data, "a.txt");
    assert_eq!(bytes, b"text", "{reply}");
    let mut data = session.secure_data(&authority.trust(BOTH, None));
    let (bytes, reply) = fetch(&mut session, &mut data, "a.txt");
    assert!(bytes.is_empty() && reply.starts_with("522 "), "{reply}");

    // nobody else is let in by it, not even without an account
    let mut session = Session::connect(&host, "ftp").secure(&alice);
    assert!(session.command("USER bob").starts_with("331 "));
    assert!(session.command("PASS").starts_with("530 "));
    assert!(session.try_login("anonymous", "x").starts_with("530 "));
    assert!(session.try_login("bob", "123456").starts_with("230 "));
    let mut session = Session::over_wire(Wire::implicit(&host, &alice));
    assert!(session.command("USER alice").starts_with("232 "));

    // a certificate that nobody vouches for
    let stranger = Authority::new().client("alice");
    let stranger = authority.trust(BOTH, Some(&stranger));
    let mut wire = Wire::implicit(&host, &stranger);
    assert!(wire.read(&mut [0]).is_err());
}

#[test]
fn a_new_certificate_counts_from_the_next_handshake_on() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let sum = write_noise(&files(&host).join("noise.bin"), 30_000_000);
    let (mut session, client) = login(&host, &authority);
    // a transfer that is under way
    let mut data = session.secure_data(&client);
    assert!(session.command("RETR noise.bin").starts_with("150 "));
    let mut head = vec![0; 100_000];
    data.read_exact(&mut head).unwrap();

    let next = Authority::new();
    let pair = next.server();
    // the key first: a pair that does not fit is not taken
    fs::write(host.path().join("tls/key.pem"), &pair.key).unwrap();
    fs::write(host.path().join("tls/cert.pem"), &pair.cert).unwrap();
    let trusting = next.trust(BOTH, None);
    eventually("the new certificate", || {
        let mut wire = Wire::implicit(&host, &trusting);
        wire.read(&mut [0]).ok()
    });

    let mut rest = Vec::new();
    data.read_to_end(&mut rest).unwrap();
    assert!(session.reply().starts_with("226 "));
    let got = host.path().join("got.bin");
    fs::write(&got, [head, rest].concat()).unwrap();
    assert_eq!(sha256(&got), sum);
    assert_eq!(session.command("NOOP"), "200 NOOP ok.");
    // the session goes on; its next data connection is a new handshake
    let mut data = session.secure_data(&trusting);
    let (bytes, reply) = fetch(&mut session, &mut data, "noise.bin");
    assert_eq!(bytes.len(), 30_000_000, "{reply}");
}

#[test]
fn abor_ends_a_download_and_the_client_can_tell_it_from_the_end() {
    let authority = Authority::new();
    let host = authority.builder().start();
    write_noise(&files(&host).join("noise.bin"), 50_000_000);
    let (mut session, client) = login(&host, &authority);
    let mut data = session.secure_data(&client);
    assert!(session.command("RETR noise.bin").starts_with("150 "));
    data.read_exact(&mut [0; 1000]).unwrap();
    session.send("ABOR");
    let mut rest = Vec::new();
    let ended = data.read_to_end(&mut rest);
    assert!(ended.is_err(), "without close_notify it is no whole file");
    assert!(session.reply().starts_with("426 "));
    assert!(session.reply().starts_with("226 "));
    assert_eq!(session.command("NOOP"), "200 NOOP ok.");
}

#[test]
fn who_may_log_in_where() {
    let authority = Authority::new();
    let host = authority
        .builder()
        .settings(
            "ftp",
            "force_anon_logins_ssl = true\nforce_anon_data_ssl = true",
        )
        .start();
    let client = authority.trust(BOTH, None);
    let mut clear = Session::connect(&host, "ftp");
    for (user, reply) in [
        ("xzz", "530 Non-anonymous sessions must use encryption."),
        ("nobody", "530 Non-anonymous sessions must use encryption."),
        ("ftp", "530 Anonymous sessions must use encryption."),
    ] {
        assert_eq!(clear.command(&format!("USER {user}")), reply);
        assert!(clear.command("PASS x").starts_with("503 "));
    }
    let mut session = clear.secure(&client);
    assert!(session.try_login("ftp", "x").starts_with("230 "));
    session.command("PASV");
    assert!(session.command("NLST").starts_with("522 "));
    assert!(session.try_login("xzz", "123456").starts_with("230 "));
    session.command("PASV");
    assert!(session.command("NLST").starts_with("522 "));
}

#[test]
fn an_api_token_is_a_password() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let made = host
        .command(&["user", "token", "add", "xzz", "--expires", "30d"])
        .expect_success()
        .stdout();
    let token = made.trim();
    let client = authority.trust(BOTH, None);
    eventually("the token", || {
        let mut session = Session::connect(&host, "ftp").secure(&client);
        session
            .try_login("xzz", token)
            .starts_with("230 ")
            .then_some(())
    });
    let mut session = Session::connect(&host, "ftp").secure(&client);
    assert!(session.try_login("reader", token).starts_with("530 "));
}

#[test]
fn a_handshake_that_fails_costs_nobody_else_anything() {
    let authority = Authority::new();
    let host = authority.builder().start();
    let (mut session, client) = login(&host, &authority);
    // something else than TLS, on the control connection and on the data connection
    let mut clear = host.connect("ftp");
    clear.set_read_timeout(Some(PATIENCE)).unwrap();
    clear.write_all(b"AUTH TLS\r\n").unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"negotiation.\r\n") {
        let mut byte = [0];
        clear.read_exact(&mut byte).unwrap();
        greeting.push(byte[0]);
    }
    clear.write_all(b"USER xzz\r\nPASS 123456\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = clear.read_to_end(&mut rest);
    assert!(
        !rest
            .windows(4)
            .any(|code| code == b"230 " || code == b"331 ")
    );

    let mut data: TcpStream = session.data();
    assert!(session.command("STOR a.txt").starts_with("150 "));
    data.write_all(b"in clear, and longer than a record's head")
        .unwrap();
    assert!(session.reply().starts_with("522 "));
    assert!(!files(&host).join("a.txt").exists());

    let mut data = session.secure_data(&client);
    assert!(session.command("STOR a.txt").starts_with("150 "));
    data.write_all(b"text").unwrap();
    data.finish();
    assert!(session.reply().starts_with("226 "));
}
