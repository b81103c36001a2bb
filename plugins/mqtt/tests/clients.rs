//! Real clients against the real host: mosquitto's and paho, as the tutorial uses them (T1-T9).

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod programs;

use std::io::{Read, Write};
use std::time::Duration;

use polyport_testkit::{Client, Host, PATIENCE, Running};
use programs::mosquitto;

const ANONYMOUS: &str =
    "[alice]\nname = alice\npassword = wonderland\n[anonymous]\nservices = mqtt\n";

fn host() -> Host {
    Host::builder().service("mqtt").accounts(ANONYMOUS).start()
}

/// With the topic of each message.
fn subscriber(host: &Host, arguments: &[&str]) -> Running {
    programs::subscriber(host, &[&["-v"], arguments].concat())
}

fn paho(host: &Host, port: &str, options: &[&str]) -> Client {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho/tutorial.py");
    Client::python(script)
        .arg(host.port(port).to_string())
        .args(options)
}

#[test]
fn t1_listens_on_v4_and_v6_and_logs_each_listener() {
    let host = Host::builder()
        .service("mqtt")
        .listen("mqtt", &["127.0.0.1:{port:mqtt}", "[::1]:{port:mqtt}"])
        .accounts(ANONYMOUS)
        .start();
    let port = host.port("mqtt").to_string();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        host.wait_log(0, &format!("listen socket on {address}"));
    }
    for address in ["127.0.0.1", "::1"] {
        let publish = Client::new("mosquitto_pub")
            .args(["-h", address, "-p", &port, "-t", "t", "-m", "x", "-q", "1"]);
        publish.run().expect_success();
    }
}

#[test]
fn t1_persistence_is_on_by_default_and_survives_a_kill() {
    let mut host = host();
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "kept", "-m", "still here", "-r", "-q", "1"])
        .run()
        .expect_success();
    host.kill9();
    host.start();
    let got = mosquitto(&host, "mosquitto_sub")
        .args(["-t", "kept", "-C", "1", "-F", "%r %p"])
        .run()
        .expect_success();
    assert_eq!(got.stdout(), "1 still here\n");
    let store = host.path().join("state");
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    let mut files = 0;
    for entry in walk(&store)
        .iter()
        .filter(|path| path.to_string_lossy().contains("/store/"))
    {
        assert_eq!(mode(entry), 0o600, "{}", entry.display());
        files += 1;
    }
    assert!(files >= 2, "no store in {}", store.display());
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn t2_mosquitto_pub_and_sub_work_unchanged_in_every_version() {
    let host = host();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let subscriber = subscriber(&host, &["-t", "mqtt", "-V", version]);
        mosquitto(&host, "mosquitto_pub")
            .args(["-t", "mqtt", "-m", "xzzz", "-V", version])
            .run()
            .expect_success();
        subscriber.wait_line("mqtt xzzz");
    }
}

#[test]
fn t3_paho_connects_by_every_version_and_transport() {
    let host = host();
    for protocol in ["31", "311", "5"] {
        for (transport, port) in [("tcp", "mqtt"), ("websockets", "mqtt-ws")] {
            let protocol = format!("protocol={protocol}");
            let transport = format!("transport={transport}");
            let options = [
                protocol.as_str(),
                &transport,
                "username=alice",
                "password=wonderland",
                "subscribe=a/b:1",
                "publish=a/b:1:hello",
                "count=1",
            ];
            let got = paho(&host, port, &options).run().expect_success().stdout();
            for line in [
                "connect 0 new",
                "granted 1",
                "message a/b 1 0 hello",
                "disconnect 0 local",
            ] {
                assert!(
                    got.contains(line),
                    "{protocol} {transport}: no {line:?} in\n{got}"
                );
            }
        }
    }
}

/// paho turns return codes 1 to 5 into the reason codes of 5.0.
fn connect_code(client: Client) -> String {
    let got = client.run().expect_success().stdout();
    got.lines()
        .find_map(|line| line.strip_prefix("connect "))
        .unwrap_or_else(|| panic!("{got}"))
        .to_owned()
}

#[test]
fn t4_refusals_reach_on_connect_with_their_codes() {
    let open = host();
    for protocol in ["protocol=311", "protocol=5"] {
        let wrong = ["username=alice", "password=nonsense", protocol];
        assert_eq!(
            connect_code(paho(&open, "mqtt", &wrong)),
            "134 new",
            "bad user name or password, {protocol}"
        );
        let nobody = ["username=nobody", "password=wonderland", protocol];
        assert_eq!(
            connect_code(paho(&open, "mqtt", &nobody)),
            "134 new",
            "unknown user, {protocol}"
        );
    }
    let closed = Host::builder().service("mqtt").start();
    for protocol in ["protocol=311", "protocol=5"] {
        assert_eq!(
            connect_code(paho(&closed, "mqtt", &[protocol])),
            "135 new",
            "not authorised, {protocol}"
        );
    }
    let busy = Host::builder()
        .service("mqtt")
        .keys("mqtt", "limits.max_connections = 1")
        .accounts(ANONYMOUS)
        .start();
    let _first = subscriber(&busy, &["-t", "t"]);
    assert_eq!(
        connect_code(paho(&busy, "mqtt", &["protocol=311"])),
        "136 new",
        "server unavailable"
    );
    assert_eq!(
        connect_code(paho(&busy, "mqtt", &["protocol=5"])),
        "137 new",
        "server busy"
    );
}

