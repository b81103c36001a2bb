//! kill -9 under load (T1, T7): nothing that was acknowledged is lost, QoS 2 arrives once and in order.
//!
//! The clients here keep their own side of each session over the kills, as the standard asks of clients with
//! persistent sessions. `POLYPORT_KILLS` sets the number of kills for a longer run.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use polyport_testkit::{Host, PATIENCE};

const WINDOW: usize = 15;
const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const SUBACK: u8 = 0x90;

/// One network connection.
struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    /// Connects with clean session 0, trying until the broker is there again.
    fn connect(addr: SocketAddr, client_id: &str) -> (Wire, bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Wire::try_connect(addr, client_id) {
                Ok(connected) => return connected,
                Err(error) => assert!(Instant::now() < deadline, "{client_id}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn try_connect(addr: SocketAddr, client_id: &str) -> io::Result<(Wire, bool)> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Wire {
            stream,
            unread: Vec::new(),
        };
        let mut body = b"\x00\x04MQTT\x04\x00\x00\x00".to_vec();
        put_string(&mut body, client_id);
        wire.send(0x10, &body)?;
        let (first, body) = wire.receive()?;
        assert_eq!((first, body[1]), (CONNACK, 0));
        Ok((wire, body[0] == 1))
    }

    fn send(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        assert!(body.len() < 128);
        let mut packet = vec![first, body.len() as u8];
        packet.extend_from_slice(body);
        self.stream.write_all(&packet)
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let [first, length, rest @ ..] = &self.unread[..] {
                assert!(*length < 128);
                if let Some(body) = rest.get(..usize::from(*length)) {
                    let packet = (*first, body.to_vec());
                    self.unread.drain(..2 + usize::from(packet.1.len() as u8));
                    return Ok(packet);
                }
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&buffer[..read]);
        }
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn identifier(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

/// Publishes numbers to a topic of its own until told to stop; gives how many were acknowledged.
fn publisher(
    addr: SocketAddr,
    qos: u8,
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let client_id = format!("publisher-{qos}");
        // Packet identifier, number, PUBREC has come.
        let mut window: VecDeque<(u16, u64, bool)> = VecDeque::new();
        let mut next = 0;
        let mut acknowledged = 0;
        let publish = |wire: &mut Wire, id: u16, number: u64, dup: bool| {
            let mut body = Vec::new();
            put_string(&mut body, &format!("numbers/{qos}"));
            body.extend(id.to_be_bytes());
            body.extend(number.to_string().bytes());
            wire.send(0x30 | qos << 1 | u8::from(dup) << 3, &body)
        };
        loop {
            let (mut wire, _) = Wire::connect(addr, &client_id);
            let mut session = || -> io::Result<()> {
                for &(id, number, received) in &window {
                    if received {
                        wire.send(PUBREL, &id.to_be_bytes())?
                    } else {
                        publish(&mut wire, id, number, true)?
                    }
                }
                loop {
                    while window.len() < WINDOW && !stop.load(Ordering::Relaxed) {
                        let id = (next % 60_000) as u16 + 1;
                        window.push_back((id, next, false));
                        next += 1;
                        publish(&mut wire, id, next - 1, false)?;
                    }
                    if window.is_empty() {
                        return Ok(());
                    }
                    let (first, body) = wire.receive()?;
                    let at = window.iter().position(|(id, ..)| *id == identifier(&body));
                    match (first, at) {
                        (PUBREC, Some(at)) => {
                            window[at].2 = true;
                            wire.send(PUBREL, &body)?;
                        }
                        (PUBACK | PUBCOMP, Some(at)) => {
                            window.remove(at);
                            acknowledged += 1;
                            progress.store(acknowledged, Ordering::Relaxed);
                        }
                        (first, at) => {
                            panic!("{client_id}: unexpected packet {first:#x} at {at:?}")
                        }
                    }
                }
            };
            if session().is_ok() {
                assert_eq!(acknowledged, next);
                return acknowledged;
            }
        }
    })
}

