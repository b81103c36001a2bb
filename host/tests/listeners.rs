//! Listeners that come and go while their service runs: the others and their connections do not notice.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use polyport_testkit::{Builder, Host, eventually};

const OPEN: &str = "[anonymous]\nallow.1 = all /**\nallow.2 = publish,subscribe #\n";

/// Three services with one listener each.
fn services() -> Builder {
    ["mqtt", "files", "ftp"].into_iter().fold(
        Host::builder().accounts(OPEN).file("files/a.txt", "a"),
        |builder, name| {
            builder
                .service(name)
                .listen(name, &[&format!("127.0.0.1:{{port:{name}}}")])
        },
    )
}

/// Writes a service's listen entries anew and has them taken over: what that was called.
fn listen(host: &Host, service: &str, before: &[&str], after: &[&str]) -> String {
    let entries = |names: &[&str]| {
        let entry = |name: &&str| match name.strip_prefix('{') {
            Some(_) => (*name).to_owned(),
            None => format!("\"127.0.0.1:{{port:{name}}}\""),
        };
        names.iter().map(entry).collect::<Vec<_>>().join(", ")
    };
    let (before, after) = (host.expand(&entries(before)), host.expand(&entries(after)));
    let changes = host.change(|text| {
        assert!(text.contains(&before), "{before} in {text}");
        text.replacen(&before, &after, 1)
    });
    let service = format!("{service}: ");
    let line = changes.iter().find_map(|line| line.strip_prefix(&service));
    line.unwrap_or_else(|| panic!("{service}{changes:?}"))
        .to_owned()
}

/// An MQTT 5.0 connection.
struct Mqtt(TcpStream);

impl Mqtt {
    fn connect(host: &Host, port: &str, id: u8) -> Self {
        let mut stream = host.connect(port);
        let connect = [
            b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01",
            &[id][..],
        ];
        stream.write_all(&connect.concat()).unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; head[1].into()];
        stream.read_exact(&mut rest).unwrap();
        assert_eq!((head[0], rest[1]), (0x20, 0), "{rest:02x?}");
        Self(stream)
    }

    fn ping(&mut self) {
        self.0.write_all(b"\xc0\x00").unwrap();
        let mut answer = [0; 2];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"\xd0\x00");
    }
}

/// A kept connection of HTTP/1.1.
struct Http(BufReader<TcpStream>);

impl Http {
    fn connect(host: &Host, port: &str) -> Self {
        Self(BufReader::new(host.connect(port)))
    }

    /// The head of the answer; none when the connection is closed instead.
    fn get(&mut self) -> Option<String> {
        let request = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n";
        self.0.get_mut().write_all(request).ok()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        self.0.read_exact(&mut [0; 1]).ok()?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Some(head.to_ascii_lowercase())
    }
}

/// A session of FTP.
struct Ftp(BufReader<TcpStream>);

