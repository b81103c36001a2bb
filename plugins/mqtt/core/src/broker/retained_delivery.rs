//! Retained messages for new subscriptions (3.3.1.3), a few in a turn: as many as the reader takes, found as they are
//! sent. However many match, a subscription that waits for them costs its filter and the topic it has come to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::connection::Phase;
use super::send::{Sending, send};
use super::session::SessionId;
use super::topic_checks::may_receive_on;
use super::{Broker, ConnectionId};
use crate::codec::QoS;
use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::message::MessageView;
use crate::retained::{Found, Search};
use crate::store::Record;
use crate::topic::Filter;

/// Messages found at once.
const FOUND: usize = 64;
/// Topics looked at for them.
const LOOKS: usize = 256;
/// Topics looked at as a subscription is made.
const FIRST_LOOKS: usize = 4;
/// How often that is done in one turn.
const ROUNDS: usize = 8;
/// A reader gets no more while it has so many bytes to take.
const UNSENT: usize = 64 * 1024;

/// Retained messages for a new subscription.
#[derive(Debug)]
pub(super) struct PendingRetained {
    /// One that was replaced meanwhile is left out: its successor went out as a live message.
    pub search: Search,
    pub qos: QoS,
    pub identifier: u32,
}

/// What a connection waits for, in the order of its subscriptions, each filter once.
#[derive(Debug, Default)]
pub(super) struct RetainedQueue {
    in_order: BTreeMap<u64, PendingRetained>,
    places: HashMap<Box<str>, u64>,
    last: u64,
    /// A turn of its own is set for them.
    armed: bool,
}

impl RetainedQueue {
    /// In the place of one with the same filter, which begins anew.
    pub(super) fn push(&mut self, pending: PendingRetained) {
        self.forget(&pending.search.filter.clone());
        self.last += 1;
        self.places.insert(pending.search.filter.clone(), self.last);
        self.in_order.insert(self.last, pending);
    }

    /// A filter's are not wanted any more.
    pub(super) fn forget(&mut self, filter: &str) {
        if let Some(place) = self.places.remove(filter) {
            self.in_order.remove(&place);
        }
    }

    fn first(&mut self) -> Option<&mut PendingRetained> {
        self.in_order.values_mut().next()
    }

    fn pop_first(&mut self) {
        if let Some((_, first)) = self.in_order.pop_first() {
            self.places.remove(&first.search.filter);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingRetained> {
        self.in_order.values()
    }

    fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }
}

/// How a round ended.
enum Round {
    /// Nothing is left for this connection.
    Done,
    /// The reader has to take or to acknowledge something first, and the engine will be told.
    Waits,
    More,
}

impl Broker {
    /// Retained messages of a shared subscription are not sent (4.8.2).
    pub(super) fn search_retained(
        &self,
        filter: Filter<'_>,
        options: SubscriptionOptions,
        existed: bool,
        identifier: u32,
    ) -> Option<PendingRetained> {
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        if !wanted || filter.share.is_some() || self.retained.total() == 0 {
            return None;
        }
        let mut search = self.retained.search(filter.filter);
        // Most filters match nothing, and cost nothing from here on.
        let mut first = Vec::new();
        let more = self.retained.find(&mut search, 1, FIRST_LOOKS, &mut first);
        if let Some(first) = first.first() {
            search.from = first.message.topic.clone();
        }
        (more || !first.is_empty()).then_some(PendingRetained {
            search,
            qos: options.qos,
            identifier,
        })
    }

    /// They go with the connection if it does not get to send them; another subscription with the same filter
    /// begins anew.
    pub(super) fn queue_retained(&mut self, id: ConnectionId, pending: Vec<PendingRetained>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        for one in pending {
            connection.retained.get_or_insert_default().push(one);
        }
        if let Phase::Connected(session) = connection.phase {
            self.pump(session);
        }
    }

