//! The broker behind one lock, with its clock, its store and the queues of its connections.
//!
//! A batch locks once: bytes go in, records go to the store, output goes to the queues. Nothing here
//! waits: what has to wait for the disk waits in the queue of its connection.

mod handoff;
mod image;
mod local;
mod operate;
mod succession;
mod unfinished;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use polyport_mqtt_core::broker::{Counters, Event, Received, Sizes};
use polyport_mqtt_core::store::{Sequence, Store};
use polyport_mqtt_core::{
    AuthAnswer, Authorizer, Broker, ConnectionId, Limits, LoginRefusal, Settings, Time,
};
use polyport_sdk::accounts::Changes;
use polyport_sdk::cores::Cores;
use polyport_sdk::net::SmallPeer;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::outbound::Outbound;
use crate::store::{self, DiskStore, Loaded};
use handoff::{Handoff, Woken};

/// Connections woken in one turn for what concerns all of them.
const WOKEN_AT_ONCE: usize = 256;
pub(crate) use operate::Tail;
pub(crate) use succession::Standing;
pub(crate) use unfinished::Begun;
use unfinished::Unfinished;

/// The broker as its connections see it.
pub(crate) struct Engine {
    inner: Mutex<Inner>,
    clock: Clock,
    /// Milliseconds of the deadline that the timer task waits for.
    armed: AtomicU64,
    timers: Notify,
    store: Option<DiskStore>,
    /// A [`Standing`]; changes under the lock of `inner` only.
    standing: AtomicU8,
    moved: Notify,
    /// How often it was frozen or thawed: a freeze that was given up notices.
    freezes: AtomicU64,
    /// Of an engine whose connections live on several cores.
    handoff: OnceLock<Handoff>,
    unfinished: Unfinished,
    /// How often accounts changed, from 1.
    accounts: AtomicU64,
}

struct Inner {
    broker: Broker,
    connections: Vec<Option<Attached>>,
    woken: Vec<Woken>,
    ears: operate::Ears,
    /// The last sequence that output waits for.
    promised: Sequence,
    /// When it was frozen, and what has happened since.
    frozen_at: Time,
    later: Vec<Later>,
}

struct Attached {
    outbound: Arc<Outbound>,
    client: Client,
}

/// What is known of a connection before it says anything.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) peer: SmallPeer,
    /// Which listener it came by.
    pub(crate) listener: u32,
    /// Whether it can go over to another engine.
    pub(crate) crosses: bool,
    /// Where its task lives.
    pub(crate) core: u16,
}

/// What happens to a connection of its own accord.
#[derive(Clone, Copy, Debug)]
enum Later {
    Lost(ConnectionId),
    Drained(ConnectionId),
    Revoke(ConnectionId),
}

/// Wall-clock time that never goes backwards.
struct Clock {
    start: Instant,
    epoch: u64,
}

impl Clock {
    /// A clock that goes on from `least` if the wall is behind that.
    fn new(least: Time) -> Clock {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            start: Instant::now(),
            epoch: least.0.max(epoch.as_millis() as u64),
        }
    }

    fn now(&self) -> Time {
        Time(self.epoch) + self.start.elapsed().as_millis() as u64
    }
}

impl Engine {
    /// A broker with what its store kept.
    pub(crate) fn new(settings: Settings, store: Option<(DiskStore, Loaded)>) -> Engine {
        let clock = Clock::new(Time(0));
        let mut broker = Broker::new(settings, entropy, clock.now());
        let store = store.map(|(store, loaded)| {
            broker.restore(loaded.state);
            store
        });
        Engine::of(broker, clock, store)
    }

    fn of(broker: Broker, clock: Clock, store: Option<DiskStore>) -> Engine {
        let unfinished = Unfinished::default();
        unfinished.may_take_of(broker.may_hold_in_all());
        let armed = AtomicU64::new(broker.next_deadline().map_or(u64::MAX, |at| at.0));
        let inner = Inner {
            broker,
            connections: Vec::new(),
            woken: Vec::new(),
            ears: operate::Ears::default(),
            promised: 0,
            frozen_at: Time(0),
            later: Vec::new(),
        };
        Engine {
            inner: Mutex::new(inner),
            clock,
            armed,
            timers: Notify::new(),
            store,
            standing: AtomicU8::new(Standing::Serving as u8),
            moved: Notify::new(),
            freezes: AtomicU64::new(0),
            handoff: OnceLock::new(),
            unfinished,
            accounts: AtomicU64::new(1),
        }
    }

    /// Connections live on these from now on.
    pub(crate) fn spread(&self, cores: &Cores) {
        if cores.count() > 1 {
            self.handoff.get_or_init(|| Handoff::between(cores));
        }
    }

