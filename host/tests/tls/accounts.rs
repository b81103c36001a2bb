//! Certificates that stand for accounts, shown by mosquitto's own clients.

use std::fs;

use polyport_testkit::{Client, Finished, Host};

use super::authority::Authority;

const ACCOUNTS: &str = "\
[board7]
certificate = CN=board7.test
allow.own = publish,subscribe boards/%u/#

[sensor]
certificate = dns:sensor.test, email:nobody@example.org
rights = publish
";

fn host(authority: &Authority) -> Host {
    let pair = authority.pair(&["localhost", "127.0.0.1"], 365);
    let host = Host::builder()
        .service("mqtt")
        .listen("mqtt", &["mqtts://127.0.0.1:{port:mqtts}"])
        .keys(
            "mqtt",
            "tls = { cert = \"one.cert\", key = \"one.key\", client_ca = \"ca.pem\", client_cert = \"optional\" }",
        )
        .accounts(ACCOUNTS)
        .file("ca.pem", authority.pem())
        .file("one.cert", pair.cert)
        .file("one.key", pair.key)
        .start();
    for name in ["board7", "sensor", "stranger"] {
        let pair = authority.pair(&[&format!("{name}.test")], 365);
        fs::write(host.path().join(format!("{name}.cert")), pair.cert).unwrap();
        fs::write(host.path().join(format!("{name}.key")), pair.key).unwrap();
    }
    host
}

/// `mosquitto_pub` in 5.0, with the certificate of `who`, if any.
fn publish(host: &Host, who: Option<&str>, arguments: &[&str]) -> Finished {
    let port = host.port("mqtts").to_string();
    let program = Client::new("mosquitto_pub")
        .current_dir(host.path())
        .args(["-h", "127.0.0.1", "-p", &port, "--cafile", "ca.pem"])
        .args(["-V", "5", "-q", "1", "-m", "x"])
        .args(arguments);
    match who {
        Some(who) => program
            .args(["--cert", &format!("{who}.cert")])
            .args(["--key", &format!("{who}.key")]),
        None => program,
    }
    .run()
}

#[test]
fn a_certificate_stands_for_its_account_with_its_rights() {
    let host = host(&Authority::new());
    let may = |who, arguments: &[&str]| {
        let run = publish(&host, who, arguments);
        run.code == Some(0) && !run.stderr().contains("ot authorized")
    };
    let own = ["-t", "boards/board7/t"];
    assert!(may(Some("board7"), &own));
    assert!(!may(Some("board7"), &["-t", "boards/other/t"]));
    assert!(may(
        Some("board7"),
        &["-u", "board7", "-t", "boards/board7/t"]
    ));
    assert!(!may(
        Some("board7"),
        &["-u", "sensor", "-t", "boards/board7/t"]
    ));
    assert!(may(Some("sensor"), &["-t", "anything"]));
    // Good certificates of nobody, and nobody without any, where there is no [anonymous].
    assert!(!may(Some("stranger"), &own));
    assert!(!may(None, &own));
    assert!(!may(None, &["-u", "board7", "-t", "boards/board7/t"]));
    let mark = host.log_mark();
    host.edit_accounts(|text| text.replace("certificate = CN=board7.test\n", ""));
    host.wait_log(mark, "generation 2");
    assert!(!may(Some("board7"), &own));
}
