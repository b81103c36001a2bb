//! T35: the packets of a broker's clients as lines, and as a capture file for Wireshark.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use polyport_testkit::{Client, Host, tshark};

const ACCOUNTS: &str = "[alice]\nname = alice\npassword = wonderland\n";

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ACCOUNTS).start()
}

#[test]
fn t35_each_packet_is_a_line_and_wireshark_reads_the_capture() {
    let host = host();
    let file = host.path().join("mqtt.pcap");
    let trace = host.trace("mqtt", &["--write", file.to_str().unwrap()]);
    let port = host.port("mqtt");
    Client::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "mqttv311"])
        .args(["-i", "board-7", "-u", "alice", "-P", "wonderland"])
        .args(["-t", "boards/7", "-m", "hello, board", "-q", "1"])
        .run()
        .expect_success();
    trace.wait_line("-- closed");
    let lines = trace.lines();
    let mut after = 0;
    for expected in [
        &format!("-- opened to 127.0.0.1:{port} (tcp)"),
        r#"CONNECT "board-7", MQTT 3.1.1, clean session, keep alive 60, user "alice", password"#,
        "<-      4  CONNACK 0",
        "PUBLISH boards/7 QoS 1, 12 bytes, id 1",
        "<-      4  PUBACK 1",
        "->      2  DISCONNECT",
        "-- closed",
    ] {
        let found = lines[after..].iter().position(|l| l.contains(expected));
        after += found.unwrap_or_else(|| panic!("{expected:?} is not next in {lines:#?}")) + 1;
    }
    assert!(!lines.join("\n").contains("wonderland"), "{lines:#?}");

    let info = ["-Y", "mqtt", "-T", "fields", "-e", "_ws.col.Info"];
    let decoded = tshark(&file, port, "mqtt", &info).stdout();
    let expected = "Connect Command\nConnect Ack\nPublish Message (id=1) [boards/7]\n\
                    Publish Ack (id=1)\nDisconnect Req\n";
    assert_eq!(decoded, expected);
    let password = ["-Y", "mqtt", "-T", "fields", "-e", "mqtt.passwd"];
    let decoded = tshark(&file, port, "mqtt", &password).stdout();
    assert_eq!(decoded.trim(), "wonderland", "the capture has everything");
}

#[test]
fn t35_packets_in_websocket_frames_are_lines_as_well() {
    let host = host();
    let trace = host.trace("mqtt", &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/trace.py");
    Client::python(script)
        .arg(host.port("mqtt-ws").to_string())
        .run()
        .expect_success();
    trace.wait_line("-- closed");
    for expected in [
        "GET /mqtt HTTP/1.1",
        "HTTP/1.1 101 Switching Protocols",
        r#"CONNECT "socket", MQTT 5.0, clean start"#,
        "CONNACK 0",
        "PUBLISH boards/8 QoS 1, 3 bytes, id 1",
        "PUBACK 1",
    ] {
        trace.wait_line(expected);
    }
}
