//! The state that records add up to: what a broker starts from, and what a compacted store holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::journal::Journal;
use super::record::{Decoded, Record};
use crate::bans::{Ban, Kind};
use crate::codec::QoS;
use crate::message::Message;
use crate::origin::Origin;
use crate::time::Time;
use crate::topic::SHARE_PREFIX;

/// Bytes after which a snapshot goes on in a new frame, so that damage costs no more than one.
const SNAPSHOT_FRAME: usize = 64 * 1024;

/// The highest number that a record may have. Brokers count from 1, and never come that far: a record beyond was not
/// written by one, and numbers that go on from it would run out.
pub const LAST_NUMBER: u64 = 1 << 62;

/// Durable state of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By session number.
    pub sessions: BTreeMap<u64, SessionState>,
    /// By topic name, with where they come from.
    pub retained: BTreeMap<Box<str>, (Message, Origin)>,
    /// Messages that are to be published later, by number.
    pub delayed: BTreeMap<u64, DelayedState>,
    /// Who is not let in.
    pub bans: BTreeMap<(Kind, String), Ban>,
    /// Numbers up to this one were given out.
    pub last_number: u64,
    messages: HashMap<u64, Arc<Message>>,
}

/// Durable state of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Client identifier.
    pub client_id: String,
    /// Account of the client that was connected last; empty for none.
    pub account: String,
    /// Session expiry interval in seconds.
    pub expiry: u32,
    /// When its connection ended; `None` when it was connected to the last.
    pub offline_since: Option<Time>,
    /// The will that was not published yet, and its delay in seconds.
    pub will: Option<(Message, u32)>,
    /// By filter: options byte and subscription identifier (0 for none).
    pub subscriptions: BTreeMap<String, (u8, u32)>,
    /// By delivery number, which is the order of delivery.
    pub deliveries: BTreeMap<u64, DeliveryState>,
    /// QoS 2 packet identifiers of the client that wait for PUBREL.
    pub received: BTreeSet<u16>,
    /// Shared subscriptions that were left while QoS 1 messages were in flight.
    pub left_shares: BTreeSet<String>,
}

/// A message that is to be published later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedState {
    /// When.
    pub at: Time,
    /// Who published it.
    pub client_id: String,
    /// With which account; empty for none.
    pub account: String,
    /// `expires` is its interval in milliseconds.
    pub message: Message,
}

/// One delivery that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryState {
    /// What is delivered.
    pub message: Arc<Message>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// Retain flag of the delivery.
    pub retain: bool,
    /// Subscription identifiers.
    pub identifiers: Vec<u32>,
    /// 0 while it is queued.
    pub packet_identifier: u16,
    /// PUBREC has come.
    pub released: bool,
}

impl State {
    /// Applies the body of one record; false when it cannot be read, or has a number above [`LAST_NUMBER`]. A record about a session or
    /// message that is gone changes nothing.
    #[must_use]
    pub fn apply(&mut self, body: &[u8]) -> bool {
        match Record::decode(body) {
            Ok(decoded) if given_out(&decoded) <= LAST_NUMBER => {
                self.apply_decoded(decoded);
                true
            }
            _ => false,
        }
    }

    fn apply_decoded(&mut self, decoded: Decoded<'_>) {
        match decoded {
            Decoded::Session {
                session,
                client_id,
                expiry,
                will,
            } => {
                self.number(session);
                let state = self.sessions.entry(session).or_default();
                state.client_id = client_id.to_owned();
                state.expiry = expiry;
                state.offline_since = None;
                state.will = will;
            }
            Decoded::Message(message) => {
                self.number(message.stored);
                let number = message.stored;
                self.messages
                    .entry(number)
                    .or_insert_with(|| Arc::new(message));
            }
            Decoded::Retained(message, origin) => {
                if message.payload.is_empty() {
                    self.retained.remove(&message.topic);
                } else {
                    self.retained
                        .insert(message.topic.clone(), (message, origin));
                }
            }
            Decoded::Delivery {
                session,
                delivery,
                message,
                qos,
                retain,
                identifiers,
                packet_identifier,
            } => {
                self.number(delivery);
                if let (Some(state), Some(message)) =
                    (self.sessions.get_mut(&session), self.messages.get(&message))
                {
                    let message = message.clone();
                    let entry = DeliveryState {
                        message,
                        qos,
                        retain,
                        identifiers,
                        packet_identifier,
                        released: false,
                    };
                    state.deliveries.insert(delivery, entry);
                }
            }
            Decoded::Delayed {
                number,
                at,
                client_id,
                account,
                message,
            } => {
                self.number(number);
                let delayed = DelayedState {
                    at,
                    client_id: client_id.to_owned(),
                    account: account.to_owned(),
                    message,
                };
                self.delayed.insert(number, delayed);
            }
            Decoded::Banned(kind, name, ban) => {
                self.bans.insert((kind, name.to_owned()), ban);
            }
            Decoded::Plain(record) => self.apply_plain(&record),
        }
    }

