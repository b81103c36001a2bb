//! Sessions whose queue is full: what gives way. What is in flight never does.

use super::session::SessionId;
use super::{Broker, DropCause};
use crate::settings::SlowConsumer;
use crate::store::Record;

impl Broker {
    /// Whether a message of `size` bytes may be queued for a session, after others gave way where that is the
    /// policy.
    pub(super) fn make_room(&mut self, key: SessionId, size: usize) -> bool {
        if !self.is_full(key, size) {
            return true;
        }
        match self.settings.load.slow_consumer {
            SlowConsumer::DropNewest => false,
            SlowConsumer::DropOldest => self.drop_oldest(key, size),
            SlowConsumer::Disconnect => {
                self.end_for_slowness(key);
                false
            }
        }
    }

    fn is_full(&self, key: SessionId, size: usize) -> bool {
        let Some(session) = self.sessions.get(key) else {
            return true;
        };
        // What comes while a connection is on its way here waits, and is sent when it has arrived.
        let arriving = session
            .connection
            .and_then(|id| self.connections.get(id))
            .is_some_and(|connection| !connection.is_here());
        let limits = self.limits(session);
        session.messages.queue.len() >= limits.max_queued_messages && !arriving
            || session.messages.queue_bytes + size > limits.max_queued_bytes
    }

    fn drop_oldest(&mut self, key: SessionId, size: usize) -> bool {
        let session = self.sessions.get(key);
        if session.is_none_or(|session| size > self.limits(session).max_queued_bytes) {
            return false;
        }
        while self.is_full(key, size) {
            let Some(session) = self.sessions.get_mut(key) else {
                return false;
            };
            let Some(oldest) = session.pop_queue() else {
                return false;
            };
            self.counters.dropped(DropCause::QueueFull);
            if session.durable {
                self.journal.note(&Record::Delivered {
                    session: session.number,
                    delivery: oldest.number,
                });
            }
        }
        true
    }

    /// In a turn of its own: its end may publish a will, and a message is on its way to others just now.
    fn end_for_slowness(&mut self, key: SessionId) {
        let id = self
            .sessions
            .get(key)
            .and_then(|session| session.connection);
        let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.get_mut(id)?)))
        else {
            return;
        };
        if connection.is_here() && !connection.too_slow {
            connection.too_slow = true;
            self.timers.connection(self.now, id);
        }
    }
}
