//! Deadlines: one heap; an entry that is no longer due when it fires is put off or dropped.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::connection::Phase;
use super::session::SessionId;
use super::{Broker, ConnectionId};
use crate::codec::ReasonCode;
use crate::store::Record;
use crate::time::Time;

/// Timers that fire in one turn: others are not to wait for ten thousand wills. The rest is due at once.
const AT_ONCE: usize = 256;

#[derive(Debug)]
enum Timer {
    /// CONNECT timeout, then keep alive.
    Connection(ConnectionId),
    /// The time for an authentication on a connection that is there.
    Authentication(ConnectionId),
    /// Will delay and session expiry.
    Session(SessionId),
    /// Retained messages for new subscriptions.
    RetainedDelivery(ConnectionId),
    /// Expired messages in a session's queue.
    Queue(SessionId),
    /// Whether the service is overloaded still.
    Load,
    /// Subscriptions of sessions that have ended.
    Leaving,
    /// The end of a ban.
    Ban,
}

#[derive(Debug)]
struct Entry {
    at: Time,
    timer: Timer,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Message expiry of retained messages by topic.
    retained: BTreeSet<(Time, Box<str>)>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Time> {
        let retained = self.retained.first().map(|(at, _)| *at);
        self.heap
            .peek()
            .map(|entry| entry.0.at)
            .into_iter()
            .chain(retained)
            .min()
    }

    pub(super) fn connection(&mut self, at: Time, id: ConnectionId) {
        self.push(at, Timer::Connection(id));
    }

    pub(super) fn authentication(&mut self, at: Time, id: ConnectionId) {
        self.push(at, Timer::Authentication(id));
    }

    pub(super) fn session(&mut self, at: Time, key: SessionId) {
        self.push(at, Timer::Session(key));
    }

    pub(super) fn retained_delivery(&mut self, at: Time, id: ConnectionId) {
        self.push(at, Timer::RetainedDelivery(id));
    }

    pub(super) fn queue(&mut self, at: Time, key: SessionId) {
        self.push(at, Timer::Queue(key));
    }

    pub(super) fn load(&mut self, at: Time) {
        self.push(at, Timer::Load);
    }

    pub(super) fn leaving(&mut self, at: Time) {
        self.push(at, Timer::Leaving);
    }

    pub(super) fn ban(&mut self, until: Time) {
        self.push(until, Timer::Ban);
    }

    pub(super) fn retained(&mut self, at: Time, topic: &str) {
        self.retained.insert((at, topic.into()));
    }

    pub(super) fn remove_retained(&mut self, at: Time, topic: &str) {
        self.retained.remove(&(at, topic.into()));
    }

    fn push(&mut self, at: Time, timer: Timer) {
        self.heap.push(Reverse(Entry { at, timer }));
    }

    fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.heap.peek()?.0.at > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.0.timer)
    }
}

impl Broker {
    pub(super) fn fire_timers(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(timer) = self.timers.pop_due(self.now) else {
                break;
            };
            match timer {
                Timer::Connection(id) => self.connection_due(id),
                Timer::Authentication(id) => self.authentication_due(id),
                Timer::Session(key) => self.session_due(key),
                Timer::RetainedDelivery(id) => self.retained_delivery_due(id),
                Timer::Queue(key) => self.queue_due(key),
                Timer::Load => self.load_due(),
                Timer::Leaving => self.leaving_due(),
                Timer::Ban => self.ban_due(),
            }
        }
        for _ in 0..AT_ONCE {
            let first = self.timers.retained.first();
            if first.is_none_or(|(at, _)| *at > self.now) {
                break;
            }
            if let Some((_, topic)) = self.timers.retained.pop_first() {
                self.retained_due(&topic);
            }
        }
    }

    fn connection_due(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let (deadline, what) = match connection.phase {
            Phase::Closing => return,
            Phase::Connected(_) if connection.too_slow => {
                self.close(id, ReasonCode::QuotaExceeded, "too slow for its messages");
                return;
            }
            Phase::AwaitingConnect | Phase::Authenticating(_) => (
                connection.opened + connection.limits.login_timeout,
                "no CONNECT in time",
            ),
            Phase::Connected(_) if connection.keep_alive_limit == 0 => return,
            // MQTT-3.1.2-22: one and a half times the keep alive.
            Phase::Connected(_) => (
                connection.last_packet + connection.keep_alive_limit,
                "keep alive timeout",
            ),
        };
        if deadline > self.now {
            self.timers.connection(deadline, id);
        } else {
            self.close(id, ReasonCode::KeepAliveTimeout, what);
        }
    }

    fn retained_due(&mut self, topic: &str) {
        let Some(message) = self.retained.get(topic).cloned() else {
            return;
        };
        if message.is_expired(self.now) {
            self.retained.remove(topic);
            if self.is_stored(topic) {
                let message = &message.cleared();
                let origin = None;
                self.journal.note(&Record::Retained { message, origin });
            }
        }
    }

    /// Sets the timer of a session, unless one that fires no later is set.
    pub(super) fn arm_session(&mut self, key: SessionId, at: Time) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.deadlines.armed.is_none_or(|armed| at < armed) {
            session.deadlines.armed = Some(at);
            self.timers.session(at, key);
        }
    }
}
