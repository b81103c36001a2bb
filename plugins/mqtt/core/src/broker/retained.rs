//! Retained messages: which are kept, and how new subscriptions get them (3.3.1.3).

use std::sync::Arc;

use super::connection::Phase;
use super::send::{Sending, send};
use super::session::SessionId;
use super::topic_checks::may_receive_on;
use super::{Broker, ConnectionId, DropCause};
use crate::codec::QoS;
use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::message::{Message, MessageView};
use crate::store::Record;
use crate::topic::Filter;

/// A retained message for a new subscription.
#[derive(Debug)]
pub(super) struct PendingRetained {
    pub message: Arc<Message>,
    pub qos: QoS,
    pub identifier: u32,
}

impl Broker {
    /// Keeps a message as the retained one of its topic; one without payload removes it.
    pub(super) fn retain(&mut self, view: &MessageView<'_>) {
        let existing = self.retained.get(view.topic).map(|message| message.expires);
        if view.payload.is_empty() && existing.is_none() {
            return;
        }
        if existing.is_none() && self.retained.len() >= self.settings.max_retained_messages {
            self.counters.dropped(DropCause::RetainedFull);
            return;
        }
        let message = Arc::new(view.to_message(0));
        if self.settings.persistence {
            let record = Record::Retained { message: &message };
            if view.qos == QoS::AtMostOnce {
                self.journal.note(&record)
            } else {
                self.journal.require(&record)
            }
        }
        if let Some(Some(at)) = existing {
            self.timers.remove_retained(at, view.topic);
        }
        if view.payload.is_empty() {
            self.retained.remove(view.topic);
        } else {
            if let Some(at) = view.expires {
                self.timers.retained(at, view.topic);
            }
            self.retained.insert(message);
        }
    }

    /// Section 3.3.1.3: retained messages of a shared subscription are not sent (4.8.2).
    pub(super) fn collect_retained(
        &self,
        filter: Filter<'_>,
        options: SubscriptionOptions,
        existed: bool,
        identifier: u32,
        found: &mut Vec<PendingRetained>,
    ) {
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        if wanted && filter.share.is_none() {
            found.extend(
                self.retained
                    .matching(filter.filter)
                    .into_iter()
                    .map(|message| {
                        let qos = message.qos.min(options.qos);
                        PendingRetained {
                            message,
                            qos,
                            identifier,
                        }
                    }),
            );
        }
    }

    /// Sends retained messages while the reader keeps up. One that was replaced meanwhile is left
    /// out: its successor went out as a live message.
    pub(super) fn pump_retained(&mut self, key: SessionId) {
        loop {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            let Some(id) = session.connection else { return };
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            let Some(next) = connection.retained.front() else {
                return;
            };
            let room = self.settings.max_outbound_bytes / 2;
            let wait = if next.qos == QoS::AtMostOnce {
                connection.unsent() > room && {
                    connection.meter.ask_for_drain();
                    connection.unsent() > room
                }
            } else {
                session.outstanding >= connection.window()
            };
            if wait {
                return;
            }
            let Some(PendingRetained {
                message,
                qos,
                identifier,
            }) = connection.retained.pop_front()
            else {
                return;
            };
            let current = self
                .retained
                .get(&message.topic)
                .is_some_and(|current| Arc::ptr_eq(current, &message));
            if !current
                || message.is_expired(self.now)
                || !may_receive_on(session, connection, &message.topic)
            {
                continue;
            }
            let identifiers: &[u32] = if identifier == 0 { &[] } else { &[identifier] };
            if qos == QoS::AtMostOnce {
                let sending = Sending {
                    qos,
                    retain: true,
                    dup: false,
                    packet_identifier: 0,
                    identifiers,
                };
                send(
                    connection,
                    None,
                    &mut self.counters,
                    self.now,
                    &MessageView::from(&*message),
                    sending,
                );
                connection.touch(id, &mut self.touched);
            } else {
                let message = if session.durable {
                    let stored = Arc::new(Message {
                        stored: self.next_number(),
                        ..Message::clone(&message)
                    });
                    self.journal.require(&Record::Message { message: &stored });
                    stored
                } else {
                    message
                };
                self.enqueue(key, message, qos, true, identifiers);
            }
        }
    }

    /// Retained messages that a connection did not get to send go with the connection.
    pub(super) fn queue_retained(
        &mut self,
        id: ConnectionId,
        pending: impl Iterator<Item = PendingRetained>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.retained.extend(pending);
        if let Phase::Connected(session) = connection.phase {
            self.pump(session);
        }
    }
}
