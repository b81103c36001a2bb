//! Queued messages whose time has passed leave memory by themselves; they would not be sent anyway (3.3.2.3.3).

use super::Broker;
use super::session::SessionId;
use crate::store::Record;
use crate::time::Time;

/// A queue is looked through once in so many milliseconds.
const EVERY: u64 = 1_000;

impl Broker {
    /// A message was queued that expires.
    pub(super) fn note_expiry(&mut self, key: SessionId, at: Time) {
        if let Some(session) = self.sessions.get_mut(key)
            && session.messages.swept_at.is_none_or(|before| at < before)
        {
            session.messages.swept_at = Some(at);
            self.timers.queue(at, key);
        }
    }

    /// Of messages that were queued in another broker, or before a restart.
    pub(super) fn note_expiries(&mut self, key: SessionId) {
        let session = self.sessions.get(key);
        let queue = session
            .into_iter()
            .flat_map(|session| &session.messages.queue);
        if let Some(at) = queue.filter_map(|entry| entry.message.expires).min() {
            self.note_expiry(key, at);
        }
    }

    pub(super) fn queue_due(&mut self, key: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.messages.swept_at.is_none_or(|at| at > now) {
            return;
        }
        session.messages.swept_at = None;
        let expired = session.retain_queued(|delivery| !delivery.message.is_expired(now));
        if session.durable {
            for delivery in expired {
                self.journal.note(&Record::Delivered {
                    session: session.number,
                    delivery,
                });
            }
        }
        let queue = session.messages.queue.iter();
        let next = queue.filter_map(|entry| entry.message.expires).min();
        self.weigh(key);
        if let Some(at) = next {
            self.note_expiry(key, at.max(now + EVERY));
        }
    }
}
