//! A network connection as the engine sees it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::authenticate::Exchange;
use super::doors::Door;
use super::pace::Pace;
use super::request::Request;
use super::retained_delivery::RetainedQueue;
use super::session::Delivery;
use super::{LoginRequest, PendingConnect, SessionId};
use crate::authorizer::{Authorizer, Nobody};
use crate::codec::Version;
use crate::on_demand::OnDemand;
use crate::settings::{Limits, Offer};
use crate::slab::Key;
use crate::time::Time;
use crate::trie::Route;

/// Names one network connection.
pub type ConnectionId = Key;

/// How much of a connection's output has not reached its socket. The engine adds, the host takes
/// away.
#[derive(Debug, Default)]
pub struct Meter {
    /// With [`FLAGS`] in its highest bits.
    unsent: AtomicUsize,
    /// Of all connections together.
    total: OnceLock<Arc<AtomicUsize>>,
}

/// The engine asked to be told when nothing is left.
const WANTS_DRAIN: usize = 1 << (usize::BITS - 1);
/// It does not count in the total any more: the host throws it away.
const GIVEN_UP: usize = 1 << (usize::BITS - 2);
/// The client took nothing since [`Meter::watch`].
const TOOK_NOTHING: usize = 1 << (usize::BITS - 3);
const FLAGS: usize = WANTS_DRAIN | GIVEN_UP | TOOK_NOTHING;

