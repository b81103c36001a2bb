//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use super::request::{Kind, Request};
use super::retained_delivery::PendingRetained;
use super::session::{Delivery, SessionId};
use super::topic_checks::TopicChecks;
use super::{Broker, ConnectionId};
use crate::authorizer::Extent;
use crate::codec::subscribe::{Subscribe, SubscriptionOptions};
use crate::codec::unsubscribe::Unsubscribe;
use crate::codec::{Error, ReasonCode, Version};
use crate::settings::Subscribing;
use crate::store::Record;
use crate::topic::Filter;

impl Broker {
    pub(super) fn handle_subscribe(
        &mut self,
        id: ConnectionId,
        version: Version,
        body: &[u8],
    ) -> Result<(), Error> {
        let subscribe = Subscribe::decode(version, body)?;
        let Some(offer) = self.connections.get(id).map(|connection| connection.offer) else {
            return Ok(());
        };
        let offers = offer.subscribing;
        if subscribe.subscription_identifier.is_some() && !offers.identifiers {
            return Err(Error::Refused {
                reason: ReasonCode::SubscriptionIdentifiersNotSupported,
                what: "subscription identifiers are not offered",
            });
        }
        for (text, options) in subscribe.filters.clone() {
            let filter = Filter::parse(text).ok_or(Error::Malformed("topic filter"))?;
            if filter.share.is_some() && options.no_local {
                return Err(Error::Protocol("no local on a shared subscription")); // MQTT-3.8.3-4
            }
            if version.is_v5() {
                // What CONNACK said is not offered is a protocol error (3.2.2.3.11, 3.2.2.3.13).
                is_offered(offers, filter)?;
            }
        }
        let kind = Kind::Subscribe {
            identifier: subscribe.subscription_identifier.unwrap_or(0),
        };
        let request = Request::new(kind, subscribe.packet_identifier);
        self.begin_request(id, request, subscribe.filters.rest());
        Ok(())
    }

    /// Makes one subscription of a SUBSCRIBE packet; its reason code, and the search for what is retained.
    pub(super) fn subscribe_to(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        (text, mut options): (&str, SubscriptionOptions),
        identifier: u32,
    ) -> (u8, Option<PendingRetained>) {
        let connection = self.connections.get(id);
        let version = connection.map_or(Version::V311, |connection| connection.version);
        if !version.is_v5() && connection.is_some_and(|connection| connection.bridge) {
            // What a bridge of 5.0 asks for itself.
            options.no_local = Filter::parse(text).is_some_and(|filter| filter.share.is_none());
            options.retain_as_published = true;
        }
        match self.add_subscription(id, session, text, options, identifier, false) {
            Ok(found) => (options.qos as u8, found),
            Err(reason) => {
                self.deny(id, reason, text, "SUBSCRIBE");
                let code = match version {
                    Version::V5 => reason as u8,
                    Version::V311 => 0x80,
                    // SUBACK of 3.1 has no failure: the subscription is answered but not made.
                    Version::V31 => options.qos as u8,
                };
                (code, None)
            }
        }
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        id: ConnectionId,
        version: Version,
        body: &[u8],
    ) -> Result<(), Error> {
        let unsubscribe = Unsubscribe::decode(version, body)?;
        let mut filters = unsubscribe.filters.clone();
        if filters.any(|text| Filter::parse(text).is_none()) {
            return Err(Error::Malformed("topic filter"));
        }
        let request = Request::new(Kind::Unsubscribe, unsubscribe.packet_identifier);
        self.begin_request(id, request, unsubscribe.filters.rest());
        Ok(())
    }

    /// Ends one subscription of an UNSUBSCRIBE packet.
    pub(super) fn unsubscribe_from(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        text: &str,
    ) -> ReasonCode {
        let text = self.with_names(id, session, |names| self.rewritten_filter(id, names, text));
        let Some(Ok(text)) = text else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let text = &*text;
        let Some(filter) = Filter::parse(text) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let existed = self.subscriptions.remove(filter, session);
        if let Some(connection) = self.connections.get_mut(id)
            && let Some(retained) = &mut connection.retained
            && filter.share.is_none()
        {
            // MQTT-3.10.4-2: what is not on its way yet is not sent.
            retained.forget(filter.filter);
        }
        if let Some(session) = self.sessions.get_mut(session).filter(|_| existed) {
            session.subscriptions.remove(text);
            if session.durable {
                self.journal.require(&Record::Unsubscribed {
                    session: session.number,
                    filter: text,
                });
            }
        }
        if existed && filter.share.is_some() {
            self.leave_share(session, text);
        }
        if existed {
            ReasonCode::Success
        } else {
            ReasonCode::NoSubscriptionExisted
        }
    }

