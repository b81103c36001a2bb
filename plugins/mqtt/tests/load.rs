//! Clients that are too slow, too fast or too many, against the real host, with mosquitto's clients.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod programs;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use polyport_testkit::{Host, eventually};
use programs::{mosquitto, subscriber};

const ACCOUNTS: &str = "[anonymous]\nservices = mqtt\n";

fn host(settings: &str) -> Host {
    Host::builder()
        .service("mqtt")
        .settings("mqtt", settings)
        .accounts(ACCOUNTS)
        .start()
}

/// A 3.1.1 connection of a client with this identifier; `flags` 2 for a clean session.
fn connected(host: &Host, client_id: u8, flags: u8) -> TcpStream {
    let mut stream = host.connect("mqtt");
    let mut connect = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01x".to_vec();
    connect[9] = flags;
    connect[14] = client_id;
    stream.write_all(&connect).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    stream
}

fn metric(host: &Host, name: &str) -> u64 {
    let status = host.status();
    let services = status["services"].as_array().unwrap();
    services[0]["metrics"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name}: {status}"))
}

/// Messages of 100 bytes, retained, one to each topic.
fn retain(host: &Host, count: usize) {
    let mut source = connected(host, b's', 2);
    let mut packets = Vec::new();
    for number in 0..count {
        packets.extend([0x31, 2 + 9 + 100, 0, 9]);
        write!(packets, "r/{number:07}").unwrap();
        packets.extend([b'x'; 100]);
    }
    packets.extend(b"\xc0\x00");
    source.write_all(&packets).unwrap();
    source.read_exact(&mut [0; 2]).unwrap();
}

#[test]
fn a_hundred_thousand_retained_messages_come_to_a_slow_reader_over_swaps_and_to_mosquitto_sub() {
    let host = host("persistence = false");
    retain(&host, 100_000);
    let before = host.peak_memory();
    let mut slow = connected(&host, b'l', 2);
    slow.write_all(b"\x82\x06\x00\x01\x00\x01#\x00").unwrap();
    let mut suback = [0; 5];
    slow.read_exact(&mut suback).unwrap();
    let wanted = ["-t", "#", "-C", "100000", "-F", "%r %t"];
    let got = mosquitto(&host, "mosquitto_sub").args(wanted).run();
    let got = got.expect_success();
    let mut topics: Vec<_> = got.stdout().lines().map(str::to_owned).collect();
    topics.dedup();
    assert_eq!(topics.len(), 100_000);
    assert!(topics.iter().all(|line| line.starts_with("1 r/")));

    let mut packet = [0; 113];
    for number in 0..100_000 {
        slow.read_exact(&mut packet).unwrap();
        let topic = format!("r/{number:07}");
        assert_eq!((packet[0], &packet[4..13]), (0x31, topic.as_bytes()));
        if number % 40_000 == 1_000 {
            let _ = host.command(&["restart", "mqtt"]).expect_success();
        }
    }
    let grown = host.peak_memory() - before;
    println!(
        "two readers of 100,000 retained messages took {} KiB",
        grown / 1024
    );
    // Two more instances with as many messages, for a moment each.
    assert!(grown < 160 << 20, "{} KiB", grown / 1024);
}

