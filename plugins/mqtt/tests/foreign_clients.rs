//! Clients in other languages against the real host: MQTT.js and aiomqtt, each with QoS 0, 1 and 2, retained messages,
//! wills, a session that goes on and properties of 5.0, over TCP and WebSocket, both with TLS and certificates of the
//! clients as well.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use polyport_testkit::{Client, Host, clients_venv};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

const ANONYMOUS: &str = "[anonymous]\nservices = mqtt\n";
const DONE: [&str; 7] = [
    "qos 0", "qos 1", "qos 2", "will", "retained", "session", "done",
];

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ANONYMOUS).start()
}

fn expect_all(name: &str, client: Client) {
    let said = client.run().expect_success().stdout();
    for line in DONE {
        assert!(
            said.lines().any(|said| said == line),
            "{name}: no {line:?} in\n{said}"
        );
    }
}

/// MQTT.js doing its round.
fn mqtt_js(port: u16, transport: &str, version: &str) -> Client {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mqttjs/round.js");
    let modules = clients_venv().parent().unwrap().join("node_modules");
    let node = Client::new("node").env("NODE_PATH", modules);
    node.args([script, &port.to_string(), transport, version])
}

/// aiomqtt doing its round.
fn aiomqtt(port: u16, transport: &str, version: &str) -> Client {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/aiomqtt_round.py");
    Client::python(script).args([&port.to_string(), transport, version])
}

/// TLS on both listeners, for clients with a certificate of the account `device`; those are `device.cert` and
/// `device.key`, their authority is `ca.pem`.
fn tls_host() -> Host {
    let named = |hosts: &[&str], name: &str| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut params = named(&[], "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut builder = Host::builder()
        .service("mqtt")
        .listen(
            "mqtt",
            &["mqtts://127.0.0.1:{port:mqtts}", "wss://127.0.0.1:{port:mqtt-wss}"],
        )
        .keys(
            "mqtt",
            "tls = { cert = \"server.cert\", key = \"server.key\", client_ca = \"ca.pem\", client_cert = \"required\" }",
        )
        .accounts("[device]\ncertificate = CN=device\nservices = mqtt\n")
        .file("ca.pem", authority.pem());
    for (name, hosts) in [("server", &["localhost", "127.0.0.1"][..]), ("device", &[])] {
        let key = KeyPair::generate().unwrap();
        let cert = named(hosts, name).signed_by(&key, &authority).unwrap();
        builder = builder
            .file(format!("{name}.cert"), cert.pem())
            .file(format!("{name}.key"), key.serialize_pem());
    }
    builder.start()
}

/// Trusts the authority of [`tls_host`], and shows the certificate of `device` or none.
fn by_tls(client: Client, host: &Host, certificate: bool) -> Client {
    let client = client.env("CA", host.path().join("ca.pem"));
    if !certificate {
        return client;
    }
    client
        .env("CERT", host.path().join("device.cert"))
        .env("KEY", host.path().join("device.key"))
}

#[test]
fn mqtt_js_in_both_versions_over_tcp_and_websocket() {
    let host = host();
    for version in ["3.1.1", "5"] {
        for (transport, port) in [("tcp", "mqtt"), ("ws", "mqtt-ws")] {
            let client = mqtt_js(host.port(port), transport, version);
            expect_all(&format!("{version} {transport}"), client);
        }
    }
}

#[test]
fn aiomqtt_in_both_versions_over_tcp_and_websocket() {
    let host = host();
    for version in ["3.1.1", "5"] {
        for (transport, port) in [("tcp", "mqtt"), ("websockets", "mqtt-ws")] {
            let client = aiomqtt(host.port(port), transport, version);
            expect_all(&format!("{version} {transport}"), client);
        }
    }
}

#[test]
fn both_by_tls_and_secure_websocket_with_certificates_of_their_own() {
    let host = tls_host();
    for version in ["3.1.1", "5"] {
        for (transport, port) in [("tls", "mqtts"), ("wss", "mqtt-wss")] {
            let client = by_tls(mqtt_js(host.port(port), transport, version), &host, true);
            expect_all(&format!("MQTT.js {version} {transport}"), client);
        }
        for (transport, port) in [("tcp", "mqtts"), ("websockets", "mqtt-wss")] {
            let client = by_tls(aiomqtt(host.port(port), transport, version), &host, true);
            expect_all(&format!("aiomqtt {version} {transport}"), client);
        }
    }
    // Without one there is no connection.
    for client in [
        mqtt_js(host.port("mqtts"), "tls", "5"),
        aiomqtt(host.port("mqtts"), "tcp", "5"),
    ] {
        let run = by_tls(client, &host, false).run();
        assert_ne!(run.code, Some(0), "{}", run.stdout());
        assert_eq!(run.stdout(), "");
    }
}
