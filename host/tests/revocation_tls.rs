//! A change of accounts.ini ends what real clients have open over TLS, HTTP/2 streams with it.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use polyport_testkit::{Client, Host, Running, figure};

/// Longer than the second that is promised: machines that run tests are busy.
const BOUND: Duration = Duration::from_secs(10);

const TLS: &str = "tls = { cert = \"localhost.cert.pem\", key = \"localhost.key.pem\" }";

fn host() -> Host {
    let mut builder = Host::builder()
        .service("files")
        .service("ftp")
        .service("mqtt")
        .listen("files", &["https://127.0.0.1:{port:files}"])
        .listen("mqtt", &["mqtts://127.0.0.1:{port:mqtt}"])
        .accounts("[gone]\npassword = x\n\n[stays]\npassword = x\n");
    for service in ["files", "ftp", "mqtt"] {
        builder = builder.keys(service, TLS);
    }
    let mut host = builder.prepare();
    let folder = host.path().to_str().unwrap().to_owned();
    let pair = [
        "tls",
        "self-signed",
        "localhost",
        "127.0.0.1",
        "--out",
        &folder,
    ];
    host.command(&pair).expect_success();
    host.start();
    let endless = File::create(host.path().join("files/endless")).unwrap();
    endless.set_len(64 << 30).unwrap();
    host
}

/// curl that moves a file as long as it may, at a walking pace.
fn curl(host: &Host, user: &str, arguments: &[&str]) -> Running {
    Client::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--output",
            "/dev/null",
            "--limit-rate",
            "8M",
        ])
        .args(["--user", &format!("{user}:x"), "--cacert"])
        .arg(host.path().join("localhost.cert.pem"))
        .args(arguments)
        .spawn()
}

fn open(host: &Host, user: &str) -> Vec<(&'static str, Running)> {
    let (files, ftp) = (host.port("files"), host.port("ftp"));
    let endless = host.path().join("files/endless");
    let endless = endless.to_str().unwrap();
    let download = format!("https://localhost:{files}/endless");
    let upload = format!("https://localhost:{files}/{user}.up");
    let retrieve = format!("ftp://localhost:{ftp}/endless");
    let subscribe = Client::new("mosquitto_sub")
        .args([
            "-h",
            "localhost",
            "-p",
            &host.port("mqtt").to_string(),
            "--cafile",
        ])
        .arg(host.path().join("localhost.cert.pem"))
        .args(["-u", user, "-P", "x", "-t", "#"])
        .spawn();
    vec![
        ("HTTP/2 download", curl(host, user, &["--http2", &download])),
        (
            "HTTP/1.1 download",
            curl(host, user, &["--http1.1", &download]),
        ),
        (
            "HTTP/2 upload",
            curl(host, user, &["--http2", "-T", endless, &upload]),
        ),
        (
            "FTPS download",
            curl(host, user, &["--ssl-reqd", &retrieve]),
        ),
        ("MQTT subscriber", subscribe),
    ]
}

#[test]
fn a_removed_account_ends_what_real_clients_have_open_over_tls() {
    let host = host();
    let gone = open(&host, "gone");
    let mut stays = open(&host, "stays");
    host.wait_status("all transfers and subscriptions", |status| {
        let sum = |service: &str| {
            let found = status["services"].as_array().into_iter().flatten();
            let mut found = found.filter(|one| one["name"] == service);
            found
                .next()
                .and_then(|one| one["connections"].as_u64())
                .unwrap_or(0)
        };
        sum("files") >= 6 && sum("ftp") >= 2 && sum("mqtt") >= 2
    });
    // Under way, not only connected.
    thread::sleep(Duration::from_millis(500));
    host.edit_accounts(|text| text.replace("[gone]\npassword = x\n", ""));
    let changed = Instant::now();
    let slowest = thread::scope(|scope| {
        let ends = gone.into_iter().map(|(what, mut client)| {
            scope.spawn(move || {
                let code = client.wait_exit();
                assert_ne!(code, Some(0), "{what}: {:?}", client.lines());
                let took = changed.elapsed();
                assert!(took < BOUND, "{what}: {took:?}");
                took
            })
        });
        let ends: Vec<_> = ends.collect();
        ends.into_iter().map(|end| end.join().unwrap()).max()
    });
    figure("slowest end over TLS", format!("{:.1?}", slowest.unwrap()));
    assert!(
        !host.path().join("files/gone.up").exists(),
        "the upload was kept"
    );
    for (what, client) in &mut stays {
        assert!(client.is_running(), "{what}: {:?}", client.lines());
    }
}
