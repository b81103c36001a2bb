//! What passes over connections, from the instances that tell it to those who look.
//!
//! One hub for each service name, so that looking goes on over a swap. An instance never waits for somebody who
//! looks: what does not fit into his queue is dropped and counted.

mod lines;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use polyport_abi::log::LevelCell;
use polyport_abi::summary::SummaryV1;
use tokio::sync::mpsc;

pub use lines::Readers;

/// What may wait for one who looks, in bytes.
const QUEUE: usize = 16 << 20;
/// What an event costs beside its bytes.
const EVENT: usize = 256;

static HUBS: Mutex<BTreeMap<String, &'static Hub>> = Mutex::new(BTreeMap::new());
/// The number of the last connection that was named.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The hub of a service; made at the first call and kept as long as the process, for its threads may outlive it.
pub fn hub(service: &str) -> &'static Hub {
    let mut hubs = lock(&HUBS);
    if let Some(hub) = hubs.get(service) {
        return hub;
    }
    let hub: &'static Hub = Box::leak(Box::new(Hub::new()));
    hubs.insert(service.to_owned(), hub);
    hub
}

/// Where the instances of one service tell what passes, and from where it is handed on.
pub struct Hub {
    cell: LevelCell,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    connections: Mutex<HashMap<u64, Arc<Ends>>>,
}

/// One who looks.
struct Watcher {
    only: Option<String>,
    queue: mpsc::UnboundedSender<Event>,
    /// Bytes in the queue.
    queued: AtomicUsize,
    dropped: AtomicU64,
}

/// Who speaks with whom, and how much was told of it.
#[derive(Debug)]
pub struct Ends {
    /// Never used for another connection.
    pub number: u64,
    /// The client.
    pub peer: String,
    /// The address that it reached.
    pub local: String,
    /// As in `trace/1`.
    pub scheme: String,
    /// How its bytes become lines.
    pub summary: Option<&'static SummaryV1>,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Something that happened on a connection.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// On which.
    pub ends: Arc<Ends>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// It was named.
    Opened,
    /// The client sent bytes.
    Received(Piece),
    /// Bytes went to the client.
    Sent(Piece),
    /// It ended.
    Closed,
}

