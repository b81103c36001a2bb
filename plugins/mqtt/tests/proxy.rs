//! MQTT and MQTT over WebSocket behind a load balancer: the PROXY header, in both versions, says who the client is.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;

use polyport_testkit::Host;
use wire::{SUBPROTOCOL, packet, text};

/// Version 1, of a client in the network that the account is for.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 1883\r\n";

/// Version 2.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client);
    header.extend([192, 0, 2, 1, 0x10, 0x00, 0x07, 0x5b]);
    header
}

/// CONNECT of 3.1.1 with a user and its password.
fn login(id: &str) -> Vec<u8> {
    let body = [
        b"\x00\x04MQTT\x04\xc2\x00\x00",
        &text(id)[..],
        &text("near"),
        &text("secret"),
    ];
    packet(0x10, &body.concat())
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// The return code of a client behind the balancer, and its connection.
fn by_tcp(host: &Host, header: &[u8], id: &str) -> (u8, TcpStream) {
    let mut stream = host.connect("mqtt");
    stream.write_all(&[header, &login(id)].concat()).unwrap();
    let connack = read(&mut stream, 4);
    (connack[3], stream)
}

fn by_websocket(host: &Host, header: &[u8], id: &str) -> (u8, TcpStream) {
    let mut stream = host.connect("mqtt-ws");
    let upgrade = format!(
        "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{SUBPROTOCOL}\r\n"
    );
    let connect = login(id);
    let frame = [
        &[0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0],
        &connect[..],
    ]
    .concat();
    stream
        .write_all(&[header, upgrade.as_bytes()].concat())
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(&mut stream, 1));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream.write_all(&frame).unwrap();
    let connack = read(&mut stream, 6);
    (connack[5], stream)
}

#[test]
fn a_client_is_who_the_proxy_header_says_by_tcp_and_by_websocket() {
    let mut host = Host::builder()
        .service("mqtt")
        .listen(
            "mqtt",
            &["127.0.0.1:{port:mqtt}", "ws://127.0.0.1:{port:mqtt-ws}"],
        )
        .accounts("[near]\nname = near\npassword = secret\nservices = mqtt\nfrom = 192.0.2.0/24\n")
        .prepare();
    host.edit_config(|text| {
        let entries = [("mqtt", ""), ("mqtt-ws", "ws://")];
        entries
            .iter()
            .fold(text.to_owned(), |text, (name, scheme)| {
                let address = format!("\"{scheme}{}\"", host.addr(name));
                let entry = format!("{{ address = {address}, proxy_protocol = [\"loopback\"] }}");
                assert!(text.contains(&address), "{text}");
                text.replacen(&address, &entry, 1)
            })
    });
    host.start();
    for (client, by) in [
        ("tcp", by_tcp as fn(&Host, &[u8], &str) -> _),
        ("ws", by_websocket),
    ] {
        let (one, two) = (format!("{client}-1"), format!("{client}-2"));
        let (code, _first) = by(&host, V1, &one);
        assert_eq!(code, 0, "{one}");
        let (code, _second) = by(&host, &v2([192, 0, 2, 8]), &two);
        assert_eq!(code, 0, "{two}");
        let shown = host.command(&["mqtt", "clients"]).expect_success().stdout();
        for (id, address) in [(&one, "192.0.2.7:4096"), (&two, "192.0.2.8:4096")] {
            let line = shown.lines().find(|line| line.contains(id.as_str()));
            assert!(line.is_some_and(|line| line.contains(address)), "{shown}");
        }
        // The account is not for this network: the right password, from elsewhere.
        let (code, _refused) = by(&host, &v2([203, 0, 113, 5]), "far");
        assert_eq!(code, 5, "{client}");
    }
    // Who says nothing of the kind, where it is asked for, is not served.
    let mut silent = host.connect("mqtt");
    silent.write_all(&login("silent")).unwrap();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}
