//! Two servers in turns under the same load, and what each used for it.

use polyport_testkit::Host;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::peers::Peer;
use super::usage::{MemoryWatch, cpu_seconds};
use crate::Outcome;

/// Rounds that count; one more goes before them to warm up.
const ROUNDS: usize = 5;

/// A server under test.
pub struct Server {
    pub name: String,
    pub pid: u32,
    pub port: u16,
    _runs: Runs,
}

/// What keeps the process alive; dropping it ends it.
enum Runs {
    #[expect(dead_code, reason = "held for its Drop")]
    Host(Box<Host>),
    #[expect(dead_code, reason = "held for its Drop")]
    Peer(Peer),
}

impl Server {
    /// Starts polyport; `service` names the port that the load goes to.
    pub fn ours(service: &str, mut host: Host) -> Outcome<Self> {
        on_core(Core::Server, || {
            host.try_start()
                .map_err(|log| format!("polyport did not get ready:\n{log}"))
        })?;
        let version = env!("CARGO_PKG_VERSION");
        let (pid, port) = (host.pid(), host.port(service));
        Ok(Self {
            name: format!("polyport {version}"),
            pid,
            port,
            _runs: Runs::Host(Box::new(host)),
        })
    }

    /// Starts another server.
    pub fn peer(start: impl FnOnce() -> Outcome<Peer>) -> Outcome<Self> {
        let peer = on_core(Core::Server, start)?;
        let (pid, port) = (peer.pid(), peer.port);
        Ok(Self {
            name: peer.name.clone(),
            pid,
            port,
            _runs: Runs::Peer(peer),
        })
    }
}

/// What a load moved.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// In the case's [`Unit`].
    pub amount: f64,
    pub seconds: f64,
}

/// What is counted, and over how much of it CPU time is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Requests,
    Sessions,
    Bytes,
}

impl Unit {
    /// A throughput in this unit for a table.
    pub fn rate(self, per_second: f64) -> String {
        match self {
            Self::Requests => format!("{per_second:.0} req/s"),
            Self::Sessions => format!("{per_second:.0} sessions/s"),
            Self::Bytes => format!("{:.2} GiB/s", per_second / GIB),
        }
    }

    /// How much of it CPU seconds are given for.
    fn share(self) -> f64 {
        match self {
            Self::Bytes => GIB,
            Self::Requests | Self::Sessions => 1e6,
        }
    }

    pub fn cpu(self, seconds: f64) -> String {
        match self {
            Self::Bytes => format!("{seconds:.3} s/GiB"),
            Self::Requests | Self::Sessions => format!("{seconds:.2} s/million"),
        }
    }
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// One server's figures for a case: medians, memory the peak.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub per_second: f64,
    /// CPU seconds for a million operations or for a GiB.
    pub cpu: f64,
    pub memory: u64,
}

/// One case of a benchmark.
#[derive(Clone, Debug)]
pub struct Row {
    pub case: String,
    pub unit: Unit,
    pub peer_name: String,
    pub ours: Figures,
    pub peer: Figures,
}

/// Runs `load` on one core against the two servers in turns.
pub fn compare(
    case: &str,
    unit: Unit,
    ours: &Server,
    peer: &Server,
    mut load: impl FnMut(&Server) -> Outcome<Moved>,
) -> Outcome<Row> {
    let mut rounds = [Rounds::default(), Rounds::default()];
    for round in 0..=ROUNDS {
        for (server, rounds) in [ours, peer].into_iter().zip(&mut rounds) {
            let memory = on_core(Core::Load, || Ok(MemoryWatch::start(server.pid)))?;
            let before = cpu_seconds(server.pid);
            let moved = on_core(Core::Load, || load(server));
            let cpu = cpu_seconds(server.pid) - before;
            let memory = memory.finish();
            let moved = moved.map_err(|e| format!("{case}: {}: {e}", server.name))?;
            if moved.amount <= 0.0 || moved.seconds <= 0.0 {
                return Err(format!("{case}: {} did nothing", server.name));
            }
            let per_second = moved.amount / moved.seconds;
            println!("  {case}: {}: {}", server.name, unit.rate(per_second));
            if round > 0 {
                rounds.per_second.push(per_second);
                rounds.cpu.push(cpu / moved.amount * unit.share());
            }
            rounds.memory = rounds.memory.max(memory);
        }
    }
    let [our_rounds, peer_rounds] = rounds;
    Ok(Row {
        case: case.into(),
        unit,
        peer_name: peer.name.clone(),
        ours: our_rounds.figures(),
        peer: peer_rounds.figures(),
    })
}

#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    cpu: Vec<f64>,
    memory: u64,
}

impl Rounds {
    fn figures(self) -> Figures {
        Figures {
            per_second: median(self.per_second),
            cpu: median(self.cpu),
            memory: self.memory,
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    match values.len() % 2 {
        0 => {
            (upper
                + values
                    .get((values.len() / 2).saturating_sub(1))
                    .copied()
                    .unwrap_or_default())
                / 2.0
        }
        _ => upper,
    }
}

#[derive(Clone, Copy)]
pub enum Core {
    Server,
    Load,
}

/// Does `work` on a core of its own, if there are two; processes and threads started meanwhile stay there.
pub fn on_core<T>(core: Core, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let failed = |e| format!("cannot choose a core: {e}");
    let all = sched_getaffinity(None).map_err(failed)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    let first = allowed.next().ok_or("no core may be used")?;
    let mut one = CpuSet::new();
    one.set(match core {
        Core::Server => first,
        // Where there is only one, the figures say so: see `circumstances`.
        Core::Load => allowed.next().unwrap_or(first),
    });
    sched_setaffinity(None, &one).map_err(failed)?;
    let result = work();
    sched_setaffinity(None, &all).map_err(failed)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
