//! What an operator does to sessions and retained messages, and how he listens.

use std::sync::Arc;

use super::{Broker, Phase, SessionId};
use crate::codec::ReasonCode;
use crate::message::{Message, MessageView};
use crate::retained::SYS;
use crate::store::Record;
use crate::time::Time;
use crate::topic;

/// What [`Broker::kick`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kicked {
    /// Its connection was closed.
    pub connected: bool,
    /// Its session was ended.
    pub session: bool,
}

/// A message that passes the broker, for a listener.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Which listener.
    pub listener: u64,
    /// Who published it; none for the broker itself.
    pub client_id: Option<Arc<str>>,
    /// When it came.
    pub at: Time,
    /// The message.
    pub message: Arc<Message>,
}

/// Somebody who listens to what passes.
#[derive(Debug)]
pub(super) struct Listener {
    number: u64,
    filter: Box<str>,
}

/// Who listens, and what was heard in this batch.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    last: u64,
    heard: Vec<Heard>,
}

impl Listeners {
    /// Nobody listens, as mostly.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Broker {
    /// Closes the connection of a client (DISCONNECT 0x98 for 5.0; its will is published) and, if asked to, ends its
    /// session.
    pub fn kick(&mut self, client_id: &str, with_session: bool, now: Time) -> Kicked {
        self.now = now;
        let Some(key) = self.clients.get(client_id).copied() else {
            return Kicked::default();
        };
        let connection = self
            .sessions
            .get(key)
            .and_then(|session| session.connection);
        let connected = connection.filter(|id| {
            let connection = self.connections.get(*id);
            connection.is_some_and(|connection| matches!(connection.phase, Phase::Connected(_)))
        });
        if let Some(id) = connected {
            let reason = ReasonCode::AdministrativeAction;
            self.close(id, reason, "closed by the operator");
        }
        // One that ends with its connection is gone by now.
        let session = with_session && self.clients.get(client_id) == Some(&key);
        if session {
            self.end_session(key);
        }
        Kicked {
            connected: connected.is_some(),
            session: with_session && (session || connected.is_some()),
        }
    }

    /// Removes the retained message of a topic, also from the store; whether there was one.
    pub fn remove_retained(&mut self, topic: &str, now: Time) -> bool {
        self.now = now;
        let Some(message) = self.retained.get(topic).cloned() else {
            return false;
        };
        if let Some(at) = message.expires {
            self.timers.remove_retained(at, topic);
        }
        self.retained.remove(topic);
        if self.is_stored(topic) {
            let message = &message.cleared();
            let origin = None;
            self.journal.require(&Record::Retained { message, origin });
        }
        true
    }

    /// Whether the retained message of a topic belongs into the store.
    pub(super) fn is_stored(&self, topic: &str) -> bool {
        self.settings.persistence && !topic.starts_with(SYS)
    }

    /// Has every message told from now on whose topic matches a filter; the listener's number.
    pub fn listen(&mut self, filter: &str) -> u64 {
        let listeners = &mut self.listeners;
        listeners.last += 1;
        listeners.all.push(Listener {
            number: listeners.last,
            filter: filter.into(),
        });
        listeners.last
    }

    /// No more.
    pub fn stop_listening(&mut self, listener: u64) {
        self.listeners.all.retain(|one| one.number != listener);
    }

    /// What listeners heard since the last call.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.listeners.heard)
    }

    /// Tells a message to those who listen for it.
    pub(super) fn tell_listeners(&mut self, view: &MessageView<'_>, from: Option<SessionId>) {
        let Listeners { all, heard, .. } = &mut self.listeners;
        let mut message = None;
        let wanted = all
            .iter()
            .filter(|listener| topic::matches(&listener.filter, view.topic));
        for listener in wanted {
            let message = message.get_or_insert_with(|| Arc::new(view.to_message(0)));
            let session = from.and_then(|key| self.sessions.get(key));
            heard.push(Heard {
                listener: listener.number,
                client_id: session.map(|session| session.client_id.clone()),
                at: self.now,
                message: Arc::clone(message),
            });
        }
    }
}