impl Meter {
    /// Bytes handed out and not yet sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent.load(Ordering::SeqCst) & !FLAGS
    }

    /// The host sent this many bytes. True when nothing is left and the engine waits for
    /// [`Broker::drained`](super::Broker::drained).
    #[must_use]
    pub fn sent(&self, bytes: usize) -> bool {
        // Sequentially consistent against `ask_for_drain`: one of the two sees the other.
        let before = self.unsent.fetch_sub(bytes, Ordering::SeqCst);
        if let Some(total) = self.counted_in(before) {
            total.fetch_sub(bytes, Ordering::Relaxed);
        }
        if before & TOOK_NOTHING != 0 {
            self.unsent.fetch_and(!TOOK_NOTHING, Ordering::SeqCst);
        }
        before & !TOOK_NOTHING == bytes | WANTS_DRAIN
            && self.unsent.fetch_and(!WANTS_DRAIN, Ordering::SeqCst) & WANTS_DRAIN != 0
    }

    /// From now on it is seen whether its client takes anything.
    pub(super) fn watch(&self) {
        self.unsent.fetch_or(TOOK_NOTHING, Ordering::SeqCst);
    }

    /// Since [`watch`](Self::watch).
    pub(super) fn took_nothing(&self) -> bool {
        self.unsent.load(Ordering::SeqCst) & TOOK_NOTHING != 0
    }

    pub(super) fn add(&self, bytes: usize) {
        let before = self.unsent.fetch_add(bytes, Ordering::SeqCst);
        if let Some(total) = self.counted_in(before) {
            total.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Where it counts, by the flags that it has.
    fn counted_in(&self, flags: usize) -> Option<&AtomicUsize> {
        let total = self.total.get().filter(|_| flags & GIVEN_UP == 0);
        total.map(|total| &**total)
    }

    /// Counts nowhere any more.
    pub(super) fn give_up(&self) {
        let before = self.unsent.fetch_or(GIVEN_UP, Ordering::SeqCst);
        if let Some(total) = self.counted_in(before) {
            total.fetch_sub(before & !FLAGS, Ordering::Relaxed);
        }
    }

    /// Counts here as well, from now on to its end.
    pub(super) fn count_in(&self, total: &Arc<AtomicUsize>) {
        let unsent = self.unsent();
        if self.total.set(Arc::clone(total)).is_ok() {
            total.fetch_add(unsent, Ordering::Relaxed);
        }
    }

    /// Asks to be told when nothing is left; what is unsent has to be looked at again afterwards.
    pub(super) fn ask_for_drain(&self) {
        self.unsent.fetch_or(WANTS_DRAIN, Ordering::SeqCst);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Bytes for one connection, in order: small packets side by side, long payloads by reference.
#[derive(Debug, Default)]
pub struct Output {
    buffer: Vec<u8>,
    shared: Option<Box<Shared>>,
    close: bool,
    given_up: bool,
}

/// Long payloads, and where in the buffer each belongs.
#[derive(Debug, Default)]
struct Shared {
    payloads: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Output {
    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.shared.as_ref().map_or(0, |shared| shared.bytes)
    }

    /// True when there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection is to be closed after these bytes.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.close
    }

    /// The connection is to be closed at once: neither these bytes nor those before are sent.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Takes the pieces in order.
    pub fn pieces(&mut self) -> Vec<Bytes> {
        let shared = self.shared.take().unwrap_or_default();
        let mut pieces = Vec::with_capacity(shared.payloads.len() * 2 + 1);
        let buffer = Bytes::from(std::mem::take(&mut self.buffer));
        let mut from = 0;
        for (at, payload) in shared.payloads {
            if at > from {
                pieces.push(buffer.slice(from..at));
                from = at;
            }
            pieces.push(payload);
        }
        if from < buffer.len() {
            pieces.push(buffer.slice(from..));
        }
        pieces
    }

    /// All of it.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        let mut from = 0;
        let shared = self.shared.iter();
        for (at, payload) in shared.flat_map(|shared| &shared.payloads) {
            all.extend_from_slice(&self.buffer[from..*at]);
            all.extend_from_slice(payload);
            from = *at;
        }
        all.extend_from_slice(&self.buffer[from..]);
        all
    }

    /// The buffer of small packets, when all bytes lie in it: to be copied from and cleared, or
    /// exchanged for an empty one.
    pub fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        self.shared.is_none().then_some(&mut self.buffer)
    }

    pub(super) fn small(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn share(&mut self, payload: Bytes) {
        let shared = self.shared.get_or_insert_default();
        shared.bytes += payload.len();
        shared.payloads.push((self.buffer.len(), payload));
    }
}

pub(super) enum Phase {
    AwaitingConnect,
    Authenticating(Box<PendingConnect>),
    Connected(SessionId),
    /// Output is being flushed; input is thrown away.
    Closing,
}

/// Where the last PUBLISH went, for the next one to the same topic.
pub(super) struct LastRoute {
    pub topic: Box<str>,
    /// What the topic stands for, if it is another one.
    pub rewritten: Option<Box<str>>,
    pub epoch: u64,
    pub route: Arc<Route>,
}

/// A connection that another broker had, and whose socket has not come yet.
pub(super) struct Arriving {
    /// Since when nobody has read from it: this time does not count against its client.
    pub since: Time,
    /// QoS 0 messages that it may receive if its account may.
    pub held: Vec<Delivery>,
    pub held_bytes: usize,
}

pub(super) struct Connection {
    /// What it is called wherever it goes.
    pub number: u64,
    pub phase: Phase,
    pub version: Version,
    pub login: Option<Box<LoginRequest>>,
    /// Of a client that named an authentication method.
    pub exchange: Option<Box<Exchange>>,
    pub authorizer: Arc<dyn Authorizer>,
    pub limits: Limits,
    pub offer: Offer,
    pub opened: Time,
    pub last_packet: Time,
    /// Milliseconds without a packet after which the connection is closed; 0 for never.
    pub keep_alive_limit: u64,
    /// QoS 1 and 2 messages that may be unacknowledged towards the client, once it is there: see
    /// [`Connection::window`].
    pub full_window: u16,
    pub maximum_packet_size: usize,
    pub request_problem_information: bool,
    pub topic_aliases_in: OnDemand<Vec<Box<str>>>,
    /// Boxed once there is one: most clients take none.
    #[allow(
        clippy::box_collection,
        reason = "smaller in each connection that has none"
    )]
    pub topic_aliases_out: Option<Box<HashMap<Box<str>, u16>>>,
    pub topic_alias_maximum_out: u16,
    pub output: Output,
    pub touched: bool,
    pub meter: Arc<Meter>,
    pub last_route: Option<Box<LastRoute>>,
    /// Retained messages of new subscriptions that wait for room.
    pub retained: Option<Box<RetainedQueue>>,
    /// A packet of very many filters that is being worked off.
    pub request: Option<Box<Request>>,
    pub arriving: Option<Box<Arriving>>,
    /// Its queue was full, and it is to be closed for that.
    pub too_slow: bool,
    /// Something was refused to it, and the log was told.
    pub denied: bool,
    /// It is held to a rate.
    pub pace: Option<Box<Pace>>,
    /// The listener that it came by.
    pub door: Door,
    /// The client is another broker's bridge.
    pub bridge: bool,
    /// It comes from within the program: see [`Broker::open_local`](super::Broker::open_local).
    pub local: bool,
}

