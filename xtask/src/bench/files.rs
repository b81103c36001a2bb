//! HTTP files beside nginx.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use polyport_testkit::Host;

use super::harness::{Moved, Row, Server, Unit, compare};
use super::peers::{Place, nginx, nginx_tls};
use super::transfer::{LARGE, LARGE_NAME, SMALL_NAME, discard, write_files};
use super::{ours, wrk};
use crate::{Outcome, clients};

/// Downloads of the large file in one round, on one connection.
const DOWNLOADS: u64 = 8;
/// The same by HTTPS.
const TLS_DOWNLOADS: u64 = 4;
/// The pair that `polyport tls self-signed localhost` writes.
const CERT: &str = "localhost.cert.pem";
const KEY: &str = "localhost.key.pem";
/// No further download begins after this time.
const TIME: Duration = Duration::from_secs(5);

pub fn bench() -> Outcome<Vec<Row>> {
    let small = between("GET 1 KiB, 32 connections", Unit::Requests, |server| {
        wrk::run(server, &format!("/{SMALL_NAME}"))
    })?;
    let large = between("GET 256 MiB", Unit::Bytes, |server| download(server.port))?;
    let small_tls = between_tls(
        "GET 1 KiB by HTTPS, 32 connections",
        Unit::Requests,
        |server| wrk::run_tls(server, &format!("/{SMALL_NAME}")),
    )?;
    let large_tls = between_tls("GET 256 MiB by HTTPS", Unit::Bytes, |server| {
        download_tls(server.port)
    })?;
    Ok(vec![small, large, small_tls, large_tls])
}

fn between(case: &str, unit: Unit, load: impl FnMut(&Server) -> Outcome<Moved>) -> Outcome<Row> {
    let place = Place::new()?;
    write_files(&place.folder("www")?)?;
    let host = ours("files");
    write_files(&host.path().join("files"))?;
    let polyport = Server::ours("files", host)?;
    let peer = Server::peer(|| nginx(place))?;
    compare(case, unit, &polyport, &peer, load)
}

/// The same certificate and key on both sides.
fn between_tls(
    case: &str,
    unit: Unit,
    load: impl FnMut(&Server) -> Outcome<Moved>,
) -> Outcome<Row> {
    let place = Place::new()?;
    write_files(&place.folder("www")?)?;
    let host = Host::builder()
        .service("files")
        .listen("files", &["https://127.0.0.1:{port:files}"])
        .keys(
            "files",
            &format!("tls = {{ cert = {CERT:?}, key = {KEY:?} }}"),
        )
        .host_keys("log.level = \"error\"\nlog.access = \"off\"")
        .accounts(super::ACCOUNTS)
        .prepare();
    write_files(&host.path().join("files"))?;
    let out = host.path().display().to_string();
    host.command(&["tls", "self-signed", "localhost", "--out", &out])
        .expect_success();
    for name in [CERT, KEY] {
        let copied = std::fs::copy(host.path().join(name), place.path().join(name));
        copied.map_err(|e| format!("{name}: {e}"))?;
    }
    let polyport = Server::ours("files", host)?;
    let peer = Server::peer(|| nginx_tls(place, CERT, KEY))?;
    compare(case, unit, &polyport, &peer, load)
}

/// The large file by curl, which decrypts with OpenSSL whatever the server.
fn download_tls(port: u16) -> Outcome<Moved> {
    let curl = clients::find("curl").ok_or("no curl: run `cargo xtask clients` as root")?;
    let url = format!("https://127.0.0.1:{port}/{LARGE_NAME}");
    let start = Instant::now();
    let mut command = Command::new(curl);
    command.args([
        "--silent",
        "--show-error",
        "--fail",
        "--insecure",
        "--http1.1",
    ]);
    for _ in 0..TLS_DOWNLOADS {
        command.args(["--output", "/dev/null"]).arg(&url);
    }
    let output = command
        .output()
        .map_err(|e| format!("cannot run curl: {e}"))?;
    if !output.status.success() {
        return Err(format!("curl: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(Moved {
        amount: (TLS_DOWNLOADS * LARGE) as f64,
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn download(port: u16) -> Outcome<Moved> {
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("cannot connect: {e}"))?;
    stream
        .set_read_timeout(Some(TIME))
        .map_err(|e| format!("no time limit: {e}"))?;
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..DOWNLOADS {
        bytes += get(&mut stream)?;
        if start.elapsed() > TIME {
            break;
        }
    }
    Ok(Moved {
        amount: bytes as f64,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// One GET of the large file on a connection that stays open.
pub fn get(stream: &mut TcpStream) -> Outcome<u64> {
    let request = format!("GET /{LARGE_NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(|e| format!("cannot send: {e}"))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head must stay in the socket, and a head is short.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .map_err(|e| format!("no answer: {e}"))?;
        head.extend(byte);
        if head.len() > 16 * 1024 {
            return Err("the answer's head does not end".into());
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    if !head.starts_with("http/1.1 200 ")
        || !head.contains(&format!("\r\ncontent-length: {LARGE}\r\n"))
    {
        return Err(format!("expected 200 with {LARGE} bytes, got {head:?}"));
    }
    discard(stream, Some(LARGE))
}
