//! DISCONNECT, the end of connections and sessions, and wills (3.14, 4.1, 3.1.2.5).

use std::sync::Arc;

use super::connection::Phase;
use super::session::SessionId;
use super::{Broker, ConnectionId, Event};
use crate::authorizer::Authorizer;
use crate::codec::disconnect::Disconnect;
use crate::codec::{Error, Version};
use crate::message::{Message, MessageView};
use crate::store::Record;

/// What becomes of the will when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WillFate {
    /// Published, after its delay.
    Publish,
    /// Forgotten: the client left in order.
    Discard,
    /// Kept for the next connection or the next start of the server.
    Defer,
}

impl Broker {
    pub(super) fn handle_disconnect(
        &mut self,
        id: ConnectionId,
        version: Version,
        body: &[u8],
    ) -> Result<(), Error> {
        let disconnect = Disconnect::decode(version, body)?;
        let key = match self.connections.get(id).map(|connection| &connection.phase) {
            Some(Phase::Connected(key)) => *key,
            Some(Phase::Authenticating(pending)) => {
                // In the middle of an exchange (4.12): there is neither a session nor a will yet.
                let client_id = pending.client_id.as_str().into();
                self.events.push(Event::Disconnected {
                    connection: id,
                    client_id,
                });
                self.leave(id, WillFate::Discard);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        if let Some(interval) = disconnect.session_expiry_interval {
            if session.expiry == 0 && interval > 0 {
                // MQTT-3.1.2-23, 3.14.2.2.2.
                return Err(Error::Protocol("session expiry interval raised from zero"));
            }
            session.expiry = interval.min(self.settings.max_session_expiry);
            if session.durable {
                let will = session
                    .will
                    .as_ref()
                    .map(|will| (&*will.message, will.delay));
                let (number, expiry) = (session.number, session.expiry);
                self.journal.note(&Record::Session {
                    session: number,
                    client_id: &session.client_id,
                    expiry,
                    will,
                });
            }
        }
        self.events.push(Event::Disconnected {
            connection: id,
            client_id: session.client_id.clone(),
        });
        self.leave(
            id,
            if disconnect.with_will {
                WillFate::Publish
            } else {
                WillFate::Discard
            },
        );
        Ok(())
    }

    /// Starts closing a connection and takes its session off it.
    pub(super) fn leave(&mut self, id: ConnectionId, fate: WillFate) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let authorizer = connection.authorizer.clone();
        let key = match connection.phase {
            Phase::Connected(key) => Some(key),
            _ => None,
        };
        connection.start_closing();
        connection.touch(id, &mut self.touched);
        if let Some(key) = key {
            self.detach(key, fate, &*authorizer);
        }
    }

    fn detach(&mut self, key: SessionId, fate: WillFate, authorizer: &dyn Authorizer) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.end_connection();
        let allowed = session
            .will
            .as_ref()
            .is_some_and(|will| authorizer.may_publish(&will.message.topic));
        if fate == WillFate::Discard || !allowed {
            session.will = None;
        }
        if session.expiry == 0 {
            if fate == WillFate::Defer && session.recorded && session.will.is_some() {
                // Stays in the store for the next start; this process is about to end.
                session.deadlines.ends_at = Some(now);
                return;
            }
            self.end_session(key);
            return;
        }
        self.weigh(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (number, recorded, will_done) =
            (session.number, session.recorded, session.will.is_none());
        let ends_at = match session.expiry {
            u32::MAX => None,
            expiry => Some(now.after_seconds(expiry)),
        };
        let will = session.will.as_ref();
        // The session's end is the latest moment (MQTT-3.1.3-9).
        let will_at = will
            .filter(|_| fate == WillFate::Publish)
            .map(|will| now.after_seconds(will.delay.min(session.expiry)));
        session.set_deadlines(will_at, ends_at);
        let timer = session.deadlines.next();
        if recorded {
            self.journal.note(&Record::Offline {
                session: number,
                at: now,
                will_done,
            });
        }
        match timer {
            Some(at) if at <= now => self.session_due(key),
            Some(at) => self.arm_session(key, at),
            None => {}
        }
    }

    /// What is due for a session without a connection: its will, then its end.
    pub(super) fn session_due(&mut self, key: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.deadlines.armed = None;
        if session.connection.is_some() {
            session.keep();
            return;
        }
        if session.deadlines.will_at.is_some_and(|at| at <= now) {
            session.deadlines.will_at = None;
            self.publish_will(key);
        }
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if session.deadlines.ends_at.is_some_and(|at| at <= now) {
            self.counters.traffic.sessions_expired += u64::from(session.expiry > 0);
            self.end_session(key);
            return;
        }
        if let Some(at) = session.deadlines.next() {
            self.arm_session(key, at);
        }
    }

    /// Discards a session and all that belongs to it; a will that waits is published (3.1.2.5).
    pub(super) fn end_session(&mut self, key: SessionId) {
        self.publish_will(key);
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        self.unweigh(session.weight);
        let orphans = self.orphans(&session, |_| true);
        self.clients.remove(&session.client_id);
        self.unsubscribe_all(key, std::mem::take(&mut session.subscriptions));
        if session.recorded {
            let record = Record::SessionEnded {
                session: session.number,
            };
            if session.durable {
                self.journal.require(&record)
            } else {
                self.journal.note(&record)
            }
        }
        self.adopt(orphans);
    }

    fn publish_will(&mut self, key: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(will) = session.will.take() else {
            return;
        };
        if session.recorded && session.connection.is_none() {
            self.journal.note(&Record::Offline {
                session: session.number,
                at: now,
                will_done: true,
            });
        }
        self.weigh(key);
        let expires = will
            .message
            .expires
            .map(|interval| now + interval.0.saturating_mul(1000));
        let message = Message {
            expires,
            ..Message::clone(&will.message)
        };
        if !self.session_may_still_publish(key, &message.topic) {
            return;
        }
        let route = Arc::new(self.subscriptions.route(&message.topic));
        self.accept(&MessageView::from(&message), &route, Some(key));
    }
}
