//! PUBLISH from a client (section 3.3).

use std::sync::Arc;

use bytes::Bytes;

use super::connection::LastRoute;
use super::session::SessionId;
use super::{Broker, ConnectionId};
use crate::codec::publish::{Publish, PublishProperties};
use crate::codec::{Error, PacketType, QoS, ReasonCode, Version, ack};
use crate::message::{MessageView, SHARED_PAYLOAD};
use crate::origin::Publisher;
use crate::store::Record;
use crate::trie::Route;

impl Broker {
    pub(super) fn handle_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        first: u8,
        body: &[u8],
        owner: Option<&Bytes>,
    ) -> Result<(), Error> {
        let publish = Publish::decode(version, first, body)?;
        self.counters.messages_received += 1;
        self.counters.traffic.payload_received += publish.payload.len() as u64;
        let Some(offer) = self.connections.get(id).map(|connection| connection.offer) else {
            return Ok(());
        };
        if publish.qos > offer.max_qos {
            return Err(Error::Refused {
                reason: ReasonCode::QosNotSupported,
                what: "QoS above the maximum",
            });
        }
        if publish.retain && !offer.retain_available {
            return Err(Error::Refused {
                reason: ReasonCode::RetainNotSupported,
                what: "retain is not offered",
            });
        }
        let mut aliased = None;
        let topic = match publish.properties.topic_alias {
            None => publish.topic,
            Some(alias) if alias == 0 || alias > offer.topic_alias_maximum => {
                return Err(Error::Refused {
                    reason: ReasonCode::TopicAliasInvalid,
                    what: "topic alias out of range",
                });
            }
            Some(alias) => &**aliased.insert(self.resolve_alias(id, publish.topic, alias)?),
        };
        if publish.qos == QoS::ExactlyOnce && self.is_repeated(id, session, &publish)? {
            return Ok(());
        }

        if self.load.overloaded
            && let Some(answer) = self.shed(id, publish.qos)
        {
            if let Some(reason) = answer {
                self.acknowledge_publish(id, session, version, &publish, reason);
            }
            return Ok(());
        }

        if self.came_round(id, publish.properties.raw) {
            let reason = ReasonCode::NoMatchingSubscribers;
            self.acknowledge_publish(id, session, version, &publish, reason);
            return Ok(());
        }

        let last = self
            .connections
            .get_mut(id)
            .and_then(|connection| connection.last_route.take());
        let mut delay = None;
        let last = match last {
            Some(last) if last.epoch == self.subscriptions.epoch() && *last.topic == *topic => last,
            _ => {
                let rewritten = match self.target(id, session, topic) {
                    Ok((seconds, rewritten)) => {
                        delay = seconds;
                        rewritten
                    }
                    Err(reason) => {
                        self.deny(id, reason, topic, "PUBLISH");
                        self.acknowledge_publish(id, session, version, &publish, reason);
                        return Ok(());
                    }
                };
                let to = rewritten.as_deref().unwrap_or(topic);
                let route = match delay {
                    None => self.subscriptions.route(to),
                    Some(_) => Route::default(),
                };
                Box::new(LastRoute {
                    route: Arc::new(route),
                    topic: topic.into(),
                    rewritten,
                    epoch: self.subscriptions.epoch(),
                })
            }
        };

        let mut scratch = std::mem::take(&mut self.scratch);
        let properties = if version.is_v5() {
            publish.properties.forwarded(&mut scratch)
        } else {
            &[]
        };
        let view = MessageView {
            topic: last.rewritten.as_deref().unwrap_or(&last.topic),
            payload: publish.payload,
            owner,
            properties,
            expires: expiry(&publish.properties, self.now),
            qos: publish.qos,
            retain: publish.retain,
        };
        if let Some(seconds) = delay {
            let delayed = self.delay(seconds, session, &view, &publish.properties);
            let reason = delayed.err().unwrap_or(ReasonCode::Success);
            if reason.is_error() {
                self.deny(id, reason, topic, "PUBLISH");
            }
            self.scratch = scratch;
            self.acknowledge_publish(id, session, version, &publish, reason);
            return Ok(());
        }
        if publish.retain
            && version.is_v5()
            && publish.qos != QoS::AtMostOnce
            && self.settings.retain_available
            && self.is_over_retained_limit(session, &view)
        {
            let reason = ReasonCode::QuotaExceeded;
            self.deny(id, reason, topic, "retained PUBLISH");
            self.scratch = scratch;
            self.acknowledge_publish(id, session, version, &publish, reason);
            return Ok(());
        }
        let reached = self.accept(&view, &last.route, Some(session));
        self.scratch = scratch;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.last_route = Some(last);
        }
        let reason = if reached {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        self.acknowledge_publish(id, session, version, &publish, reason);
        Ok(())
    }

    /// Keeps a message if it is retained and sends it to all subscribers; false when there are
    /// none.
    pub(super) fn accept(
        &mut self,
        view: &MessageView<'_>,
        route: &Route,
        from: Option<SessionId>,
    ) -> bool {
        let kept = view.retain && self.settings.retain_available;
        let publisher = from.filter(|_| kept).and_then(|key| self.publisher(key));
        self.accept_of(view, route, from, publisher)
    }

    /// The same of a message whose publisher is known, and may be gone.
    pub(super) fn accept_of(
        &mut self,
        view: &MessageView<'_>,
        route: &Route,
        from: Option<SessionId>,
        publisher: Option<Publisher>,
    ) -> bool {
        if view.retain && self.settings.retain_available {
            self.retain(view, from, publisher);
        }
        if !self.listeners.is_empty() {
            self.tell_listeners(view, from);
        }
        if route.is_empty() {
            return false;
        }
        if view.owner.is_none() && view.payload.len() >= SHARED_PAYLOAD {
            let owner = Bytes::copy_from_slice(view.payload);
            self.dispatch(
                &MessageView {
                    payload: &owner,
                    owner: Some(&owner),
                    ..*view
                },
                route,
                from,
            );
        } else {
            self.dispatch(view, route, from);
        }
        true
    }

    /// Topics that clients do not publish to.
    pub(super) fn is_reserved(&self, topic: &str) -> bool {
        topic.starts_with("$SYS/") || topic.starts_with("$share/")
    }

    /// By how many seconds a topic is delayed, and what it stands for, if that is another one: what the client may
    /// publish to.
    fn target(
        &self,
        id: ConnectionId,
        session: SessionId,
        topic: &str,
    ) -> Result<(Option<u32>, Option<Box<str>>), ReasonCode> {
        let (delay, topic) = self.split_delay(topic)?;
        let rewritten = self.with_names(id, session, |names| self.rewritten_name(id, names, topic));
        let rewritten = rewritten.ok_or(ReasonCode::NotAuthorized)??;
        self.check_topic(id, session, rewritten.as_deref().unwrap_or(topic))?;
        let rewritten = rewritten.map(String::into_boxed_str);
        Ok((delay, rewritten.or_else(|| delay.map(|_| topic.into()))))
    }

    fn check_topic(
        &self,
        id: ConnectionId,
        session: SessionId,
        topic: &str,
    ) -> Result<(), ReasonCode> {
        let session = self.sessions.get(session);
        let limits = session.map(|session| self.limits(session));
        let levels = topic.bytes().filter(|&byte| byte == b'/').count();
        if limits.is_none_or(|limits| levels >= limits.max_topic_levels) {
            return Err(ReasonCode::TopicNameInvalid);
        }
        let allowed = self
            .connections
            .get(id)
            .is_some_and(|connection| connection.authorizer.may_publish(topic));
        if allowed && !self.is_reserved(topic) {
            Ok(())
        } else {
            Err(ReasonCode::NotAuthorized)
        }
    }

    /// Section 3.3.2.3.4; `alias` is not zero.
    fn resolve_alias(
        &mut self,
        id: ConnectionId,
        topic: &str,
        alias: u16,
    ) -> Result<Box<str>, Error> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(topic.into());
        };
        let aliases = &mut connection.topic_aliases_in;
        let at = usize::from(alias - 1);
        if !topic.is_empty() {
            if aliases.len() <= at {
                aliases.resize(at + 1, Box::default());
            }
            aliases[at] = topic.into();
        }
        match aliases.get(at) {
            Some(known) if !known.is_empty() => Ok(known.clone()),
            _ => Err(Error::Protocol("unknown topic alias")),
        }
    }

    /// Method A of 4.3.3: a QoS 2 message is handed on with its PUBLISH, its identifier kept until
    /// PUBREL, and a repetition only acknowledged.
    fn is_repeated(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
    ) -> Result<bool, Error> {
        let (Some(session), Some(connection)) =
            (self.sessions.get_mut(session), self.connections.get(id))
        else {
            return Ok(true);
        };
        let (version, maximum) = (connection.version, connection.offer.receive_maximum);
        if session
            .messages
            .received
            .contains_key(&publish.packet_identifier)
        {
            session.note_received(publish.packet_identifier);
            self.write(id, |out| {
                ack::encode(
                    out,
                    version,
                    PacketType::Pubrec,
                    publish.packet_identifier,
                    ReasonCode::Success,
                );
            });
            return Ok(true);
        }
        if version.is_v5() && session.messages.received_here >= usize::from(maximum) {
            let reason = ReasonCode::ReceiveMaximumExceeded;
            return Err(Error::Refused {
                reason,
                what: "more than receive maximum messages in flight",
            });
        }
        Ok(false)
    }

    fn acknowledge_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        publish: &Publish<'_>,
        reason: ReasonCode,
    ) {
        let packet_identifier = publish.packet_identifier;
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.write(id, |out| {
                    ack::encode(out, version, PacketType::Puback, packet_identifier, reason)
                });
            }
            QoS::ExactlyOnce => {
                // An identifier refused in 5.0 is free at once (4.3.3); 3.x cannot refuse.
                if !(version.is_v5() && reason.is_error())
                    && let Some(session) = self.sessions.get_mut(session)
                {
                    session.note_received(packet_identifier);
                    if session.durable {
                        self.journal.require(&Record::Received {
                            session: session.number,
                            packet_identifier,
                        });
                    }
                }
                let reason = if reason.is_error() {
                    reason
                } else {
                    ReasonCode::Success
                };
                self.write(id, |out| {
                    ack::encode(out, version, PacketType::Pubrec, packet_identifier, reason)
                });
            }
        }
    }
}

fn expiry(properties: &PublishProperties<'_>, now: crate::time::Time) -> Option<crate::time::Time> {
    properties
        .message_expiry_interval
        .map(|interval| now.after_seconds(interval))
}
