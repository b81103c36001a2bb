//! Too many connections, by service, listener and address, and too quick ones: each protocol says so in its own words.

use super::*;

const CONNECT_311: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
const CONNECT_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c";
const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const TCP_GET: &[u8] = b"{\"cmd\": \"get\", \"file\": \"a.txt\"}";

#[test]
fn one_too_many_is_told_so_by_every_service_and_served_once_there_is_room() {
    let host = all_services("limits.max_connections = 1").start();
    for (port, requests) in [
        ("ftp", &[(&b""[..], "421 ")][..]),
        ("files", &[(GET, "HTTP/1.1 503 ")]),
        ("json", &[(GET, "HTTP/1.1 503 ")]),
        (
            "mqtt",
            &[
                (CONNECT_311, "\x20\x02\x00\x03"),
                (CONNECT_5, "\x20\x03\x00\u{fffd}\x00"),
            ],
        ),
        (
            "tcp-files",
            &[(TCP_GET, "\x00\x04\x00\x00{\"status_code\": 503")],
        ),
    ] {
        let first = host.connect(port);
        eventually("the first is counted", || {
            (status_of(&host, port)["connections"] == 1).then_some(())
        });
        for (request, expected) in requests {
            let told = told(host.connect(port), request);
            assert!(told.starts_with(expected), "{port}: {told:?}");
            assert_eq!(told.contains("Retry-After: "), told.starts_with("HTTP"));
        }
        let refused = &status_of(&host, port)["metrics"]["connections_refused"];
        assert_eq!(refused.as_u64(), Some(requests.len() as u64), "{port}");
        drop(first);
        eventually("there is room again", || {
            let mut stream = host.connect(port);
            let (request, refusal) = requests[0];
            stream.write_all(request).unwrap();
            let mut answer = vec![0; refusal.len()];
            stream.read_exact(&mut answer).ok()?;
            (answer != refusal.as_bytes()).then_some(())
        });
    }
}

#[test]
fn a_websocket_too_many_is_told_in_http() {
    let host = all_services("limits.max_connections = 1").start();
    let _first = host.connect("mqtt");
    eventually("the first is counted", || {
        (status_of(&host, "mqtt")["connections"] == 1).then_some(())
    });
    let told = told(host.connect("mqtt-ws"), UPGRADE);
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: "),
        "{told}"
    );
}

#[test]
fn programs_understand_that_there_is_no_room() {
    let host = all_services("limits.max_connections = 1").start();
    let held: Vec<TcpStream> = ["ftp", "files", "mqtt"]
        .map(|port| host.connect(port))
        .into();
    for port in ["ftp", "files", "mqtt"] {
        eventually("the first is counted", || {
            (status_of(&host, port)["connections"] == 1).then_some(())
        });
    }
    let url = format!("http://{}/", host.addr("files"));
    let curl = Client::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(curl.run().stdout(), "503");
    // 8 is "weird server reply": it names the code with -v.
    let url = format!("ftp://{}/", host.addr("ftp"));
    let curl = Client::new("curl").args(["-v", &url]).run();
    assert!(curl.stderr().contains("< 421 "), "{}", curl.stderr());
    let port = host.port("mqtt").to_string();
    let publish = Client::new("mosquitto_pub").args(["-p", &port, "-t", "t", "-m", "x"]);
    let said = publish.run().stderr();
    assert!(said.to_lowercase().contains("unavailable"), "{said}");
    drop(held);
}

#[test]
fn an_address_has_its_own_number_and_a_listener_as_well() {
    let host = all_services("limits.max_connections_per_address = 1").prepare();
    let other = host.expand("{port:other}");
    let plain = format!("\"127.0.0.1:{}\"", host.port("ftp"));
    host.edit_config(|text| {
        let open = format!(
            "{plain}, {{ address = \"127.0.0.1:{other}\", max_connections_per_address = 0, max_connections = 2 }}"
        );
        text.replacen(&plain, &open, 1)
    });
    let mut host = host;
    host.start();
    let mut first = host.connect("ftp");
    assert!(line(&mut first).starts_with("220 "));
    assert!(line(&mut host.connect("ftp")).starts_with("421 "));
    let mut elsewhere = connect_from("127.0.0.2", host.addr("ftp"));
    assert!(line(&mut elsewhere).starts_with("220 "));
    // 5.0 has a reason code for it.
    let _mqtt = host.connect("mqtt");
    eventually("the first is counted", || {
        (status_of(&host, "mqtt")["connections"] == 1).then_some(())
    });
    let mut refused = host.connect("mqtt");
    refused.write_all(CONNECT_5).unwrap();
    assert_eq!(rest(&mut refused), b"\x20\x03\x00\x97\x00");
    // The other listener knows no number for addresses, but one of its own for all.
    let mut there: Vec<TcpStream> = (0..3).map(|_| host.connect("other")).collect();
    let lines: Vec<String> = there.iter_mut().map(line).collect();
    let served = lines.iter().filter(|line| line.starts_with("220 ")).count();
    assert_eq!(served, 2, "{lines:?}");
}

#[test]
fn who_connects_too_often_waits_and_others_do_not() {
    let host = all_services("limits.connection_rate = 1").start();
    let mut lines = Vec::new();
    for _ in 0..20 {
        lines.push(line(&mut host.connect("ftp")));
    }
    let refused = lines.iter().filter(|line| line.starts_with("421 ")).count();
    assert!(refused >= 1 && lines[0].starts_with("220 "), "{lines:?}");
    let mut elsewhere = connect_from("127.0.0.2", host.addr("ftp"));
    assert!(line(&mut elsewhere).starts_with("220 "));
    let _first = host.connect("mqtt");
    let mut codes = Vec::new();
    for _ in 0..20 {
        let mut stream = host.connect("mqtt");
        stream.write_all(CONNECT_5).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        codes.push(answer[3]);
    }
    assert!(codes.contains(&0x9f), "{codes:?}");
    // It comes back by itself.
    eventually("a token comes with time", || {
        line(&mut host.connect("ftp"))
            .starts_with("220 ")
            .then_some(())
    });
}

/// The process has no descriptor left: the reserve lets it say so, and nothing is broken afterwards.
#[test]
fn without_descriptors_clients_are_told_and_served_later() {
    let host = all_services("").start();
    let pid = rustix::process::Pid::from_raw(host.pid() as i32);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.pid())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut numbers = files.unwrap().split_whitespace().skip(3);
    assert_eq!(numbers.next(), numbers.next(), "soft is raised to hard");
    // Warm: what is opened once is open.
    let mut warm = host.connect("ftp");
    assert!(line(&mut warm).starts_with("220 "));
    let open = std::fs::read_dir(format!("/proc/{}/fd", host.pid()))
        .unwrap()
        .count() as u64;
    let limit = rustix::process::Rlimit {
        current: Some(open + 3),
        maximum: Some(open + 1000),
    };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
    let mut clients = Vec::new();
    let refused = eventually("a client is told", || {
        let mut client = host.connect("ftp");
        let told = line(&mut client);
        clients.push(client);
        told.starts_with("421 ").then_some(told)
    });
    assert_eq!(refused, "421 Too many connections, please try again later.");
    drop((clients, warm));
    eventually("there is room again", || {
        line(&mut host.connect("ftp"))
            .starts_with("220 ")
            .then_some(())
    });
}
