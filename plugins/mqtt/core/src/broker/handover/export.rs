//! The state of a broker as bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Broker, FORMAT, phase, session_flag};
use crate::broker::ConnectionId;
use crate::broker::connect::PendingConnect;
use crate::broker::connection::{Connection, Phase};
use crate::broker::session::{Awaiting, Delivery, Session, SessionId};
use crate::codec::Version;
use crate::codec::primitives::{put_u16, put_u32};
use crate::message::Message;
use crate::store::record::{put_bytes, put_message, put_u64};
use crate::time::Time;

/// What is being written, and the messages it names.
#[derive(Default)]
pub(super) struct Writer<'a> {
    pub(super) out: Vec<u8>,
    places: HashMap<*const Message, u32, foldhash::fast::RandomState>,
    messages: Vec<&'a Message>,
}

impl Broker {
    /// Everything that [`Broker::import`] needs to go on from here. `crosses` says which connections will arrive
    /// there; the others are gone, with their wills kept back as in [`Broker::shut_down`]. The journal was stored
    /// and all output taken.
    pub fn export(&self, now: Time, crosses: impl Fn(ConnectionId) -> bool) -> Vec<u8> {
        let crosses = |id: ConnectionId, connection: &Connection| {
            !matches!(connection.phase, Phase::Closing) && (!connection.is_here() || crosses(id))
        };
        let mut writer = Writer::default();
        writer.count(self.retained.total());
        for (message, _) in self.retained.iter() {
            writer.message(message);
        }
        let mut places = HashMap::with_capacity(self.sessions.len());
        writer.count(self.sessions.len());
        for (place, (key, session)) in (0..).zip(self.sessions.iter()) {
            let connection = session.connection;
            let connection = connection.and_then(|id| Some((id, self.connections.get(id)?)));
            let left = connection.is_some_and(|(id, connection)| !crosses(id, connection));
            writer.session(session, left);
            places.insert(key, place);
        }
        self.export_groups(&places, &mut writer);
        let crossing: Vec<_> = self
            .connections
            .iter()
            .filter(|(id, connection)| crosses(*id, connection))
            .collect();
        writer.count(crossing.len());
        for (_, connection) in &crossing {
            writer.connection(connection, &places, now);
        }
        let crossing = crossing.into_iter().map(|(_, connection)| connection);
        self.export_sections(&crossing.collect::<Vec<_>>(), &mut writer);
        let mut out = vec![FORMAT];
        put_u64(&mut out, now.0);
        put_u64(&mut out, self.last_number);
        put_u64(&mut out, self.last_connection);
        out.push(self.settings.persistence.into());
        put_u32(&mut out, writer.messages.len() as u32);
        for message in writer.messages {
            put_message(&mut out, message);
        }
        out.append(&mut writer.out);
        out
    }

