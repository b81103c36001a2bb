//! What clients see: names, versions, certificates of their own, time limits, and the other services.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use polyport_testkit::{Client, Host, PASSWORD, USER};

use super::authority::Authority;
use super::{curl, files, shown_serial};

#[test]
fn curl_gets_files_by_https() {
    let authority = Authority::new();
    let host = files(&authority, "");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let got = curl(
            &host,
            "one.test",
            "files",
            &[version, "--tls-max", &version[6..]],
        );
        assert_eq!(got.expect_success().stdout(), "hello\n", "{version}");
    }
    let info = [
        "--http1.1",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version}",
    ];
    assert_eq!(curl(&host, "one.test", "files", &info).stdout(), "1.1");
    let info = [
        "--http2",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version}",
    ];
    assert_eq!(curl(&host, "one.test", "files", &info).stdout(), "2");
    // A client without TLS gets nothing, and costs nothing but its own connection.
    let plain = Client::new("curl")
        .args(["--silent", "--max-time", "20"])
        .arg(format!("http://{}/hello.txt", host.addr("files")))
        .run();
    assert_ne!(plain.code, Some(0));
    host.wait_log(0, "TLS handshake: ");
}

#[test]
fn large_files_arrive_whole_in_both_directions() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    fs::write(host.path().join("files/hello.txt"), &bytes).unwrap();
    let out = host.path().join("got");
    let got = out.display().to_string();
    curl(&host, "one.test", "files", &["--output", &got]).expect_success();
    assert!(fs::read(&out).unwrap() == bytes);
}

#[test]
fn each_name_has_its_certificate() {
    let authority = Authority::new();
    let host = files(
        &authority,
        ", certificates = [{ cert = \"two.cert\", key = \"two.key\" }]",
    );
    // `files` starts the host before the second pair is there: it is told what is missing, and then gets it.
    let two = authority.pair(&["*.two.test", "two.test"], 365);
    fs::write(host.path().join("two.cert"), &two.cert).unwrap();
    fs::write(host.path().join("two.key"), &two.key).unwrap();
    host.wait_status("the service", |status| {
        status["services"][0]["state"] == "ready"
    });
    for name in ["two.test", "a.two.test"] {
        curl(&host, name, "files", &[]).expect_success();
        assert_eq!(shown_serial(&host, name, "files"), two.serial, "{name}");
    }
    curl(&host, "one.test", "files", &[]).expect_success();
    // The first one is for everybody else, who will not take it.
    let refused = curl(&host, "else.test", "files", &[]);
    assert_eq!(refused.code, Some(60), "{}", refused.stderr());
    assert_ne!(shown_serial(&host, "else.test", "files"), two.serial);
}

#[test]
fn the_oldest_version_is_the_services_choice() {
    let authority = Authority::new();
    let host = files(&authority, ", min_version = \"1.3\"");
    let old = curl(&host, "one.test", "files", &["--tls-max", "1.2"]);
    assert_eq!(old.code, Some(35), "{}", old.stderr());
    curl(&host, "one.test", "files", &["--tlsv1.3"]).expect_success();
}

#[test]
fn client_certificates_are_required_or_optional() {
    let authority = Authority::new();
    let host = files(
        &authority,
        ", client_ca = \"ca.pem\", client_cert = \"required\"",
    );
    let own = authority.pair(&["client.test"], 365);
    let foreign = Authority::new().pair(&["client.test"], 365);
    for (name, pair) in [("own", &own), ("foreign", &foreign)] {
        fs::write(
            host.path().join(format!("{name}.pem")),
            format!("{}{}", pair.cert, pair.key),
        )
        .unwrap();
    }
    let with = |name: &str| {
        let file = host
            .path()
            .join(format!("{name}.pem"))
            .display()
            .to_string();
        curl(&host, "one.test", "files", &["--cert", &file]).code
    };
    assert_eq!(with("own"), Some(0));
    assert_ne!(with("foreign"), Some(0));
    assert_ne!(curl(&host, "one.test", "files", &[]).code, Some(0));
    let mark = host.log_mark();
    host.edit_config(|text| text.replace("\"required\"", "\"optional\""));
    host.wait_log(mark, "generation 2");
    assert_eq!(with("own"), Some(0));
    assert_eq!(curl(&host, "one.test", "files", &[]).code, Some(0));
    assert_ne!(with("foreign"), Some(0));
}

#[test]
fn a_client_that_never_finishes_its_handshake_is_cut_off() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let mut silent = host.connect("files");
    let began = Instant::now();
    let mut nothing = [0; 1];
    assert_eq!(silent.read(&mut nothing).unwrap_or(0), 0);
    let waited = began.elapsed();
    assert!(
        waited > Duration::from_secs(2) && waited < Duration::from_secs(25),
        "{waited:?}"
    );
    host.wait_log(0, "expected the handshake within");
}

fn mqtt(authority: &Authority) -> Host {
    let pair = authority.pair(&["localhost", "127.0.0.1"], 365);
    Host::builder()
        .service("mqtt")
        .listen(
            "mqtt",
            &[
                "mqtts://127.0.0.1:{port:mqtts}",
                "wss://127.0.0.1:{port:wss}",
                "tls://127.0.0.1:{port:tls}",
            ],
        )
        .keys("mqtt", "tls = { cert = \"one.cert\", key = \"one.key\" }")
        .file("ca.pem", authority.pem())
        .file("one.cert", pair.cert)
        .file("one.key", pair.key)
        .start()
}

#[test]
fn mosquitto_speaks_mqtts() {
    let authority = Authority::new();
    let host = mqtt(&authority);
    for port in ["mqtts", "tls"] {
        let program = |name: &str| {
            Client::new(name)
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &host.port(port).to_string(),
                    "-u",
                    USER,
                    "-P",
                    PASSWORD,
                ])
                .arg("--cafile")
                .arg(host.path().join("ca.pem"))
                .args(["-t", "a/b"])
        };
        program("mosquitto_pub")
            .args(["-r", "-q", "1", "-m", port])
            .run()
            .expect_success();
        let got = program("mosquitto_sub").args(["-C", "1", "-W", "20"]).run();
        assert_eq!(got.expect_success().stdout().trim(), port);
    }
}

#[test]
fn paho_speaks_websockets_over_tls() {
    let authority = Authority::new();
    let host = mqtt(&authority);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/wss.py");
    let got = Client::python(script)
        .args([&host.port("wss").to_string(), USER, PASSWORD])
        .arg(host.path().join("ca.pem"))
        .run();
    assert_eq!(got.expect_success().stdout().trim(), "got a/b: over wss");
}
