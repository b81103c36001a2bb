//! The PROXY protocol: from named networks it is believed, by accounts, bans, counts and logs; from others never.

use super::*;

/// Version 2 with these addresses, a checksum-free TLV behind them.
fn v2(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x13".to_vec();
    header.extend_from_slice(&source);
    header.extend_from_slice(&[192, 0, 2, 1, 0x10, 0x00, 0x00, 0x50]);
    header.extend_from_slice(b"\x02\x00\x04a.bc");
    header
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 80\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00";

/// Accounts of one network only.
const ACCOUNTS: &str = "[near]\nname = near\npassword = secret\nfrom = 192.0.2.0/24\nallow.1 = all /**\n\
    [anonymous]\nallow.1 = list,read /**\n";

fn host(trusted: &str) -> Host {
    let mut host = Host::builder()
        .service("files")
        .service("ftp")
        .accounts(ACCOUNTS)
        .host_keys("quiet_time = \"50ms\"\n[host.ban]\nexempt = []\naddress_failures = 3")
        .file("files/a.txt", "content")
        .prepare();
    for service in ["files", "ftp"] {
        entry(
            &host,
            service,
            &format!("proxy_protocol = [{trusted}], max_connections_per_address = 2"),
        );
    }
    host.start();
    host
}

/// `near:secret` in Base64, or its wrong password.
fn get(header: &[u8], password: &str) -> Vec<u8> {
    let credentials = match password {
        "secret" => "bmVhcjpzZWNyZXQ=",
        _ => "bmVhcjp3cm9uZw==",
    };
    let request = format!(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
    );
    [header, request.as_bytes()].concat()
}

fn status_line(told: &str) -> &str {
    told.split("\r\n").next().unwrap_or_default()
}

#[test]
fn accounts_bans_and_the_access_log_see_the_client_behind_the_proxy() {
    let host = host("\"loopback\"");
    let mark = host.log_mark();
    for header in [V1.to_vec(), v2([192, 0, 2, 8])] {
        let answer = told(host.connect("files"), &get(&header, "secret"));
        assert_eq!(status_line(&answer), "HTTP/1.1 200 OK", "{answer}");
    }
    host.wait_log(mark, "192.0.2.7 ");
    host.wait_log(mark, "192.0.2.8 ");
    // From another network the account does not log in, and the proxy's own address is another network.
    for header in [v2([203, 0, 113, 5]), LOCAL.to_vec()] {
        let answer = told(host.connect("files"), &get(&header, "secret"));
        assert!(
            status_line(&answer).contains(" 401 ") || status_line(&answer).contains(" 403 "),
            "{answer}"
        );
    }
    for _ in 0..3 {
        let answer = told(host.connect("files"), &get(&v2([192, 0, 2, 66]), "wrong"));
        assert!(status_line(&answer).contains(" 401 "), "{answer}");
    }
    let bans = host.command(&["ban", "list"]).expect_success().stdout();
    assert!(
        bans.contains("192.0.2.66") && !bans.contains("127.0.0.1"),
        "{bans}"
    );
}

#[test]
fn a_header_in_pieces_is_one_and_the_greeting_waits_for_it() {
    let host = host("\"127.0.0.0/8\"");
    let mut stream = host.connect("ftp");
    let (one, two) = V1.split_at(20);
    stream.write_all(one).unwrap();
    stream.flush().unwrap();
    stream.write_all(two).unwrap();
    assert!(line(&mut stream).starts_with("220 "));
    stream.write_all(b"USER near\r\nPASS secret\r\n").unwrap();
    assert!(line(&mut stream).starts_with("331 "));
    assert!(line(&mut stream).starts_with("230 "));
}

#[test]
fn counts_are_of_the_address_that_was_told() {
    let host = host("\"loopback\"");
    let greeted = |header: &[u8]| {
        let mut stream = host.connect("ftp");
        stream.write_all(header).unwrap();
        let line = line(&mut stream);
        (stream, line)
    };
    let (one, two, three, other) = (
        greeted(V1),
        greeted(V1),
        greeted(V1),
        greeted(&v2([192, 0, 2, 9])),
    );
    for (greeting, expected) in [
        (&one, "220 "),
        (&two, "220 "),
        (&three, "421 "),
        (&other, "220 "),
    ] {
        assert!(
            greeting.1.starts_with(expected),
            "{} {expected}",
            greeting.1
        );
    }
}

#[test]
fn who_is_trusted_and_says_nothing_valid_is_closed_with_a_warning() {
    let host = host("\"loopback\"");
    let mark = host.log_mark();
    for wrong in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 1.2.3.4\r\n",
        &v2([1, 2, 3, 4])[..12],
    ] {
        let mut stream = host.connect("files");
        stream.write_all(wrong).unwrap();
        // It may have been closed by then.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert_eq!(String::from_utf8_lossy(&rest(&mut stream)), "");
    }
    host.wait_log(mark, "PROXY header: 127.0.0.1:");
}

#[test]
fn who_is_not_trusted_cannot_pretend() {
    let host = host("\"10.0.0.0/8\"");
    for header in [V1.to_vec(), v2([192, 0, 2, 8])] {
        let answer = told(host.connect("files"), &get(&header, "secret"));
        assert!(!answer.ends_with("content"), "{answer}");
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    // Without a header it is served, under its own address.
    let mark = host.log_mark();
    let plain = b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(told(host.connect("files"), plain).ends_with("content"));
    let line = host.wait_log(mark, "GET /a.txt");
    assert!(
        line.contains("127.0.0.1") && !line.contains("192.0.2."),
        "{line}"
    );
}

/// curl speaks the protocol itself, in front of TLS as well.
#[test]
fn a_program_that_sends_a_header_before_tls_is_served_and_refused() {
    let mut host = Host::builder()
        .service("files")
        .accounts(ACCOUNTS)
        .file("files/a.txt", "content")
        .prepare();
    host.command(&["tls", "self-signed", "localhost", "127.0.0.1"])
        .expect_success();
    let (cert, key) = made(&host);
    let address = format!("\"{}\"", host.addr("files"));
    host.edit_config(|text| {
        let table = format!(
            "{{ address = \"https://{}\", proxy_protocol = [\"loopback\"], max_connections_per_address = 1 }}",
            host.addr("files")
        );
        let tls = format!("[services.files]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n");
        text.replacen(&address, &table, 1)
            .replacen("[services.files]\n", &tls, 1)
    });
    host.start();
    let url = format!("https://{}/a.txt", host.addr("files"));
    let get = || {
        let arguments = ["-sSk", "--haproxy-protocol", "-w", "%{http_code}", &url];
        Client::new("curl").args(arguments).run().stdout()
    };
    assert_eq!(get(), "content200");
    // One that holds the place of that address, and has not even begun with TLS.
    let mut held = host.connect("files");
    held.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")
        .unwrap();
    // By HTTP/2, which the answer speaks as well.
    eventually("the place is taken", || (get() == "503").then_some(()));
    drop(held);
    eventually("there is room again", || {
        (get() == "content200").then_some(())
    });
}

/// The pair that `tls self-signed` wrote into the folder.
fn made(host: &Host) -> (String, String) {
    let names: Vec<String> = std::fs::read_dir(host.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let find = |part: &[&str]| {
        let found = names
            .iter()
            .find(|name| part.iter().any(|part| name.ends_with(part)));
        found.unwrap_or_else(|| panic!("{names:?}")).clone()
    };
    (find(&["cert.pem", ".crt"]), find(&["key.pem", ".key"]))
}