    fn apply_plain(&mut self, record: &Record<'_>) {
        match *record {
            Record::Numbers { last } => self.number(last),
            Record::DelayedDone { number } => {
                self.delayed.remove(&number);
            }
            Record::SessionAccount { session, account } => self.session(session, |state| {
                state.account = account.to_owned();
            }),
            Record::Unbanned { kind, name } => {
                self.bans.remove(&(kind, name.to_owned()));
            }
            Record::SessionEnded { session } => {
                self.sessions.remove(&session);
            }
            Record::Delivered { session, delivery } => self.session(session, |state| {
                state.deliveries.remove(&delivery);
            }),
            Record::Offline {
                session,
                at,
                will_done,
            } => self.session(session, |state| {
                state.offline_since = Some(at);
                if will_done {
                    state.will = None;
                }
            }),
            Record::Subscribed {
                session,
                filter,
                options,
                identifier,
            } => self.session(session, |state| {
                state.left_shares.remove(filter);
                state
                    .subscriptions
                    .insert(filter.to_owned(), (options, identifier));
            }),
            Record::Unsubscribed { session, filter } => self.session(session, |state| {
                state.subscriptions.remove(filter);
                if filter.starts_with(SHARE_PREFIX) && state.deliveries.values().any(is_in_flight) {
                    state.left_shares.insert(filter.to_owned());
                }
            }),
            Record::Sent {
                session,
                delivery,
                packet_identifier,
            } => {
                self.delivery(session, delivery, |entry| {
                    entry.packet_identifier = packet_identifier
                });
            }
            Record::Released { session, delivery } => {
                self.delivery(session, delivery, |entry| entry.released = true);
            }
            Record::Received {
                session,
                packet_identifier,
            } => self.session(session, |state| {
                state.received.insert(packet_identifier);
            }),
            Record::ReceivedReleased {
                session,
                packet_identifier,
            } => self.session(session, |state| {
                state.received.remove(&packet_identifier);
            }),
            Record::Session { .. }
            | Record::Message { .. }
            | Record::Retained { .. }
            | Record::Delayed { .. }
            | Record::Banned { .. }
            | Record::Delivery { .. } => {}
        }
    }

    /// Drops what belongs to nothing, once all records are applied: messages that no delivery refers to, shared
    /// subscriptions that were left by sessions with nothing in flight, and all sessions of a client but its newest. A
    /// broker never keeps two; the clients of whom there were are returned.
    #[must_use]
    pub fn finish(&mut self) -> Vec<String> {
        let mut newest = HashSet::with_capacity(self.sessions.len());
        let older: Vec<u64> = self
            .sessions
            .iter()
            .rev()
            .filter(|(_, session)| !newest.insert(&*session.client_id))
            .map(|(number, _)| *number)
            .collect();
        let older = older.into_iter().rev();
        let dropped: Vec<SessionState> = older
            .filter_map(|number| self.sessions.remove(&number))
            .collect();
        let clients = dropped.into_iter().map(|session| session.client_id);
        let clients = clients.collect();
        for session in self.sessions.values_mut() {
            if !session.deliveries.values().any(is_in_flight) {
                session.left_shares.clear();
            }
        }
        self.messages
            .retain(|_, message| Arc::strong_count(message) > 1);
        clients
    }

