//! A million subscriptions and a million retained topics: what each takes, and how long it takes to find among them.
//!
//! The broker's core alone, in this process, without sockets. What becomes resident is its own: nothing is given back
//! before all that is retained is there.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

use super::demand::thousands;
use super::latency::{Latencies, Quantiles};
use super::packets::{Connect, packet, split, string, subscribe};
use crate::Outcome;
use crate::bench::harness::{Core, on_core};
use crate::bench::report::circumstances;
use crate::bench::usage::resident;

/// What the command line calls it.
pub const NAME: &str = "million";

/// Subscriptions, and retained topics at the end.
const MILLION: u32 = 1_000_000;
const SESSIONS: u32 = 1_000;
/// How many topics are retained when one is looked for.
const SIZES: [u32; 3] = [10_000, 100_000, MILLION];

/// The most bytes a subscription may take beyond its text.
const BYTES_EACH: f64 = 200.0;
/// The longest that 99 of 100 matches may take.
const MATCH: Duration = Duration::from_micros(2);

/// Messages that are matched one after the other.
const MATCHES: u32 = 200_000;
/// Topics of theirs that fit into the processor's caches with all that leads to them.
const FEW: u32 = 100;
/// Messages that each find the caches emptied.
const ALONE: u32 = 1_000;
/// More than the processor's caches hold.
const CACHES: usize = 64 << 20;

/// A topic that is retained at each size, and filters that match it alone.
const WANTED: u32 = 7_342;
const FILTERS: [&str; 2] = ["fleet/2/34/device7342/#", "fleet/+/34/device7342/state"];
const LOOKUPS: u32 = 2_000;

const NOW: Time = Time(0);
const PAYLOAD: &[u8] = b"17";

/// A row of the table.
#[derive(Debug)]
struct Figure {
    case: String,
    figure: String,
    /// What is asked of it, and whether that is so.
    demand: Option<(String, bool)>,
}

/// All of it, as a table.
pub fn bench() -> Outcome<String> {
    let figures = on_core(Core::Load, || {
        let mut subscribed = Bench::new();
        let mut figures = vec![subscriptions(&mut subscribed, MILLION)?];
        let mut kept = Bench::new();
        let retained = retained(&mut kept, &SIZES)?;
        figures.append(&mut matches(&mut subscribed, MILLION)?);
        figures.extend(retained);
        Ok(figures)
    })?;
    table(&figures)
}

fn table(figures: &[Figure]) -> Outcome<String> {
    let mut text = format!("{}.\n\n", circumstances()?);
    text.push_str("| case | figure | demand | |\n|---|--:|--:|---|\n");
    for figure in figures {
        let (demand, met) = match &figure.demand {
            Some((demand, true)) => (demand.as_str(), "met"),
            Some((demand, false)) => (demand.as_str(), "not met"),
            None => ("-", "-"),
        };
        text.push_str(&format!(
            "| {} | {} | {demand} | {met} |\n",
            figure.case, figure.figure
        ));
    }
    Ok(text)
}

/// What subscriptions take.
fn subscriptions(bench: &mut Bench, count: u32) -> Outcome<Figure> {
    let clients: Vec<_> = (0..SESSIONS).map(|n| bench.connect(n)).collect();
    let (mut packets, mut text) = (Vec::new(), 0);
    for filter in (0..count).map(filter) {
        text += filter.len();
        packets.extend(subscribe(&filter, 0));
    }
    let grown = bench.grown_by(&packets, &clients);
    let there = bench.broker.sizes().subscriptions;
    if there != count as usize {
        return Err(format!("expected {count} subscriptions, got {there}"));
    }
    let each = (grown - text as f64) / f64::from(count);
    Ok(Figure {
        case: format!(
            "{} subscriptions, 12 of 100 with wildcards, each beyond its text",
            thousands(f64::from(count))
        ),
        figure: format!("{each:.0} bytes"),
        demand: Some((format!("at most {BYTES_EACH:.0} bytes"), each <= BYTES_EACH)),
    })
}

