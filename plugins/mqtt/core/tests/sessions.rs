//! The session machine against a simple model: whatever happens to connections and to the broker, every message
//! that was published with QoS 1 or 2 reaches every subscriber, QoS 2 exactly once and in order.
//!
//! The store is simulated to the letter of its contract: records become durable some time after the batch that
//! made them, output waits for them, and a kill keeps any number of the frames that were not yet promised.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};
use proptest::prelude::*;

const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Drop(usize),
    Publish(usize, u8),
    /// A client takes what came and answers.
    Read(usize),
    /// The disk catches up.
    Commit,
    /// The broker is killed; of the frames not yet committed so many per cent survive.
    Kill(usize),
    /// Another broker takes over: before the first client arrives there, the one with this number publishes at
    /// once, if it can.
    Cross(Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        3 => client.clone().prop_map(Step::Connect),
        1 => client.clone().prop_map(Step::Drop),
        6 => (client.clone(), 1..=2u8).prop_map(|(client, qos)| Step::Publish(client, qos)),
        6 => client.prop_map(Step::Read),
        3 => Just(Step::Commit),
        1 => (0..=100usize).prop_map(Step::Kill),
        2 => prop::option::of(0..CLIENTS).prop_map(Step::Cross),
    ];
    prop::collection::vec(step, 0..120)
}

/// An outgoing message of a client: packet identifier, number, QoS, PUBREC has come.
struct Outgoing {
    identifier: u16,
    number: u32,
    qos: u8,
    received: bool,
}

#[derive(Default)]
struct Client {
    connection: Option<ConnectionId>,
    /// Output of the broker: the frame it waits for, and bytes.
    incoming: VecDeque<(usize, Vec<u8>)>,
    unread: Vec<u8>,
    connected: bool,
    known: bool,
    outgoing: VecDeque<Outgoing>,
    next_identifier: u16,
    /// QoS 2 identifiers of the broker that wait for PUBREL.
    open: BTreeSet<u16>,
    /// QoS of the delivery, and number.
    got: Vec<(u8, u32)>,
}

struct World {
    settings: Settings,
    broker: Broker,
    frames: Vec<Vec<u8>>,
    committed: usize,
    clients: Vec<Client>,
    published: Vec<(u8, u32)>,
}