    /// The shortest list of records that leads to this state, in sealed frames.
    #[must_use]
    pub fn to_journal(&self) -> Journal {
        let mut journal = Journal::default();
        journal.note(&Record::Numbers {
            last: self.last_number,
        });
        let seal = |journal: &mut Journal| {
            if journal.unsealed() > SNAPSHOT_FRAME {
                journal.seal();
            }
        };
        for (message, origin) in self.retained.values() {
            let origin = Some(origin);
            journal.note(&Record::Retained { message, origin });
            seal(&mut journal);
        }
        for (&number, delayed) in &self.delayed {
            journal.note(&Record::Delayed {
                number,
                at: delayed.at,
                client_id: &delayed.client_id,
                account: &delayed.account,
                message: &delayed.message,
            });
            seal(&mut journal);
        }
        for ((kind, name), ban) in &self.bans {
            let (kind, name) = (*kind, &**name);
            journal.note(&Record::Banned { kind, name, ban });
            seal(&mut journal);
        }
        let mut written = BTreeSet::new();
        for (&session, state) in &self.sessions {
            let will = state
                .will
                .as_ref()
                .map(|(message, delay)| (message, *delay));
            journal.note(&Record::Session {
                session,
                client_id: &state.client_id,
                expiry: state.expiry,
                will,
            });
            if !state.account.is_empty() {
                journal.note(&Record::SessionAccount {
                    session,
                    account: &state.account,
                });
            }
            if let Some(at) = state.offline_since {
                journal.note(&Record::Offline {
                    session,
                    at,
                    will_done: false,
                });
            }
            for (filter, &(options, identifier)) in &state.subscriptions {
                journal.note(&Record::Subscribed {
                    session,
                    filter,
                    options,
                    identifier,
                });
            }
            for &packet_identifier in &state.received {
                journal.note(&Record::Received {
                    session,
                    packet_identifier,
                });
            }
            for (&delivery, entry) in &state.deliveries {
                if written.insert(entry.message.stored) {
                    journal.note(&Record::Message {
                        message: &entry.message,
                    });
                }
                journal.note(&Record::Delivery {
                    session,
                    delivery,
                    message: entry.message.stored,
                    qos: entry.qos,
                    retain: entry.retain,
                    identifiers: &entry.identifiers,
                    packet_identifier: entry.packet_identifier,
                });
                if entry.released {
                    journal.note(&Record::Released { session, delivery });
                }
                seal(&mut journal);
            }
            for filter in &state.left_shares {
                journal.note(&Record::Unsubscribed { session, filter });
            }
            seal(&mut journal);
        }
        journal.seal();
        journal
    }

    fn session(&mut self, session: u64, change: impl FnOnce(&mut SessionState)) {
        if let Some(state) = self.sessions.get_mut(&session) {
            change(state);
        }
    }

    fn delivery(&mut self, session: u64, delivery: u64, change: impl FnOnce(&mut DeliveryState)) {
        self.session(session, |state| {
            if let Some(entry) = state.deliveries.get_mut(&delivery) {
                change(entry);
            }
        });
    }

    fn number(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }
}

/// Whether it is QoS 1 that was sent.
fn is_in_flight(delivery: &DeliveryState) -> bool {
    delivery.qos == QoS::AtLeastOnce && delivery.packet_identifier != 0
}

