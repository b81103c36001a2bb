//! `cargo xtask bench mqtt`: MQTT beside mosquitto, a broker on one core and the load on another.
//!
//! The brokers take turns; each figure is the median of the rounds. The load has its own clients, all
//! in one thread on epoll.

mod arrivals;
mod brokers;
mod cases;
mod clients;
mod demand;
pub mod hostile;
mod latency;
mod link;
mod load;
pub mod million;
pub mod packets;
mod round;
mod table;
mod ticks;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::brokers::{Broker, LOGIN};
use self::cases::{Asked, CASES, Case, Store};
use self::demand::{Demand, Figure, Verdict};
use self::load::Load;
use self::round::{Round, median_round};
use super::harness::{Core, on_core};
use crate::Outcome;

const ROUNDS: usize = 3;

/// Connections with one subscription each.
const IDLE: [usize; 2] = [10_000, 50_000];
/// Files that a broker and the load have open beside those connections.
const OTHER_FILES: u64 = 200;

const MIB: f64 = 1024.0 * 1024.0;

/// What of it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Only the cases with this in their names.
    pub part: Option<String>,
    /// What counts of each round.
    pub time: Duration,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            part: None,
            time: Duration::from_millis(2500),
        }
    }
}

/// What a case came to at the two brokers.
struct Detail {
    case: String,
    rounds: [Round; 2],
}

/// The cases, as tables.
pub fn bench(choice: &Choice) -> Outcome<String> {
    let part = choice.part.as_deref();
    let wanted = |name: &str| part.is_none_or(|part| name.contains(part));
    let files = more_files()?;
    let brokers = [Broker::polyport()?, Broker::mosquitto()?];
    let before = brokers.each_ref().map(Broker::memory);
    let (mut verdicts, mut details) = (Vec::new(), Vec::new());
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        let (verdict, detail) = messages(case, choice.time, &brokers)?;
        verdicts.push(verdict);
        details.push(detail);
    }
    if wanted("CONNECT") {
        let (verdict, detail) = connects(choice.time, &brokers)?;
        verdicts.push(verdict);
        details.push(detail);
    }
    for count in IDLE.into_iter().filter(|_| wanted("idle")) {
        verdicts.push(idle(count, files)?);
    }
    if part.is_none() {
        verdicts.push(memory_after(&brokers, before)?);
    }
    let names = brokers.map(|broker| broker.server.name);
    table::tables(&names, &verdicts, &details)
}

/// Runs `load` against each broker in turns.
fn rounds(
    case: &str,
    brokers: &[Broker; 2],
    load: impl Fn(&Broker) -> Outcome<Round>,
) -> Outcome<[Round; 2]> {
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (broker, rounds) in brokers.iter().zip(&mut rounds) {
            let name = &broker.server.name;
            let round = on_core(Core::Load, || load(broker));
            let round = round.map_err(|e| format!("{case}: {name}: {e}"))?;
            println!("  {case}: {name}: {}", table::line(&round));
            rounds.push(round);
        }
    }
    let [ours, peer] = rounds.map(|rounds| median_round(&rounds));
    Ok([ours.ok_or("no rounds")?, peer.ok_or("no rounds")?])
}

fn messages(case: &Case, time: Duration, brokers: &[Broker; 2]) -> Outcome<(Verdict, Detail)> {
    let rounds = rounds(case.name, brokers, |broker| {
        let load = Load { time, ..case.load };
        load::run(broker.port(case.store), broker.server.pid, load)
    })?;
    let [ours, peer] = rounds.map(|round| match case.asked {
        Asked::PerSecond => Figure::PerSecond(round.per_second),
        Asked::P99 => Figure::P99(round.latency.p99),
    });
    let verdict = Verdict {
        case: case.name.into(),
        ours,
        peer,
        demand: case.demand,
    };
    let case = case.name.into();
    Ok((verdict, Detail { case, rounds }))
}

/// Clients that log in, subscribe and go. The first login, which costs a hash, comes before.
fn connects(time: Duration, brokers: &[Broker; 2]) -> Outcome<(Verdict, Detail)> {
    let case = "CONNECT and SUBSCRIBE, with a login";
    let rounds = rounds(case, brokers, |broker| {
        let (port, pid) = (broker.port(Store::Always), broker.server.pid);
        arrivals::once(port, LOGIN)?;
        arrivals::storm(port, pid, LOGIN, time)
    })?;
    let [ours, peer] = rounds.map(|round| Figure::PerSecond(round.per_second));
    let verdict = Verdict {
        case: case.into(),
        ours,
        peer,
        demand: Some(Demand {
            bound: 10_000.0,
            ratio: Some(1.5),
        }),
    };
    let case = case.into();
    Ok((verdict, Detail { case, rounds }))
}

