//! The `$SYS` tree: what the broker tells of itself in retained messages, in the words of mosquitto(8).
//!
//! Nothing is counted for it that a message would notice; sums over sessions are made where it is published. Its
//! messages are never stored.

use std::fmt::Write;

use super::{Broker, Totals};
use crate::time::Time;

/// What passed connections, since the start of the first broker that handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes taken.
    pub bytes_received: u64,
    /// Bytes handed out.
    pub bytes_sent: u64,
    /// Packets of any type taken.
    pub packets_received: u64,
    /// Packets of any type sent.
    pub packets_sent: u64,
    /// Payload bytes of PUBLISH packets taken.
    pub payload_received: u64,
    /// Payload bytes of PUBLISH packets sent.
    pub payload_sent: u64,
    /// CONNECT packets taken.
    pub connects: u64,
    /// Network connections accepted.
    pub sockets: u64,
    /// Sessions that ended because their time had come.
    pub sessions_expired: u64,
}

impl Traffic {
    pub(super) fn totals_mut(&mut self) -> [&mut u64; 9] {
        [
            &mut self.bytes_received,
            &mut self.bytes_sent,
            &mut self.packets_received,
            &mut self.packets_sent,
            &mut self.payload_received,
            &mut self.payload_sent,
            &mut self.connects,
            &mut self.sockets,
            &mut self.sessions_expired,
        ]
    }

    pub(super) fn totals(mut self) -> [u64; 9] {
        self.totals_mut().map(|total| *total)
    }
}

/// What the host of the broker knows and it does not.
#[derive(Clone, Copy, Debug)]
pub struct SysFacts<'a> {
    /// Name and version of the program.
    pub version: &'a str,
    /// Bytes of memory that the process has, if that is known.
    pub heap: Option<u64>,
    /// Sums over all sessions.
    pub totals: Totals,
}

/// Names of averages, in the order of [`Broker::loads`].
const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];
/// Seconds and name of each average.
const SPANS: [(f64, &str); 3] = [(60.0, "1min"), (300.0, "5min"), (900.0, "15min")];

/// What the tree needs to remember.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sys {
    pub(super) started: Time,
    /// When it was last published, and the numbers of then that averages are made of.
    pub(super) last: Option<(Time, [u64; LOADS.len()])>,
    pub(super) averages: [[f64; SPANS.len()]; LOADS.len()],
    pub(super) most_connected: u64,
    pub(super) most_heap: u64,
}

impl Sys {
    pub(super) fn new(now: Time) -> Sys {
        Sys {
            started: now,
            last: None,
            averages: Default::default(),
            most_connected: 0,
            most_heap: 0,
        }
    }

    /// Moving averages for each minute, as mosquitto makes them: the first is the rate itself towards nothing before.
    fn advance(&mut self, now: Time, numbers: [u64; LOADS.len()]) {
        let Some((before, old)) = self.last.replace((now, numbers)) else {
            return;
        };
        let seconds = now.0.saturating_sub(before.0) as f64 / 1_000.0;
        if seconds <= 0.0 {
            self.last = Some((before, old));
            return;
        }
        for ((averages, new), old) in self.averages.iter_mut().zip(numbers).zip(old) {
            let rate = new.saturating_sub(old) as f64 * 60.0 / seconds;
            for (average, (span, _)) in averages.iter_mut().zip(SPANS) {
                *average = rate + (-seconds / span).exp() * (*average - rate);
            }
        }
    }
}

