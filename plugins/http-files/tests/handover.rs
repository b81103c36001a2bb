//! What clients see when another instance takes the place of theirs: nothing, over connections without TLS.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use polyport_testkit::{Builder, Client, Host, Running, Signal};
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest, Sha256};
use support::{Answer, answer, ask, curl, digest, files_host, fill, hex};

/// Two folders, each with a file that tells which it is.
fn host() -> Builder {
    files_host()
        .settings("files", "root = \"one\"")
        .file("one/which.txt", "one")
        .file("two/which.txt", "two")
}

/// Another instance with the same settings.
fn restart(host: &Host) {
    let _ = host.command(&["restart", "files"]).expect_success();
}

/// Another instance, as the folder is another one.
fn swap(host: &Host, from: &str, to: &str) {
    let of = |root: &str| format!("root = \"{root}\"");
    host.edit_config(|text| text.replace(&of(from), &of(to)));
    let _ = host.command(&["reload", "--wait"]).expect_success();
}

fn kept(host: &Host) -> BufReader<TcpStream> {
    BufReader::new(host.connect("files"))
}

/// The answer is whole, and the connection goes on.
#[track_caller]
fn expect(answer: &Answer, body: &str) {
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.field("connection"), None, "{}", answer.head);
    assert_eq!(String::from_utf8_lossy(&answer.body), body);
}

#[test]
fn idle_connections_are_kept_over_any_number_of_swaps() {
    let host = host().start();
    let mut streams: Vec<_> = (0..20).map(|_| kept(&host)).collect();
    let (mut now, mut next) = ("one", "two");
    for round in 0..20 {
        for stream in &mut streams {
            expect(&ask(stream, "GET", "/which.txt", ""), now);
        }
        if round % 2 == 0 {
            swap(&host, now, next);
            std::mem::swap(&mut now, &mut next);
        } else {
            restart(&host);
        }
    }
    // One that never sent anything crosses as well.
    let mut silent = kept(&host);
    swap(&host, now, next);
    expect(&ask(&mut silent, "GET", "/which.txt", ""), next);
    for stream in &mut streams {
        expect(&ask(stream, "GET", "/which.txt", ""), next);
    }
}

#[test]
fn a_request_may_come_in_pieces_before_and_after() {
    let host = host().start();
    let mut stream = kept(&host);
    let request = "GET /which.txt HTTP/1.1\r\nHost: x\r\nX-Any: thing\r\n\r\n";
    for cut in [1, 4, 30, request.len() - 1] {
        let (before, after) = request.split_at(cut);
        stream.get_mut().write_all(before.as_bytes()).unwrap();
        restart(&host);
        stream.get_mut().write_all(after.as_bytes()).unwrap();
        expect(&answer(&mut stream, "GET"), "one");
    }
    // A piece for each of three instances, and the answer of the last.
    for piece in ["GET /whi", "ch.txt HTTP/1.1\r\nHo", "st: x\r\n"] {
        stream.get_mut().write_all(piece.as_bytes()).unwrap();
        restart(&host);
    }
    swap(&host, "one", "two");
    stream.get_mut().write_all(b"\r\n").unwrap();
    expect(&answer(&mut stream, "GET"), "two");
}

/// More than the kernels on the way keep for a client that does not read.
const LARGE: u64 = 64 << 20;

/// A connection in a download of which the client has taken nothing yet.
fn downloading(host: &Host, behind: &str) -> (BufReader<TcpStream>, String) {
    let expected = fill(&host.path().join("one/big.bin"), LARGE);
    let mut stream = kept(host);
    let request = format!("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n{behind}");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    // It has begun.
    stream.get_mut().peek(&mut [0]).unwrap();
    (stream, expected)
}

#[test]
fn a_download_ends_where_it_began_and_its_connection_goes_on() {
    let host = host().start();
    let (mut stream, expected) = downloading(&host, "");
    swap(&host, "one", "two");
    let whole = answer(&mut stream, "GET");
    assert_eq!((whole.status, whole.field("connection")), (200, None));
    assert_eq!(hex(&Sha256::digest(&whole.body)), expected);
    for _ in 0..3 {
        expect(&ask(&mut stream, "GET", "/which.txt", ""), "two");
        restart(&host);
    }
}

#[test]
fn requests_that_were_sent_ahead_are_all_answered() {
    let host = host().start();
    let ahead = "GET /which.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    // More than the engine reads at once, and half a request.
    let behind = ahead.repeat(1000) + &ahead[..20];
    let (mut stream, expected) = downloading(&host, &behind);
    restart(&host);
    let whole = answer(&mut stream, "GET");
    assert_eq!(hex(&Sha256::digest(&whole.body)), expected);
    for _ in 0..1000 {
        expect(&answer(&mut stream, "GET"), "one");
    }
    swap(&host, "one", "two");
    let rest = &ahead[20..];
    stream.get_mut().write_all(rest.as_bytes()).unwrap();
    expect(&answer(&mut stream, "GET"), "two");
}

