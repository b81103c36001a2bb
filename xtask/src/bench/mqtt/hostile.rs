//! Clients that mean no good, each kind in turn, while pairs of others exchange messages at a fixed rate: what these
//! notice of them, and what the broker's memory does.
//!
//! They share the load's core. The load goes before them there (a real-time priority, as far as the system lets it),
//! so that its times are the broker's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::brokers::Broker;
use super::cases::Store;
use super::link::{PATIENCE, open};
use super::load::{self, Load, Pace};
use super::packets::{Connect, packet, string, subscribe};
use super::round::Round;
use super::{MIB, more_files, table};
use crate::Outcome;
use crate::bench::harness::{Core, on_core};
use crate::bench::usage::resident;

/// What the others do.
const OTHERS: Load = Load {
    groups: 50,
    publishers: 1,
    subscribers: 1,
    qos: 1,
    payload: 64,
    pace: Pace::Shared(2_000),
    kept: false,
    time: Duration::from_millis(1_500),
};

/// More than of the other cases: what else the machine does is as long as a hundredth of a round's messages take.
const ROUNDS: usize = 9;

/// What the command line calls it.
pub const NAME: &str = "hostile";

/// The most that their p99 may grow by.
pub const MOST: f64 = 2.0;
/// What the service may hold (`max_memory`), and what the process may grow by, in MiB: each attack would go beyond it
/// where nothing is bounded.
const MAY_HOLD: u32 = 64;
pub const MAY_GROW: f64 = 96.0;
/// So many bytes fill what a subscriber may leave unread, with the sockets' own buffers.
const FULL: usize = 32 << 20;

/// One kind of them.
struct Attack {
    name: &'static str,
    run: fn(&Target) -> Outcome,
}

const ATTACKS: [Attack; 6] = [
    Attack {
        name: "20 subscribers that never read and are full, of 4 MiB a second each",
        run: never_reads,
    },
    Attack {
        name: "2,000 clients that send a byte a second",
        run: a_byte_a_second,
    },
    Attack {
        name: "packets of 256 MB begun, 200 connections a second",
        run: huge_packets,
    },
    Attack {
        name: "100,000 subscriptions of one client, which come and go",
        run: many_subscriptions,
    },
    Attack {
        name: "10,000 wills at once",
        run: many_wills,
    },
    Attack {
        name: "takeovers of one session, 500 a second",
        run: takeovers,
    },
];

/// What others noticed of an attack.
pub struct Siege {
    pub attack: &'static str,
    /// Their p99 before, and meanwhile.
    pub p99: [Duration; 2],
    /// The most that the broker's memory grew by, in MiB.
    pub memory: f64,
}

/// Who is attacked, and until when.
struct Target {
    port: u16,
    ready: Sender<()>,
    stop: AtomicBool,
    opened: AtomicU32,
}