impl Ftp {
    fn connect(host: &Host, port: &str) -> Self {
        let mut session = Self(BufReader::new(host.connect(port)));
        assert!(session.reply().starts_with("220 "));
        session.command("USER anonymous");
        assert!(session.command("PASS x").starts_with("230 "));
        session
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn command(&mut self, command: &str) -> String {
        self.0
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        self.reply()
    }
}

fn is_refused(host: &Host, port: &str) -> bool {
    TcpStream::connect(host.addr(port)).is_err()
}

#[test]
fn the_others_and_their_connections_stay_when_one_comes_and_goes() {
    let host = services().start();
    let started = || ["mqtt", "files", "ftp"].map(|service| host.started(service));
    let before = started();
    let mut mqtt = Mqtt::connect(&host, "mqtt", b'a');
    let mut http = Http::connect(&host, "files");
    let mut ftp = Ftp::connect(&host, "ftp");
    assert!(http.get().is_some());
    for service in ["mqtt", "files", "ftp"] {
        let two = format!("{service}-two");
        let step = listen(&host, service, &[service], &[&two, service]);
        assert_eq!(step, "live (listeners)");
    }
    let mut mqtt_two = Mqtt::connect(&host, "mqtt-two", b'b');
    let mut http_two = Http::connect(&host, "files-two");
    let mut ftp_two = Ftp::connect(&host, "ftp-two");
    assert!(http_two.get().is_some());
    // Who comes and stays by the first notices nothing, nor who comes anew.
    let mut hold = |host: &Host| {
        mqtt.ping();
        assert!(!http.get().unwrap().contains("connection: close"));
        assert!(ftp.command("PWD").starts_with("257 "));
        Mqtt::connect(host, "mqtt", b'c').ping();
        assert!(Http::connect(host, "files").get().is_some());
        Ftp::connect(host, "ftp");
    };
    hold(&host);
    for service in ["mqtt", "files", "ftp"] {
        let two = format!("{service}-two");
        let step = listen(&host, service, &[&two, service], &[service]);
        assert_eq!(step, "live (listeners)");
    }
    for two in ["mqtt-two", "files-two", "ftp-two"] {
        eventually("its port is closed", || {
            is_refused(&host, two).then_some(())
        });
    }
    let mut told = Vec::new();
    mqtt_two.0.read_to_end(&mut told).unwrap();
    assert_eq!((told[0], told[2]), (0xe0, 0x8b), "{told:02x?}");
    // A request that was on its way is answered, and is the last.
    let last = http_two.get();
    assert!(last.is_none_or(|head| head.contains("connection: close")));
    assert!(ftp_two.reply().starts_with("421 "));
    hold(&host);
    // What went may come back.
    assert_eq!(
        listen(&host, "mqtt", &["mqtt"], &["mqtt", "mqtt-two"]),
        "live (listeners)"
    );
    Mqtt::connect(&host, "mqtt-two", b'b').ping();
    hold(&host);
    assert_eq!(started(), before);
}

#[test]
fn the_order_of_entries_means_nothing() {
    let host = services()
        .listen("mqtt", &["127.0.0.1:{port:mqtt}", "127.0.0.1:{port:two}"])
        .start();
    let before = host.started("mqtt");
    let mut mqtt = Mqtt::connect(&host, "two", b'a');
    host.change(|text| {
        let (one, two) = (host.addr("mqtt").to_string(), host.addr("two").to_string());
        text.replace(&one, "X")
            .replace(&two, &one)
            .replace('X', &two)
    });
    let diff = host.command(&["diff"]).expect_success().stdout();
    assert!(diff.contains("mqtt: untouched\n"), "{diff}");
    mqtt.ping();
    assert_eq!(host.started("mqtt"), before);
}

#[test]
fn a_listener_keeps_its_limits_whatever_becomes_of_the_others() {
    let host = services().start();
    let limited = "{ address = \"127.0.0.1:{port:two}\", max_connections = 1 }";
    assert_eq!(
        listen(&host, "mqtt", &["mqtt"], &[limited, "mqtt"]),
        "live (listeners)"
    );
    // 0x88 in the answer to CONNECT, or no answer at all.
    let is_full = |port: &str| {
        let mut stream = host.connect(port);
        let _ = stream.write_all(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01z");
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        told.get(3) != Some(&0)
    };
    let mut first = Mqtt::connect(&host, "two", b'a');
    assert!(is_full("two"));
    let mut others: Vec<Mqtt> = [b'b', b'c']
        .into_iter()
        .map(|id| Mqtt::connect(&host, "mqtt", id))
        .collect();
    assert_eq!(
        listen(&host, "mqtt", &[limited, "mqtt"], &[limited]),
        "live (listeners)"
    );
    for other in &mut others {
        let mut told = Vec::new();
        other.0.read_to_end(&mut told).unwrap();
        assert_eq!(told[2], 0x8b);
    }
    first.ping();
    assert!(is_full("two"));
    let wider = limited.replace("= 1", "= 2");
    assert_eq!(
        listen(&host, "mqtt", &[limited], &["mqtt", &wider]),
        "live (limits, listeners)"
    );
    Mqtt::connect(&host, "two", b'd').ping();
    Mqtt::connect(&host, "mqtt", b'e').ping();
    first.ping();
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let host = services().start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let mut mqtt = Mqtt::connect(&host, "mqtt", b'a');
    host.edit_config(|text| {
        let (mqtt, ftp) = (host.addr("mqtt"), host.addr("ftp"));
        let two = host.expand("127.0.0.1:{port:two}");
        text.replace(&format!("\"{mqtt}\""), &format!("\"{mqtt}\", \"{two}\""))
            .replace(&format!("\"{ftp}\""), &format!("\"{ftp}\", \"{taken}\""))
    });
    let refused = host.command(&["reload", "--wait"]).expect_code(1);
    let told = format!("{}{}", refused.stdout(), refused.stderr());
    assert!(told.contains("in use by another process"), "{told}");
    // What the first service was given already is taken back.
    eventually("its port is closed", || {
        is_refused(&host, "two").then_some(())
    });
    mqtt.ping();
    assert_eq!(host.status()["generation"], 1);
}