/// Subscribes to all numbers with QoS 2 and gives those of each topic in the order they came; ends when the
/// last number of both topics has come.
fn subscriber(
    addr: SocketAddr,
    last: Arc<[AtomicU64; 3]>,
    ready: Arc<AtomicBool>,
) -> JoinHandle<BTreeMap<u8, Vec<u64>>> {
    std::thread::spawn(move || {
        let mut got: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut open: BTreeSet<u16> = BTreeSet::new();
        loop {
            let (mut wire, present) = Wire::connect(addr, "subscriber");
            let mut session = || -> io::Result<()> {
                if !present {
                    assert!(got.is_empty(), "the session was lost");
                    let mut body = vec![0, 1];
                    put_string(&mut body, "numbers/+");
                    body.push(2);
                    wire.send(0x82, &body)?;
                }
                loop {
                    let (first, body) = wire.receive()?;
                    match first {
                        SUBACK => ready.store(true, Ordering::Relaxed),
                        PUBREL => {
                            open.remove(&identifier(&body));
                            wire.send(PUBCOMP, &body)?;
                        }
                        // The nudge: there is no more to wait for than what is looked at below.
                        0x30 => {}
                        first => {
                            assert_eq!(first >> 4, 3, "unexpected packet {first:#x}");
                            let length = usize::from(identifier(&body));
                            let qos = body[1 + length] - b'0';
                            let rest = &body[2 + length..];
                            let number = String::from_utf8(rest[2..].to_vec())
                                .unwrap()
                                .parse()
                                .unwrap();
                            let id = &rest[..2];
                            if first >> 1 & 3 == 2 {
                                if open.insert(identifier(id)) {
                                    got.entry(qos).or_default().push(number);
                                }
                                wire.send(PUBREC, id)?;
                            } else {
                                got.entry(qos).or_default().push(number);
                                wire.send(PUBACK, id)?;
                            }
                        }
                    }
                    let complete = |qos: u8| {
                        let wanted = last[usize::from(qos)].load(Ordering::Relaxed);
                        got.get(&qos)
                            .is_some_and(|numbers| numbers.contains(&wanted))
                    };
                    if last[1].load(Ordering::Relaxed) < u64::MAX && complete(1) && complete(2) {
                        return Ok(());
                    }
                }
            };
            if session().is_ok() {
                return got;
            }
        }
    })
}

#[test]
fn t7_kills_lose_nothing_acknowledged_and_repeat_no_qos_2_message() {
    let kills: u32 = std::env::var("POLYPORT_KILLS")
        .map_or(5, |text| text.parse().expect("POLYPORT_KILLS is a number"));
    let mut host = Host::builder()
        .service("mqtt")
        // Small enough that compaction falls among the kills.
        .settings(
            "mqtt",
            "durability = \"never\"\nstore_compact_bytes = 65536\nmax_queued_messages = 1000000",
        )
        .accounts("[anonymous]\nservices = mqtt\n")
        .start();
    let addr = host.addr("mqtt");
    let stop = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(AtomicBool::new(false));
    let last: Arc<[AtomicU64; 3]> = Arc::new([const { AtomicU64::new(u64::MAX) }; 3]);
    let subscriber = subscriber(addr, Arc::clone(&last), Arc::clone(&ready));
    polyport_testkit::eventually("the subscription", || {
        ready.load(Ordering::Relaxed).then_some(())
    });

    let progress = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let publishers: Vec<_> = [1, 2]
        .into_iter()
        .zip(&progress)
        .map(|(qos, progress)| publisher(addr, qos, Arc::clone(&stop), Arc::clone(progress)))
        .collect();
    // What is acknowledged from here on is on the disk.
    let changes = host.change(|text| text.replace("\"never\"", "\"always\""));
    assert_eq!(changes[0], "mqtt: live (settings)", "{changes:#?}");
    for kill in 0..kills {
        let before: Vec<_> = progress
            .iter()
            .map(|progress| progress.load(Ordering::Relaxed))
            .collect();
        polyport_testkit::eventually("progress after a kill", || {
            let moved = progress
                .iter()
                .zip(&before)
                .all(|(now, before)| now.load(Ordering::Relaxed) > before + 20);
            moved.then_some(())
        });
        // At another moment each time.
        std::thread::sleep(Duration::from_millis(u64::from(kill * 37 % 101)));
        host.kill9();
        host.start();
    }
    stop.store(true, Ordering::Relaxed);
    let sent: Vec<u64> = publishers
        .into_iter()
        .map(|publisher| publisher.join().unwrap())
        .collect();
    // One more of each, so that the subscriber sees the end.
    for (qos, count) in [1u8, 2].into_iter().zip(&sent) {
        last[usize::from(qos)].store(count - 1, Ordering::Relaxed);
    }
    let (mut nudge, _) = Wire::connect(addr, "nudge");
    let mut body = Vec::new();
    put_string(&mut body, "numbers/0");
    body.extend(b"0");
    nudge.send(0x30, &body).unwrap();

    let got = subscriber.join().unwrap();
    for (qos, count) in [1u8, 2].into_iter().zip(sent) {
        let numbers = &got[&qos];
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        let lost: Vec<u64> = (0..count)
            .filter(|number| !distinct.contains(number))
            .collect();
        assert!(
            lost.is_empty(),
            "QoS {qos}: {} of {count} lost: {lost:?}",
            lost.len()
        );
        if qos == 2 {
            assert_eq!(numbers.len(), distinct.len(), "QoS 2 repeated");
            assert!(numbers.is_sorted(), "QoS 2 out of order");
        }
        let delivered = numbers.len();
        polyport_testkit::figure(
            &format!("QoS {qos}"),
            format!("{count} acknowledged, {delivered} delivered, none lost"),
        );
    }
}
