//! A broker out of the bytes of another.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Broker, Damaged, FORMAT, phase, session_flag};
use crate::authorizer::Awaited;
use crate::broker::connect::PendingConnect;
use crate::broker::connection::{Arriving, Connection, Phase};
use crate::broker::restore::WILL_GRACE;
use crate::broker::retained_delivery::PendingRetained;
use crate::broker::session::{Awaiting, Delivery, InFlight, PendingWill, Session, SessionId};
use crate::codec::primitives::{Reader, VARIABLE_BYTE_INTEGER_MAX};
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::{QoS, Version};
use crate::message::Message;
use crate::origin::Origin;
use crate::settings::{Limits, Offer, Settings, Subscribing};
use crate::store::Record;
use crate::store::record::{bytes, message, text, u64};
use crate::store::state::LAST_NUMBER;
use crate::time::Time;
use crate::topic::{Filter, SHARE_PREFIX};

/// Numbers given out are far below, and those to come are too; also those after the last one that a store may have.
pub(super) const LAST: u64 = 2 * LAST_NUMBER;
/// Packet identifiers in use at once.
const IN_FLIGHT: u64 = u16::MAX as u64 - 1;

/// A retained message that waits, its QoS and its subscription's identifier.
type Waiting = ((Arc<Message>, QoS), u32);

pub(super) type Result<T> = std::result::Result<T, Damaged>;

impl Broker {
    /// A broker that goes on where another was exported, under other settings if need be: what sessions and
    /// connections have already they keep, also beyond limits that became smaller. What became of connections that
    /// did not cross is in its journal. Where the one before kept nothing in a store and this one does,
    /// [`Broker::begin_store`] follows.
    ///
    /// # Errors
    /// When the bytes are not what [`Broker::export`] wrote.
    pub fn import(
        settings: Settings,
        entropy: impl FnMut() -> u128 + Send + 'static,
        exported: &[u8],
        now: Time,
    ) -> Result<Broker> {
        let mut reader = Reader::new(exported);
        let reader = &mut reader;
        if reader.byte()? != FORMAT {
            return Err(Damaged("another format"));
        }
        let now = now.max(Time(u64(reader)?));
        let mut broker = Broker::new(settings, entropy, now);
        broker.last_number = at_most(u64(reader)?, LAST)?;
        broker.last_connection = at_most(u64(reader)?, LAST)?;
        let stored = flag(reader)? && broker.settings.persistence;
        let messages = list(reader, |reader| Ok(Arc::new(message(reader)?)))?;
        list(reader, |reader| {
            broker.add_retained(place(reader, &messages)?.clone())
        })?;
        let mut left = Vec::new();
        let sessions = list(reader, |reader| {
            let (session, has_left) = session(reader, &messages, stored)?;
            let key = broker.add_session(session)?;
            left.extend(has_left.then_some(key));
            Ok(key)
        })?;
        list(reader, |reader| broker.add_group(reader, &sessions))?;
        if broker.subscriptions.len() != broker.subscriptions_of_sessions() {
            return Err(Damaged("shared subscription without its members"));
        }
        list(reader, |reader| {
            let (mut connection, waiting) = connection(reader, &messages, &sessions, now)?;
            broker.wait_for_retained(&mut connection, waiting);
            broker.add_connection(connection)
        })?;
        while !reader.is_empty() {
            broker.import_section(reader)?;
        }
        broker.assign_limits();
        for key in left {
            broker.has_left(key)?;
        }
        for key in sessions {
            broker.weigh(key);
            broker.note_expiries(key);
            broker.arm(key);
        }
        Ok(broker)
    }

    fn add_retained(&mut self, message: Arc<Message>) -> Result<()> {
        if self.retained.get(&message.topic).is_some() {
            return Err(Damaged("two retained messages of one topic"));
        }
        if let Some(at) = message.expires {
            self.timers.retained(at, &message.topic);
        }
        self.retained.insert(message, Origin::default());
        Ok(())
    }

    fn add_session(&mut self, session: Session) -> Result<SessionId> {
        let client_id = session.client_id.clone();
        let subscriptions: Vec<_> = session
            .subscriptions
            .iter()
            .map(|(text, subscription)| (text.clone(), *subscription))
            .collect();
        let key = self.sessions.insert(session);
        if self.clients.insert(client_id, key).is_some() {
            return Err(Damaged("two sessions of one client"));
        }
        for (text, (options, identifier)) in subscriptions {
            let filter = Filter::parse(&text).ok_or(Damaged("no topic filter"))?;
            // Those that are shared have an order: they come with their groups.
            if filter.share.is_none() {
                self.subscriptions.append(filter, key, options, identifier);
            }
        }
        Ok(key)
    }

