//! Clients that mean no good, each kind in its number, while two that do exchange messages: those are served, memory
//! stays within its limit, and nobody is lost.
//!
//! `POLYPORT_HOSTILE` is how many times as many there are; `cargo xtask soak` runs them in full. What the others notice
//! is measured by `cargo xtask bench mqtt --case hostile`, where the attackers do not take their processor time.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod wire;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polyport_testkit::{Host, figure, repeats};
use wire::{
    ANONYMOUS, SUBPROTOCOL, Wire, connect, packet, publish, subscribe, text, upgrade, variable,
};

/// Bytes that a host under attack may take beyond what it had before, however many attack it.
const MEMORY: u64 = 96 << 20;

fn scale() -> usize {
    repeats("POLYPORT_HOSTILE", 1)
}

fn host(settings: &str) -> Host {
    Host::builder()
        .service("mqtt")
        .settings("mqtt", settings)
        .keys("mqtt", "limits.max_connections = 100000")
        .accounts(ANONYMOUS)
        .start()
}

/// Round trips of a QoS 1 message from one client to another.
struct Witness {
    publisher: Wire,
    subscriber: Wire,
    next: u16,
}

impl Witness {
    fn new(host: &Host) -> Witness {
        let mut subscriber = Wire::connected(host, "witness-s");
        subscriber.exchange(&subscribe("witness", 1), 0x90, &[0, 1, 1]);
        Witness {
            publisher: Wire::connected(host, "witness-p"),
            subscriber,
            next: 0,
        }
    }

    /// One message there and acknowledged on both sides.
    fn round(&mut self) {
        self.next = self.next % 60_000 + 1;
        let id = self.next.to_be_bytes();
        self.publisher
            .send(&publish(0x02, "witness", self.next, &id));
        let (first, body) = self.subscriber.receive();
        assert_eq!((first, &body[body.len() - 2..]), (0x32, &id[..]));
        self.subscriber.send(&packet(0x40, &body[9..11]));
        assert_eq!(self.publisher.receive(), (0x40, id.to_vec()));
    }

