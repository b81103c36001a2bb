//! What an operator sees of sessions, connections and retained messages: a page at a time, so that no look at however
//! many of them holds up the broker.

use super::connection::Connection;
use super::session::Session;
use super::{Broker, ConnectionId, Phase};
use crate::codec::{QoS, Version};
use crate::message::Message;
use crate::retained::{Found, Search};
use crate::time::Time;
use crate::topic::Filter;

/// A session as it is at this moment.
#[derive(Clone, Copy)]
pub struct SessionView<'a> {
    session: &'a Session,
    connection: Option<(ConnectionId, &'a Connection)>,
}

/// What a session's connection is.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionView<'a> {
    /// Which one.
    pub id: ConnectionId,
    /// The account of its client.
    pub account: Option<&'a str>,
    /// Protocol version.
    pub version: Version,
    /// When its network connection was accepted.
    pub since: Time,
    /// When a packet last came.
    pub last_packet: Time,
    /// Seconds of its keep alive; 0 for none, and none where another limit is shorter.
    pub keep_alive: Option<u64>,
    /// Bytes that its client has not taken.
    pub unsent: usize,
    /// The client is another broker's bridge.
    pub bridge: bool,
    /// It comes from within the program.
    pub local: bool,
}

impl std::fmt::Debug for SessionView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionView({:?})", self.session.client_id)
    }
}

impl<'a> SessionView<'a> {
    /// Client identifier.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        &self.session.client_id
    }

    /// Its connection, if it has one.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionView<'a>> {
        let (id, connection) = self.connection?;
        let limit = connection.keep_alive_limit;
        let other = connection.limits.idle_timeout;
        Some(ConnectionView {
            id,
            account: connection.authorizer.account(),
            version: connection.version,
            since: connection.opened,
            last_packet: connection.last_packet,
            keep_alive: (limit == 0 || limit != other).then_some(limit / 1_500),
            unsent: connection.unsent(),
            bridge: connection.bridge,
            local: connection.local,
        })
    }

    /// QoS 1 and 2 messages sent and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.session.messages.in_flight.len()
    }

    /// Bytes of them that are kept to be sent again.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        let kept = self
            .session
            .messages
            .in_flight
            .iter()
            .filter_map(|entry| entry.delivery.as_ref());
        kept.map(|delivery| delivery.message.size()).sum()
    }

    /// QoS 1 and 2 messages that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.session.messages.queue.len()
    }

    /// Bytes of them.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.session.messages.queue_bytes
    }

    /// QoS 2 packet identifiers of the client that wait for PUBREL.
    #[must_use]
    pub fn unreleased(&self) -> usize {
        self.session.messages.received.len()
    }

    /// How many subscriptions it has.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.session.subscriptions.len()
    }

    /// Their filters with the QoS of each, in no order.
    pub fn filters(&self) -> impl Iterator<Item = (&'a str, QoS)> + use<'a> {
        let subscriptions = self.session.subscriptions.iter();
        subscriptions.map(|(filter, (options, _))| (&**filter, options.qos))
    }

    /// Session expiry interval in seconds; 4294967295 for ever.
    #[must_use]
    pub fn expiry(&self) -> u32 {
        self.session.expiry
    }

    /// When it ends, if it has no connection and does end.
    #[must_use]
    pub fn ends_at(&self) -> Option<Time> {
        self.session.deadlines.ends_at
    }

    /// Whether it is kept in the store.
    #[must_use]
    pub fn durable(&self) -> bool {
        self.session.durable
    }

    /// Whether it has a will.
    #[must_use]
    pub fn has_will(&self) -> bool {
        self.session.will.is_some()
    }
}

/// Sums over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions with a connection.
    pub connected: u64,
    /// Sessions without.
    pub disconnected: u64,
    /// QoS 1 and 2 messages sent and not acknowledged.
    pub in_flight: u64,
    /// Messages kept for them: queued, or to be sent again.
    pub kept: u64,
    /// Bytes of those.
    pub kept_bytes: u64,
}

/// A retained message as it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct RetainedView<'a> {
    /// It.
    pub message: &'a Message,
    /// When it was retained; none for one of a store that did not say.
    pub since: Option<Time>,
    /// The account that published it.
    pub publisher: Option<&'a str>,
}

/// Where a look at retained messages stands.
#[derive(Clone, Debug)]
pub struct RetainedCursor {
    search: Search,
    /// Topics that begin with `$` come as well: there was no filter.
    all: bool,
}

impl Broker {
    /// Shows the sessions of so many slots from one on, and gives the slot to go on from. One that comes or goes
    /// meanwhile may be left out; one that stays is shown once.
    pub fn look_at_sessions(
        &self,
        from: u32,
        slots: u32,
        mut each: impl FnMut(SessionView<'_>),
    ) -> Option<u32> {
        let (page, next) = self.sessions.page(from, slots);
        for (_, session) in page {
            each(self.view(session));
        }
        next
    }

    /// Shows the session of a client; whether it has one.
    pub fn look_at_session<T>(
        &self,
        client_id: &str,
        show: impl FnOnce(SessionView<'_>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get(*self.clients.get(client_id)?)?;
        Some(show(self.view(session)))
    }

    fn view<'a>(&'a self, session: &'a Session) -> SessionView<'a> {
        let id = session.connection;
        let connection = id.and_then(|id| {
            let connection = self.connections.get(id)?;
            matches!(connection.phase, Phase::Connected(_)).then_some((id, connection))
        });
        SessionView {
            session,
            connection,
        }
    }

    /// Adds the sessions of so many slots to sums, and gives the slot to go on from.
    pub fn sum(&self, from: u32, slots: u32, totals: &mut Totals) -> Option<u32> {
        self.look_at_sessions(from, slots, |view| {
            let count = match view.connection {
                Some(_) => &mut totals.connected,
                None => &mut totals.disconnected,
            };
            *count += 1;
            let session = view.session;
            totals.in_flight += session.messages.in_flight.len() as u64;
            let again = session
                .messages
                .in_flight
                .iter()
                .filter(|entry| entry.delivery.is_some());
            totals.kept += (session.messages.queue.len() + again.count()) as u64;
            totals.kept_bytes += (view.queued_bytes() + view.in_flight_bytes()) as u64;
        })
    }

    /// A look at the retained messages that match a filter, or at all; none for what is no filter.
    #[must_use]
    pub fn look_for_retained(&self, filter: Option<&str>) -> Option<RetainedCursor> {
        if let Some(filter) = filter {
            Filter::parse(filter).filter(|filter| filter.share.is_none())?;
        }
        Some(RetainedCursor {
            search: self.retained.search(filter.unwrap_or("#")),
            all: filter.is_none(),
        })
    }

    /// Shows some of them and tells whether there may be more; `wanted` at most, and after `looks` at topics.
    pub fn look_at_retained(
        &self,
        cursor: &mut RetainedCursor,
        (wanted, looks): (usize, usize),
        mut each: impl FnMut(RetainedView<'_>),
    ) -> bool {
        let mut found = Vec::new();
        let more = if cursor.all {
            self.retained.page(&mut cursor.search, wanted, &mut found)
        } else {
            let search = &mut cursor.search;
            self.retained.find(search, wanted, looks, &mut found)
        };
        for Found { message, origin } in &found {
            if !message.is_expired(self.now) {
                let publisher = origin.publisher.as_ref();
                each(RetainedView {
                    message,
                    since: Some(origin.since).filter(|since| since.0 > 0),
                    publisher: publisher.map(|publisher| &*publisher.account),
                });
            }
        }
        more
    }
}