/// The highest number that a record says was given out; 0 for one that only refers to numbers.
fn given_out(decoded: &Decoded<'_>) -> u64 {
    match decoded {
        Decoded::Session { session, .. } => *session,
        Decoded::Message(message) => message.stored,
        Decoded::Delivery { delivery, .. } => *delivery,
        Decoded::Delayed { number, .. } => *number,
        Decoded::Plain(Record::Numbers { last }) => *last,
        Decoded::Plain(_) | Decoded::Retained(..) | Decoded::Banned(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::read_frames;
    use bytes::Bytes;

    fn message(stored: u64, payload: &'static str) -> Message {
        Message {
            stored,
            topic: "a/b".into(),
            payload: Bytes::from_static(payload.as_bytes()),
            properties: Box::new([1, 1]),
            expires: Some(Time(77)),
            qos: QoS::ExactlyOnce,
            retain: true,
        }
    }

    fn sample() -> Journal {
        let mut journal = Journal::default();
        let first = message(2, "one");
        journal.note(&Record::Session {
            session: 1,
            client_id: "c",
            expiry: 60,
            will: Some((&first, 5)),
        });
        journal.note(&Record::Subscribed {
            session: 1,
            filter: "a/#",
            options: 2,
            identifier: 9,
        });
        journal.note(&Record::Subscribed {
            session: 1,
            filter: "x",
            options: 0,
            identifier: 0,
        });
        journal.note(&Record::Unsubscribed {
            session: 1,
            filter: "x",
        });
        journal.note(&Record::Message { message: &first });
        for delivery in [3, 4] {
            journal.note(&Record::Delivery {
                session: 1,
                delivery,
                message: 2,
                qos: QoS::ExactlyOnce,
                retain: false,
                identifiers: &[9],
                packet_identifier: 0,
            });
        }
        journal.note(&Record::Sent {
            session: 1,
            delivery: 3,
            packet_identifier: 1,
        });
        journal.note(&Record::Released {
            session: 1,
            delivery: 3,
        });
        journal.note(&Record::Delivered {
            session: 1,
            delivery: 4,
        });
        journal.note(&Record::Received {
            session: 1,
            packet_identifier: 8,
        });
        journal.note(&Record::Retained {
            message: &first,
            origin: Some(&Origin::new(Time(40), "alice", "c")),
        });
        let ban = &Ban {
            since: Time(41),
            until: Some(Time(99)),
            reason: "floods".into(),
        };
        for name in ["c", "lifted"] {
            let kind = Kind::Client;
            journal.note(&Record::Banned { kind, name, ban });
        }
        let (kind, name) = (Kind::Client, "lifted");
        journal.note(&Record::Unbanned { kind, name });
        journal.seal();
        journal.note(&Record::Offline {
            session: 1,
            at: Time(50),
            will_done: false,
        });
        journal.seal();
        journal
    }

    fn load(bytes: &[u8]) -> (State, usize) {
        let mut state = State::default();
        let read = read_frames(bytes, |body| state.apply(body));
        assert!(state.finish().is_empty());
        (state, read)
    }

    #[test]
    fn compacted_records_lead_to_the_same_state() {
        let journal = sample();
        let (state, read) = load(journal.bytes());
        assert_eq!(read, journal.bytes().len());
        let session = &state.sessions[&1];
        assert_eq!(session.deliveries.len(), 1);
        assert!(session.deliveries[&3].released);
        assert_eq!(session.subscriptions.len(), 1);
        assert_eq!(state.bans.len(), 1);
        assert_eq!(load(state.to_journal().bytes()).0, state);
    }

    #[test]
    fn a_message_is_forgotten_with_its_last_delivery() {
        let mut journal = sample();
        journal.note(&Record::Delivered {
            session: 1,
            delivery: 3,
        });
        journal.seal();
        let (state, _) = load(journal.bytes());
        assert!(state.messages.is_empty());
        assert_eq!(state.last_number, 4);
    }

    fn begun(session: u64, client_id: &str) -> Journal {
        let mut journal = Journal::default();
        journal.note(&Record::Session {
            session,
            client_id,
            expiry: 60,
            will: None,
        });
        journal.seal();
        journal
    }

    #[test]
    fn of_two_sessions_of_a_client_the_newer_stays() {
        let mut state = State::default();
        // In whatever order they are found.
        for (session, client_id) in [(5, "c"), (3, "c"), (4, "other")] {
            read_frames(begun(session, client_id).bytes(), |body| state.apply(body));
        }
        assert_eq!(state.finish(), ["c"]);
        assert_eq!(state.sessions.keys().copied().collect::<Vec<_>>(), [4, 5]);
        assert!(state.finish().is_empty());
    }

    #[test]
    fn a_number_that_no_broker_gives_out_is_refused_and_what_is_before_stays() {
        let sound = begun(LAST_NUMBER, "c");
        for number in [LAST_NUMBER + 1, u64::MAX] {
            let log = [sound.bytes(), begun(number, "d").bytes()].concat();
            let (state, read) = load(&log);
            assert_eq!(read, sound.bytes().len());
            assert_eq!((state.sessions.len(), state.last_number), (1, LAST_NUMBER));
        }
    }

    #[test]
    fn a_subscription_to_no_topic_filter_is_refused() {
        let sound = begun(1, "c");
        for filter in ["", "a#", "a/#/b", "$share//t"] {
            for record in [
                Record::Subscribed {
                    session: 1,
                    filter,
                    options: 0,
                    identifier: 0,
                },
                Record::Unsubscribed { session: 1, filter },
            ] {
                let mut journal = Journal::default();
                journal.note(&record);
                journal.seal();
                let (state, read) = load(&[sound.bytes(), journal.bytes()].concat());
                assert_eq!(read, sound.bytes().len());
                assert_eq!(state.sessions[&1].subscriptions.len(), 0);
            }
        }
    }

    #[test]
    fn a_log_torn_or_damaged_anywhere_keeps_the_whole_frames_before() {
        let bytes = sample().bytes().to_vec();
        let first = 8 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let boundaries = [0, first, bytes.len()];
        for end in 0..bytes.len() {
            let (_, read) = load(&bytes[..end]);
            assert_eq!(
                read,
                *boundaries.iter().rfind(|&&at| at <= end).unwrap(),
                "torn at {end}"
            );
            let mut damaged = bytes.clone();
            damaged[end] ^= 0x40;
            let (_, read) = load(&damaged);
            assert!(
                read <= end && boundaries.contains(&read),
                "damaged at {end}"
            );
        }
    }
}
