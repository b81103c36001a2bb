//! `polyport tls self-signed`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use polyport_testkit::Client;

use super::authority::Authority;
use super::{curl, files};

#[test]
fn a_pair_for_trying_out_serves_names_and_addresses() {
    let host = files(&Authority::new(), "");
    let out = host.path().join("try");
    let out_text = out.display().to_string();
    let made = host.command(&[
        "tls",
        "self-signed",
        "try.test",
        "127.0.0.1",
        "--days",
        "40",
        "--out",
        &out_text,
    ]);
    let line = made.expect_success().stdout();
    let (cert, key) = (out.join("try.test.cert.pem"), out.join("try.test.key.pem"));
    let expected = format!(
        "tls = {{ cert = \"{}\", key = \"{}\" }}\n",
        cert.display(),
        key.display()
    );
    assert_eq!(line, expected);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = Client::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(&cert)
        .run()
        .expect_success()
        .stdout();
    assert!(
        text.contains("DNS:try.test, IP Address:127.0.0.1"),
        "{text}"
    );
    let again = host.command(&["tls", "self-signed", "try.test", "--out", &out_text]);
    assert!(again.expect_code(1).stderr().contains("is there already"));
    host.command(&["tls", "self-signed", "not a host"])
        .expect_code(1);

    // The printed line is all that a service needs.
    fs::copy(&cert, host.path().join("ca.pem")).unwrap();
    let mark = host.log_mark();
    host.edit_config(|text| {
        let lines = text.lines().map(|old| {
            if old.starts_with("tls = ") {
                line.trim_end()
            } else {
                old
            }
        });
        lines.map(|line| format!("{line}\n")).collect()
    });
    host.wait_log(mark, "generation 2");
    curl(&host, "try.test", "files", &[]).expect_success();
    curl(&host, "127.0.0.1", "files", &[]).expect_success();
}