/// What a match takes among so many subscriptions.
fn matches(bench: &mut Bench, count: u32) -> Outcome<Vec<Figure>> {
    let publisher = bench.connect(SESSIONS);
    let random = |n: u32| publish(0x30, &topic(n.wrapping_mul(2_654_435_761) % count), b"");
    let among: Vec<_> = (0..MATCHES).map(random).collect();
    let (mut warm, mut cold) = (Latencies::new(), Latencies::new());
    for n in 0..MATCHES {
        warm.add(bench.publish(publisher, &among[(n % FEW) as usize])?);
    }
    for packet in &among {
        cold.add(bench.publish(publisher, packet)?);
    }
    let (mut emptied, mut known) = (Latencies::new(), Latencies::new());
    let memory = vec![1u8; CACHES];
    let empty = || {
        for line in memory.iter().step_by(64) {
            black_box(*line);
        }
    };
    for packet in among.iter().take(ALONE as usize) {
        empty();
        emptied.add(bench.publish(publisher, packet)?);
        empty();
        known.add(bench.publish(publisher, packet)?);
    }

    let shown = |case: &str, times: &Latencies, bound: Option<Duration>| {
        let times = times.quantiles();
        let demand = bound.map(|bound| (format!("at most {}", micros(bound)), times.p99 <= bound));
        Figure {
            case: format!("{case}: p50 / p99"),
            figure: format!("{} / {}", micros(times.p50), micros(times.p99)),
            demand,
        }
    };
    Ok(vec![
        shown(
            &format!("PUBLISH matched among them, warm: {FEW} topics in turns"),
            &warm,
            Some(MATCH),
        ),
        shown(
            "PUBLISH matched among them, cold: any of the topics",
            &cold,
            Some(MATCH),
        ),
        shown(
            "PUBLISH matched among them, the caches emptied before",
            &emptied,
            None,
        ),
        shown(
            "PUBLISH to the same topic again, the caches emptied before",
            &known,
            None,
        ),
    ])
}

/// What retained topics take, and a lookup by wildcard among ever more of them.
fn retained(bench: &mut Bench, sizes: &[u32]) -> Outcome<Vec<Figure>> {
    let publisher = bench.connect(0);
    let (mut grown, mut text, mut there) = (0.0, 0, 0);
    let mut lookups: [Vec<Lookup>; FILTERS.len()] = Default::default();
    for &size in sizes {
        let mut packets = Vec::new();
        for topic in (there..size).map(topic) {
            text += topic.len() + PAYLOAD.len();
            packets.extend(publish(0x31, &topic, PAYLOAD));
        }
        grown += bench.grown_by(&packets, &[publisher]);
        there = size;
        let kept = bench.broker.sizes().retained;
        if kept != size as usize {
            return Err(format!("expected {size} retained messages, got {kept}"));
        }
        for (filter, lookups) in FILTERS.iter().zip(&mut lookups) {
            lookups.push(bench.lookup(filter, size)?);
        }
    }
    let each = (grown - text as f64) / f64::from(there);
    let mut figures = vec![Figure {
        case: format!(
            "{} retained topics, each beyond topic and payload",
            thousands(f64::from(there))
        ),
        figure: format!("{each:.0} bytes"),
        demand: None,
    }];
    for (filter, lookups) in FILTERS.iter().zip(&lookups) {
        let fewest = lookups.first().map_or(0, |lookup| lookup.looks);
        figures.extend(lookups.iter().map(|lookup| Figure {
            case: format!(
                "`{filter}` among {} of them: p50 / p99, topics looked at",
                thousands(f64::from(lookup.among))
            ),
            figure: format!(
                "{} / {}, {}",
                micros(lookup.times.p50),
                micros(lookup.times.p99),
                lookup.looks
            ),
            demand: Some((format!("at most {fewest} topics"), lookup.looks <= fewest)),
        }));
    }
    Ok(figures)
}

/// What it took to find one retained topic.
struct Lookup {
    among: u32,
    times: Quantiles,
    /// How many topics were looked at.
    looks: usize,
}

