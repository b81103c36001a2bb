//! Clients, and a host around a broker.
//!
//! The store is simulated to the letter of its contract: records become durable some time after the batch that
//! made them, output waits for them, and a kill keeps any number of the frames that were not yet promised.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

use crate::model::{Published, Receiver, filters, subscribed};

pub const CLIENTS: usize = 4;

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
}

pub struct World {
    settings: Settings,
    broker: Broker,
    frames: Vec<Vec<u8>>,
    committed: usize,
    clients: Vec<Client>,
    pub receivers: Vec<Receiver>,
    pub published: Vec<Published>,
}

/// Clients with odd numbers speak 5.0, the others 3.1.1.
fn is_five(at: usize) -> bool {
    at % 2 == 1
}

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
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            receivers: (0..CLIENTS).map(|_| Receiver::default()).collect(),
            published: Vec::new(),
        }
    }

    /// What a host does after each batch.
    fn finish(&mut self) {
        let journal = self.broker.journal();
        let mut gate = 0;
        if !journal.is_empty() {
            self.frames.push(journal.bytes().to_vec());
            gate = if journal.must_commit() {
                self.frames.len()
            } else {
                0
            };
            journal.clear();
        }
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let closes = output.closes();
            let bytes: Vec<u8> = output.pieces().into_iter().flatten().collect();
            let at = self
                .clients
                .iter()
                .position(|client| client.connection == Some(id));
            if let Some(at) = at {
                self.look_at(at, &bytes);
                let client = &mut self.clients[at];
                client.incoming.push_back((gate, bytes));
                if closes {
                    client.connection = None;
                    client.connected = false;
                }
            }
            if closes {
                self.broker.lost(id, Time(0));
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
        let received = self.broker.receive(id, packet, None, Time(0));
        assert_eq!(received.consumed, packet.len());
        if received.login.is_some() {
            self.broker
                .login_answer(id, Ok(Arc::new(AllowAll)), Time(0));
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
            .open(Arc::new(Meter::default()), limits, Time(0));
        let client = &mut self.clients[at];
        client.connection = Some(id);
        self.receivers[at].connected();
        if client.anew {
            for out in client.outgoing.drain(..) {
                self.published[out.number as usize].forgotten = true;
            }
            client.open.clear();
            client.subscribed = false;
            self.receivers[at].begun_anew();
        }
        let flags = u8::from(self.clients[at].anew) << 1;
        let body = match is_five(at) {
            true => [
                &b"\x00\x04MQTT\x05"[..],
                &[flags, 0, 0, 5, 0x11, 255, 255, 255, 255],
            ]
            .concat(),
            false => [&b"\x00\x04MQTT\x04"[..], &[flags, 0, 0]].concat(),
        };
        let body = [&body[..], &[0, 1, b'a' + at as u8]].concat();
        self.send(at, &[&[0x10, body.len() as u8], &body[..]].concat());
    }

    pub fn drop_connection(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.incoming.clear();
        client.unread.clear();
        client.connected = false;
        if let Some(id) = client.connection.take() {
            self.broker.lost(id, Time(0));
            self.finish();
        }
    }

    pub fn publish(&mut self, at: usize, topic: u8, qos: u8) {
        let number = self.published.len() as u32;
        let client = &mut self.clients[at];
        if qos == 0 && !client.connected {
            return;
        }
        self.published.push(Published {
            publisher: at,
            topic,
            qos,
            forgotten: false,
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
        let Published { topic, qos, .. } = self.published[number as usize];
        let mut body = vec![0, 3, b't', b'/', b'0' + topic];
        if qos > 0 {
            body.extend(identifier.to_be_bytes());
        }
        if is_five(at) {
            body.push(0);
        }
        body.extend(number.to_be_bytes());
        let first = 0x30 | qos << 1 | u8::from(dup) << 3;
        self.send(at, &[&[first, body.len() as u8], &body[..]].concat());
    }

    pub fn commit(&mut self) {
        self.committed = self.frames.len();
    }

    pub fn read(&mut self, at: usize) {
        loop {
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
                let present = client.known && !client.anew;
                assert_eq!(body[0] == 1, present, "session of client {at}");
                (client.known, client.anew) = (true, false);
                if !client.subscribed {
                    self.subscribe(at);
                }
                self.send_again(at);
            }
            0x90 => {
                client.subscribed = true;
                self.receivers[at].subscribed(self.published.len());
            }
            0x40 | 0x70 => client
                .outgoing
                .retain(|out| out.identifier != identifier(body)),
            0x50 => {
                for out in client
                    .outgoing
                    .iter_mut()
                    .filter(|out| out.identifier == identifier(body))
                {
                    out.received = true;
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

    fn subscribe(&mut self, at: usize) {
        let mut body = vec![0, 1];
        if is_five(at) {
            body.push(0);
        }
        for (filter, qos) in filters(at) {
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

    pub fn kill(&mut self, percent: usize) {
        let survivors = self.committed + (self.frames.len() - self.committed) * percent / 100;
        self.frames.truncate(survivors);
        let bytes = self.frames.concat();
        let mut state = State::default();
        let whole = read_frames(&bytes, |record| state.apply(record));
        assert_eq!(whole, bytes.len());
        self.frames = vec![state.to_journal().bytes().to_vec()];
        self.committed = 1;
        self.broker = Broker::new(self.settings.clone(), || 0, Time(0));
        self.broker.restore(state);
        for (client, receiver) in self.clients.iter_mut().zip(&mut self.receivers) {
            client.connection = None;
            client.connected = false;
            client.incoming.clear();
            client.unread.clear();
            receiver.killed();
        }
    }

    /// Clients arrive in the new broker one after the other; what the first one says reaches those that come later.
    pub fn cross(&mut self, first: Option<usize>) {
        let exported = self.broker.export(Time(0), |_| true);
        let number = |client: &Client| {
            let number = self.broker.connection_number(client.connection?);
            Some(number.expect("an open connection"))
        };
        let numbers: Vec<_> = self.clients.iter().map(number).collect();
        let next = Broker::import(self.settings.clone(), || 0, &exported, Time(0));
        self.broker = next.expect("an export");
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
                let id = self.broker.attach(number, Some(rights), meter, 0, Time(0));
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
            (0..CLIENTS).for_each(|at| self.read(at));
            let quiet = |client: &Client| {
                client.incoming.is_empty() && client.outgoing.is_empty() && client.open.is_empty()
            };
            if self.clients.iter().all(quiet) {
                return;
            }
        }
        panic!("it never settles");
    }
}

/// Packet identifier and number of a PUBLISH to a client.
fn message(at: usize, qos: u8, body: &[u8]) -> (u16, u32) {
    let rest = &body[5..];
    let (id, rest) = match qos {
        0 => (0, rest),
        _ => (identifier(rest), &rest[2..]),
    };
    let payload = &rest[usize::from(is_five(at))..];
    (
        id,
        u32::from_be_bytes(payload.try_into().expect("four bytes")),
    )
}