    /// Makes a subscription, rewritten where it has to be, and finds the retained messages for it. One that exists is
    /// replaced, unless it is to be `kept`.
    pub(super) fn add_subscription(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        text: &str,
        options: SubscriptionOptions,
        identifier: u32,
        kept: bool,
    ) -> Result<Option<PendingRetained>, ReasonCode> {
        let text = self.with_names(id, session, |names| self.rewritten_filter(id, names, text));
        let text = &*text.ok_or(ReasonCode::NotAuthorized)??;
        let filter = Filter::parse(text).ok_or(ReasonCode::TopicFilterInvalid)?;
        let extent = self.check_filter(id, session, text, filter)?;
        let Some(state) = self.sessions.get_mut(session) else {
            return Ok(None);
        };
        if extent == Extent::Some {
            state.topic_checks.get_or_insert_default();
        }
        if kept && state.subscriptions.contains_key(text) {
            return Ok(None);
        }
        let existed = self.subscribe(session, text, filter, options, identifier);
        self.look_at_load();
        Ok(self.search_retained(filter, options, existed, identifier))
    }

    fn check_filter(
        &self,
        id: ConnectionId,
        session: SessionId,
        text: &str,
        filter: Filter<'_>,
    ) -> Result<Extent, ReasonCode> {
        let Some(session) = self.sessions.get(session) else {
            return Err(ReasonCode::NotAuthorized);
        };
        let limits = self.limits(session);
        if text.bytes().filter(|&byte| byte == b'/').count() >= limits.max_topic_levels
            || filter.wildcards() > limits.max_wildcards
        {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let connection = self.connections.get(id);
        if let Some(connection) = connection {
            is_offered(connection.offer.subscribing, filter).map_err(|error| error.reason())?;
        }
        let extent = connection.map_or(Extent::None, |connection| {
            connection.authorizer.may_subscribe(filter.filter)
        });
        if extent == Extent::None {
            return Err(ReasonCode::NotAuthorized);
        }
        let full = session.subscriptions.len() >= limits.max_subscriptions
            || self.is_crowded() && !connection.is_some_and(|connection| connection.local);
        if full && !session.subscriptions.contains_key(text) {
            Err(ReasonCode::QuotaExceeded)
        } else {
            Ok(extent)
        }
    }

    /// Makes or replaces a subscription; true when it existed.
    fn subscribe(
        &mut self,
        key: SessionId,
        text: &str,
        filter: Filter<'_>,
        options: SubscriptionOptions,
        identifier: u32,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        session.shares |= filter.share.is_some();
        let before = session
            .subscriptions
            .insert(text.into(), (options, identifier));
        if before != Some((options, identifier)) {
            self.subscriptions.insert(filter, key, options, identifier);
            if session.durable {
                let (session, options) = (session.number, options.encode());
                self.journal.require(&Record::Subscribed {
                    session,
                    filter: text,
                    options,
                    identifier,
                });
            }
        }
        before.is_some()
    }

    /// A session may be resumed by a client with other rights than made it: what it may no longer
    /// subscribe to is taken from it, and messages that it may no longer receive: those of shared subscriptions go to
    /// other members.
    pub(super) fn check_rights(&mut self, id: ConnectionId, key: SessionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let authorizer = connection.authorizer.clone();
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let checks = TopicChecks::default();
        let may_receive =
            |delivery: &Delivery| checks.may_receive(&*authorizer, &delivery.message.topic);
        let orphans = self.orphans(session, |delivery| !may_receive(delivery));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mut some = false;
        let mut denied = Vec::new();
        for text in session.subscriptions.keys() {
            match Filter::parse(text).map(|filter| authorizer.may_subscribe(filter.filter)) {
                Some(Extent::Every) => {}
                Some(Extent::Some) => some = true,
                _ => denied.push(text.clone()),
            }
        }
        let (number, durable) = (session.number, session.durable);
        for text in &denied {
            session.subscriptions.remove(text);
            if let Some(filter) = Filter::parse(text) {
                self.subscriptions.remove(filter, key);
            }
            if durable {
                self.journal.require(&Record::Unsubscribed {
                    session: number,
                    filter: text,
                });
            }
        }
        let dropped = session.retain_deliveries(may_receive);
        if durable {
            for delivery in dropped {
                self.journal.require(&Record::Delivered {
                    session: number,
                    delivery,
                });
            }
        }
        session.topic_checks = some.then(|| Box::new(checks));
        self.adopt(orphans);
    }
}

fn is_offered(offers: Subscribing, filter: Filter<'_>) -> Result<(), Error> {
    if filter.share.is_some() && !offers.shared {
        return Err(Error::Refused {
            reason: ReasonCode::SharedSubscriptionsNotSupported,
            what: "shared subscriptions are not offered",
        });
    }
    if filter.has_wildcard() && !offers.wildcards {
        return Err(Error::Refused {
            reason: ReasonCode::WildcardSubscriptionsNotSupported,
            what: "wildcard subscriptions are not offered",
        });
    }
    Ok(())
}
