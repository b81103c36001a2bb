//! TLS by real clients against the real host: curl, openssl, mosquitto and paho.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod accounts;
mod authority;
mod clients;
mod commands;
mod config;
mod self_signed;
mod swap;

use polyport_testkit::{Client, Finished, Host, PASSWORD, USER};

use authority::Authority;

/// A host that serves `files/` by HTTPS, with a pair for `one.test` and 127.0.0.1.
fn files(authority: &Authority, tls: &str) -> Host {
    let pair = authority.pair(&["one.test", "localhost", "127.0.0.1"], 365);
    Host::builder()
        .plugin("files", "http-files", "polyport-http-files")
        .listen("files", &["https://127.0.0.1:{port:files}"])
        .settings("files", "root = \"files\"")
        .keys(
            "files",
            &format!("tls = {{ cert = \"one.cert\", key = \"one.key\"{tls} }}"),
        )
        .host_keys("quiet_time = \"50ms\"\nlog.level = \"debug\"")
        .file("files/hello.txt", "hello\n")
        .file("ca.pem", authority.pem())
        .file("one.cert", pair.cert)
        .file("one.key", pair.key)
        .start()
}

/// curl to a name, at the port of a service.
fn curl(host: &Host, name: &str, port: &str, arguments: &[&str]) -> Finished {
    let port = host.port(port);
    Client::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "20"])
        .args(["--user", &format!("{USER}:{PASSWORD}"), "--cacert"])
        .arg(host.path().join("ca.pem"))
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(arguments)
        .arg(format!("https://{name}:{port}/hello.txt"))
        .run()
}

/// The serial number of the certificate that a new connection is shown.
fn shown_serial(host: &Host, name: &str, port: &str) -> String {
    let shown = Client::new("openssl")
        .args(["s_client", "-servername", name, "-connect"])
        .arg(host.addr(port).to_string())
        .arg("-showcerts")
        .run()
        .stdout();
    let serial = Client::new("openssl")
        .args(["x509", "-noout", "-serial"])
        .stdin(shown)
        .run()
        .expect_success()
        .stdout();
    serial.trim().trim_start_matches("serial=").to_owned()
}
