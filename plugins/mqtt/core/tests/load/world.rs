//! Clients and the host of a broker, as far as what memory and time they take is concerned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

pub struct Client {
    pub id: ConnectionId,
    pub meter: Arc<Meter>,
    /// Handed out and not taken.
    pub unsent: VecDeque<u8>,
    /// Taken.
    pub taken: Vec<u8>,
    pub closed: bool,
}

pub struct World {
    pub settings: Settings,
    pub broker: Broker,
    pub now: Time,
    pub clients: BTreeMap<&'static str, Client>,
    /// The most bytes that one turn gave to one client.
    pub most: usize,
}

impl World {
    pub fn new(settings: Settings) -> World {
        World {
            broker: Broker::new(settings.clone(), || 0, Time(1_000_000)),
            settings,
            now: Time(1_000_000),
            clients: BTreeMap::new(),
            most: 0,
        }
    }

    /// What a host does after a turn: nobody has taken anything yet.
    pub fn finish(&mut self) {
        self.broker.journal().clear();
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let (closes, bytes) = (output.closes(), output.pieces().concat());
            self.most = self.most.max(bytes.len());
            let client = self.clients.values_mut().find(|client| client.id == id);
            if let Some(client) = client {
                client.closed |= closes;
                client.unsent.extend(bytes);
            }
        }
    }

    pub fn connect(&mut self, name: &'static str, clean: bool) {
        let mut body = b"\x00\x04MQTT\x04".to_vec();
        body.extend([u8::from(clean) << 1, 0, 0, 0, name.len() as u8]);
        body.extend(name.as_bytes());
        self.connect_with(name, &body);
    }

    /// 5.0, with a session that outlives the connection by an hour, and a will after ten seconds if `will`.
    pub fn connect_v5(&mut self, name: &'static str, client_id: &str, will: bool) {
        let mut body = b"\x00\x04MQTT\x05".to_vec();
        body.extend([u8::from(will) << 2, 0, 0, 5, 0x11, 0, 0, 0x0e, 0x10]);
        body.extend([0, client_id.len() as u8]);
        body.extend(client_id.as_bytes());
        if will {
            body.extend(b"\x05\x18\x00\x00\x00\x0a\x00\x04will\x00\x04gone");
        }
        self.connect_with(name, &body);
    }

    pub fn connect_with(&mut self, name: &'static str, body: &[u8]) {
        let meter = Arc::new(Meter::default());
        let id = self.broker.open(meter.clone(), Limits::default(), self.now);
        let client = Client {
            id,
            meter,
            unsent: VecDeque::new(),
            taken: Vec::new(),
            closed: false,
        };
        self.clients.insert(name, client);
        let packet = [&[0x10, body.len() as u8], body].concat();
        self.broker.receive(id, &packet, None, self.now);
        self.broker
            .login_answer(id, Ok(Arc::new(AllowAll)), self.now);
        self.finish();
    }

    pub fn send(&mut self, name: &str, packet: &[u8]) {
        let id = self.clients[name].id;
        let received = self.broker.receive(id, packet, None, self.now);
        assert_eq!(received.consumed, packet.len());
        self.finish();
    }

    pub fn subscribe(&mut self, name: &str, filter: &str, qos: u8) {
        let mut body = vec![0, 9, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(qos);
        self.send(name, &[&[0x82, body.len() as u8], &body[..]].concat());
    }

    pub fn subscribe_v5(&mut self, name: &str, filter: &str) {
        let mut body = vec![0, 9, 0, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(1);
        self.send(name, &[&[0x82, body.len() as u8], &body[..]].concat());
    }

    /// Turns that are due now.
    pub fn tick(&mut self) -> usize {
        let mut turns = 0;
        while self.broker.next_deadline().is_some_and(|at| at <= self.now) {
            self.broker.tick(self.now);
            self.finish();
            turns += 1;
            assert!(turns < 100_000, "the broker never comes to rest");
        }
        turns
    }

    /// A client takes so many bytes; false when there is nothing.
    pub fn take(&mut self, name: &str, bytes: usize) -> bool {
        let client = self.clients.get_mut(name).unwrap();
        let bytes = bytes.min(client.unsent.len());
        client.taken.extend(client.unsent.drain(..bytes));
        if bytes > 0 && client.meter.sent(bytes) {
            let id = client.id;
            self.broker.drained(id, self.now);
            self.finish();
        }
        bytes > 0
    }

    pub fn take_all(&mut self, name: &str) {
        loop {
            let turns = self.tick();
            if !self.take(name, usize::MAX) && turns == 0 {
                return;
            }
        }
    }

    /// Another broker takes over.
    pub fn cross(&mut self) {
        let exported = self.broker.export(self.now, |_| true);
        let numbers: Vec<_> = self
            .clients
            .values()
            .map(|client| self.broker.connection_number(client.id).unwrap())
            .collect();
        self.broker = Broker::import(self.settings.clone(), || 0, &exported, self.now).unwrap();
        for (client, number) in self.clients.values_mut().zip(numbers) {
            client.meter = Arc::default();
            let (meter, unsent) = (client.meter.clone(), client.unsent.len());
            let rights: Option<Arc<dyn polyport_mqtt_core::Authorizer>> = Some(Arc::new(AllowAll));
            let id = self.broker.attach(number, rights, meter, unsent, self.now);
            client.id = id.unwrap();
        }
        self.finish();
    }

    /// The PUBLISH packets that a client has taken: first byte, topic, packet identifier, payload.
    pub fn publishes(&mut self, name: &str) -> Vec<(u8, String, u16, Vec<u8>)> {
        let taken = std::mem::take(&mut self.clients.get_mut(name).unwrap().taken);
        let mut found = Vec::new();
        let mut rest = &taken[..];
        while !rest.is_empty() {
            let (mut length, mut at) = (0, 1);
            loop {
                length |= usize::from(rest[at] & 0x7f) << (7 * (at - 1));
                at += 1;
                if rest[at - 1] < 0x80 {
                    break;
                }
            }
            let (first, body) = (rest[0], &rest[at..at + length]);
            rest = &rest[at + length..];
            if first >> 4 == 3 {
                let (topic, after) =
                    body[2..].split_at(usize::from(body[0]) << 8 | usize::from(body[1]));
                let (identifier, payload) = match first & 6 {
                    0 => (0, after),
                    _ => (u16::from_be_bytes([after[0], after[1]]), &after[2..]),
                };
                let topic = String::from_utf8(topic.to_vec()).unwrap();
                found.push((first, topic, identifier, payload.to_vec()));
            }
        }
        found
    }
}

pub fn publish(first: u8, topic: &str, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    if first & 6 > 0 {
        body.extend(identifier.to_be_bytes());
    }
    body.extend(payload);
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