/// Bytes of one direction.
#[derive(Debug, Clone)]
pub struct Piece {
    /// How many bytes of this direction were told before.
    pub offset: u64,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Hub {
    fn new() -> Self {
        Self {
            cell: LevelCell {
                value: AtomicU64::new(0),
            },
            watchers: Mutex::default(),
            connections: Mutex::default(),
        }
    }

    /// How many look; what instances read before they tell anything.
    pub fn cell(&self) -> &LevelCell {
        &self.cell
    }

    /// Begins to look: at all connections, or at those of one address, address with port, or number.
    pub fn watch(&'static self, only: Option<String>) -> Watch {
        let (queue, events) = mpsc::unbounded_channel();
        let watcher = Arc::new(Watcher {
            only: only.map(|only| only.trim_start_matches('#').to_owned()),
            queue,
            queued: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        });
        let mut watchers = lock(&self.watchers);
        watchers.push(Arc::clone(&watcher));
        self.count(&watchers);
        Watch {
            hub: self,
            watcher,
            events,
        }
    }

    fn count(&self, watchers: &[Arc<Watcher>]) {
        self.cell
            .value
            .store(watchers.len() as u64, Ordering::Relaxed);
    }

    /// Names a connection.
    pub fn opened(
        &self,
        peer: &str,
        local: &str,
        scheme: &str,
        summary: Option<&'static SummaryV1>,
    ) -> u64 {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let ends = Arc::new(Ends {
            number,
            peer: peer.to_owned(),
            local: local.to_owned(),
            scheme: scheme.to_owned(),
            summary,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        lock(&self.connections).insert(number, Arc::clone(&ends));
        self.tell(&ends, 0, || What::Opened);
        number
    }

    /// The client sent bytes.
    pub fn received(&self, connection: u64, bytes: &[u8]) {
        if let Some(ends) = self.ends(connection) {
            let offset = ends
                .received
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.tell(&ends, bytes.len(), || What::Received(piece(offset, bytes)));
        }
    }

    /// Bytes went to the client.
    pub fn sent(&self, connection: u64, bytes: &[u8]) {
        if let Some(ends) = self.ends(connection) {
            let offset = ends.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.tell(&ends, bytes.len(), || What::Sent(piece(offset, bytes)));
        }
    }

    /// The connection ended.
    pub fn closed(&self, connection: u64) {
        let ends = lock(&self.connections).remove(&connection);
        if let Some(ends) = ends {
            self.tell(&ends, 0, || What::Closed);
        }
    }

    fn ends(&self, connection: u64) -> Option<Arc<Ends>> {
        lock(&self.connections).get(&connection).cloned()
    }

    fn tell(&self, ends: &Arc<Ends>, length: usize, what: impl FnOnce() -> What) {
        let watchers = lock(&self.watchers);
        let mut what = Some(what);
        let mut event = None;
        for watcher in watchers.iter().filter(|watcher| watcher.wants(ends)) {
            if !watcher.has_room(length) {
                continue;
            }
            if let Some(what) = what.take() {
                event = Some(Event {
                    at: SystemTime::now(),
                    ends: Arc::clone(ends),
                    what: what(),
                });
            }
            if let Some(event) = &event {
                // One who is going away has closed his queue.
                let _ = watcher.queue.send(event.clone());
            }
        }
    }
}

fn piece(offset: u64, bytes: &[u8]) -> Piece {
    Piece {
        offset,
        bytes: bytes.into(),
    }
}

impl Watcher {
    fn wants(&self, ends: &Ends) -> bool {
        let Some(only) = &self.only else { return true };
        let host = ends.peer.rsplit_once(':').map(|(host, _)| host);
        *only == ends.peer
            || host.is_some_and(|host| host == only || host.trim_matches(['[', ']']) == only)
            || only.parse() == Ok(ends.number)
    }

    /// Takes the room that an event needs, or counts it as dropped.
    fn has_room(&self, length: usize) -> bool {
        let cost = length + EVENT;
        if self.queued.fetch_add(cost, Ordering::Relaxed) + cost > QUEUE {
            self.queued.fetch_sub(cost, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }
}

/// The events for one who looks; dropping it ends the look.
pub struct Watch {
    hub: &'static Hub,
    watcher: Arc<Watcher>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Watch {
    /// The next event.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        self.took(&event);
        Some(event)
    }

    /// The next event if it is there already.
    pub fn ready(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        self.took(&event);
        Some(event)
    }

    fn took(&self, event: &Event) {
        let length = match &event.what {
            What::Received(piece) | What::Sent(piece) => piece.bytes.len(),
            What::Opened | What::Closed => 0,
        };
        self.watcher
            .queued
            .fetch_sub(length + EVENT, Ordering::Relaxed);
    }

    /// Events that had no room so far.
    pub fn dropped(&self) -> u64 {
        self.watcher.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watchers = lock(&self.hub.watchers);
        watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        self.hub.count(&watchers);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(hub: &Hub, peer: &str) -> u64 {
        hub.opened(peer, "127.0.0.1:1", "tcp", None)
    }

    #[test]
    fn t35_without_anybody_who_looks_nothing_is_kept() {
        let hub = hub("nobody looks");
        let connection = open(hub, "127.0.0.1:2");
        hub.sent(connection, b"abc");
        let mut watch = hub.watch(None);
        assert_eq!(hub.cell().value.load(Ordering::Relaxed), 1);
        assert!(watch.ready().is_none());
        drop(watch);
        assert_eq!(hub.cell().value.load(Ordering::Relaxed), 0);
        hub.closed(connection);
        assert!(lock(&hub.connections).is_empty());
    }

    #[test]
    fn t35_one_who_does_not_take_loses_events_and_the_count_is_known() {
        let hub = hub("slow");
        let mut slow = hub.watch(None);
        let connection = open(hub, "127.0.0.1:2");
        let block = vec![0; 1 << 20];
        for _ in 0..20 {
            hub.sent(connection, &block);
        }
        assert_eq!(slow.dropped(), 5, "15 MiB and what they cost beside fit");
        let mut quick = hub.watch(None);
        hub.sent(connection, b"x");
        let seen = std::iter::from_fn(|| slow.ready()).count();
        assert_eq!(seen, 1 + 15 + 1);
        match quick.ready().map(|event| event.what) {
            Some(What::Sent(piece)) => assert_eq!(piece.offset, 20 << 20, "dropped ones count"),
            other => panic!("{other:?}"),
        }
        hub.sent(connection, b"y");
        assert!(slow.ready().is_some(), "there is room again");
    }

    #[test]
    fn t35_one_connection_is_told_from_the_others() {
        let hub = hub("filter");
        let first = open(hub, "127.0.0.1:2");
        let second = open(hub, "[::1]:3");
        for (only, expected) in [
            ("127.0.0.1:2", &[first][..]),
            ("127.0.0.1", &[first]),
            ("::1", &[second]),
            (&format!("#{second}"), &[second]),
            (&first.to_string(), &[first]),
            ("10.0.0.1", &[]),
        ] {
            let mut watch = hub.watch(Some(only.into()));
            hub.sent(first, b"a");
            hub.sent(second, b"a");
            let seen: Vec<u64> = std::iter::from_fn(|| watch.ready())
                .map(|event| event.ends.number)
                .collect();
            assert_eq!(seen, expected, "{only}");
        }
    }
}