impl Connection {
    pub(super) fn new(
        number: u64,
        meter: Arc<Meter>,
        limits: Limits,
        offer: Offer,
        now: Time,
    ) -> Connection {
        Connection {
            number,
            phase: Phase::AwaitingConnect,
            version: Version::V311,
            login: None,
            exchange: None,
            authorizer: Arc::new(Nobody),
            limits,
            offer,
            opened: now,
            last_packet: now,
            keep_alive_limit: 0,
            full_window: 0,
            maximum_packet_size: usize::MAX,
            request_problem_information: true,
            topic_aliases_in: OnDemand::default(),
            topic_aliases_out: None,
            topic_alias_maximum_out: 0,
            output: Output::default(),
            touched: false,
            meter,
            last_route: None,
            retained: None,
            request: None,
            arriving: None,
            too_slow: false,
            denied: false,
            pace: None,
            door: Door::default(),
            bridge: false,
            local: false,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// Whether AUTH of its client is to come next in an exchange.
    pub(super) fn awaits_auth(&self) -> bool {
        let exchange = self.exchange.as_deref();
        exchange.is_some_and(Exchange::awaits_client)
    }

    /// Whether its socket is there.
    pub(super) fn is_here(&self) -> bool {
        self.arriving.is_none()
    }

    /// QoS 1 and 2 messages that may be unacknowledged towards the client.
    pub(super) fn window(&self) -> usize {
        if self.is_here() {
            usize::from(self.full_window)
        } else {
            0
        }
    }

    /// Whether a QoS 1 or 2 message more may be sent when `outstanding` are unacknowledged. Acknowledgements make
    /// room in the window; an emptied socket, which the engine is then told of, among the bytes.
    pub(super) fn has_room(&self, outstanding: usize, max_outbound_bytes: usize) -> bool {
        outstanding < self.window()
            && (self.unsent() <= max_outbound_bytes || {
                self.meter.ask_for_drain();
                self.unsent() <= max_outbound_bytes
            })
    }

    pub(super) fn touch(&mut self, id: ConnectionId, touched: &mut Vec<ConnectionId>) {
        if !self.touched {
            self.touched = true;
            touched.push(id);
        }
    }

    /// Whether a reason string of a few words may be sent (3.1.2.11.7, MQTT-3.14.2-3).
    pub(super) fn may_explain(&self) -> bool {
        self.request_problem_information && self.maximum_packet_size >= 128
    }

    /// Bytes that wait for this reader, with those of this batch.
    pub(super) fn unsent(&self) -> usize {
        self.meter.unsent() + self.output.len()
    }

    /// Nothing that waits for its client is sent any more.
    pub(super) fn give_up_output(&mut self) {
        self.meter.give_up();
        self.output.given_up = true;
    }

    pub(super) fn start_closing(&mut self) {
        self.phase = Phase::Closing;
        self.output.close = true;
        // The account is let go at once: it may count its connections.
        self.authorizer = Arc::new(Nobody);
        self.exchange = None;
        self.topic_aliases_in = OnDemand::default();
        self.topic_aliases_out = None;
        self.last_route = None;
        self.request = None;
        self.retained = None;
        if let Some(arriving) = &mut self.arriving {
            arriving.held.clear();
        }
    }
}
