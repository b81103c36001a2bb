//! The broker behind one lock, with its clock, its store and the queues of its connections.
//!
//! A batch locks once: bytes go in, records go to the store, output goes to the queues. Nothing here
//! waits: what has to wait for the disk waits in the queue of its connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use polyport_mqtt_core::broker::{Counters, Event, Received, Sizes};
use polyport_mqtt_core::store::{Sequence, Store};
use polyport_mqtt_core::{Authorizer, Broker, ConnectionId, Limits, LoginRefusal, Settings, Time};
use polyport_sdk::net::Peer;
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::outbound::Outbound;
use crate::store::{self, DiskStore, Loaded};

/// The broker as its connections see it.
pub(crate) struct Engine {
    inner: Mutex<Inner>,
    clock: Clock,
    /// Milliseconds of the deadline that the timer task waits for.
    armed: AtomicU64,
    timers: Notify,
    store: Option<DiskStore>,
}

struct Inner {
    broker: Broker,
    connections: Vec<Option<Attached>>,
    woken: Vec<Arc<Outbound>>,
}

struct Attached {
    outbound: Arc<Outbound>,
    peer: Peer,
}

/// Wall-clock time that never goes backwards.
struct Clock {
    start: Instant,
    epoch: u64,
}

impl Clock {
    fn new() -> Clock {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            start: Instant::now(),
            epoch: epoch.as_millis() as u64,
        }
    }

    fn now(&self) -> Time {
        Time(self.epoch + self.start.elapsed().as_millis() as u64)
    }
}

impl Engine {
    /// A broker with what its store kept.
    pub(crate) fn new(settings: Settings, store: Option<(DiskStore, Loaded)>) -> Engine {
        let clock = Clock::new();
        let mut broker = Broker::new(settings, entropy, clock.now());
        let store = store.map(|(store, loaded)| {
            broker.restore(loaded.state);
            store
        });
        let armed = AtomicU64::new(broker.next_deadline().map_or(u64::MAX, |at| at.0));
        let inner = Inner {
            broker,
            connections: Vec::new(),
            woken: Vec::new(),
        };
        Engine {
            inner: Mutex::new(inner),
            clock,
            armed,
            timers: Notify::new(),
            store,
        }
    }

    /// Other settings from now on, of the broker and of its store.
    pub(crate) fn set_settings(&self, settings: Settings, of_store: store::Settings) {
        self.batch(|inner, _| inner.broker.reconfigure(settings));
        if let Some(store) = &self.store {
            store.set_settings(of_store);
        }
    }

    /// Adds a connection.
    pub(crate) fn open(
        &self,
        outbound: &Arc<Outbound>,
        peer: Peer,
        limits: Limits,
    ) -> ConnectionId {
        self.batch(|inner, now| {
            let id = inner.broker.open(Arc::clone(&outbound.meter), limits, now);
            let at = id.index as usize;
            if inner.connections.len() <= at {
                inner.connections.resize_with(at + 1, || None);
            }
            inner.connections[at] = Some(Attached {
                outbound: Arc::clone(outbound),
                peer,
            });
            id
        })
    }

    /// Removes a connection.
    pub(crate) fn lost(&self, id: ConnectionId) {
        self.batch(|inner, now| {
            inner.broker.lost(id, now);
            if let Some(slot) = inner.connections.get_mut(id.index as usize) {
                *slot = None;
            }
        });
    }

    /// Takes what a client sent.
    pub(crate) fn receive(
        &self,
        id: ConnectionId,
        bytes: &[u8],
        owner: Option<&Bytes>,
    ) -> Received {
        self.batch(|inner, now| inner.broker.receive(id, bytes, owner, now))
    }

    /// Answers a login.
    pub(crate) fn login_answer(
        &self,
        id: ConnectionId,
        answer: Result<Arc<dyn Authorizer>, LoginRefusal>,
    ) {
        self.batch(|inner, now| inner.broker.login_answer(id, answer, now));
    }

    /// Ends the connection of a client identifier for another one of the same account.
    pub(crate) fn release(&self, client_id: &str, account: &str) -> bool {
        self.batch(|inner, now| inner.broker.release(client_id, account, now))
    }

    /// A connection wrote all it had.
    pub(crate) fn drained(&self, id: ConnectionId) {
        self.batch(|inner, now| inner.broker.drained(id, now));
    }

    /// The account of a connection lost its rights.
    pub(crate) fn revoke(&self, id: ConnectionId) {
        self.batch(|inner, now| inner.broker.revoke(id, now));
    }

    /// Tells all clients to go.
    pub(crate) fn shut_down(&self) {
        self.batch(|inner, now| inner.broker.shut_down(now));
    }

    /// What may be written: sequences up to this one are on disk.
    pub(crate) fn committed(&self) -> Sequence {
        self.store
            .as_ref()
            .map_or(Sequence::MAX, |store| store.committed())
    }