/// The bytes that answer a CONNECT.
fn connack(host: &Host, connect: &[u8]) -> Vec<u8> {
    let mut stream = host.connect("mqtt");
    stream.write_all(connect).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn t4_every_return_code_can_be_provoked_byte_by_byte() {
    let open = host();
    assert_eq!(
        connack(&open, b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01c"),
        b"\x20\x02\x00\x01",
        "version"
    );
    assert_eq!(
        connack(&open, b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00"),
        b"\x20\x02\x00\x02",
        "client id"
    );
    let user = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p";
    assert_eq!(
        connack(&open, user),
        b"\x20\x02\x00\x04",
        "user or password"
    );
    let closed = Host::builder().service("mqtt").start();
    assert_eq!(
        connack(&closed, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"),
        b"\x20\x02\x00\x05",
        "authorised"
    );
    let busy = Host::builder()
        .service("mqtt")
        .keys("mqtt", "limits.max_connections = 1")
        .accounts(ANONYMOUS)
        .start();
    let _first = subscriber(&busy, &["-t", "t"]);
    assert_eq!(
        connack(&busy, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"),
        b"\x20\x02\x00\x03",
        "unavailable"
    );
}

#[test]
fn t5_two_boards_reach_two_services_on_two_topics() {
    let host = host();
    let count = 300;
    let services: Vec<Running> = ["one", "two"]
        .map(|name| {
            subscriber(
                &host,
                &[
                    "-t",
                    &format!("board/{name}"),
                    "-q",
                    "1",
                    "-C",
                    &count.to_string(),
                ],
            )
        })
        .into();
    let boards: Vec<_> = ["one", "two"]
        .map(|name| {
            let lines: String = (0..count)
                .map(|number| format!("{name} {number}\n"))
                .collect();
            let topic = format!("board/{name}");
            let client = mosquitto(&host, "mosquitto_pub")
                .args(["-t", &topic, "-q", "1", "-l"])
                .stdin(lines);
            std::thread::spawn(move || client.run().expect_success())
        })
        .into();
    for (mut service, name) in services.into_iter().zip(["one", "two"]) {
        assert_eq!(service.wait_exit(), Some(0));
        let prefix = format!("board/{name} ");
        let got: Vec<_> = service
            .lines()
            .into_iter()
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect();
        let wanted: Vec<_> = (0..count)
            .map(|number| format!("{name} {number}"))
            .collect();
        assert_eq!(got, wanted);
    }
    for board in boards {
        board.join().unwrap();
    }
    let got = paho(&host, "mqtt", &["subscribe=x:0,y:1,z:2"])
        .run()
        .expect_success()
        .stdout();
    assert!(got.contains("granted 0 1 2"), "{got}");
}

#[test]
fn t6_leaving_a_stop_and_a_crash_are_told_apart() {
    let got = paho(&host(), "mqtt", &["protocol=5"])
        .run()
        .expect_success()
        .stdout();
    assert!(got.contains("disconnect 0 local"), "{got}");

    let mut stopped = host();
    let mut v5 = paho(&stopped, "mqtt", &["protocol=5", "wait=disconnect"]).spawn();
    let mut v311 = paho(&stopped, "mqtt", &["protocol=311", "wait=disconnect"]).spawn();
    v5.wait_line("waiting");
    v311.wait_line("waiting");
    assert_eq!(stopped.sigterm(), Some(0));
    v5.wait_line("disconnect 139 server");
    v311.wait_line("disconnect 128 local");
    assert_eq!((v5.wait_exit(), v311.wait_exit()), (Some(0), Some(0)));

    let mut killed = host();
    let mut v5 = paho(&killed, "mqtt", &["protocol=5", "wait=disconnect"]).spawn();
    v5.wait_line("waiting");
    killed.kill9();
    v5.wait_line("disconnect 128 local");
    assert_eq!(v5.wait_exit(), Some(0));
}

#[test]
fn t6_a_restart_of_the_service_keeps_sessions_and_publishes_no_wills() {
    let mut host = host();
    let session = ["client_id=keeper", "clean=0"];
    let first = ["subscribe=t:1,will:1"]
        .iter()
        .chain(&session)
        .copied()
        .collect::<Vec<_>>();
    paho(&host, "mqtt", &first).run().expect_success();
    let with_will = [
        "-t",
        "other",
        "--will-topic",
        "will",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
        "-i",
        "w",
    ];
    let _with_will = subscriber(&host, &with_will);
    assert_eq!(host.sigterm(), Some(0));
    host.start();
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "t", "-m", "after", "-q", "1"])
        .run()
        .expect_success();
    let second = ["count=1"]
        .iter()
        .chain(&session)
        .copied()
        .collect::<Vec<_>>();
    let got = paho(&host, "mqtt", &second).run().expect_success().stdout();
    assert!(
        got.contains("connect 0 present") && got.contains("message t 1 0 after"),
        "{got}"
    );
    assert!(!got.contains("gone"), "{got}");
}

#[test]
fn t7_every_qos_arrives_over_reconnect_and_restart() {
    let mut host = host();
    let session = ["client_id=s7", "clean=0"];
    let options = |more: &[&'static str]| session.iter().chain(more).copied().collect::<Vec<_>>();
    paho(&host, "mqtt", &options(&["subscribe=q/+:2"]))
        .run()
        .expect_success();
    let publish = ["publish=q/0:0:zero,q/1:1:one,q/2:2:two"];
    paho(&host, "mqtt", &publish).run().expect_success();
    host.kill9();
    host.start();
    let got = paho(&host, "mqtt", &options(&["count=2"]))
        .run()
        .expect_success()
        .stdout();
    for line in [
        "connect 0 present",
        "message q/1 1 0 one",
        "message q/2 2 0 two",
    ] {
        assert!(got.contains(line), "no {line:?} in\n{got}");
    }
    let got = paho(&host, "mqtt", &options(&[publish[0], "count=3"]))
        .run()
        .expect_success()
        .stdout();
    for line in [
        "message q/0 0 0 zero",
        "message q/1 1 0 one",
        "message q/2 2 0 two",
    ] {
        assert!(got.contains(line), "no {line:?} in\n{got}");
    }
}

#[test]
fn t8_a_retained_message_arrives_at_once_and_is_cleared_by_an_empty_one() {
    let host = host();
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "r/a", "-m", "kept", "-r", "-q", "1"])
        .run()
        .expect_success();
    let got = mosquitto(&host, "mosquitto_sub")
        .args(["-t", "r/#", "-C", "1", "-F", "%t %r %p"])
        .run()
        .expect_success();
    assert_eq!(got.stdout(), "r/a 1 kept\n");
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "r/a", "-r", "-n", "-q", "1"])
        .run()
        .expect_success();
    let after = mosquitto(&host, "mosquitto_sub")
        .args(["-t", "r/#", "-W", "1"])
        .run();
    assert_eq!(after.stdout(), "");
}