    /// Sends some, and goes on in another turn.
    pub(super) fn pump_retained(&mut self, key: SessionId) {
        for _ in 0..ROUNDS {
            match self.retained_round(key) {
                Round::More => {}
                Round::Done | Round::Waits => return,
            }
        }
        let id = self
            .sessions
            .get(key)
            .and_then(|session| session.connection);
        if let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.get_mut(id)?)))
            && let Some(retained) = &mut connection.retained
            && !retained.armed
        {
            retained.armed = true;
            self.timers.retained_delivery(self.now, id);
        }
    }

    /// Its turn has come.
    pub(super) fn retained_delivery_due(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if let Some(retained) = &mut connection.retained {
            retained.armed = false;
        }
        if let Phase::Connected(session) = connection.phase {
            self.pump(session);
        }
    }

    fn retained_round(&mut self, key: SessionId) -> Round {
        let Some(session) = self.sessions.get(key) else {
            return Round::Done;
        };
        let id = session.connection;
        let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.get_mut(id)?)))
        else {
            return Round::Done;
        };
        if connection.retained.is_none() {
            return Round::Done;
        }
        if !connection.has_room(session.messages.outstanding, UNSENT) {
            return Round::Waits;
        }
        let retained = connection.retained.as_mut();
        let Some(next) = retained.and_then(|retained| retained.first()) else {
            return Round::Done;
        };
        let (qos, identifier) = (next.qos, next.identifier);
        let mut found = Vec::new();
        let more = self
            .retained
            .find(&mut next.search, FOUND, LOOKS, &mut found);
        for (at, one) in found.iter().enumerate() {
            if !self.send_retained(key, id, one, qos, identifier) {
                // The rest is found again.
                let connection = self.connections.get_mut(id);
                let retained = connection.and_then(|connection| connection.retained.as_mut());
                if let Some(next) = retained.and_then(|retained| retained.first()) {
                    next.search.from = found[at].message.topic.clone();
                }
                return Round::Waits;
            }
        }
        if !more
            && let Some(connection) = self.connections.get_mut(id)
            && let Some(retained) = &mut connection.retained
        {
            retained.pop_first();
            if retained.is_empty() {
                connection.retained = None;
                return Round::Done;
            }
        }
        Round::More
    }

    /// Whether its publisher might not publish it any more.
    fn is_withdrawn(&self, found: &Found) -> bool {
        let publisher = found.origin.publisher.as_ref();
        self.settings.rules.check_retained_source
            && publisher.is_some_and(|it| !self.may_still_publish(it, &found.message.topic))
    }

    /// False if the reader has no room for it.
    fn send_retained(
        &mut self,
        key: SessionId,
        id: ConnectionId,
        found: &Found,
        most: QoS,
        identifier: u32,
    ) -> bool {
        let message = &found.message;
        if self.is_withdrawn(found) {
            return true;
        }
        let (Some(session), Some(connection)) =
            (self.sessions.get(key), self.connections.get_mut(id))
        else {
            return false;
        };
        if message.is_expired(self.now) || !may_receive_on(session, connection, &message.topic) {
            return true;
        }
        if !connection.has_room(session.messages.outstanding, UNSENT) {
            return false;
        }
        let qos = message.qos.min(most);
        let identifiers: &[u32] = if identifier == 0 { &[] } else { &[identifier] };
        if qos == QoS::AtMostOnce {
            let sending = Sending {
                qos,
                retain: true,
                dup: false,
                packet_identifier: 0,
                identifiers,
            };
            let view = MessageView::from(&**message);
            send(
                connection,
                None,
                &mut self.counters,
                self.now,
                &view,
                sending,
            );
            connection.touch(id, &mut self.touched);
            return true;
        }
        let message = if session.durable {
            let stored = Arc::new(message.numbered(self.next_number()));
            self.journal.require(&Record::Message { message: &stored });
            stored
        } else {
            Arc::clone(message)
        };
        self.enqueue(key, message, qos, true, identifiers);
        true
    }
}