    /// Has `outbound` woken once `gate` is committed; false when it is already.
    pub(crate) fn wake_on_commit(&self, gate: Sequence, outbound: &Arc<Outbound>) -> bool {
        gate > 0
            && self
                .store
                .as_ref()
                .is_some_and(|store| store.wake_on_commit(gate, outbound))
    }

    /// Totals since the start.
    pub(crate) fn counters(&self) -> Counters {
        self.lock().broker.counters()
    }

    /// Numbers of the moment.
    pub(crate) fn sizes(&self) -> Sizes {
        self.lock().broker.sizes()
    }

    /// Flushes and closes the store.
    pub(crate) async fn close(self: &Arc<Self>) -> std::io::Result<()> {
        let engine = Arc::clone(self);
        let closing = tokio::task::spawn_blocking(move || {
            engine.store.as_ref().map_or(Ok(()), DiskStore::close)
        });
        closing.await.map_err(std::io::Error::other)?
    }

    /// Fires deadlines, for as long as the runtime lives.
    pub(crate) async fn run_timers(self: Arc<Self>) {
        loop {
            let next = self.armed.load(Ordering::Acquire);
            let now = self.clock.now().0;
            if next <= now {
                // Whatever is set meanwhile notifies again.
                self.armed.store(u64::MAX, Ordering::Release);
                self.batch(|inner, now| inner.broker.tick(now));
                continue;
            }
            let wait = Duration::from_millis((next - now).min(86_400_000));
            let _ = tokio::time::timeout(wait, self.timers.notified()).await;
        }
    }

    fn batch<T>(&self, work: impl FnOnce(&mut Inner, Time) -> T) -> T {
        let mut inner = self.lock();
        let inner_ref = &mut *inner;
        let result = work(inner_ref, self.clock.now());
        let gate = self.store_records(&mut inner_ref.broker);
        while let Some(id) = inner_ref.broker.next_touched() {
            let Some(Some(attached)) = inner_ref.connections.get(id.index as usize) else {
                continue;
            };
            if let Some(output) = inner_ref.broker.output(id) {
                attached.outbound.push(output, gate);
                if !self.wake_on_commit(gate, &attached.outbound) {
                    inner_ref.woken.push(Arc::clone(&attached.outbound));
                }
            }
        }
        for event in inner_ref.broker.take_events() {
            inner_ref.log(&event);
        }
        let deadline = inner_ref.broker.next_deadline();
        let mut woken = std::mem::take(&mut inner_ref.woken);
        drop(inner);
        for outbound in woken.drain(..) {
            outbound.wake();
        }
        if let Some(deadline) = deadline
            && deadline.0 < self.armed.load(Ordering::Acquire)
        {
            self.armed.fetch_min(deadline.0, Ordering::AcqRel);
            self.timers.notify_one();
        }
        result
    }

    /// Hands the records of a batch to the store; output waits for the sequence it returns.
    fn store_records(&self, broker: &mut Broker) -> Sequence {
        let journal = broker.journal();
        if journal.is_empty() {
            return 0;
        }
        let Some(store) = &self.store else {
            journal.clear();
            return 0;
        };
        let mut handle = store;
        let sequence = handle.append(journal);
        let gate = if journal.must_commit() && store.is_awaited() {
            sequence
        } else {
            0
        };
        journal.clear();
        gate
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in the engine ends one batch. Its state is not known to be whole, but refusing
        // everyone from then on would be worse than serving what is there.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn peer(&self, id: ConnectionId) -> String {
        let attached = self
            .connections
            .get(id.index as usize)
            .and_then(Option::as_ref);
        attached.map_or_else(|| "unknown".into(), |attached| attached.peer.to_string())
    }

    fn log(&self, event: &Event) {
        match event {
            Event::Connected {
                connection,
                client_id,
                version,
                session_present,
                keep_alive,
            } => {
                let peer = self.peer(*connection);
                debug!(%peer, %client_id, ?version, session_present, keep_alive, "client connected");
            }
            Event::Refused {
                connection,
                client_id,
                reason,
            } => {
                info!(peer = %self.peer(*connection), %client_id, ?reason, "client refused");
            }
            Event::Closed {
                connection,
                client_id,
                reason,
                what,
            } => {
                info!(peer = %self.peer(*connection), %client_id, ?reason, "connection closed: {what}");
            }
            Event::Disconnected {
                connection,
                client_id,
            } => {
                debug!(peer = %self.peer(*connection), %client_id, "client disconnected");
            }
            Event::Lost {
                connection,
                client_id,
            } => {
                debug!(peer = %self.peer(*connection), %client_id, "connection lost");
            }
        }
    }
}

fn entropy() -> u128 {
    let mut bytes = [0; 16];
    // Without random numbers from the system the identifiers are still unique in this process.
    if getrandom::fill(&mut bytes).is_err() {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        return u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    u128::from_ne_bytes(bytes)
}
