//! The broker: connections, sessions, subscriptions, retained messages and their timers.
//!
//! Every entry point takes the time. What comes out is collected until the host fetches it at the
//! end of its batch: output for each touched connection, records for the store, events for the
//! log. One file for each packet, in the standard's words.

mod acknowledge;
mod authenticate;
mod ban;
mod connect;
mod connection;
mod delayed;
mod deliver;
mod disconnect;
mod doors;
mod handover;
mod image;
mod inspect;
mod leaving;
mod load;
mod local;
mod operate;
mod pace;
mod publish;
mod queue_expiry;
mod redirect;
mod report;
mod request;
mod restore;
mod retained;
mod retained_delivery;
mod rules;
mod send;
mod session;
mod share;
mod slow;
mod subscribe;
mod subscribed;
mod sys;
mod timers;
mod topic_checks;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::authorizer::{Absent, AllowAll, Authorizer, LoginRefusal};
use crate::bans::Bans;
use crate::codec::property::Property;
use crate::codec::{
    Error, FixedHeader, PacketType, ReasonCode, disconnect as codec_disconnect, ping,
};
use crate::retained::Retained;
use crate::settings::{Limits, Settings};
use crate::slab::Slab;
use crate::store::Journal;
use crate::texts::Texts;
use crate::time::Time;
use crate::trie::SubscriptionTrie;

pub use crate::slab::Key;
pub use authenticate::{AuthAnswer, Authentication};
pub use connection::{ConnectionId, Meter, Output};
pub use handover::Damaged;
pub use image::Walk;
pub use inspect::{ConnectionView, RetainedCursor, RetainedView, SessionView, Totals};
pub use local::LOCAL_CLIENT;
pub use operate::{Heard, Kicked};
pub use report::{Counters, DropCause, Event, Sizes};
pub use sys::{SysFacts, Traffic};

use connect::PendingConnect;
use connection::{Connection, Phase};
use delayed::Delayed;
use disconnect::WillFate;
use doors::Doors;
use leaving::Leaving;
use load::Load;
use operate::Listeners;
use pace::Users;
use send::Heads;
use session::{Session, SessionId};
use sys::Sys;
use timers::Timers;

/// No CONNECT is longer: its five fields of 65,535 bytes and room for properties.
const CONNECT_MAX: usize = 5 * 65_537 + 4_096;

type Clients = HashMap<Arc<str>, SessionId, foldhash::fast::RandomState>;

/// An MQTT broker.
pub struct Broker {
    settings: Settings,
    connections: Slab<Connection>,
    sessions: Slab<Session>,
    clients: Clients,
    subscriptions: SubscriptionTrie,
    leaving: Leaving,
    /// Topic filters that may be subscribed to or unsubscribed from in this turn.
    filters_left: usize,
    retained: Retained,
    bans: Bans,
    timers: Timers,
    delayed: Delayed,
    journal: Journal,
    touched: Vec<ConnectionId>,
    events: Vec<Event>,
    counters: Counters,
    sys: Sys,
    listeners: Listeners,
    heads: Heads,
    scratch: Vec<u8>,
    last_number: u64,
    last_connection: u64,
    /// Connections of the broker before whose sockets have not come yet, by number.
    arriving: HashMap<u64, ConnectionId>,
    entropy: Box<dyn FnMut() -> u128 + Send>,
    accepting: bool,
    /// The server ends, and no other instance follows.
    ending: bool,
    load: Load,
    /// PUBLISH packets may have to wait.
    paces: bool,
    /// Since when the store has had more than it can put on the disk.
    store_behind: Option<Time>,
    users: Users,
    texts: Texts,
    doors: Doors,
    /// What it is called on messages that pass bridges; empty for nothing.
    name: Box<str>,
    absent: Arc<dyn Absent>,
    now: Time,
}

/// What [`Broker::receive`] did with its bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes that were used; the rest is to be handed in again with what follows.
    pub consumed: usize,
    /// The first packet of the rest may be taken at this time: until then nothing more is to be read.
    pub resume_at: Option<Time>,
    /// There is more to do once others have had their turn: the rest, even of no bytes, is to be handed in again before
    /// more is read.
    pub more: bool,
    /// A client wants to log in: nothing more is read from it until [`Broker::login_answer`] or, for a step of an
    /// enhanced authentication, [`Broker::auth_answer`].
    pub login: Option<LoginRequest>,
}

