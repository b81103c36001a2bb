//! How much memory the whole service holds for its clients, and what gives way when that is too much.
//!
//! Counted are sessions with their wills, subscriptions, queued and in-flight messages, each for every session that it
//! waits in, retained messages, and output that was not taken yet. Sessions and subscriptions may take three quarters
//! of `max_memory`: beyond that there are no new ones. Messages have the rest, but a quarter at least. Where that is
//! used up the service is *overloaded*, until a tenth of it is free again; an eighth beyond it is *exhausted*.
//!
//! No reader alone leads there: who does not take his output may let no more wait than an eighth of what is free
//! (dynamic thresholds, as switches have for ports that share their memory).
//!
//! | | overloaded | exhausted |
//! |---|---|---|
//! | CONNECT | refused (0x89, 3), unless messages wait for the client | |
//! | PUBLISH with QoS 0 | dropped | |
//! | PUBLISH with QoS 1 or 2 | one a second from each connection | refused (0x97) in 5.0; in 3.x for those who need not queue it |
//! | readers who take nothing for a second | are closed, who lets most wait first, until there is room | |
//! | other readers | 64 KiB not taken, or in flight; QoS 0 beyond is dropped | nothing is queued, nothing more retained |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::Connection;
use super::session::{Session, SessionId};
use super::{Broker, ConnectionId, DropCause, Event};
use crate::codec::{QoS, ReasonCode};
use crate::settings::Settings;
use crate::time::Time;

/// What keeping a message costs beside its bytes.
const MESSAGE: usize = 192;
/// What a session costs beside its client identifier, its will and its messages.
const SESSION: usize = 512;
/// How often it is looked whether there is room again, in milliseconds.
const LOOK: u64 = 100;
/// How long a reader may take nothing of more than [`LITTLE`] in an overloaded service, in milliseconds.
const STALLED: u64 = 1_000;
/// Bytes that make no difference.
const LITTLE: usize = 4 * 1024;
/// Bytes not taken by a reader, and as many in flight, beyond which an overloaded service sends it nothing.
const OUTBOUND: usize = 64 * 1024;
/// Milliseconds that a QoS 1 or 2 message waits to be taken in an overloaded service.
pub(super) const HELD_BACK: u64 = 1_000;

/// What one session takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// Without its messages.
    own: usize,
    messages: usize,
}

/// What is held, and how much may be.
#[derive(Debug)]
pub(super) struct Load {
    max: usize,
    /// The most that `outbound` may be.
    max_outbound: usize,
    /// Bytes that wait for one reader before QoS 0 messages to it are dropped.
    pub outbound: usize,
    /// Of sessions themselves.
    sessions: usize,
    /// Of messages in sessions.
    queued: usize,
    /// Of output that was not taken, counted by the connections' meters.
    unsent: Arc<AtomicUsize>,
    pub overloaded: bool,
    /// While it is: who let much wait when it was looked at.
    slow: Vec<ConnectionId>,
    looked_at: Time,
}

impl Load {
    pub(super) fn new(settings: &Settings) -> Load {
        let mut load = Load {
            max: 0,
            max_outbound: 0,
            outbound: 0,
            sessions: 0,
            queued: 0,
            unsent: Arc::default(),
            overloaded: false,
            slow: Vec::new(),
            looked_at: Time(0),
        };
        load.reconfigure(settings);
        load
    }

    pub(super) fn reconfigure(&mut self, settings: &Settings) {
        self.max = match settings.load.max_memory {
            0 => usize::MAX,
            max => max,
        };
        self.max_outbound = settings.max_outbound_bytes;
        self.outbound = self.max_outbound;
    }

    /// Where a connection's unsent output is counted.
    pub(super) fn unsent(&self) -> &Arc<AtomicUsize> {
        &self.unsent
    }
}

impl Broker {
    /// Bytes held for clients: they count against [`max_memory`](crate::settings::Load::max_memory).
    #[must_use]
    pub fn held(&self) -> usize {
        self.lasting() + self.passing()
    }

    /// Of sessions and subscriptions.
    fn lasting(&self) -> usize {
        self.load.sessions + self.subscriptions.held()
    }

    /// Of messages.
    fn passing(&self) -> usize {
        self.load.queued
            + self.load.unsent.load(Ordering::Relaxed)
            + self.retained.bytes()
            + self.delayed.bytes()
            + self.retained.len() * MESSAGE
    }

    /// What messages may take.
    fn room(&self) -> usize {
        let left = self.load.max.saturating_sub(self.lasting());
        left.max(self.load.max / 4)
    }

    /// What may be held before the service is overloaded.
    #[must_use]
    pub fn may_hold_in_all(&self) -> usize {
        self.load.max
    }

    /// Whether there is no room for another session, or another subscription.
    pub(super) fn is_crowded(&self) -> bool {
        self.lasting() > self.load.max / 4 * 3
    }

