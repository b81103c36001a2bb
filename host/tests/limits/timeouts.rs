//! Clients that keep a service waiting: for a login, for a request, for the rest of a header.

use std::time::{Duration, Instant};

use super::*;

/// How long the service lets a client wait that sends this and no more, and what it says at the end.
fn outlasted(host: &Host, port: &str, sent: &[u8]) -> (Duration, String) {
    // Its clock may begin before this thread goes on.
    let start = Instant::now();
    let mut stream = host.connect(port);
    stream.write_all(sent).unwrap();
    let told = String::from_utf8_lossy(&rest(&mut stream)).into_owned();
    (start.elapsed(), told)
}

/// What clients are given: long enough that one says what it has to say on a busy machine.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn who_does_not_log_in_in_time_is_sent_away() {
    let host = Host::builder()
        .service("ftp")
        .service("mqtt")
        .service("tcp-files")
        .accounts("; nobody\n")
        .keys("ftp", "limits.login_timeout = \"2s\"")
        .keys("mqtt", "limits.login_timeout = \"2s\"")
        .keys("tcp-files", "limits.login_timeout = \"2s\"")
        .start();
    let (time, told) = outlasted(&host, "ftp", b"NOOP\r\nUSER x\r\n");
    assert!(
        time >= LIMIT && told.ends_with("421 Timeout.\r\n"),
        "{time:?} {told}"
    );
    for (port, sent) in [("mqtt", &b"\x10\x0d\x00"[..]), ("tcp-files", b"{\"cmd\"")] {
        let (time, told) = outlasted(&host, port, sent);
        assert!(time >= LIMIT && told.is_empty(), "{port} {time:?} {told:?}");
    }
}

#[test]
fn who_asks_for_nothing_is_sent_away() {
    let host = all_services("limits.idle_timeout = \"2s\"").start();
    let login = b"USER anonymous\r\nPASS x\r\nNOOP\r\n";
    let (time, told) = outlasted(&host, "ftp", login);
    assert!(
        time >= LIMIT && told.ends_with("421 Timeout.\r\n"),
        "{time:?} {told}"
    );
    for port in ["files", "json"] {
        let get = b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n";
        let (time, told) = outlasted(&host, port, get);
        assert!(
            time >= LIMIT && told.starts_with("HTTP/1.1 404 "),
            "{port} {time:?} {told}"
        );
    }
    let (time, _) = outlasted(&host, "tcp-files", b"");
    assert!(time >= LIMIT, "{time:?}");
    // A keep alive of an hour does not help.
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x0e\x10\x00\x01c";
    let (time, told) = outlasted(&host, "mqtt", connect);
    assert!(
        time >= LIMIT && told == "\x20\x02\x00\x00",
        "{time:?} {told:?}"
    );
}

#[test]
fn who_does_not_finish_a_header_is_sent_away() {
    let host = all_services("limits.handshake_timeout = \"2s\"").start();
    for port in ["files", "json", "mqtt-ws"] {
        let (time, told) = outlasted(&host, port, b"GET / HTTP/1.1\r\nHost: a\r\n");
        assert!(
            time >= LIMIT && !told.starts_with("HTTP/1.1 2"),
            "{port} {time:?} {told}"
        );
    }
}

#[test]
fn what_is_too_long_is_refused_in_the_words_of_the_protocol() {
    let host = all_services("").prepare();
    host.edit_config(|text| {
        let add = |text: String, service: &str, line: &str| {
            let table = format!("[services.{service}]\n");
            text.replacen(&table, &format!("{table}{line}\n"), 1)
        };
        let text = add(text.to_owned(), "ftp", "limits.max_line = 512");
        let text = add(text, "files", "limits.max_header = \"1K\"");
        let text = add(text, "mqtt", "limits.max_packet = 256");
        add(text, "tcp-files", "limits.max_packet = 100")
    });
    let mut host = host;
    host.start();
    let long = "x".repeat(2000);
    let told = told(
        host.connect("ftp"),
        format!("NOOP {long}\r\nQUIT\r\n").as_bytes(),
    );
    assert!(told.contains("500 Command line too long."), "{told}");
    let get = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    let told = super::told(host.connect("files"), get.as_bytes());
    assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c";
    let publish = [&b"\x30\xd4\x0f\x00\x01t\x00"[..], long.as_bytes()].concat();
    let told = super::told(host.connect("mqtt"), &[&connect[..], &publish].concat());
    assert!(
        told.ends_with("\u{e0}\x01\u{95}") || told.contains('\u{fffd}'),
        "{told:?}"
    );
    let told = super::told(
        host.connect("tcp-files"),
        format!("{{\"cmd\": \"{long}").as_bytes(),
    );
    assert!(told.contains("\"status_code\": 400"), "{told}");
}
