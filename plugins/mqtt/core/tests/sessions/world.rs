//! Clients, and a host around a broker.
//!
//! The store is simulated to the letter of its contract: records become durable some time after the batch that
//! made them, output waits for them, and a kill keeps any number of the frames that were not yet promised.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use polyport_mqtt_core::broker::{Meter, Walk};
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};
use proptest::test_runner::TestCaseError;

use crate::model::{Published, RETAINED, Receiver, SHARE, SHARED, WILL, filters, name, subscribed};
use crate::wills::Wills;
use crate::{retained, shares};

pub const CLIENTS: usize = 8;

/// An outgoing message of a client: packet identifier, number, PUBREC has come.
struct Outgoing {
    identifier: u16,
    number: u32,
    received: bool,
}

#[derive(Default)]
struct Client {
    connection: Option<ConnectionId>,
    /// Output of the broker: the frame it waits for, and bytes.
    incoming: VecDeque<(usize, Vec<u8>)>,
    unread: Vec<u8>,
    connected: bool,
    /// It has a session, as far as it was told.
    known: bool,
    /// It wants a new one, and was not given it yet.
    anew: bool,
    subscribed: bool,
    outgoing: VecDeque<Outgoing>,
    next_identifier: u16,
    /// QoS 2 identifiers of the broker that wait for PUBREL.
    open: BTreeSet<u16>,
    /// When its session ends at the earliest, and at the latest, unless it connects.
    ends: Option<(Time, Time)>,
    /// Whether the session is there to which it connects, where that is certain.
    present: Option<bool>,
    /// It was not told yet whether its session had ended.
    unsure: bool,
    /// It joined the shared subscription in a session that is not stored; what others were given of it is there once
    /// so many frames are.
    shares: Option<usize>,
    wills: Option<Wills>,
}

pub struct World {
    settings: Settings,
    broker: Broker,
    frames: Vec<Vec<u8>>,
    committed: usize,
    clients: Vec<Client>,
    pub receivers: Vec<Receiver>,
    pub published: Vec<Published>,
    now: Time,
    /// One that looks for retained messages, and what it was sent.
    probe: Option<(ConnectionId, Vec<u8>)>,
    /// The store that is written anew, and the frames there were when that began.
    image: Option<(Walk, usize)>,
}

/// These clients speak 5.0, the others 3.1.1.
fn is_five(at: usize) -> bool {
    matches!(at, 1 | 3 | 5..)
}

/// Session expiry interval of a client of 5.0.
fn expiry(at: usize) -> u32 {
    match at {
        6 => 8,
        7 => 0,
        _ => u32::MAX,
    }
}

/// Who publishes retained messages, and with which QoS.
const RETAINERS: [(usize, u8); 2] = [(0, 1), (3, 2)];