    /// A hundred messages, and more for as long as `working`; how many.
    fn rounds(&mut self, working: impl Fn() -> bool) -> u32 {
        let mut count = 0;
        while count < 100 || working() {
            self.round();
            count += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        count
    }
}

/// Two clients exchange messages while `attack` goes on; memory is held to its limit.
fn under(name: &str, host: &Host, attack: impl FnOnce(&Host) + Send) {
    let mut witness = Witness::new(host);
    witness.rounds(|| false);
    let before = host.peak_memory();
    let done = Arc::new(AtomicBool::new(false));
    let messages = std::thread::scope(|scope| {
        let theirs = Arc::clone(&done);
        let attack = scope.spawn(move || {
            // Also when it panics: nobody is to wait for it.
            struct Done(Arc<AtomicBool>);
            impl Drop for Done {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _done = Done(theirs);
            attack(host);
        });
        let messages = witness.rounds(|| !done.load(Ordering::Relaxed));
        attack.join().unwrap();
        messages
    });
    let grown = host.peak_memory() - before;
    assert!(grown < MEMORY, "{name}: {} KiB", grown / 1024);
    figure(
        name,
        format!("{} MiB, {messages} messages of others", grown >> 20),
    );
    witness.round();
}

#[test]
fn subscribers_that_never_read() {
    // Each has its limits; all together have one below what so many of them would be in a longer run.
    let host =
        host("max_outbound_bytes = 1048576\nmax_queued_bytes = 1048576\nmax_memory = \"48M\"");
    under("never reads", &host, |host| {
        let mut lazy = Vec::new();
        for number in 0..20 * scale() {
            let mut wire = Wire::connected(host, &format!("lazy-{number}"));
            let qos = (number % 3) as u8;
            wire.exchange(&subscribe("flood", qos), 0x90, &[0, 1, qos]);
            lazy.push(wire);
        }
        let mut flood = Wire::connected(host, "flood");
        let payload = [b'x'; 8192];
        for number in 1..=3000u16 {
            flood.send(&publish(0, "flood", 0, &payload));
            // In an overloaded service one of these a second is taken.
            if number % 300 == 0 {
                flood.exchange(
                    &publish(2, "flood", number, &payload),
                    0x40,
                    &number.to_be_bytes(),
                );
            }
        }
        flood.ping();
    });
}

#[test]
fn packets_that_come_a_byte_at_a_time() {
    let host = host("");
    under("a byte at a time", &host, |host| {
        let mut slow: Vec<Wire> = (0..100 * scale()).map(|_| Wire::open(host)).collect();
        let ids: Vec<String> = (0..slow.len())
            .map(|number| format!("slow-{number:06}"))
            .collect();
        // CONNECT, and the beginning of a PUBLISH that never ends.
        let length = connect(&ids[0]).len();
        for at in 0..length + 40 {
            for (wire, id) in slow.iter_mut().zip(&ids) {
                let script = [connect(id), publish(2, "t", 1, &[b'x'; 100])].concat();
                wire.stream.write_all(&script[at..=at]).unwrap();
            }
        }
        for wire in &mut slow {
            assert_eq!(wire.receive(), (0x20, vec![0, 0]));
        }
    });
}

#[test]
fn packets_of_256_mb() {
    // Refused by its length where it is too long, and else not believed before it is there.
    let short = host("");
    let mut wire = Wire::connected5(&short, "a", b"");
    wire.send(b"\x30\xff\xff\xff\x7f");
    assert_eq!(wire.end(), [0xe0, 1, 0x95]);
    let host = Host::builder()
        .service("mqtt")
        .keys("mqtt", "limits.max_packet = 268435460")
        .accounts(ANONYMOUS)
        .start();
    under("256 MB announced", &host, |host| {
        let mut giants = Vec::new();
        for number in 0..50 * scale() {
            let mut wire = Wire::connected(host, &format!("giant-{number}"));
            wire.send(b"\x30\xff\xff\xff\x7f\x00\x01t");
            wire.send(&[b'x'; 64 * 1024]);
            giants.push(wire);
        }
    });
}

#[test]
fn packets_that_never_end_take_an_eighth_of_the_memory() {
    let host = Host::builder()
        .service("mqtt")
        .settings("mqtt", "max_memory = \"64M\"")
        .keys("mqtt", "limits.max_packet = 16777216")
        .accounts(ANONYMOUS)
        .start();
    under("16 MiB begun and not ended", &host, |host| {
        // PUBLISH of 12 MiB.
        let begun = [
            &[0x30][..],
            &variable(12 << 20),
            &text("t"),
            &[0],
            &[b'x'; 1 << 20],
        ]
        .concat();
        let mut giants: Vec<_> = (0..40 * scale())
            .map(|number| {
                let mut wire = Wire::connected5(host, &format!("giant-{number}"), b"");
                wire.send(&begun);
                wire
            })
            .collect();
        // Seven have room, of those that came last.
        for giant in giants.drain(..giants.len() - 10) {
            assert_eq!(giant.end(), [0xe0, 1, 0x97]);
        }
        // A packet that is longer than their part of the memory has room as well, without the others.
        std::thread::sleep(Duration::from_millis(500));
        let mut last = Wire::connected5(host, "last", b"");
        last.send(&begun);
        last.send(&vec![b'x'; (11 << 20) - 4]);
        last.ping();
        for giant in giants {
            assert_eq!(giant.end(), [0xe0, 1, 0x97]);
        }
    });
    // By WebSocket a message counts that has not ended: a CONNECT, and then 12 MiB in one frame.
    let mut giants: Vec<_> = (0..20)
        .map(|number| {
            let (mut stream, _) = upgrade(&host, "/mqtt", SUBPROTOCOL);
            let connect = connect(&format!("ws-{number}"));
            let frame = [
                &[0x82, 0x80 | connect.len() as u8, 0, 0, 0, 0],
                &connect[..],
            ]
            .concat();
            stream.write_all(&frame).unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
            let head = [&[0x82, 0xff][..], &(12u64 << 20).to_be_bytes(), &[0; 4]].concat();
            stream
                .write_all(&[&head[..], &[b'x'; 1 << 20]].concat())
                .unwrap();
            stream
        })
        .collect();
    for giant in giants.drain(..10) {
        let mut giant = giant;
        // Ended, with or without its last words.
        let _ = giant.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_client_with_very_many_subscriptions() {
    let host = host("");
    let wanted = (10_000 * scale()).min(100_000);
    under("100,000 subscriptions", &host, |host| {
        let mut wire = Wire::connected(host, "many");
        for begin in (0..wanted).step_by(500) {
            let mut body = vec![0, 1];
            for number in begin..begin + 500 {
                body.extend(text(&format!("many/{number:06}/+")));
                body.push(0);
            }
            let codes = [&[0, 1][..], &[0; 500]].concat();
            wire.exchange(&packet(0x82, &body), 0x90, &codes);
        }
        let last = format!("many/{:06}/x", wanted - 1);
        wire.exchange(
            &publish(0, &last, 0, b"x"),
            0x30,
            &[&text(&last)[..], b"x"].concat(),
        );
        // All of them go with their client.
        wire.leave();
    });
}

#[test]
fn very_many_wills_at_once() {
    let host = host("max_queued_messages = 1000000");
    let wills = 1000 * scale();
    under("10,000 wills", &host, |host| {
        let mut watcher = Wire::connected(host, "watcher");
        watcher.exchange(&subscribe("will/#", 1), 0x90, &[0, 1, 1]);
        let doomed: Vec<Wire> = (0..wills)
            .map(|number| {
                let mut wire = Wire::open(host);
                let id = format!("doomed-{number}");
                let topic = format!("will/{number}");
                // Clean session, will with QoS 1.
                let body = [
                    &b"\x00\x04MQTT\x04\x0e\x00\x00"[..],
                    &text(&id),
                    &text(&topic),
                    &text("gone"),
                ]
                .concat();
                wire.exchange(&packet(0x10, &body), 0x20, &[0, 0]);
                wire
            })
            .collect();
        drop(doomed);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < wills {
            let (first, body) = watcher.receive();
            assert_eq!(first, 0x32);
            let end = 2 + usize::from(body[1]);
            watcher.send(&packet(0x40, &body[end..end + 2]));
            assert!(seen.insert(body[2..end].to_vec()), "a will twice");
        }
    });
}

#[test]
fn a_storm_of_takeovers() {
    let host = host("");
    under("takeovers", &host, |host| {
        // A session that is kept, and everyone wants.
        let connect = packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x00\x00\x05storm");
        let mut last = None;
        for _ in 0..500 * scale() {
            let mut wire = Wire::open(host);
            wire.send(&connect);
            // Who is already taken over gets no answer.
            match wire.try_receive() {
                Ok((first, _)) => assert_eq!(first, 0x20),
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ),
                    "{error}"
                ),
            }
            last = Some(wire);
        }
        last.unwrap().ping();
    });
    host.wait_status(
        "one session is left, of those who fought for it",
        |status| status["services"][0]["metrics"]["sessions"] == 1,
    );
}