    /// What a session holds has changed.
    pub(super) fn weigh(&mut self, key: SessionId) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let messages = &session.messages;
        let count = messages.queue.len() + messages.in_flight.len();
        let will = session.will.as_ref().map_or(0, |will| will.message.size());
        let weight = Weight {
            own: SESSION + session.client_id.len() + will,
            messages: messages.queue_bytes + messages.in_flight_bytes + count * MESSAGE,
        };
        let before = std::mem::replace(&mut session.weight, weight);
        self.load.sessions = self.load.sessions + weight.own - before.own;
        self.load.queued = self.load.queued + weight.messages - before.messages;
        if weight.messages > before.messages || weight.own > before.own {
            self.look_at_load();
        }
    }

    /// A session is gone.
    pub(super) fn unweigh(&mut self, weight: Weight) {
        self.load.sessions -= weight.own;
        self.load.queued -= weight.messages;
    }

    /// Something was added.
    pub(super) fn look_at_load(&mut self) {
        if !self.load.overloaded && self.passing() > self.room() {
            self.set_overloaded(true);
            self.timers.load(self.now + LOOK);
        }
        self.share_out();
    }

    /// What one reader may let wait.
    fn share_out(&mut self) {
        let free = self.room().saturating_sub(self.passing());
        let share = match self.load.overloaded {
            true => OUTBOUND,
            false => OUTBOUND.max(free / 8),
        };
        self.load.outbound = share.min(self.load.max_outbound);
    }

    /// Whether a reader who let too much wait may do so by now.
    pub(super) fn has_outbound_room(&mut self, id: ConnectionId) -> bool {
        self.share_out();
        let unsent = self.connections.get(id).map(Connection::unsent);
        unsent.is_some_and(|unsent| unsent <= self.load.outbound)
    }

    /// The whole service holds too much.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.load.overloaded
    }

    /// Goes on being overloaded, as another broker was.
    pub(super) fn stay_overloaded(&mut self) {
        self.load.overloaded = true;
        self.share_out();
        self.pacing();
        self.timers.load(self.now);
    }

    pub(super) fn load_due(&mut self) {
        if !self.load.overloaded {
            return;
        }
        if self.now >= self.load.looked_at + STALLED {
            self.give_up_stalled();
        }
        if self.passing() <= self.room() / 10 * 9 {
            self.set_overloaded(false);
        } else {
            self.timers.load(self.now + LOOK);
        }
    }

    /// Ends who has taken nothing since it was looked at, until there is room; and looks again.
    fn give_up_stalled(&mut self) {
        let unsent = |id: &ConnectionId| self.connections.get(*id).map(Connection::unsent);
        let mut slow = std::mem::take(&mut self.load.slow);
        slow.sort_by_cached_key(|id| std::cmp::Reverse(unsent(id)));
        for id in slow {
            if self.passing() <= self.room() / 10 * 9 {
                break;
            }
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            if connection.is_connected() && connection.meter.took_nothing() {
                connection.give_up_output();
                let what = "nothing read for a second in an overloaded service";
                self.close(id, ReasonCode::QuotaExceeded, what);
            }
        }
        self.look_for_slow();
    }

    fn look_for_slow(&mut self) {
        let ids = self.connections.keys();
        let slow = ids.into_iter().filter(|id| {
            let Some(connection) = self.connections.get(*id) else {
                return false;
            };
            let lets_wait = !connection.local && connection.unsent() > LITTLE;
            if lets_wait {
                connection.meter.watch();
            }
            lets_wait
        });
        self.load.slow = slow.collect();
        self.load.looked_at = self.now;
    }

    fn set_overloaded(&mut self, overloaded: bool) {
        self.load.overloaded = overloaded;
        match overloaded {
            true => self.look_for_slow(),
            false => self.load.slow = Vec::new(),
        }
        self.share_out();
        self.pacing();
        let (held, max) = (self.held(), self.load.max);
        self.events.push(match overloaded {
            true => Event::Overloaded { held, max },
            false => Event::Relieved { held, max },
        });
    }

    /// There is no room for anything more.
    pub(super) fn is_exhausted(&self) -> bool {
        let room = self.room();
        self.load.overloaded && self.passing() > room.saturating_add(room / 8)
    }

    /// Whether, in an overloaded service, a session may have a message more in flight.
    pub(super) fn may_hold(&self, session: &Session) -> bool {
        session.messages.in_flight_bytes <= OUTBOUND
            && (!session.messages.wait() || !self.is_exhausted())
    }

    /// Whether a client has to stay outside: there is no room for its session, or none for what it would be sent. One
    /// for whom messages wait makes room by taking them, or by giving them up.
    pub(super) fn is_too_busy_for(&self, client_id: &str) -> bool {
        let session = self.clients.get(client_id);
        let session = session.and_then(|key| self.sessions.get(*key));
        match session {
            None => self.load.overloaded || self.is_crowded(),
            Some(session) => self.load.overloaded && !session.messages.wait(),
        }
    }

    /// What is done, in an overloaded service, to a PUBLISH before anybody gets it; none if it is taken.
    pub(super) fn shed(&mut self, id: ConnectionId, qos: QoS) -> Option<Option<ReasonCode>> {
        let connection = self.connections.get(id)?;
        if connection.local {
            return None;
        }
        let is_v5 = connection.version.is_v5();
        if qos == QoS::AtMostOnce {
            self.counters.dropped(DropCause::Overload);
            Some(None)
        } else if is_v5 && self.is_exhausted() {
            Some(Some(ReasonCode::QuotaExceeded))
        } else {
            None
        }
    }
}
