//! The shipped services: what their clients were in the middle of goes on in the new process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use polyport_testkit::{Host, PASSWORD, USER};

use super::Upgradable;

#[track_caller]
fn exchange(stream: &mut TcpStream, send: &[u8], expect: &[u8]) {
    stream.write_all(send).unwrap();
    let mut got = vec![0; expect.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, expect);
}

#[test]
fn mqtt_messages_of_qos_2_cross_in_the_middle_of_their_packets() {
    let accounts = "[anonymous]\nservices = mqtt\n";
    let host = Upgradable::start(Host::builder().service("mqtt").accounts(accounts));
    let [mut publisher, mut subscriber] = [b'p', b's'].map(|client_id| {
        let mut client = host.connect("mqtt");
        let mut connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01".to_vec();
        connect.push(client_id);
        exchange(&mut client, &connect, b"\x20\x02\x00\x00");
        client
    });
    exchange(
        &mut subscriber,
        b"\x82\x06\x00\x01\x00\x01t\x02",
        b"\x90\x03\x00\x01\x02",
    );
    // Half a PUBLISH, and the other half.
    publisher.write_all(b"\x34\x06\x00\x01t").unwrap();
    host.upgrade();
    exchange(&mut publisher, &[0, 7, b'x'], &[0x50, 2, 0, 7]);
    host.upgrade();
    // PUBREC again for a PUBLISH again; the message once.
    exchange(
        &mut publisher,
        &[0x3c, 6, 0, 1, b't', 0, 7, b'x'],
        &[0x50, 2, 0, 7],
    );
    exchange(&mut publisher, &[0x62, 2, 0, 7], &[0x70, 2, 0, 7]);
    exchange(&mut subscriber, b"", &[0x34, 6, 0, 1, b't', 0, 1, b'x']);
    host.upgrade();
    exchange(&mut subscriber, &[0x50, 2, 0, 1], &[0x62, 2, 0, 1]);
    exchange(&mut subscriber, &[0x70, 2, 0, 1], b"");
    for client in [&mut publisher, &mut subscriber] {
        exchange(client, b"\xc0\x00", b"\xd0\x00");
    }
}

#[test]
fn an_idle_http_connection_and_an_ftp_login_cross() {
    let builder = Host::builder()
        .service("files")
        .service("ftp")
        .accounts(&format!(
            "[{USER}]\npassword = {PASSWORD}\nhome = files\n[anonymous]\nrights = list,read\nfrom = any\n"
        ))
        .file("files/a.txt", "hello")
        .file("files/sub/b.txt", "below");
    let mut host = Upgradable::start(builder);
    let mut http = BufReader::new(host.connect("files"));
    let mut ftp = BufReader::new(host.connect("ftp"));
    assert!(reply(&mut ftp, "").starts_with("220"));
    assert!(reply(&mut ftp, &format!("USER {USER}")).starts_with("331"));
    assert!(reply(&mut ftp, &format!("PASS {PASSWORD}")).starts_with("230"));
    assert!(reply(&mut ftp, "CWD sub").starts_with("250"));
    for round in 0..3 {
        assert_eq!(get(&mut http), "hello");
        assert!(reply(&mut ftp, "PWD").contains("/sub"), "round {round}");
        host.upgrade();
        if round == 0 {
            // Nobody is left: all connections crossed.
            host.first_ended();
        }
    }
    assert_eq!(get(&mut http), "hello");
    assert!(reply(&mut ftp, "PWD").contains("/sub"));
}

/// The reply to a command, or the greeting; the last line of several.
fn reply(ftp: &mut BufReader<TcpStream>, command: &str) -> String {
    if !command.is_empty() {
        ftp.get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
    }
    loop {
        let mut line = String::new();
        assert!(ftp.read_line(&mut line).unwrap() > 0, "{command}: closed");
        if line.as_bytes().get(3) == Some(&b' ') {
            return line;
        }
    }
}

fn get(http: &mut BufReader<TcpStream>) -> String {
    http.get_mut()
        .write_all(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert!(http.read_line(&mut line).unwrap() > 0, "closed");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        assert_ne!(line, "connection: close");
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    http.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}
