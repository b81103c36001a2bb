//! The connections of one service: in all, by listener, by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Source;
use super::bucket::Bucket;
use super::rules::Rules;
use crate::memory::Peak;

/// Addresses after which those without a connection are looked for and forgotten.
const SWEEP_FROM: usize = 1024;

/// One service's connections.
#[derive(Debug, Default)]
pub struct Counts {
    state: Mutex<State>,
    peak: Peak,
}

#[derive(Debug, Default)]
struct State {
    open: u64,
    listeners: HashMap<Arc<str>, u64>,
    sources: HashMap<(Scope, Source), Client>,
    sweep_at: usize,
}

/// Where an address is counted: at the service, and at the listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    Service,
    Listener(Arc<str>),
}

/// What is known of an address.
#[derive(Debug, Clone, Copy)]
struct Client {
    open: u64,
    /// There once it was held to a rate.
    arrivals: Option<(u64, Bucket)>,
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `max_connections`.
    Connections,
    /// `max_connections_per_address`.
    Address,
    /// `connection_rate`.
    Rate,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Admission {
    counts: Arc<Counts>,
    /// One text for all of a listener's connections.
    listener: Arc<str>,
    source: Option<Source>,
}

impl Counts {
    /// Counts a client in. One without an address, of a Unix socket, is held to `max_connections` alone.
    pub fn admit(
        self: &Arc<Self>,
        rules: &Rules,
        peer: Option<IpAddr>,
        now: Instant,
    ) -> Result<Admission, Refused> {
        let source = peer.map(Source::from);
        let mut state = self.lock();
        let of_listener = state.listeners.get(&rules.listener).copied().unwrap_or(0);
        let is_full = |open: u64, limit: u64| limit > 0 && open >= limit;
        if is_full(state.open, rules.service_connections)
            || (rules.own.connections && is_full(of_listener, rules.values.max_connections))
        {
            return Err(Refused::Connections);
        }
        if let Some(source) = source {
            let scope = |own| match own {
                true => (Scope::Listener(rules.listener.clone()), source),
                false => (Scope::Service, source),
            };
            let known = state.sources.get(&scope(rules.own.address));
            let open = known.map_or(0, |client| client.open);
            if is_full(open, rules.values.max_connections_per_address) {
                return Err(Refused::Address);
            }
            let rate = rules.values.connection_rate;
            if rate > 0 {
                let client = state
                    .sources
                    .entry(scope(rules.own.rate))
                    .or_insert(Client::NEW);
                if !client.arrives(rate, now) {
                    return Err(Refused::Rate);
                }
            }
        }
        let listener = Arc::clone(&rules.listener);
        state.count_in(&listener, source);
        state.sweep(now);
        drop(state);
        Ok(self.admission(listener, source))
    }

    /// Counts a client in that was let in before, by another process.
    pub fn count_in(self: &Arc<Self>, listener: &str, peer: Option<IpAddr>) -> Admission {
        let source = peer.map(Source::from);
        let mut state = self.lock();
        let known = state.listeners.get_key_value(listener);
        let listener = known.map_or_else(|| listener.into(), |(known, _)| Arc::clone(known));
        state.count_in(&listener, source);
        drop(state);
        self.admission(listener, source)
    }

    /// How many are let in now.
    pub fn open(&self) -> u64 {
        self.lock().open
    }

