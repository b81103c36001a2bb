//! Starting from what a store kept.

use std::sync::Arc;

use super::Broker;
use super::delayed::Waiting;
use super::session::{Awaiting, Delivery, InFlight, PendingWill, Session};
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::{QoS, Version};
use crate::store::State;
use crate::store::state::SessionState;
use crate::topic::{Filter, SHARE_PREFIX};

/// Seconds that clients have to come back after a start before their wills are published. The
/// standard lets a server put them off until then (3.1.2.5).
pub(super) const WILL_GRACE: u32 = 10;

impl Broker {
    /// Takes over sessions, queues, in-flight state and retained messages. Called once, before the
    /// first connection.
    pub fn restore(&mut self, state: State) {
        self.last_number = self.last_number.max(state.last_number);
        for (message, origin) in state.retained.into_values() {
            if message.is_expired(self.now) {
                continue;
            }
            let message = Arc::new(message);
            let origin = self.shared(origin);
            if let Some(at) = message.expires {
                self.timers.retained(at, &message.topic);
            }
            self.retained.insert(message, origin);
        }
        for (number, delayed) in state.delayed {
            let waiting = Waiting {
                client_id: self.texts.share(&delayed.client_id),
                account: match &*delayed.account {
                    "" => None,
                    account => Some(self.texts.share(account)),
                },
                message: Arc::new(delayed.message),
            };
            self.delayed.insert(delayed.at, number, waiting);
        }
        for ((kind, name), ban) in state.bans {
            self.restore_ban(kind, &name, ban);
        }
        for (number, stored) in state.sessions {
            self.restore_session(number, stored);
        }
    }

    fn restore_session(&mut self, number: u64, stored: SessionState) {
        let now = self.now;
        let left = stored.offline_since.unwrap_or(now);
        let mut session = Session::new(stored.client_id.as_str().into(), number);
        session.recorded = true;
        session.account = match &*stored.account {
            "" => None,
            account => Some(self.texts.share(account)),
        };
        session.limits = self.limits_for(&session);
        session.durable = stored.expiry > 0;
        session.expiry = stored.expiry;
        session.will = stored.will.map(|(message, delay)| PendingWill {
            message: Arc::new(message),
            delay,
        });
        let will_at = session.will.as_ref().map(|will| {
            // The session's end is the latest moment (MQTT-3.1.3-9).
            left.after_seconds(will.delay.min(stored.expiry))
                .max(now.after_seconds(WILL_GRACE))
        });
        let ends_at = match stored.expiry {
            0 => Some(will_at.unwrap_or(now)),
            u32::MAX => None,
            expiry => Some(left.after_seconds(expiry)),
        };
        session.set_deadlines(will_at, ends_at);
        for (delivery_number, entry) in stored.deliveries {
            let awaiting = match (entry.qos, entry.released) {
                (QoS::ExactlyOnce, true) => Awaiting::Pubcomp,
                (QoS::ExactlyOnce, false) => Awaiting::Pubrec,
                _ => Awaiting::Puback,
            };
            let delivery = Delivery {
                number: delivery_number,
                message: entry.message,
                qos: entry.qos,
                retain: entry.retain,
                identifiers: entry.identifiers.into(),
            };
            if entry.packet_identifier == 0 {
                session.push_queue(delivery);
            } else {
                session.push_in_flight(InFlight {
                    packet_identifier: entry.packet_identifier,
                    awaiting,
                    number: delivery_number,
                    delivery: (awaiting != Awaiting::Pubcomp).then_some(delivery),
                });
            }
        }
        for identifier in stored.received {
            session.messages.received.insert(identifier, false);
        }
        for text in &stored.left_shares {
            if let Some(filter) = Filter::parse(text) {
                session.shares = true;
                session.remember_share(text, filter.filter);
            }
        }
        let subscriptions: Vec<_> = stored
            .subscriptions
            .into_iter()
            .filter_map(|(text, (options, identifier))| {
                Some((
                    text,
                    SubscriptionOptions::decode(Version::V5, options).ok()?,
                    identifier,
                ))
            })
            .collect();
        let client_id = session.client_id.clone();
        let due = session.deadlines.next();
        for (text, options, identifier) in &subscriptions {
            session.shares |= text.starts_with(SHARE_PREFIX);
            session
                .subscriptions
                .insert(text.as_str().into(), (*options, *identifier));
        }
        let key = self.sessions.insert(session);
        for (text, options, identifier) in subscriptions {
            if let Some(filter) = Filter::parse(&text) {
                self.subscriptions.insert(filter, key, options, identifier);
            }
        }
        self.clients.insert(client_id, key);
        self.weigh(key);
        self.note_expiries(key);
        if let Some(at) = due {
            self.arm_session(key, at);
        }
    }
}