#[test]
fn publishers_beyond_their_rate_wait_and_lose_nothing() {
    let host = host("max_publish_rate = 20");
    let mut subscriber = subscriber(&host, &["-t", "t", "-C", "50"]);
    let mut lines = String::new();
    for number in 0..50 {
        writeln!(lines, "message {number}").unwrap();
    }
    let since = Instant::now();
    let publisher = mosquitto(&host, "mosquitto_pub").args(["-t", "t", "-q", "1", "-l"]);
    publisher.stdin(lines).run().expect_success();
    let took = since.elapsed();
    assert!(
        took > Duration::from_millis(1_300),
        "50 messages took {took:?}"
    );
    assert_eq!(subscriber.wait_exit(), Some(0));
    let got: Vec<_> = subscriber
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("message "))
        .collect();
    let expected: Vec<_> = (0..50).map(|number| format!("message {number}")).collect();
    assert_eq!(got, expected);
    assert_eq!(metric(&host, "messages_dropped"), 0);

    // Without the limit, without a swap.
    let _ = host.change(|text| text.replace("max_publish_rate = 20", "max_publish_rate = 0"));
    let since = Instant::now();
    let publisher = mosquitto(&host, "mosquitto_pub").args(["-t", "t", "-q", "1", "-l"]);
    publisher.stdin("x\n".repeat(500)).run().expect_success();
    // With it they would take 24 seconds.
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn some_clients_are_held_to_a_rate_that_others_have_not() {
    let host = host(r#"overrides = [{ client_ids = ["slow*"], max_publish_rate = 2 }]"#);
    let publish = |client_id: &str, messages: usize| {
        let since = Instant::now();
        let publisher = mosquitto(&host, "mosquitto_pub").args(["-i", client_id, "-t", "t"]);
        let publisher = publisher.args(["-q", "1", "-l"]);
        publisher
            .stdin("x\n".repeat(messages))
            .run()
            .expect_success();
        since.elapsed()
    };
    let took = publish("slow7", 5);
    assert!(
        took > Duration::from_millis(1_300),
        "5 messages took {took:?}"
    );
    // With the other's rate they would take over four minutes.
    let took = publish("quick", 500);
    assert!(took < Duration::from_secs(60), "500 messages took {took:?}");
    // Live: it is for another one.
    let _ = host.change(|text| text.replace("\"slow*\"", "\"quick*\""));
    let took = publish("slow7", 500);
    assert!(took < Duration::from_secs(60), "500 messages took {took:?}");
}

#[test]
fn what_the_disk_does_not_take_is_not_read_and_not_lost() {
    const FLOOD: u32 = 1_000;
    let mut host = host("");
    let mut other = connected(&host, b'o', 2);
    other.write_all(b"\x82\x06\x00\x01\x00\x01o\x00").unwrap();
    other.read_exact(&mut [0; 5]).unwrap();
    let mut source = connected(&host, b's', 2);
    let (mark, before) = (host.log_mark(), host.peak_memory());
    host.limit_files(Some(1 << 20));
    let sent = Arc::new(AtomicU32::new(0));
    let flood = std::thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            // QoS 0, retained, on ten topics; 64,004 bytes each.
            let mut packet = b"\x31\x84\xf4\x03\x00\x02t0".to_vec();
            packet.resize(4 + 64_004, b'x');
            for number in 0..FLOOD {
                packet[7] = b'0' + (number % 10) as u8;
                packet[8..12].copy_from_slice(&number.to_be_bytes());
                source.write_all(&packet).unwrap();
                sent.store(number + 1, Ordering::Relaxed);
            }
            source.write_all(b"\xc0\x00").unwrap();
            source.read_exact(&mut [0; 2]).unwrap();
        }
    });
    host.wait_log(mark, "acknowledgements wait until it can be written");
    let mut last = 0;
    eventually("the flood stands still", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = sent.load(Ordering::Relaxed);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    assert!(last < FLOOD, "all was taken");
    let grown = host.peak_memory() - before;
    assert!(grown < 48 << 20, "{grown} bytes more");
    // What is not for the disk goes on.
    other.write_all(b"\x30\x04\x00\x01ox").unwrap();
    let mut own = [0; 6];
    other.read_exact(&mut own).unwrap();
    assert_eq!(&own, b"\x30\x04\x00\x01ox");

    host.limit_files(None);
    flood.join().unwrap();
    host.wait_log(mark, "writing again");
    assert_eq!(host.sigterm(), Some(0));
    host.start();
    let mut reader = connected(&host, b'r', 2);
    reader.write_all(b"\x82\x06\x00\x01\x00\x01#\x00").unwrap();
    reader.read_exact(&mut [0; 5]).unwrap();
    let mut packet = vec![0; 4 + 64_004];
    for topic in 0..10 {
        reader.read_exact(&mut packet).unwrap();
        let number = u32::from_be_bytes(packet[8..12].try_into().unwrap());
        assert_eq!(
            (packet[7], number),
            (b'0' + topic, FLOOD - 10 + u32::from(topic))
        );
    }
}