    /// Other settings from now on, of the broker and of its store; false while frozen.
    pub(crate) fn set_settings(&self, settings: Settings, of_store: store::Settings) -> bool {
        let done = self.batch(|inner, _| {
            inner.broker.reconfigure(settings);
            self.unfinished.may_take_of(inner.broker.may_hold_in_all());
        });
        if let Some(store) = self.store.as_ref().filter(|_| done.is_some()) {
            store.set_settings(of_store);
        }
        done.is_some()
    }

    /// Adds a connection. None while frozen, and none for one that goes to the next engine since that serves.
    pub(crate) fn open(
        &self,
        outbound: &Arc<Outbound>,
        client: Client,
        listener: &str,
        limits: Limits,
    ) -> Option<ConnectionId> {
        let inner = self.lock();
        let opens = match self.standing() {
            Standing::Serving => true,
            Standing::Frozen => false,
            Standing::Retired => !client.crosses,
        };
        opens.then(|| {
            self.run(inner, |inner, now| {
                let id = inner.broker.open(Arc::clone(&outbound.meter), limits, now);
                inner.broker.came_by(id, listener);
                inner.keep(id, outbound, client);
                id
            })
        })
    }

    /// Removes a connection.
    pub(crate) fn lost(&self, id: ConnectionId) {
        self.batch_later(Later::Lost(id));
    }

    /// Takes what a client sent. None while frozen: then nothing was taken.
    pub(crate) fn receive(
        &self,
        id: ConnectionId,
        bytes: &[u8],
        owner: Option<&Bytes>,
    ) -> Option<Received> {
        self.batch(|inner, now| {
            let behind = self.store.as_ref().is_some_and(DiskStore::is_behind);
            inner.broker.store_is_behind(behind, now);
            inner.broker.receive(id, bytes, owner, now)
        })
    }

    /// Answers a login. None while frozen: then it was not.
    pub(crate) fn login_answer(
        &self,
        id: ConnectionId,
        answer: Result<Arc<dyn Authorizer>, LoginRefusal>,
    ) -> Option<()> {
        self.batch(|inner, now| inner.broker.login_answer(id, answer, now))
    }

    /// Answers a step of an enhanced authentication. None while frozen: then it was not.
    pub(crate) fn auth_answer(&self, id: ConnectionId, answer: AuthAnswer) -> Option<()> {
        self.batch(|inner, now| inner.broker.auth_answer(id, answer, now))
    }

    /// Ends the connection of a client identifier for another one of the same account; whether there was one. None
    /// where another engine has them by now, or may have.
    pub(crate) fn release(&self, client_id: &str, account: &str) -> Option<bool> {
        match self.standing() {
            Standing::Retired => None,
            _ => self.batch(|inner, now| inner.broker.release(client_id, account, now)),
        }
    }

    /// A connection wrote all it had.
    pub(crate) fn drained(&self, id: ConnectionId) {
        self.batch_later(Later::Drained(id));
    }

    /// Differs from what it was, and from 0, once accounts have changed; all connections are woken then.
    pub(crate) fn accounts_revision(&self) -> u64 {
        self.accounts.load(Ordering::Acquire)
    }

    /// Tells the connections of each change, for as long as the runtime lives.
    pub(crate) async fn watch_accounts(self: Arc<Self>, mut changes: Changes) {
        loop {
            changes.next().await;
            self.accounts.fetch_add(1, Ordering::AcqRel);
            let mut all = self.attached().into_iter();
            loop {
                let some: Vec<_> = all.by_ref().take(WOKEN_AT_ONCE).collect();
                if some.is_empty() {
                    break;
                }
                self.wake(some);
                // Each looks at its account: others are not to wait for all of them.
                tokio::task::yield_now().await;
            }
        }
    }

    /// The account of a connection lost its rights.
    pub(crate) fn revoke(&self, id: ConnectionId) {
        self.batch_later(Later::Revoke(id));
    }

    /// Tells the clients to go that came by this listener: it went.
    pub(crate) fn listener_gone(&self, listener: u32) {
        self.batch(|inner, now| {
            let connections = &inner.connections;
            inner.broker.send_away(now, |id| {
                let attached = connections.get(id.index as usize);
                attached
                    .and_then(Option::as_ref)
                    .is_some_and(|attached| attached.client.listener == listener)
            });
        });
    }

    /// Tells all clients to go, or, when another engine has taken this one's place, those that do not go there.
    pub(crate) fn drain(&self) {
        if self.standing() == Standing::Serving {
            self.batch(|inner, now| inner.broker.shut_down(now));
        } else {
            self.retire();
        }
    }