/// A broker and its time.
struct Bench {
    broker: Broker,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            max_subscriptions: usize::MAX,
            max_retained_messages: usize::MAX,
            ..Settings::default()
        };
        let broker = Broker::new(settings, || 1, NOW);
        Self { broker }
    }

    fn connect(&mut self, n: u32) -> ConnectionId {
        let client = self
            .broker
            .open(Arc::new(Meter::default()), Limits::default(), NOW);
        let connect = Connect {
            client_id: &format!("c{n}"),
            clean: true,
            login: None,
        };
        self.broker.receive(client, &connect.packet(), None, NOW);
        self.broker
            .login_answer(client, Ok(Arc::new(AllowAll)), NOW);
        self.drain();
        client
    }

    /// Takes packets, of each client in turn, and gives the bytes that became resident with that. All are made before,
    /// as what comes from a socket does not lie between what the broker keeps either.
    fn grown_by(&mut self, packets: &[u8], clients: &[ConnectionId]) -> f64 {
        let before = resident(std::process::id());
        let (mut rest, mut clients) = (packets, clients.iter().cycle());
        while let (Some((_, _, after)), Some(client)) = (split(rest), clients.next()) {
            let packet = &rest[..rest.len() - after.len()];
            self.broker.receive(*client, packet, None, NOW);
            self.drain();
            rest = after;
        }
        resident(std::process::id()) as f64 - before as f64
    }

    /// As if all were sent and stored; how many bytes that were.
    fn drain(&mut self) -> usize {
        let mut sent = 0;
        while let Some(client) = self.broker.next_touched() {
            let output = self.broker.output(client);
            if let Some(buffer) = output.and_then(|output| output.buffer()) {
                sent += buffer.len();
                buffer.clear();
            }
        }
        self.broker.take_events();
        self.broker.journal().clear();
        sent
    }

    /// How many nanoseconds it takes to read a PUBLISH, match it and write it for its one subscriber.
    fn publish(&mut self, publisher: ConnectionId, packet: &[u8]) -> Outcome<u64> {
        let start = Instant::now();
        self.broker.receive(publisher, packet, None, NOW);
        let time = start.elapsed().as_nanos() as u64;
        // At QoS 0 the subscriber gets the same bytes.
        match self.drain() {
            sent if sent == packet.len() => Ok(time),
            sent => Err(format!("expected {} bytes, got {sent}", packet.len())),
        }
    }

    /// How long it takes to find what a filter matches, and how many topics are looked at.
    fn lookup(&self, filter: &str, among: u32) -> Outcome<Lookup> {
        let cursor = self.broker.look_for_retained(Some(filter));
        let cursor = cursor.ok_or("not a filter")?;
        let (mut steps, mut looks) = (cursor.clone(), 1);
        while self.broker.look_at_retained(&mut steps, (2, 1), |_| ()) {
            looks += 1;
        }
        let mut times = Latencies::new();
        for _ in 0..LOOKUPS {
            let (mut cursor, mut found) = (cursor.clone(), Vec::new());
            let start = Instant::now();
            let wanted = (usize::MAX, usize::MAX);
            self.broker.look_at_retained(&mut cursor, wanted, |view| {
                found.push(view.message.topic.clone());
            });
            times.add(start.elapsed().as_nanos() as u64);
            if found != [topic(WANTED).into()] {
                return Err(format!("{filter}: expected one topic, got {found:?}"));
            }
        }
        let times = times.quantiles();
        Ok(Lookup {
            among,
            times,
            looks,
        })
    }
}

/// Five levels, as a fleet has them.
fn topic(n: u32) -> String {
    format!("fleet/{}/{}/device{n}/state", n % 10, n / 10 % 100)
}

/// What its subscriber has subscribed to, which matches it alone: of a hundred, ten with `+` at the end, one with `#`
/// and one with `+` where all others have a level of their own.
fn filter(n: u32) -> String {
    let topic = topic(n);
    let without_end = || topic.trim_end_matches("state");
    match n % 100 {
        17 => format!("{}#", without_end()),
        71 => format!("fleet/+/{}/device{n}/state", n / 10 % 100),
        end if end % 10 == 3 => format!("{}+", without_end()),
        _ => topic,
    }
}

fn publish(first: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(first, &[&string(topic), payload].concat())
}

fn micros(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_reaches_its_one_subscriber() {
        let mut bench = Bench::new();
        subscriptions(&mut bench, 2_000).unwrap();
        let publisher = bench.connect(SESSIONS);
        let packet = |n| publish(0x30, &topic(n), b"");
        assert!(bench.publish(publisher, &packet(1_999)).is_ok());
        let nobodys = bench.publish(publisher, &packet(2_000)).unwrap_err();
        assert!(nobodys.ends_with("got 0"), "{nobodys}");
    }

    #[test]
    fn what_is_looked_at_does_not_grow_with_what_is_retained() {
        let mut bench = Bench::new();
        let figures = retained(&mut bench, &[8_000, 80_000]).unwrap();
        assert_eq!(figures.len(), 1 + 2 * FILTERS.len());
        for figure in &figures[1..] {
            assert!(matches!(figure.demand, Some((_, true))), "{figure:?}");
        }
        // All that there is matches this one: more than the one topic that is wanted.
        assert!(bench.lookup("fleet/#", 80_000).is_err());
    }
}
