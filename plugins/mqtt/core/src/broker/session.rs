//! Session state (section 4.1).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::ConnectionId;
use super::doors::Door;
use super::load::Weight;
use super::subscribed::Subscribed;
use super::topic_checks::TopicChecks;
use crate::codec::QoS;
use crate::message::Message;
use crate::on_demand::{Nothing, OnDemand};
use crate::settings::ClientLimits;
use crate::slab::Key;
use crate::store::Record;
use crate::time::Time;
use crate::topic::matches;

pub(super) type SessionId = Key;

/// A QoS 1 or 2 message for a session.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// Its number in the store.
    pub number: u64,
    pub message: Arc<Message>,
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: Box<[u32]>,
}

impl Delivery {
    /// The record of it while it is queued.
    pub(super) fn record(&self, session: u64) -> Record<'_> {
        Record::Delivery {
            session,
            delivery: self.number,
            message: self.message.stored,
            qos: self.qos,
            retain: self.retain,
            identifiers: &self.identifiers,
            packet_identifier: 0,
        }
    }
}

/// What a packet identifier towards the client is waiting for (figures 4.2 and 4.3).
///
/// ```text
/// QoS 1   PUBLISH ->  awaiting Puback  <- PUBACK
/// QoS 2   PUBLISH ->  awaiting Pubrec  <- PUBREC   PUBREL ->  awaiting Pubcomp  <- PUBCOMP
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaiting {
    Puback,
    Pubrec,
    Pubcomp,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub packet_identifier: u16,
    pub awaiting: Awaiting,
    /// Delivery number.
    pub number: u64,
    /// Kept for redelivery: `None` in a session that ends with its connection, and once PUBREC
    /// has come.
    pub delivery: Option<Delivery>,
}

impl InFlight {
    /// The record of it, with the message that is delivered or, once PUBREC has come, one that stands for it.
    pub(super) fn record(&self, session: u64, message: u64) -> Record<'_> {
        let delivery = self.delivery.as_ref();
        Record::Delivery {
            session,
            delivery: self.number,
            message,
            qos: delivery.map_or(QoS::ExactlyOnce, |delivery| delivery.qos),
            retain: delivery.is_some_and(|delivery| delivery.retain),
            identifiers: delivery.map_or(&[], |delivery| &*delivery.identifiers),
            packet_identifier: self.packet_identifier,
        }
    }

    fn size(&self) -> usize {
        let delivery = self.delivery.as_ref();
        delivery.map_or(0, |delivery| delivery.message.size())
    }
}

#[derive(Clone, Debug)]
pub(super) struct PendingWill {
    pub message: Arc<Message>,
    /// Will delay interval in seconds.
    pub delay: u32,
}

/// Messages that are under way in a session, either way.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// In the order of sending. The first `outstanding` were sent on the present connection.
    pub in_flight: VecDeque<InFlight>,
    pub outstanding: usize,
    pub queue: VecDeque<Delivery>,
    pub queue_bytes: usize,
    /// Of messages in flight that are kept for redelivery.
    pub in_flight_bytes: usize,
    /// When the queue is looked through for messages that have expired.
    pub swept_at: Option<Time>,
    /// Shared subscriptions that were left while QoS 1 messages which they brought were in flight; none once nothing
    /// is in flight.
    pub left_shares: Vec<Box<str>>,
    /// QoS 2 packet identifiers of the client that wait for PUBREL, each with whether its PUBLISH
    /// came, or came again, on the present connection.
    pub received: BTreeMap<u16, bool>,
    /// How many of them did: they count against the server's receive maximum (4.9).
    pub received_here: usize,
}

impl Messages {
    /// Whether any are queued or in flight.
    pub(super) fn wait(&self) -> bool {
        !self.queue.is_empty() || !self.in_flight.is_empty()
    }

    fn are_none(&self) -> bool {
        self.in_flight.is_empty()
            && self.queue.is_empty()
            && self.swept_at.is_none()
            && self.received.is_empty()
    }
}