    fn add_group(&mut self, reader: &mut Reader<'_>, sessions: &[SessionId]) -> Result<()> {
        let text = text(reader)?;
        let filter = Filter::parse(text).filter(|filter| filter.share.is_some());
        let filter = filter.ok_or(Damaged("no shared subscription"))?;
        let turn = reader.four_byte_integer()?;
        let mut known = HashSet::new();
        list(reader, |reader| {
            let key = *place(reader, sessions)?;
            let session = self.sessions.get(key);
            let subscription = session.and_then(|session| session.subscriptions.get(text));
            let &(options, identifier) = subscription
                .filter(|_| known.insert(key))
                .ok_or(Damaged("a member of a shared subscription without one"))?;
            self.subscriptions.append(filter, key, options, identifier);
            Ok(())
        })?;
        self.subscriptions.set_turn(filter, turn);
        Ok(())
    }

    fn subscriptions_of_sessions(&self) -> usize {
        let sessions = self.sessions.iter();
        sessions
            .map(|(_, session)| session.subscriptions.len())
            .sum()
    }

    /// Those that were replaced since are not sent.
    fn wait_for_retained(&self, connection: &mut Connection, waiting: Vec<Waiting>) {
        for ((message, qos), identifier) in waiting {
            let current = self.retained.get(&message.topic);
            if current.is_some_and(|current| Arc::ptr_eq(current, &message)) {
                let retained = connection.retained.get_or_insert_default();
                retained.push(PendingRetained {
                    search: self.retained.search(&message.topic),
                    qos,
                    identifier,
                });
            }
        }
    }

    fn add_connection(&mut self, connection: Connection) -> Result<()> {
        let number = at_most(connection.number, self.last_connection)?;
        let session = match connection.phase {
            Phase::Connected(session) => Some(session),
            _ => None,
        };
        let id = self.connections.insert(connection);
        if self.arriving.insert(number, id).is_some() {
            return Err(Damaged("two connections of one number"));
        }
        if let Some(session) = session.and_then(|key| self.sessions.get_mut(key))
            && session.connection.replace(id).is_some()
        {
            return Err(Damaged("two connections of one session"));
        }
        Ok(())
    }

    /// The connection of a session ended with its broker: its client has time to come back before its will is
    /// published (3.1.2.5).
    fn has_left(&mut self, key: SessionId) -> Result<()> {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        if session.connection.is_some() {
            return Err(Damaged("a session with its connection and without"));
        }
        session.end_connection();
        if session.expiry == 0 && session.will.is_none() {
            self.end_session(key);
            return Ok(());
        }
        let grace = now.after_seconds(WILL_GRACE);
        let will_at = session
            .will
            .as_ref()
            .map(|will| now.after_seconds(will.delay.min(session.expiry)).max(grace));
        let ends_at = match session.expiry {
            0 => will_at,
            u32::MAX => None,
            expiry => Some(now.after_seconds(expiry)),
        };
        session.set_deadlines(will_at, ends_at);
        if session.recorded {
            self.journal.note(&Record::Offline {
                session: session.number,
                at: now,
                will_done: session.will.is_none(),
            });
        }
        Ok(())
    }

    fn arm(&mut self, key: SessionId) {
        let session = self.sessions.get(key);
        let Some(session) = session.filter(|session| session.connection.is_none()) else {
            return;
        };
        if let Some(at) = session.deadlines.next() {
            self.arm_session(key, at);
        }
    }
}