/// What connections cost that do nothing, each broker fresh from its start.
fn idle(wanted: usize, files: u64) -> Outcome<Verdict> {
    let most = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    let count = wanted.min(most);
    let each = |broker: Broker| {
        let before = broker.memory();
        let (pid, port) = (broker.server.pid, broker.port(Store::Always));
        let crowd = on_core(Core::Load, || arrivals::crowd(port, count));
        let name = &broker.server.name;
        let crowd = crowd.map_err(|e| format!("{count} idle connections: {name}: {e}"))?;
        let after = broker.memory();
        let each = (after as f64 - before as f64) / crowd.len() as f64;
        println!("  {count} idle connections: {name} ({pid}): {each:.0} bytes each");
        Ok::<_, String>(Figure::BytesEach(each))
    };
    let limited = match count < wanted {
        true => format!(
            " ({} are more files than this machine lets a process have)",
            demand::thousands(wanted as f64)
        ),
        false => String::new(),
    };
    Ok(Verdict {
        case: format!(
            "{} idle connections, a subscription each{limited}",
            demand::thousands(count as f64)
        ),
        ours: each(Broker::polyport()?)?,
        peer: each(Broker::mosquitto()?)?,
        demand: Some(Demand {
            bound: 2048.0,
            ratio: None,
        }),
    })
}

/// What is left of all that went before, and of a crowd that came and went.
fn memory_after(brokers: &[Broker; 2], before: [u64; 2]) -> Outcome<Verdict> {
    let mut above = [0.0; 2];
    for ((broker, before), above) in brokers.iter().zip(before).zip(&mut above) {
        let port = broker.port(Store::Always);
        let [count, _] = IDLE;
        drop(on_core(Core::Load, || arrivals::crowd(port, count))?);
        let after = broker.memory();
        let [before, after] = [before, after].map(|bytes| bytes as f64 / MIB);
        println!(
            "  memory: {}: {before:.1} MiB at the start, {after:.1} MiB now",
            broker.server.name
        );
        *above = (after - before) * MIB;
    }
    let [ours, peer] = above.map(Figure::BytesAbove);
    Ok(Verdict {
        case: "resident after all runs, above the start".into(),
        ours,
        peer,
        demand: Some(Demand {
            bound: 20.0,
            ratio: None,
        }),
    })
}

/// As many open files as the system gives, for this process and those that it starts.
fn more_files() -> Outcome<u64> {
    let files = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, most).map_err(|e| format!("cannot have more files open: {e}"))?;
    Ok(files.maximum.unwrap_or(u64::MAX))
}

/// The loads against mosquitto, which is known to work.
#[cfg(test)]
mod tests {
    use super::load::Pace;
    use super::*;

    const SHORT: Load = Load {
        groups: 3,
        publishers: 1,
        subscribers: 1,
        qos: 0,
        payload: 64,
        pace: Pace::Credit {
            window: 20,
            batch: 10,
        },
        kept: false,
        time: Duration::from_millis(200),
    };

    #[test]
    fn every_message_is_delivered_and_counted() {
        let broker = Broker::mosquitto().unwrap();
        let (port, pid) = (broker.port(Store::Always), broker.server.pid);
        for qos in [0, 1, 2] {
            for (groups, publishers, subscribers) in [(3, 1, 1), (1, 1, 5), (1, 5, 1), (2, 3, 4)] {
                let load = Load {
                    qos,
                    groups,
                    publishers,
                    subscribers,
                    kept: qos > 0,
                    ..SHORT
                };
                let round = load::run(port, pid, load).unwrap();
                let all = (groups * publishers * subscribers) as u64;
                assert!(round.sent >= 20 * all, "{load:?}: {round:?}");
                assert_eq!(round.lost, 0, "{load:?}");
                assert!(round.per_second > 100.0, "{load:?}: {round:?}");
            }
        }
    }

    #[test]
    fn a_fixed_pace_is_kept() {
        let broker = Broker::mosquitto().unwrap();
        let load = Load {
            qos: 1,
            pace: Pace::Fixed(2000),
            ..SHORT
        };
        let round = load::run(broker.port(Store::Always), broker.server.pid, load).unwrap();
        assert!((1500.0..2500.0).contains(&round.per_second), "{round:?}");
        assert_eq!(round.lost, 0);
        let latency = round.latency;
        assert!(Duration::ZERO < latency.p50 && latency.p50 <= latency.p99);
    }

    #[test]
    fn clients_come_and_stay_or_go() {
        let broker = Broker::mosquitto().unwrap();
        let (port, pid) = (broker.port(Store::Always), broker.server.pid);
        assert_eq!(arrivals::crowd(port, 100).unwrap().len(), 100);
        arrivals::once(port, LOGIN).unwrap();
        assert!(arrivals::once(port, ("bench", "wrong")).is_err());
        let round = arrivals::storm(port, pid, LOGIN, Duration::from_millis(200)).unwrap();
        assert!(round.sent > 64, "{round:?}");
    }
}
