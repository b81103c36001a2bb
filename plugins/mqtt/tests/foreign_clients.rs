//! Clients in other languages against the real host: MQTT.js and aiomqtt, each with QoS 0, 1 and 2, retained messages,
//! wills, a session that goes on and properties of 5.0, over TCP and WebSocket.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use polyport_testkit::{Client, Host, clients_venv};

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

#[test]
fn mqtt_js_in_both_versions_over_tcp_and_websocket() {
    let host = host();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mqttjs/round.js");
    let modules = clients_venv().parent().unwrap().join("node_modules");
    for version in ["3.1.1", "5"] {
        for (transport, port) in [("tcp", "mqtt"), ("ws", "mqtt-ws")] {
            let port = host.port(port).to_string();
            let node = Client::new("node").env("NODE_PATH", &modules);
            let client = node.args([script, &port, transport, version]);
            expect_all(&format!("{version} {transport}"), client);
        }
    }
}

#[test]
fn aiomqtt_in_both_versions_over_tcp_and_websocket() {
    let host = host();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/aiomqtt_round.py");
    for version in ["3.1.1", "5"] {
        for (transport, port) in [("tcp", "mqtt"), ("websockets", "mqtt-ws")] {
            let port = host.port(port).to_string();
            let client = Client::python(script).args([port.as_str(), transport, version]);
            expect_all(&format!("{version} {transport}"), client);
        }
    }
}
