//! Replays the engine's transcripts against the real host (T1-T9), on the real clock.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

#[path = "../core/tests/transcript/mod.rs"]
mod transcript;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use polyport_testkit::Host;
use transcript::Case;

/// Longer cases are for the engine's own clock.
const LONGEST: Duration = Duration::from_secs(7);

/// The rights that the engine's transcripts count on.
const ACCOUNTS: &str = "\
[alice]
name = alice
password = wonderland
deny.denied = publish,subscribe denied/#

[anonymous]
services = mqtt
deny.denied = publish,subscribe denied/#
deny.private = subscribe private/#
";

struct Live<'a> {
    host: &'a mut Host,
    /// Another instance takes over before every step, and within packets.
    swaps: bool,
    clients: BTreeMap<String, TcpStream>,
}

impl Live<'_> {
    fn swap(&self) {
        if self.swaps {
            let _ = self.host.command(&["restart", "mqtt"]).expect_success();
        }
    }
}

impl transcript::Broker for Live<'_> {
    fn connect(&mut self, client: &str) {
        self.clients
            .insert(client.to_owned(), self.host.connect("mqtt"));
    }

    fn send(&mut self, client: &str, bytes: &[u8]) {
        let halves = bytes.split_at(if self.swaps { bytes.len() / 2 } else { 0 });
        for bytes in [halves.0, halves.1] {
            self.swap();
            // The broker may have closed already: what it said before that is what the case looks at.
            let _ = (&self.clients[client]).write_all(bytes);
        }
    }

    fn receive(&mut self, client: &str) -> Vec<u8> {
        self.swap();
        let mut buffer = vec![0; 4096];
        match (&self.clients[client]).read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                buffer
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::WouldBlock
                ) =>
            {
                Vec::new()
            }
            Err(error) => panic!("{client}: {error}"),
        }
    }

    fn is_closed(&mut self, client: &str) -> bool {
        let mut byte = [0];
        match (&self.clients[client]).read(&mut byte) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Waits until the broker has ended its side too: then it knows that the client is gone.
    fn close(&mut self, client: &str) {
        self.swap();
        if let Some(mut stream) = self.clients.remove(client) {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }

    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn restart(&mut self) {
        self.clients.clear();
        self.host.kill9();
        self.host.start();
    }
}

#[test]
fn every_transcript_replays_against_the_real_host() {
    replay(false);
}

#[test]
fn every_transcript_replays_with_another_instance_taking_over_at_every_step() {
    replay(true);
}

fn replay(swaps: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/transcripts");
    let mut by_settings: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in transcript::load(&folder) {
        if case.duration() <= LONGEST && !case.engine_only {
            by_settings
                .entry(case.settings.clone())
                .or_default()
                .push(case);
        }
    }
    let runs: Vec<(String, Vec<Case>)> = by_settings
        .into_iter()
        .flat_map(|(settings, cases)| {
            let runs: Vec<_> = cases
                .chunks(30)
                .map(|run| (settings.clone(), run.to_vec()))
                .collect();
            runs
        })
        .collect();
    // Most of a run is waiting: several hosts at once.
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((settings, cases)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let failed = play(settings, cases, swaps);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let played: usize = runs.iter().map(|(_, cases)| cases.len()).sum();
    assert!(
        failures.is_empty(),
        "{} of {played} cases failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(played > 90, "only {played} cases were played");
}

fn play(settings: &str, cases: &[Case], swaps: bool) -> Vec<String> {
    let mut host = Host::builder()
        .service("mqtt")
        .settings("mqtt", settings)
        .accounts(ACCOUNTS)
        .start();
    let play = |case| {
        let mut live = Live {
            host: &mut host,
            swaps,
            clients: BTreeMap::new(),
        };
        transcript::play(case, &mut live).err()
    };
    cases.iter().filter_map(play).collect()
}