impl Nothing for Messages {
    const NOTHING: &'static Messages = &Messages {
        in_flight: VecDeque::new(),
        outstanding: 0,
        queue: VecDeque::new(),
        queue_bytes: 0,
        in_flight_bytes: 0,
        swept_at: None,
        left_shares: Vec::new(),
        received: BTreeMap::new(),
        received_here: 0,
    };
}

/// What becomes of a session that has no connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub will_at: Option<Time>,
    pub ends_at: Option<Time>,
    /// The timer that is set for this session.
    pub armed: Option<Time>,
}

impl Deadlines {
    /// What comes first.
    pub(super) fn next(&self) -> Option<Time> {
        [self.will_at, self.ends_at].into_iter().flatten().min()
    }
}

impl Nothing for Deadlines {
    const NOTHING: &'static Deadlines = &Deadlines {
        will_at: None,
        ends_at: None,
        armed: None,
    };
}

#[derive(Debug)]
pub(super) struct Session {
    pub client_id: Arc<str>,
    /// Its number in the store.
    pub number: u64,
    /// Its state goes to the store.
    pub durable: bool,
    /// The store knows of it: durable, or because of its will.
    pub recorded: bool,
    pub connection: Option<ConnectionId>,
    /// Of the client that was connected last.
    pub account: Option<Arc<str>>,
    /// The listener that the client came by last.
    pub door: Door,
    /// Its own limits; without them the general ones hold.
    pub limits: Option<Arc<ClientLimits>>,
    /// Session expiry interval in seconds.
    pub expiry: u32,
    pub subscriptions: Subscribed,
    /// It has, or had, a shared subscription.
    pub shares: bool,
    pub messages: OnDemand<Messages>,
    /// What all of them count for in the whole service.
    pub weight: Weight,
    /// Set when a subscription stands for topics that may not be received as well.
    pub topic_checks: Option<Box<TopicChecks>>,
    pub will: Option<PendingWill>,
    pub deadlines: OnDemand<Deadlines>,
    pub last_identifier: u16,
    /// Identifiers after `last_identifier` that are known to be free.
    free_identifiers: u16,
}

impl Session {
    pub(super) fn new(client_id: Arc<str>, number: u64) -> Session {
        Session {
            client_id,
            number,
            durable: false,
            recorded: false,
            connection: None,
            account: None,
            door: Door::default(),
            limits: None,
            expiry: 0,
            subscriptions: Subscribed::default(),
            shares: false,
            messages: OnDemand::default(),
            weight: Weight::default(),
            topic_checks: None,
            will: None,
            deadlines: OnDemand::default(),
            last_identifier: 0,
            free_identifiers: 0,
        }
    }

    /// A connection took the session over: quotas begin anew (4.9).
    pub(super) fn begin_connection(&mut self, id: ConnectionId) {
        self.connection = Some(id);
        if let Some(messages) = self.messages.get_mut() {
            messages.outstanding = 0;
            messages.received_here = 0;
            for here in messages.received.values_mut() {
                *here = false;
            }
        }
    }

    /// Its client is there: it does not end, and publishes no will.
    pub(super) fn keep(&mut self) {
        self.set_deadlines(None, None);
    }

    /// When its will is published, and when it ends.
    pub(super) fn set_deadlines(&mut self, will_at: Option<Time>, ends_at: Option<Time>) {
        let armed = self.deadlines.armed;
        if will_at.or(ends_at).or(armed).is_none() {
            self.deadlines = OnDemand::default();
        } else {
            *self.deadlines = Deadlines {
                will_at,
                ends_at,
                armed,
            };
        }
    }

    /// Its connection is gone.
    pub(super) fn end_connection(&mut self) {
        self.connection = None;
        if let Some(messages) = self.messages.get_mut() {
            messages.outstanding = 0;
        }
        self.rest();
    }

