//! mosquitto_pub and mosquitto_sub: messages of QoS 1 and 2 with numbers, on connections that stay open.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::place::Place;
use super::programs::{command, terminate, wait};
use super::tally::{Kind, Tally};
use crate::Outcome;

const LOAD: &str = "mosquitto";
/// Between two messages of a publisher.
const PAUSE: Duration = Duration::from_millis(20);
/// What did not arrive for so long is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The numbers of one topic that arrived.
#[derive(Debug, Default)]
struct Arrived {
    next: u64,
    missing: BTreeSet<u64>,
}

impl Arrived {
    /// What an arrival says: nothing, or that it was there before.
    fn take(&mut self, number: u64) -> Option<Kind> {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            None
        } else if self.missing.remove(&number) {
            None
        } else {
            Some(Kind::Duplicate)
        }
    }
}

/// One subscriber with a kept session to a publisher of QoS 1 and one of QoS 2.
pub fn load(tally: &Tally, place: &Place) -> Outcome {
    let arrived = [
        Mutex::new(Arrived::default()),
        Mutex::new(Arrived::default()),
    ];
    let mut subscriber = start(place, "mosquitto_sub", |sub| {
        sub.args([
            "-i",
            "mosquitto-sub",
            "-c",
            "-q",
            "2",
            "-F",
            "message %t %p",
        ]);
        sub.args(["-t", "mosquitto/1", "-t", "mosquitto/2"]);
    })?;
    let output = subscriber.stdout.take().ok_or("mosquitto_sub: no output")?;
    thread::scope(|scope| -> Outcome {
        let (subscribed, wait_subscribed) = std::sync::mpsc::channel();
        let arrived = &arrived;
        scope.spawn(move || {
            let mut connected = false;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(message) = line.strip_prefix("message mosquitto/") {
                    take(tally, arrived, message);
                } else if line.contains("received SUBACK") {
                    let _ = subscribed.send(());
                } else {
                    watch(tally, &mut connected, &line);
                }
            }
        });
        let all = || -> Outcome {
            if wait_subscribed.recv_timeout(PATIENCE).is_err() {
                return Err("mosquitto_sub: no SUBACK".to_string());
            }
            let publishers = ["1", "2"].map(|qos| scope.spawn(move || publish(tally, place, qos)));
            let sent = publishers.map(|publisher| {
                publisher
                    .join()
                    .unwrap_or_else(|_| Err("a publisher panicked".into()))
            });
            for (sent, arrived) in sent.into_iter().zip(arrived) {
                let sent = sent?;
                let deadline = Instant::now() + PATIENCE;
                let lacking = || {
                    let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                    sent.saturating_sub(arrived.next) + arrived.missing.len() as u64
                };
                while lacking() > 0 && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(20));
                }
                for _ in 0..lacking() {
                    tally.fail(LOAD, Kind::Lost, &format!("{} of {sent}", lacking()));
                }
            }
            Ok(())
        };
        let outcome = all();
        // Its end is the end of the thread that reads from it.
        terminate(&subscriber);
        wait(&mut subscriber, PATIENCE);
        outcome
    })
}

/// Writes a number a line until the end; gives how many.
fn publish(tally: &Tally, place: &Place, qos: &str) -> Outcome<u64> {
    let mut publisher = start(place, "mosquitto_pub", |publisher| {
        publisher.args(["-i", &format!("mosquitto-pub-{qos}"), "-q", qos]);
        publisher.args(["-t", &format!("mosquitto/{qos}"), "-l"]);
    })?;
    let output = publisher.stdout.take().ok_or("mosquitto_pub: no output")?;
    let mut input = publisher.stdin.take().ok_or("mosquitto_pub: no input")?;
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut connected = false;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                watch(tally, &mut connected, &line);
            }
        });
        let mut sent = 0;
        while !tally.is_over() && writeln!(input, "{sent}").is_ok() {
            sent += 1;
            tally.done(LOAD, 1);
            thread::sleep(PAUSE);
        }
        let early = !tally.is_over();
        // The end of its input: it waits for what is to be acknowledged and disconnects.
        drop(input);
        let code = wait(&mut publisher, PATIENCE);
        if early || code != Some(0) {
            tally.fail(
                LOAD,
                Kind::Disconnected,
                &format!("mosquitto_pub ended with {code:?}"),
            );
        }
        Ok(sent)
    })
}

fn start(place: &Place, program: &str, arguments: impl FnOnce(&mut Command)) -> Outcome<Child> {
    // Its output is a pipe; each line is wanted at once.
    let mut command = command("stdbuf")?;
    command.args(["-oL", program]);
    command.args(["-d", "-V", "mqttv311", "-k", "20", "-h", "127.0.0.1"]);
    command.args(["-p", &place.mqtt.to_string(), "-u", "bench", "-P", "bench"]);
    arguments(&mut command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))
}

/// Every connection after the first is one too many.
fn watch(tally: &Tally, connected: &mut bool, line: &str) {
    if line.contains("received CONNACK") && std::mem::replace(connected, true) {
        tally.fail(LOAD, Kind::Disconnected, "it connected again");
    }
}

fn take(tally: &Tally, arrived: &[Mutex<Arrived>; 2], message: &str) {
    let (qos, number) = message.split_once(' ').unwrap_or_default();
    let (Ok(qos), Ok(number)) = (qos.parse::<usize>(), number.parse()) else {
        return tally.fail(LOAD, Kind::Bytes, message);
    };
    let Some(arrived) = arrived.get(qos.wrapping_sub(1)) else {
        return tally.fail(LOAD, Kind::Bytes, message);
    };
    let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
    // QoS 1 is at least once.
    if let Some(kind) = arrived.take(number).filter(|_| qos == 2) {
        tally.fail(LOAD, kind, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_may_come_later_and_only_once() {
        let mut arrived = Arrived::default();
        let kinds = [0, 1, 4, 2, 2, 1].map(|number| arrived.take(number));
        let twice = Some(Kind::Duplicate);
        assert_eq!(kinds, [None, None, None, None, twice, twice]);
        assert_eq!(arrived.missing, BTreeSet::from([3]));
    }
}
