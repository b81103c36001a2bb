//! Members of a shared subscription that leave: what was theirs to deliver goes to those that stay (4.8.2).

use std::collections::HashMap;
use std::sync::Arc;

use super::Broker;
use super::session::{Delivery, Session, SessionId};
use crate::codec::QoS;
use crate::message::{Message, MessageView};
use crate::store::Record;
use crate::topic::{Filter, matches};

/// A message, and the shared subscription by which it came to a session.
type Orphan = (Box<str>, Arc<Message>);

/// Which of a session's deliveries came by its shared subscriptions. It is not written down with them: a shared
/// subscription gives a copy of its own, so of several copies of a message as many did as there are shared
/// subscriptions that match its topic.
struct ByShare<'a> {
    shares: Vec<(&'a str, Filter<'a>)>,
    plain: Vec<Filter<'a>>,
    copies: HashMap<*const Message, usize>,
}

impl<'a> ByShare<'a> {
    fn of(session: &'a Session) -> ByShare<'a> {
        let left = session.messages.left_shares.iter();
        let left = left.filter(|share| !session.subscriptions.contains_key(share));
        let filters = session.subscriptions.keys().chain(left);
        let filters = filters.filter_map(|text| Some((&**text, Filter::parse(text)?)));
        let (shares, plain): (Vec<_>, Vec<_>) =
            filters.partition(|(_, filter)| filter.share.is_some());
        ByShare {
            shares,
            plain: plain.into_iter().map(|(_, filter)| filter).collect(),
            copies: HashMap::new(),
        }
    }

    /// The subscription that a delivery came by, each delivery asked for once.
    fn share(&mut self, delivery: &Delivery) -> Option<&'a str> {
        let topic = &*delivery.message.topic;
        let copies = self.copies.entry(Arc::as_ptr(&delivery.message));
        let copy = copies.and_modify(|copy| *copy += 1).or_insert(0);
        let shares = self.shares.iter();
        let mut shares = shares.filter(|(_, filter)| matches(filter.filter, topic));
        let (share, _) = *shares.nth(*copy)?;
        // Where a plain subscription may have brought it as well, QoS 2 must not come twice to anybody.
        let unsure = delivery.qos == QoS::ExactlyOnce
            && self
                .plain
                .iter()
                .any(|filter| matches(filter.filter, topic));
        (!unsure).then_some(share)
    }
}

impl Broker {
    /// What a session leaves behind of what it `leaves`: QoS 1 that was not acknowledged, and all that was not sent yet.
    /// QoS 2 that was sent is nobody else's (MQTT-4.8.2-5).
    pub(super) fn orphans(
        &self,
        session: &Session,
        leaves: impl Fn(&Delivery) -> bool,
    ) -> Vec<Orphan> {
        // A broker that ends, or another has taken over from, gives nobody anything.
        if !session.shares || !self.accepting {
            return Vec::new();
        }
        let mut by_share = ByShare::of(session);
        let sent = session.unacknowledged();
        sent.chain(&session.messages.queue)
            .filter_map(|delivery| {
                let share = by_share.share(delivery)?;
                leaves(delivery).then(|| (share.into(), Arc::clone(&delivery.message)))
            })
            .collect()
    }

    /// Gives the messages of shared subscriptions to members that are left.
    pub(super) fn adopt(&mut self, orphans: Vec<Orphan>) {
        for (text, message) in orphans {
            let group = Filter::parse(&text).and_then(|filter| self.subscriptions.group(filter));
            let Some(group) = group.filter(|_| !message.is_expired(self.now)) else {
                continue;
            };
            if let Some(member) = self.choose(&group, &message.topic) {
                let session = self.sessions.get(member.session);
                if message.stored > 0 && session.is_some_and(|session| session.durable) {
                    // An image under way may be past the member, and would not find it where it was any more.
                    self.journal.require(&Record::Message { message: &message });
                }
                if message.qos == QoS::ExactlyOnce {
                    // As from a queue.
                    self.journal.follow();
                }
                let view = MessageView::from(&*message);
                self.deliver(&view, member, &mut Some(Arc::clone(&message)));
            }
        }
    }

    /// A session leaves a shared subscription: what it was not sent yet goes to those that others have, and what it
    /// was sent once the session ends.
    pub(super) fn leave_share(&mut self, key: SessionId, text: &str) {
        let group = Filter::parse(text).and_then(|filter| self.subscriptions.group(filter));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let filter = Filter::parse(text).map_or("", |filter| filter.filter);
        session.remember_share(text, filter);
        if group.is_none() || session.messages.queue.is_empty() {
            return;
        }
        let still = |topic: &str| {
            let others = session.subscriptions.keys();
            let mut others = others.filter_map(|text| Filter::parse(text));
            others.any(|other| matches(other.filter, topic))
        };
        // What another of its subscriptions may have brought stays where it is.
        let mut orphans = Vec::new();
        for delivery in &session.messages.queue {
            let topic = &delivery.message.topic;
            if matches(filter, topic) && !still(topic) {
                orphans.push((text.into(), Arc::clone(&delivery.message)));
            }
        }
        let left = session.retain_queued(|delivery| {
            !orphans
                .iter()
                .any(|(_, message)| Arc::ptr_eq(message, &delivery.message))
        });
        if session.durable {
            for delivery in left {
                self.journal.require(&Record::Delivered {
                    session: session.number,
                    delivery,
                });
            }
        }
        self.weigh(key);
        self.adopt(orphans);
    }
}
