//! How fast messages are taken from clients: what comes too fast is not read, and nothing is dropped.
//!
//! A rate lets as many messages through at once as it does in a second. Then each PUBLISH has a moment at which it may
//! be taken, in the order in which they asked, also among the connections of one account.
//!
//! What the store would have to keep waits while it has more than it can put on the disk: memory does not grow by it.

use std::collections::HashMap;

use super::load::HELD_BACK;
use super::{Broker, ConnectionId, Phase};
use crate::codec::PacketType;
use crate::time::Time;

/// Microseconds that a rate saves up.
const SAVED: u64 = 1_000_000;
/// Milliseconds after which it is looked whether the store goes on: as many as it has not for, within these.
const STORE_LOOK: std::ops::RangeInclusive<u64> = 5..=1_000;
/// Accounts that are kept in mind before it is looked who can be forgotten.
const USERS: usize = 1_024;

/// Where a rate stands: the moment, in microseconds, at which everything that was taken is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paid(pub u64);

impl Paid {
    /// Takes one message more and returns when, in microseconds.
    fn take(&mut self, rate: u32, now: u64) -> u64 {
        let Paid(until) = *self;
        *self = Paid(until.max(now).saturating_add(1_000_000 / u64::from(rate)));
        self.0.saturating_sub(SAVED).max(now)
    }
}

/// A connection that is held to a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub paid: Paid,
    /// When the PUBLISH that waits may be taken.
    pub at: Option<Time>,
}

/// Accounts that are held to a rate.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub paid: HashMap<Box<str>, Paid>,
    swept: usize,
}

impl Users {
    fn take(&mut self, account: &str, rate: u32, now: u64) -> u64 {
        if let Some(paid) = self.paid.get_mut(account) {
            return paid.take(rate, now);
        }
        if self.paid.len() >= self.swept.max(USERS) {
            self.paid.retain(|_, paid| paid.0 > now);
            self.swept = self.paid.len() * 2;
        }
        self.paid.entry(account.into()).or_default().take(rate, now)
    }
}

impl Broker {
    /// Whether any PUBLISH has to be looked at before it is taken.
    pub(super) fn pacing(&mut self) {
        self.paces = self.settings.has_rates() || self.load.overloaded;
    }

    /// Whether the store has more than it can put on the disk.
    pub fn store_is_behind(&mut self, behind: bool, now: Time) {
        self.store_behind = behind.then(|| self.store_behind.unwrap_or(now));
    }

    /// When a packet may be taken that came whole; none for now.
    pub(super) fn held_back(
        &mut self,
        id: ConnectionId,
        kind: PacketType,
        first: u8,
    ) -> Option<Time> {
        if let Some(since) = self.store_behind
            && is_for_store(kind, first)
        {
            return self.held_for_store(id, since);
        }
        if self.paces && kind == PacketType::Publish {
            return self.held_to_rate(id, first);
        }
        None
    }

    fn held_for_store(&mut self, id: ConnectionId, since: Time) -> Option<Time> {
        let connection = self.connections.get_mut(id)?;
        if connection.local {
            return None;
        }
        let so_far = self.now.0.saturating_sub(since.0);
        let at = self.now + so_far.clamp(*STORE_LOOK.start(), *STORE_LOOK.end());
        connection.last_packet = at;
        Some(at)
    }

    fn held_to_rate(&mut self, id: ConnectionId, first: u8) -> Option<Time> {
        let now = self.now;
        let connection = self.connections.get(id)?;
        let Phase::Connected(key) = connection.phase else {
            return None;
        };
        let limits = self.limits(self.sessions.get(key)?);
        let (rate, user_rate) = (limits.max_publish_rate, limits.max_publish_rate_per_user);
        if connection.local || rate == 0 && user_rate == 0 && !self.load.overloaded {
            return None;
        }
        let connection = self.connections.get_mut(id)?;
        let waiting = connection.pace.as_ref().and_then(|pace| pace.at);
        let at = match waiting {
            Some(at) => at,
            None => {
                let now_us = now.0.saturating_mul(1_000);
                let mut at_us = now_us;
                let pace = connection.pace.get_or_insert_default();
                if rate > 0 {
                    at_us = at_us.max(pace.paid.take(rate, now_us));
                }
                if user_rate > 0
                    && let Some(account) = connection.authorizer.account()
                {
                    at_us = at_us.max(self.users.take(account, user_rate, now_us));
                }
                let at = Time(at_us.div_ceil(1_000));
                match self.load.overloaded && first & 0x06 != 0 {
                    true => at.max(now + HELD_BACK),
                    false => at,
                }
            }
        };
        let pace = connection.pace.as_mut()?;
        if at <= now {
            pace.at = None;
            return None;
        }
        pace.at = Some(at);
        // The client has sent something, and is not heard until then.
        connection.last_packet = at;
        Some(at)
    }
}

/// Whether a packet may have to be stored: others that may are answers to what the store has already.
fn is_for_store(kind: PacketType, first: u8) -> bool {
    match kind {
        // With QoS 1 or 2, or retained.
        PacketType::Publish => first & 0x07 != 0,
        PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe => true,
        _ => false,
    }
}