    fn admission(self: &Arc<Self>, listener: Arc<str>, source: Option<Source>) -> Admission {
        Admission {
            counts: Arc::clone(self),
            listener,
            source,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    const NEW: Self = Self {
        open: 0,
        arrivals: None,
    };

    fn arrives(&mut self, rate: u64, now: Instant) -> bool {
        let (last_rate, bucket) = self
            .arrivals
            .get_or_insert_with(|| (rate, Bucket::new(rate, now)));
        *last_rate = rate;
        bucket.take(rate, now)
    }

    /// Whether nothing would differ if it were not known.
    fn is_forgettable(&mut self, now: Instant) -> bool {
        let rested = match &mut self.arrivals {
            Some((rate, bucket)) => bucket.is_full(*rate, now),
            None => true,
        };
        self.open == 0 && rested
    }
}

impl State {
    fn count_in(&mut self, listener: &Arc<str>, source: Option<Source>) {
        if let Some(source) = source {
            for scope in [Scope::Service, Scope::Listener(Arc::clone(listener))] {
                let key = (scope, source);
                self.sources.entry(key).or_insert(Client::NEW).open += 1;
            }
        }
        self.open += 1;
        *self.listeners.entry(Arc::clone(listener)).or_default() += 1;
    }

    /// Forgets who left, each time that twice as many are known as were left over the last time.
    fn sweep(&mut self, now: Instant) {
        if self.sources.len() > self.sweep_at.max(SWEEP_FROM) {
            self.sources.retain(|_, client| !client.is_forgettable(now));
            self.sweep_at = self.sources.len() * 2;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.counts.lock();
        state.open -= 1;
        self.counts.peak.note(state.open);
        let listener = Arc::clone(&self.listener);
        if let Some(open) = state.listeners.get_mut(&listener) {
            *open -= 1;
            if *open == 0 {
                state.listeners.remove(&listener);
            }
        }
        let Some(source) = self.source else { return };
        for scope in [Scope::Service, Scope::Listener(listener)] {
            let key = (scope, source);
            if let Some(client) = state.sources.get_mut(&key) {
                client.open -= 1;
                if client.open == 0 && client.arrivals.is_none() {
                    state.sources.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polyport_abi::limits::LimitValues;

    use super::*;
    use crate::limits::rules::Own;

    fn rules(values: LimitValues) -> Rules {
        Rules {
            listener: "a".into(),
            values,
            service_connections: values.max_connections,
            own: Own::default(),
            proxies: Vec::new(),
        }
    }

    fn ip(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let counts = Arc::new(Counts::default());
        let rules = rules(LimitValues {
            max_connections: 3,
            max_connections_per_address: 2,
            ..LimitValues::default()
        });
        let now = Instant::now();
        let one = counts.admit(&rules, ip(1), now).unwrap();
        let two = counts.admit(&rules, ip(1), now).unwrap();
        assert_eq!(
            counts.admit(&rules, ip(1), now).unwrap_err(),
            Refused::Address
        );
        let three = counts.admit(&rules, None, now).unwrap();
        assert_eq!(
            counts.admit(&rules, ip(2), now).unwrap_err(),
            Refused::Connections
        );
        drop(one);
        let four = counts.admit(&rules, ip(1), now).unwrap();
        // Whoever was let in elsewhere is not turned away here.
        let more = [ip(1), ip(1), None].map(|peer| counts.count_in("a", peer));
        assert_eq!(
            counts.admit(&rules, ip(3), now).unwrap_err(),
            Refused::Connections
        );
        drop((two, three, four, more));
        let state = counts.lock();
        assert_eq!((state.open, state.sources.len()), (0, 0));
        assert!(state.listeners.is_empty());
    }

    #[test]
    fn what_a_listener_has_of_its_own_is_counted_there() {
        let counts = Arc::new(Counts::default());
        let now = Instant::now();
        let service = rules(LimitValues {
            max_connections_per_address: 2,
            ..LimitValues::default()
        });
        let own = Rules {
            listener: "b".into(),
            values: LimitValues {
                max_connections: 1,
                ..service.values
            },
            service_connections: 0,
            own: Own {
                connections: true,
                address: true,
                rate: false,
            },
            proxies: Vec::new(),
        };
        let held = [
            counts.admit(&service, ip(1), now).unwrap(),
            counts.admit(&service, ip(1), now).unwrap(),
            counts.admit(&own, ip(1), now).unwrap(),
        ];
        assert_eq!(
            counts.admit(&own, ip(2), now).unwrap_err(),
            Refused::Connections
        );
        assert_eq!(
            counts.admit(&service, ip(1), now).unwrap_err(),
            Refused::Address
        );
        drop(held);
        counts.admit(&own, ip(2), now).unwrap();
    }

    #[test]
    fn who_comes_too_often_waits_and_others_do_not() {
        let counts = Arc::new(Counts::default());
        let rules = rules(LimitValues {
            connection_rate: 2,
            ..LimitValues::default()
        });
        let start = Instant::now();
        for _ in 0..2 {
            counts.admit(&rules, ip(1), start).unwrap();
        }
        assert_eq!(
            counts.admit(&rules, ip(1), start).unwrap_err(),
            Refused::Rate
        );
        counts.admit(&rules, ip(2), start).unwrap();
        counts
            .admit(&rules, ip(1), start + Duration::from_millis(600))
            .unwrap();
    }

    #[test]
    fn addresses_are_not_remembered_for_ever() {
        let counts = Arc::new(Counts::default());
        let rules = rules(LimitValues {
            connection_rate: 1,
            ..LimitValues::default()
        });
        let start = Instant::now();
        for number in 0..10_000u32 {
            let now = start + Duration::from_millis(number.into());
            counts
                .admit(&rules, Some(number.to_be_bytes().into()), now)
                .unwrap();
        }
        let known = counts.lock().sources.len();
        assert!(known < 6_000, "{known}");
    }
}
