//! Rules of the operator about topics: which stand for others, what clients are subscribed to by themselves, and what
//! is told of refusals.

use std::borrow::Cow;
use std::sync::Arc;

use super::doors::Doors;
use super::session::{Session, SessionId};
use super::{Broker, ConnectionId, Event, LOCAL_CLIENT};
use crate::codec::ReasonCode;
use crate::message::MessageView;
use crate::settings::{ClientLimits, Names, Overlapping, Settings};
use crate::store::Record;
use crate::topic::Filter;

impl Broker {
    /// Other rules hold from now on.
    pub(super) fn apply_rules(&mut self) {
        let merged = self.settings.rules.overlapping == Overlapping::Merged;
        self.subscriptions.reroute(merged);
        self.assign_limits();
        self.retained
            .count_accounts(self.settings.limits_retained_by_user());
    }

    /// The limits of a session that is not there yet.
    pub(super) fn limits_for(&self, session: &Session) -> Option<Arc<ClientLimits>> {
        limits(&self.settings, &self.doors, session)
    }

    /// Finds the limits of every session that is there.
    pub(super) fn assign_limits(&mut self) {
        for key in self.sessions.keys() {
            self.assign_limits_of(key);
        }
    }

    /// Finds those of one.
    pub(super) fn assign_limits_of(&mut self, key: SessionId) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.limits = limits(&self.settings, &self.doors, session);
        }
    }

    /// Whose session it is from now on. The session is in the journal when it is durable.
    pub(super) fn assign(&mut self, id: ConnectionId, key: SessionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let account = connection.authorizer.account();
        if session.account.as_deref() != account {
            session.account = account.map(|account| self.texts.share(account));
            let record = Record::SessionAccount {
                session: session.number,
                account: account.unwrap_or_default(),
            };
            if session.durable {
                self.journal.require(&record);
            } else if session.recorded {
                // Its will is published with these rights, by the next process if need be.
                self.journal.note(&record);
            }
        }
        session.door = connection.door;
        session.limits = limits(&self.settings, &self.doors, session);
    }

    /// What a session is held to.
    pub(super) fn limits(&self, session: &Session) -> ClientLimits {
        let own = session.limits.as_deref().copied();
        own.unwrap_or_else(|| self.settings.general_limits())
    }

    /// The topic that a client's PUBLISH or will is about.
    pub(super) fn rewritten_name(
        &self,
        id: ConnectionId,
        names: Names<'_>,
        topic: &str,
    ) -> Result<Option<String>, ReasonCode> {
        let rules = &self.settings.rules.rewrite;
        if rules.is_empty() || self.is_local(id) {
            return Ok(None);
        }
        let replaced = rules.name(topic, names);
        replaced.map_err(|_| ReasonCode::TopicNameInvalid)
    }

    /// The filter that a client's SUBSCRIBE or UNSUBSCRIBE is about; `text` is a filter.
    pub(super) fn rewritten_filter<'t>(
        &self,
        id: ConnectionId,
        names: Names<'_>,
        text: &'t str,
    ) -> Result<Cow<'t, str>, ReasonCode> {
        let rules = &self.settings.rules.rewrite;
        if rules.is_empty() || self.is_local(id) {
            return Ok(Cow::Borrowed(text));
        }
        let filter = Filter::parse(text).ok_or(ReasonCode::TopicFilterInvalid)?;
        match rules.filter(filter, names) {
            Ok(Some(replaced)) => Ok(Cow::Owned(replaced)),
            Ok(None) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(ReasonCode::TopicFilterInvalid),
        }
    }

    /// What the client of a session is called, with work that needs to know it.
    pub(super) fn with_names<T>(
        &self,
        id: ConnectionId,
        session: SessionId,
        work: impl FnOnce(Names<'_>) -> T,
    ) -> Option<T> {
        let connection = self.connections.get(id)?;
        let session = self.sessions.get(session)?;
        Some(work(Names {
            user: connection.authorizer.account(),
            client_id: &session.client_id,
        }))
    }

    fn is_local(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(|connection| connection.local)
    }

    /// Makes the subscriptions that a client gets with its CONNECT. One that it has already stays as it is.
    pub(super) fn auto_subscribe(&mut self, id: ConnectionId, key: SessionId) {
        if self.settings.rules.auto_subscribe.is_empty() || self.is_local(id) {
            return;
        }
        let wanted = self.with_names(id, key, |names| {
            let rules = self.settings.rules.auto_subscribe.iter();
            let rules = rules.filter(|rule| rule.who.matches(names));
            let filled = rules.map(|rule| (names.fill(&rule.filter), rule));
            let filled = filled.map(|(text, rule)| (text, rule.filter.clone(), rule.options));
            filled.collect::<Vec<_>>()
        });
        let mut retained = Vec::new();
        for (text, as_written, options) in wanted.unwrap_or_default() {
            let Some(text) = text else {
                self.deny(
                    id,
                    ReasonCode::TopicFilterInvalid,
                    &as_written,
                    "auto_subscribe",
                );
                continue;
            };
            match self.add_subscription(id, key, &text, options, 0, true) {
                Ok(found) => retained.extend(found),
                Err(reason) => self.deny(id, reason, &text, "auto_subscribe"),
            }
        }
        self.queue_retained(id, retained);
    }

    /// Whether as many messages are retained as may be, or as many bytes. One may take another's place.
    pub(super) fn retains_no_more(&self, view: &MessageView<'_>) -> bool {
        let before = self.retained.get(view.topic);
        let most = self.settings.rules.max_retained_bytes;
        let bytes = self.retained.bytes() - before.map_or(0, |message| message.size());
        before.is_none() && self.retained.len() >= self.settings.max_retained_messages
            || most > 0 && bytes + view.size() > most
    }

    /// Tells the log of something that was refused to a client.
    pub(super) fn deny(
        &mut self,
        id: ConnectionId,
        reason: ReasonCode,
        topic: &str,
        what: &'static str,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let again = std::mem::replace(&mut connection.denied, true);
        let session = match connection.phase {
            super::Phase::Connected(session) => self.sessions.get(session),
            _ => None,
        };
        self.events.push(Event::Denied {
            connection: id,
            client_id: session.map_or_else(Default::default, |session| session.client_id.clone()),
            reason,
            topic: topic.into(),
            what,
            again,
        });
    }
}

/// Bridges are held to the general ones.
fn limits(settings: &Settings, doors: &Doors, session: &Session) -> Option<Arc<ClientLimits>> {
    if settings.rules.overrides.is_empty() || session.client_id.starts_with(LOCAL_CLIENT) {
        return None;
    }
    let names = Names {
        user: session.account.as_deref(),
        client_id: &session.client_id,
    };
    settings.limits_of(names, doors.name(session.door))
}
