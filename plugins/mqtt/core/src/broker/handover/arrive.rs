//! Connections that follow their broker's state, and those that stay behind.

use std::sync::Arc;

use super::Broker;
use crate::authorizer::Authorizer;
use crate::broker::ConnectionId;
use crate::broker::connection::{Connection, Meter, Phase};
use crate::broker::disconnect::WillFate;
use crate::broker::send::{Sending, send};
use crate::broker::session::SessionId;
use crate::broker::topic_checks::may_receive_on;
use crate::codec::ReasonCode;
use crate::message::MessageView;
use crate::store::Record;
use crate::time::Time;

impl Broker {
    /// What a connection is called in the broker that takes this one's place; none if it is closing.
    #[must_use]
    pub fn connection_number(&self, id: ConnectionId) -> Option<u64> {
        let connection = self.connections.get(id)?;
        (!matches!(connection.phase, Phase::Closing)).then_some(connection.number)
    }

    /// The socket of a connection has arrived, with `unsent` bytes for its client that the broker before had handed
    /// out. `authorizer` is who had logged in, and nobody where nobody had, or where the account is gone. None: the
    /// connection is not awaited, or not any more.
    pub fn attach(
        &mut self,
        number: u64,
        authorizer: Option<Arc<dyn Authorizer>>,
        meter: Arc<Meter>,
        unsent: usize,
        now: Time,
    ) -> Option<ConnectionId> {
        self.now = now;
        let id = self.arriving.remove(&number)?;
        let connection = self.connections.get_mut(id)?;
        let arriving = connection.arriving.take()?;
        meter.add(unsent);
        meter.count_in(self.load.unsent());
        connection.meter = meter;
        put_off(connection, now.0.saturating_sub(arriving.since.0));
        connection.touch(id, &mut self.touched);
        let due = match connection.phase {
            Phase::AwaitingConnect | Phase::Authenticating(_) => {
                Some(connection.opened + connection.limits.login_timeout)
            }
            Phase::Connected(_) if connection.keep_alive_limit > 0 => {
                Some(connection.last_packet + connection.keep_alive_limit)
            }
            Phase::Connected(_) | Phase::Closing => None,
        };
        if let Some(at) = due {
            self.timers.connection(at, id);
        }
        let Phase::Connected(key) = connection.phase else {
            return Some(id);
        };
        let exchange = connection.exchange.as_deref();
        if let Some(exchange) = exchange.filter(|exchange| exchange.is_under_way()) {
            let at = exchange.since + connection.limits.login_timeout;
            self.timers.authentication(at, id);
        }
        if connection.too_slow {
            self.timers.connection(now, id);
        }
        let Some(authorizer) = authorizer else {
            self.close(id, ReasonCode::NotAuthorized, "account changed or removed");
            return Some(id);
        };
        connection.authorizer = authorizer;
        for delivery in arriving.held {
            let session = self.sessions.get(key);
            let allowed = session.is_some_and(|session| {
                may_receive_on(session, connection, &delivery.message.topic)
            });
            if allowed && !delivery.message.is_expired(now) {
                let sending = Sending {
                    qos: delivery.qos,
                    retain: delivery.retain,
                    dup: false,
                    packet_identifier: 0,
                    identifiers: &delivery.identifiers,
                };
                let view = MessageView::from(&*delivery.message);
                send(connection, None, &mut self.counters, now, &view, sending);
            }
        }
        self.check_queued(id, key);
        self.pump(key);
        Some(id)
    }

    /// Messages that came while nobody could be asked whether their receiver may have them.
    fn check_queued(&mut self, id: ConnectionId, key: SessionId) {
        let (Some(session), Some(connection)) =
            (self.sessions.get_mut(key), self.connections.get(id))
        else {
            return;
        };
        let Some(checks) = session.topic_checks.take() else {
            return;
        };
        let dropped = session.retain_queued(|delivery| {
            checks.may_receive(&*connection.authorizer, &delivery.message.topic)
        });
        session.topic_checks = Some(checks);
        if session.durable {
            for delivery in dropped {
                self.journal.require(&Record::Delivered {
                    session: session.number,
                    delivery,
                });
            }
        }
    }

    /// What has not arrived by now does not come any more.
    pub fn abandon(&mut self, now: Time) {
        let late: Vec<_> = self.arriving.values().copied().collect();
        for id in late {
            self.lost(id, now);
        }
    }

    /// A connection is with the broker that took this one's place.
    pub fn passed(&mut self, id: ConnectionId) {
        self.connections.remove(id);
    }

    /// The broker is at work again after `paused` milliseconds in which it read from nobody.
    pub fn resume(&mut self, paused: u64, now: Time) {
        self.now = now;
        for id in self.connections.keys() {
            let connection = self.connections.get_mut(id);
            if let Some(connection) = connection.filter(|connection| connection.is_here()) {
                put_off(connection, paused);
            }
        }
    }

    /// Another broker took this one's place: as [`Broker::shut_down`], but for connections that cross to it.
    pub fn retire(&mut self, now: Time, crosses: impl Fn(ConnectionId) -> bool) {
        self.accepting = false;
        for id in self.connections.keys() {
            if !crosses(id) {
                self.dismiss(id, now);
            }
        }
    }

    /// Ends a connection because the server ends: its will waits for the next start (3.1.2.5).
    pub fn dismiss(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        self.close_with(
            id,
            self.parting(id),
            "server shutting down",
            WillFate::Defer,
        );
    }
}

fn put_off(connection: &mut Connection, milliseconds: u64) {
    connection.opened = connection.opened + milliseconds;
    connection.last_packet = connection.last_packet + milliseconds;
    if let Some(exchange) = &mut connection.exchange {
        exchange.since = exchange.since + milliseconds;
    }
}