    /// Its client has nothing to say now: room for messages is given back if there are none.
    pub(super) fn rest(&mut self) {
        if self.messages.are_none() {
            self.messages = OnDemand::default();
        }
    }

    /// Notes a QoS 2 PUBLISH that came on this connection; true if its identifier was not known.
    pub(super) fn note_received(&mut self, packet_identifier: u16) -> bool {
        let before = self.messages.received.insert(packet_identifier, true);
        self.messages.received_here += usize::from(before != Some(true));
        before.is_none()
    }

    /// Forgets a QoS 2 PUBLISH that was released; false if it was not known.
    pub(super) fn note_released(&mut self, packet_identifier: u16) -> bool {
        let Some(messages) = self.messages.get_mut() else {
            return false;
        };
        let before = messages.received.remove(&packet_identifier);
        messages.received_here -= usize::from(before == Some(true));
        before.is_some()
    }

    /// True when the session can outlive its connection.
    pub(super) fn is_resumable(&self) -> bool {
        self.expiry > 0 || self.durable
    }

    /// Whether a message in flight is kept: for this client when it comes back, or for another member of a shared
    /// subscription when it does not.
    pub(super) fn keeps(&self, qos: QoS) -> bool {
        self.is_resumable() || self.shares && qos == QoS::AtLeastOnce
    }

    /// The next packet identifier that is not in use (2.2.1). The caller keeps fewer than 65,535
    /// in flight.
    pub(super) fn next_packet_identifier(&mut self) -> u16 {
        while self.free_identifiers == 0 {
            let last = self.last_identifier;
            let distance = |identifier: u16| {
                let ahead = identifier.wrapping_sub(last);
                // Zero is not an identifier: counting past it costs one.
                if identifier > last {
                    ahead - 1
                } else {
                    ahead.wrapping_sub(2)
                }
            };
            let in_use = self
                .messages
                .in_flight
                .iter()
                .map(|entry| distance(entry.packet_identifier))
                .min();
            match in_use.unwrap_or(u16::MAX - 1) {
                0 => self.last_identifier = following(last),
                free => self.free_identifiers = free,
            }
        }
        self.free_identifiers -= 1;
        self.last_identifier = following(self.last_identifier);
        self.last_identifier
    }

    pub(super) fn position(&self, packet_identifier: u16) -> Option<usize> {
        self.messages
            .in_flight
            .iter()
            .position(|entry| entry.packet_identifier == packet_identifier)
    }

    pub(super) fn remove_in_flight(&mut self, at: usize) -> Option<InFlight> {
        if at < self.messages.outstanding {
            self.messages.outstanding -= 1;
        }
        let entry = self.messages.in_flight.remove(at)?;
        self.messages.in_flight_bytes -= entry.size();
        if self.messages.in_flight.is_empty() {
            self.messages.left_shares.clear();
        }
        Some(entry)
    }

    /// Its QoS 1 messages that were sent and not acknowledged, as far as they are kept.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &Delivery> {
        let sent = self.messages.in_flight.iter();
        let sent = sent.filter(|entry| entry.awaiting == Awaiting::Puback);
        sent.filter_map(|entry| entry.delivery.as_ref())
    }

    /// It left a shared subscription, which brought messages of this filter.
    pub(super) fn remember_share(&mut self, text: &str, filter: &str) {
        let brought = |delivery: &Delivery| matches(filter, &delivery.message.topic);
        if !self.unacknowledged().any(brought) {
            return;
        }
        let messages = &mut *self.messages;
        messages.left_shares.retain(|share| **share != *text);
        messages.left_shares.push(text.into());
        // Each message came by one at most.
        if messages.left_shares.len() > messages.in_flight.len() {
            messages.left_shares.remove(0);
        }
    }

    /// Sent last.
    pub(super) fn push_in_flight(&mut self, entry: InFlight) {
        self.messages.in_flight_bytes += entry.size();
        self.messages.in_flight.push_back(entry);
    }

    /// Its PUBREC has come: only the identifier is left.
    pub(super) fn note_pubrec(&mut self, at: usize) {
        let messages = &mut *self.messages;
        if let Some(entry) = messages.in_flight.get_mut(at) {
            messages.in_flight_bytes -= entry.size();
            entry.awaiting = Awaiting::Pubcomp;
            entry.delivery = None;
        }
    }

    pub(super) fn push_queue(&mut self, delivery: Delivery) {
        self.messages.queue_bytes += delivery.message.size();
        self.messages.queue.push_back(delivery);
    }

    pub(super) fn pop_queue(&mut self) -> Option<Delivery> {
        let messages = self.messages.get_mut()?;
        let delivery = messages.queue.pop_front()?;
        messages.queue_bytes -= delivery.message.size();
        Some(delivery)
    }
}