impl Broker {
    /// Publishes those values of the tree that changed since it was last published.
    pub fn publish_sys(&mut self, facts: &SysFacts<'_>, now: Time) {
        self.now = now;
        let loads = self.loads();
        self.sys.advance(now, loads);
        let SysFacts {
            version,
            heap,
            totals,
        } = facts;
        self.sys.most_connected = self.sys.most_connected.max(totals.connected);
        let uptime = now.0.saturating_sub(self.sys.started.0) / 1_000;
        self.tell("version", &[], version);
        self.tell("uptime", &[], &format!("{uptime} seconds"));
        let counters = self.counters;
        let traffic = counters.traffic;
        let kept = totals.kept + self.retained.total() as u64;
        let kept_bytes = totals.kept_bytes + self.retained.bytes() as u64;
        let shared = self.subscriptions.shared() as u64;
        let subscriptions = self.subscriptions.len() as u64 - shared;
        let numbers: [(&str, u64); 25] = [
            ("clients/total", totals.connected + totals.disconnected),
            ("clients/connected", totals.connected),
            ("clients/active", totals.connected),
            ("clients/disconnected", totals.disconnected),
            ("clients/inactive", totals.disconnected),
            ("clients/maximum", self.sys.most_connected),
            ("clients/expired", traffic.sessions_expired),
            ("messages/received", traffic.packets_received),
            ("messages/sent", traffic.packets_sent),
            ("messages/stored", kept),
            ("messages/inflight", totals.in_flight),
            ("store/messages/count", kept),
            ("store/messages/bytes", kept_bytes),
            ("retained messages/count", self.retained.total() as u64),
            ("subscriptions/count", subscriptions),
            ("shared_subscriptions/count", shared),
            ("bytes/received", traffic.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("publish/bytes/received", traffic.payload_received),
            ("publish/bytes/sent", traffic.payload_sent),
            ("publish/messages/received", counters.messages_received),
            ("publish/messages/sent", counters.messages_sent),
            ("publish/messages/dropped", counters.messages_dropped),
            ("heap/current", heap.unwrap_or(0)),
            ("heap/maximum", self.sys.most_heap.max(heap.unwrap_or(0))),
        ];
        self.sys.most_heap = self.sys.most_heap.max(heap.unwrap_or(0));
        for (name, number) in numbers {
            if heap.is_some() || !name.starts_with("heap/") {
                self.tell(name, &[], &number.to_string());
            }
        }
        for (at, name) in LOADS.into_iter().enumerate() {
            for (span, (_, minutes)) in SPANS.into_iter().enumerate() {
                let average = self.sys.averages[at][span];
                self.tell("load", &[name, minutes], &format!("{average:.2}"));
            }
        }
    }

    /// Takes the tree away: nobody is to read what is not true any more.
    pub fn clear_sys(&mut self, now: Time) {
        self.now = now;
        let mut found = Vec::new();
        let mut search = self.retained.search("$SYS/broker/#");
        while self.retained.find(&mut search, 64, 64, &mut found) {}
        for message in found.into_iter().map(|found| found.message) {
            // What bridges tell of themselves is theirs.
            if !message.topic.starts_with("$SYS/broker/connection/") {
                self.retained.remove(&message.topic);
            }
        }
        self.sys.last = None;
    }

    fn loads(&self) -> [u64; LOADS.len()] {
        let counters = &self.counters;
        let traffic = &counters.traffic;
        [
            traffic.packets_received,
            traffic.packets_sent,
            counters.messages_dropped,
            counters.messages_received,
            counters.messages_sent,
            traffic.bytes_received,
            traffic.bytes_sent,
            traffic.sockets,
            traffic.connects,
        ]
    }

    fn tell(&mut self, name: &str, levels: &[&str], value: &str) {
        let mut topic = String::from("$SYS/broker/");
        topic.push_str(name);
        for level in levels {
            // Writing to a string cannot fail.
            let _ = write!(topic, "/{level}");
        }
        let is_known = self
            .retained
            .get(&topic)
            .is_some_and(|message| message.payload == value.as_bytes());
        if !is_known {
            let now = self.now;
            self.publish_own(&topic, value.as_bytes(), true, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_come_near_a_steady_rate_and_fade() {
        let mut sys = Sys::new(Time(0));
        let mut numbers = [0; LOADS.len()];
        sys.advance(Time(0), numbers);
        for second in 1..=60 {
            numbers[0] += 2;
            sys.advance(Time(second * 1_000), numbers);
        }
        // 120 a minute: 1 - 1/e of it after a minute, less over longer spans.
        let [one, five, fifteen] = sys.averages[0];
        assert!((one - 75.85).abs() < 0.1, "{one}");
        assert!((five - 21.75).abs() < 0.1, "{five}");
        assert!((fifteen - 7.74).abs() < 0.1, "{fifteen}");
        assert_eq!(sys.averages[1], [0.0; 3]);
        sys.advance(Time(60_000), numbers);
        assert_eq!(sys.averages[0][0], one, "no time has passed");
        sys.advance(Time(3_660_000), numbers);
        assert!(sys.averages[0][0] < 0.01);
    }
}