#[test]
fn an_upload_ends_where_it_began_and_its_connection_goes_on() {
    let host = host().start();
    let authorization = support::base64("alice:wonderland");
    let login = format!("Authorization: Basic {authorization}\r\n");
    let body = vec![b'x'; 3 << 20];
    let mut stream = kept(&host);
    let head = format!(
        "PUT /up.bin HTTP/1.1\r\nHost: x\r\n{login}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    stream.get_mut().write_all(&body[..1 << 20]).unwrap();
    swap(&host, "one", "two");
    stream.get_mut().write_all(&body[1 << 20..]).unwrap();
    let made = answer(&mut stream, "PUT");
    assert_eq!((made.status, made.field("connection")), (201, None));
    assert_eq!(std::fs::read(host.path().join("one/up.bin")).unwrap(), body);
    // Who it is from is asked anew, and the right is there.
    let len = format!("{login}Content-Length: 0\r\n");
    assert_eq!(ask(&mut stream, "PUT", "/up.bin", &len).status, 201);
    assert!(host.path().join("two/up.bin").exists());
    // A request that says so ends the connection, whichever instance has it.
    restart(&host);
    let last = ask(&mut stream, "GET", "/which.txt", "Connection: close\r\n");
    assert_eq!(
        (last.status, last.field("connection")),
        (200, Some("close"))
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_account_that_changed_meanwhile_is_asked_again() {
    let host = host().start();
    let mut stream = kept(&host);
    let login = format!(
        "Authorization: Basic {}\r\n",
        support::base64("alice:wonderland")
    );
    expect(&ask(&mut stream, "GET", "/which.txt", &login), "one");
    host.edit_accounts(|text| text.replace("name = alice", "name = alina"));
    swap(&host, "one", "two");
    assert_eq!(ask(&mut stream, "GET", "/which.txt", &login).status, 401);
    expect(&ask(&mut stream, "GET", "/which.txt", ""), "two");
}

#[test]
fn curl_downloads_slowly_over_many_swaps() {
    let host = host().start();
    let expected = fill(&host.path().join("one/big.bin"), LARGE);
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let again = format!("http://{}/big.bin", host.addr("files"));
    let mut download = curl(&host, "/big.bin")
        .args(["--verbose", "--limit-rate", "10M", "--output"])
        .arg(&first)
        .args(["--url", &again, "--output"])
        .arg(&second)
        .spawn();
    let mut swaps = 0;
    while download.is_running() {
        restart(&host);
        swaps += 1;
    }
    let log = download.lines().join("\n");
    assert_eq!(download.wait_exit(), Some(0), "{log}");
    assert!(swaps > 2, "{swaps} swaps");
    assert_eq!(
        (digest(&first), digest(&second)),
        (expected.clone(), expected)
    );
    let connections = log.matches("Connected to").count();
    assert_eq!(connections, 1, "{log}");
}

#[test]
fn wrk_meets_no_error() {
    let host = host().start();
    let mut load = Client::new("wrk")
        // A busy machine is no error.
        .args(["-t1", "-c32", "-d120s", "--timeout", "120s"])
        .arg(format!("http://{}/which.txt", host.addr("files")))
        .spawn();
    for _ in 0..20 {
        restart(&host);
    }
    // It tells its figures.
    load.signal(Signal::INT);
    assert_eq!(load.wait_exit(), Some(0));
    // wrk tells of errors and of answers other than 2xx in lines of their own.
    let told = load.lines().join("\n");
    assert!(told.contains("requests in "), "{told}");
    assert!(
        !told.contains("Socket errors") && !told.contains("Non-2xx"),
        "{told}"
    );
}

/// The host with TLS beside, and the certificate.
fn secure_host() -> Host {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    host()
        .listen(
            "files",
            &["127.0.0.1:{port:files}", "https://127.0.0.1:{port:secure}"],
        )
        .keys("files", "tls = { cert = \"cert.pem\", key = \"key.pem\" }")
        .file("cert.pem", params.self_signed(&key).unwrap().pem())
        .file("key.pem", key.serialize_pem())
        .start()
}

/// A client that keeps connections with TLS, and goes on when a file is there.
fn keeps_tls(host: &Host, go: &Path) -> Running {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/keeps_https.py");
    Client::python(script)
        .arg(host.port("secure").to_string())
        .arg(host.path().join("cert.pem"))
        .arg(go)
        .spawn()
}

#[test]
fn over_tls_connections_end_as_tls_and_http_have_it() {
    let host = secure_host();
    fill(&host.path().join("one/big.bin"), LARGE);
    let go = host.path().join("go");
    let mut client = keeps_tls(&host, &go);
    client.wait_line("all connections are open");
    swap(&host, "one", "two");
    std::fs::write(&go, "").unwrap();
    let end = client.wait_exit();
    assert_eq!(end, Some(0), "{}", client.lines().join("\n"));
}

#[test]
fn a_client_that_went_away_meanwhile_is_noticed() {
    let host = host().start();
    let mut stream = kept(&host);
    expect(&ask(&mut stream, "GET", "/which.txt", ""), "one");
    stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    restart(&host);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    host.wait_status("nobody is connected", |status| {
        let services = status["services"].as_array().unwrap();
        services.iter().all(|service| service["connections"] == 0)
    });
}