/// A session, and whether its connection did not cross. `stored` says whether the store that knows of it goes on.
fn session(
    reader: &mut Reader<'_>,
    messages: &[Arc<Message>],
    stored: bool,
) -> Result<(Session, bool)> {
    let flags = reader.byte()?;
    let has = |flag: u8| flags & flag != 0;
    let number = at_most(u64(reader)?, LAST)?;
    let mut session = Session::new(text(reader)?.into(), number);
    session.durable = stored && has(session_flag::DURABLE);
    session.recorded = stored && has(session_flag::RECORDED);
    session.expiry = reader.four_byte_integer()?;
    session.last_identifier = reader.two_byte_integer()?;
    session.topic_checks = has(session_flag::TOPIC_CHECKS).then(Box::default);
    if has(session_flag::WILL) {
        session.will = Some(PendingWill {
            message: place(reader, messages)?.clone(),
            delay: reader.four_byte_integer()?,
        });
    }
    session.set_deadlines(time(reader)?, time(reader)?);
    list(reader, |reader| {
        let filter = text(reader)?;
        let options = SubscriptionOptions::decode(Version::V5, reader.byte()?)?;
        let subscription = (options, identifier(reader)?);
        session.shares |= filter.starts_with(SHARE_PREFIX);
        let before = session.subscriptions.insert(filter.into(), subscription);
        match before {
            Some(_) => Err(Damaged("two subscriptions with one filter")),
            None => Ok(()),
        }
    })?;
    list(reader, |reader| {
        let identifier = reader.packet_identifier()?;
        session.messages.received.insert(identifier, flag(reader)?);
        Ok(())
    })?;
    let in_flight = list(reader, |reader| in_flight(reader, messages))?;
    at_most(in_flight.len() as u64, IN_FLIGHT)?;
    let outstanding = at_most(reader.four_byte_integer()?.into(), in_flight.len() as u64)?;
    for entry in in_flight {
        session.push_in_flight(entry);
    }
    list(reader, |reader| {
        session.push_queue(delivery(reader, messages, QoS::AtLeastOnce)?);
        Ok(())
    })?;
    if let Some(messages) = session.messages.get_mut() {
        messages.outstanding = outstanding as usize;
        messages.received_here = messages.received.values().filter(|here| **here).count();
    }
    Ok((session, has(session_flag::LEFT)))
}

fn in_flight(reader: &mut Reader<'_>, messages: &[Arc<Message>]) -> Result<InFlight> {
    Ok(InFlight {
        packet_identifier: reader.packet_identifier()?,
        awaiting: match reader.byte()? {
            1 => Awaiting::Puback,
            2 => Awaiting::Pubrec,
            3 => Awaiting::Pubcomp,
            _ => return Err(Damaged("unknown acknowledgement")),
        },
        number: u64(reader)?,
        delivery: if flag(reader)? {
            Some(delivery(reader, messages, QoS::AtLeastOnce)?)
        } else {
            None
        },
    })
}

fn delivery(reader: &mut Reader<'_>, messages: &[Arc<Message>], least: QoS) -> Result<Delivery> {
    let number = at_most(u64(reader)?, LAST)?;
    let message = place(reader, messages)?.clone();
    let flags = reader.byte()?;
    Ok(Delivery {
        number,
        message,
        qos: qos(flags)
            .ok()
            .filter(|qos| *qos >= least)
            .ok_or(Damaged("QoS of a delivery"))?,
        retain: flags & 4 != 0,
        identifiers: list(reader, identifier)?.into(),
    })
}