#[test]
fn an_overloaded_service_says_so_and_recovers_when_its_messages_are_taken() {
    let host = host("max_memory = \"1M\"");
    let mut away = connected(&host, b'a', 0);
    away.write_all(b"\x82\x06\x00\x01\x00\x01t\x01").unwrap();
    away.read_exact(&mut [0; 5]).unwrap();
    away.write_all(b"\xe0\x00").unwrap();
    assert_eq!(away.read(&mut [0]).unwrap(), 0);
    let publish = || mosquitto(&host, "mosquitto_pub").args(["-V", "5", "-t", "t", "-q", "1"]);
    publish()
        .args(["-s"])
        .stdin(vec![b'x'; 1_100_000])
        .run()
        .expect_success();

    let service = |status: &serde_json::Value| status["services"][0].clone();
    let degraded = host.wait_status("overloaded", |status| {
        service(status)["state"] == "degraded"
    });
    let text = service(&degraded).to_string();
    assert!(text.contains("overloaded: "), "{text}");
    host.wait_log(0, "overloaded: clients and messages are refused");
    let refused = publish().args(["-m", "no"]).run();
    assert!(
        refused.stderr().to_lowercase().contains("busy"),
        "{}",
        refused.stderr()
    );

    let taken = mosquitto(&host, "mosquitto_sub")
        .args(["-i", "a", "-c", "-q", "1", "-t", "t", "-C", "1", "-N"])
        .run()
        .expect_success();
    assert_eq!(taken.stdout().len(), 1_100_000);
    host.wait_log(0, "no longer overloaded");
    host.wait_status("recovered", |status| service(status)["state"] == "ready");
    publish().args(["-m", "yes"]).run().expect_success();
}

#[test]
fn clients_are_sent_elsewhere_when_the_service_stops_or_has_moved() {
    let mut host = host("server_reference = \"other.example:1883\"");
    // 5.0, which knows where to go.
    let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01v";
    let mut client = host.connect("mqtt");
    client.write_all(connect).unwrap();
    client.read_exact(&mut [0; 16]).unwrap();

    let _ = host.change(|text| {
        text.replace(
            "[services.mqtt.settings]",
            "[services.mqtt.settings]\nredirect = \"permanent\"",
        )
    });
    let mut moved = host.connect("mqtt");
    moved.write_all(connect).unwrap();
    let mut answer = Vec::new();
    moved.read_to_end(&mut answer).unwrap();
    assert_eq!(
        answer,
        b"\x20\x18\x00\x9d\x15\x1c\x00\x12other.example:1883"
    );
    let told = mosquitto(&host, "mosquitto_pub")
        .args(["-V", "5", "-t", "t", "-m", "x"])
        .run();
    assert!(told.stderr().contains("moved"), "{}", told.stderr());

    assert_eq!(host.sigterm(), Some(0));
    let mut parting = Vec::new();
    client.read_to_end(&mut parting).unwrap();
    assert_eq!(parting, b"\xe0\x17\x9c\x15\x1c\x00\x12other.example:1883");
}

#[test]
fn a_slow_consumer_is_dealt_with_as_the_operator_says_from_one_moment_to_the_next() {
    let host = host("max_queued_messages = 2\nmax_inflight_messages = 1");
    let mut slow = connected(&host, b'l', 0);
    slow.write_all(b"\x82\x06\x00\x01\x00\x01t\x01").unwrap();
    slow.read_exact(&mut [0; 5]).unwrap();
    let publish = |text: &str| {
        let publisher = mosquitto(&host, "mosquitto_pub").args(["-t", "t", "-q", "1", "-l"]);
        publisher.stdin(text).run().expect_success();
    };
    publish("1\n2\n3\n4\n");
    eventually("the fourth is counted", || {
        (metric(&host, "dropped_queue_full") == 1).then_some(())
    });
    let _ = host.change(|text| {
        text.replace(
            "[services.mqtt.settings]",
            "[services.mqtt.settings]\nslow_consumer = \"drop-oldest\"",
        )
    });
    publish("5\n");
    let mut first = [0; 8];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"\x32\x06\x00\x01t\x00\x011");
    for (identifier, payload) in [(1, b'3'), (2, b'5')] {
        slow.write_all(&[0x40, 2, 0, identifier]).unwrap();
        let mut next = [0; 8];
        slow.read_exact(&mut next).unwrap();
        assert_eq!(next, [0x32, 6, 0, 1, b't', 0, identifier + 1, payload]);
    }
    let _ = host.change(|text| text.replace("drop-oldest", "disconnect"));
    publish("6\n7\n8\n");
    assert_eq!(slow.read(&mut [0]).unwrap(), 0, "it is closed");
}