impl Session {
    /// Gives up the messages that `keep` does not want, queued or under way, unless they were
    /// received and only their identifier is left; returns the numbers of their deliveries.
    pub(super) fn retain_deliveries(&mut self, keep: impl Fn(&Delivery) -> bool) -> Vec<u64> {
        let mut dropped = Vec::new();
        let Some(messages) = self.messages.get_mut() else {
            return dropped;
        };
        messages.in_flight.retain(|entry| {
            let delivery = entry.delivery.as_ref();
            delivery.is_none_or(|delivery| wanted(delivery, &keep, &mut dropped))
        });
        messages.in_flight_bytes = messages.in_flight.iter().map(InFlight::size).sum();
        if messages.in_flight.is_empty() {
            messages.left_shares.clear();
        }
        dropped.extend(self.retain_queued(keep));
        dropped
    }

    /// The same for those that are queued.
    pub(super) fn retain_queued(&mut self, keep: impl Fn(&Delivery) -> bool) -> Vec<u64> {
        let mut dropped = Vec::new();
        let Some(messages) = self.messages.get_mut() else {
            return dropped;
        };
        let wanted = |delivery: &Delivery| wanted(delivery, &keep, &mut dropped);
        messages.queue.retain(wanted);
        let sizes = messages.queue.iter().map(|entry| entry.message.size());
        messages.queue_bytes = sizes.sum();
        dropped
    }
}

fn wanted(delivery: &Delivery, keep: &impl Fn(&Delivery) -> bool, dropped: &mut Vec<u64>) -> bool {
    let wanted = keep(delivery);
    if !wanted {
        dropped.push(delivery.number);
    }
    wanted
}

fn following(identifier: u16) -> u16 {
    identifier.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_flight(packet_identifier: u16) -> InFlight {
        InFlight {
            packet_identifier,
            awaiting: Awaiting::Puback,
            number: 0,
            delivery: None,
        }
    }

    #[test]
    fn packet_identifiers_start_at_one_and_wrap_past_zero() {
        let mut session = Session::new("c".into(), 1);
        assert_eq!(session.next_packet_identifier(), 1);
        for _ in 2..=u32::from(u16::MAX) {
            session.next_packet_identifier();
        }
        assert_eq!(session.next_packet_identifier(), 1);
    }

    proptest! {
        #[test]
        fn packet_identifiers_in_use_are_never_given_out(
            start in any::<u16>(),
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
            held in prop::collection::hash_set(1u16..=300, 0..250),
        ) {
            let mut session = Session::new("c".into(), 1);
            session.last_identifier = start % 320;
            session.messages.in_flight.extend(held.into_iter().map(in_flight));
            for (remove, index) in steps {
                if remove && !session.messages.in_flight.is_empty() {
                    let at = index.index(session.messages.in_flight.len());
                    session.messages.in_flight.remove(at);
                }
                let identifier = session.next_packet_identifier();
                prop_assert!(identifier != 0 && session.position(identifier).is_none(), "{}", identifier);
                session.messages.in_flight.push_back(in_flight(identifier));
            }
        }
    }
}