impl Target {
    /// From here on it counts.
    fn begin(&self) {
        let _ = self.ready.send(());
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Waits until so long after `since`, unless it is over before.
    fn wait(&self, since: Instant, time: Duration) {
        while self.goes_on() {
            let left = time.saturating_sub(since.elapsed());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    fn open(&self) -> Outcome<TcpStream> {
        // One address has too few ports for all that come and go.
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let from = Ipv4Addr::new(127, 1, 0, (opened / 1_000 % 200) as u8 + 1);
        let stream = open(from, self.port)?;
        let timed = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        timed.map_err(|e| format!("no time limit: {e}"))?;
        Ok(stream)
    }

    fn connected(&self, client_id: &str) -> Outcome<TcpStream> {
        self.greeted(&connect(client_id, true))
    }

    fn greeted(&self, connect: &[u8]) -> Outcome<TcpStream> {
        let mut stream = self.open()?;
        ask(&mut stream, connect, 4)?;
        Ok(stream)
    }
}

/// Sends, and takes an answer of so many bytes.
fn ask(stream: &mut TcpStream, bytes: &[u8], answer: usize) -> Outcome {
    let mut into = vec![0; answer];
    stream
        .write_all(bytes)
        .and_then(|()| stream.read_exact(&mut into))
        .map_err(|e| format!("no answer: {e}"))
}

/// Each attack, against a broker just started, as a table.
pub fn bench() -> Outcome<String> {
    more_files()?;
    let mut sieges = Vec::new();
    for attack in &ATTACKS {
        let broker = Broker::besieged(MAY_HOLD)?;
        let (mut calm, mut attacked, mut memory) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..ROUNDS {
            calm.push(on_core(Core::Load, || others(&broker))?);
            let before = broker.memory();
            let besieged = on_core(Core::Load, || besieged(&broker, attack));
            let (round, most) = besieged.map_err(|e| format!("{}: {e}", attack.name))?;
            attacked.push(round);
            memory = f64::max(memory, most.saturating_sub(before) as f64 / MIB);
        }
        let p99 = [calm, attacked].map(|rounds| median_round_p99(&rounds));
        println!(
            "  {}: p99 of others {:?}, before {:?}; {memory:.1} MiB",
            attack.name, p99[1], p99[0]
        );
        sieges.push(Siege {
            attack: attack.name,
            p99,
            memory,
        });
    }
    table::sieges(&sieges)
}

fn median_round_p99(rounds: &[Round]) -> Duration {
    let mut times: Vec<_> = rounds.iter().map(|round| round.latency.p99).collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The others, before all else on their core.
fn others(broker: &Broker) -> Outcome<Round> {
    urgently(true);
    let round = load::run(broker.port(Store::Always), broker.server.pid, OTHERS);
    urgently(false);
    let round = round?;
    match round.lost {
        0 => Ok(round),
        lost => Err(format!("{lost} messages of others were lost")),
    }
}

/// The others and the attack, and the most that the broker had resident.
fn besieged(broker: &Broker, attack: &Attack) -> Outcome<(Round, u64)> {
    let (ready, begun) = channel();
    let target = Target {
        port: broker.port(Store::Always),
        ready,
        stop: AtomicBool::new(false),
        opened: AtomicU32::new(0),
    };
    std::thread::scope(|scope| {
        let target = &target;
        let attacking = scope.spawn(move || (attack.run)(target));
        let watching = scope.spawn(move || {
            let mut most = 0;
            while target.goes_on() {
                most = most.max(resident(broker.server.pid));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        // One that fails before it begins is reported below.
        let _ = begun.recv_timeout(4 * PATIENCE);
        let round = others(broker);
        target.stop.store(true, Ordering::Relaxed);
        let attacked = attacking.join().map_err(|_| "the attack panicked")?;
        let most = watching.join().map_err(|_| "the watch panicked")?;
        attacked?;
        Ok((round?, most))
    })
}

/// Has this thread run before others on its core, or not any more. Without the right to, it shares.
fn urgently(urgent: bool) {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let (policy, priority) = if urgent { ("-f", "10") } else { ("-o", "0") };
    let mut command = Command::new("chrt");
    let command = command.args([policy, "-p", priority, &thread]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn never_reads(target: &Target) -> Outcome {
    let mut lazy = Vec::new();
    for number in 0..20 {
        let mut stream = target.connected(&format!("lazy-{number}"))?;
        ask(&mut stream, &subscribe("hostile/flood", number % 3), 5)?;
        lazy.push(stream);
    }
    let mut flood = target.connected("flood")?;
    let topic = string("hostile/flood");
    let payload = vec![b'x'; 8192];
    let unacknowledged = packet(0x30, &[&topic[..], &payload].concat());
    let acknowledged = packet(0x32, &[&topic[..], &[0, 1], &payload].concat());
    let send = |flood: &mut TcpStream| {
        let sent = flood.write_all(&unacknowledged);
        sent.map_err(|e| format!("cannot send: {e}"))
    };
    for _ in 0..FULL / payload.len() {
        send(&mut flood)?;
    }
    ask(&mut flood, &acknowledged, 4)?;
    target.begin();
    let since = Instant::now();
    for number in 1.. {
        if !target.goes_on() {
            break;
        }
        // Every eighth has to wait in a session.
        match number % 8 {
            0 => ask(&mut flood, &acknowledged, 4)?,
            _ => send(&mut flood)?,
        }
        target.wait(since, number * Duration::from_millis(2));
    }
    Ok(())
}

fn connect(client_id: &str, clean: bool) -> Vec<u8> {
    let connect = Connect {
        client_id,
        clean,
        login: None,
    };
    connect.packet()
}

fn a_byte_a_second(target: &Target) -> Outcome {
    // One half is at its CONNECT, the other half, logged in, at a PUBLISH.
    let connect = connect("slow", true);
    let publish = packet(0x30, &[&string("hostile/slow")[..], &[b'x'; 100]].concat());
    let mut slow = Vec::new();
    for number in 0..1_000 {
        slow.push((target.open()?, &connect));
        slow.push((target.connected(&format!("slow-{number}"))?, &publish));
    }
    target.begin();
    let since = Instant::now();
    let mut sent = 0;
    while target.goes_on() {
        let turn = sent / slow.len();
        let at = sent % slow.len();
        if let Some((stream, bytes)) = slow.get_mut(at) {
            // One that is closed by now has had its time.
            let _ = stream.write_all(&[bytes.get(turn).copied().unwrap_or_default()]);
        }
        sent += 1;
        target.wait(since, sent as u32 * Duration::from_micros(500));
    }
    Ok(())
}

fn huge_packets(target: &Target) -> Outcome {
    target.begin();
    let since = Instant::now();
    let mut begun = Vec::new();
    let packet = [&b"\x30\xff\xff\xff\x7f\x00\x01t"[..], &[b'x'; 262_144]].concat();
    for number in 1.. {
        if !target.goes_on() {
            break;
        }
        let mut stream = target.connected(&format!("huge-{number}"))?;
        // Some are ended before all of it is sent.
        let _ = stream.write_all(&packet);
        begun.push(stream);
        target.wait(since, number * Duration::from_millis(5));
    }
    Ok(())
}

fn many_subscriptions(target: &Target) -> Outcome {
    target.begin();
    while target.goes_on() {
        let mut stream = target.connected("many")?;
        for begin in (0..100_000).step_by(500) {
            let mut body = vec![0, 1];
            for number in begin..begin + 500 {
                body.extend(string(&format!("hostile/{number:06}/+")));
                body.push(0);
            }
            if !target.goes_on() {
                return Ok(());
            }
            // SUBACK: a code for each, and two bytes of length.
            ask(&mut stream, &packet(0x82, &body), 3 + 2 + 500)?;
        }
    }
    Ok(())
}

fn many_wills(target: &Target) -> Outcome {
    let mut watcher = target.connected("watcher")?;
    ask(&mut watcher, &subscribe("hostile/will/#", 0), 5)?;
    let mut doomed = Vec::new();
    for number in 0..10_000 {
        let mut body = string("MQTT");
        // Clean session, a will with QoS 0.
        body.extend([4, 0x06, 0, 0]);
        body.extend(string(&format!("doomed-{number}")));
        body.extend(string(&format!("hostile/will/{number}")));
        body.extend(string("gone"));
        doomed.push(target.greeted(&packet(0x10, &body))?);
    }
    target.begin();
    drop(doomed);
    let mut bytes = vec![0; 65_536];
    while target.goes_on() {
        let _ = watcher.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = watcher.read(&mut bytes);
    }
    Ok(())
}

fn takeovers(target: &Target) -> Outcome {
    let connect = connect("storm", false);
    target.begin();
    let since = Instant::now();
    // Each is there until the next one has taken its session.
    let mut holder = None;
    for number in 1.. {
        if !target.goes_on() {
            break;
        }
        holder.replace(target.greeted(&connect)?);
        target.wait(since, number * Duration::from_millis(2));
    }
    Ok(())
}