impl World {
    fn new(window: u16) -> World {
        let settings = Settings {
            max_inflight_messages: window,
            ..Settings::default()
        };
        World {
            broker: Broker::new(settings.clone(), || 0, Time(0)),
            settings,
            frames: Vec::new(),
            committed: 0,
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
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
            if let Some(client) = self
                .clients
                .iter_mut()
                .find(|client| client.connection == Some(id))
            {
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

    fn connect(&mut self, at: usize) {
        self.drop_connection(at);
        let id = self
            .broker
            .open(Arc::new(Meter::default()), Limits::default(), Time(0));
        self.clients[at].connection = Some(id);
        self.send(
            at,
            &[
                0x10,
                13,
                0,
                4,
                b'M',
                b'Q',
                b'T',
                b'T',
                4,
                0,
                0,
                0,
                0,
                1,
                b'a' + at as u8,
            ],
        );
    }

    fn drop_connection(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.incoming.clear();
        client.unread.clear();
        client.connected = false;
        if let Some(id) = client.connection.take() {
            self.broker.lost(id, Time(0));
            self.finish();
        }
    }

    fn publish(&mut self, at: usize, qos: u8) {
        let number = self.published.len() as u32;
        self.published.push((qos, number));
        let client = &mut self.clients[at];
        client.next_identifier += 1;
        let identifier = client.next_identifier;
        client.outgoing.push_back(Outgoing {
            identifier,
            number,
            qos,
            received: false,
        });
        if client.connected {
            self.send_publish(at, qos, identifier, number, false);
        }
    }

    fn send_publish(&mut self, at: usize, qos: u8, identifier: u16, number: u32, dup: bool) {
        let mut packet = vec![0x30 | qos << 1 | u8::from(dup) << 3, 9, 0, 1, b't'];
        packet.extend(identifier.to_be_bytes());
        packet.extend(number.to_be_bytes());
        self.send(at, &packet);
    }

    fn read(&mut self, at: usize) {
        loop {
            let committed = self.committed;
            let client = &mut self.clients[at];
            while client
                .incoming
                .front()
                .is_some_and(|(gate, _)| *gate <= committed)
            {
                client.unread.extend(
                    client
                        .incoming
                        .pop_front()
                        .into_iter()
                        .flat_map(|(_, bytes)| bytes),
                );
            }
            let Some((&first, &length)) = client.unread.first().zip(client.unread.get(1)) else {
                return;
            };
            let packet: Vec<u8> = client.unread.drain(..2 + usize::from(length)).collect();
            self.handle(at, first, &packet[2..]);
        }
    }

    fn handle(&mut self, at: usize, first: u8, body: &[u8]) {
        let identifier = |body: &[u8]| u16::from_be_bytes([body[0], body[1]]);
        let client = &mut self.clients[at];
        match first {
            0x20 => {
                client.connected = true;
                assert_eq!(body[0] == 1, client.known, "session of client {at}");
                if !client.known {
                    client.known = true;
                    self.send(at, &[0x82, 6, 0, 1, 0, 1, b't', at as u8]);
                    return;
                }
                let again: Vec<_> = client
                    .outgoing
                    .iter()
                    .map(|out| (out.identifier, out.number, out.qos, out.received))
                    .collect();
                for (identifier, number, qos, received) in again {
                    if received {
                        let [high, low] = identifier.to_be_bytes();
                        self.send(at, &[0x62, 2, high, low]);
                    } else {
                        self.send_publish(at, qos, identifier, number, true);
                    }
                }
            }
            0x90 => {}
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
                self.send(at, &[0x70, 2, body[0], body[1]]);
            }
            _ => {
                assert_eq!(first >> 4, 3, "packet {first:#x}");
                let qos = first >> 1 & 3;
                let rest = &body[3..];
                let (id, number) = if qos == 0 {
                    (&[][..], rest)
                } else {
                    rest.split_at(2)
                };
                let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
                if qos != 2 || client.open.insert(identifier(id)) {
                    client.got.push((qos, number));
                }
                match qos {
                    1 => self.send(at, &[0x40, 2, id[0], id[1]]),
                    2 => self.send(at, &[0x50, 2, id[0], id[1]]),
                    _ => {}
                }
            }
        }
    }

    fn kill(&mut self, percent: usize) {
        let survivors = self.committed + (self.frames.len() - self.committed) * percent / 100;
        self.frames.truncate(survivors);
        let bytes = self.frames.concat();
        let mut state = State::default();
        assert_eq!(
            read_frames(&bytes, |record| state.apply(record)),
            bytes.len()
        );
        self.frames = vec![state.to_journal().bytes().to_vec()];
        self.committed = 1;
        self.broker = Broker::new(self.settings.clone(), || 0, Time(0));
        self.broker.restore(state);
        for client in &mut self.clients {
            client.connection = None;
            client.connected = false;
            client.incoming.clear();
            client.unread.clear();
        }
    }

    /// Clients arrive in the new broker one after the other; what the first one says reaches those that come later.
    fn cross(&mut self, first: Option<usize>) {
        let exported = self.broker.export(Time(0), |_| true);
        let numbers: Vec<_> = (0..CLIENTS)
            .map(|at| {
                Some(
                    self.broker
                        .connection_number(self.clients[at].connection?)
                        .expect("an open connection"),
                )
            })
            .collect();
        self.broker =
            Broker::import(self.settings.clone(), || 0, &exported, Time(0)).expect("an export");
        for client in &mut self.clients {
            client.connection = None;
        }
        let order = first
            .into_iter()
            .chain((0..CLIENTS).filter(|at| Some(*at) != first));
        for at in order {
            if let Some(number) = numbers[at] {
                let (meter, rights) = (Arc::default(), Arc::new(AllowAll));
                self.clients[at].connection =
                    self.broker.attach(number, Some(rights), meter, 0, Time(0));
                assert!(self.clients[at].connection.is_some());
                self.finish();
            }
            if Some(at) == first {
                self.publish(at, 1);
                self.publish(at, 2);
            }
        }
    }

    /// Everyone is there, the disk keeps up, and all answer until nothing moves.
    fn settle(&mut self) {
        for at in 0..CLIENTS {
            self.connect(at);
        }
        for _ in 0..1000 {
            self.committed = self.frames.len();
            (0..CLIENTS).for_each(|at| self.read(at));
            let quiet = |client: &Client| client.incoming.is_empty() && client.outgoing.is_empty();
            if self.clients.iter().all(quiet) {
                return;
            }
        }
        panic!("it never settles");
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (at, client) in self.clients.iter().enumerate() {
            let subscribed = at as u8;
            for &(qos, number) in &self.published {
                let times = client.got.iter().filter(|(_, got)| *got == number).count();
                match qos.min(subscribed) {
                    0 => {}
                    1 => prop_assert!(times >= 1, "client {} lost {} of QoS {}", at, number, qos),
                    _ => prop_assert_eq!(times, 1, "client {} got {} of QoS {}", at, number, qos),
                }
            }
            let wrong = client
                .got
                .iter()
                .find(|(qos, number)| *qos > self.published[*number as usize].0.min(subscribed));
            prop_assert_eq!(wrong, None, "client {}", at);
            prop_assert!(client.open.is_empty(), "client {} waits for PUBREL", at);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_acknowledged_message_arrives_whatever_happens(window in 1u16..6, steps in steps()) {
        let mut world = World::new(window);
        world.settle();
        for step in steps {
            match step {
                Step::Connect(at) => world.connect(at),
                Step::Drop(at) => world.drop_connection(at),
                Step::Publish(at, qos) => world.publish(at, qos),
                Step::Read(at) => world.read(at),
                Step::Commit => world.committed = world.frames.len(),
                Step::Kill(percent) => world.kill(percent),
                Step::Cross(first) => world.cross(first),
            }
        }
        world.settle();
        world.check()?;
        // Client 2 takes QoS 2, and its publishers' messages come in their order.
        let of = |client: &Client| -> Vec<u32> {
            client.got.iter().filter(|(qos, _)| *qos == 2).map(|(_, number)| *number).collect()
        };
        let got = of(&world.clients[2]);
        prop_assert_eq!(got.len(), got.iter().collect::<BTreeSet<_>>().len());
    }
}
