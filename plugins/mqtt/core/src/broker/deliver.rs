//! Delivery to sessions: the choice of receivers, the queues, and PUBLISH to a client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::send::{Sending, send};
use super::session::{Awaiting, Delivery, InFlight, Session, SessionId};
use super::topic_checks::may_receive;
use super::{Broker, ConnectionId, DropCause};
use crate::codec::{PacketType, QoS, ReasonCode, ack};
use crate::message::{Message, MessageView};
use crate::store::Record;
use crate::trie::{Receiver, Route, SharedGroup};

impl Broker {
    /// Sends a message to everyone on its route.
    pub(super) fn dispatch(
        &mut self,
        view: &MessageView<'_>,
        route: &Route,
        from: Option<SessionId>,
    ) {
        self.heads.reset();
        let mut kept = None;
        for receiver in &route.receivers {
            // MQTT-3.8.3-3.
            if !(receiver.no_local && Some(receiver.session) == from) {
                self.deliver(view, receiver, &mut kept);
            }
        }
        for group in &route.groups {
            if let Some(member) = self.choose(group, view.topic) {
                self.deliver(view, member, &mut kept);
            }
        }
    }

    /// The members of a shared subscription take turns; a connected one with room goes before one
    /// whose messages would wait.
    pub(super) fn choose<'a>(&self, group: &'a SharedGroup, topic: &str) -> Option<&'a Receiver> {
        let start = group.cursor.fetch_add(1, Ordering::Relaxed) as usize;
        let members = &group.members;
        let turn = |offset: usize| &members[start.wrapping_add(offset) % members.len()];
        let session = |member: &Receiver| self.sessions.get(member.session);
        let by = |wanted: &dyn Fn(&Session) -> bool| {
            (0..members.len()).map(turn).find(|member| {
                session(member).is_some_and(|session| {
                    wanted(session) && may_receive(session, &self.connections, topic)
                })
            })
        };
        let is_here = |session: &Session| {
            let connection = session.connection.and_then(|id| self.connections.get(id));
            connection.is_some_and(|connection| connection.is_here())
        };
        by(&|session| is_here(session) && session.messages.queue.is_empty())
            .or_else(|| by(&is_here))
            .or_else(|| by(&|session| session.connection.is_some()))
            .or_else(|| by(&|_| true))
    }

    pub(super) fn deliver(
        &mut self,
        view: &MessageView<'_>,
        receiver: &Receiver,
        kept: &mut Option<Arc<Message>>,
    ) {
        let qos = view.qos.min(receiver.qos);
        let retain = view.retain && receiver.retain_as_published;
        let Some(session) = self.sessions.get_mut(receiver.session) else {
            return;
        };
        if !may_receive(session, &self.connections, view.topic) {
            return;
        }
        let mut sending = Sending {
            qos,
            retain,
            dup: false,
            packet_identifier: 0,
            identifiers: &receiver.identifiers,
        };
        if qos == QoS::AtMostOnce {
            let Some(id) = session.connection else { return };
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            if let Some(arriving) = &mut connection.arriving
                && session.topic_checks.is_some()
            {
                let message = kept.get_or_insert_with(|| Arc::new(view.to_message(0)));
                if arriving.held_bytes + message.size() > self.settings.max_outbound_bytes {
                    self.counters.dropped(DropCause::SocketFull);
                    return;
                }
                arriving.held_bytes += message.size();
                arriving.held.push(Delivery {
                    number: 0,
                    message: message.clone(),
                    qos,
                    retain,
                    identifiers: receiver.identifiers.as_slice().into(),
                });
                return;
            }
            if connection.unsent() > self.load.outbound {
                if self.has_outbound_room(id) {
                    return self.deliver(view, receiver, kept);
                }
                self.counters.dropped(DropCause::SocketFull);
                return;
            }
            send(
                connection,
                Some(&mut self.heads),
                &mut self.counters,
                self.now,
                view,
                sending,
            );
            connection.touch(id, &mut self.touched);
            return;
        }
        if let Some(id) = session.connection.filter(|_| !session.keeps(qos)) {
            // The session ends with its connection: nothing has to be kept for redelivery.
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            if session.messages.queue.is_empty()
                && !self.load.overloaded
                && connection.has_room(session.messages.outstanding, self.load.outbound)
            {
                sending.packet_identifier = session.next_packet_identifier();
                if send(
                    connection,
                    Some(&mut self.heads),
                    &mut self.counters,
                    self.now,
                    view,
                    sending,
                ) {
                    connection.touch(id, &mut self.touched);
                    let awaiting = first_awaited(qos);
                    let packet_identifier = sending.packet_identifier;
                    session.push_in_flight(InFlight {
                        packet_identifier,
                        awaiting,
                        number: 0,
                        delivery: None,
                    });
                    session.messages.outstanding += 1;
                }
                return;
            }
        }
        let durable = session.durable;
        if kept
            .as_ref()
            .is_none_or(|message| durable && message.stored == 0)
        {
            let stored = if durable { self.next_number() } else { 0 };
            let message = Arc::new(view.to_message(stored));
            if durable {
                self.journal.require(&Record::Message { message: &message });
            }
            *kept = Some(message);
        }
        if let Some(message) = kept {
            self.enqueue(
                receiver.session,
                message.clone(),
                qos,
                retain,
                &receiver.identifiers,
            );
        }
    }

    /// Adds a QoS 1 or 2 message to a session and sends it if there is room. The message is in the
    /// journal when the session is durable.
    pub(super) fn enqueue(
        &mut self,
        key: SessionId,
        message: Arc<Message>,
        qos: QoS,
        retain: bool,
        identifiers: &[u32],
    ) {
        let number = self.next_number();
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let connection = session.connection.and_then(|id| self.connections.get(id));
        let direct = session.messages.queue.is_empty()
            && session.messages.outstanding == session.messages.in_flight.len()
            && connection.is_some_and(|connection| {
                connection.has_room(session.messages.outstanding, self.load.outbound)
            })
            && (!self.load.overloaded || self.may_hold(session));
        if !direct {
            let refused = match self.is_exhausted() {
                true => Some(DropCause::Overload),
                false => (!self.make_room(key, message.size())).then_some(DropCause::QueueFull),
            };
            if let Some(cause) = refused {
                self.counters.dropped(cause);
                return;
            }
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let packet_identifier = if direct {
            session.next_packet_identifier()
        } else {
            0
        };
        if session.durable {
            self.journal.require(&Record::Delivery {
                session: session.number,
                delivery: number,
                message: message.stored,
                qos,
                retain,
                identifiers,
                packet_identifier,
            });
        }
        let delivery = Delivery {
            number,
            message,
            qos,
            retain,
            identifiers: identifiers.into(),
        };
        let expires = delivery.message.expires;
        if direct {
            self.start(key, delivery, packet_identifier);
        } else {
            session.push_queue(delivery);
            if let Some(at) = expires {
                self.note_expiry(key, at);
            }
        }
        self.weigh(key);
    }

    /// Sends a delivery for the first time, under a packet identifier that is already recorded.
    fn start(&mut self, key: SessionId, delivery: Delivery, packet_identifier: u16) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(id) = session.connection else { return };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let sending = Sending {
            qos: delivery.qos,
            retain: delivery.retain,
            dup: false,
            packet_identifier,
            identifiers: &delivery.identifiers,
        };
        let view = MessageView::from(&*delivery.message);
        if send(
            connection,
            None,
            &mut self.counters,
            self.now,
            &view,
            sending,
        ) {
            connection.touch(id, &mut self.touched);
            let awaiting = first_awaited(delivery.qos);
            let number = delivery.number;
            let delivery = session.keeps(delivery.qos).then_some(delivery);
            session.push_in_flight(InFlight {
                packet_identifier,
                awaiting,
                number,
                delivery,
            });
            session.messages.outstanding += 1;
        } else if session.durable {
            // A packet too large for its receiver counts as delivered (MQTT-3.1.2-25).
            self.journal.note(&Record::Delivered {
                session: session.number,
                delivery: delivery.number,
            });
        }
    }

    /// Sends what a session is waiting to send, as far as its window goes: first again what was in
    /// flight on an earlier connection, in order and with DUP (MQTT-4.4.0-1), then the queue, then
    /// retained messages of new subscriptions.
    pub(super) fn pump(&mut self, key: SessionId) {
        self.send_queued(key);
        self.weigh(key);
    }

    fn send_queued(&mut self, key: SessionId) {
        loop {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            let Some(id) = session.connection else { return };
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            if !connection.has_room(session.messages.outstanding, self.load.outbound) {
                return;
            }
            if session.messages.outstanding < session.messages.in_flight.len() {
                self.send_again(key, id);
                continue;
            }
            let Some(delivery) = session.pop_queue() else {
                break;
            };
            if delivery.message.is_expired(self.now) {
                if session.durable {
                    self.journal.note(&Record::Delivered {
                        session: session.number,
                        delivery: delivery.number,
                    });
                }
                continue;
            }
            let packet_identifier = session.next_packet_identifier();
            if session.durable {
                let delivery = delivery.number;
                self.journal.require(&Record::Sent {
                    session: session.number,
                    delivery,
                    packet_identifier,
                });
            } else if delivery.qos == QoS::ExactlyOnce {
                // It came in an earlier batch, and has to be known to have come: after a crash its publisher would
                // send it again.
                self.journal.follow();
            }
            self.start(key, delivery, packet_identifier);
        }
        self.pump_retained(key);
    }

    fn send_again(&mut self, key: SessionId, id: ConnectionId) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let at = session.messages.outstanding;
        let entry = &session.messages.in_flight[at];
        let sent = match &entry.delivery {
            Some(delivery) => {
                let sending = Sending {
                    qos: delivery.qos,
                    retain: delivery.retain,
                    dup: true,
                    packet_identifier: entry.packet_identifier,
                    identifiers: &delivery.identifiers,
                };
                let view = MessageView::from(&*delivery.message);
                send(
                    connection,
                    None,
                    &mut self.counters,
                    self.now,
                    &view,
                    sending,
                )
            }
            None => {
                self.counters.traffic.packets_sent += 1;
                let out = connection.output.small();
                ack::encode(
                    out,
                    connection.version,
                    PacketType::Pubrel,
                    entry.packet_identifier,
                    ReasonCode::Success,
                );
                true
            }
        };
        connection.touch(id, &mut self.touched);
        if sent {
            session.messages.outstanding += 1;
        } else if let Some(entry) = session.remove_in_flight(at)
            && session.durable
        {
            self.journal.note(&Record::Delivered {
                session: session.number,
                delivery: entry.number,
            });
        }
    }
}

fn first_awaited(qos: QoS) -> Awaiting {
    if qos == QoS::ExactlyOnce {
        Awaiting::Pubrec
    } else {
        Awaiting::Puback
    }
}
