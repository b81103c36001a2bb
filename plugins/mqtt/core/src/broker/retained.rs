//! Retained messages: which are kept (3.3.1.3).

use std::sync::Arc;

use super::session::SessionId;
use super::{Broker, DropCause, LOCAL_CLIENT};
use crate::codec::{QoS, ReasonCode};
use crate::message::MessageView;
use crate::origin::{Origin, Publisher};
use crate::retained::SYS;
use crate::store::Record;

impl Broker {
    /// Keeps a message as the retained one of its topic; one without payload removes it.
    pub(super) fn retain(
        &mut self,
        view: &MessageView<'_>,
        from: Option<SessionId>,
        publisher: Option<Publisher>,
    ) {
        let existing = self.retained.get(view.topic).map(|message| message.expires);
        if view.payload.is_empty() && existing.is_none() {
            return;
        }
        let own = view.topic.starts_with(SYS);
        if !own && !view.payload.is_empty() && self.retains_no_more(view) {
            self.counters.dropped(DropCause::RetainedFull);
            return;
        }
        if !own && from.is_some_and(|key| self.is_over_retained_limit(key, view)) {
            self.counters.dropped(DropCause::RetainedFull);
            self.deny_session(from, view.topic);
            return;
        }
        if !own && !view.payload.is_empty() && self.is_exhausted() {
            self.counters.dropped(DropCause::Overload);
            return;
        }
        let message = Arc::new(view.to_message(0));
        let origin = Origin {
            since: self.now,
            publisher,
        };
        if self.is_stored(view.topic) {
            let record = Record::Retained {
                message: &message,
                origin: (!view.payload.is_empty()).then_some(&origin),
            };
            if view.qos == QoS::AtMostOnce {
                self.journal.note(&record)
            } else {
                self.journal.require(&record)
            }
        }
        if let Some(Some(at)) = existing {
            self.timers.remove_retained(at, view.topic);
        }
        if view.payload.is_empty() {
            self.retained.remove(view.topic);
        } else {
            if let Some(at) = view.expires {
                self.timers.retained(at, view.topic);
            }
            self.retained.insert(message, origin);
            self.look_at_load();
        }
    }

    /// Whether a message is one more than the account of a session may have retained.
    pub(super) fn is_over_retained_limit(&self, key: SessionId, view: &MessageView<'_>) -> bool {
        if !self.retained.counts_accounts() || view.payload.is_empty() {
            return false;
        }
        let (Some(session), Some(publisher)) = (self.sessions.get(key), self.publisher(key)) else {
            return false;
        };
        let limits = self.limits(session);
        let held = self.retained.held_elsewhere(&publisher.account, view.topic);
        let (most, bytes) = (
            limits.max_retained_messages_per_user,
            limits.max_retained_bytes_per_user,
        );
        most > 0 && held.count >= most || bytes > 0 && held.bytes + view.size() > bytes
    }

    fn deny_session(&mut self, from: Option<SessionId>, topic: &str) {
        let session = from.and_then(|key| self.sessions.get(key));
        if let Some(id) = session.and_then(|session| session.connection) {
            self.deny(id, ReasonCode::QuotaExceeded, topic, "retained PUBLISH");
        }
    }

    /// Whose rights decide about what a session publishes; bridges have the broker's.
    pub(super) fn publisher(&self, key: SessionId) -> Option<Publisher> {
        let session = self.sessions.get(key)?;
        let account = session.account.as_ref()?;
        let publisher = || Publisher {
            account: Arc::clone(account),
            client_id: Arc::clone(&session.client_id),
        };
        (!session.client_id.starts_with(LOCAL_CLIENT)).then(publisher)
    }

    /// The same with names that others have as well.
    pub(super) fn shared(&mut self, mut origin: Origin) -> Origin {
        if let Some(publisher) = &mut origin.publisher {
            publisher.account = self.texts.share(&publisher.account);
            publisher.client_id = self.texts.share(&publisher.client_id);
        }
        origin
    }

    /// Whether a publisher might still publish to a topic.
    pub(super) fn may_still_publish(&self, publisher: &Publisher, topic: &str) -> bool {
        let Publisher { account, client_id } = publisher;
        self.absent.may_publish(account, client_id, topic)
    }

    /// Whether whoever publishes as a session has might still do so.
    pub(super) fn session_may_still_publish(&self, key: SessionId, topic: &str) -> bool {
        let publisher = self.publisher(key);
        publisher.is_none_or(|publisher| self.may_still_publish(&publisher, topic))
    }
}