/// Credentials of a CONNECT packet.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// Client identifier, given or assigned.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password; in 5.0 also without a user name (MQTT 5.0, 3.1.2.9).
    pub password: Option<Vec<u8>>,
    /// A step of an enhanced authentication (4.12), which decides alone.
    pub authentication: Option<Authentication>,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// An empty broker. `entropy` gives unpredictable numbers for assigned client identifiers.
    pub fn new(
        settings: Settings,
        entropy: impl FnMut() -> u128 + Send + 'static,
        now: Time,
    ) -> Broker {
        let load = Load::new(&settings);
        let mut broker = Broker {
            settings,
            connections: Slab::new(),
            sessions: Slab::new(),
            clients: Clients::default(),
            subscriptions: SubscriptionTrie::new(),
            leaving: Leaving::default(),
            filters_left: 0,
            retained: Retained::default(),
            bans: Bans::default(),
            timers: Timers::default(),
            delayed: Delayed::default(),
            journal: Journal::default(),
            touched: Vec::new(),
            events: Vec::new(),
            counters: Counters::default(),
            sys: Sys::new(now),
            listeners: Listeners::default(),
            heads: Heads::default(),
            scratch: Vec::new(),
            last_number: 0,
            last_connection: 0,
            arriving: HashMap::new(),
            entropy: Box::new(entropy),
            accepting: true,
            ending: false,
            load,
            paces: false,
            store_behind: None,
            users: Users::default(),
            texts: Texts::default(),
            doors: Doors::default(),
            name: Box::default(),
            absent: Arc::new(AllowAll),
            now,
        };
        broker.pacing();
        broker.apply_rules();
        broker
    }

    /// Other settings from now on: what connections were told at their CONNECT still holds for them, and what sessions
    /// have beyond a limit that became smaller stays. Persistence stays as it is.
    pub fn reconfigure(&mut self, settings: Settings) {
        let persistence = self.settings.persistence;
        self.settings = Settings {
            persistence,
            ..settings
        };
        self.load.reconfigure(&self.settings);
        self.apply_rules();
        self.pacing();
        self.look_at_load();
    }

    /// Who knows the rights of accounts whose clients are not here; until then they may do everything.
    pub fn set_absent(&mut self, absent: Arc<dyn Absent>) {
        self.absent = absent;
    }

    /// A network connection was accepted. `meter` tells how much of its output is not yet sent.
    pub fn open(&mut self, meter: Arc<Meter>, limits: Limits, now: Time) -> ConnectionId {
        self.now = now;
        self.last_connection += 1;
        let number = self.last_connection;
        self.counters.traffic.sockets += 1;
        meter.count_in(self.load.unsent());
        let connection = Connection::new(number, meter, limits, self.settings.offer(), now);
        let id = self.connections.insert(connection);
        self.timers.connection(now + limits.login_timeout, id);
        id
    }

    /// Takes whole packets from the start of `bytes`. `owner` is the buffer they lie in when a
    /// payload may keep a reference to it.
    pub fn receive(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        owner: Option<&Bytes>,
        now: Time,
    ) -> Received {
        self.now = now;
        let mut consumed = 0;
        let (mut resume_at, mut more) = (None, false);
        self.begin_turn(id);
        loop {
            let Some(connection) = self.connections.get_mut(id) else {
                return Received {
                    consumed: bytes.len(),
                    ..Received::default()
                };
            };
            match connection.phase {
                Phase::Closing => {
                    return Received {
                        consumed: bytes.len(),
                        ..Received::default()
                    };
                }
                Phase::Authenticating(_) if !connection.awaits_auth() => break,
                Phase::AwaitingConnect | Phase::Authenticating(_) | Phase::Connected(_) => {}
            }
            if connection.request.is_some() {
                more = self.filters_left == 0;
                if more {
                    break;
                }
                self.continue_request(id);
                continue;
            }
            let rest = &bytes[consumed..];
            let result = match FixedHeader::read(rest) {
                Ok(None) => break,
                Ok(Some(header)) => match self.check_header(id, header) {
                    Ok(kind) => {
                        let Some(frame) = rest.get(..header.frame()) else {
                            break;
                        };
                        let of_filters =
                            matches!(kind, PacketType::Subscribe | PacketType::Unsubscribe);
                        more = of_filters && self.filters_left == 0;
                        if more {
                            break;
                        }
                        resume_at = self.held_back(id, kind, header.first);
                        if resume_at.is_some() {
                            break;
                        }
                        consumed += frame.len();
                        self.packet(id, kind, header.first, &frame[header.length..], owner)
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.fail(id, error);
            }
        }
        self.counters.traffic.bytes_received += consumed as u64;
        let login = self
            .connections
            .get_mut(id)
            .and_then(|connection| connection.login.take())
            .map(|login| *login);
        Received {
            consumed,
            resume_at,
            more,
            login,
        }
    }

    /// Answers a [`LoginRequest`].
    pub fn login_answer(
        &mut self,
        id: ConnectionId,
        answer: Result<Arc<dyn Authorizer>, LoginRefusal>,
        now: Time,
    ) {
        self.now = now;
        self.handle_login_answer(id, answer);
    }

    /// The network connection is gone; the id is not valid any more.
    pub fn lost(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        if let Some(Phase::Connected(session)) =
            self.connections.get(id).map(|connection| &connection.phase)
        {
            let client_id = self
                .sessions
                .get(*session)
                .map(|session| session.client_id.clone());
            self.events.push(Event::Lost {
                connection: id,
                client_id: client_id.unwrap_or_default(),
            });
            self.leave(id, WillFate::Publish);
        }
        if let Some(connection) = self.connections.remove(id)
            && !connection.is_here()
        {
            self.arriving.remove(&connection.number);
        }
    }

    /// The account behind a connection lost its rights.
    pub fn revoke(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        self.close(id, ReasonCode::NotAuthorized, "account changed or removed");
    }

    /// A client has been at one packet for longer than others, and there is no room for all that is half received.
    pub fn give_up_packet(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        self.close(
            id,
            ReasonCode::QuotaExceeded,
            "packet half received for too long",
        );
    }

    /// Ends connections whose listener is there no more. The server goes on: their wills are published.
    pub fn send_away(&mut self, now: Time, came_by_it: impl Fn(ConnectionId) -> bool) {
        self.now = now;
        for id in self.connections.keys() {
            if came_by_it(id) {
                self.close(id, ReasonCode::ServerShuttingDown, "listener removed");
            }
        }
    }

    /// A client with this identifier gave the right password of an account that has as many
    /// connections as it may have: ends the one with this identifier, if it is the account's own.
    pub fn release(&mut self, client_id: &str, account: &str, now: Time) -> bool {
        self.now = now;
        self.release_connection(client_id, account)
    }

    /// Everything that was handed out for this connection is sent, and it asked to be told.
    pub fn drained(&mut self, id: ConnectionId, now: Time) {
        self.now = now;
        if let Some(Phase::Connected(session)) =
            self.connections.get(id).map(|connection| &connection.phase)
        {
            self.pump(*session);
        }
    }

    /// Ends all connections: 5.0 clients are told that the server is shutting down (0x8B), wills
    /// wait for the next start (3.1.2.5). New clients are refused from now on.
    pub fn shut_down(&mut self, now: Time) {
        self.ending = true;
        self.retire(now, |_| false);
    }

    /// Fires the timers that are due.
    pub fn tick(&mut self, now: Time) {
        self.now = now;
        self.fire_timers();
        self.publish_delayed();
    }

    /// When [`tick`](Broker::tick) is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers
            .next()
            .into_iter()
            .chain(self.delayed.next())
            .min()
    }

    /// Records of this batch, sealed as one frame. The host stores them and clears the journal.
    pub fn journal(&mut self) -> &mut Journal {
        self.journal.seal();
        &mut self.journal
    }

    /// The next connection that has output, each once.
    pub fn next_touched(&mut self) -> Option<ConnectionId> {
        let id = self.touched.pop()?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.touched = false;
        }
        Some(id)
    }

    /// The output of a connection, counted as handed out: the host takes all of it.
    pub fn output(&mut self, id: ConnectionId) -> Option<&mut Output> {
        let connection = self.connections.get_mut(id)?;
        connection.meter.add(connection.output.len());
        self.counters.traffic.bytes_sent += connection.output.len() as u64;
        self.look_at_load();
        self.connections
            .get_mut(id)
            .map(|connection| &mut connection.output)
    }

    /// Events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Numbers of the moment.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            connections: self.connections.len(),
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len() - self.leaving.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            delayed: self.delayed.len(),
        }
    }

    /// What can be said of a packet before its body has arrived.
    fn check_header(&self, id: ConnectionId, header: FixedHeader) -> Result<PacketType, Error> {
        let connection = self.connections.get(id);
        let connected = connection.is_some_and(|connection| connection.is_connected());
        let exchanging =
            connection.is_some_and(|connection| connection.awaits_auth()) && !connected;
        let max_packet = connection.map_or(0, |connection| connection.limits.max_packet);
        let kind = PacketType::from_first_byte(header.first)
            .ok_or(Error::Malformed("reserved packet type 0"))?;
        if kind
            .required_flags()
            .is_some_and(|flags| flags != header.first & 0x0f)
        {
            return Err(Error::Malformed("fixed header flags"));
        }
        match kind {
            PacketType::Connect if connected || exchanging => {
                return Err(Error::Protocol("second CONNECT"));
            }
            PacketType::Connect if header.frame() > CONNECT_MAX => {
                return Err(Error::Malformed("CONNECT too long"));
            }
            PacketType::Connect => {}
            PacketType::Auth if exchanging && header.frame() > CONNECT_MAX => {
                return Err(Error::Malformed("AUTH too long"));
            }
            PacketType::Auth | PacketType::Disconnect if exchanging => {}
            // MQTT-3.1.2-30.
            _ if exchanging => {
                return Err(Error::Protocol("packet other than AUTH before CONNACK"));
            }
            _ if !connected => return Err(Error::Protocol("first packet is not CONNECT")),
            PacketType::Connack
            | PacketType::Suback
            | PacketType::Unsuback
            | PacketType::Pingresp => {
                return Err(Error::Protocol("packet that only a server sends"));
            }
            _ => {}
        }
        if header.frame() > max_packet {
            return Err(Error::Refused {
                reason: ReasonCode::PacketTooLarge,
                what: "packet too large",
            });
        }
        Ok(kind)
    }

    fn packet(
        &mut self,
        id: ConnectionId,
        kind: PacketType,
        first: u8,
        body: &[u8],
        owner: Option<&Bytes>,
    ) -> Result<(), Error> {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        connection.last_packet = now;
        self.counters.traffic.packets_received += 1;
        let version = connection.version;
        let session = match connection.phase {
            Phase::Connected(session) => session,
            Phase::Authenticating(_) if kind == PacketType::Auth => {
                return self.handle_auth(id, body);
            }
            Phase::Authenticating(_) => return self.handle_disconnect(id, version, body),
            Phase::AwaitingConnect | Phase::Closing => {
                self.handle_connect(id, body);
                return Ok(());
            }
        };
        match kind {
            PacketType::Publish => self.handle_publish(id, session, version, first, body, owner),
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
                self.handle_acknowledgement(id, session, version, kind, body)
            }
            PacketType::Subscribe => self.handle_subscribe(id, version, body),
            PacketType::Unsubscribe => self.handle_unsubscribe(id, version, body),
            PacketType::Pingreq => {
                ping::decode_pingreq(body)?;
                self.write(id, |out| out.extend_from_slice(&ping::PINGRESP));
                if let Some(session) = self.sessions.get_mut(session) {
                    session.rest();
                }
                Ok(())
            }
            PacketType::Disconnect => self.handle_disconnect(id, version, body),
            PacketType::Auth if version.is_v5() => self.handle_auth(id, body),
            _ => Err(Error::Malformed("packet type not allowed in this version")),
        }
    }

    /// Answers what a peer did wrong and ends its connection.
    fn fail(&mut self, id: ConnectionId, error: Error) {
        let what = match error {
            Error::Malformed(what) | Error::Protocol(what) | Error::Refused { what, .. } => what,
        };
        self.close(id, error.reason(), what);
    }

    fn close(&mut self, id: ConnectionId, reason: ReasonCode, what: &'static str) {
        self.close_with(id, reason, what, WillFate::Publish);
    }

    fn close_with(
        &mut self,
        id: ConnectionId,
        reason: ReasonCode,
        what: &'static str,
        will: WillFate,
    ) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let version = connection.version;
        let client_id = match connection.phase {
            Phase::Closing => return,
            Phase::Connected(session) => {
                if version.is_v5() {
                    // What the client did wrong its code says; what the server decided is explained.
                    let explained = matches!(
                        reason,
                        ReasonCode::ServerShuttingDown
                            | ReasonCode::NotAuthorized
                            | ReasonCode::AdministrativeAction
                    );
                    let text = Some(what).filter(|_| explained && connection.may_explain());
                    let mut packet = Vec::new();
                    let property = text.map(Property::ReasonString);
                    let property = property.or(self.server_reference(reason));
                    codec_disconnect::encode(&mut packet, reason, property);
                    self.write(id, |out| out.extend_from_slice(&packet));
                }
                let session = self.sessions.get(session);
                session
                    .map(|session| session.client_id.clone())
                    .unwrap_or_default()
            }
            Phase::AwaitingConnect => Arc::default(),
            Phase::Authenticating(_) => {
                self.refuse_pending(id, reason, None);
                return;
            }
        };
        self.events.push(Event::Closed {
            connection: id,
            client_id,
            reason,
            what,
        });
        self.leave(id, will);
    }

    /// Appends to the output of a connection.
    fn write(&mut self, id: ConnectionId, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.counters.traffic.packets_sent += 1;
            encode(connection.output.small());
            connection.touch(id, &mut self.touched);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