    fn export_groups(&self, places: &HashMap<SessionId, u32>, writer: &mut Writer<'_>) {
        let groups: Vec<_> = self.subscriptions.groups().collect();
        writer.count(groups.len());
        for (filter, turn, members) in groups {
            put_bytes(&mut writer.out, filter.as_bytes());
            put_u32(&mut writer.out, turn);
            let members: Vec<u32> = members
                .filter_map(|member| places.get(&member).copied())
                .collect();
            writer.numbers(&members);
        }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn count(&mut self, count: usize) {
        put_u32(&mut self.out, count as u32);
    }

    fn numbers(&mut self, numbers: &[u32]) {
        self.count(numbers.len());
        for &number in numbers {
            put_u32(&mut self.out, number);
        }
    }

    /// A time that may not be set.
    pub(super) fn time(&mut self, time: Option<Time>) {
        self.out.push(time.is_some().into());
        if let Some(time) = time {
            put_u64(&mut self.out, time.0);
        }
    }

    fn message(&mut self, message: &'a Arc<Message>) {
        let next = self.messages.len() as u32;
        let place = *self.places.entry(Arc::as_ptr(message)).or_insert(next);
        if place == next {
            self.messages.push(message);
        }
        put_u32(&mut self.out, place);
    }

    fn delivery(&mut self, delivery: &'a Delivery) {
        put_u64(&mut self.out, delivery.number);
        self.message(&delivery.message);
        self.out
            .push(delivery.qos as u8 | u8::from(delivery.retain) << 2);
        self.numbers(&delivery.identifiers);
    }

    fn session(&mut self, session: &'a Session, left: bool) {
        let flags = [
            (session.durable, session_flag::DURABLE),
            (session.recorded, session_flag::RECORDED),
            (left, session_flag::LEFT),
            (session.topic_checks.is_some(), session_flag::TOPIC_CHECKS),
            (session.will.is_some(), session_flag::WILL),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set);
        let flags = flags.fold(0, |flags, (_, flag)| flags | flag);
        self.out.push(flags);
        put_u64(&mut self.out, session.number);
        put_bytes(&mut self.out, session.client_id.as_bytes());
        put_u32(&mut self.out, session.expiry);
        put_u16(&mut self.out, session.last_identifier);
        if let Some(will) = &session.will {
            self.message(&will.message);
            put_u32(&mut self.out, will.delay);
        }
        self.time(session.deadlines.will_at);
        self.time(session.deadlines.ends_at);

        let mut subscriptions: Vec<_> = session.subscriptions.iter().collect();
        subscriptions.sort_unstable_by_key(|(filter, _)| *filter);
        self.count(subscriptions.len());
        for (filter, (options, identifier)) in subscriptions {
            put_bytes(&mut self.out, filter.as_bytes());
            self.out.push(options.encode());
            put_u32(&mut self.out, *identifier);
        }
        self.count(session.messages.received.len());
        for (identifier, here) in &session.messages.received {
            put_u16(&mut self.out, *identifier);
            self.out.push(u8::from(*here));
        }
        self.count(session.messages.in_flight.len());
        for entry in &session.messages.in_flight {
            put_u16(&mut self.out, entry.packet_identifier);
            self.out.push(match entry.awaiting {
                Awaiting::Puback => 1,
                Awaiting::Pubrec => 2,
                Awaiting::Pubcomp => 3,
            });
            put_u64(&mut self.out, entry.number);
            self.out.push(entry.delivery.is_some().into());
            if let Some(delivery) = &entry.delivery {
                self.delivery(delivery);
            }
        }
        self.count(session.messages.outstanding);
        self.count(session.messages.queue.len());
        for delivery in &session.messages.queue {
            self.delivery(delivery);
        }
    }

    fn connection(
        &mut self,
        connection: &'a Connection,
        sessions: &HashMap<SessionId, u32>,
        now: Time,
    ) {
        put_u64(&mut self.out, connection.number);
        self.out.push(match connection.version {
            Version::V31 => 3,
            Version::V311 => 4,
            Version::V5 => 5,
        });
        match &connection.phase {
            // The caller leaves out those that are closing.
            Phase::AwaitingConnect | Phase::Closing => self.out.push(phase::CONNECT),
            Phase::Authenticating(pending) => {
                self.out.push(phase::LOGIN);
                self.pending(pending);
            }
            Phase::Connected(session) => {
                self.out.push(phase::CONNECTED);
                self.count(sessions.get(session).map_or(usize::MAX, |at| *at as usize));
            }
        }
        let limits = &connection.limits;
        let arriving = connection.arriving.as_deref();
        for number in [
            limits.login_timeout,
            limits.idle_timeout,
            limits.max_packet as u64,
            connection.opened.0,
            connection.last_packet.0,
            arriving.map_or(now, |arriving| arriving.since).0,
            connection.keep_alive_limit,
            connection.maximum_packet_size as u64,
        ] {
            put_u64(&mut self.out, number);
        }
        put_u16(&mut self.out, connection.full_window);
        let offer = &connection.offer;
        put_u16(&mut self.out, offer.receive_maximum);
        put_u16(&mut self.out, offer.topic_alias_maximum);
        let offers = offer.subscribing;
        self.out.push(
            offer.max_qos as u8
                | u8::from(offer.retain_available) << 2
                | u8::from(!offers.wildcards) << 3
                | u8::from(!offers.identifiers) << 4
                | u8::from(!offers.shared) << 5,
        );
        self.out.push(connection.request_problem_information.into());
        let account = connection.authorizer.account();
        self.out.push(account.is_some().into());
        if let Some(account) = account {
            put_bytes(&mut self.out, account.as_bytes());
        }

        self.count(connection.topic_aliases_in.len());
        for topic in connection.topic_aliases_in.iter() {
            put_bytes(&mut self.out, topic.as_bytes());
        }
        put_u16(&mut self.out, connection.topic_alias_maximum_out);
        let mut aliases: Vec<_> = connection
            .topic_aliases_out
            .iter()
            .flat_map(|aliases| aliases.iter())
            .collect();
        aliases.sort_unstable_by_key(|(_, alias)| **alias);
        self.count(aliases.len());
        for (topic, alias) in aliases {
            put_bytes(&mut self.out, topic.as_bytes());
            put_u16(&mut self.out, *alias);
        }
        // Format 1 had retained messages here that wait: they have a section of their own now.
        self.count(0);
        let held = arriving.map_or(&[][..], |arriving| &arriving.held);
        self.count(held.len());
        for delivery in held {
            self.delivery(delivery);
        }
        put_bytes(&mut self.out, &connection.output.to_vec());
    }

    fn pending(&mut self, pending: &PendingConnect) {
        put_bytes(&mut self.out, pending.client_id.as_bytes());
        self.out.push(
            u8::from(pending.assigned)
                | u8::from(pending.clean_start) << 1
                | u8::from(pending.request_problem_information) << 2
                | u8::from(pending.maximum_packet_size.is_some()) << 3
                | u8::from(pending.will.is_some()) << 4,
        );
        put_u16(&mut self.out, pending.keep_alive);
        put_u32(&mut self.out, pending.requested_expiry);
        put_u16(&mut self.out, pending.receive_maximum);
        put_u16(&mut self.out, pending.topic_alias_maximum);
        if let Some(size) = pending.maximum_packet_size {
            put_u32(&mut self.out, size);
        }
        if let Some((message, delay, message_expiry)) = &pending.will {
            put_message(&mut self.out, message);
            put_u32(&mut self.out, *delay);
            self.out.push(message_expiry.is_some().into());
            put_u32(&mut self.out, message_expiry.unwrap_or(0));
        }
    }
}
