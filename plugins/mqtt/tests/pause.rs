//! How long anybody waits while a large store is written anew.
//!
//! `POLYPORT_STORE_MIB` sets the size of the store for a longer run.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polyport_testkit::{Host, PATIENCE};

const PAYLOAD: usize = 1024;
/// Messages sent and not acknowledged.
const WINDOW: usize = 1000;

fn connect(addr: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut packet = vec![0x10, 12 + client_id.len() as u8];
    packet.extend(b"\x00\x04MQTT\x04\x00\x00\x00\x00");
    packet.push(client_id.len() as u8);
    packet.extend(client_id.bytes());
    stream.write_all(&packet).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[3]), (0x20, 0));
    stream
}

fn publish(packets: &mut Vec<u8>, identifier: u16) {
    let length = 2 + 4 + 2 + PAYLOAD;
    packets.extend([0x32, (length % 128) as u8 | 0x80, (length / 128) as u8]);
    packets.extend(b"\x00\x04fill");
    packets.extend(identifier.to_be_bytes());
    packets.resize(packets.len() + PAYLOAD, b'x');
}

/// Publishes so many messages, each acknowledged.
fn fill(addr: SocketAddr, messages: usize) {
    let mut stream = connect(addr, "filler");
    let mut acknowledgements = vec![0; 4 * WINDOW];
    for first in (0..messages).step_by(WINDOW) {
        let count = WINDOW.min(messages - first);
        let mut packets = Vec::new();
        (1..=count).for_each(|number| publish(&mut packets, number as u16));
        stream.write_all(&packets).unwrap();
        stream
            .read_exact(&mut acknowledgements[..4 * count])
            .unwrap();
    }
}

/// Longest of many times until an answer of `length` bytes has come, until told to stop, and their number.
fn longest(
    stream: &mut TcpStream,
    packet: &[u8],
    length: usize,
    stop: impl Fn() -> bool,
) -> (Duration, u32) {
    let mut answer = vec![0; length];
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while !stop() {
        let sent = Instant::now();
        stream.write_all(packet).unwrap();
        stream.read_exact(&mut answer).unwrap();
        longest = longest.max(sent.elapsed());
        count += 1;
        std::thread::sleep(Duration::from_micros(500));
    }
    (longest, count)
}

/// How late this machine woke somebody at worst who only sleeps, until told to stop: no broker is better.
fn latest_waking(stop: impl Fn() -> bool) -> Duration {
    let pause = Duration::from_micros(500);
    let mut latest = Duration::ZERO;
    while !stop() {
        let since = Instant::now();
        std::thread::sleep(pause);
        latest = latest.max(since.elapsed() - pause);
    }
    latest
}

/// Where the store is.
fn store(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut folders = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    folders.find_map(|path| match path.ends_with("store") {
        true => Some(path),
        false => store(&path),
    })
}

fn logs(folder: &Path) -> Vec<(u64, u64)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut logs: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let number = name.strip_suffix(".log")?.parse().unwrap();
            Some((number, entry.metadata().ok()?.len()))
        })
        .collect();
    logs.sort_unstable();
    logs
}

#[test]
fn nobody_waits_for_a_large_store_that_is_written_anew() {
    let size: usize = std::env::var("POLYPORT_STORE_MIB").map_or(8, |text| {
        text.parse().expect("POLYPORT_STORE_MIB is a number")
    });
    let messages = size * 1024 * 1024 / PAYLOAD;
    let mut host = Host::builder()
        .service("mqtt")
        .settings(
            "mqtt",
            "store_compact_bytes = 4194304\nmax_queued_messages = 1000000000\nmax_queued_bytes = 1000000000000\n\
             max_memory = 0",
        )
        .accounts("[anonymous]\nservices = mqtt\n")
        .start();
    let addr = host.addr("mqtt");
    let mut sleeper = connect(addr, "sleeper");
    sleeper
        .write_all(b"\x82\x09\x00\x01\x00\x04fill\x01")
        .unwrap();
    sleeper.read_exact(&mut [0; 5]).unwrap();
    sleeper.write_all(b"\xe0\x00").unwrap();
    fill(addr, messages);

    // A store that was just opened wants an image at once.
    host.kill9();
    host.start();
    let folder = store(&host.path().join("state")).expect("a store beneath the state folder");
    let (last, _) = *logs(&folder).last().unwrap();
    let began = Instant::now();
    let stop = AtomicBool::new(false);
    let stopped = || stop.load(Ordering::Relaxed);
    let mut message = Vec::new();
    publish(&mut message, 1);
    let (ping, puback, waking, took) = std::thread::scope(|scope| {
        let mut pinging = connect(addr, "pinging");
        let ping = scope.spawn(move || longest(&mut pinging, b"\xc0\x00", 2, stopped));
        let mut publishing = connect(addr, "publishing");
        let message = &message;
        let puback = scope.spawn(move || longest(&mut publishing, message, 4, stopped));
        let waking = scope.spawn(move || latest_waking(stopped));
        let deadline = Instant::now() + Duration::from_secs(600);
        while logs(&folder)[0].0 < last && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        let (ping, puback) = (ping.join().unwrap(), puback.join().unwrap());
        (ping, puback, waking.join().unwrap(), took)
    });
    assert!(logs(&folder)[0].0 >= last, "the old logs are still there");
    let bytes: u64 = logs(&folder).iter().map(|(_, length)| length).sum();
    assert!(
        bytes as usize > messages * PAYLOAD,
        "{bytes} bytes are too few"
    );

    let calm = Instant::now() + took.min(Duration::from_secs(5));
    let mut pinging = connect(addr, "pinging");
    let alone = longest(&mut pinging, b"\xc0\x00", 2, || Instant::now() > calm);
    // Nobody is kept waiting for the whole of it, whatever else this machine does.
    assert!(
        ping.0 < Duration::from_secs(5).max(took / 4),
        "{:?}",
        ping.0
    );
    let text = |(longest, count): (Duration, u32)| {
        format!("{:.1} ms of {count}", longest.as_secs_f64() * 1e3)
    };
    polyport_testkit::figure(
        "written anew",
        format!("{} MiB in {:.1} s", bytes >> 20, took.as_secs_f64()),
    );
    polyport_testkit::figure("longest wait for PINGRESP meanwhile", text(ping));
    polyport_testkit::figure("for PUBACK", text(puback));
    polyport_testkit::figure(
        "somebody who only sleeps was woken late by",
        format!("{:.1} ms at worst", waking.as_secs_f64() * 1e3),
    );
    polyport_testkit::figure("for PINGRESP without", text(alone));

    // Nothing of it was lost: the session has all messages.
    host.kill9();
    host.start();
    let report = host.status();
    assert!(report.to_string().contains("held_bytes"), "{report}");
    let mut sleeper = connect(addr, "sleeper");
    let mut first = [0; 3];
    sleeper.read_exact(&mut first).unwrap();
    assert_eq!(first[0] & 0xf0, 0x30);
}