#[test]
fn t9_a_silent_client_is_dropped_and_its_will_published_while_a_pinging_one_stays() {
    let host = host();
    let watcher = subscriber(&host, &["-t", "will"]);
    // It pings when five seconds are over and is given seven and a half, which a busy machine does not use up.
    let listening = paho(
        &host,
        "mqtt",
        &["client_id=pings", "keepalive=5", "stay=10"],
    )
    .spawn();
    let mut silent = host.connect("mqtt");
    // The broker's clock begins before this thread goes on.
    let since = std::time::Instant::now();
    silent
        .write_all(b"\x10\x19\x00\x04MQTT\x04\x06\x00\x01\x00\x01s\x00\x04will\x00\x04gone")
        .unwrap();
    let mut connack = [0; 4];
    silent.read_exact(&mut connack).unwrap();
    assert_eq!(silent.read(&mut connack).unwrap(), 0, "the connection ends");
    let took = since.elapsed();
    assert!(
        took >= Duration::from_millis(1500) && took < Duration::from_secs(15),
        "{took:?}"
    );
    watcher.wait_line("will gone");
    let mut listening = listening;
    assert_eq!(listening.wait_exit(), Some(0), "{:?}", listening.lines());
}

#[test]
fn a_changed_account_ends_its_open_connections() {
    let host = host();
    let login = [
        "protocol=5",
        "username=alice",
        "password=wonderland",
        "wait=disconnect",
    ];
    let mut alice = paho(&host, "mqtt", &login).spawn();
    alice.wait_line("waiting");
    host.edit_accounts(|text| text.replace("name = alice", "name = alice\nenabled = no"));
    alice.wait_line("disconnect 135 server");
    assert_eq!(alice.wait_exit(), Some(0));
}

#[test]
fn a_unix_socket_is_a_listener_like_others() {
    let host = Host::builder()
        .service("mqtt")
        .listen("mqtt", &["unix:{dir}/mqtt.sock"])
        .accounts("[anonymous]\nservices = mqtt\nfrom = any\n")
        .start();
    let mut stream =
        std::os::unix::net::UnixStream::connect(host.path().join("mqtt.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
}

#[test]
fn a_long_message_reaches_every_subscriber_whole() {
    let host = host();
    let payload: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    let subscribers: Vec<_> = (0..3)
        .map(|number| {
            let qos = number.to_string();
            subscriber(&host, &["-t", "long", "-q", &qos, "-C", "1", "-F", "%l %x"])
        })
        .collect();
    mosquitto(&host, "mosquitto_pub")
        .args(["-t", "long", "-q", "2", "-s"])
        .stdin(&payload)
        .run()
        .expect_success();
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    for mut subscriber in subscribers {
        subscriber.wait_line(&format!("200000 {hex}"));
        assert_eq!(subscriber.wait_exit(), Some(0));
    }
}