fn connection(
    reader: &mut Reader<'_>,
    messages: &[Arc<Message>],
    sessions: &[SessionId],
    now: Time,
) -> Result<(Connection, Vec<Waiting>)> {
    let number = u64(reader)?;
    let version = match reader.byte()? {
        3 => Version::V31,
        4 => Version::V311,
        5 => Version::V5,
        _ => return Err(Damaged("unknown version of MQTT")),
    };
    let phase = match reader.byte()? {
        phase::CONNECT => Phase::AwaitingConnect,
        phase::LOGIN => Phase::Authenticating(Box::new(pending(reader)?)),
        phase::CONNECTED => Phase::Connected(*place(reader, sessions)?),
        _ => return Err(Damaged("unknown state of a connection")),
    };
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = u64(reader)?;
    }
    let [
        login_timeout,
        idle_timeout,
        max_packet,
        opened,
        last_packet,
        since,
        keep_alive_limit,
        maximum_packet_size,
    ] = numbers;
    let limits = Limits {
        login_timeout,
        idle_timeout,
        max_packet: max_packet as usize,
    };
    let full_window = at_most(reader.two_byte_integer()?.into(), IN_FLIGHT)? as u16;
    let offer = {
        let (receive_maximum, topic_alias_maximum) =
            (reader.two_byte_integer()?, reader.two_byte_integer()?);
        let flags = reader.byte()?;
        Offer {
            receive_maximum,
            topic_alias_maximum,
            max_qos: qos(flags)?,
            retain_available: flags & 4 != 0,
            subscribing: Subscribing {
                wildcards: flags & 8 == 0,
                identifiers: flags & 16 == 0,
                shared: flags & 32 == 0,
            },
        }
    };
    let mut connection = Connection::new(number, Arc::default(), limits, offer, Time(opened));
    connection.phase = phase;
    connection.version = version;
    connection.last_packet = Time(last_packet);
    connection.keep_alive_limit = keep_alive_limit;
    connection.maximum_packet_size = maximum_packet_size as usize;
    connection.full_window = full_window;
    connection.request_problem_information = flag(reader)?;
    let account = match flag(reader)? {
        true => Some(text(reader)?.into()),
        false => None,
    };
    connection.authorizer = Arc::new(Awaited { account });
    let aliases: Vec<Box<str>> = list(reader, |reader| Ok(text(reader)?.into()))?;
    at_most(aliases.len() as u64, u16::MAX.into())?;
    if !aliases.is_empty() {
        *connection.topic_aliases_in = aliases;
    }
    connection.topic_alias_maximum_out = reader.two_byte_integer()?;
    let aliases = list(reader, |reader| {
        Ok((text(reader)?.into(), reader.two_byte_integer()?))
    })?;
    at_most(
        aliases.len() as u64,
        connection.topic_alias_maximum_out.into(),
    )?;
    connection.topic_aliases_out =
        (!aliases.is_empty()).then(|| Box::new(aliases.into_iter().collect()));
    let retained = list(reader, |reader| {
        let pending = (place(reader, messages)?.clone(), qos(reader.byte()?)?);
        Ok((pending, identifier(reader)?))
    })?;
    let held = list(reader, |reader| delivery(reader, messages, QoS::AtMostOnce))?;
    connection.arriving = Some(Box::new(Arriving {
        since: Time(since).min(now),
        held_bytes: held.iter().map(|delivery| delivery.message.size()).sum(),
        held,
    }));
    let output = bytes(reader)?;
    connection.output.small().extend_from_slice(output);
    Ok((connection, retained))
}

fn pending(reader: &mut Reader<'_>) -> Result<PendingConnect> {
    let client_id = text(reader)?.to_owned();
    let flags = reader.byte()?;
    let has = |bit: u8| flags >> bit & 1 != 0;
    Ok(PendingConnect {
        client_id,
        assigned: has(0),
        clean_start: has(1),
        request_problem_information: has(2),
        keep_alive: reader.two_byte_integer()?,
        requested_expiry: reader.four_byte_integer()?,
        receive_maximum: reader.two_byte_integer()?,
        topic_alias_maximum: reader.two_byte_integer()?,
        maximum_packet_size: if has(3) {
            Some(reader.four_byte_integer()?)
        } else {
            None
        },
        will: if has(4) {
            let message = message(reader)?;
            let delay = reader.four_byte_integer()?;
            let expires = flag(reader)?;
            let interval = reader.four_byte_integer()?;
            Some((message, delay, expires.then_some(interval)))
        } else {
            None
        },
    })
}

/// Each element is at least a byte of what is left to read, so that a count cannot lead far.
pub(super) fn list<T>(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.four_byte_integer()?;
    (0..count).map(|_| each(reader)).collect()
}

/// One of what was read before, by its place.
fn place<'a, T>(reader: &mut Reader<'_>, all: &'a [T]) -> Result<&'a T> {
    let place = reader.four_byte_integer()?;
    all.get(place as usize)
        .ok_or(Damaged("nothing has this place"))
}

pub(super) fn time(reader: &mut Reader<'_>) -> Result<Option<Time>> {
    Ok(match flag(reader)? {
        true => Some(Time(u64(reader)?)),
        false => None,
    })
}

fn flag(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damaged("neither yes nor no")),
    }
}

pub(super) fn qos(flags: u8) -> Result<QoS> {
    QoS::from_bits(flags & 3).ok_or(Damaged("QoS 3"))
}

/// A subscription identifier; 0 for none.
pub(super) fn identifier(reader: &mut Reader<'_>) -> Result<u32> {
    let identifier = reader.four_byte_integer()?;
    at_most(identifier.into(), VARIABLE_BYTE_INTEGER_MAX.into())?;
    Ok(identifier)
}

pub(super) fn at_most(number: u64, most: u64) -> Result<u64> {
    if number <= most {
        Ok(number)
    } else {
        Err(Damaged("a number out of range"))
    }
}
