//! SUBSCRIBE and UNSUBSCRIBE of very many filters are worked off in turns: others are served in between, what is behind
//! them waits, and a broker that takes over goes on where the one before was.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::broker::Received;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

const NOW: Time = Time(1_000_000);
/// More than three turns take.
const MANY: u16 = 250;

struct World {
    broker: Broker,
    /// Another broker takes over after each turn.
    crosses: bool,
    clients: Vec<ConnectionId>,
}

impl World {
    fn new(crosses: bool, clients: u8) -> World {
        let mut world = World {
            broker: Broker::new(Settings::default(), || 0, NOW),
            crosses,
            clients: Vec::new(),
        };
        for client in 0..clients {
            let id = world.broker.open(Arc::default(), Limits::default(), NOW);
            world.clients.push(id);
            let connect = [
                b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01",
                &[b'a' + client][..],
            ]
            .concat();
            assert!(world.receive(client, &connect).login.is_some());
            world.broker.login_answer(id, Ok(Arc::new(AllowAll)), NOW);
            assert_eq!(world.output(client), [0x20, 2, 0, 0]);
        }
        world
    }

    fn receive(&mut self, client: u8, bytes: &[u8]) -> Received {
        let id = self.clients[usize::from(client)];
        self.broker.receive(id, bytes, None, NOW)
    }

    fn output(&mut self, client: u8) -> Vec<u8> {
        self.broker.journal().clear();
        while self.broker.next_touched().is_some() {}
        let id = self.clients[usize::from(client)];
        self.broker.output(id).unwrap().pieces().concat()
    }

    /// All turns that bytes of a client take, and what came out in the end.
    fn turns(&mut self, client: u8, mut bytes: &[u8]) -> (usize, Vec<u8>) {
        let (mut turns, mut out) = (0, Vec::new());
        loop {
            let received = self.receive(client, bytes);
            bytes = &bytes[received.consumed..];
            turns += 1;
            out.extend(self.output(client));
            if !received.more {
                assert_eq!(bytes, []);
                return (turns, out);
            }
            if self.crosses {
                self.cross();
            }
        }
    }

    fn cross(&mut self) {
        let number = |id: &ConnectionId| self.broker.connection_number(*id).unwrap();
        let numbers: Vec<_> = self.clients.iter().map(number).collect();
        let exported = self.broker.export(NOW, |_| true);
        self.broker = Broker::import(Settings::default(), || 0, &exported, NOW).unwrap();
        for (id, number) in self.clients.iter_mut().zip(numbers) {
            let rights = Some(Arc::new(AllowAll) as _);
            *id = (self.broker)
                .attach(number, rights, Arc::default(), 0, NOW)
                .unwrap();
        }
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (low, high) = (body.len() % 128, body.len() / 128);
    [&[first, low as u8 | 0x80, high as u8], body].concat()
}

fn filters(options: &[u8]) -> Vec<u8> {
    let filters = (0..MANY).flat_map(|number| {
        let filter = format!("many/{number:03}");
        [&[0, 8], filter.as_bytes(), options].concat()
    });
    filters.collect()
}

fn subscribe() -> Vec<u8> {
    packet(0x82, &[&[0, 7], &filters(&[1])[..]].concat())
}

fn unsubscribe() -> Vec<u8> {
    packet(0xa2, &[&[0, 8], &filters(&[])[..]].concat())
}

const PING: &[u8] = b"\xc0\0";
const PONG: &[u8] = b"\xd0\0";

#[test]
fn many_filters_take_turns_and_are_answered_before_what_is_behind_them() {
    for crosses in [false, true] {
        let mut world = World::new(crosses, 2);
        let (retained, got) = (b"\x31\x0b\0\x08many/249x", b"\x31\x0b\0\x08many/249x");
        assert_eq!(world.turns(1, retained), (1, Vec::new()));

        let (turns, out) = world.turns(0, &[&subscribe()[..], PING].concat());
        assert_eq!(turns, 4, "crosses: {crosses}");
        let suback = packet(0x90, &[&[0, 7], &[1; MANY as usize][..]].concat());
        assert_eq!(out, [&suback[..], got, PONG].concat());
        assert_eq!(world.broker.sizes().subscriptions, usize::from(MANY));

        let (turns, out) = world.turns(0, &[&unsubscribe()[..], PING].concat());
        assert_eq!(turns, 4, "crosses: {crosses}");
        assert_eq!(out, [b"\xb0\x02\0\x08", PONG].concat());
        assert_eq!(world.broker.sizes().subscriptions, 0);
    }
}

#[test]
fn many_packets_take_turns_as_one_does() {
    let mut world = World::new(false, 1);
    let one = b"\x82\x06\0\x07\0\x01x\0";
    let (turns, out) = world.turns(0, &one.repeat(200));
    assert_eq!((turns, out), (4, b"\x90\x03\0\x07\0".repeat(200)));
}

#[test]
fn others_are_served_between_turns() {
    let mut world = World::new(false, 2);
    let request = subscribe();
    let received = world.receive(0, &request);
    assert!(received.more && received.consumed == request.len());
    // What was subscribed to in this turn counts from now on.
    assert_eq!(world.turns(1, b"\x30\x0b\0\x08many/000x").0, 1);
    assert_eq!(world.output(0), b"\x30\x0b\0\x08many/000x");
    // The client may go at any time.
    let id = world.clients[0];
    world.broker.lost(id, NOW);
    assert!(!world.receive(0, b"").more);
    assert_eq!(world.turns(1, PING), (1, PONG.to_vec()));
    world
        .broker
        .tick(world.broker.next_deadline().unwrap_or(NOW));
    assert_eq!(world.broker.sizes().subscriptions, 0);
}