fn identifier(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

impl World {
    pub fn new(window: u16) -> World {
        let settings = Settings {
            max_inflight_messages: window,
            receive_maximum: u16::MAX,
            ..Settings::default()
        };
        World {
            broker: Broker::new(settings.clone(), || 0, Time(0)),
            settings,
            frames: Vec::new(),
            committed: 0,
            clients: (0..CLIENTS)
                .map(|at| Client {
                    wills: (at >= 5).then(|| Wills::new(expiry(at))),
                    ..Client::default()
                })
                .collect(),
            receivers: (0..CLIENTS).map(|_| Receiver::default()).collect(),
            published: Vec::new(),
            now: Time(0),
            probe: None,
            image: None,
        }
    }

    /// What a host does after each batch.
    fn finish(&mut self) {
        let journal = self.broker.journal();
        if !journal.is_empty() {
            self.frames.push(journal.bytes().to_vec());
        }
        let gate = match journal.must_commit() {
            true => self.frames.len(),
            false => 0,
        };
        journal.clear();
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let closes = output.closes();
            let bytes: Vec<u8> = output.pieces().into_iter().flatten().collect();
            if let Some((_, sent)) = self.probe.as_mut().filter(|(probe, _)| *probe == id) {
                sent.extend(&bytes);
            }
            let at = self
                .clients
                .iter()
                .position(|client| client.connection == Some(id));
            if let Some(at) = at {
                self.look_at(at, &bytes);
                let client = &mut self.clients[at];
                client.incoming.push_back((gate, bytes));
                assert!(!closes, "client {at} is sent away");
            }
            if closes {
                self.broker.lost(id, self.now);
            }
        }
    }

    /// What is handed out is the model's to judge, whether it arrives or not.
    fn look_at(&mut self, at: usize, mut bytes: &[u8]) {
        while let [first, length, rest @ ..] = bytes {
            let (body, rest) = rest.split_at(usize::from(*length));
            bytes = rest;
            let qos = first >> 1 & 3;
            if first >> 4 == 3 && qos > 0 {
                let (identifier, number) = message(at, qos, body);
                let of = self.published[number as usize];
                let window = self.settings.max_inflight_messages;
                self.receivers[at].handed(window, first & 8 != 0, identifier, number, &of);
            }
        }
    }

    fn send(&mut self, at: usize, packet: &[u8]) {
        let Some(id) = self.clients[at].connection else {
            return;
        };
        let received = self.broker.receive(id, packet, None, self.now);
        assert_eq!(received.consumed, packet.len());
        if received.login.is_some() {
            self.broker
                .login_answer(id, Ok(Arc::new(AllowAll)), self.now);
        }
        self.finish();
    }

    pub fn connect(&mut self, at: usize) {
        self.drop_connection(at);
        self.open(at);
    }

    pub fn take_over(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.incoming.clear();
        client.unread.clear();
        client.connected = false;
        self.open(at);
    }

    pub fn begin_anew(&mut self, at: usize) {
        if is_five(at) {
            self.clients[at].anew = true;
            self.connect(at);
        }
    }

    fn open(&mut self, at: usize) {
        let limits = Limits::default();
        let id = self
            .broker
            .open(Arc::new(Meter::default()), limits, self.now);
        let client = &mut self.clients[at];
        let before = client.connection.replace(id);
        self.receivers[at].connected();
        client.present = match client.ends.filter(|_| before.is_none()) {
            Some((_, latest)) if latest <= self.now => Some(false),
            Some((earliest, _)) if earliest <= self.now => None,
            _ => Some(expiry(at) > 0),
        };
        // Had it a new session without knowing, it would not make its subscriptions in it.
        client.anew |= client.unsure;
        client.unsure = client.present != Some(true);
        if client.anew {
            client.present = Some(false);
            self.forget(at);
        }
        let anew = self.clients[at].anew;
        let mut body = match is_five(at) {
            true => [
                &b"\x00\x04MQTT\x05\0\0\0\x05\x11"[..],
                &expiry(at).to_be_bytes(),
            ]
            .concat(),
            false => b"\x00\x04MQTT\x04\0\0\0".to_vec(),
        };
        body[7] = u8::from(anew) << 1;
        body.extend([0, 1, b'a' + at as u8]);
        let wills = self.clients[at].wills.as_ref();
        let will = wills.map(|wills| {
            let (number, delay) = (self.published.len() as u32, wills.next_delay());
            self.published.push(Published {
                forgotten: true,
                ..Published::new(at, WILL, 2)
            });
            body[7] |= 0x14;
            body.extend([5, 0x18]);
            body.extend(delay.to_be_bytes());
            body.extend([0, 3]);
            body.extend(name(at, WILL));
            body.extend([0, 4]);
            body.extend(number.to_be_bytes());
            number
        });
        self.send(at, &[&[0x10, body.len() as u8], &body[..]].concat());
        let (now, frames) = (self.now, self.frames.len());
        if let Some((wills, number)) = self.clients[at].wills.as_mut().zip(will) {
            wills.connect(number, anew, now, frames);
        }
    }

    /// A client has a new session, and nothing of the one before.
    fn forget(&mut self, at: usize) {
        let client = &mut self.clients[at];
        for out in client.outgoing.drain(..) {
            self.published[out.number as usize].forgotten = true;
        }
        client.open.clear();
        client.subscribed = false;
        client.shares = client.shares.map(|until| until.min(self.frames.len() + 1));
        self.receivers[at].begun_anew();
    }

    pub fn drop_connection(&mut self, at: usize) {
        if let Some(id) = self.clients[at].connection.take() {
            self.broker.lost(id, self.now);
            self.finish();
            self.left(at);
            let (now, frames) = (self.now, self.frames.len());
            if let Some(wills) = &mut self.clients[at].wills {
                wills.lose(now, frames);
            }
        }
    }

    /// A client leaves in order.
    pub fn disconnect(&mut self, at: usize) {
        if !self.clients[at].connected {
            return;
        }
        if let Some(id) = self.clients[at].connection.take() {
            self.broker.receive(id, &[0xe0, 0], None, self.now);
            self.finish();
            self.left(at);
            let frames = self.frames.len();
            if let Some(wills) = &mut self.clients[at].wills {
                wills.disconnect(frames);
            }
        }
    }

    /// A connection has ended: so will the session.
    fn left(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.incoming.clear();
        client.unread.clear();
        client.connected = false;
        if expiry(at) < u32::MAX {
            let end = self.now.after_seconds(expiry(at));
            let earliest = client.ends.map_or(end, |(earliest, _)| earliest.min(end));
            client.ends = Some((earliest, end));
        }
    }

    pub fn publish(&mut self, at: usize, topic: u8, qos: u8) {
        self.publish_or_clear(at, topic, qos, false);
    }

    fn publish_or_clear(&mut self, at: usize, topic: u8, qos: u8, clears: bool) {
        let number = self.published.len() as u32;
        let client = &mut self.clients[at];
        if qos == 0 && !client.connected {
            return;
        }
        self.published.push(Published {
            clears,
            ..Published::new(at, topic, qos)
        });
        client.next_identifier += 1;
        let identifier = client.next_identifier;
        if qos > 0 {
            client.outgoing.push_back(Outgoing {
                identifier,
                number,
                received: false,
            });
        }
        if client.connected {
            let before: Vec<usize> = self
                .clients
                .iter()
                .map(|client| client.incoming.len())
                .collect();
            self.send_publish(at, identifier, number, false);
            for (to, before) in before.into_iter().enumerate() {
                let here = self.clients[to].connected && self.receivers[to].expects();
                if qos == 0 && here && subscribed(to, topic).is_some() {
                    assert!(
                        self.clients[to].incoming.len() > before,
                        "client {to} is not sent {number}"
                    );
                }
            }
        }
    }

    fn send_publish(&mut self, at: usize, identifier: u16, number: u32, dup: bool) {
        let message = &mut self.published[number as usize];
        message.again |= dup;
        let Published {
            topic, qos, clears, ..
        } = *message;
        let mut body = vec![0, 3];
        body.extend(name(at, topic));
        if qos > 0 {
            body.extend(identifier.to_be_bytes());
        }
        if is_five(at) {
            body.push(0);
        }
        if !clears {
            body.extend(number.to_be_bytes());
        }
        let first = 0x30 | qos << 1 | u8::from(dup) << 3 | u8::from(topic == RETAINED);
        self.send(at, &[&[first, body.len() as u8], &body[..]].concat());
    }

    pub fn commit(&mut self) {
        self.committed = self.frames.len();
    }

    /// Takes packets that came and answers them, at most so many.
    pub fn read(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let committed = self.committed;
            let client = &mut self.clients[at];
            let is_on_disk = |(gate, _): &(_, _)| *gate <= committed;
            while client.incoming.front().is_some_and(is_on_disk) {
                let come = client.incoming.pop_front();
                client
                    .unread
                    .extend(come.into_iter().flat_map(|(_, bytes)| bytes));
            }
            let Some((&first, &length)) = client.unread.first().zip(client.unread.get(1)) else {
                return;
            };
            let packet: Vec<u8> = client.unread.drain(..2 + usize::from(length)).collect();
            self.handle(at, first, &packet[2..]);
        }
    }

    fn handle(&mut self, at: usize, first: u8, body: &[u8]) {
        let client = &mut self.clients[at];
        match first {
            0x20 => {
                assert_eq!(body[1], 0, "client {at} is refused");
                client.connected = true;
                let present = body[0] == 1;
                let expected = client.present.map(|is_there| client.known && is_there);
                assert!(
                    expected.is_none_or(|expected| expected == present),
                    "session of client {at}: {present}"
                );
                let ended = client.known && !client.anew && !present;
                (client.known, client.anew, client.unsure) = (true, false, false);
                client.ends = None;
                if let Some(wills) = &mut client.wills {
                    wills.confirm();
                }
                if ended {
                    self.forget(at);
                }
                if !self.clients[at].subscribed {
                    self.subscribe(at, filters(at), 1);
                }
                self.send_again(at);
            }
            // Of its first SUBSCRIBE.
            0x90 if identifier(body) == 1 => {
                client.subscribed = true;
                self.receivers[at].subscribed(self.published.len());
            }
            0x90 | 0xb0 => {}
            0x40 | 0x70 => client.outgoing.retain(|out| {
                let is_it = out.identifier == identifier(body);
                self.published[out.number as usize].acknowledged |= is_it;
                !is_it
            }),
            0x50 => {
                for out in client
                    .outgoing
                    .iter_mut()
                    .filter(|out| out.identifier == identifier(body))
                {
                    out.received = true;
                    self.published[out.number as usize].acknowledged = true;
                }
                self.send(at, &[0x62, 2, body[0], body[1]]);
            }
            0x62 => {
                client.open.remove(&identifier(body));
                self.receivers[at].completed(identifier(body));
                self.send(at, &[0x70, 2, body[0], body[1]]);
            }
            _ => {
                assert_eq!(first >> 4, 3, "packet {first:#x}");
                let qos = first >> 1 & 3;
                let (id, number) = message(at, qos, body);
                if qos != 2 || client.open.insert(id) {
                    self.receivers[at].took(qos, number);
                }
                let [high, low] = id.to_be_bytes();
                match qos {
                    1 => {
                        self.receivers[at].completed(id);
                        self.send(at, &[0x40, 2, high, low]);
                    }
                    2 => self.send(at, &[0x50, 2, high, low]),
                    _ => {}
                }
            }
        }
    }

    /// A member of the shared subscription leaves it, or comes again.
    pub fn share(&mut self, at: usize, comes: bool) {
        if !self.clients[at].subscribed || !self.clients[at].connected {
        } else if comes {
            self.subscribe(at, &[SHARE], 2);
            self.clients[at].shares = (expiry(at) == 0).then_some(usize::MAX);
        } else {
            let mut body = vec![0, 2];
            if is_five(at) {
                body.push(0);
            }
            body.extend([0, SHARE.0.len() as u8]);
            body.extend(SHARE.0.bytes());
            self.send(at, &[&[0xa2, body.len() as u8], &body[..]].concat());
        }
    }

    fn subscribe(&mut self, at: usize, filters: &[(&str, u8)], identifier: u8) {
        let mut body = vec![0, identifier];
        if is_five(at) {
            body.push(0);
        }
        for (filter, qos) in filters {
            body.extend([0, filter.len() as u8]);
            body.extend(filter.bytes());
            body.push(*qos);
        }
        self.send(at, &[&[0x82, body.len() as u8], &body[..]].concat());
    }

    /// What was not acknowledged, in its order (4.4).
    fn send_again(&mut self, at: usize) {
        let outgoing = self.clients[at].outgoing.iter();
        let again: Vec<_> = outgoing
            .map(|out| (out.identifier, out.number, out.received))
            .collect();
        for (identifier, number, received) in again {
            if received {
                let [high, low] = identifier.to_be_bytes();
                self.send(at, &[0x62, 2, high, low]);
            } else {
                self.send_publish(at, identifier, number, true);
            }
        }
    }

    /// The broker is killed, and starts again after so many seconds.
    pub fn kill(&mut self, percent: usize, seconds: u32) {
        let survivors = self.committed + (self.frames.len() - self.committed) * percent / 100;
        self.frames.truncate(survivors);
        let bytes = self.frames.concat();
        let mut state = State::default();
        let whole = read_frames(&bytes, |record| state.apply(record));
        assert_eq!(whole, bytes.len());
        self.frames = vec![state.to_journal().bytes().to_vec()];
        self.committed = 1;
        self.now = self.now.after_seconds(seconds);
        self.broker = Broker::new(self.settings.clone(), || 0, self.now);
        self.broker.restore(state);
        self.image = None;
        let mut shares = self.clients.iter().filter_map(|client| client.shares);
        if shares.any(|until| until > survivors) {
            // What it had goes with its session.
            let shared = self.published.iter_mut().filter(|it| it.topic == SHARED);
            shared.for_each(|message| message.forgotten = true);
        }
        for at in 0..CLIENTS {
            self.clients[at].shares = None;
            self.clients[at].connection = None;
            self.left(at);
            self.receivers[at].killed();
            if let Some(wills) = &mut self.clients[at].wills {
                wills.kill(self.now, survivors);
            }
        }
    }

    /// Seconds pass.
    pub fn pass(&mut self, seconds: u32) {
        let until = self.now.after_seconds(seconds);
        while let Some(due) = self.broker.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.broker.tick(self.now);
            self.finish();
            let next = self.broker.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that does not go"
            );
        }
        self.now = until;
        let frames = self.frames.len();
        for wills in self.clients.iter_mut().flat_map(|client| &mut client.wills) {
            wills.pass(until, frames);
        }
    }

    /// Some of the store is written anew; with all of it the frames before are dropped.
    pub fn write_image(&mut self, room: usize) {
        let (mut walk, begun) = self
            .image
            .take()
            .unwrap_or((Walk::default(), self.frames.len()));
        let done = self.broker.write_image(&mut walk, room, self.now);
        self.finish();
        if done {
            self.commit();
            self.frames[..begun].iter_mut().for_each(Vec::clear);
        } else {
            self.image = Some((walk, begun));
        }
    }

    /// One client publishes a retained message, or removes it.
    pub fn retain(&mut self, which: usize, clears: bool) {
        let (at, qos) = RETAINERS[which];
        self.publish_or_clear(at, RETAINED, qos, clears);
    }

    /// A new subscriber looks for retained messages.
    pub fn look_for_retained(&mut self) {
        let limits = Limits::default();
        let id = self.broker.open(Arc::default(), limits, self.now);
        self.probe = Some((id, Vec::new()));
        let connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05probe";
        assert!(
            self.broker
                .receive(id, connect, None, self.now)
                .login
                .is_some()
        );
        self.broker
            .login_answer(id, Ok(Arc::new(AllowAll)), self.now);
        self.broker
            .receive(id, b"\x82\x08\x00\x01\x00\x03r/+\x00", None, self.now);
        self.finish();
        let sent = self.probe.take().map(|(_, sent)| sent);
        self.broker.lost(id, self.now);
        self.finish();
        let sent = sent.unwrap_or_default();
        let (answers, mut messages) = sent.split_at(4 + 5);
        assert_eq!(answers, b"\x20\x02\x00\x00\x90\x03\x00\x01\x00");
        let mut found = [None; RETAINERS.len()];
        while let Some((message, rest)) = messages
            .split_at_checked(11)
            .filter(|_| !messages.is_empty())
        {
            messages = rest;
            let (_, number) = message_of(false, 0, &message[2..]);
            assert_eq!(message[..5], [0x31, 9, 0, 3, b'r']);
            let of = RETAINERS.map(|(at, _)| name(at, RETAINED)[2]);
            let at = of.iter().position(|name| *name == message[6]);
            let before = found[at.expect("a publisher")].replace(number);
            assert_eq!(before, None, "twice");
        }
        assert_eq!(messages, b"");
        for ((at, _), found) in RETAINERS.into_iter().zip(found) {
            retained::check(at, found, &self.published);
        }
    }

    /// Clients arrive in the new broker one after the other; what the first one says reaches those that come later.
    /// One connection may stay behind and is lost.
    pub fn cross(&mut self, first: Option<usize>, stays: Option<usize>) {
        let stays = stays.filter(|at| self.clients[*at].connection.is_some());
        let lost = stays.and_then(|at| self.clients[at].connection.take());
        let exported = self.broker.export(self.now, |id| Some(id) != lost);
        let number = |client: &Client| {
            let number = self.broker.connection_number(client.connection?);
            Some(number.expect("an open connection"))
        };
        let numbers: Vec<_> = self.clients.iter().map(number).collect();
        let next = Broker::import(self.settings.clone(), || 0, &exported, self.now);
        self.broker = next.expect("an export");
        self.image = None;
        self.finish();
        if let Some(at) = stays {
            self.left(at);
            if let Some(wills) = &mut self.clients[at].wills {
                wills.stay_behind(self.now);
            }
        }
        let connected: Vec<bool> = self.clients.iter().map(|client| client.connected).collect();
        for client in &mut self.clients {
            client.connection = None;
            // Nothing is sent to a connection before it has arrived.
            client.connected = false;
        }
        let others = (0..CLIENTS).filter(|at| Some(*at) != first);
        for at in first.into_iter().chain(others) {
            if let Some(number) = numbers[at] {
                let (meter, rights) = (Arc::default(), Arc::new(AllowAll));
                let id = self.broker.attach(number, Some(rights), meter, 0, self.now);
                assert!(id.is_some());
                self.clients[at].connection = id;
                self.clients[at].connected = connected[at];
                self.finish();
            }
            if Some(at) == first {
                for (topic, qos) in [(0, 1), (1, 2), (0, 0)] {
                    self.publish(at, topic, qos);
                }
            }
        }
    }

    /// Everyone is there, the disk keeps up, and all answer until nothing moves.
    pub fn settle(&mut self) {
        for at in 0..CLIENTS {
            self.connect(at);
        }
        for _ in 0..1000 {
            self.commit();
            (0..CLIENTS).for_each(|at| self.read(at, usize::MAX));
            let quiet = |client: &Client| {
                client.incoming.is_empty() && client.outgoing.is_empty() && client.open.is_empty()
            };
            if self.clients.iter().all(quiet) {
                return;
            }
        }
        panic!("it never settles");
    }

    /// In the end.
    pub fn check(&mut self) -> Result<(), TestCaseError> {
        self.look_for_retained();
        for (at, receiver) in self.receivers.iter().enumerate() {
            receiver.check(at, &self.published)?;
        }
        shares::check(&self.receivers, &self.published)?;
        for wills in self.clients.iter().flat_map(|client| &client.wills) {
            wills.check(|number| self.receivers[2].times(number))?;
        }
        Ok(())
    }
}

/// Packet identifier and number of a PUBLISH to a client.
fn message(at: usize, qos: u8, body: &[u8]) -> (u16, u32) {
    message_of(is_five(at), qos, body)
}

fn message_of(is_five: bool, qos: u8, body: &[u8]) -> (u16, u32) {
    let rest = &body[5..];
    let (id, rest) = match qos {
        0 => (0, rest),
        _ => (identifier(rest), &rest[2..]),
    };
    let payload = &rest[usize::from(is_five)..];
    (
        id,
        u32::from_be_bytes(payload.try_into().expect("four bytes")),
    )
}
