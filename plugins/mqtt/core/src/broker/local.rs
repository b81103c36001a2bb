//! What the program itself does with its broker: connections without a socket, and messages of its own.
//!
//! A bridge is a client here, by such a connection: what it has to keep over restarts its session keeps.

use std::sync::Arc;

use super::connection::{Connection, Meter};
use super::{Broker, ConnectionId, Phase};
use crate::codec::QoS;
use crate::message::MessageView;
use crate::settings::{Limits, Offer, Subscribing};
use crate::store::Record;
use crate::time::Time;
use crate::via;

/// Client identifiers that begin with this are of local connections alone.
pub const LOCAL_CLIENT: &str = "$bridge/";

impl Broker {
    /// What this broker is called on messages that pass bridges ([`via`]): those that come round are not taken again.
    pub fn set_name(&mut self, name: &str) {
        self.name = name.into();
    }

    /// A connection from within the program, which is held to none of the limits that are for clients: keep alive,
    /// session expiry, highest QoS, receive maximum.
    pub fn open_local(&mut self, meter: Arc<Meter>, limits: Limits, now: Time) -> ConnectionId {
        self.now = now;
        self.last_connection += 1;
        let offer = Offer {
            receive_maximum: u16::MAX,
            topic_alias_maximum: 0,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            subscribing: Subscribing::ALL,
        };
        meter.count_in(self.load.unsent());
        let mut connection = Connection::new(self.last_connection, meter, limits, offer, now);
        connection.local = true;
        self.connections.insert(connection)
    }

    /// The peer that a local connection speaks for begins anew: QoS 2 packet identifiers that it had not released mean
    /// nothing to it.
    pub fn forget_received(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        let Some(Phase::Connected(key)) =
            self.connections.get(id).map(|connection| &connection.phase)
        else {
            return;
        };
        let Some(session) = self.sessions.get_mut(*key) else {
            return;
        };
        let received: Vec<u16> = session.messages.received.keys().copied().collect();
        for packet_identifier in received {
            session.note_released(packet_identifier);
            if session.durable {
                self.journal.require(&Record::ReceivedReleased {
                    session: session.number,
                    packet_identifier,
                });
            }
        }
    }

    /// Messages that wait for a client, or were sent to it and not acknowledged.
    #[must_use]
    pub fn waiting_for(&self, client_id: &str) -> usize {
        let session = self.clients.get(client_id);
        let session = session.and_then(|key| self.sessions.get(*key));
        session.map_or(0, |session| {
            session.messages.queue.len() + session.messages.in_flight.len()
        })
    }

    /// Ends the session of a client that is not connected, with all that waits for it.
    pub fn forget_client(&mut self, client_id: &str, now: Time) {
        self.now = now;
        let key = self.clients.get(client_id).copied();
        let gone = key.filter(|key| {
            let session = self.sessions.get(*key);
            session.is_some_and(|session| session.connection.is_none())
        });
        if let Some(key) = gone {
            self.end_session(key);
        }
    }

    /// The filters that a client is subscribed to; none if it has no session.
    #[must_use]
    pub fn subscribed_by(&self, client_id: &str) -> Option<Vec<String>> {
        let session = self.sessions.get(*self.clients.get(client_id)?)?;
        let filters = session.subscriptions.keys();
        Some(filters.map(|filter| filter.to_string()).collect())
    }

    /// Clients with an identifier of [`LOCAL_CLIENT`] that have a session.
    #[must_use]
    pub fn local_clients(&self) -> Vec<String> {
        let ids = self.clients.keys();
        let local = ids.filter(|client_id| client_id.starts_with(LOCAL_CLIENT));
        local.map(|client_id| client_id.to_string()).collect()
    }

    /// Publishes a message of the broker's own with QoS 0, also to topics that clients do not publish to.
    pub fn publish_own(&mut self, topic: &str, payload: &[u8], retain: bool, now: Time) {
        self.now = now;
        let view = MessageView {
            topic,
            payload,
            owner: None,
            properties: &[],
            expires: None,
            qos: QoS::AtMostOnce,
            retain,
        };
        let route = self.subscriptions.route(topic);
        self.accept(&view, &route, None);
    }

    /// Whether a message that a client publishes passed this broker before. Bridges of its own know by themselves.
    pub(super) fn came_round(&self, id: ConnectionId, properties: &[u8]) -> bool {
        !properties.is_empty()
            && !self.name.is_empty()
            && via::has_passed(properties, &self.name)
            && self
                .connections
                .get(id)
                .is_some_and(|connection| !connection.local)
    }
}