    /// How long it is until then.
    pub(crate) fn time_until(&self, at: Time) -> Duration {
        Duration::from_millis(at.0.saturating_sub(self.clock.now().0))
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

    /// Bytes held for clients, and whether they are too many.
    pub(crate) fn load(&self) -> (usize, bool) {
        let broker = &self.lock().broker;
        (broker.held(), broker.is_overloaded())
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
            if self.standing() != Standing::Serving {
                self.moved(self.standing()).await;
                continue;
            }
            if next <= now {
                // Whatever is set meanwhile notifies again.
                self.armed.store(u64::MAX, Ordering::Release);
                self.batch(|inner, now| inner.broker.tick(now));
                // More may be due at once: it is not to keep the connections waiting.
                tokio::task::yield_now().await;
                continue;
            }
            let wait = Duration::from_millis((next - now).min(86_400_000));
            let _ = tokio::time::timeout(wait, self.timers.notified()).await;
        }
    }

    /// One batch; none while frozen, and then nothing is done.
    fn batch<T>(&self, work: impl FnOnce(&mut Inner, Time) -> T) -> Option<T> {
        let inner = self.lock();
        (self.standing() != Standing::Frozen).then(|| self.run(inner, work))
    }

    /// One batch that waits for its turn while frozen.
    fn batch_later(&self, work: Later) {
        let mut inner = self.lock();
        match self.standing() {
            Standing::Frozen => inner.later.push(work),
            standing => self.run(inner, |inner, now| inner.apply(work, standing, now)),
        }
    }

    fn run<T>(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        work: impl FnOnce(&mut Inner, Time) -> T,
    ) -> T {
        let inner_ref = &mut *inner;
        let result = work(inner_ref, self.clock.now());
        let gate = self.store_records(inner_ref);
        inner_ref.promised = inner_ref.promised.max(gate);
        while let Some(id) = inner_ref.broker.next_touched() {
            let Some(Some(attached)) = inner_ref.connections.get(id.index as usize) else {
                continue;
            };
            if let Some(output) = inner_ref.broker.output(id) {
                attached.outbound.push(output, gate);
                if !self.wake_on_commit(gate, &attached.outbound) {
                    let woken = (attached.client.core, Arc::clone(&attached.outbound));
                    inner_ref.woken.push(woken);
                }
            }
        }
        for event in inner_ref.broker.take_events() {
            inner_ref.log(&event);
        }
        inner_ref.tell_ears();
        let deadline = inner_ref.broker.next_deadline();
        let woken = std::mem::take(&mut inner_ref.woken);
        drop(inner);
        self.wake(woken);
        if let Some(deadline) = deadline
            && deadline.0 < self.armed.load(Ordering::Acquire)
        {
            self.armed.fetch_min(deadline.0, Ordering::AcqRel);
            self.timers.notify_one();
        }
        result
    }

    fn wake(&self, woken: Vec<Woken>) {
        match self.handoff.get() {
            Some(handoff) => handoff.wake(woken),
            None => woken.into_iter().for_each(|(_, outbound)| outbound.wake()),
        }
    }

    /// Hands the records of a batch to the store; output waits for the sequence it returns.
    fn store_records(&self, inner: &mut Inner) -> Sequence {
        let journal = inner.broker.journal();
        if journal.is_empty() {
            return match journal.must_commit() {
                true => {
                    journal.clear();
                    inner.promised
                }
                false => 0,
            };
        }
        let store = self.store.as_ref();
        let Some(store) = store.filter(|_| self.standing() == Standing::Serving) else {
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
    fn keep(&mut self, id: ConnectionId, outbound: &Arc<Outbound>, client: Client) {
        let at = id.index as usize;
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, || None);
        }
        self.connections[at] = Some(Attached {
            outbound: Arc::clone(outbound),
            client,
        });
    }

    fn apply(&mut self, work: Later, standing: Standing, now: Time) {
        match work {
            Later::Lost(id) => {
                match standing {
                    Standing::Retired => self.broker.passed(id),
                    _ => self.broker.lost(id, now),
                }
                if let Some(slot) = self.connections.get_mut(id.index as usize) {
                    *slot = None;
                }
            }
            Later::Drained(id) => self.broker.drained(id, now),
            Later::Revoke(id) => self.broker.revoke(id, now),
        }
    }

    fn peer(&self, id: ConnectionId) -> String {
        let attached = self
            .connections
            .get(id.index as usize)
            .and_then(Option::as_ref);
        attached.map_or_else(
            || "unknown".into(),
            |attached| attached.client.peer.to_string(),
        )
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
            Event::Denied {
                connection,
                client_id,
                reason,
                topic,
                what,
                again,
            } => {
                let peer = self.peer(*connection);
                // One that tries for ever does not fill the log.
                if *again {
                    debug!(%peer, %client_id, ?reason, %topic, "{what} refused");
                } else {
                    info!(%peer, %client_id, ?reason, %topic, "{what} refused");
                }
            }
            Event::Overloaded { held, max } => {
                warn!(
                    held,
                    max, "overloaded: clients and messages are refused until there is room"
                );
            }
            Event::Relieved { held, max } => info!(held, max, "no longer overloaded"),
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
